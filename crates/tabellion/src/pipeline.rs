//! The order in which an exchange happens. Nothing else knows it.
//!
//! 1. Find the upstream, look at the key, read the body. A crash here: nothing happened.
//! 2. Ask the external detectors, if there are any; commit to the exact bytes, redact a copy, seal them if the upstream is
//!    set so, append `exchange.request`, and wait until it is durable. What cannot be recorded is refused with 503, and nothing goes upstream; unless the upstream is configured to fail open: then it
//!    passes, and the log says so as soon as it can.
//! 3. Send the request on. A crash from here on: the start-up closes the exchange as `interrupted`.
//! 4. Relay the answer as it comes, all but its end.
//! 5. Put the answer together, ask, commit, redact, seal, append `exchange.response`, and wait until it is durable.
//! 6. Release the end. A crash before: the client has no whole answer, and the log says how much it may have had.
//!
//! The bytes that are relayed are never those that are redacted, so no defect in redaction can reach an answer.
//!
//! An exchange runs as a task of its own. A client that goes away ends the relaying, not the recording.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use tabellion_detect::Names;
use tabellion_evidence::entry::{Entry, Kind, Omitted, Outcome, Usage};
use tabellion_gateway::dialect::{
    self, Assembler, DecodeError, Dialect, Events, Facts, Progress, StreamDecoder, error_body,
};
use tabellion_gateway::{
    CREDENTIALS, ReadError, Relay, RelayBody, Target, Unreachable, Upstreams, read_body, relay, response_headers,
};
use tabellion_ledger::AppendError;
use tokio::sync::oneshot;

use crate::access::{Access, Caller, Refused};
use crate::config::Seal;
use crate::external::Unchecked;
use crate::notary::{self, Body, Commitment, Draft, Notary, Side};

/// A plain answer up to this size is passed on only once it is recorded; of a larger one, only the end waits.
const PLAIN_BYTES_HELD: usize = 1 << 20;
/// How long a provider may take to close a stream whose last event it has sent.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How much may be held of a stream's end. No client waits for what a provider says after its last event; a provider
/// that goes on for ever must not fill the memory.
const END_BYTES_HELD: usize = 1 << 20;
/// At most about so many bytes are passed on in one piece.
const PASSED_BYTES_TOGETHER: usize = 64 << 10;
/// A body larger than this is redacted where it does not hold up other exchanges.
const INLINE_BYTES_MAX: usize = 128 << 10;

const EXCHANGE: HeaderName = HeaderName::from_static("x-tabellion-exchange");
const ENTRY: HeaderName = HeaderName::from_static("x-tabellion-entry");
/// On an answer of which the log has nothing: why.
const UNRECORDED: HeaderName = HeaderName::from_static("x-tabellion-unrecorded");

/// What exchanges may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) request_bytes_max: usize,
    pub(crate) response_bytes_max: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) answer_timeout: Duration,
}

/// Everything that an exchange needs.
pub(crate) struct Pipeline {
    notary: Arc<Notary>,
    upstreams: Upstreams,
    bounds: Bounds,
    /// Upstreams whose exchanges pass when they cannot be recorded.
    fail_open: BTreeSet<String>,
    guard: Guard,
    /// Whose originals are sealed, by the upstream's name.
    seals: BTreeMap<String, Seal>,
    under_way: AtomicUsize,
}

/// Who may have exchanges.
pub(crate) struct Guard {
    pub(crate) access: Arc<Access>,
    /// Nobody without a key.
    pub(crate) required: bool,
}

/// Why an exchange is refused: the status, a fixed word for the log, a sentence for the client.
struct Refusal(StatusCode, &'static str, &'static str);

const TOO_LARGE: Refusal = Refusal(
    StatusCode::PAYLOAD_TOO_LARGE,
    "body_too_large",
    "The request is larger than this gateway records; raise gateway.request_bytes_max.",
);
const TOO_SLOW: Refusal =
    Refusal(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "The request's body did not come in time.");
const UNKNOWN_ENCODING: Refusal = Refusal(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "unknown_encoding",
    "This gateway cannot read the request's content encoding; it knows gzip, deflate, br and zstd.",
);
const MALFORMED_ENCODING: Refusal =
    Refusal(StatusCode::BAD_REQUEST, "malformed_encoding", "The request's body is not what its content encoding says.");
const UPGRADE: Refusal = Refusal(
    StatusCode::NOT_IMPLEMENTED,
    "upgrade_unsupported",
    "This gateway does not record upgraded connections, so it does not pass them on.",
);

const NOT_CHECKED: Refusal = Refusal(
    StatusCode::SERVICE_UNAVAILABLE,
    "external_failed",
    "A detector that this gateway must ask did not answer, so the exchange was stopped. Try again later, and tell the \
     operator of the gateway.",
);

/// A request that is refused, and if it is because it could not be checked, the draft that says who failed.
struct Rejected(Refusal, Option<Draft>);

impl From<Refusal> for Rejected {
    fn from(refusal: Refusal) -> Self {
        Self(refusal, None)
    }
}

/// Why a client gets no answer though there is one.
#[derive(Clone, Copy)]
enum Withheld {
    NotRecorded(AppendError),
    NotChecked,
}

impl Withheld {
    fn log(self) {
        match self {
            Self::NotRecorded(error) => log_not_recorded(error),
            // Whoever did not answer is in the log by its name.
            Self::NotChecked => {}
        }
    }

    fn says(self) -> (&'static str, &'static str) {
        match self {
            Self::NotRecorded(_) => ("not_recorded", NOT_RECORDED),
            Self::NotChecked => (NOT_CHECKED.1, NOT_CHECKED.2),
        }
    }
}

/// What an exchange has established about itself once its request is durable.
struct Begun {
    id: String,
    entry: u64,
    dialect: Dialect,
    redacted: bool,
    /// The answer's original is sealed, as the request's was.
    seals: bool,
    /// The names in the request, which the answer is searched for.
    names: Names,
    received: Instant,
    /// Time spent before the request was sent on.
    before: Duration,
    open: Open,
}

/// An exchange whose request is durable. Dropped without [`Open::close`], by a defect of ours that ends the task, it is
/// closed in the log as `interrupted`, as the start-up would do after a crash.
struct Open {
    notary: Arc<Notary>,
    id: Option<String>,
}

