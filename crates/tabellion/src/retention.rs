//! How long exchanges are kept, and what happens when that is over.
//!
//! The configuration has rules; of an exchange the first that fits it decides, and one that none fits is kept for ever. A
//! round:
//!
//! 1. The log is read for exchanges that have both their entries, whose time is over, that no hold covers and that have not
//!    expired before.
//! 2. For at most so many entries at a time: a `custody.expire` is recorded (`custody`, which asks the holds again), and what opens
//!    their originals is destroyed. A crash in between: the next start destroys it (`originals`).
//! 3. Once the published checkpoint says so: what only they name is removed from the packs (`tabellion_ledger`). A crash
//!    before that is done: the next start goes on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use tabellion_evidence::custody as rules;
use tabellion_evidence::entry::{Entry, Erase, Kind};
use tabellion_evidence::ranges::Ranges;
use tabellion_evidence::salt::Path;
use tabellion_evidence::tile::WIDTH;
use tabellion_ledger::{Catalog, Exchange, Ledger, LedgerError, Pruned, Reader};
use tokio::sync::{Mutex, watch};

use crate::chains;
use crate::config::{Config, ConfigError};
use crate::custody::{Act, Desk, Unrecorded, What, Who};
use crate::failure::Failure;
use crate::notary::Notary;

/// One `custody.expire` is of at most so many entries, in at most so many ranges.
const ENTRIES_MAX: usize = 8_192;
const RANGES_MAX: usize = 1_000;
/// The ids of so many entries that are kept are remembered, to clear what lies between them as one. With more, each salt is
/// cleared by itself.
const KEPT_MAX: usize = 2 << 20;
/// No entry comes into the log with an id that is older than that.
const LATE: Duration = Duration::from_secs(24 * 3600);
/// What could not be removed is tried again after that.
const AGAIN: Duration = Duration::from_secs(60);

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Settings {
    preset: Preset,
    check_s: u64,
    rule: Vec<RuleSettings>,
}

/// What no rule may go below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Preset {
    None,
    /// Regulation (EU) 2024/1689, Articles 19(1) and 26(6): logs are kept for at least six months.
    EuAiAct,
}

/// The members of a `[[retention.rule]]`.
pub(crate) const KEYS: [&str; 4] = ["upstream", "case", "entity", "keep"];

#[derive(Debug, Clone, Deserialize)]
struct RuleSettings {
    upstream: Option<String>,
    case: Option<String>,
    entity: Option<String>,
    keep: String,
}

impl Settings {
    /// Whether everything is kept for ever.
    pub(crate) fn is_empty(&self) -> bool {
        self.rule.is_empty()
    }

    /// How often the log is looked through.
    pub(crate) fn every(&self) -> Duration {
        Duration::from_secs(self.check_s)
    }

    /// # Errors
    ///
    /// A rule that keeps nothing for no time, or for less than the preset asks for.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |expected| ConfigError::Value { key: "retention.rule.keep".into(), expected };
        if self.check_s == 0 {
            return Err(ConfigError::Value { key: "retention.check_s".into(), expected: "more than 0" });
        }
        for rule in &self.rule {
            let keep = span(&rule.keep).ok_or_else(|| wrong("a time such as \"400d\" or \"7 years\""))?;
            if self.preset == Preset::EuAiAct && !keeps_half_a_year(keep) {
                return Err(wrong("at least \"6 months\", as retention.preset asks for"));
            }
        }
        Ok(())
    }
}

fn span(text: &str) -> Option<Span> {
    let span: Span = text.parse().ok()?;
    (after(Timestamp::UNIX_EPOCH, span)? > Timestamp::UNIX_EPOCH).then_some(span)
}

/// A time so much later, as the calendar has it.
fn after(time: Timestamp, span: Span) -> Option<Timestamp> {
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).checked_add(span).ok()?.timestamp())
}

/// Whether a time is at least six months, whichever months they are.
fn keeps_half_a_year(span: Span) -> bool {
    let months = |n: i32| after(Timestamp::UNIX_EPOCH, Span::new().months(n));
    (0..48).all(|n| {
        let from = months(n);
        let enough = from.and_then(|from| after(from, Span::new().months(6)));
        enough.is_some() && from.and_then(|from| after(from, span)) >= enough
    })
}

