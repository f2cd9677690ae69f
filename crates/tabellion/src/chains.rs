//! What the log says of custody, for reading: keys, holds, cases and their chains; and the routes that read, these and
//! the redacted content. Who may ask, `api` decides before anything here is reached.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Path, Query as Asked, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tabellion_evidence::custody::{self as rules, Right, Statement};
use tabellion_evidence::entry::{Entry, Kind, Manifest};
use tabellion_evidence::tree::{Hash, leaf_hash};
use tabellion_ledger::{Catalog, Exchange, Reader};
use tabellion_search::Query;

use crate::access;
use crate::commands::{Log, search, show};
use crate::config::Config;
use crate::custody::Desk;
use crate::failure::{Failure, Fault};

/// A key, as a list has it.
#[derive(Serialize)]
pub(crate) struct KeyLine {
    pub(crate) key: String,
    pub(crate) role: &'static str,
    pub(crate) holder: String,
    /// It signs approvals, and opens nothing.
    pub(crate) signs: bool,
    pub(crate) expires: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) upstreams: Vec<String>,
    pub(crate) issued: u64,
    pub(crate) revoked: Option<u64>,
    pub(crate) in_force: bool,
}

/// The keys that the log has issued.
pub(crate) fn keys(state: &rules::State) -> Vec<KeyLine> {
    let now = Some(jiff::Timestamp::now().as_microsecond());
    let line = |(id, key): (&String, &rules::Key)| KeyLine {
        key: id.clone(),
        role: key.role.as_str(),
        holder: key.holder.clone(),
        signs: key.public.is_some(),
        expires: key.expires.clone(),
        upstreams: key.upstreams.iter().cloned().collect(),
        issued: key.issued,
        revoked: key.revoked,
        in_force: key.refused(now).is_none(),
    };
    let mut lines: Vec<KeyLine> = state.keys().iter().map(line).collect();
    lines.sort_by_key(|line| line.issued);
    lines
}

/// A hold in force, as a list has it.
#[derive(Serialize)]
pub(crate) struct HoldLine {
    pub(crate) hold: String,
    pub(crate) entry: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) case: Option<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) exchanges: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) tokens: BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) query: Option<String>,
}

/// The holds in force.
pub(crate) fn holds(state: &rules::State) -> Vec<HoldLine> {
    let mut lines: Vec<HoldLine> = state
        .holds()
        .iter()
        .map(|(id, hold)| HoldLine {
            hold: id.clone(),
            entry: hold.placed,
            case: hold.case.clone(),
            exchanges: hold.exchanges.clone(),
            tokens: hold.tokens.clone(),
            query: hold.query.clone(),
        })
        .collect();
    lines.sort_by_key(|line| line.entry);
    lines
}

/// A case, as a list has it.
#[derive(Serialize)]
pub(crate) struct CaseLine {
    pub(crate) case: String,
    pub(crate) opened: u64,
    pub(crate) closed: Option<u64>,
}

/// The cases that were opened.
pub(crate) fn cases(state: &rules::State) -> Vec<CaseLine> {
    let mut lines: Vec<CaseLine> = state
        .cases()
        .iter()
        .map(|(case, is)| CaseLine { case: case.clone(), opened: is.opened, closed: is.closed })
        .collect();
    lines.sort_by_key(|line| line.opened);
    lines
}

/// One step of a chain of custody.
#[derive(Serialize)]
pub(crate) struct Link {
    /// Its place in the log.
    pub(crate) entry: u64,
    /// Its hash there, which a proof of it leads from.
    pub(crate) leaf: Hash,
    pub(crate) time: String,
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) approved: Option<Approved>,
    /// What exactly.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) what: BTreeMap<&'static str, Value>,
}

/// Who approved it.
#[derive(Serialize, Clone)]
pub(crate) struct Approved {
    pub(crate) entry: u64,
    pub(crate) by: Option<String>,
    pub(crate) key: Option<String>,
}

/// What belongs to a case, as far as it is found.
struct Matter<'a> {
    case: &'a str,
    exchanges: BTreeSet<String>,
    /// The indices of their entries.
    entries: BTreeSet<u64>,
    /// The acts themselves that later ones speak of.
    holds: BTreeSet<String>,
    requests: BTreeSet<u64>,
    approvals: BTreeMap<u64, Approved>,
}