impl Open {
    fn close(&mut self) {
        self.id = None;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        // Without a runtime the process is ending, and the next start closes the exchange.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let notary = self.notary.clone();
        let mut draft = Draft::new(Kind::Response, Some(&id));
        draft.entry.outcome = Some(Outcome::Interrupted);
        draft.entry.reason = Some("recorder_failed".into());
        runtime.spawn(async move {
            if let Err(error) = notary.append(draft).await {
                tracing::warn!(exchange = id, %error, "an exchange stays open until the next start");
            }
        });
    }
}

/// How the provider's side of an answer ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    BrokeOff,
    TimedOut,
    ClientGone,
}

type Reply = oneshot::Sender<Response<RelayBody>>;

impl Pipeline {
    pub(crate) fn new(
        notary: Arc<Notary>,
        upstreams: Upstreams,
        bounds: Bounds,
        fail_open: BTreeSet<String>,
        seals: BTreeMap<String, Seal>,
        guard: Guard,
    ) -> Self {
        Self { notary, upstreams, bounds, fail_open, seals, guard, under_way: AtomicUsize::new(0) }
    }

    /// Whether the originals of an exchange are sealed.
    fn seals(&self, target: &Target<'_>, request: &Entry) -> bool {
        match self.seals.get(&target.upstream.name).copied().unwrap_or_default() {
            Seal::Never => false,
            Seal::Always => true,
            Seal::Cases => request.case.is_some(),
        }
    }

    fn fails_open(&self, target: &Target<'_>) -> bool {
        self.fail_open.contains(&target.upstream.name)
    }

