//! Anchors against those who give them: OpenSSL as a timestamp authority, behind a server of our own (`tests/anchors/`).
//!
//! `openssl ts -verify` must accept what we keep, and we what it gives; what is wrong with an answer must be found, and
//! for the right reason. OpenTimestamps has its tests in `tests/anchors/test_ots.py`, with the official client.

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use common::{Log, Request, Server, Setup, eventually};

/// Nobody listens there; these tests send nothing to a provider.
const NO_UPSTREAM: &str = "http://127.0.0.1:9";

/// A timestamp authority. Ends when dropped.
struct Authority {
    process: Child,
    url: String,
}

impl Authority {
    fn start(state: &Path, arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/anchors/tsa.py");
        let mut process = Command::new("python3")
            .arg(script)
            .arg(state)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("http://"), "the authority did not start: {url}");
        Self { process, url: url.trim_end().to_owned() }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn config(name: &str, url: &str, state: &Path, more: &str) -> String {
    let roots = state.join("root.pem");
    format!(
        "[[anchor]]\nname = \"{name}\"\nkind = \"rfc3161\"\nurl = \"{url}\"\nroots = \"{}\"\ntimeout_s = 2\n{more}\n",
        roots.display()
    )
}

fn tabellion(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tabellion")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The anchors that there are, by name.
fn anchors(data: &Path) -> Vec<String> {
    let files = std::fs::read_dir(data.join("anchors")).into_iter().flatten().flatten();
    let mut names: Vec<String> = files.map(|file| file.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A log with a few entries, and nobody who writes it.
fn stopped_log(data: &Path) {
    let mut server = Setup::new(data, NO_UPSTREAM).start();
    server.stop();
}

fn openssl_verify(data: &Path, file: &Path, roots: &Path) -> Output {
    let checkpoint = std::fs::read_to_string(data.join("log/checkpoint")).unwrap();
    let message: String = checkpoint.split_inclusive('\n').take(3).collect();
    let path = data.with_extension("message");
    std::fs::write(&path, message).unwrap();
    Command::new("openssl")
        .args(["ts", "-verify", "-data"])
        .arg(&path)
        .arg("-in")
        .arg(file)
        .arg("-CAfile")
        .arg(roots)
        .output()
        .unwrap()
}

#[test]
fn openssl_accepts_what_we_keep_and_we_what_it_gives() {
    let here = tempfile::tempdir().unwrap();
    for algorithm in ["ec", "rsa"] {
        let (data, state) = (here.path().join(algorithm), here.path().join("tsa"));
        let authority = Authority::start(&state, &["--alg", algorithm]);
        stopped_log(&data);
        let configured = here.path().join("tabellion.toml");
        std::fs::write(&configured, config("tsa", &authority.url, &state, "policy = \"1.3.6.1.4.1.32473.1.1\""))
            .unwrap();
        let (data_text, configured) = (data.to_str().unwrap(), configured.to_str().unwrap());
        let said = tabellion(&["anchor", "--json", "--config", configured, "--data", data_text]);
        assert!(said.status.success(), "{}", text(&said.stderr));
        let line: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        let size = line["size"].as_u64().unwrap();
        assert_eq!(line["file"], format!("anchors/{size}.tsr"));
        assert_eq!(line["authority"], format!("CN=Test {algorithm}"));

        let file = data.join(line["file"].as_str().unwrap());
        let roots = state.join("root.pem");
        let verified = openssl_verify(&data, &file, &roots);
        assert!(verified.status.success(), "{}", text(&verified.stderr));

        // A second one about the same size gets a name of its own.
        assert!(tabellion(&["anchor", "--config", configured, "--data", data_text]).status.success());
        assert_eq!(anchors(&data), [format!("{size}-2.tsr"), format!("{size}.tsr")]);

        let report = verify(&data, &["--tsa-roots", roots.to_str().unwrap(), "--tsa-policy", "1.3.6.1.4.1.32473.1.1"]);
        assert_eq!(report.code, 0, "{}", report.json);
        let existed = &report.json["anchors"]["existed"];
        assert_eq!(existed.as_array().unwrap().len(), 2);
        assert_eq!(existed[0]["size"], size);
        assert_eq!(existed[0]["by"], format!("CN=Test {algorithm}"));
        assert!(existed[0]["no_later_than"].as_str().unwrap() >= line["time"].as_str().unwrap());
        // By hand too, for people.
        let said = tabellion(&["verify", data_text, "--tsa-roots", roots.to_str().unwrap()]);
        assert!(text(&said.stdout).contains(&format!("the first {size} entries existed no later than")));
        common::verify(&data);
        assert_eq!(independently(&data, &roots), (Some(0), true));
    }
}

/// What the verifier that shares no code with the product says: its exit code, and whether it names a time.
fn independently(data: &Path, roots: &Path) -> (Option<i32>, bool) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../verify/tabellion_verify.py");
    let output = Command::new("python3").arg(script).arg(data).arg("--tsa-roots").arg(roots).output().unwrap();
    (output.status.code(), text(&output.stdout).contains("no later than"))
}

struct Verified {
    code: i32,
    json: serde_json::Value,
}

fn verify(data: &Path, arguments: &[&str]) -> Verified {
    let output = Command::new(env!("CARGO_BIN_EXE_tabellion"))
        .args(["verify", "--json"])
        .arg(data)
        .args(arguments)
        .output()
        .unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    Verified { code: output.status.code().unwrap(), json }
}

#[test]
fn what_is_wrong_with_an_answer_is_found() {
    let here = tempfile::tempdir().unwrap();
    let (data, state) = (here.path().join("data"), here.path().join("tsa"));
    stopped_log(&data);
    let other = Authority::start(&here.path().join("other"), &[]);
    for (fault, more, code, reason) in [
        ("http503", "", 3, "the answer is status 503"),
        ("hang", "", 3, "there was no answer in time"),
        ("huge", "", 3, "the answer is too large"),
        ("badsig", "", 1, "the token's signature is wrong"),
        ("garbage", "", 1, "the token is malformed"),
        ("wrongnonce", "", 1, "the token does not have the request's nonce"),
        ("rejection", "", 1, "the authority refused: status 2, badAlg"),
        ("backdated", "", 1, "back-dated"),
        ("postdated", "", 1, "post-dated"),
        // OpenSSL gives a token under the policy that is asked for, or none.
        ("none", "policy = \"1.3.6.1.4.1.32473.9\"", 1, "unacceptedPolicy"),
    ] {
        let authority = Authority::start(&state, &["--alg", "rsa", "--fault", fault]);
        refused(&data, &config("tsa", &authority.url, &state, more), code, reason);
    }
    // A good token, by an authority of other roots.
    let _authority = Authority::start(&state, &[]);
    refused(&data, &config("tsa", &other.url, &state, ""), 1, "leads to none of the roots");
    refused(&data, &config("tsa", "http://127.0.0.1:9", &state, ""), 3, "there is no answer");
}

fn refused(data: &Path, configuration: &str, code: i32, reason: &str) {
    let configured = data.with_extension("refused.toml");
    std::fs::write(&configured, configuration).unwrap();
    let said = tabellion(&["anchor", "--config", configured.to_str().unwrap(), "--data", data.to_str().unwrap()]);
    assert_eq!(said.status.code(), Some(code), "{reason}: {}", text(&said.stderr));
    assert!(text(&said.stderr).contains(reason), "not {reason}: {}", text(&said.stderr));
    assert!(anchors(data).is_empty(), "what is refused is not kept: {reason}");
}

#[test]
fn an_outage_is_logged_and_in_nobodys_way() {
    let here = tempfile::tempdir().unwrap();
    let (data, state) = (here.path().join("data"), here.path().join("tsa"));
    // Once, so that its certificates are there.
    drop(Authority::start(&state, &[]));
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port().to_string()
    };
    let configuration = config("away", &format!("http://127.0.0.1:{port}"), &state, "every_s = 1");
    let mut server = Setup::new(&data, NO_UPSTREAM).configured(&configuration).start();
    eventually("the outage to be logged", || server.said().contains("the checkpoint is not anchored").then_some(()));
    server.assert_well();
    eventually("the anchor's age to grow", || (age(&server) >= 2).then_some(()));

    let _authority = Authority::start(&state, &["--port", &port]);
    let name = eventually("an anchor", || anchors(&data).first().cloned());
    eventually("the anchor's age to be small again", || (age(&server) <= 1).then_some(()));
    let declared = eventually("the anchor to be declared", || {
        Log::read(&data).entries.into_iter().find(|entry| entry["kind"] == "custody.anchor")
    });
    assert_eq!(declared["tags"]["file"], format!("anchors/{name}"));
    server.stop();

    // The log says that it holds the token, so what comes later was recorded later.
    let report = verify(&data, &["--tsa-roots", state.join("root.pem").to_str().unwrap()]);
    assert_eq!(report.code, 0, "{}", report.json);
    let not_before = &report.json["anchors"]["not_before"][0];
    let existed = &report.json["anchors"]["existed"][0];
    assert_eq!(not_before["file"], format!("anchors/{name}"));
    assert!(not_before["time"].as_str().unwrap() < existed["no_later_than"].as_str().unwrap());
    assert!(not_before["entry"].as_u64().unwrap() >= existed["size"].as_u64().unwrap());
    assert!(anchors(&data).len() < 5, "a log that stands still is not anchored again and again");
    common::verify(&data);
}

fn age(server: &Server) -> u64 {
    let metrics = Request::get("/metrics").send(server.console).text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("tabellion_anchor_age_seconds ")).unwrap();
    line.parse().unwrap()
}

/// Whoever can write to the directory can put anything there. It must not pass for evidence, nor hide any.
#[test]
fn verify_tells_what_is_proved_from_what_is_not() {
    let here = tempfile::tempdir().unwrap();
    let (data, state) = (here.path().join("data"), here.path().join("tsa"));
    stopped_log(&data);
    let authority = Authority::start(&state, &["--alg", "rsa"]);
    let configured = here.path().join("tabellion.toml");
    std::fs::write(&configured, config("tsa", &authority.url, &state, "")).unwrap();
    let anchor = |data: &Path| {
        let arguments = ["anchor", "--config", configured.to_str().unwrap(), "--data", data.to_str().unwrap()];
        assert!(tabellion(&arguments).status.success());
    };
    anchor(&data);
    let first = anchors(&data).remove(0);
    let file = data.join("anchors").join(&first);
    let good = std::fs::read(&file).unwrap();
    let roots = state.join("root.pem");
    let with_roots = ["--tsa-roots", roots.to_str().unwrap()];

    // Nobody's roots: what it says is not known, which is not a contradiction.
    let report = verify(&data, &[]);
    assert_eq!(report.code, 0);
    assert_eq!(report.json["anchors"]["existed"].as_array().unwrap().len(), 0);
    assert!(report.json["anchors"]["unchecked"][0]["why"].as_str().unwrap().contains("no roots were given"));

    let contradicted = |report: &Verified, reason: &str| {
        assert_eq!(report.code, 1, "{reason}: {}", report.json);
        let wrong = report.json["anchors"]["contradicted"][0]["wrong"].as_str().unwrap();
        assert!(wrong.contains(reason), "not {reason}: {wrong}");
        assert_eq!(report.json["anchors"]["existed"].as_array().unwrap().len(), 0);
        assert_eq!(independently(&data, &roots), (Some(1), false), "{reason}");
    };
    // A bit of the signature.
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    std::fs::write(&file, &bad).unwrap();
    contradicted(&verify(&data, &with_roots), "signature is wrong");
    // Another policy than the verifier demands.
    std::fs::write(&file, &good).unwrap();
    let report = verify(&data, &[&with_roots[..], &["--tsa-policy", "1.2.3"]].concat());
    assert_eq!(report.code, 1);
    assert!(report.json["anchors"]["contradicted"][0]["wrong"].as_str().unwrap().contains("another policy"));
    // A token of another log, with and without roots.
    let other = here.path().join("other");
    stopped_log(&other);
    anchor(&other);
    std::fs::copy(other.join("anchors").join(&anchors(&other)[0]), &file).unwrap();
    contradicted(&verify(&data, &with_roots), "about other bytes");
    contradicted(&verify(&data, &[]), "about other bytes");
    // A log that was rolled back keeps a token of what it was.
    std::fs::remove_file(&file).unwrap();
    std::fs::write(data.join("anchors/1000.tsr"), &good).unwrap();
    contradicted(&verify(&data, &with_roots), "the log has only");
    std::fs::remove_file(data.join("anchors/1000.tsr")).unwrap();

    // A token that says that it was made before the entries that it is about.
    drop(authority);
    let message: String =
        std::fs::read_to_string(data.join("log/checkpoint")).unwrap().split_inclusive('\n').take(3).collect();
    dated("backdated", here.path(), &state, message.as_bytes(), &file);
    assert!(openssl_verify(&data, &file, &roots).status.success(), "which its signature does not show");
    contradicted(&verify(&data, &with_roots), "back-dated");
}

/// Two tokens of which each alone is in order. One of them lies.
#[test]
fn anchors_are_held_against_each_other() {
    let here = tempfile::tempdir().unwrap();
    let (data, state) = (here.path().join("data"), here.path().join("tsa"));
    stopped_log(&data);
    std::fs::create_dir(data.join("anchors")).unwrap();
    let checkpoint = std::fs::read_to_string(data.join("log/checkpoint")).unwrap();
    let message: String = checkpoint.split_inclusive('\n').take(3).collect();
    let size: u64 = checkpoint.lines().nth(1).unwrap().parse().unwrap();
    dated("postdated", here.path(), &state, message.as_bytes(), &data.join(format!("anchors/{size}.tsr")));
    let roots = state.join("root.pem");
    let with_roots = ["--tsa-roots", roots.to_str().unwrap()];
    assert_eq!(verify(&data, &with_roots).code, 0, "tomorrow, nothing else would speak against it");

    stopped_log(&data);
    let authority = Authority::start(&state, &["--alg", "rsa"]);
    let configured = here.path().join("tabellion.toml");
    std::fs::write(&configured, config("tsa", &authority.url, &state, "")).unwrap();
    let said = tabellion(&["anchor", "--config", configured.to_str().unwrap(), "--data", data.to_str().unwrap()]);
    assert!(said.status.success());
    let report = verify(&data, &with_roots);
    assert_eq!(report.code, 1, "{}", report.json);
    let wrong = report.json["anchors"]["contradicted"][0]["wrong"].as_str().unwrap();
    assert!(wrong.contains(&format!("anchors/{size}.tsr, which came before, has a later time")), "{wrong}");
}

/// A token for a message, with a good signature and another day's date.
fn dated(fault: &str, here: &Path, state: &Path, message: &[u8], file: &Path) {
    let authority = Authority::start(state, &["--alg", "rsa", "--fault", fault]);
    let (data, query) = (here.join("dated.data"), here.join("dated.tsq"));
    std::fs::write(&data, message).unwrap();
    let made = Command::new("openssl")
        .args(["ts", "-query", "-sha256", "-cert", "-data"])
        .arg(&data)
        .arg("-out")
        .arg(&query)
        .output()
        .unwrap();
    assert!(made.status.success());
    let address = authority.url.trim_start_matches("http://").parse().unwrap();
    let answer = Request::post("/", std::fs::read(&query).unwrap())
        .header("content-type", "application/timestamp-query")
        .send(address);
    assert_eq!(answer.status, 200);
    std::fs::write(file, &answer.body).unwrap();
}