/// One rule.
struct Rule {
    upstream: Option<String>,
    /// Redacted, as the log has it; `*` stands for anything.
    case: Option<String>,
    entity: Option<String>,
    keep: Span,
    /// As it goes on the record.
    said: BTreeMap<String, String>,
}

/// All of them, in order.
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    /// The configured ones. `redacted` is a text as the log has it.
    pub(crate) fn new(config: &Config, redacted: impl Fn(&str) -> Result<String, Failure>) -> Result<Self, Failure> {
        let rules = config.retention.rule.iter().enumerate().map(|(position, settings)| {
            let RuleSettings { upstream, case, entity, keep } = settings;
            let case = case.as_deref().map(&redacted).transpose()?;
            let named = [("upstream", upstream), ("case", &case), ("entity", entity), ("keep", &Some(keep.clone()))];
            let mut said: BTreeMap<String, String> =
                named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect();
            said.insert("rule".to_owned(), (position + 1).to_string());
            let (upstream, entity) = (upstream.clone(), entity.clone());
            let keep = span(keep).ok_or_else(|| Failure::internal("a rule was not checked"))?;
            Ok(Rule { upstream, case, entity, keep, said })
        });
        rules.collect::<Result<_, _>>().map(Self)
    }

    fn of(&self, side: &Sides) -> Option<(usize, &Rule)> {
        self.0.iter().enumerate().find(|(_, rule)| {
            rule.upstream.as_ref().is_none_or(|upstream| side.upstream.as_ref() == Some(upstream))
                && rule.case.as_ref().is_none_or(|case| side.case.as_ref().is_some_and(|of| matches(case, of)))
                && rule.entity.as_ref().is_none_or(|entity| side.entities.contains(entity))
        })
    }

    /// What a change of policy says of them: names and values.
    pub(crate) fn said(&self) -> BTreeMap<String, String> {
        let texts = self.0.iter().map(|rule| {
            let of = |name: &&str| Some(format!("{name} {}", rule.said.get(*name)?));
            let texts: Vec<String> = KEYS.iter().filter_map(of).collect();
            (format!("retention.{}", rule.said["rule"]), texts.join(", "))
        });
        let mut said: BTreeMap<String, String> = texts.collect();
        if said.is_empty() {
            said.insert("retention".to_owned(), "everything is kept for ever".to_owned());
        }
        said
    }

    /// The same of no rules.
    pub(crate) fn none() -> BTreeMap<String, String> {
        Self(Vec::new()).said()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether a text is of a pattern in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// What rules ask of an exchange.
#[derive(Default)]
struct Sides {
    upstream: Option<String>,
    case: Option<String>,
    entities: BTreeSet<String>,
}

impl Sides {
    fn take(&mut self, entry: Entry) {
        self.upstream = self.upstream.take().or(entry.upstream);
        self.case = self.case.take().or(entry.case);
        self.entities.extend(entry.redaction.into_iter().flat_map(|redaction| redaction.findings.into_keys()));
    }
}

/// An exchange whose time is over.
struct Due {
    rule: usize,
    entries: [u64; 2],
    ids: [String; 2],
}

/// What a look at the log finds.
#[derive(Default)]
pub(crate) struct Found {
    due: Vec<Due>,
    /// How many would be, if no hold covered them.
    pub(crate) held: u64,
    /// The ids of entries that are older than what may still come, and are kept; `None` if they are too many.
    kept: Option<Vec<Path>>,
    from: Option<Path>,
}

impl Found {
    /// How many exchanges are to expire, by the rule that says so.
    pub(crate) fn by_rule(&self, rules: &Rules) -> Vec<(BTreeMap<String, String>, u64)> {
        let of = |rule| self.due.iter().filter(|due| due.rule == rule).count() as u64;
        rules.0.iter().enumerate().map(|(position, rule)| (rule.said.clone(), of(position))).collect()
    }
}

/// 1.
pub(crate) fn look(
    reader: &Reader,
    catalog: &Catalog,
    expired: &Ranges,
    state: &rules::State,
    rules: &Rules,
    stop: &AtomicBool,
) -> Result<Found, Failure> {
    let now = Timestamp::now();
    let late = now - jiff::SignedDuration::try_from(LATE).expect("a day");
    let from = ulid::Ulid::from_parts(late.as_millisecond().max(0) as u64, 0).to_string();
    let mut found = Found { from: Path::of(&from), kept: Some(Vec::new()), ..Found::default() };
    let size = reader.checkpoint()?.size;
    let mut open: HashMap<String, (u64, Sides)> = HashMap::new();
    for number in 0..size.div_ceil(WIDTH) {
        if stop.load(Ordering::Relaxed) {
            return Ok(Found::default());
        }
        for (index, bytes) in (number * WIDTH..).zip(reader.entries(number, size)?) {
            if expired.has(index) {
                continue;
            }
            let Ok(entry) = Entry::parse(&bytes) else { continue };
            let Some(exchange) = entry.exchange.clone() else { continue };
            let id = entry.id.clone();
            if entry.kind == Kind::Request {
                let mut sides = Sides::default();
                sides.take(entry);
                open.insert(exchange, (index, sides));
                found.keep(&id);
                continue;
            }
            let time = entry.time.parse::<Timestamp>().ok();
            let request = open.remove(&exchange).filter(|_| entry.kind == Kind::Response);
            let Some((request, mut sides)) = request else { continue };
            sides.take(entry);
            let rule = rules
                .of(&sides)
                .filter(|(_, rule)| time.and_then(|time| after(time, rule.keep)).is_some_and(|until| until <= now));
            let Some((rule, _)) = rule else {
                found.keep(&id);
                continue;
            };
            let exchange = Exchange { id: exchange, request: Some(request), response: Some(index) };
            if chains::held_by(reader, catalog, state, &exchange)?.is_some() {
                found.held += 1;
                found.keep(&id);
                continue;
            }
            found.due.push(Due { rule, entries: [request, index], ids: [exchange.id, id] });
        }
    }
    // What turned out to be due was taken for kept when its request came.
    let due: BTreeSet<Path> = found.due.iter().filter_map(|due| Path::of(&due.ids[0])).collect();
    if let Some(kept) = &mut found.kept {
        kept.retain(|path| !due.contains(path));
    }
    Ok(found)
}

impl Found {
    fn keep(&mut self, id: &str) {
        let from = self.from;
        let path = Path::of(id).filter(|path| from.is_some_and(|from| *path < from));
        if let (Some(kept), Some(path)) = (&mut self.kept, path) {
            kept.push(path);
            if kept.len() > KEPT_MAX {
                self.kept = None;
            }
        }
    }

    /// What one `custody.expire` each is of.
    fn acts(&self, rules: &Rules) -> Vec<Expiry> {
        let mut acts: Vec<Expiry> = Vec::new();
        for rule in 0..rules.0.len() {
            let mut entries: Vec<u64> = Vec::new();
            let mut exchanges: Vec<&Due> = Vec::new();
            let mut close = |entries: &mut Vec<u64>, exchanges: &mut Vec<&Due>| {
                if !entries.is_empty() {
                    let selection = rules.0[rule].said.clone();
                    let erase = Erase { entries: Erase::ranges(std::mem::take(entries)), selection, basis: None };
                    let ids = exchanges.drain(..).flat_map(|due| due.ids.clone()).collect();
                    acts.push(Expiry { erase, ids, kept: Vec::new(), from: None });
                }
            };
            for due in self.due.iter().filter(|due| due.rule == rule) {
                entries.extend(due.entries);
                exchanges.push(due);
                // Each adds two ranges at most.
                if entries.len() >= ENTRIES_MAX
                    || (entries.len() % 256 == 0 && Erase::ranges(entries.clone()).len() > RANGES_MAX - 256)
                {
                    close(&mut entries, &mut exchanges);
                }
            }
            close(&mut entries, &mut exchanges);
        }
        // Until it is on the record, nothing of an exchange is cleared.
        let mut later: Vec<Path> = Vec::new();
        if let (Some(kept), Some(from)) = (&self.kept, self.from) {
            for act in acts.iter_mut().rev() {
                act.kept = kept.iter().chain(&later).copied().collect();
                act.from = Some(from);
                later.extend(act.ids.iter().filter_map(|id| Path::of(id)));
            }
        }
        acts
    }
}

/// What one `custody.expire` is of.
pub(crate) struct Expiry {
    pub(crate) erase: Erase,
    /// The ids of the entries.
    pub(crate) ids: Vec<String>,
    /// What lies among them and is kept, and from where on entries may still come.
    pub(crate) kept: Vec<Path>,
    pub(crate) from: Option<Path>,
}

/// What a round came to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) exchanges: u64,
    pub(crate) entries: u64,
    /// Sealed pieces whose keys were destroyed.
    pub(crate) pieces: u64,
    pub(crate) held: u64,
    /// The entries that say so.
    pub(crate) recorded: Vec<u64>,
}