    /// How many exchanges are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Acquire)
    }

    /// Answers a request.
    pub(crate) async fn handle(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Response<RelayBody> {
        let (reply, answer) = oneshot::channel();
        self.under_way.fetch_add(1, Ordering::AcqRel);
        let pipeline = self.clone();
        // Boxed, because a task that is not is moved about as a whole, ten times 8 KiB.
        tokio::spawn(Box::pin(async move {
            let guard = UnderWay(&pipeline.under_way);
            pipeline.exchange(request, peer, reply).await;
            drop(guard);
        }));
        answer.await.unwrap_or_else(|_| {
            let message = "The gateway failed on this exchange.";
            own_answer(dialect::Kind::Generic, StatusCode::INTERNAL_SERVER_ERROR, "internal", message, None)
        })
    }

    async fn exchange(&self, request: Request<Incoming>, peer: SocketAddr, reply: Reply) {
        let received = Instant::now();
        let (mut head, body) = request.into_parts();
        let uri = head.uri.clone();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());

        // 1. Find the upstream, look at the key, read the body.
        let Some(target) = self.upstreams.route(path) else {
            let message =
                "No upstream has this path. OpenAI's API is under /v1, any other under /<name of the upstream>.";
            let _ =
                reply.send(own_answer(dialect::Kind::OpenAi, StatusCode::NOT_FOUND, "no_such_upstream", message, None));
            return;
        };
        // Nobody who is not let in makes an entry: else anybody could fill the log.
        let Guard { access, required } = &self.guard;
        let admitted = access.admit_to(&target.upstream.name, path, &head.headers, peer.ip(), *required).await;
        match admitted {
            Ok(None) => {}
            Ok(Some(caller)) => {
                target.upstream.authorize(&mut head.headers);
                // From here on it goes with the request.
                head.extensions.insert(caller);
            }
            Err(refused) => {
                let _ = reply.send(not_admitted(target.upstream.kind, refused));
                return;
            }
        }
        if head.headers.contains_key(header::UPGRADE) || head.method == http::Method::CONNECT {
            return self.refuse(&head, &target, UPGRADE.into(), reply).await;
        }
        let body = match read_body(body, self.bounds.request_bytes_max, self.bounds.request_timeout).await {
            Ok(body) => body,
            Err(ReadError::TooLarge) => return self.refuse(&head, &target, TOO_LARGE.into(), reply).await,
            Err(ReadError::TooSlow) => return self.refuse(&head, &target, TOO_SLOW.into(), reply).await,
            // Nobody is there to answer, and nothing was asked of the model.
            Err(ReadError::BrokeOff) => return,
        };

        // 2. Record the request.
        let (mut draft, dialect) = match self.request_draft(&head, &target, &body).await {
            Ok(draft) => draft,
            Err(rejected) => return self.refuse(&head, &target, rejected, reply).await,
        };
        let (id, redacted, names) = (draft.entry.id.clone(), draft.redacted(), draft.take_names());
        let seals = draft.seals();
        let entry = match self.append_request(draft).await {
            Ok(entry) => entry,
            Err(NotBegun::Log(error)) if self.fails_open(&target) => {
                return self.pass_unrecorded(&head, &target, body, error, reply).await;
            }
            Err(error) => {
                let _ = reply.send(error.answer(target.upstream.kind));
                return;
            }
        };
        let open = Open { notary: self.notary.clone(), id: Some(id.clone()) };
        let begun = Begun { id, entry, dialect, redacted, seals, names, received, before: received.elapsed(), open };

        // 3. Send it on.
        let mut reply = reply;
        let sent = self.upstreams.send(&target, head.method.clone(), &head.headers, body);
        let answer = tokio::select! {
            answer = tokio::time::timeout(self.bounds.answer_timeout, sent) => answer,
            () = reply.closed() => return self.no_answer(&target, begun, Outcome::ClientGone, "client_gone", None).await,
        };
        let (status, reason, message) = match answer {
            // 4 to 6.
            Ok(Ok(answer)) if answer.status() != StatusCode::SWITCHING_PROTOCOLS => {
                return self.answer(&target, begun, answer, reply).await;
            }
            failed => no_answer_because(failed.map(|sent| sent.map(drop)).ok()),
        };
        let answer = own_answer(target.upstream.kind, status, reason, message, Some(&begun));
        self.no_answer(&target, begun, Outcome::Error, reason, Some((reply, answer))).await;
    }

    /// Appends a request, if the key that it used is in force at that very place in the log: it may have been revoked, or
    /// have expired, since it was looked at.
    async fn append_request(&self, draft: Draft) -> Result<u64, NotBegun> {
        let in_force = match &draft.entry.key {
            Some(_) => Some(self.guard.access.judge(&draft.entry).await.map_err(NotBegun::Key)?),
            None => None,
        };
        let appended = self.notary.append(draft).await;
        drop(in_force);
        appended.map_err(NotBegun::Log)
    }

    /// Passes a request on that could not be recorded, and what comes back. The log will say that there was one.
    async fn pass_unrecorded(
        &self,
        head: &Parts,
        target: &Target<'_>,
        body: Bytes,
        error: AppendError,
        mut reply: Reply,
    ) {
        self.notary.lost(error);
        let sent = self.upstreams.send(target, head.method.clone(), &head.headers, body);
        let answer = tokio::select! {
            answer = tokio::time::timeout(self.bounds.answer_timeout, sent) => answer,
            () = reply.closed() => return,
        };
        let (answer, body) = match answer {
            Ok(Ok(answer)) if answer.status() != StatusCode::SWITCHING_PROTOCOLS => answer.into_parts(),
            failed => {
                let (status, reason, message) = no_answer_because(failed.map(|sent| sent.map(drop)).ok());
                let _ = reply.send(own_answer(target.upstream.kind, status, reason, message, None));
                return;
            }
        };
        let (sender, relayed) = relay();
        let mut response = Response::new(relayed);
        *response.status_mut() = answer.status;
        *response.headers_mut() = response_headers(answer.headers);
        response.headers_mut().insert(UNRECORDED, HeaderValue::from_static(notary::reason_of(error)));
        if reply.send(response).is_err() {
            return;
        }
        let mut body = std::pin::pin!(body);
        loop {
            let next = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx));
            let frame = tokio::select! {
                frame = tokio::time::timeout(self.bounds.answer_timeout, next) => frame,
                () = sender.client_gone() => return,
            };
            match frame {
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                        && sender.send(data).await.is_err()
                    {
                        return;
                    }
                }
                Ok(None) => {
                    let _ = sender.end().await;
                    return;
                }
                // Where the provider broke off, so does this.
                Ok(Some(Err(_))) | Err(_) => return,
            }
        }
    }

    /// What an answer that is not recorded means for whoever waits for it: it passes all the same, if its upstream's
    /// exchanges may.
    fn passes(&self, target: &Target<'_>, recorded: Result<(), AppendError>) -> Result<(), AppendError> {
        match recorded {
            Err(error) if self.fails_open(target) => {
                self.notary.lost(error);
                Ok(())
            }
            recorded => recorded,
        }
    }

    /// Everything that is recorded of a request.
    async fn request_draft(
        &self,
        head: &Parts,
        target: &Target<'_>,
        body: &Bytes,
    ) -> Result<(Draft, Dialect), Rejected> {
        let dialect = Dialect::of(target.upstream.kind, head.method.as_str(), target.path);
        let readable =
            readable(&Form::of(&head.headers), body, self.bounds.request_bytes_max).map_err(|error| match error {
                DecodeError::TooLarge => TOO_LARGE,
                DecodeError::Unknown => UNKNOWN_ENCODING,
                _ => MALFORMED_ENCODING,
            })?;
        let notary = &self.notary;
        let mut draft = Draft::of_exchange(Kind::Request, None, notary.rules_of(&target.upstream.name));
        let labels = Labels::of(head);
        let prepared = Prepared::read(notary, &draft, dialect, Side::Request, readable);
        if prepared.check(notary, &mut draft, || labels.texts(target)).await.is_err() {
            return Err(Rejected(NOT_CHECKED, Some(draft)));
        }
        self.label(&mut draft, head, target, labels);
        if let Some(facts) = prepared.facts() {
            draft.entry.model = facts.model.as_ref().map(|model| draft.label(notary, model.expose()));
            if let (None, Some(case)) = (&draft.entry.case, &facts.case) {
                draft.entry.case = Some(draft.label(notary, case.expose()));
            }
            if let (None, Some(actor)) = (&draft.entry.actor, &facts.actor) {
                draft.entry.actor = Some(draft.label(notary, actor.expose()));
            }
            if let Some(session) = &facts.session {
                draft.tags(notary, [("session", session.expose())].into_iter());
            }
        }
        draft.entry.key = key_of(head);
        if draft.entry.actor.is_none() {
            draft.entry.actor = match &draft.entry.key {
                Some(key) => Some(key.clone()),
                None => credential(&head.headers).map(|credential| notary.actor_of_key(credential)),
            };
        }
        if self.seals(target, &draft.entry) {
            draft.seal(body.clone());
        }
        let mut commitment = notary.commit(&draft.entry.id);
        commitment.update(body);
        record_content(notary, &mut draft, prepared, commitment);
        Ok((draft, dialect))
    }

    /// Puts what its head says into a request's draft.
    fn label(&self, draft: &mut Draft, head: &Parts, target: &Target<'_>, labels: Labels) {
        let notary = &self.notary;
        draft.entry.upstream = Some(target.upstream.name.clone());
        draft.entry.operation = Some(draft.operation(notary, head.method.as_str(), target.path));
        draft.entry.case = labels.case.map(|case| draft.label(notary, &case));
        draft.entry.actor = labels.actor.map(|actor| draft.label(notary, &actor));
        draft.entry.trace = labels.trace.map(|trace| draft.label(notary, &trace));
        draft.tags(notary, labels.tags.iter().map(|(name, value)| (&**name, &**value)));
    }

    /// Records that a request was not passed on, and says so.
    async fn refuse(&self, head: &Parts, target: &Target<'_>, rejected: Rejected, reply: Reply) {
        let Rejected(Refusal(status, reason, message), unchecked) = rejected;
        let rules = self.notary.rules_of(&target.upstream.name);
        let mut request = Draft::of_exchange(Kind::Request, None, rules.clone());
        let labels = Labels::of(head);
        // What nobody could check is not recorded, and that is all that the head says.
        let checked = match unchecked {
            Some(unchecked) => {
                request.failed_as(unchecked);
                false
            }
            None => request.check(&self.notary, labels.texts(target)).await.is_ok(),
        };
        if checked {
            self.label(&mut request, head, target, labels);
        }
        request.entry.upstream = Some(target.upstream.name.clone());
        request.entry.key = key_of(head);
        let why = if status == StatusCode::PAYLOAD_TOO_LARGE { Omitted::TooLarge } else { Omitted::Binary };
        request.omit(why, None);
        let (id, redacted) = (request.entry.id.clone(), request.redacted());
        let mut response = Draft::of_exchange(Kind::Response, Some(&id), rules);
        response.entry.upstream = Some(target.upstream.name.clone());
        response.entry.outcome = Some(Outcome::Refused);
        response.entry.status = Some(status.as_u16());
        response.entry.reason = Some(reason.into());
        let answer = match self.append_request(request).await {
            Err(error) => error.answer(target.upstream.kind),
            Ok(entry) => {
                let open = Open { notary: self.notary.clone(), id: Some(id.clone()) };
                let mut begun = Begun {
                    id,
                    entry,
                    dialect: Dialect::Generic,
                    redacted,
                    seals: false,
                    names: Names::default(),
                    received: Instant::now(),
                    before: Duration::ZERO,
                    open,
                };
                match self.finish(&mut begun, target, response).await {
                    Ok(()) => own_answer(target.upstream.kind, status, reason, message, Some(&begun)),
                    Err(error) => not_recorded(target.upstream.kind, error),
                }
            }
        };
        let _ = reply.send(answer);
    }

    /// Records that a request got no answer, and then says so to whoever is still there.
    async fn no_answer(
        &self,
        target: &Target<'_>,
        mut begun: Begun,
        outcome: Outcome,
        reason: &'static str,
        reply: Option<(Reply, Response<RelayBody>)>,
    ) {
        let rules = self.notary.rules_of(&target.upstream.name);
        let mut draft = Draft::of_exchange(Kind::Response, Some(&begun.id), rules);
        draft.entry.upstream = Some(target.upstream.name.clone());
        draft.entry.outcome = Some(outcome);
        draft.entry.reason = Some(reason.into());
        let recorded = self.finish(&mut begun, target, draft).await;
        let recorded = self.passes(target, recorded);
        if let Some((reply, answer)) = reply {
            let _ = reply.send(match recorded {
                Ok(()) => answer,
                Err(error) => not_recorded(target.upstream.kind, error),
            });
        }
    }

    /// Relays an answer, records it, and releases its end.
    async fn answer(&self, target: &Target<'_>, mut begun: Begun, answer: Response<Incoming>, reply: Reply) {
        let (head, body) = answer.into_parts();
        let (status, form) = (head.status, Form::of(&head.headers));
        let mut client = Client::new(head, &begun, reply);
        let rules = self.notary.rules_of(&target.upstream.name);
        let mut draft = Draft::of_exchange(Kind::Response, Some(&begun.id), rules);
        draft.know(std::mem::take(&mut begun.names));
        let mut heard = Heard::new(self.notary.commit(&draft.entry.id), self.bounds.response_bytes_max, begun.seals);

        // 4. Relay.
        let is_stream = form.content_type().is_some_and(|value| value.trim_start().starts_with("text/event-stream"));
        let encoding = form.encoding();
        if is_stream {
            heard.stream = Some(Stream::new(begun.dialect, encoding, self.bounds.response_bytes_max));
        }
        let end = self.relay(body, &mut heard, &mut client).await;
        let ended = Instant::now();

        // 5. Record.
        draft.entry.upstream = Some(target.upstream.name.clone());
        draft.entry.status = Some(status.as_u16());
        let Told { readable, commitment, stream, raw } = heard.finish(&form, self.bounds.response_bytes_max);
        if let Some(raw) = raw {
            draft.seal(raw);
        }
        let (outcome, reason) = match (end, &stream) {
            (End::ClientGone, _) => (Outcome::ClientGone, Some("client_gone")),
            (End::BrokeOff, _) => (Outcome::Error, Some("upstream_broke_off")),
            (End::TimedOut, _) => (Outcome::Error, Some("upstream_timed_out")),
            (End::Whole, _) if status.as_u16() >= 400 => (Outcome::Error, Some("provider_error")),
            (End::Whole, Some(stream)) if stream.failed => (Outcome::Error, Some("provider_error")),
            (End::Whole, Some(stream)) if !stream.ended => (Outcome::Error, Some("stream_ended_early")),
            (End::Whole, _) => (Outcome::Complete, None),
        };
        draft.entry.outcome = Some(outcome);
        draft.entry.reason = reason.map(str::to_owned);
        let takes_events = is_stream && encoding.is_none();
        let notary = &self.notary;
        let prepared = Prepared::read(notary, &draft, begun.dialect, Side::Response, readable);
        draft.entry.usage = prepared
            .facts()
            .and_then(|facts| facts.usage)
            .map(|(input, output)| Usage { input: Some(input), output: Some(output) });
        if prepared.check(notary, &mut draft, Vec::new).await.is_err() {
            draft.withhold(commitment);
            if outcome == Outcome::Complete {
                draft.entry.outcome = Some(Outcome::Interrupted);
            }
            draft.entry.reason = Some(NOT_CHECKED.1.into());
            let why = match self.finish(&mut begun, target, draft).await {
                Ok(()) => Withheld::NotChecked,
                Err(error) => Withheld::NotRecorded(error),
            };
            return client.withhold(target.upstream.kind, takes_events, why).await;
        }
        let model = prepared.facts().and_then(|facts| facts.model.as_ref());
        draft.entry.model = model.map(|model| draft.label(notary, model.expose()));
        record_content(notary, &mut draft, prepared, commitment);
        if stream.is_some()
            && let Some(content) = &mut draft.entry.content
            && content.omitted.is_none()
        {
            content.assembled = true;
        }
        let recorded = self.finish(&mut begun, target, draft).await;
        let recorded = self.passes(target, recorded);

        // 6. Release.
        self.notary.metrics.overhead_seconds(begun.before + ended.elapsed());
        match recorded {
            Ok(()) => client.release(end).await,
            Err(error) => {
                client.withhold(target.upstream.kind, takes_events, Withheld::NotRecorded(error)).await;
            }
        }
    }

    /// Passes on what comes, all but the end.
    async fn relay(&self, body: Incoming, heard: &mut Heard, client: &mut Client) -> End {
        let mut body = std::pin::pin!(body);
        let mut closing: Option<Instant> = None;
        loop {
            let patience = if heard.terminal() {
                CLOSE_TIMEOUT.saturating_sub(closing.get_or_insert_with(Instant::now).elapsed())
            } else {
                self.bounds.answer_timeout
            };
            let next = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx));
            let mut frame = tokio::select! {
                frame = tokio::time::timeout(patience, next) => match frame {
                    Ok(frame) => frame,
                    Err(_) if heard.terminal() => return End::Whole,
                    Err(_) => return End::TimedOut,
                },
                () = client.gone() => return End::ClientGone,
            };
            // What has arrived together is passed on together; nothing waits for what has not arrived.
            let mut passing = Passing::default();
            let end = loop {
                match frame {
                    None => break Some(End::Whole),
                    Some(Err(_)) => break Some(End::BrokeOff),
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            let hold_from = heard.hear(&data);
                            passing.push(data, hold_from);
                        }
                    }
                }
                if passing.bytes >= PASSED_BYTES_TOGETHER {
                    break None;
                }
                let mut next = std::future::poll_fn(|cx| Poll::Ready(body.as_mut().poll_frame(cx))).await;
                if next.is_pending() {
                    // hyper's task, which has read them all, hands over one chunk at a time. After its turn the next is
                    // here, or has not arrived. Without this each event of a burst costs a write of its own, which was
                    // half the processor time of a stream.
                    tokio::task::yield_now().await;
                    next = std::future::poll_fn(|cx| Poll::Ready(body.as_mut().poll_frame(cx))).await;
                }
                match next {
                    Poll::Ready(next) => frame = next,
                    Poll::Pending => break None,
                }
            };
            let is_stream = heard.stream.is_some();
            let passed = match is_stream {
                true if heard.unreadable() && !heard.terminal() => client.all_but_newest(passing).await,
                true => client.stream(passing).await,
                false => client.plain(passing).await,
            };
            if !passed {
                return End::ClientGone;
            }
            if let Some(end) = end {
                return end;
            }
            if heard.terminal() && client.held_bytes > END_BYTES_HELD {
                return End::Whole;
            }
        }
    }

    async fn finish(&self, begun: &mut Begun, target: &Target<'_>, draft: Draft) -> Result<(), AppendError> {
        let outcome = draft.entry.outcome.expect("every response has an outcome");
        let redacted = begun.redacted || draft.redacted();
        self.notary.append(draft).await?;
        begun.open.close();
        self.notary.metrics.exchange_ended(&target.upstream.name, outcome.as_str(), redacted);
        tracing::debug!(
            exchange = begun.id,
            entry = begun.entry,
            outcome = outcome.as_str(),
            ms = begun.received.elapsed().as_millis() as u64,
            "exchange ended"
        );
        Ok(())
    }
}