impl Matter<'_> {
    /// Whether an act is about it.
    fn has(&self, entry: &Entry) -> bool {
        let act = entry.act.as_deref();
        let known = |text: &String| self.exchanges.contains(text) || self.holds.contains(text) || text == self.case;
        let exported = entry.export.iter().flat_map(|export| &export.selection);
        let exported = exported.into_iter().any(|(name, value)| match &**name {
            "case" => value == self.case,
            "id" => value.split(' ').any(|id| self.exchanges.contains(&id.to_ascii_uppercase())),
            _ => false,
        });
        let looked_at = entry.reveal.as_ref().is_some_and(|reveal| self.entries.contains(&reveal.entry));
        let erased = entry.erase.iter().flat_map(|erase| &erase.entries);
        let erased = erased.into_iter().any(|&(first, last)| self.entries.range(first..=last).next().is_some());
        let statement = act.and_then(|act| Statement::parse(act.statement.as_deref()?));
        entry.case.as_deref() == Some(self.case)
            || exported
            || looked_at
            || erased
            || statement.is_some_and(|statement| self.requests.contains(&statement.request))
            || act.is_some_and(|act| {
                act.exchanges.iter().any(known) || act.hold.iter().any(known) || act.details.values().any(known)
            })
    }

    fn take(&mut self, index: u64, entry: &Entry) {
        match entry.kind {
            Kind::HoldPlace => drop(self.holds.insert(entry.id.clone())),
            Kind::ApprovalRequest => drop(self.requests.insert(index)),
            Kind::Approve => {
                let approved = Approved { entry: index, by: entry.actor.clone(), key: entry.key.clone() };
                self.approvals.insert(index, approved);
            }
            _ => {}
        }
    }

    fn link(&self, index: u64, bytes: &[u8], entry: Entry) -> Link {
        let mut what = BTreeMap::new();
        let act = entry.act.map(|act| *act).unwrap_or_default();
        for (name, values) in [("exchanges", &act.exchanges), ("tokens", &act.tokens)] {
            if !values.is_empty() {
                what.insert(name, json!(values));
            }
        }
        for (name, value) in [("hold", &act.hold), ("query", &act.query), ("act", &act.kind)] {
            what.extend(value.as_ref().map(|value| (name, json!(value))));
        }
        if !act.details.is_empty() {
            what.insert("details", json!(act.details));
        }
        if let Some(export) = &entry.export {
            what.insert("manifest", json!(export.manifest));
            what.insert("selection", json!(export.selection));
        }
        if let Some(reveal) = &entry.reveal {
            what.insert("reveal", json!(reveal));
        }
        if let Some(erase) = &entry.erase {
            what.insert("entries", json!(erase.count()));
            what.insert("selection", json!(erase.selection));
            what.extend(erase.basis.as_ref().map(|basis| ("basis", json!(basis))));
        }
        if entry.kind == Kind::Request {
            what.insert("exchange", json!(entry.id));
            what.extend(entry.model.map(|model| ("model", json!(model))));
        }
        let approved = act.approval.map(|approval| {
            let unknown = Approved { entry: approval, by: None, key: None };
            self.approvals.get(&approval).cloned().unwrap_or(unknown)
        });
        Link {
            entry: index,
            leaf: leaf_hash(bytes),
            time: entry.time,
            kind: entry.kind.to_string(),
            actor: entry.actor,
            key: entry.key,
            from: act.from,
            why: entry.why,
            approved,
            what,
        }
    }
}

/// The chain of custody of a case, as it is called in the log: what was recorded of it, and every act about it, in the
/// log's order.
pub(crate) fn chain(log: &Log, case: &str) -> Result<Vec<Link>, Failure> {
    let found = search::find(log, &Query { case: Some(case.to_owned()), limit: usize::MAX, ..Query::default() })?;
    let catalog = log.catalog()?;
    let acts = catalog.custody()?.into_iter().filter(|(_, kind)| Right::of(kind.as_str()).is_some());
    let mut indices: Vec<u64> = found.iter().map(|hit| hit.entry).chain(acts.map(|(index, _)| index)).collect();
    indices.sort_unstable();
    let exchanges: BTreeSet<String> = found.into_iter().map(|hit| hit.exchange).collect();
    let mut entries = BTreeSet::new();
    for exchange in &exchanges {
        let exchange = catalog.exchange(exchange)?;
        entries.extend(exchange.into_iter().flat_map(|exchange| [exchange.request, exchange.response]).flatten());
    }
    let (holds, requests, approvals) = Default::default();
    let mut matter = Matter { case, exchanges, entries, holds, requests, approvals };
    let mut links = Vec::new();
    access::read(&log.reader, &catalog, &indices, |index, bytes| {
        if let Ok(entry) = Entry::parse(bytes)
            && matter.has(&entry)
        {
            matter.take(index, &entry);
            links.push(matter.link(index, bytes, entry));
        }
    })?;
    Ok(links)
}