/// Keeps to the rules.
pub(crate) struct Keeper {
    desk: Desk,
    rules: Rules,
    data: PathBuf,
    /// One round at a time.
    round: Mutex<()>,
    stop: AtomicBool,
}

impl Keeper {
    pub(crate) fn new(desk: &Desk, config: &Config) -> Result<Self, Failure> {
        let rules = Rules::new(config, |text| Ok(desk.notary.redacted(text)))?;
        let (desk, data) = (desk.clone(), config.data.clone());
        Ok(Self { desk, rules, data, round: Mutex::new(()), stop: AtomicBool::new(false) })
    }

    fn notary(&self) -> &Arc<Notary> {
        &self.desk.notary
    }

    /// 1 and 2.
    pub(crate) async fn round(&self, actor: &str, why: Option<&str>, who: &Who) -> Result<Outcome, Unrecorded> {
        let _one = self.round.lock().await;
        let mut outcome = Outcome::default();
        if self.rules.is_empty() {
            return Ok(outcome);
        }
        let found = {
            let state = self.desk.access.state.read().await.clone();
            let ledger = self.notary().ledger();
            tokio::task::block_in_place(|| {
                // A catalog of its own, so that a long look holds up nobody.
                let catalog = Catalog::open(&tabellion_ledger::catalog_path(&self.data))?;
                let expired = tabellion_ledger::expired(ledger.reader(), &catalog)?;
                look(ledger.reader(), &catalog, &expired, &state, &self.rules, &self.stop)
            })
            .map_err(Unrecorded::Log)?
        };
        outcome.held = found.held;
        for expiry in found.acts(&self.rules) {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let entries = expiry.erase.count();
            let why = why.map(str::to_owned);
            let act = Act { actor: actor.to_owned(), why, approval: None, what: What::Expired(expiry) };
            let recorded = match self.desk.perform(&act, who).await {
                Ok(recorded) => recorded,
                // It was placed since: the next round knows of it.
                Err(Unrecorded::Held { .. }) => continue,
                Err(error) => return Err(error),
            };
            outcome.exchanges += entries / 2;
            outcome.entries += entries;
            outcome.pieces += recorded.erased.map_or(0, |erased| erased.pieces);
            outcome.recorded.push(recorded.entry);
        }
        Ok(outcome)
    }