/// What is said when a provider gave no answer: what came of the attempt, or nothing in time.
fn no_answer_because(sent: Option<Result<(), Unreachable>>) -> (StatusCode, &'static str, &'static str) {
    match sent {
        // Nobody asked for another protocol, and what is spoken in it could not be recorded.
        Some(Ok(())) => {
            (StatusCode::BAD_GATEWAY, "upstream_broke_off", "The provider switched protocols instead of answering.")
        }
        Some(Err(Unreachable::Connect)) => {
            (StatusCode::BAD_GATEWAY, "upstream_unreachable", "The gateway cannot reach the provider.")
        }
        Some(Err(Unreachable::BrokeOff)) => {
            (StatusCode::BAD_GATEWAY, "upstream_broke_off", "The provider broke off before it answered.")
        }
        None => (StatusCode::GATEWAY_TIMEOUT, "upstream_timed_out", "The provider did not answer in time."),
    }
}

struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a request's head says of it.
struct Labels {
    case: Option<String>,
    actor: Option<String>,
    trace: Option<String>,
    tags: Vec<(String, String)>,
}

impl Labels {
    fn of(head: &Parts) -> Self {
        let text =
            |name: &str| head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let tags = head.headers.iter().filter_map(|(name, value)| {
            let name = name.as_str();
            let tag = name.strip_prefix("x-tabellion-tag-").or_else(|| name.strip_prefix("helicone-property-"))?;
            Some((tag.to_owned(), value.to_str().ok()?.to_owned()))
        });
        let mut tags: Vec<_> = tags.take(notary::TAGS_MAX).collect();
        if let Some(metadata) = text("x-portkey-metadata")
            && let Ok(metadata) =
                serde_json::from_str::<std::collections::BTreeMap<String, serde_json::Value>>(&metadata)
        {
            let metadata = metadata.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())));
            tags.extend(metadata.take(notary::TAGS_MAX));
        }
        let (case, actor, trace) = (text("x-tabellion-case"), text("x-tabellion-actor"), text("traceparent"));
        Self { case, actor, trace, tags }
    }

    /// What external detectors are to look at. A trace that is one is new every time, and says nothing of anybody.
    fn texts(&self, target: &Target<'_>) -> Vec<String> {
        let tags = self.tags.iter().flat_map(|(name, value)| [name, value]);
        let trace = self.trace.as_ref().filter(|trace| !trace.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'));
        let labels = [self.case.as_ref(), self.actor.as_ref(), trace].into_iter().flatten().chain(tags);
        labels.cloned().chain([notary::path_text(target.path)]).collect()
    }
}

