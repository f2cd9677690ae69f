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

use jiff::{SignedDuration, Span, Timestamp};
use serde::{Deserialize, Serialize};
use tabellion_evidence::custody as rules;
use tabellion_evidence::entry::{Entry, Erase, Kind};
use tabellion_evidence::ranges::Ranges;
use tabellion_evidence::salt::Path;
use tabellion_evidence::tile::WIDTH;
use tabellion_ledger::{Catalog, Exchange, Ledger, LedgerError, Pruned, Reader};
use tokio::sync::{Mutex, watch};
use ulid::Ulid;

use crate::chains;
use crate::config::{Config, ConfigError};
use crate::custody::{Act, Desk, Unrecorded, What, Who};
use crate::failure::Failure;
use crate::notary::Notary;

/// One `custody.expire` is of at most so many entries, in at most so many ranges.
const ENTRIES_MAX: usize = 2_048;
const RANGES_MAX: usize = 1_000;
/// So many ids are held at once, the oldest: 128 MiB.
const ALIVE_MAX: usize = if cfg!(test) { 1 << 10 } else { 8 << 20 };
/// No entry comes into the log with an id that is older than that.
const LATE: Duration = Duration::from_secs(24 * 3600);
/// After a longer silence of the log the clock is not believed.
const SILENCE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long the published log is waited for.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(60);
/// What could not be removed is tried again after that.
const AGAIN: Duration = Duration::from_secs(5);
/// What was too much at once goes on after that.
const MORE: Duration = Duration::from_secs(3700);

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
    ids: [Ulid; 2],
}

/// What a look at the log finds.
#[derive(Default)]
pub(crate) struct Found {
    due: Vec<Due>,
    /// How many would be, if no hold covered them.
    pub(crate) held: u64,
    alive: Alive,
    /// The last time that anybody but this process noted.
    before: Option<Timestamp>,
}

impl Found {
    /// How many exchanges are to expire, by the rule that says so.
    pub(crate) fn by_rule(&self, rules: &Rules) -> Vec<(BTreeMap<String, String>, u64)> {
        let of = |rule| self.due.iter().filter(|due| due.rule == rule).count() as u64;
        rules.0.iter().enumerate().map(|(position, rule)| (rule.said.clone(), of(position))).collect()
    }
}

/// The ids of all entries of exchanges, and of others that commit to something, that have not expired, sorted. Between two
/// of them that are older than what may still come there never will be another, so what lies there can be cleared as one.
#[derive(Default)]
struct Alive {
    ids: Vec<Ulid>,
    /// Which of them have expired since.
    gone: Vec<bool>,
    /// Of later ones nothing is known.
    from: Ulid,
}

impl Alive {
    fn new(mut ids: Vec<Ulid>, mut from: Ulid) -> Self {
        ids.sort_unstable();
        if ids.len() > ALIVE_MAX {
            from = from.min(ids[ALIVE_MAX]);
            ids.truncate(ALIVE_MAX);
        }
        Self { gone: vec![false; ids.len()], ids, from }
    }

    /// Notes that these expire; gives the nearest others on both sides of each.
    fn expire(&mut self, ids: &[Ulid]) -> Vec<Ulid> {
        let mut at: Vec<usize> = ids.iter().filter_map(|id| self.ids.binary_search(id).ok()).collect();
        at.sort_unstable();
        for &at in &at {
            self.gone[at] = true;
        }
        let (Some(&first), Some(&last)) = (at.first(), at.last()) else { return Vec::new() };
        let mut near: Vec<usize> = self.gone[..first].iter().rposition(|gone| !gone).into_iter().collect();
        for pair in at.windows(2) {
            let between = &self.gone[pair[0]..pair[1]];
            near.extend(between.iter().position(|gone| !gone).map(|further| pair[0] + further));
            near.extend(between.iter().rposition(|gone| !gone).map(|further| pair[0] + further));
        }
        near.extend(self.gone[last..].iter().position(|gone| !gone).map(|further| last + further));
        near.into_iter().map(|at| self.ids[at]).collect()
    }

