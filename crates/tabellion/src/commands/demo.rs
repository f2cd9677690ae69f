//! `tabellion demo`: three applications talk to a stand-in for a model through the real gateway; then the log is
//! searched, verified, tampered with in a copy, proven, and handed to an examiner.
//!
//! Whatever is claimed on the way is checked first, so the demo is a test of the whole as well. Applications, gateway
//! and stand-in share this process but speak HTTP with each other; all else is read from the disk, as any command
//! reads it. It takes the built-in configuration and nothing from the environment: it must not come near a log, or
//! keys, that are in use.

mod record;
mod stage;
mod wire;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tabellion_audit::{DirectorySource, Options, Report, verify_proof};
use tabellion_evidence::bundle::{Files, Trust, unpack, verify as verify_bundle};
use tabellion_evidence::entry;
use tabellion_evidence::note::VerifierKey;
use tabellion_ledger::{LedgerError, Reader};
use tabellion_search::{Hit, Query};
use tabellion_store::{DiskStore, RealDisk};
use tabellion_vault::Reading;
use tokio::net::TcpListener;

use super::serve::wait_for_signal;
use super::{Log, export, reveal, search};
use crate::cli::{DemoArgs, ExportArgs, LogArgs};
use crate::config::{Config, DEFAULTS};
use crate::failure::Failure;
use crate::policy;
use crate::secrets::Secrets;
use crate::serve::Server;
use crate::{Ended, ui};
use record::{Recorded, Side, find, recorded};
use stage::Stage;
use wire::{Answer, Ask, Wire};

/// The log's name, by which a demo knows its own.
const ORIGIN: &str = "tabellion.example/demo";

const EMAIL: &str = "maria.hernandez@example.com";
const PHONE: &str = "+1 415 555 0132";
const CARD: &str = "4111 1111 1111 1111";
const CARD_BARE: &str = "4111111111111111";
const CARD_DASHED: &str = "4111-1111-1111-1111";
const SSN: &str = "536-22-8045";
const APPLICANT_EMAIL: &str = "sam.okafor@example.net";
const APPLICANT_SSN: &str = "219-09-7316";
const KEY: &str = "standin-key-7f2e91c04b";

/// What must not be found on the disk, in all spellings that occur, and in those that storing might give it.
const PERSONAL: &[&str] = &[
    EMAIL,
    PHONE,
    "+14155550132",
    "4155550132",
    CARD,
    CARD_BARE,
    CARD_DASHED,
    SSN,
    "536228045",
    APPLICANT_EMAIL,
    APPLICANT_SSN,
    "219097316",
    KEY,
];
/// What must be found, or not finding the others would mean nothing.
const IMPERSONAL: &[&str] = &["charged twice", "credit_history_months", "Score 641 of 850"];

const SUPPORT_CASE: &str = "C-1042";
const LOAN_CASE: &str = "L-2077";

pub(crate) fn run(args: &DemoArgs) -> Ended {
    let place = Place::new(args.data.as_deref())?;
    super::serve::runtime()?.block_on(perform(&place, args.exit))
}

async fn perform(place: &Place, exit: bool) -> Ended {
    let stopped = || Failure::environment("the demo was stopped before its end");
    let begun = tokio::select! {
        begun = Demo::begin(place) => begun,
        told = wait_for_signal() => return told.and(Err(stopped())),
    };
    let (mut demo, server) = begun?;
    let played = tokio::select! {
        played = demo.play() => Some(played),
        told = wait_for_signal() => told.err().map(Err),
    };
    let mut ended = match played {
        Some(played) => played.and_then(|()| demo.part(&server, exit)).map_err(|failure| demo.stage.failed(failure)),
        None => Err(stopped()),
    };
    if ended.is_ok() && !exit {
        ended = wait_for_signal().await;
    }
    let closed = server.stop().await;
    ended.and(closed).map(|()| ExitCode::SUCCESS)
}

/// Where the demo's files are.
struct Place {
    data: PathBuf,
    /// For what is not the log: the copy that is tampered with, the proof. Removed in the end.
    scratch: PathBuf,
    /// The log is below `scratch`.
    passing: bool,
}