/// A body that has been read, or why there is none.
enum Prepared<'a> {
    Omitted(Omitted),
    Body(Box<Body<'a>>),
}

impl<'a> Prepared<'a> {
    fn read(notary: &Notary, draft: &Draft, dialect: Dialect, side: Side, readable: Readable<'a>) -> Self {
        match readable {
            Readable::Empty => Self::Omitted(Omitted::Empty),
            Readable::Binary => Self::Omitted(Omitted::Binary),
            Readable::TooLarge => Self::Omitted(Omitted::TooLarge),
            Readable::Text(text) => {
                let rules = draft.rules(notary);
                Self::Body(apart(text.len(), || Box::new(Body::read(notary, &rules, dialect, side, text))))
            }
        }
    }

    fn facts(&self) -> Option<&Facts> {
        match self {
            Self::Omitted(_) => None,
            Self::Body(body) => Some(&body.facts),
        }
    }

    /// Asks the external detectors about the body and about labels, if there are any detectors.
    async fn check(
        &self,
        notary: &Notary,
        draft: &mut Draft,
        labels: impl FnOnce() -> Vec<String>,
    ) -> Result<(), Unchecked> {
        if !draft.asks(notary) {
            return Ok(());
        }
        let mut texts = labels();
        if let Self::Body(body) = self {
            texts.extend(apart(body.bytes(), || body.asked(&draft.rules(notary).redactor)));
        }
        draft.check(notary, texts).await
    }
}

