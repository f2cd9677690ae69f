//! Custody acts. (DESIGN: every look is on the record.)
//!
//! An act is recorded before it takes effect: by the command, which opens the log for as long as that takes, or while a
//! server has the log, by that one, which is asked over its own listener with the key that only the log's owner can read;
//! or by whoever has a key whose role may (`access`). Whoever writes it judges it first as a verifier will, so that
//! nothing is written that does not verify.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{Method, header};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tabellion_evidence::custody::{self as rules, Fault, Right, Role, Said, Statement};
use tabellion_evidence::entry::{Entry, Erase, Export, Kind, Reveal};
use tabellion_evidence::tile::WIDTH;
use tabellion_evidence::tree::Hash;
use tabellion_gateway::dialect::Kind as Dialect;
use tabellion_gateway::{Unreachable, Upstream, Upstreams, read_body};
use tabellion_ledger::{LedgerError, Reader};
use tabellion_vault::Erased;
use tokio::sync::watch;

use crate::access::{Access, Caller};
use crate::commands::Log;
use crate::commands::serve::runtime;
use crate::config::Config;
use crate::failure::Failure;
use crate::notary::{Draft, Notary};
use crate::retention::{self, Expiry, Keeper, Rules};
use crate::secrets::Secrets;
use crate::{Ended, api, chains, serve, ui};

