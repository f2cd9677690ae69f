//! Who may do what, with which key; what is held, what was approved; and that all of it is on the record.

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use common::{Answer, Log, Received, Request, Server, Setup, StandIn, Upstream, chat, eventually, files, has, verify};
use serde_json::{Value, json};
use tabellion_evidence::custody::{RIGHTS, Right, Role};

fn run(program: &str, arguments: &[&str], here: &Path) -> Output {
    Command::new(program).args(arguments).current_dir(here).output().expect("the program is there")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// A command over the log in `data`, with the configuration beside it if there is one.
fn command(here: &Path, arguments: &[&str]) -> Output {
    let config = here.join("data.toml").exists();
    let further: &[&str] = if config { &["--data", "data", "--config", "data.toml"] } else { &["--data", "data"] };
    run(env!("CARGO_BIN_EXE_tabellion"), &[arguments, further].concat(), here)
}

/// One that has to succeed; what it printed.
fn tabellion(here: &Path, arguments: &[&str]) -> String {
    let output = command(here, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// One that has to be refused; what it said.
fn refused(here: &Path, arguments: &[&str]) -> String {
    let output = command(here, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stderr)
}

/// Issues a key; its text and its ID.
fn issue(here: &Path, role: &str, holder: &str, further: &[&str]) -> (String, String) {
    let arguments = [&["key", "issue", "--json", "--role", role, "--holder", holder], further].concat();
    let issued: Value = serde_json::from_str(&tabellion(here, &arguments)).unwrap();
    (issued["secret"].as_str().unwrap_or_default().to_owned(), issued["key"].as_str().unwrap().to_owned())
}

/// A pair of keys that signs, made as the documentation says; the ID.
fn issue_signing(here: &Path, holder: &str) -> String {
    let (private, public) = (format!("{holder}.pem"), format!("{holder}.pub"));
    assert!(run("openssl", &["genpkey", "-algorithm", "ed25519", "-out", &private], here).status.success());
    assert!(run("openssl", &["pkey", "-in", &private, "-pubout", "-out", &public], here).status.success());
    issue(here, "officer", holder, &["--public-key", &public]).1
}

fn act(server: &Server, key: &str, what: Value) -> Answer {
    let act = json!({"why": "because", "what": what});
    Request::post("/api/v1/custody", act.to_string()).header("x-tabellion-key", key).send(server.console)
}

fn ask(server: &Server, header: (&str, &str)) -> Answer {
    Request::post("/v1/chat/completions", chat("m", "hello", false)).header(header.0, header.1).send(server.gateway)
}

/// An upstream that keeps what it got, and says something.
fn keeper() -> (Upstream, Arc<Mutex<Vec<Received>>>) {
    let got = Arc::new(Mutex::new(Vec::new()));
    let kept = got.clone();
    let upstream = Upstream::start(move |received, stream| {
        use std::io::Write as _;
        kept.lock().unwrap().push(received);
        let body = json!({"model": "m", "choices": [{"message": {"role": "assistant", "content": "hi"}}]}).to_string();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).is_ok()
    });
    (upstream, got)
}

#[test]
fn a_key_opens_the_gateway_is_on_the_record_and_goes_no_further() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let (upstream, got) = keeper();
    let provider = "sk-the-operators-own-key";
    std::fs::write(here.join("provider.key"), format!("{provider}\n")).unwrap();
    let file = here.join("provider.key");
    let config = format!(
        "[gateway]\nkeys = \"required\"\n[[upstream]]\nname = \"openai\"\nkind = \"openai\"\nurl = \"{0}\"\ndefault = true\n\
         key_file = \"{1}\"\n[[upstream]]\nname = \"anthropic\"\nkind = \"anthropic\"\nurl = \"{0}\"\nkey_file = \"{1}\"\n",
        upstream.url(),
        file.display()
    );
    let mut server = Setup::new(&here.join("data"), &upstream.url()).configured(&config).start();

    let missing = Request::post("/v1/chat/completions", chat("m", "hello", false)).send(server.gateway);
    assert_eq!(missing.status, 401, "{}", missing.text());
    assert!(missing.text().contains("key_missing") && missing.text().contains("\"error\""), "{}", missing.text());
    let anthropic = Request::post("/anthropic/v1/messages", chat("m", "hello", false)).send(server.gateway);
    assert!(anthropic.text().contains("\"type\":\"error\""), "in the provider's shape: {}", anthropic.text());

    let (secret, id) = issue(here, "writer", "The bot of anna@example.com", &[]);
    for header in ["x-tabellion-key", "authorization", "x-api-key"] {
        let bearer = format!("Bearer {secret}");
        let value = if header == "authorization" { &bearer } else { &secret };
        let answer = ask(&server, (header, value));
        assert_eq!(answer.status, 200, "{header}: {}", answer.text());
        let (request, response) = Log::exchange(&server.data, &answer.exchange());
        assert_eq!((&request["key"], &request["actor"]), (&json!(id), &json!(id)), "{header}");
        assert!(response.get("key").is_none());
    }
    let claude = Request::post("/anthropic/v1/messages", chat("m", "hello", false)).header("x-api-key", &secret);
    assert_eq!(claude.send(server.gateway).status, 200);
    for received in got.lock().unwrap().iter() {
        let shown = format!("{received:?}");
        assert!(!shown.contains("tbl_"), "{shown}");
        let header = if received.path == "/v1/messages" { "x-api-key" } else { "authorization" };
        assert!(received.header(header).unwrap().ends_with(provider), "{shown}");
    }
    // Whoever brings a key of the provider's keeps it; whoever says who they are, is that.
    let both = Request::post("/v1/chat/completions", chat("m", "hello", false))
        .header("x-tabellion-key", &secret)
        .header("authorization", "Bearer sk-the-clients-own")
        .header("x-tabellion-actor", "clara")
        .send(server.gateway);
    let (request, _) = Log::exchange(&server.data, &both.exchange());
    assert_eq!((&request["key"], &request["actor"]), (&json!(id), &json!("clara")));
    let last = got.lock().unwrap().last().unwrap().clone();
    assert_eq!(last.header("authorization"), Some("Bearer sk-the-clients-own"));

    // Refused: a key of no log, one with a wrong checksum, one of another role.
    let stranger = "tbl_Ky9Pf34qY6Nb3wWD25RQ4F5ZR3qa7yEeeby3abP3E2Z3z10fu";
    for (wrong, status) in [(stranger, 401), (&secret[..secret.len() - 1], 401), ("anything", 401)] {
        assert_eq!(ask(&server, ("x-tabellion-key", wrong)).status, status, "{wrong}");
    }
    let (reader, _) = issue(here, "reader", "Rita", &[]);
    let answer = ask(&server, ("x-tabellion-key", &reader));
    assert_eq!((answer.status, answer.text().contains("key_role")), (403, true), "{}", answer.text());

    let (claude, _) = issue(here, "writer", "Claude only", &["--upstream", "anthropic"]);
    let answer = ask(&server, ("x-tabellion-key", &claude));
    assert_eq!((answer.status, answer.text().contains("key_upstream")), (403, true), "{}", answer.text());
    let unknown = command(here, &["key", "issue", "--role", "writer", "--holder", "x", "--upstream", "anthropics"]);
    assert_eq!(unknown.status.code(), Some(2));

    let only = Request::post("/anthropic/v1/messages", chat("m", "hello", false)).header("x-api-key", &claude);
    assert_eq!(only.send(server.gateway).status, 200);
    let before = got.lock().unwrap().len();

    // A key that fails on and on is not even looked at.
    (0..9).for_each(|_| assert_eq!(ask(&server, ("x-tabellion-key", stranger)).status, 401));
    let locked = ask(&server, ("x-tabellion-key", stranger));
    assert_eq!((locked.status, locked.header("retry-after")), (429, Some("60")));
    assert_eq!(got.lock().unwrap().len(), before, "what was refused went nowhere");
    assert_eq!(ask(&server, ("x-tabellion-key", &secret)).status, 200, "nobody else is locked out");

    // From one moment to the next.
    tabellion(here, &["key", "revoke", &id, "--reason", "the laptop of bob@example.com was stolen"]);
    assert_eq!(ask(&server, ("x-tabellion-key", &secret)).status, 401);
    let (short, short_id) = issue(here, "writer", "Short", &["--expires", "2s"]);
    assert_eq!(ask(&server, ("x-tabellion-key", &short)).status, 200);
    eventually("the key to expire", || (ask(&server, ("x-tabellion-key", &short)).status == 401).then_some(()));

    let metrics = Request::get("/metrics").send(server.console).text();
    for line in ["key_failures_total{reason=\"key_role\"} 1", "custody_total{kind=\"key.issue\"} 4"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    server.assert_well();
    server.stop();
    verify(&server.data);
    let log = Log::read(&server.data);
    let issued = log.entries.iter().find(|entry| entry["kind"] == "custody.key.issue").unwrap();
    let fields: Vec<&String> = issued["act"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["key", "role", "holder", "sha256", "from"]);
    let listed = tabellion(here, &["key", "list", "--json"]);
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let state = |id: &str| listed.iter().find(|line| line["key"] == id).map(|line| line["in_force"].clone());
    assert_eq!((state(&id), state(&short_id)), (Some(json!(false)), Some(json!(false))));
    assert_eq!(listed.iter().filter(|line| line["in_force"] == true).count(), 2);
    let said = server.said();
    for (path, bytes) in files(here).into_iter().filter(|(path, _)| !path.ends_with("provider.key")) {
        for secret in [&secret[..], &reader, &short, provider, "anna@example.com", "bob@example.com"] {
            assert!(!has(&bytes, secret.as_bytes()) && !said.contains(secret), "{secret} is in {}", path.display());
        }
    }
}

/// What a right lets somebody do over HTTP, by the role that tries.
fn tries(server: &Server, exchange: &str, right: Right, role: Role) -> Vec<Request> {
    let get = |paths: &[&str]| paths.iter().map(|path| Request::get(path)).collect::<Vec<_>>();
    let acts = |acts: &[Value]| {
        let acts = acts.iter().map(|what| json!({"why": "to try it", "what": what}).to_string());
        acts.map(|act| Request::post("/api/v1/custody", act)).collect::<Vec<_>>()
    };
    let hash = |what: &str| {
        use sha2::Digest as _;
        hex::encode(sha2::Sha256::digest(format!("{what} {role}")))
    };
    let request = || Log::read(&server.data).entries.iter().position(|entry| entry["id"] == exchange).unwrap();
    match right {
        Right::Record => vec![Request::post("/v1/chat/completions", chat("m", "hello", false))],
        Right::Append => {
            let id = format!("01JDA7N{:019}", role as usize);
            let entry = json!({"v": 1, "kind": "custody.start", "id": id, "time": "2026-11-22T10:00:00Z",
                "producer": format!("of {role}"), "seq": 0});
            vec![Request::post("/log/add", entry.to_string())]
        }
        Right::Detect => vec![Request::post("/presidio/analyze", r#"{"text": "hello", "language": "en"}"#)],
        Right::Log => {
            let size = Log::read(&server.data).entries.len() % 256;
            get(&["/log/checkpoint", &format!("/log/tile/entries/000.p/{size}")])
        }
        Right::Content => get(&["/api/v1/search?q=hello", &format!("/api/v1/exchanges/{exchange}")]),
        Right::Custody => get(&["/api/v1/keys", "/api/v1/holds", "/api/v1/cases", "/api/v1/cases/C-1/custody"]),
        Right::Metrics => get(&["/metrics"]),
        Right::Export => {
            let (manifest, page) = (hash("export"), hash("page"));
            acts(&[
                json!({"export": {"manifest": manifest, "selection": {}, "exchanges": 0, "page": page}}),
                json!({"report": {"manifest": manifest, "selection": {}, "exchanges": 0}}),
            ])
        }
        Right::Hold => acts(&[json!({"hold_place": {"case": format!("C-{role}")}})]),
        Right::Case => acts(&[
            json!({"case_open": {"case": format!("C-{role}")}}),
            json!({"case_close": {"case": format!("C-{role}")}}),
        ]),
        Right::Approve => acts(&[json!({"request": {"kind": "custody.erase", "details": {"exchange": exchange}}})]),
        Right::Keys => {
            let (key, hash) = (format!("k_{}", &hash("key")[..32]), hash("key"));
            let issue = json!({"key_issue": {"key": key, "role": "writer", "holder": "X", "sha256": hash}});
            acts(&[issue, json!({"key_revoke": {"key": key}})])
        }
        Right::Reveal => acts(&[json!({"reveal": {"entry": request(), "bytes": 0, "salt": true}})]),
        Right::Erase => acts(&[json!({"erase": {"entries": [[request(), request()]]}}), json!({"expire": {}})]),
    }
}

#[test]
fn a_key_in_a_url_goes_nowhere() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let (upstream, got) = keeper();
    let server = Setup::new(&here.join("data"), &upstream.url()).start();
    let (secret, _) = issue(here, "writer", "W", &[]);
    for path in [format!("/v1/models?key={secret}"), format!("/v1/{}", secret.replace("tbl_", "%74bl%5F"))] {
        let answer = Request::get(&path).send(server.gateway);
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.text().contains("key_in_url"), "{}", answer.text());
    }
    assert!(got.lock().unwrap().is_empty(), "it does not go upstream");
}

#[test]
fn an_act_whose_client_hangs_up_is_done_or_not_and_never_half() {
    use std::io::Write as _;
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let standin = StandIn::start();
    let mut server = Setup::new(&here.join("data"), &standin.url()).start();
    let (officer, _) = issue(here, "officer", "O", &[]);
    for n in 0..40 {
        let act = json!({"why": "because", "what": {"hold_place": {"case": format!("C-{n}")}}}).to_string();
        let mut stream = std::net::TcpStream::connect(server.console).unwrap();
        let head = format!(
            "POST /api/v1/custody HTTP/1.1\r\nhost: x\r\nx-tabellion-key: {officer}\r\ncontent-length: {}\r\n\r\n",
            act.len()
        );
        stream.write_all(format!("{head}{act}").as_bytes()).unwrap();
        // Sooner or later, before there is an answer.
        std::thread::sleep(std::time::Duration::from_micros(137 * n));
        drop(stream);
    }
    // Whoever asks comes after them: acts are done one after the other.
    assert_eq!(act(&server, &officer, json!({"hold_place": {"case": "C-last"}})).status, 200);
    let in_force = || -> BTreeSet<String> {
        let holds = Request::get("/api/v1/holds").header("x-tabellion-key", &officer).send(server.console);
        let holds: Value = serde_json::from_str(&holds.text()).unwrap();
        holds["holds"].as_array().unwrap().iter().map(|hold| hold["case"].as_str().unwrap().to_owned()).collect()
    };
    let in_force = in_force();
    server.stop();
    let log = Log::read(&here.join("data"));
    let placed = log.entries.iter().filter(|entry| entry["kind"] == "custody.hold.place");
    let placed: BTreeSet<String> = placed.map(|entry| entry["case"].as_str().unwrap().to_owned()).collect();
    assert_eq!(placed, in_force, "what is on the record is in force, and the other way round");
    assert!(placed.len() > 1, "some were done");
    verify(&here.join("data"));
}

#[test]
fn every_role_does_what_it_may_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let standin = StandIn::start();
    let mut server = Setup::new(&here.join("data"), &standin.url())
        .configured("[gateway]\nkeys = \"required\"\n[console]\nkeys = \"required\"\n[log]\nadd = true\n")
        .start();
    let keys = Role::ALL.map(|role| issue(here, role.as_str(), role.as_str(), &[]));
    let recorded = ask(&server, ("x-tabellion-key", &keys[Role::Writer as usize].0));
    assert_eq!(recorded.status, 200);
    let exchange = recorded.exchange();
    Log::exchange(&server.data, &exchange);

    let mut cells = 0;
    for row in RIGHTS {
        for (role, (secret, _)) in Role::ALL.into_iter().zip(&keys) {
            for request in tries(&server, &exchange, row.right, role) {
                let to = if row.right == Right::Record { server.gateway } else { server.console };
                let shown = || format!("{role} tries to {}", row.what);
                // Nobody without a key, whoever may.
                let anonymous = request.send(to);
                assert_eq!(anonymous.status, 401, "{}: {}", shown(), anonymous.text());
                let answer = request.header("x-tabellion-key", secret).send(to);
                let expected = if role.may(row.right) { 200 } else { 403 };
                assert_eq!(answer.status, expected, "{}: {}", shown(), answer.text());
            }
            cells += 1;
        }
    }
    assert_eq!(cells, RIGHTS.len() * Role::ALL.len());

    // What is about the listener itself needs no key; what is not there is not there.
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/", 200), ("/api/v1/nothing", 401), ("/nothing", 404)]
    {
        assert_eq!(Request::get(path).send(server.console).status, status, "{path}");
    }
    // By one officer, lifted by nobody without an approval.
    let held = tabellion(here, &["hold", "list", "--json"]);
    let held: Value = serde_json::from_str(held.lines().next().unwrap()).unwrap();
    let officer = &keys[Role::Officer as usize];
    let lift = json!({"hold_lift": {"hold": held["hold"]}});
    let answer = act(&server, &officer.0, lift);
    assert_eq!((answer.status, answer.text().contains("approval-missing")), (409, true), "{}", answer.text());
    // What was just done is durable, and published a moment later.
    let chain = || -> Value {
        let chain = Request::get("/api/v1/cases/C-officer/custody").header("x-tabellion-key", &officer.0);
        serde_json::from_str(&chain.send(server.console).text()).unwrap()
    };
    let chain = eventually("the whole chain", || {
        Some(chain()).filter(|chain| chain["custody"].as_array().is_some_and(|links| links.len() == 3))
    });
    let links: Vec<&Value> = chain["custody"].as_array().unwrap().iter().collect();
    let kinds: Vec<&str> = links.iter().map(|link| link["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["custody.hold.place", "case.open", "case.close"]);
    assert!(links.iter().all(|link| link["key"] == json!(officer.1) && link["actor"] == "officer"), "{chain}");
    assert!(links.iter().all(|link| link["from"].as_str().unwrap().starts_with("[IP_ADDRESS:")), "{chain}");

    server.assert_well();
    server.stop();
    verify(&server.data);
    // Every entry with a key is by a role that may.
    for entry in Log::read(&server.data).entries.iter().filter(|entry| entry["kind"] != "custody.start") {
        let Some(key) = entry.get("key") else { continue };
        let role = Role::ALL[keys.iter().position(|(_, id)| json!(id) == *key).unwrap()];
        assert!(role.may(Right::of(entry["kind"].as_str().unwrap()).unwrap()), "{entry}");
    }
}

#[test]
fn a_hold_is_lifted_by_two_and_no_approval_is_forged_replayed_or_reused() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let standin = StandIn::start();
    let mut server = Setup::new(&here.join("data"), &standin.url()).start();
    let cy = issue_signing(here, "cy");
    issue_signing(here, "eve");
    let (bo, _) = issue(here, "officer", "Bo", &[]);
    let case = Request::post("/v1/chat/completions", chat("m", "I am anna@example.com", false))
        .header("x-tabellion-case", "C-1042")
        .send(server.gateway);
    let exchange = case.exchange();
    Log::exchange(&server.data, &exchange);

    let holds = [
        tabellion(here, &["hold", "place", "--case", "C-1042", "--reason", "the suit of anna@example.com"]),
        tabellion(here, &["hold", "place", "--id", &exchange, "--reason", "suit"]),
        tabellion(here, &["hold", "place", "--subject", "anna@example.com", "--reason", "suit"]),
        tabellion(here, &["hold", "place", "I am", "--reason", "suit"]),
    ];
    let listed = tabellion(here, &["hold", "list", "--json"]);
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(listed.iter().map(|line| line["hold"].as_str().unwrap()).collect::<Vec<_>>(), holds);
    assert_eq!(listed[0]["case"], "C-1042");
    assert_eq!((&listed[1]["exchanges"], &listed[3]["exchanges"]), (&json!([exchange]), &json!([exchange])));
    assert!(listed[2]["tokens"][0].as_str().unwrap().starts_with("EMAIL_ADDRESS:"), "{listed:?}");
    refused(here, &["hold", "place", "nothing-like-this", "--reason", "suit"]);
    let shown =
        |exchange: &str| -> Value { serde_json::from_str(&tabellion(here, &["show", exchange, "--json"])).unwrap() };
    assert!(holds.contains(&shown(&exchange)["held"].as_str().unwrap().to_owned()));
    // A case and a subject are held also where something is recorded later; what words found is not.
    for (case, said, is_held) in
        [("C-1042", "later", true), ("C-2", "from anna@example.com", true), ("C-2", "I am nobody", false)]
    {
        let later = Request::post("/v1/chat/completions", chat("m", said, false)).header("x-tabellion-case", case);
        let later = later.send(server.gateway).exchange();
        Log::exchange(&server.data, &later);
        assert_eq!(shown(&later)["held"].is_string(), is_held, "{case}: {said}");
    }

    let [hold, other, ..] = &holds;
    let try_lift = |hold: &str, further: &[&str]| {
        refused(here, &[&["hold", "lift", hold, "--reason", "settled"], further].concat())
    };
    assert!(try_lift(hold, &[]).contains("--ask"));
    let request = tabellion(here, &["hold", "lift", hold, "--reason", "settled", "--ask"]);

    // Signed here, and with what openssl can do.
    let approval =
        tabellion(here, &["approve", &request, "--key", "cy.pem", "--reason", "so agreed with bob@example.com"]);
    assert!(try_lift(other, &["--approval", &approval]).contains("of another act"));
    tabellion(here, &["hold", "lift", hold, "--reason", "settled", "--approval", &approval]);
    assert!(try_lift(other, &["--approval", &approval]).contains("of another act"));
    assert!(refused(here, &["approve", &request, "--key", "cy.pem", "--reason", "x"]).contains("has been approved"));

    // Bo asks, over the network.
    let details = json!({"hold": other});
    let asked = act(&server, &bo, json!({"request": {"kind": "custody.hold.lift", "details": details}}));
    let request = serde_json::from_str::<Value>(&asked.text()).unwrap()["entry"].to_string();
    eventually("the request to be published", || {
        (Log::read(&server.data).entries.len() > request.parse().unwrap()).then_some(())
    });
    tabellion(here, &["approve", &request, "--key-id", &cy, "--write", "text", "--reason", "agreed"]);
    let sign = |key: &str, from: &str, to: &str| {
        let arguments = ["pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", from, "-out", to];
        assert!(run("openssl", &arguments, here).status.success());
    };
    sign("eve.pem", "text", "forged");
    sign("cy.pem", "text", "signed");
    let approve = |statement: &str, signature: &str| -> Vec<String> {
        ["approve", &request, "--statement", statement, "--signature", signature].map(str::to_owned).to_vec()
    };
    let refuse = |statement: &str, signature: &str| {
        let arguments = approve(statement, signature);
        refused(here, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert!(refuse("text", "forged").contains("did not sign"));
    let statement = std::fs::read_to_string(here.join("text")).unwrap();
    for (from, to) in
        [(other.as_str(), hold.as_str()), ("nonce 01", "nonce 02"), ("act custody.hold", "act custody.old")]
    {
        if statement.contains(from) {
            std::fs::write(here.join("changed"), statement.replace(from, to)).unwrap();
            sign("cy.pem", "changed", "changed.sig");
            assert!(refuse("changed", "changed.sig").contains("not of a request"), "{from}");
        }
    }
    // Personal data cannot come in through what is signed.
    std::fs::write(here.join("personal"), statement.replace("agreed", "agreed with carl@example.com")).unwrap();
    sign("cy.pem", "personal", "personal.sig");
    let personal = command(here, &["approve", &request, "--statement", "personal", "--signature", "personal.sig"]);
    assert_eq!(personal.status.code(), Some(2), "{}", text(&personal.stderr));

    let approval = tabellion(here, &approve("text", "signed").iter().map(String::as_str).collect::<Vec<_>>());
    let lift = |approval: &str| {
        let act =
            json!({"why": "settled", "approval": approval.parse::<u64>().unwrap(), "what": {"hold_lift": details}});
        Request::post("/api/v1/custody", act.to_string()).header("x-tabellion-key", &bo).send(server.console)
    };
    assert_eq!(lift(&approval).status, 200);
    let again = lift(&approval);
    assert_eq!((again.status, again.text().contains("hold-unplaced")), (409, true), "{}", again.text());
    // Nobody approves their own: cy's other key is cy's.
    let (own, _) = issue(here, "officer", "cy", &[]);
    let third = &holds[2];
    let asked = act(&server, &own, json!({"request": {"kind": "custody.hold.lift", "details": {"hold": third}}}));
    let request = serde_json::from_str::<Value>(&asked.text()).unwrap()["entry"].to_string();
    eventually("the request to be published", || {
        (Log::read(&server.data).entries.len() > request.parse().unwrap()).then_some(())
    });
    let approval = tabellion(here, &["approve", &request, "--key", "cy.pem", "--reason", "mine", "--expires", "1s"]);
    let lift = |key: &str| {
        let act = json!({"approval": approval.parse::<u64>().unwrap(), "what": {"hold_lift": {"hold": third}}});
        Request::post("/api/v1/custody", act.to_string()).header("x-tabellion-key", key).send(server.console)
    };
    let mine = lift(&own);
    assert!(mine.text().contains("approval-own") || mine.text().contains("approval-expired"), "{}", mine.text());
    eventually("the approval to expire", || lift(&own).text().contains("approval-expired").then_some(()));
    assert!(lift(&bo).text().contains("approval-expired"), "whoever uses it");

    let chain = tabellion(here, &["case", "custody", "C-1042", "--json"]);
    let chain: Vec<Value> = chain.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = chain.iter().map(|link| link["kind"].as_str().unwrap()).collect();
    let lifted = chain.iter().filter(|link| link["kind"] == "custody.hold.lift").collect::<Vec<_>>();
    assert_eq!(kinds[0], "exchange.request", "{kinds:?}");
    assert_eq!(lifted.len(), 2);
    for link in lifted {
        assert_eq!((&link["approved"]["by"], &link["approved"]["key"]), (&json!("cy"), &json!(cy)), "{link}");
    }
    server.assert_well();
    server.stop();

    // The state is what the log says: another start knows it, also when everything derived is gone.
    std::fs::remove_dir_all(server.data.join("index")).unwrap();
    std::fs::remove_dir_all(server.data.join("search")).unwrap();
    let mut server = Setup::new(&here.join("data"), &standin.url()).start();
    let left: Value =
        serde_json::from_str(&Request::get("/api/v1/holds").header("x-tabellion-key", &bo).send(server.console).text())
            .unwrap();
    let left: BTreeSet<&str> =
        left["holds"].as_array().unwrap().iter().map(|line| line["hold"].as_str().unwrap()).collect();
    assert_eq!(left, holds[2..].iter().map(String::as_str).collect());
    server.stop();
    verify(&server.data);
    for (path, bytes) in files(&server.data) {
        for secret in ["anna@example.com", "bob@example.com", "carl@example.com", &bo] {
            assert!(!has(&bytes, secret.as_bytes()), "{secret} is in {}", path.display());
        }
    }
}

#[test]
fn what_needs_an_approval_changes_only_on_the_record() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let changes = || {
        let log = Log::read(&here.join("data"));
        let changes = log.entries.iter().filter(|entry| entry["kind"] == "custody.policy.change");
        changes.map(|entry| entry["act"]["approve"].clone()).collect::<Vec<_>>()
    };
    let write =
        |approve: &str| std::fs::write(here.join("data.toml"), format!("[custody]\napprove = {approve}\n")).unwrap();
    issue(here, "writer", "A", &[]);
    assert!(changes().is_empty(), "the default is in force without being said");
    let hold = tabellion(here, &["hold", "place", "--case", "C-1", "--reason", "suit"]);
    assert!(refused(here, &["hold", "lift", &hold, "--reason", "over"]).contains("needs an approval"));
    write("[]");
    tabellion(here, &["hold", "lift", &hold, "--reason", "over"]);
    assert_eq!(changes(), [json!([])], "before what it allows");
    write("[\"erase\", \"hold.lift\"]");
    let hold = tabellion(here, &["hold", "place", "--case", "C-1", "--reason", "suit"]);
    assert!(refused(here, &["hold", "lift", &hold, "--reason", "over"]).contains("needs an approval"));
    assert_eq!(changes(), [json!([]), json!(["custody.erase", "custody.hold.lift"])]);
    write("[\"hold.lifted\"]");
    let wrong = command(here, &["key", "list"]);
    assert_eq!((wrong.status.code(), text(&wrong.stderr).contains("hold.lift, reveal, erase")), (Some(2), true));
    std::fs::remove_file(here.join("data.toml")).unwrap();
    verify(&here.join("data"));
}

/// A certificate for the loopback, by an authority of our own, under a name.
fn certify(here: &Path, name: &str) {
    let openssl = |arguments: &[&str]| {
        let output = run("openssl", arguments, here);
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    if !here.join("ca.pem").exists() {
        let subject = ["-subj", "/CN=ca", "-addext", "basicConstraints=critical,CA:true"];
        let new =
            ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2"];
        openssl(&[&new[..], &subject].concat());
    }
    let subject = format!("/CN={name}");
    openssl(&["req", "-newkey", "rsa:2048", "-nodes", "-keyout", "new.key", "-out", "new.csr", "-subj", &subject]);
    std::fs::write(here.join("new.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let sign = ["x509", "-req", "-in", "new.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(&[&sign[..], &["-out", "new.pem", "-days", "2", "-extfile", "new.ext"]].concat());
    std::fs::rename(here.join("new.key"), here.join("server.key")).unwrap();
    std::fs::rename(here.join("new.pem"), here.join("server.pem")).unwrap();
}

#[test]
fn beyond_the_loopback_there_is_tls_and_nobody_without_a_key() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    certify(here, "first");
    let standin = StandIn::start();
    let (certificate, key) = (here.join("server.pem"), here.join("server.key"));
    let tls = format!("certificate = \"{}\"\nkey = \"{}\"\n", certificate.display(), key.display());
    let config = format!("[gateway.tls]\n{tls}[console.tls]\n{tls}");
    let mut server = Setup::new(&here.join("data"), &standin.url())
        .with("TABELLION_GATEWAY_LISTEN", "0.0.0.0:0")
        .with("TABELLION_CONSOLE_LISTEN", "0.0.0.0:0")
        .configured(&config)
        .start();
    let curl = |arguments: &[&str], port: u16, path: &str| {
        let url = format!("https://127.0.0.1:{port}{path}");
        let output =
            run("curl", &[&["-sS", "--cacert", "ca.pem", "-w", "\n%{http_code}"], arguments, &[&url]].concat(), here);
        (text(&output.stdout), text(&output.stderr))
    };
    let (gateway, console) = (server.gateway.port(), server.console.port());
    assert!(curl(&[], console, "/healthz").0.ends_with("200"));
    assert!(curl(&[], console, "/metrics").0.ends_with("401"));
    assert!(curl(&[], console, "/log/checkpoint").0.ends_with("401"));
    assert!(curl(&[], gateway, "/v1/models").0.ends_with("401"));
    // The owner's commands work beside it.
    let (writer, _) = issue(here, "writer", "bot", &[]);
    let (auditor, _) = issue(here, "auditor", "Ada", &[]);
    let with = |key: &str| format!("authorization: Bearer {key}");
    assert!(curl(&["-H", &with(&auditor)], console, "/log/checkpoint").0.ends_with("200"));
    let body = String::from_utf8(chat("m", "hello", true)).unwrap();
    let json = ["-H", "content-type: application/json", "-d", &body];
    let (said, _) = curl(&[&["-H", &with(&writer)][..], &json].concat(), gateway, "/v1/chat/completions");
    assert!(said.contains("data: ") && said.ends_with("[DONE]\n\n\n200"), "{said}");

    let doctor = text(&command(here, &["doctor"]).stdout);
    assert!(doctor.contains("gateway.tls") && doctor.contains("the certificate can be used"), "{doctor}");

    // Nothing is spoken in the clear, and nobody else's certificate is shown.
    let plain = run("curl", &["-sS", "-m", "5", &format!("http://127.0.0.1:{console}/healthz")], here);
    assert!(!plain.status.success(), "{}", text(&plain.stdout));
    let stranger = run("curl", &["-sS", &format!("https://127.0.0.1:{console}/healthz")], here);
    assert!(!stranger.status.success() && text(&stranger.stderr).contains("certificate"), "{}", text(&stranger.stderr));

    // A certificate that is replaced is shown to whoever connects from then on; one that cannot be used is not.
    let shown = || {
        let connect = format!("127.0.0.1:{console}");
        text(&run("openssl", &["s_client", "-connect", &connect, "-showcerts"], here).stdout)
    };
    assert!(shown().contains("CN = first"));
    certify(here, "second");
    eventually("the new certificate", || shown().contains("CN = second").then_some(()));
    std::fs::write(&key, "no key").unwrap();
    eventually("the defect to be noticed", || server.said().contains("cannot be used").then_some(()));
    assert!(shown().contains("CN = second"));
    server.assert_no_panic();
    server.stop();
    verify(&server.data);

    // Without it, nothing is served.
    std::fs::remove_file(here.join("data.toml")).unwrap();
    let data = here.join("data");
    let open = Command::new(env!("CARGO_BIN_EXE_tabellion"))
        .args(["serve", "--data"])
        .arg(data)
        .env("TABELLION_CONSOLE_LISTEN", "0.0.0.0:0")
        .output()
        .unwrap();
    assert_eq!(open.status.code(), Some(2));
    assert!(text(&open.stderr).contains("console.tls"), "{}", text(&open.stderr));
}

#[test]
fn the_documentation_has_the_table_of_the_code() {
    let mut table = "| | writer | reader | officer | auditor | admin |\n|---|---|---|---|---|---|\n".to_owned();
    for row in RIGHTS {
        let cells: String = row.roles.iter().map(|may| if *may { " yes |" } else { " |" }).collect();
        table.push_str(&format!("| {} |{cells}\n", row.what));
    }
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/custody.md")).unwrap();
    assert!(page.contains(&table), "docs/custody.md needs\n{table}");
}

#[test]
fn what_is_against_the_rules_is_found_by_both_verifiers() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let (_, writer) = issue(here, "writer", "bot", &[]);
    let entries: Vec<Value> = [
        ("custody.start", json!({})),
        ("exchange.request", json!({"key": "k_of_nobody"})),
        ("custody.key.issue", json!({"key": writer, "act": {"key": "k_x"}})),
        ("custody.hold.lift", json!({"act": {"hold": "none"}})),
        ("custody.key.revoke", json!({"act": {"key": writer}})),
        ("exchange.request", json!({"key": writer})),
    ]
    .into_iter()
    .enumerate()
    .map(|(seq, (kind, members))| {
        let id = format!("01JDA8N{seq:019}");
        let mut entry =
            json!({"v": 1, "kind": kind, "id": id, "time": "2026-11-22T10:00:00Z", "producer": "p", "seq": seq});
        entry.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        if kind == "exchange.request" {
            entry["exchange"] = entry["id"].clone();
        }
        entry
    })
    .collect();

    // The server takes none of them as they are: whoever could add one could make themselves an admin.
    let mut server = Setup::new(&here.join("data"), "http://127.0.0.1:1").configured("[log]\nadd = true\n").start();
    for (entry, status) in entries.iter().zip([200, 403, 403, 403, 403, 403]) {
        let answer = Request::post("/log/add", entry.to_string()).send(server.console);
        assert_eq!(answer.status, status, "{entry}: {}", answer.text());
    }
    server.stop();
    verify(&server.data);

    // Whoever has the log's keys can write what they want.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (data, keys) = (here.join("data"), here.join("data.keys"));
        let ledger = tabellion_ledger::Ledger::open(&data, &keys, tabellion_ledger::Options::default()).unwrap();
        for entry in &entries[1..] {
            let entry = entry.to_string().into_bytes();
            ledger.append(tabellion_ledger::Append { entry, ..tabellion_ledger::Append::default() }).await.unwrap();
        }
        tokio::task::spawn_blocking(move || ledger.close()).await.unwrap();
    });
    let expected = ["key-unissued", "role", "act-malformed", "hold-unplaced", "approval-missing", "key-revoked"];
    for further in [&[][..], &["--state", "state"]] {
        let output = command(here, &[&["verify", "data", "--json"], further].concat());
        assert_eq!(output.status.code(), Some(1));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let contradicted: Vec<&str> = report["contradicted"]
            .as_array()
            .unwrap()
            .iter()
            .map(|problem| problem["code"].as_str().unwrap())
            .collect();
        assert_eq!(contradicted, expected, "{further:?}: {report}");
        let proved = report["proved"].as_array().unwrap();
        assert!(!proved.iter().any(|proved| proved["code"] == "custody"), "{report}");
    }
    let part = command(here, &["verify", "data", "--json", "--range", "2..4"]);
    let part: Value = serde_json::from_slice(&part.stdout).unwrap();
    assert!(part["unchecked"].as_array().unwrap().iter().any(|unchecked| unchecked["code"] == "custody"), "{part}");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../verify/tabellion_verify.py");
    let output = run("python3", &[script, "data"], here);
    assert_eq!(output.status.code(), Some(1));
    for said in ["was not issued before", "may not do", "not in force", "names none", "was revoked before"] {
        assert!(text(&output.stdout).contains(said), "{said}: {}", text(&output.stdout));
    }
}

#[test]
fn a_revoked_key_is_used_by_nothing_after_its_revocation() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let standin = StandIn::start();
    let mut server = Setup::new(&here.join("data"), &standin.url()).start();
    let (secret, id) = issue(here, "writer", "bot", &[]);
    let stopped = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                // Until the first that is refused; and each that was not is recorded.
                while ask(&server, ("x-tabellion-key", &secret)).status == 200 {}
                stopped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            });
        }
        let recorded = || Log::read(&server.data).requests().len();
        eventually("them to be under way", || (recorded() > 50).then_some(()));
        tabellion(here, &["key", "revoke", &id, "--reason", "stolen"]);
    });
    assert_eq!(stopped.into_inner(), 8);
    server.stop();
    verify(&server.data);
    let log = Log::read(&server.data);
    let revoked = log.entries.iter().position(|entry| entry["kind"] == "custody.key.revoke").unwrap();
    let last = log.entries.iter().rposition(|entry| entry["kind"] == "exchange.request").unwrap();
    assert!(last < revoked, "{last} and {revoked}");
}