/// Redacts a body into a draft.
fn record_content(notary: &Notary, draft: &mut Draft, prepared: Prepared<'_>, commitment: Commitment) {
    match prepared {
        Prepared::Omitted(Omitted::Empty) => draft.omit(Omitted::Empty, None),
        Prepared::Omitted(why) => draft.omit(why, Some(commitment)),
        Prepared::Body(body) => apart(body.bytes(), || draft.content(notary, *body, commitment)),
    }
}

/// Work on so many bytes. Much gets a thread of its own for that long.
pub(crate) fn apart<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    if bytes > INLINE_BYTES_MAX { tokio::task::block_in_place(work) } else { work() }
}

/// A body as far as it can be read.
enum Readable<'a> {
    Empty,
    /// Nothing that could be redacted, so nothing that may be stored.
    Binary,
    TooLarge,
    Text(Cow<'a, str>),
}

/// What a head says of its body. The head's other headers go on.
struct Form {
    content_type: Option<HeaderValue>,
    encoding: Option<HeaderValue>,
}

impl Form {
    fn of(headers: &HeaderMap) -> Self {
        let value = |name| headers.get(name).cloned();
        Self { content_type: value(header::CONTENT_TYPE), encoding: value(header::CONTENT_ENCODING) }
    }

    fn content_type(&self) -> Option<&str> {
        self.content_type.as_ref().and_then(|value| value.to_str().ok())
    }

    fn encoding(&self) -> Option<&str> {
        self.encoding.as_ref().and_then(|value| value.to_str().ok())
    }
}

/// Undoes a body's content encoding and makes text of it, if it is text.
fn readable<'a>(form: &Form, body: &'a [u8], limit: usize) -> Result<Readable<'a>, DecodeError> {
    if body.is_empty() {
        return Ok(Readable::Empty);
    }
    let decoded = match form.encoding() {
        Some(encoding) => dialect::decode(encoding, body, limit)?,
        None => Cow::Borrowed(body),
    };
    Ok(text(decoded, form.content_type().unwrap_or_default()))
}

fn text<'a>(body: Cow<'a, [u8]>, content_type: &str) -> Readable<'a> {
    // No text that a provider reads has a zero byte, and UTF-16 has one in every second place, between which nothing
    // would be found.
    if memchr::memchr(0, &body).is_some() {
        return Readable::Binary;
    }
    let content_type = content_type.to_ascii_lowercase();
    let textual = content_type.is_empty() || content_type.starts_with("text/") || content_type.contains("json");
    let text = match body {
        Cow::Borrowed(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) if textual => String::from_utf8_lossy(bytes),
            Err(_) => return Readable::Binary,
        },
        Cow::Owned(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Cow::Owned(text),
            Err(error) if textual => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
            Err(_) => return Readable::Binary,
        },
    };
    if content_type.starts_with("application/x-www-form-urlencoded") {
        let spaced = text.replace('+', " ");
        return Readable::Text(percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned().into());
    }
    Readable::Text(text)
}

/// What may be the bytes of a part of an original that was sealed as one, read as the gateway reads it. The entry does not
/// say which dialect and encoding that were, so each is tried: the commitment tells which is right.
pub(crate) fn parts_again<'a>(
    whole: &'a [u8],
    entry: &'a Entry,
    part: usize,
    limit: usize,
) -> impl Iterator<Item = Vec<u8>> + 'a {
    const ENCODINGS: [&str; 5] = ["identity", "gzip", "deflate", "br", "zstd"];
    const DIALECTS: [Dialect; 6] = [
        Dialect::OpenAiChat,
        Dialect::Anthropic,
        Dialect::OpenAiResponses,
        Dialect::OpenAiCompletions,
        Dialect::OpenAiEmbeddings,
        Dialect::Generic,
    ];
    let is_stream = entry.content.as_ref().is_some_and(|content| content.assembled);
    let each = ENCODINGS.into_iter().flat_map(|encoding| DIALECTS.map(|dialect| (encoding, dialect)));
    each.filter_map(move |(encoding, dialect)| {
        let readable = if is_stream {
            let mut stream = Stream::new(dialect, Some(encoding), limit);
            stream.hear(&Bytes::copy_from_slice(whole));
            stream.readable(whole.len() as u64).1
        } else {
            text(dialect::decode(encoding, whole, limit).ok()?, "application/json")
        };
        let Readable::Text(text) = readable else { return None };
        let (_, split) = match entry.kind {
            Kind::Request => dialect::read_request(dialect, &text),
            _ => dialect::read_response(dialect, &text),
        };
        Some(text.as_bytes()[split.parts.get(part)?.range.clone()].to_vec())
    })
}

/// The provider credential of a request, in whichever header it travels.
fn credential(headers: &HeaderMap) -> Option<&[u8]> {
    CREDENTIALS.into_iter().find_map(|name| headers.get(name)).map(HeaderValue::as_bytes)
}

/// What was heard of an answer.
struct Heard {
    commitment: Commitment,
    /// The bytes, or that there are too many. Those of a stream only if they are to be sealed.
    plain: Option<BytesMut>,
    stream: Option<Stream>,
    bytes_max: usize,
    /// The bytes are to be sealed, those of a stream too.
    seals: bool,
}

impl Heard {
    fn new(commitment: Commitment, bytes_max: usize, seals: bool) -> Self {
        Self { commitment, plain: Some(BytesMut::new()), stream: None, bytes_max, seals }
    }