/// Where the running server takes acts.
pub(crate) const PATH: &str = "/api/v1/custody";
const TIMEOUT: Duration = Duration::from_secs(30);
/// A round of retention reads the whole log.
const ROUND_TIMEOUT: Duration = Duration::from_secs(3600);
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What somebody is about to do. It cannot be printed: it is not redacted yet.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Act {
    /// Who, as the operating system says. Of whoever comes with a key, the key says it.
    #[serde(default)]
    pub(crate) actor: String,
    /// Why, in their own words.
    #[serde(default)]
    pub(crate) why: Option<String>,
    /// The index of the approval that it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) approval: Option<u64>,
    /// What.
    pub(crate) what: What,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum What {
    /// Hand out a bundle.
    Export { manifest: Hash, selection: BTreeMap<String, String>, exchanges: u64, page: Hash },
    /// Make a report. `manifest` is of the list of its files.
    Report { manifest: Hash, selection: BTreeMap<String, String>, exchanges: u64 },
    /// Issue a key. Whoever draws it sends its hash, or the public key of one that signs.
    KeyIssue {
        key: String,
        role: Role,
        holder: String,
        #[serde(default)]
        sha256: Option<Hash>,
        #[serde(default)]
        public: Option<String>,
        #[serde(default)]
        expires: Option<String>,
        #[serde(default)]
        upstreams: Vec<String>,
    },
    /// Revoke a key.
    KeyRevoke { key: String },
    /// Place a legal hold: on a case, on exchanges (that a query found), on whatever is about a subject.
    HoldPlace {
        #[serde(default)]
        case: Option<String>,
        #[serde(default)]
        exchanges: Vec<String>,
        #[serde(default)]
        subject: Option<String>,
        #[serde(default)]
        query: Option<String>,
    },
    /// Lift a legal hold.
    HoldLift { hold: String },
    /// Open a case.
    CaseOpen { case: String },
    /// Close a case.
    CaseClose { case: String },
    /// Ask for the approval of an act.
    Request { kind: String, details: BTreeMap<String, String> },
    /// Approve an act that somebody asked for. The key that signs is the one that the statement names.
    Approve { statement: String, signature: String },
    /// Show an original, or give its salt out.
    Reveal(Reveal),
    /// Destroy what opens originals.
    Erase(Erase),
    /// Have what is no longer kept expire: a round of its own.
    Expire {},
    /// What expires. Only a round says so.
    #[serde(skip)]
    Expired(Expiry),
    /// Have other acts need an approval from now on, or other things be kept. Only a configuration says so.
    #[serde(skip)]
    PolicyChange { approve: Option<BTreeSet<String>>, details: BTreeMap<String, String> },
}

/// A hold names at most so many exchanges, so that it is one entry.
pub(crate) const HELD_MAX: usize = 1_000;

/// Why an act is not recorded.
pub(crate) enum Unrecorded {
    /// It does not say what it has to.
    Malformed(&'static str),
    /// It is against the rules of custody.
    Against(Fault),
    /// It would erase what a hold covers.
    Held { exchange: String, hold: String },
    /// It is recorded, but what it says was erased is not erased yet.
    NotErased(Failure),
    /// The log cannot be written.
    Log(Failure),
}

impl From<Unrecorded> for Failure {
    fn from(unrecorded: Unrecorded) -> Self {
        match unrecorded {
            Unrecorded::Malformed(why) => Self::usage(format!("this is no act of custody: {why}")),
            Unrecorded::Against(fault) => against(fault),
            Unrecorded::Held { exchange, hold } => held(&exchange, &hold),
            Unrecorded::NotErased(failure) | Unrecorded::Log(failure) => failure,
        }
    }
}

/// What a command says of an erasure that a hold forbids.
fn held(exchange: &str, hold: &str) -> Failure {
    Failure::evidence(format!("nothing is erased: the hold {hold} covers the exchange {exchange}"))
        .hint("erase the others, or have the hold lifted: see `tabellion hold list`")
}

/// What a command says of an act that is against the rules.
fn against(fault: Fault) -> Failure {
    let failure = Failure::evidence(format!("the act is refused, because it {fault}"));
    match fault {
        Fault::ApprovalMissing => failure.hint("ask for one with --ask, and name it with --approval"),
        Fault::ApprovalExpired | Fault::ApprovalUsed | Fault::ApprovalOther => {
            failure.hint("ask for another with --ask")
        }
        Fault::ApprovalOwn => failure.hint("somebody else must approve it"),
        Fault::KeyTwice | Fault::RevokeUnissued => failure.hint("see `tabellion key list`"),
        Fault::HoldUnplaced => failure.hint("see `tabellion hold list`"),
        Fault::CaseOpen | Fault::CaseClosed => failure.hint("see `tabellion case list`"),
        _ => failure,
    }
}

/// Who asks for an act.
pub(crate) enum Who {
    /// The log's owner, by a command of theirs, or over the network.
    Owner(Option<IpAddr>),
    /// Somebody with a key.
    Caller(Caller, IpAddr),
}

impl Act {
    fn kind(&self) -> Kind {
        match self.what {
            What::Export { .. } => Kind::Export,
            What::Report { .. } => Kind::Report,
            What::KeyIssue { .. } => Kind::KeyIssue,
            What::KeyRevoke { .. } => Kind::KeyRevoke,
            What::HoldPlace { .. } => Kind::HoldPlace,
            What::HoldLift { .. } => Kind::HoldLift,
            What::CaseOpen { .. } => Kind::CaseOpen,
            What::CaseClose { .. } => Kind::CaseClose,
            What::Request { .. } => Kind::ApprovalRequest,
            What::Approve { .. } => Kind::Approve,
            What::PolicyChange { .. } => Kind::PolicyChange,
            What::Reveal(_) => Kind::Reveal,
            What::Erase(_) => Kind::Erase,
            What::Expire {} | What::Expired(_) => Kind::Expire,
        }
    }

    /// The entry, redacted. What is not redacted, because it is compared or computed with, is of a form in which nothing
    /// personal can stand, or is held against what the log has before it is written.
    fn draft(&self, notary: &Notary, who: &Who) -> Result<Draft, Unrecorded> {
        let malformed = |what| Err(Unrecorded::Malformed(what));
        let mut draft = Draft::new(self.kind(), None);
        let mut act = rules::Act { approval: self.approval, ..rules::Act::default() };
        let from = match who {
            Who::Owner(from) => {
                draft.entry.actor = Some(draft.label(notary, &self.actor));
                *from
            }
            Who::Caller(caller, from) => {
                draft.entry.actor = Some(caller.holder.clone());
                draft.entry.key = Some(caller.key.clone());
                Some(*from)
            }
        };
        if let Some(from) = from {
            act.from = Some(draft.address(notary, from));
        }
        if let Some(why) = &self.why {
            draft.why(notary, why);
        }
        let labels = |draft: &mut Draft, texts: &BTreeMap<String, String>| {
            let texts = texts.iter().take(crate::notary::TAGS_MAX);
            texts.map(|(name, value)| (draft.label(notary, name), draft.label(notary, value))).collect()
        };
        match &self.what {
            What::Export { manifest, selection, exchanges, page } => {
                let selection = labels(&mut draft, selection);
                let page = Some(*page);
                draft.entry.export = Some(Export { manifest: *manifest, selection, exchanges: *exchanges, page });
            }
            What::Report { manifest, selection, exchanges } => {
                let selection = labels(&mut draft, selection);
                draft.entry.export = Some(Export { manifest: *manifest, selection, exchanges: *exchanges, page: None });
            }
            What::KeyIssue { key, role, holder, sha256, public, expires, upstreams } => {
                let holder = draft.label(notary, holder.trim());
                if holder.is_empty() {
                    return malformed("a key has a holder");
                }
                act.key = Some(key.clone());
                act.role = Some(role.to_string());
                act.holder = Some(holder);
                (act.sha256, act.public, act.expires) = (*sha256, public.clone(), expires.clone());
                // As they stand in an exchange's entry: names from the configuration, which are no text of anybody's.
                let plain = |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
                if !upstreams.iter().all(plain) || upstreams.len() > crate::notary::TAGS_MAX {
                    return malformed("upstreams are named as in the configuration");
                }
                act.upstreams.clone_from(upstreams);
            }
            What::KeyRevoke { key } => act.key = Some(key.clone()),
            What::HoldPlace { case, exchanges, subject, query } => {
                draft.entry.case = case.as_ref().map(|case| draft.label(notary, case));
                if exchanges.len() > HELD_MAX {
                    return malformed("a hold names at most 1,000 exchanges");
                }
                if !exchanges.iter().all(|exchange| exchange.parse::<ulid::Ulid>().is_ok()) {
                    return malformed("an exchange is named by its ID");
                }
                act.exchanges = exchanges.iter().map(|exchange| exchange.to_ascii_uppercase()).collect();
                if let Some(subject) = subject {
                    act.tokens = notary.subject_tokens(subject);
                    if act.tokens.is_empty() {
                        return malformed("no recognizer takes this value for personal data");
                    }
                }
                act.query = query.as_ref().map(|query| draft.label(notary, query));
            }
            What::HoldLift { hold } => act.hold = Some(hold.to_ascii_uppercase()),
            What::CaseOpen { case } | What::CaseClose { case } => {
                draft.entry.case = Some(draft.label(notary, case));
            }
            What::Request { kind, details } => {
                if !rules::APPROVABLE.contains(&&**kind) {
                    return malformed("there is no approval of such an act");
                }
                act.kind = Some(kind.clone());
                act.details = labels(&mut draft, details);
            }
            What::Approve { statement, signature } => {
                let Some(said) = Statement::parse(statement) else { return malformed("the statement is none") };
                // It was redacted before it was signed, and cannot be changed now.
                if draft.label(notary, &said.reason) != said.reason {
                    return malformed("the statement's reason is not redacted, or too long");
                }
                draft.entry.why = Some(said.reason);
                draft.entry.key = Some(said.key);
                (act.statement, act.signature) = (Some(statement.clone()), Some(signature.clone()));
            }
            What::PolicyChange { approve, details } => {
                act.approve.clone_from(approve);
                act.details = labels(&mut draft, details);
            }
            What::Expire {} => return malformed("it is no act by itself"),
            What::Expired(Expiry { erase, .. }) => {
                let selection = labels(&mut draft, &erase.selection);
                draft.entry.erase = Some(Erase { selection, ..erase.clone() });
            }
            What::Reveal(reveal) => draft.entry.reveal = Some(reveal.clone()),
            What::Erase(Erase { entries, selection, basis }) => {
                let selection = labels(&mut draft, selection);
                let basis = basis.as_ref().map(|basis| draft.label(notary, basis));
                draft.entry.erase = Some(Erase { entries: entries.clone(), selection, basis });
            }
        }
        if act != rules::Act::default() {
            draft.entry.act = Some(Box::new(act));
        }
        Ok(draft)
    }
}

/// What came of an act.
#[derive(Serialize, Deserialize)]
pub(crate) struct Recorded {
    /// The entry that says it.
    pub(crate) entry: u64,
    /// What an erasure destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) erased: Option<ErasedSummary>,
    /// What a round of retention came to; `entry` is the last that it recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expired: Option<retention::Outcome>,
}

/// What an erasure came to, for whoever asked for it.
#[derive(Serialize, Deserialize)]
pub(crate) struct ErasedSummary {
    /// Entries whose salts are gone.
    pub(crate) entries: u64,
    /// Sealed pieces whose keys are gone.
    pub(crate) pieces: u64,
    /// Sealed pieces that can still be opened, each with the id of an entry that names it too.
    pub(crate) remaining: Vec<(Hash, String)>,
}

impl From<Erased> for ErasedSummary {
    fn from(erased: Erased) -> Self {
        let remaining = erased.remaining.into_iter().map(|piece| (piece.name, piece.because)).collect();
        Self { entries: erased.entries, pieces: erased.pieces, remaining }
    }
}

/// What the log itself says against an act, whoever does it. The rules of custody are another matter ([`rules::State`]).
fn permit(notary: &Notary, state: &rules::State, what: &What) -> Result<(), Unrecorded> {
    let ledger = notary.ledger();
    let size = ledger.catalog().position().map_err(log_failed)?.map_or(0, |(size, _)| size);
    match what {
        What::Reveal(reveal) if reveal.entry >= size => {
            Err(Unrecorded::Malformed("the published log has no such entry"))
        }
        What::Reveal(reveal) => {
            // It may have been erased since whoever asks has opened it.
            let entry = Entry::parse(&ledger.reader().entry(reveal.entry, size).map_err(log_failed)?);
            match entry.is_ok_and(|entry| notary.originals().is_erased(&entry.id)) {
                true => Err(Unrecorded::Malformed("the original was erased")),
                false => Ok(()),
            }
        }
        What::Erase(erase) | What::Expired(Expiry { erase, .. }) => {
            if erase.entries.is_empty() || erase.entries.iter().any(|&(_, last)| last >= size) {
                return Err(Unrecorded::Malformed("the published log has no such entry"));
            }
            let ordered = erase.entries.iter().all(|(first, last)| first <= last)
                && erase.entries.windows(2).all(|pair| pair[0].1 < pair[1].0);
            if !ordered {
                return Err(Unrecorded::Malformed("entries are named in ranges, ascending, each once"));
            }
            let about_persons = state.holds().values().any(|hold| !hold.tokens.is_empty());
            let mut asked = BTreeSet::new();
            let mut bundle: (u64, Vec<Vec<u8>>) = (u64::MAX, Vec::new());
            for index in erase.entries.iter().flat_map(|&(first, last)| first..=last) {
                if bundle.0 != index / WIDTH {
                    bundle = (index / WIDTH, ledger.reader().entries(index / WIDTH, size).map_err(log_failed)?);
                }
                let entry = bundle.1.get((index % WIDTH) as usize).map_or(&[][..], Vec::as_slice);
                let entry = Entry::parse(entry);
                // Entries of custody have nothing to erase, and a range over them would say that they had.
                let entry = entry.ok().filter(|entry| matches!(entry.kind, Kind::Request | Kind::Response));
                let Some(exchange) = entry.and_then(|entry| entry.exchange) else {
                    return Err(Unrecorded::Malformed("it names an entry that is no request and no response"));
                };
                if state.holds().is_empty() || !asked.insert(exchange.clone()) {
                    continue;
                }
                let catalog = ledger.catalog();
                let exchange = catalog.exchange(&exchange).map_err(log_failed)?;
                let exchange = exchange.ok_or(Unrecorded::Malformed("the published log has no such exchange"))?;
                if exchange.response.is_none() && about_persons {
                    return Err(Unrecorded::Malformed(
                        "it names an exchange whose answer is not published, and may be held",
                    ));
                }
                let held = chains::held_by(ledger.reader(), &catalog, state, &exchange).map_err(Unrecorded::Log)?;
                if let Some(hold) = held {
                    return Err(Unrecorded::Held { exchange: exchange.id, hold });
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn log_failed(error: LedgerError) -> Unrecorded {
    Unrecorded::Log(error.into())
}

/// An act that is refused: against which rule, or that a hold covers it.
#[derive(Serialize, Deserialize)]
struct Refusal {
    code: String,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exchange: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<String>,
}

/// The code of a refusal by a hold, beside those of [`Fault`].
const HELD: &str = "held";

/// Records acts, one after the other.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) notary: Arc<Notary>,
    pub(crate) access: Arc<Access>,
    /// The last entry that says that something is to be removed from what is stored.
    pub(crate) removable: watch::Sender<u64>,
}

impl Desk {
    /// Judges an act, appends it, and does what only the process that has the log can do. Until then nobody else acts.
    ///
    /// 1. Nothing is against it. A crash here, or before 2 is done: nothing happened.
    /// 2. It is appended.
    /// 3. What it says is erased is destroyed. A crash before that is done: the next start does it (`originals`).
    pub(crate) async fn perform(&self, act: &Act, who: &Who) -> Result<Recorded, Unrecorded> {
        let mut draft = act.draft(&self.notary, who)?;
        let mut state = self.access.state.write().await;
        tokio::task::block_in_place(|| permit(&self.notary, &state, &act.what))?;
        if let (Kind::Approve, Some(key)) = (&draft.entry.kind, &draft.entry.key) {
            // Whoever signed it, whoever brought it.
            draft.entry.actor = state.keys().get(key).map(|key| key.holder.clone());
        }
        let said = Said::of(&draft.entry);
        if let Some(fault) = said.as_ref().and_then(|said| state.judge(said).first().copied()) {
            return Err(Unrecorded::Against(fault));
        }
        let entry = serve::append_custody(&self.notary, draft).await.map_err(Unrecorded::Log)?;
        if let Some(said) = said {
            state.take(entry, &said, &mut |_| {});
        }
        let erased = match &act.what {
            What::Erase(erase) => {
                let erased = self.notary.originals().erase(self.notary.ledger(), erase).await;
                Some(erased.map_err(Unrecorded::NotErased)?.into())
            }
            What::Expired(expiry) => {
                let erased = self.notary.originals().expire(expiry).await;
                Some(erased.map_err(Unrecorded::NotErased)?.into())
            }
            _ => None,
        };
        if let What::Erase(_) = act.what {
            self.removable.send_replace(entry);
        }
        Ok(Recorded { entry, erased, expired: None })
    }

    /// Records it if other acts need an approval by the configuration than by the log, or other things are kept.
    pub(crate) async fn declare_policy(&self, config: &Config) -> Result<(), Failure> {
        let approve: BTreeSet<String> = config.custody.approve.iter().map(|act| format!("custody.{act}")).collect();
        let details = Rules::new(config, |text| Ok(self.notary.redacted(text)))?.said();
        let (approve, details) = {
            let state = self.access.state.read().await;
            let approve = (*state.approve() != approve).then_some(approve);
            // Before the first rule nothing has to be said of retention.
            let said = if state.policy().is_empty() { Rules::none() } else { state.policy().clone() };
            (approve, if said == details { BTreeMap::new() } else { details })
        };
        if approve.is_none() && details.is_empty() {
            return Ok(());
        }
        let what = What::PolicyChange { approve, details };
        let act = Act { actor: operator(), why: None, approval: None, what };
        self.perform(&act, &Who::Owner(None)).await?;
        Ok(())
    }
}

/// Asks for the approval of an act, and says what to approve.
pub(crate) fn ask_approval(
    log: &Log,
    actor: String,
    why: Option<String>,
    kind: &Kind,
    details: BTreeMap<String, String>,
) -> Ended {
    let what = What::Request { kind: kind.to_string(), details };
    let entry = record(&log.config, &log.reader, Act { actor, why, approval: None, what })?.entry;
    ui::note(format!("asked for; another officer approves it with: tabellion approve {entry} --key F --reason WHY"));
    ui::result(entry)?;
    Ok(ExitCode::SUCCESS)
}

/// Whoever runs the command.
pub(crate) fn operator() -> String {
    let id = rustix::process::getuid().as_raw();
    match std::env::var("USER") {
        Ok(name) if !name.is_empty() => format!("{name} (uid {id})"),
        _ => format!("uid {id}"),
    }
}

/// Records an act, and waits until it is published.
pub(crate) fn record(config: &Config, reader: &Reader, act: Act) -> Result<Recorded, Failure> {
    let runtime = runtime()?;
    let deadline = Instant::now() + TIMEOUT;
    let recorded = runtime.block_on(async {
        loop {
            // Only while another process has the log is an address in its directory anybody's whom to tell the key.
            if let Some(recorded) = serve::record_alone(config, &act).await? {
                return Ok(recorded);
            }
            if let Some(console) = serve::console_of(&config.data)?
                && let Some(recorded) = ask(config, &console, &act).await?
            {
                return Ok(recorded);
            }
            // A server that starts or stops, or another command.
            if Instant::now() > deadline {
                return Err(Failure::from(LedgerError::InUse));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })?;
    let deadline = Instant::now() + TIMEOUT;
    while reader.checkpoint()?.size <= recorded.entry {
        if Instant::now() > deadline {
            return Err(Failure::environment("the act is recorded, but the log is not published")
                .hint("is the disk full, or does the checkpoint wait for witnesses? acts may be recorded twice"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(recorded)
}

/// Asks the running server; `None` when there is none.
async fn ask(config: &Config, console: &str, act: &Act) -> Result<Option<Recorded>, Failure> {
    let secrets = Secrets::existing(&config.keys())?.ok_or_else(|| {
        Failure::environment("the keys of the log are not here").hint("name their directory with `keys`")
    })?;
    let upstream = Upstream::new("console", Dialect::Generic, console)
        .ok_or_else(|| Failure::environment("the server's address is malformed"))?;
    let upstreams = Upstreams::new(vec![upstream], None);
    let path = format!("/console{PATH}");
    let target = upstreams.route(&path).ok_or_else(|| Failure::internal("no such path"))?;
    let mut headers = HeaderMap::new();
    let bearer = format!("Bearer {}", hex::encode(*secrets.local));
    headers.insert(header::AUTHORIZATION, bearer.parse().expect("hexadecimal is a header's value"));
    headers.insert(header::CONTENT_TYPE, "application/json".parse().expect("a header's value"));
    let body = serde_json::to_vec(act).map_err(|error| Failure::internal("cannot write the act").because(error))?;
    let answer = match upstreams.send(&target, Method::POST, &headers, Bytes::from(body)).await {
        Ok(answer) => answer,
        Err(Unreachable::Connect) => return Ok(None),
        Err(error) => return Err(Failure::environment("the running server did not answer").because(error)),
    };
    let status = answer.status();
    let patience = if matches!(act.what, What::Expire {}) { ROUND_TIMEOUT } else { TIMEOUT };
    let body = read_body(answer.into_body(), ANSWER_BYTES_MAX, patience)
        .await
        .map_err(|error| Failure::environment("the server did not answer").because(error))?;
    if status == StatusCode::CONFLICT
        && let Ok(Refusal { code, exchange, hold, .. }) = serde_json::from_slice(&body)
    {
        if let (HELD, Some(exchange), Some(hold)) = (&*code, exchange, hold) {
            return Err(held(&ui::plain(&exchange), &ui::plain(&hold)));
        }
        if let Some(fault) = Fault::ALL.into_iter().find(|fault| fault.code() == code) {
            return Err(against(fault));
        }
    }
    if status == StatusCode::BAD_REQUEST {
        let why = ui::plain(String::from_utf8_lossy(&body).trim());
        return Err(Failure::usage(format!("this is no act of custody: {why}")));
    }
    if status != StatusCode::OK {
        return Err(Failure::environment(format!("the running server did not record the act: it answered {status}")));
    }
    let recorded = serde_json::from_slice(&body)
        .map_err(|error| Failure::environment("the running server's answer cannot be read").because(error))?;
    Ok(Some(recorded))
}

/// Performs an act, or a round of retention.
pub(crate) async fn perform(desk: &Desk, keeper: &Keeper, act: &Act, who: &Who) -> Result<Recorded, Unrecorded> {
    let What::Expire {} = act.what else { return desk.perform(act, who).await };
    let expired = keeper.round(&act.actor, act.why.as_deref(), Some(who)).await?;
    let entry = expired.recorded.last().copied().unwrap_or(0);
    Ok(Recorded { entry, erased: None, expired: Some(expired) })
}

/// What the server needs to take acts over the network.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) desk: Desk,
    pub(crate) keeper: Arc<Keeper>,
    /// The key of the log's owner.
    pub(crate) local: Arc<zeroize::Zeroizing<[u8; 32]>>,
}

impl Door {
    /// Whether a request comes from the log's owner.
    pub(crate) fn is_owner(&self, headers: &HeaderMap) -> bool {
        let mut given = zeroize::Zeroizing::new([0; 32]);
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        bearer.is_some_and(|bearer| hex::decode_to_slice(bearer, &mut *given).is_ok())
            && bool::from(given.ct_eq(&**self.local))
    }
}

/// Takes an act from the log's owner, or from whoever has a key whose role may.
async fn take(
    State(door): State<Door>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let act = serde_json::from_slice::<Act>(&body);
    let who = if door.is_owner(&headers) {
        Who::Owner(Some(peer.ip()))
    } else {
        // Without a key nobody is told what is wrong with the act.
        let right = act.as_ref().ok().and_then(|act| Right::of(act.kind().as_str())).unwrap_or(Right::Custody);
        match door.desk.access.admit(&headers, peer.ip(), right, true).await {
            Ok(Some(caller)) => Who::Caller(caller, peer.ip()),
            Ok(None) => return StatusCode::UNAUTHORIZED.into_response(),
            Err(refused) => return api::refuse(refused),
        }
    };
    let Ok(act) = act else {
        return (StatusCode::BAD_REQUEST, "this is no custody act\n").into_response();
    };
    // Whoever asked may go away; what was begun is done to its end.
    let performed = tokio::spawn(async move { perform(&door.desk, &door.keeper, &act, &who).await }).await;
    match performed.unwrap_or_else(|_| Err(Unrecorded::Log(Failure::internal("an act of custody broke off")))) {
        Ok(recorded) => Json(recorded).into_response(),
        Err(Unrecorded::Malformed(why)) => (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
        Err(Unrecorded::Against(fault)) => {
            let (code, message) = (fault.code().to_owned(), format!("the act {fault}"));
            (StatusCode::CONFLICT, Json(Refusal { code, message, exchange: None, hold: None })).into_response()
        }
        Err(Unrecorded::Held { exchange, hold }) => {
            let message = "a hold covers an exchange that it would erase".to_owned();
            let refused = Refusal { code: HELD.to_owned(), message, exchange: Some(exchange), hold: Some(hold) };
            (StatusCode::CONFLICT, Json(refused)).into_response()
        }
        Err(Unrecorded::NotErased(failure)) => {
            tracing::error!(%failure, "an erasure is recorded and not carried out; the next start carries it out");
            (StatusCode::SERVICE_UNAVAILABLE, "recorded, and not carried out yet: the next start does it\n")
                .into_response()
        }
        Err(Unrecorded::Log(_)) => (StatusCode::SERVICE_UNAVAILABLE, "the log cannot be written\n").into_response(),
    }
}

/// The route.
pub(crate) fn router(door: Door) -> axum::Router {
    axum::Router::new().route(PATH, axum::routing::post(take)).with_state(door)
}