/// The hold that covers an exchange, if one does: then nothing of it is erased.
pub(crate) fn held_by(
    reader: &Reader,
    catalog: &Catalog,
    state: &rules::State,
    exchange: &Exchange,
) -> Result<Option<String>, Failure> {
    if state.holds().is_empty() {
        return Ok(None);
    }
    let size = catalog.position()?.map_or(0, |(size, _)| size);
    let (mut case, mut tokens) = (None, Vec::new());
    for index in [exchange.request, exchange.response].into_iter().flatten() {
        let entry = Entry::parse(&reader.entry(index, size)?)
            .map_err(|error| Failure::evidence("the entry cannot be read").because(error))?;
        case = case.or(entry.case);
        tokens.extend(entry.redaction.into_iter().flat_map(|redaction| redaction.tokens));
        // Where there were too many for the entry, they are in its manifest. What cannot be read may be held.
        if let Some(hash) = entry.content.and_then(|content| content.manifest) {
            let bytes = catalog.part(reader, &hash)?;
            let manifest = bytes.and_then(|bytes| Manifest::parse(&bytes).ok());
            let missing = || Failure::evidence("a manifest is missing, so what it names may be held");
            tokens.extend(manifest.ok_or_else(missing)?.tokens);
        }
    }
    let held = rules::Held { exchange: &exchange.id, case: case.as_deref(), tokens: &tokens };
    Ok(state.covering(&held).map(|(hold, _)| hold.to_owned()))
}

/// What the log says of custody, of a command that reads it.
pub(crate) fn state(log: &Log, catalog: &Catalog) -> Result<rules::State, Failure> {
    Ok(access::fold(&log.reader, catalog, log.reader.vkey()?.name())?)
}

/// What the routes need.
#[derive(Clone)]
struct Shelf {
    desk: Desk,
    log: Arc<Log>,
}

/// The routes.
pub(crate) fn router(desk: Desk, config: &Config) -> Router {
    let log = Log { config: config.clone(), reader: desk.notary.ledger().reader().clone() };
    let shelf = Shelf { desk, log: Arc::new(log) };
    Router::new()
        .route("/api/v1/keys", get(|State(shelf): State<Shelf>| async move { shelf.list("keys", keys).await }))
        .route("/api/v1/holds", get(|State(shelf): State<Shelf>| async move { shelf.list("holds", holds).await }))
        .route("/api/v1/cases", get(|State(shelf): State<Shelf>| async move { shelf.list("cases", cases).await }))
        .route("/api/v1/cases/{case}/custody", get(case_custody))
        .route("/api/v1/search", get(find))
        .route("/api/v1/exchanges/{id}", get(exchange))
        .with_state(shelf)
}

impl Shelf {
    async fn list<T: Serialize>(&self, name: &str, list: impl Fn(&rules::State) -> Vec<T>) -> Json<Value> {
        let lines = list(&*self.desk.access.state.read().await);
        Json(json!({ name: lines }))
    }

    /// Reads the log where that holds up nobody.
    async fn read<T, F>(&self, read: F) -> Result<T, Response>
    where
        T: Send + 'static,
        F: FnOnce(&Log) -> Result<T, Failure> + Send + 'static,
    {
        let log = self.log.clone();
        let failure = match tokio::task::spawn_blocking(move || read(&log)).await {
            Ok(Ok(read)) => return Ok(read),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::internal("the reading ended"),
        };
        let (status, message) = match failure.fault {
            Fault::Evidence => (StatusCode::NOT_FOUND, "the published log has no such thing\n"),
            Fault::Usage => (StatusCode::BAD_REQUEST, "this cannot be asked\n"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "the log cannot be read\n"),
        };
        Err((status, message).into_response())
    }
}

async fn case_custody(State(shelf): State<Shelf>, Path(case): Path<String>) -> Result<Json<Value>, Response> {
    let case = shelf.desk.notary.redacted(&case);
    Ok(Json(json!({ "custody": shelf.read(move |log| chain(log, &case)).await? })))
}

/// What a search over the network can ask for.
#[derive(Deserialize)]
struct Wanted {
    q: Option<String>,
    case: Option<String>,
    #[serde(default = "some")]
    limit: usize,
}

fn some() -> usize {
    50
}

/// At most so many are found at once.
const FOUND_MAX: usize = 1_000;

async fn find(State(shelf): State<Shelf>, Asked(wanted): Asked<Wanted>) -> Result<Json<Value>, Response> {
    let redacted = |text: Option<String>| text.map(|text| shelf.desk.notary.redacted(&text));
    let (text, case, limit) = (redacted(wanted.q), redacted(wanted.case), wanted.limit.min(FOUND_MAX));
    let query = Query { text, case, limit, ..Query::default() };
    Ok(Json(json!({ "hits": shelf.read(move |log| search::find(log, &query)).await? })))
}

async fn exchange(State(shelf): State<Shelf>, Path(id): Path<String>) -> Result<Response, Response> {
    let shown = shelf.read(move |log| show::look(log, &id)).await?;
    Ok(Json(shown).into_response())
}