    /// Takes bytes in. Returns from where on they must be held back, if they hold the event that ends the answer.
    fn hear(&mut self, data: &Bytes) -> Option<usize> {
        self.commitment.update(data);
        if let (Some(plain), true) = (&mut self.plain, self.stream.is_none() || self.seals) {
            if plain.len() + data.len() > self.bytes_max {
                self.plain = None;
            } else {
                plain.extend_from_slice(data);
            }
        }
        self.stream.as_mut()?.hear(data)
    }

    /// Whether the event that ends the answer has come.
    fn terminal(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.terminal)
    }

    /// Whether this is a stream of which nobody can tell any more which event ends it.
    fn unreadable(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.unreadable.is_some())
    }

    fn finish(self, form: &Form, limit: usize) -> Told {
        let commitment = self.commitment;
        let plain = self.plain.map(BytesMut::freeze);
        // Of an original that is too large for a record there is none to seal.
        let raw = plain.clone().filter(|plain| self.seals && !plain.is_empty());
        let readable = match (self.stream, plain) {
            (Some(stream), _) => return Told { raw, ..stream.finish(commitment) },
            (None, None) => Readable::TooLarge,
            (None, Some(plain)) => match readable(form, &plain, limit) {
                Ok(Readable::Text(text)) => Readable::Text(Cow::Owned(text.into_owned())),
                Ok(Readable::Empty) => Readable::Empty,
                Ok(Readable::TooLarge) | Err(DecodeError::TooLarge) => Readable::TooLarge,
                Ok(Readable::Binary) | Err(_) => Readable::Binary,
            },
        };
        Told { readable, commitment, stream: None, raw }
    }
}

/// What there is to record of an answer.
struct Told {
    readable: Readable<'static>,
    commitment: Commitment,
    stream: Option<StreamTold>,
    /// The bytes, if they are to be sealed.
    raw: Option<Bytes>,
}

struct StreamTold {
    /// The provider reported an error in the stream.
    failed: bool,
    /// The answer had come to its end, as far as can be told.
    ended: bool,
}

/// A streamed answer on its way to being put together.
struct Stream {
    decoder: Option<StreamDecoder>,
    /// The stream cannot be read any more: its encoding is unknown or broken.
    unreadable: Option<Readable<'static>>,
    events: Events,
    assembler: Assembler,
    terminal: bool,
    bytes: usize,
    bytes_max: usize,
}

impl Stream {
    fn new(dialect: Dialect, encoding: Option<&str>, bytes_max: usize) -> Self {
        let encoding = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case("identity"));
        let decoder = encoding.map(|encoding| StreamDecoder::new(encoding, bytes_max));
        Self {
            unreadable: matches!(decoder, Some(None)).then_some(Readable::Binary),
            decoder: decoder.flatten(),
            events: Events::new(),
            assembler: Assembler::new(dialect),
            terminal: false,
            bytes: 0,
            bytes_max,
        }
    }

    fn hear(&mut self, data: &Bytes) -> Option<usize> {
        if self.unreadable.is_some() {
            return None;
        }
        let decoded = match &mut self.decoder {
            None => Cow::Borrowed(&data[..]),
            Some(decoder) => match decoder.feed(data) {
                Ok(decoded) => Cow::Owned(decoded),
                Err(DecodeError::TooLarge) => {
                    self.unreadable = Some(Readable::TooLarge);
                    return None;
                }
                Err(_) => {
                    self.unreadable = Some(Readable::Binary);
                    return None;
                }
            },
        };
        self.bytes += decoded.len();
        if self.bytes > self.bytes_max {
            self.unreadable = Some(Readable::TooLarge);
            return None;
        }
        let mut hold_from = None;
        for event in self.events.feed(&decoded) {
            if self.assembler.event(&event) == Progress::Terminal && !self.terminal {
                self.terminal = true;
                // Where an encoded event lies in the bytes cannot be said, so all of these wait.
                hold_from = Some(if self.decoder.is_some() { 0 } else { event.start.unwrap_or(0) });
            }
        }
        hold_from
    }

    fn finish(self, commitment: Commitment) -> Told {
        let (stream, readable) = self.readable(commitment.bytes());
        Told { readable, commitment, stream: Some(stream), raw: None }
    }

    /// What there is to record of a stream of so many bytes.
    fn readable(mut self, bytes: u64) -> (StreamTold, Readable<'static>) {
        if let Some(event) = self.events.finish() {
            let _ = self.assembler.event(&event);
        }
        let assembled = self.assembler.finish();
        let ended = self.terminal || assembled.stopped || self.unreadable.is_some();
        let readable = match (self.unreadable, assembled.body) {
            (Some(unreadable), _) => unreadable,
            (None, _) if assembled.oversized > 0 => Readable::TooLarge,
            (None, Some(body)) => text(Cow::Owned(body), "application/json"),
            (None, None) if bytes == 0 => Readable::Empty,
            // Something came, but no event in it.
            (None, None) => Readable::Binary,
        };
        (StreamTold { failed: assembled.failed, ended }, readable)
    }
}

/// Bytes of an answer that arrived together.
#[derive(Default)]
struct Passing {
    frames: Vec<Bytes>,
    bytes: usize,
    /// From where on they must be held back.
    hold_from: Option<usize>,
}

impl Passing {
    fn push(&mut self, data: Bytes, hold_from: Option<usize>) {
        if self.hold_from.is_none() {
            self.hold_from = hold_from.map(|at| self.bytes + at);
        }
        self.bytes += data.len();
        if !data.is_empty() {
            self.frames.push(data);
        }
    }

    fn join(mut self) -> Bytes {
        match self.frames.len() {
            0 | 1 => self.frames.pop().unwrap_or_default(),
            _ => self.frames.concat().into(),
        }
    }
}

/// The client's side of an answer.
struct Client {
    /// Until the answer's head is sent.
    head: Option<(Reply, Response<()>)>,
    relay: Option<Relay>,
    /// What waits until the answer is recorded.
    held: Vec<Bytes>,
    held_bytes: usize,
}

impl Client {
    fn new(upstream: http::response::Parts, begun: &Begun, reply: Reply) -> Self {
        let mut head = Response::new(());
        *head.status_mut() = upstream.status;
        *head.headers_mut() = response_headers(upstream.headers);
        name_exchange(head.headers_mut(), begun);
        Self { head: Some((reply, head)), relay: None, held: Vec::new(), held_bytes: 0 }
    }