    /// 3, when the published log says all of it. Blocks.
    pub(crate) fn prune(&self) -> Result<Pruned, Failure> {
        let ledger = self.notary().ledger();
        let entry = self.desk.removable.borrow().to_owned();
        let deadline = Instant::now() + AGAIN;
        while published(ledger)? <= entry {
            if Instant::now() > deadline || self.stop.load(Ordering::Relaxed) {
                return Err(Failure::from(LedgerError::Unpublished));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let opens = |piece: &_| self.notary().originals().opens(piece);
        let pruned = ledger.prune(&opens, &self.stop)?;
        if pruned != Pruned::default() {
            self.notary().forget_known();
            let Pruned { parts, pieces, bytes } = pruned;
            tracing::info!(parts, pieces, bytes, "removed what is no longer kept");
        }
        Ok(pruned)
    }

    /// Runs beside the server until it is to stop; what was begun by then is done to where it can be left.
    pub(crate) async fn run(self: Arc<Self>, every: Duration, mut stopped: watch::Receiver<bool>) {
        let tasks = [
            tokio::spawn(self.clone().rounds(every, stopped.clone())),
            tokio::spawn(self.clone().prunings(stopped.clone())),
        ];
        // Whoever would say so is gone, which is the same.
        let _ = stopped.wait_for(|stopped| *stopped).await;
        self.stop.store(true, Ordering::Relaxed);
        for task in tasks {
            let _ = task.await;
        }
    }

    async fn rounds(self: Arc<Self>, every: Duration, mut stopped: watch::Receiver<bool>) {
        while !self.stop.load(Ordering::Relaxed) {
            match self.round(ACTOR, None, &Who::Owner(None)).await {
                Ok(Outcome { exchanges: 0, .. }) => {}
                Ok(Outcome { exchanges, .. }) => tracing::info!(exchanges, "exchanges expired"),
                Err(error) => tracing::error!(failure = %Failure::from(error), "nothing expires until the next round"),
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
        }
    }

    async fn prunings(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut removable = self.desk.removable.subscribe();
        while !self.stop.load(Ordering::Relaxed) {
            let keeper = self.clone();
            removable.borrow_and_update();
            let pruned = tokio::task::spawn_blocking(move || keeper.prune()).await;
            let failed = match pruned {
                Ok(Err(failure)) if !self.stop.load(Ordering::Relaxed) => {
                    tracing::warn!(%failure, "what is no longer kept is not removed yet; it is tried again");
                    true
                }
                _ => false,
            };
            tokio::select! {
                _ = removable.changed() => {}
                () = tokio::time::sleep(AGAIN), if failed => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
        }
    }
}

/// Which entries the published log says have expired.
pub(crate) struct Expired {
    all: Ranges,
    said: Vec<(u64, Erase)>,
}

impl Expired {
    pub(crate) fn read(reader: &Reader, catalog: &Catalog) -> Result<Self, Failure> {
        let size = reader.checkpoint()?.size;
        let mut said = Vec::new();
        for (index, kind) in catalog.custody()? {
            if kind == Kind::Expire
                && index < size
                && let Ok(Entry { erase: Some(erase), .. }) = Entry::parse(&reader.entry(index, size)?)
            {
                said.push((index, erase));
            }
        }
        Ok(Self { all: tabellion_ledger::expired(reader, catalog)?, said })
    }

    /// The entry that says of another that it expired.
    pub(crate) fn by(&self, entry: u64) -> Option<u64> {
        let said = || self.said.iter().find(|(index, erase)| *index > entry && erase.names(entry));
        self.all.has(entry).then(said).flatten().map(|(index, _)| *index)
    }
}

/// Who acts, where nobody in particular does.
const ACTOR: &str = "retention";

/// How many entries are in the published checkpoint, and in the catalog.
fn published(ledger: &Ledger) -> Result<u64, LedgerError> {
    let cataloged = ledger.catalog().position()?.map_or(0, |(size, _)| size);
    match ledger.reader().checkpoint() {
        // The first one waits for its witnesses.
        Err(LedgerError::Missing { .. }) => Ok(0),
        read => Ok(read?.size.min(cataloged)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("chat-*", "chat-1", true),
            ("chat-*", "chat", false),
            ("*-eu", "a-eu", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxcyyb", false),
            ("a*a", "a", false),
            ("*a*", "bab", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn half_a_year_is_the_longest_six_months() {
        for (text, expected) in
            [("6 months", true), ("184d", true), ("183d", false), ("1y", true), ("180d", false), ("27w", true)]
        {
            assert_eq!(keeps_half_a_year(span(text).unwrap()), expected, "{text}");
        }
        assert!(span("0d").is_none() && span("-1d").is_none() && span("soon").is_none());
    }
}