    /// Takes back that these expire.
    fn keep(&mut self, ids: &[Ulid]) {
        for at in ids.iter().filter_map(|id| self.ids.binary_search(id).ok()) {
            self.gone[at] = false;
        }
    }
}

fn path(id: Ulid) -> Path {
    Path::of(&id.to_string()).expect("a ULID is a way")
}

/// What 1 finds. `ours` is what this process calls itself in the log; `done` are entries that it has had expire and that the
/// log may not say so of yet.
pub(crate) fn look(
    reader: &Reader,
    catalog: &Catalog,
    state: &rules::State,
    rules: &Rules,
    (ours, done): (Option<&str>, &Ranges),
    stop: &AtomicBool,
) -> Result<Found, Failure> {
    let now = Timestamp::now();
    let mut found = Found::default();
    let mut alive = Vec::new();
    let published = reader.checkpoint()?.size;
    // More is in the log than is published, while witnesses are waited for.
    let size = catalog.position()?.map_or(0, |(size, _)| size).max(published);
    let expired = tabellion_ledger::expired(reader, catalog, size)?;
    let mut open: HashMap<String, (u64, Ulid, Sides)> = HashMap::new();
    for number in 0..size.div_ceil(WIDTH) {
        if stop.load(Ordering::Relaxed) {
            return Ok(Found::default());
        }
        for (index, bytes) in (number * WIDTH..).zip(reader.entries(number, size)?) {
            let Ok(entry) = Entry::parse(&bytes) else { continue };
            let time = entry.time.parse::<Timestamp>().ok();
            if ours.is_some_and(|ours| entry.producer.as_deref() != Some(ours)) {
                found.before = found.before.max(time);
            }
            if expired.has(index) || done.has(index) {
                continue;
            }
            let id = entry.id.parse::<Ulid>().ok();
            alive.extend(id.filter(|_| entry.original.is_some() || !entry.kind.is_custody()));
            let (Some(exchange), Some(id)) = (entry.exchange.clone(), id) else { continue };
            match entry.kind {
                Kind::Request => {
                    let mut sides = Sides::default();
                    sides.take(entry);
                    open.insert(exchange, (index, id, sides));
                }
                Kind::Response => {
                    let Some((request, request_id, mut sides)) = open.remove(&exchange) else { continue };
                    sides.take(entry);
                    let rule = rules.of(&sides).filter(|(_, rule)| {
                        time.and_then(|time| after(time, rule.keep)).is_some_and(|until| until <= now)
                    });
                    let Some((rule, _)) = rule.filter(|_| index < published) else { continue };
                    let exchange = Exchange { id: exchange, request: Some(request), response: Some(index) };
                    if chains::held_by(reader, catalog, state, &exchange)?.is_some() {
                        found.held += 1;
                    } else {
                        found.due.push(Due { rule, entries: [request, index], ids: [request_id, id] });
                    }
                }
                _ => {}
            }
        }
    }
    let late = now - SignedDuration::try_from(LATE).expect("a day");
    let from = Ulid::from_parts(late.as_millisecond().max(0) as u64, 0);
    found.alive = Alive::new(alive, from);
    Ok(found)
}