impl Place {
    fn new(data: Option<&Path>) -> Result<Self, Failure> {
        if let Some(data) = data {
            refuse_foreign(data)?;
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|_| Failure::environment("no random bytes"))?;
        let scratch = std::env::temp_dir().join(format!("tabellion-demo-{}", hex::encode(random)));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&scratch)
            .map_err(|error| Failure::environment(format!("cannot make {}", scratch.display())).because(error))?;
        let own = scratch.join("data");
        Ok(Self { data: data.map_or(own, Path::to_owned), scratch, passing: data.is_none() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

/// A demo adds to its own log, and to no other: entries cannot be taken out again.
fn refuse_foreign(data: &Path) -> Result<(), Failure> {
    let reader = Reader::new(Arc::new(DiskStore::new(RealDisk::new(data))));
    match reader.vkey() {
        Err(LedgerError::Missing { .. }) => Ok(()),
        Ok(key) if key.name() == ORIGIN => Ok(()),
        Err(error @ LedgerError::Store(_)) => Err(error.into()),
        _ => Err(Failure::usage(format!("{} has a log that is not a demo's", data.display()))
            .hint("name another directory with --data, or none")),
    }
}

/// The built-in configuration, with the stand-in for the providers.
fn configuration(data: &Path, standin: SocketAddr) -> Config {
    let mut table: toml::Table = DEFAULTS.parse().expect("the embedded defaults are tested");
    table.insert("origin".into(), ORIGIN.into());
    let mut config = Config::deserialize(toml::Value::Table(table)).expect("the embedded defaults are tested");
    data.clone_into(&mut config.data);
    for upstream in &mut config.upstream {
        upstream.url = format!("http://{standin}");
    }
    config
}

/// Takes the usual ports if they are free, and any others if not.
async fn start(config: &mut Config) -> Result<Server, Failure> {
    let free = |address: SocketAddr| std::net::TcpListener::bind(address).is_ok();
    if free(config.gateway.listen)
        && free(config.console.listen)
        && let Ok(server) = Server::start(config).await
    {
        return Ok(server);
    }
    config.gateway.listen.set_port(0);
    config.console.listen.set_port(0);
    Server::start(config).await
}

/// A demo that is being played.
struct Demo<'a> {
    stage: Stage,
    place: &'a Place,
    wire: Wire,
    log: Log,
    /// Noted down at the beginning, as an examiner would.
    vkey: VerifierKey,
    /// Of the exchanges that were played.
    played: Vec<String>,
}

/// An exchange with what the application kept of it.
struct Kept {
    sent: Bytes,
    answer: Answer,
    /// The model got these bytes, and answered those.
    unchanged: bool,
    recorded: Recorded,
}

impl<'a> Demo<'a> {
    /// Opens the curtain: stand-in, gateway, and what they are.
    async fn begin(place: &'a Place) -> Result<(Self, Server), Failure> {
        let stage = Stage::new(PERSONAL);
        match Self::open(&stage, place).await {
            Ok((wire, log, vkey, server)) => Ok((Self { stage, place, wire, log, vkey, played: Vec::new() }, server)),
            Err(failure) => Err(stage.failed(failure)),
        }
    }

    async fn open(stage: &Stage, place: &Place) -> Result<(Wire, Log, VerifierKey, Server), Failure> {
        let unable = |error: std::io::Error| Failure::environment("cannot listen on the loopback").because(error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(unable)?;
        let standin = listener.local_addr().map_err(unable)?;
        // It ends with the process.
        tokio::spawn(tabellion_standin::serve(listener));
        let mut config = configuration(&place.data, standin);
        let server = start(&mut config).await?;
        let reader = Reader::new(Arc::new(DiskStore::new(RealDisk::new(&place.data))));
        let vkey = reader.vkey()?;

        stage.title("Tabellion, a notary for AI traffic: the demo")?;
        stage.say(
            "The model is a stand-in inside this program: it understands nothing, needs no key, and nothing leaves \
             this machine. The gateway in front of it is the real one, and all people and numbers are invented.",
        )?;
        stage.named("stand-in", &format!("http://{standin}"))?;
        stage.named("gateway", &format!("http://{}", server.gateway))?;
        stage.named("console", &format!("http://{}", server.console))?;
        if config.gateway.listen.port() == 0 {
            stage.named("", "(8600 and 8601 are not both free)")?;
        }
        let passing = if place.passing { "   (removed at the end)" } else { "" };
        stage.verbatim_named("data", &format!("{}{passing}", place.data.display()))?;
        let wire = Wire::new(server.gateway, standin, KEY);
        Ok((wire, Log { config, reader }, vkey, server))
    }

    async fn play(&mut self) -> Result<(), Failure> {
        self.script().await?;
        self.support().await?;
        let loan = self.loan().await?;
        self.disk().await?;
        self.search().await?;
        self.verify().await?;
        self.tamper().await?;
        self.prove(&loan).await?;
        self.export().await
    }

    /// Asks, and looks whether either direction was changed on its way.
    async fn ask(&mut self, ask: &Ask) -> Result<Kept, Failure> {
        let answer = self.wire.ask(ask).await?;
        self.kept(ask, answer).await
    }

    async fn kept(&mut self, ask: &Ask, answer: Answer) -> Result<Kept, Failure> {
        let unchanged =
            self.wire.model_got(&ask.body).await? && answer.received == self.wire.without_gateway(ask).await?;
        let recorded = recorded(&self.log, &answer.exchange).await?;
        self.played.push(answer.exchange.clone());
        Ok(Kept { sent: ask.body.clone(), answer, unchanged, recorded })
    }

    /// Scenario 1: one call, answered in one piece.
    async fn script(&mut self) -> Result<(), Failure> {
        self.stage.scene(1, "A script asks a model").await?;
        let said = format!("Draft a friendly reply to {EMAIL}. Her number is {PHONE}.");
        let body = json!({"model": "echo", "messages": [{"role": "user", "content": said}]});
        let kept = self.ask(&Ask { case: None, manner: "", body: bytes(&body) }).await?;
        let (request, response) = (&kept.recorded.request, &kept.recorded.response);
        let stage = &self.stage;
        stage.compare("asked", &said, &request.said("user"))?;
        stage.compare("answered", &record::said(&message(&kept.answer.received)), &response.said("assistant"))?;
        stage
            .expect(
                kept.unchanged,
                "the model got every byte as the script sent it, and the script every byte of the answer",
            )
            .await?;
        let redacted = |side: &Side| side.tokens("EMAIL_ADDRESS").len() == 1 && side.tokens("PHONE_NUMBER").len() == 1;
        stage
            .expect(
                redacted(request) && redacted(response),
                "the log has a token in the place of the e-mail address and of the phone number, on both sides",
            )
            .await?;
        stage
            .expect(
                request.tokens("EMAIL_ADDRESS") == response.tokens("EMAIL_ADDRESS"),
                "the same address has the same token in both",
            )
            .await
    }

    /// Scenario 2: a conversation, streamed, with the history sent again each time.
    async fn support(&mut self) -> Result<(), Failure> {
        self.stage.scene(2, "A customer-support chatbot, case C-1042, streamed").await?;
        let said = format!("My card {CARD} was charged twice for order 88-204. Can you look into it?");
        let mut history = vec![
            json!({"role": "system", "content": "You help customers of a bookshop with their bills."}),
            json!({"role": "user", "content": said}),
        ];
        self.stage.named("customer", &said)?;
        let first = self.turn(&mut history, "1", "", true).await?;
        let stage = &self.stage;
        stage
            .expect(
                first.answer.pieces.len() > 20,
                &format!(
                    "the answer came in {} pieces, and the model sent each only when the one before it had arrived: \
                 nothing is held up but the end, until the exchange is recorded",
                    first.answer.pieces.len()
                ),
            )
            .await?;
        stage.say("The log has of this:")?;
        stage.named("customer", &first.recorded.request.said("user"))?;
        stage.named("chatbot", &first.recorded.response.said("assistant"))?;
        let whole = first.answer.pieces.concat();
        stage
            .expect(
                whole.contains(CARD)
                    && first.recorded.response.tokens("CREDIT_CARD").len() == 1
                    && !first.answer.pieces.iter().any(|piece| piece.contains(CARD)),
                "the card number was cut over several pieces, and is redacted all the same",
            )
            .await?;
        stage.breathe().await;

        history.push(json!({"role": "user", "content": format!("My social security number is {SSN}, if that helps.")}));
        let second = self.turn(&mut history, "2", "tool", false).await?;
        let arguments = second.answer.pieces.concat();
        self.stage.compare("tool call", &arguments, &second.recorded.response.called())?;
        self.stage
            .expect(
                arguments.contains(SSN)
                    && !second.answer.pieces.iter().any(|piece| piece.contains(SSN))
                    && second.recorded.response.tokens("US_SSN").len() == 1,
                "so is the social security number in the arguments of a tool call, streamed in pieces too",
            )
            .await?;

        let result = format!(r#"{{"account": "77-310", "card": "{CARD_BARE}", "refunded": "42.10"}}"#);
        let call = history.last().map(|call| call["tool_calls"][0]["id"].clone());
        history.push(json!({"role": "tool", "tool_call_id": call, "content": result}));
        let third = self.turn(&mut history, "3", "tool", false).await?;
        self.stage.compare("tool result", &result, &third.recorded.request.said("tool"))?;
        let card = first.recorded.request.tokens("CREDIT_CARD");
        self.stage
            .expect(
                card.len() == 1 && card == third.recorded.response.tokens("CREDIT_CARD"),
                "the card is written differently here, and has the same token",
            )
            .await?;
        history.push(json!({"role": "user", "content": format!("Thank you! Was that for {CARD_DASHED}?")}));
        let fourth = self.turn(&mut history, "4", "", false).await?;
        let turns = [first, second, third, fourth];
        self.stage
            .expect(
                turns.iter().all(|turn| turn.unchanged),
                "in all four turns, every byte arrived as it was sent, in both directions",
            )
            .await?;
        self.history_once(&turns).await
    }

    /// One turn of the conversation. The answer goes into the history, as a chatbot puts it there.
    async fn turn(
        &mut self,
        history: &mut Vec<Value>,
        gate: &str,
        manner: &'static str,
        shown: bool,
    ) -> Result<Kept, Failure> {
        let tools = json!([{"type": "function", "function": {
            "name": "find_account", "parameters": {"type": "object", "properties": {"said": {"type": "string"}}}}}]);
        let body = json!({"model": "support", "stream": true, "messages": history, "tools": tools});
        let ask = Ask { case: Some(SUPPORT_CASE), manner, body: bytes(&body) };
        let stage = &mut self.stage;
        let answer = self
            .wire
            .stream(&ask, gate, async |piece| if shown { stage.piece("chatbot", piece).await } else { Ok(()) })
            .await?;
        let whole = answer.pieces.concat();
        if shown {
            stage.streamed("chatbot", &whole)?;
        }
        history.push(if manner == "tool" && history.last().is_some_and(|last| last["role"] == "user") {
            let function = json!({"name": "find_account", "arguments": whole});
            let call = json!({"id": "call_1", "type": "function", "function": function});
            json!({"role": "assistant", "content": null, "tool_calls": [call]})
        } else {
            json!({"role": "assistant", "content": whole})
        });
        self.kept(&ask, answer).await
    }

    async fn history_once(&self, turns: &[Kept]) -> Result<(), Failure> {
        let sent: usize = turns.iter().map(|turn| turn.sent.len()).sum();
        let parts: Vec<_> = turns
            .iter()
            .flat_map(|turn| &turn.recorded.request.parts)
            .filter(|part| part.role != entry::FRAME)
            .map(|part| (part.sha256, part.bytes))
            .collect();
        // That each of these is stored once is what verifying will find.
        let different: BTreeSet<_> = parts.iter().collect();
        let claim = format!(
            "each turn sent the whole conversation again, {sent} bytes in all; of its {} messages and tools the log \
             stores the {} different ones, once: {} bytes",
            parts.len(),
            different.len(),
            different.iter().map(|(_, bytes)| bytes).sum::<u64>()
        );
        self.stage.expect(2 * different.len() < parts.len(), &claim).await
    }

    /// Scenario 3: a decision that somebody will ask about.
    async fn loan(&mut self) -> Result<Kept, Failure> {
        self.stage.scene(3, "A model decides on a loan, case L-2077").await?;
        let application = format!(
            r#"{{"applicant": "A-7731", "email": "{APPLICANT_EMAIL}", "ssn": "{APPLICANT_SSN}", "monthly_income": 4200, "monthly_debts": 1850, "credit_history_months": 19, "district": "94124"}}"#
        );
        let body = json!({"model": "loan", "messages": [
            {"role": "system", "content": "Decide on the application, and record the decision."},
            {"role": "user", "content": application},
        ]});
        let kept = self.ask(&Ask { case: Some(LOAN_CASE), manner: "", body: bytes(&body) }).await?;
        let (request, response) = (&kept.recorded.request, &kept.recorded.response);
        let stage = &self.stage;
        stage.compare("application", &application, &request.said("user"))?;
        stage.named("decision", &response.said("assistant"))?;
        let message = message(&kept.answer.received);
        stage.compare("tool call", &record::called(&message), &response.called())?;
        stage.expect(
            kept.unchanged
                && response.tokens("US_SSN").len() == 1
                && response.said("assistant") == record::said(&message),
            "the personal data in it is redacted, also where JSON is inside of JSON; the reasons are there word for \
             word",
        ).await?;
        stage.say("Score 641, threshold 620, declined: somebody will ask what exactly the model was told. See 8.")?;
        Ok(kept)
    }

    /// Looks for what was planted.
    async fn disk(&mut self) -> Result<(), Failure> {
        self.stage.scene(4, "What is on the disk").await?;
        let mut files = record::files(&self.place.data)?;
        files.extend(record::files(&self.log.config.keys())?);
        let (mut bytes, mut contents) = (0, Vec::new());
        for file in &files {
            let content = record::used(record::read(file)?);
            bytes += content.len();
            contents.push(content);
        }
        let there = |text: &&str| contents.iter().any(|content| find(content, text).is_some());
        self.stage
            .expect(
                IMPERSONAL.iter().all(there),
                &format!("{} files, {bytes} bytes: the conversations are there, to be read and searched", files.len()),
            )
            .await?;
        self.stage.expect(
            !PERSONAL.iter().any(there),
            "no file has one of the addresses or numbers, in any spelling, nor the application's key for the provider",
        ).await
    }

    async fn search(&mut self) -> Result<(), Failure> {
        self.stage.scene(5, "Finding it again").await?;
        let secrets = Secrets::existing(&self.log.config.keys())?
            .ok_or_else(|| Failure::internal("the keys are not where they should be"))?;
        let redactor = policy::redactor(&self.log.config.redaction.policy, None, &secrets)?;
        let query = Query { limit: 4, ..Query::default() };

        self.stage.command(&format!("tabellion search --case {SUPPORT_CASE}"))?;
        let case = self.find(Query { case: Some(SUPPORT_CASE.into()), ..query.clone() })?;
        self.stage
            .expect(
                case.len() == 4 && case.iter().all(|hit| self.played.contains(&hit.exchange)),
                "the whole conversation, by its case, the newest turn first",
            )
            .await?;

        self.stage.command("tabellion search 'residential area'")?;
        let words = self.find(Query { text: Some("residential area".into()), ..query.clone() })?;
        self.stage
            .expect(
                words.first().is_some_and(|hit| hit.case.as_deref() == Some(LOAN_CASE)),
                "the decision, by words of its reasons",
            )
            .await?;

        // Written as nobody wrote it before.
        self.stage.command(&format!("tabellion search --subject {}", APPLICANT_EMAIL.to_uppercase()))?;
        let tokens = redactor.subject_tokens(&APPLICANT_EMAIL.to_uppercase());
        let person = self.find(Query { tokens, ..query })?;
        self.stage
            .expect(
                person.first().is_some_and(|hit| self.played.last() == Some(&hit.exchange)),
                "a person, by an address that is stored nowhere: what is looked up is its token",
            )
            .await
    }

    /// Shows the exchanges that match. (In a directory that is kept, earlier demos may have left some.)
    fn find(&self, query: Query) -> Result<Vec<Hit>, Failure> {
        let hits = search::find(&self.log, &query)?;
        for hit in &hits {
            let findings: Vec<String> = hit.findings.iter().map(|(entity, n)| format!("{entity} {n}")).collect();
            let findings = if findings.is_empty() { "-".to_owned() } else { findings.join(", ") };
            let time = hit.time.get(11..19).unwrap_or_default();
            let (case, model) = (hit.case.as_deref().unwrap_or("-"), hit.model.as_deref().unwrap_or("-"));
            self.stage.say(&format!("  {time}  entry {:<4} {case:<8}{model:<9}{findings}", hit.entry))?;
        }
        Ok(hits)
    }

    fn trusting(&self) -> Options {
        Options { vkey: Some(self.vkey.clone()), ..Options::default() }
    }

    fn report(&self, directory: &Path) -> Result<Report, Failure> {
        let options = self.trusting();
        tabellion_audit::verify(&DirectorySource(directory.to_owned()), &options, &|_| {})
            .map_err(|error| Failure::environment("the evidence cannot be read").because(error))
    }

    async fn verify(&mut self) -> Result<(), Failure> {
        self.stage.scene(6, "Verifying everything").await?;
        self.stage.command(&format!("tabellion verify {} --vkey \u{2026}", self.place.data.display()))?;
        let report = self.report(&self.place.data)?;
        let checked = &report.checked;
        let stage = &self.stage;
        stage.expect(
            report.verified,
            &format!(
                "{} entries, {} tiles, {} parts, {} bodies were hashed again, up to the signed checkpoint: verified",
                checked.entries, checked.tiles, checked.parts, checked.bodies
            ),
        ).await?;
        stage
            .expect(
                checked.exchanges >= self.played.len() as u64 && checked.open_exchanges == 0,
                "every request has its response",
            )
            .await?;
        stage.say("It took nothing but the log's public key, and says what it could not check:")?;
        report.notes.iter().try_for_each(|note| stage.item("-", note))
    }

    /// Does to a copy what an administrator might like to do to the log.
    async fn tamper(&mut self) -> Result<(), Failure> {
        self.stage.scene(7, "Tampering with a copy").await?;
        let copy = self.place.scratch.join("copy");
        copy_evidence(&self.place.data, &copy)?;
        self.stage.expect(self.report(&copy)?.verified, "the copy verifies, as any copy does").await?;
        self.change(&copy, "content", "Score 641", "Score 541").await?;
        self.change(&copy, "log/tile/entries", "L-2077", "L-2078").await?;
        self.stage.expect(self.report(&copy)?.verified, "with both bytes put back, the copy verifies again").await
    }

    /// Changes one byte in a copy, lets it be verified, and puts the byte back.
    async fn change(&self, copy: &Path, below: &str, from: &str, to: &str) -> Result<(), Failure> {
        let stage = &self.stage;
        // Of the versions of a partial bundle, the longest is in force.
        let mut found: Vec<(Vec<u8>, PathBuf)> = Vec::new();
        for path in record::files(&copy.join(below))? {
            let bytes = record::read(&path)?;
            if find(&bytes, from).is_some() {
                found.push((bytes, path));
            }
        }
        let found = found.into_iter().max_by_key(|(bytes, _)| bytes.len());
        let (bytes, path) = found.ok_or_else(|| Failure::internal(format!("{from} is not in {below}")))?;
        let mut changed = bytes.clone();
        let at = find(&bytes, from).expect("it was found above");
        changed[at..at + to.len()].copy_from_slice(to.as_bytes());
        let name = path.strip_prefix(copy).unwrap_or(&path).display();
        stage.say(&format!("One byte of {name}: \u{201c}{from}\u{201d} becomes \u{201c}{to}\u{201d}"))?;
        write(&path, &changed)?;
        let report = self.report(copy)?;
        stage.breathe().await;
        for problem in report.problems.iter().take(2) {
            stage.item("PROBLEM", &problem.to_string())?;
        }
        let more = (report.problems.len() as u64 + report.problems_more).saturating_sub(2);
        if more > 0 {
            stage.item("PROBLEM", &format!("and {more} more"))?;
        }
        stage.expect(!report.verified, "verify finds it: NOT VERIFIED").await?;
        write(&path, &bytes)
    }

    /// Proves what the model was told, and what it answered.
    async fn prove(&mut self, loan: &Kept) -> Result<(), Failure> {
        self.stage.scene(8, "Proving one exchange").await?;
        let stage = &self.stage;
        let keyring = Reading::open(&self.log.config.keys())?;
        let exchange = &loan.answer.exchange;
        let request = &loan.recorded.request;
        stage.command(&format!("tabellion prove {exchange} -o loan.tlog-proof"))?;
        let path = self.place.scratch.join("loan.tlog-proof");
        write(&path, self.log.reader.prove(request.index)?.to_text().as_bytes())?;
        let proof = record::read(&path)?;
        let report = verify_proof(&proof, &self.trusting());
        stage
            .expect(
                report.verified && report.exchange.as_ref() == Some(exchange),
                &format!(
                    "{} bytes prove, with the log's public key alone, that this request is entry {} of {}",
                    proof.len(),
                    request.index,
                    report.size.unwrap_or_default()
                ),
            )
            .await?;
        stage
            .expect(
                !verify_proof(&doctored(&proof), &self.trusting()).verified,
                "the same proof with one character changed proves nothing",
            )
            .await?;

        stage.say("The entry commits to the exact bytes, of which the applicant's lawyer has a copy:")?;
        stage.named("commitment", &original(request)?.commitment.to_string())?;
        stage.named("", "SHA-256 of a secret salt and the bytes; `prove --original F` holds a copy against it")?;
        let is = |side: &Side, bytes: &[u8]| -> Result<bool, Failure> {
            let leaf = reveal::leaf(&keyring, &side.entry)?;
            let commitment = original(side)?.commitment;
            Ok(leaf.is_some_and(|leaf| entry::commitment(&leaf.salt(0), bytes) == commitment))
        };
        let forged = String::from_utf8_lossy(&loan.sent).replace("4200", "2200");
        stage
            .expect(is(request, &loan.sent)?, &format!("the copy of the request, {} bytes: exact", loan.sent.len()))
            .await?;
        stage
            .expect(
                forged.as_bytes() != &loan.sent[..] && !is(request, forged.as_bytes())?,
                "a copy in which the income is 2200 instead of 4200: not what the model received",
            )
            .await?;
        let received = &loan.answer.received;
        stage
            .expect(
                is(&loan.recorded.response, received)?,
                &format!("the copy of the answer, {} bytes: exact, \u{201c}declined\u{201d} and all", received.len()),
            )
            .await
    }

    /// Hands the loan case to an examiner, who trusts nobody.
    async fn export(&mut self) -> Result<(), Failure> {
        self.stage.scene(9, "What an examiner receives").await?;
        let stage = &self.stage;
        let path = self.place.scratch.join("loan.zip");
        stage.command(&format!("tabellion export --case {LOAN_CASE} --reason \"file 77\" -o loan.zip"))?;
        let args = ExportArgs {
            sealed: false,
            identity: None,
            query: None,
            case: Some(LOAN_CASE.to_owned()),
            id: Vec::new(),
            output: path.clone(),
            reason: Some("file 77".to_owned()),
            checkpoint: None,
            older: Vec::new(),
            log: LogArgs { config: None, data: None },
        };
        // It asks the server, which runs here.
        let exported = tokio::task::block_in_place(|| export::export(&self.log, &args))?;
        let files = unpack(&record::read(&path)?)
            .map_err(|error| Failure::internal("the bundle cannot be unpacked").because(error))?;
        let trust = Trust { keys: vec![self.vkey.clone()], ..Trust::default() };
        let verified = |files: &Files| verify_bundle(files, &trust).problems.is_empty();
        stage
            .expect(
                verified(&files) && exported.exchanges > 0,
                &format!(
                    "{} exchanges, {} parts and {} custody entries, with a proof each: verified",
                    exported.exchanges, exported.parts, exported.custody
                ),
            )
            .await?;
        stage.say(
            "It brings a verifier in Python, for whom does not trust this program. That it was handed out, when and \
             why, is on the record:",
        )?;
        stage.named("custody.export", &format!("entry {}, which commits to what the bundle has", exported.entry))?;
        let mut without = files.clone();
        without.retain(|name, _| !name.starts_with("data/readable/"));
        stage.expect(!verified(&without), "with a page taken out: NOT VERIFIED").await
    }

    /// Says what to do next.
    fn part(&self, server: &Server, exit: bool) -> Result<(), Failure> {
        let stage = &self.stage;
        let data = self.place.data.display();
        let program = program();
        ui::result("")?;
        stage.title("All of it held. Next")?;
        stage.say("For your own application, start the gateway (the data will be in ./tabellion-data):")?;
        stage.verbatim(&format!("{program} serve"))?;
        stage.say("and change one line in it; OpenAI's SDK for Python, for example:")?;
        stage.verbatim("from openai import OpenAI")?;
        stage.verbatim("client = OpenAI(base_url=\"http://127.0.0.1:8600/v1\")")?;
        if exit && self.place.passing {
            return stage.say("The demo's data is removed now; --data DIR keeps it.");
        }
        if exit {
            stage.say("The demo's data is kept, and its keys beside it. Look at the loan decision, and verify:")?;
        } else {
            stage.say("The demo is still up, with the stand-in for a model; any key will do:")?;
            stage.verbatim(&format!("client = OpenAI(base_url=\"http://{}/v1\", api_key=\"any\")", server.gateway))?;
            stage.say("Look at the loan decision, and verify everything, in another terminal:")?;
        }
        if let Some(loan) = self.played.last() {
            stage.verbatim(&format!("{program} show {loan} --data {data}"))?;
        }
        stage.verbatim(&format!("{program} verify {data}"))?;
        if exit {
            return Ok(());
        }
        let removed = if self.place.passing { ", and removes its data" } else { "" };
        stage.say(&format!("Console: http://{}. Ctrl-C ends the demo{removed}.", server.console))
    }
}

/// A body as applications write it.
fn bytes(body: &Value) -> Bytes {
    body.to_string().into()
}

/// The message in an answer.
fn message(answer: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    answer["choices"][0]["message"].to_string()
}

fn original(side: &Side) -> Result<&entry::Original, Failure> {
    side.entry.original.as_ref().ok_or_else(|| Failure::internal("the entry commits to nothing"))
}

/// A proof with another character in the middle of the entry that it is about.
fn doctored(proof: &[u8]) -> Vec<u8> {
    let mut proof = proof.to_vec();
    if let Some(at) = find(&proof, "extra ").map(|at| at + 100)
        && let Some(character) = proof.get_mut(at)
    {
        *character = if *character == b'A' { b'B' } else { b'A' };
    }
    proof
}

/// Copies what `verify` looks at.
fn copy_evidence(data: &Path, copy: &Path) -> Result<(), Failure> {
    let mut files = vec![data.join("log.vkey")];
    files.extend(record::files(&data.join("log"))?);
    files.extend(record::files(&data.join("content"))?);
    for file in files {
        let to = copy.join(file.strip_prefix(data).unwrap_or(&file));
        let unable =
            |error: std::io::Error| Failure::environment(format!("cannot copy {}", file.display())).because(error);
        to.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(unable)?;
        std::fs::write(&to, record::read(&file)?).map_err(unable)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes)
        .map_err(|error| Failure::environment(format!("cannot write {}", path.display())).because(error))
}

/// How to call this program from here.
fn program() -> String {
    let Ok(program) = std::env::current_exe() else { return "tabellion".to_owned() };
    let name = program.file_name().unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join(name) == program) {
        return name.to_string_lossy().into_owned();
    }
    let here = std::env::current_dir().unwrap_or_default();
    match program.strip_prefix(here) {
        Ok(below) => Path::new(".").join(below).display().to_string(),
        Err(_) => program.display().to_string(),
    }
}