    /// Returns when the client has gone away.
    async fn gone(&mut self) {
        match (&mut self.head, &self.relay) {
            (Some((reply, _)), _) => reply.closed().await,
            (None, Some(relay)) => relay.client_gone().await,
            (None, None) => std::future::pending().await,
        }
    }

    /// Sends the head; what follows is relayed. False when the client has gone away.
    fn start(&mut self) -> bool {
        let Some((reply, head)) = self.head.take() else { return true };
        let (sender, body) = relay();
        self.relay = Some(sender);
        reply.send(head.map(|()| body)).is_ok()
    }

    async fn send(&self, bytes: Bytes) -> bool {
        match &self.relay {
            Some(relay) => bytes.is_empty() || relay.send(bytes).await.is_ok(),
            None => false,
        }
    }

    /// Passes a stream's bytes on at once, but holds back those that end the answer and all that come after.
    async fn stream(&mut self, passing: Passing) -> bool {
        if !self.start() {
            return false;
        }
        let held = if self.held.is_empty() { passing.hold_from.unwrap_or(passing.bytes) } else { 0 };
        let mut data = passing.join();
        let held = data.split_off(held);
        if !held.is_empty() {
            self.hold(held);
        }
        self.send(data).await
    }

    /// Holds a plain answer's bytes back while they are few; then all but the newest.
    async fn plain(&mut self, passing: Passing) -> bool {
        if self.relay.is_some() || self.held_bytes + passing.bytes > PLAIN_BYTES_HELD {
            return self.all_but_newest(passing).await;
        }
        for data in passing.frames {
            self.hold(data);
        }
        true
    }

    /// Passes on what was held and what came, but for the newest bytes, which may be the last.
    async fn all_but_newest(&mut self, passing: Passing) -> bool {
        for data in passing.frames {
            self.hold(data);
        }
        let Some(newest) = self.held.pop() else { return true };
        if !self.start() {
            return false;
        }
        for bytes in std::mem::take(&mut self.held) {
            if !self.send(bytes).await {
                return false;
            }
        }
        self.held_bytes = newest.len();
        self.held.push(newest);
        true
    }

    fn hold(&mut self, data: Bytes) {
        self.held_bytes += data.len();
        self.held.push(data);
    }

    /// Gives the client the rest. Where the provider broke off, so does this.
    async fn release(mut self, end: End) {
        if let (Some((reply, head)), End::Whole) = (self.head.take_if(|_| end == End::Whole), end) {
            let body: Bytes = match self.held.len() {
                0 | 1 => self.held.pop().unwrap_or_default(),
                _ => self.held.concat().into(),
            };
            let _ = reply.send(head.map(|()| RelayBody::from(body)));
            return;
        }
        if !self.start() {
            return;
        }
        for bytes in std::mem::take(&mut self.held) {
            if !self.send(bytes).await {
                return;
            }
        }
        if let (End::Whole, Some(relay)) = (end, self.relay.take()) {
            let _ = relay.end().await;
        }
    }

    /// The answer could not be recorded, or not be checked, so its end stays here. A client that has nothing yet gets a clear error; one
    /// that has the beginning of a stream gets an error event; and the answer is broken off. Within any other answer
    /// words of ours would pass for the provider's.
    async fn withhold(mut self, kind: dialect::Kind, takes_events: bool, why: Withheld) {
        why.log();
        let (code, message) = why.says();
        if let Some((reply, _)) = self.head.take() {
            let _ = reply.send(own_answer(kind, StatusCode::SERVICE_UNAVAILABLE, code, message, None));
            return;
        }
        if !takes_events {
            return;
        }
        let body = error_body(kind, 503, code, message);
        let body = String::from_utf8_lossy(&body);
        let event = match kind {
            dialect::Kind::Anthropic => format!("event: error\ndata: {body}\n\n"),
            _ => format!("data: {body}\n\n"),
        };
        self.send(event.into()).await;
    }
}

const NOT_RECORDED: &str =
    "The exchange could not be recorded, so it was stopped. Try again later, and tell the operator of the gateway.";

/// The answer to what could not be recorded.
fn not_recorded(kind: dialect::Kind, error: AppendError) -> Response<RelayBody> {
    log_not_recorded(error);
    own_answer(kind, StatusCode::SERVICE_UNAVAILABLE, "not_recorded", NOT_RECORDED, None)
}

fn log_not_recorded(error: AppendError) {
    tracing::error!(%error, "an exchange was stopped because it could not be recorded");
}

/// Why an exchange does not begin.
enum NotBegun {
    Log(AppendError),
    Key(Refused),
}

impl NotBegun {
    fn answer(self, kind: dialect::Kind) -> Response<RelayBody> {
        match self {
            Self::Log(error) => not_recorded(kind, error),
            Self::Key(refused) => not_admitted(kind, refused),
        }
    }
}

/// The ID of the key that a request was admitted with.
fn key_of(head: &Parts) -> Option<String> {
    head.extensions.get::<Caller>().map(|caller| caller.key.clone())
}

/// The answer to somebody who is not let in.
fn not_admitted(kind: dialect::Kind, refused: Refused) -> Response<RelayBody> {
    let (code, message) = refused.says();
    let mut answer = own_answer(kind, refused.status(), code, message, None);
    if refused == Refused::LockedOut {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
    }
    answer
}

/// An answer of the gateway's own, in the shape that the provider's client expects.
fn own_answer(
    kind: dialect::Kind,
    status: StatusCode,
    code: &str,
    message: &str,
    begun: Option<&Begun>,
) -> Response<RelayBody> {
    let mut answer = Response::new(RelayBody::from(Bytes::from(error_body(kind, status.as_u16(), code, message))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(begun) = begun {
        name_exchange(answer.headers_mut(), begun);
    }
    answer
}

fn name_exchange(headers: &mut HeaderMap, begun: &Begun) {
    if let Ok(id) = HeaderValue::from_str(&begun.id) {
        headers.insert(EXCHANGE, id);
    }
    headers.insert(ENTRY, HeaderValue::from(begun.entry));
}