impl Found {
    /// What one `custody.expire` each is of, and by which rule.
    fn acts(&self, rules: &Rules) -> Vec<(usize, Vec<&Due>)> {
        let mut acts = Vec::new();
        for rule in 0..rules.0.len() {
            let mut act: Vec<&Due> = Vec::new();
            let (mut ranges, mut last) = (0, [u64::MAX; 2]);
            for due in self.due.iter().filter(|due| due.rule == rule) {
                // At most so many ranges more: it may join others.
                ranges += due.entries.iter().filter(|&&entry| !last.contains(&entry.wrapping_sub(1))).count();
                last = due.entries;
                act.push(due);
                if 2 * act.len() >= ENTRIES_MAX || ranges >= RANGES_MAX - 1 {
                    acts.push((rule, std::mem::take(&mut act)));
                    (ranges, last) = (0, [u64::MAX; 2]);
                }
            }
            if !act.is_empty() {
                acts.push((rule, act));
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
    /// What lies nearest to them and is kept, and from where on entries may still come.
    pub(crate) kept: Vec<Path>,
    pub(crate) from: Path,
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
    /// One round at a time. Which entries it has had expire.
    round: Mutex<Ranges>,
    stop: AtomicBool,
}

impl Keeper {
    pub(crate) fn new(desk: &Desk, config: &Config) -> Result<Self, Failure> {
        let rules = Rules::new(config, |text| Ok(desk.notary.redacted(text)))?;
        let (desk, data) = (desk.clone(), config.data.clone());
        Ok(Self { desk, rules, data, round: Mutex::default(), stop: AtomicBool::new(false) })
    }

    fn notary(&self) -> &Arc<Notary> {
        &self.desk.notary
    }

    /// 1 and 2. By itself (without `who` to ask for it) only if the clock can be right.
    pub(crate) async fn round(&self, actor: &str, why: Option<&str>, who: Option<&Who>) -> Result<Outcome, Unrecorded> {
        let mut done = self.round.lock().await;
        let mut outcome = Outcome::default();
        if self.rules.is_empty() {
            return Ok(outcome);
        }
        let mut found = {
            let state = self.desk.access.state.read().await.clone();
            let ours = Some(self.notary().producer());
            tokio::task::block_in_place(|| {
                // A catalog of its own, so that a long look holds up nobody.
                let catalog = Catalog::open(&tabellion_ledger::catalog_path(&self.data))?;
                let reader = self.notary().ledger().reader();
                look(reader, &catalog, &state, &self.rules, (ours, &done), &self.stop)
            })
            .map_err(Unrecorded::Log)?
        };
        outcome.held = found.held;
        let silence = found.before.map_or(SignedDuration::ZERO, |before| before.duration_until(Timestamp::now()));
        if who.is_none() && !found.due.is_empty() && silence > SignedDuration::try_from(SILENCE_MAX).expect("days") {
            // A clock that is years ahead would destroy everything that any rule is about.
            tracing::error!(
                days = silence.as_hours() / 24,
                "nothing expires by itself after so long a silence of the log: if the clock is right, run `tabellion expire` once"
            );
            return Ok(outcome);
        }
        let mut alive = std::mem::take(&mut found.alive);
        for (rule, act) in found.acts(&self.rules) {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let ids: Vec<Ulid> = act.iter().flat_map(|due| due.ids).collect();
            let entries = Erase::ranges(act.iter().flat_map(|due| due.entries).collect());
            let erase = Erase { entries, selection: self.rules.0[rule].said.clone(), basis: None };
            let ranges = erase.entries.clone();
            let expiry = Expiry {
                erase,
                kept: alive.expire(&ids).into_iter().map(path).collect(),
                from: path(alive.from),
                ids: ids.iter().map(Ulid::to_string).collect(),
            };
            let why = why.map(str::to_owned);
            let act = Act { actor: actor.to_owned(), why, approval: None, what: What::Expired(expiry) };
            let recorded = match self.desk.perform(&act, who.unwrap_or(&Who::Owner(None))).await {
                Ok(recorded) => recorded,
                // A hold was placed since: the next round knows of it.
                Err(Unrecorded::Held { .. }) => {
                    alive.keep(&ids);
                    continue;
                }
                Err(error) => return Err(error),
            };
            ranges.into_iter().for_each(|(first, last)| done.add(first, last));
            done.order();
            outcome.exchanges += ids.len() as u64 / 2;
            outcome.entries += ids.len() as u64;
            outcome.pieces += recorded.erased.map_or(0, |erased| erased.pieces);
            outcome.recorded.push(recorded.entry);
        }
        if let Some(&last) = outcome.recorded.last() {
            self.desk.removable.send_replace(last);
        }
        Ok(outcome)
    }

    /// 3, when the published log says all of it. Blocks.
    pub(crate) fn prune(&self) -> Result<Pruned, Failure> {
        let ledger = self.notary().ledger();
        let entry = self.desk.removable.borrow().to_owned();
        let deadline = Instant::now() + PUBLISHED_WITHIN;
        while published(ledger)? <= entry {
            if Instant::now() > deadline || self.stop.load(Ordering::Relaxed) {
                return Err(Failure::from(LedgerError::Unpublished));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let opens = |piece: &_| self.notary().originals().opens(piece);
        let pruned = ledger.prune(&opens, &self.stop);
        if !matches!(pruned, Ok(Pruned { parts: 0, .. })) {
            // Also after a failure, before which some may have gone.
            self.notary().forget_known();
        }
        let pruned = pruned?;
        if pruned != Pruned::default() {
            let Pruned { parts, pieces, bytes, .. } = pruned;
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
            match self.round(ACTOR, None, None).await {
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
            let again = match pruned {
                Ok(Err(failure)) if !self.stop.load(Ordering::Relaxed) => {
                    tracing::warn!(%failure, "what is no longer kept is not removed yet; it is tried again");
                    Some(AGAIN)
                }
                Ok(Ok(Pruned { more: true, .. })) => Some(MORE),
                _ => None,
            };
            tokio::select! {
                _ = removable.changed() => {}
                () = tokio::time::sleep(again.unwrap_or_default()), if again.is_some() => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
        }
    }
}

/// Which entries the published log says have expired.
pub(crate) struct Expired {
    /// First, last, and the entry that says so, sorted.
    said: Vec<(u64, u64, u64)>,
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
                said.extend(erase.entries.into_iter().map(|(first, last)| (first, last, index)));
            }
        }
        said.sort_unstable();
        Ok(Self { said })
    }

    /// The entry that says of another that it expired.
    pub(crate) fn by(&self, entry: u64) -> Option<u64> {
        // Nothing expires twice, so ranges are apart from each other.
        let after = self.said.partition_point(|(first, ..)| *first <= entry);
        let &(_, last, by) = self.said[..after].last()?;
        (entry <= last && by > entry).then_some(by)
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

    /// Whatever is due, however it is divided into acts, and whichever of these a hold keeps from being done.
    #[tokio::test]
    async fn what_does_not_expire_keeps_its_salts_and_what_does_has_none() {
        let mut state = 7_u64;
        let mut random = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        for round in 0..6 {
            let keys = tempfile::tempdir().unwrap();
            let keyring = tabellion_vault::Keyring::open(keys.path(), true).unwrap();
            let ids: Vec<Ulid> = (0..300)
                .map(|_| {
                    Ulid::from_parts(
                        1_700_000_000_000 + random(50) * [1, 1 << 12, 1 << 25][round % 3],
                        random(1 << 40).into(),
                    )
                })
                .collect();
            let (seldom, known) = (round < 3, 250);
            let from = Ulid::from_parts(1_700_000_000_000 + 30 * [1, 1 << 12, 1 << 25][round % 3], 0);
            let known: Vec<Ulid> =
                ids.iter().take(known).copied().chain(ids[250..].iter().copied().filter(|id| *id < from)).collect();
            let mut alive = Alive::new(known.clone(), from);
            let mut expired: BTreeSet<Ulid> = BTreeSet::new();
            for act in known.chunks(20) {
                let act: Vec<Ulid> = act.iter().copied().filter(|_| seldom || random(4) > 0).collect();
                let near: Vec<Path> = alive.expire(&act).into_iter().map(path).collect();
                if random(3) == 0 {
                    alive.keep(&act);
                    continue;
                }
                keyring.expire(act.iter().map(Ulid::to_string).collect(), &near, &path(alive.from)).await.unwrap();
                expired.extend(act);
            }
            assert!(expired.len() > 50);
            for id in ids {
                let gone = keyring.leaf(&path(id)).unwrap().is_none();
                assert_eq!(gone, expired.contains(&id), "{id} of round {round}");
            }
        }
    }

    #[test]
    fn no_more_ids_are_held_than_there_is_room_for_and_nothing_is_known_of_the_rest() {
        let ids: Vec<Ulid> = (0..ALIVE_MAX as u64 + 10).rev().map(|n| Ulid::from_parts(n, 0)).collect();
        let alive = Alive::new(ids, Ulid::from_parts(u64::from(u32::MAX), 0));
        assert_eq!((alive.ids.len(), alive.from), (ALIVE_MAX, Ulid::from_parts(ALIVE_MAX as u64, 0)));
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
