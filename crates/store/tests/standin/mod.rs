//! A small store that speaks as much of S3, Google Cloud Storage and Azure Blob as `tabellion_store` says to them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

/// What happens to writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    ErrorAndNotDone,
    ErrorButDone,
    BrokenButDone,
    LateButDone,
    DoneTwice,
    ClaimedAndNotDone,
    DoneWrong,
    DoneWithoutLock,
}

#[derive(Clone)]
struct Version {
    id: u64,
    bytes: Vec<u8>,
    /// Whether nobody can shorten it, and its end.
    lock: Option<(bool, Timestamp)>,
    hold: bool,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<Version>>,
    made: u64,
    fault: Option<(Fault, usize)>,
    pretends: BTreeSet<&'static str>,
    /// What somebody else writes in the moment before the next write of this name.
    intruder: Option<(String, Vec<u8>)>,
}

pub(crate) struct Standin {
    port: u16,
    state: Arc<Mutex<State>>,
}

struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Default)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn answer(status: u16) -> Answer {
    Answer { status, ..Answer::default() }
}

impl Answer {
    fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

impl Standin {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { port, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next so many writes of objects end like this.
    pub(crate) fn misbehave(&self, fault: Fault, times: usize) {
        self.state.lock().unwrap().fault = Some((fault, times));
    }

    /// Something is answered as if it were done.
    pub(crate) fn pretend(&self, what: &'static str) {
        self.state.lock().unwrap().pretends.insert(what);
    }

    pub(crate) fn intrude(&self, name: &str, bytes: &[u8]) {
        self.state.lock().unwrap().intruder = Some((name.to_owned(), bytes.to_vec()));
    }

    pub(crate) fn versions(&self, name: &str) -> usize {
        self.state.lock().unwrap().objects.get(name).map_or(0, Vec::len)
    }

    pub(crate) fn is_locked(&self, name: &str) -> bool {
        self.state.lock().unwrap().objects[name].last().unwrap().lock.is_some()
    }

    pub(crate) fn is_held(&self, name: &str) -> bool {
        self.state.lock().unwrap().objects[name].last().unwrap().hold
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        let (answer, broken) = handle(&request, state);
        if broken {
            return;
        }
        let mut out = format!("HTTP/1.1 {} X\r\n", answer.status);
        let length = answer.headers.iter().any(|(name, _)| name == "content-length");
        for (name, value) in &answer.headers {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        if !length {
            out.push_str(&format!("content-length: {}\r\n", answer.body.len()));
        }
        let date = Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
        out.push_str(&format!("date: {date}\r\n\r\n"));
        let mut stream = stream;
        if stream.write_all(out.as_bytes()).is_err() {
            return;
        }
        if request.method != "HEAD" && stream.write_all(&answer.body).is_err() {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    });
    Some(Request { method, path: path.to_owned(), query: query.collect(), headers, body })
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let hex: String = bytes.by_ref().take(2).map(char::from).collect();
            out.push(u8::from_str_radix(&hex, 16).unwrap());
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).unwrap()
}

/// The answer, and whether the connection breaks before it.
fn handle(request: &Request, state: &Mutex<State>) -> (Answer, bool) {
    if let Some(name) = request.path.strip_prefix("/storage/v1/b/bucket") {
        return match name.strip_prefix("/o/") {
            Some(name) => (google(request, &decoded(name), &mut state.lock().unwrap()), false),
            None => {
                let mode = if state.lock().unwrap().pretends.contains("configuration") { "" } else { "Enabled" };
                (answer(200).body(format!("{{\"objectRetention\":{{\"mode\":\"{mode}\"}}}}")), false)
            }
        };
    }
    let name =
        decoded(request.path.strip_prefix("/bucket").expect("nothing else is asked for").trim_start_matches('/'));
    if name.is_empty() {
        return (bucket(request, &state.lock().unwrap()), false);
    }
    if request.method == "PUT"
        && !["retention", "legal-hold", "comp"].iter().any(|key| request.query.contains_key(*key))
    {
        return put(request, &name, state);
    }
    (object(request, &name, &mut state.lock().unwrap()), false)
}

fn is_azure(request: &Request) -> bool {
    request.headers.contains_key("x-ms-version")
}

fn put(request: &Request, name: &str, state: &Mutex<State>) -> (Answer, bool) {
    let mut held = state.lock().unwrap();
    let state = &mut *held;
    let fault = match &mut state.fault {
        Some((fault, times)) if *times > 0 => {
            *times -= 1;
            Some(*fault)
        }
        _ => None,
    };
    if let Some((_, bytes)) = state.intruder.take_if(|(intruded, _)| intruded == name) {
        write(state, name, bytes, None);
    }
    let create =
        request.headers.contains_key("if-none-match") || request.headers.contains_key("x-goog-if-generation-match");
    if create && state.objects.contains_key(name) && !state.pretends.contains("conditions") {
        return (answer(if is_azure(request) { 409 } else { 412 }), false);
    }
    let ending = ["x-amz-object-lock", "x-goog-object-lock"]
        .iter()
        .find_map(|prefix| request.header(&format!("{prefix}-retain-until-date")))
        .map(|until| until.parse().unwrap())
        .or_else(|| request.header("x-ms-immutability-policy-until-date").map(rfc1123));
    let lock = ending.map(|until| (true, until));
    let done = answer(if is_azure(request) { 201 } else { 200 });
    match fault {
        Some(Fault::ErrorAndNotDone) => return (answer(503), false),
        Some(Fault::ClaimedAndNotDone) => return (done, false),
        Some(Fault::DoneWrong) => {
            let mut wrong = request.body.clone();
            wrong[0] ^= 1;
            write(state, name, wrong, lock);
        }
        Some(Fault::DoneWithoutLock) => write(state, name, request.body.clone(), None),
        Some(Fault::DoneTwice) => {
            write(state, name, request.body.clone(), lock);
            write(state, name, request.body.clone(), lock);
        }
        _ => write(state, name, request.body.clone(), lock),
    }
    let id = state.objects[name].last().unwrap().id;
    drop(held);
    match fault {
        Some(Fault::ErrorButDone) => (answer(500), false),
        Some(Fault::BrokenButDone) => (answer(0), true),
        Some(Fault::LateButDone) => {
            std::thread::sleep(Duration::from_millis(700));
            (done, false)
        }
        _ if is_azure(request) => (done.header("x-ms-version-id", id), false),
        _ => (done.header("x-amz-version-id", id), false),
    }
}

fn write(state: &mut State, name: &str, bytes: Vec<u8>, lock: Option<(bool, Timestamp)>) {
    state.made += 1;
    let version = Version { id: state.made, bytes, lock, hold: false };
    state.objects.entry(name.to_owned()).or_default().push(version);
}

fn rfc1123(text: &str) -> Timestamp {
    jiff::fmt::rfc2822::parse(text).unwrap().timestamp()
}

fn find<'a>(state: &'a mut State, name: &str, version: Option<&String>) -> Option<&'a mut Version> {
    let versions = state.objects.get_mut(name)?;
    match version {
        Some(version) => versions.iter_mut().find(|known| known.id.to_string() == *version),
        None => versions.last_mut(),
    }
}

/// Deletes a version, if nothing keeps it.
fn delete(state: &mut State, name: &str, version: Option<&String>, refused: u16) -> Answer {
    let pretends_locks = state.pretends.contains("locks");
    let Some(found) = find(state, name, version) else { return answer(404) };
    let kept = found.lock.is_some_and(|(_, until)| until > Timestamp::now()) && !pretends_locks;
    if kept || found.hold {
        return answer(refused);
    }
    let id = found.id;
    let versions = state.objects.get_mut(name).unwrap();
    versions.retain(|version| version.id != id);
    if versions.is_empty() {
        state.objects.remove(name);
    }
    answer(204)
}

/// Changes a lock, if that does not weaken it.
fn retain(state: &mut State, name: &str, version: Option<&String>, lock: (bool, Timestamp), refused: u16) -> Answer {
    let pretends = state.pretends.contains("shortening");
    let Some(found) = find(state, name, version) else { return answer(404) };
    let weaker = found.lock.is_some_and(|(strict, until)| (strict && !lock.0) || lock.1 < until);
    if weaker && !pretends {
        return answer(refused);
    }
    found.lock = Some(lock);
    answer(200)
}

fn hold(state: &mut State, name: &str, version: Option<&String>, on: bool) -> Answer {
    let pretends = state.pretends.contains("holds");
    let Some(found) = find(state, name, version) else { return answer(404) };
    if !pretends {
        found.hold = on;
    }
    answer(200)
}

fn google(request: &Request, name: &str, state: &mut State) -> Answer {
    let version = request.query.get("generation").cloned();
    match request.method.as_str() {
        "DELETE" => delete(state, name, version.as_ref(), 403),
        "PATCH" => {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            match body.get("temporaryHold") {
                Some(on) => hold(state, name, version.as_ref(), on.as_bool().unwrap()),
                None => {
                    let retention = &body["retention"];
                    let until = retention["retainUntilTime"].as_str().unwrap().parse().unwrap();
                    retain(state, name, version.as_ref(), (retention["mode"] == "Locked", until), 403)
                }
            }
        }
        _ => {
            let Some(found) = find(state, name, version.as_ref()) else { return answer(404) };
            if request.query.contains_key("alt") {
                return answer(200).body(found.bytes.clone());
            }
            let mut object = serde_json::json!({
                "size": found.bytes.len().to_string(), "generation": found.id.to_string(), "temporaryHold": found.hold,
            });
            if let Some((strict, until)) = found.lock {
                let mode = if strict { "Locked" } else { "Unlocked" };
                object["retention"] = serde_json::json!({"mode": mode, "retainUntilTime": until.to_string()});
            }
            answer(200).body(object.to_string())
        }
    }
}

fn object(request: &Request, name: &str, state: &mut State) -> Answer {
    let azure = is_azure(request);
    let refused = if azure { 409 } else { 403 };
    let version = request.query.get(if azure { "versionid" } else { "versionId" }).cloned();
    let text = String::from_utf8_lossy(&request.body);
    let between =
        |open: &str, close: &str| text.split_once(open)?.1.split_once(close).map(|(inner, _)| inner.to_owned());
    match (request.method.as_str(), request.query.get("comp").map(String::as_str)) {
        ("DELETE", _) => delete(state, name, version.as_ref(), refused),
        ("PUT", Some("legalhold")) => {
            hold(state, name, version.as_ref(), request.header("x-ms-legal-hold") == Some("true"))
        }
        ("PUT", Some("immutabilityPolicies")) => {
            let strict = request.header("x-ms-immutability-policy-mode") == Some("locked");
            let until = rfc1123(request.header("x-ms-immutability-policy-until-date").unwrap());
            retain(state, name, version.as_ref(), (strict, until), refused)
        }
        ("PUT", _) if request.query.contains_key("legal-hold") => {
            hold(state, name, version.as_ref(), between("<Status>", "</Status>").as_deref() == Some("ON"))
        }
        ("PUT", _) => {
            let strict = between("<Mode>", "</Mode>").as_deref() == Some("COMPLIANCE");
            let until = between("<RetainUntilDate>", "</RetainUntilDate>").unwrap().parse().unwrap();
            retain(state, name, version.as_ref(), (strict, until), refused)
        }
        _ => {
            let Some(found) = find(state, name, version.as_ref()) else { return answer(404) };
            let mut facts = answer(200)
                .header("last-modified", "Wed, 25 Nov 2026 00:00:00 GMT")
                .header("etag", format!("\"{}\"", found.id));
            let hold = found.hold;
            facts = if azure {
                facts.header("x-ms-version-id", found.id).header("x-ms-legal-hold", hold)
            } else {
                let hold = if hold { "ON" } else { "OFF" };
                facts.header("x-amz-version-id", found.id).header("x-amz-object-lock-legal-hold", hold)
            };
            if let Some((strict, until)) = found.lock {
                facts = if azure {
                    facts.header("x-ms-immutability-policy-mode", if strict { "locked" } else { "unlocked" }).header(
                        "x-ms-immutability-policy-until-date",
                        until.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
                    )
                } else {
                    facts
                        .header("x-amz-object-lock-mode", if strict { "COMPLIANCE" } else { "GOVERNANCE" })
                        .header("x-amz-object-lock-retain-until-date", until.to_string())
                };
            }
            let range = request.header("range").or(request.header("x-ms-range"));
            match range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) {
                Some((from, to)) => {
                    let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
                    let length = found.bytes.len();
                    if from >= length {
                        return answer(416);
                    }
                    let to = to.min(length - 1);
                    facts.status = 206;
                    facts.header("content-range", format!("bytes {from}-{to}/{length}")).body(&found.bytes[from..=to])
                }
                None => facts.header("content-length", found.bytes.len()).body(found.bytes.clone()),
            }
        }
    }
}

fn bucket(request: &Request, state: &State) -> Answer {
    let configured = !state.pretends.contains("configuration");
    if request.method == "HEAD" {
        return answer(200).header("x-ms-immutable-storage-with-versioning-enabled", configured);
    }
    if request.query.contains_key("object-lock") {
        if !configured {
            return answer(404);
        }
        let enabled = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>";
        return answer(200).body(format!("<ObjectLockConfiguration>{enabled}</ObjectLockConfiguration>"));
    }
    let prefix = request.query.get("prefix").map_or("", String::as_str);
    let found = state.objects.iter().filter(|(name, _)| name.starts_with(prefix));
    if request.query.contains_key("versions") {
        let versions: String = found
            .flat_map(|(name, versions)| versions.iter().rev().map(move |version| (name, version)))
            .map(|(name, version)| {
                format!(
                    "<Version><Key>{name}</Key><VersionId>{}</VersionId>\
                     <LastModified>2026-11-25T00:00:00.000Z</LastModified></Version>",
                    version.id
                )
            })
            .collect();
        let truncated = "<IsTruncated>false</IsTruncated>";
        return answer(200).body(format!("<ListVersionsResult>{truncated}{versions}</ListVersionsResult>"));
    }
    let mut directories = BTreeSet::new();
    let mut names = Vec::new();
    for (name, versions) in found {
        match name[prefix.len()..].find('/') {
            Some(end) => {
                directories.insert(&name[..=prefix.len() + end]);
            }
            None => names.push((name, versions.last().unwrap().bytes.len())),
        }
    }
    answer(200).body(if is_azure(request) {
        let blobs = names.iter().map(|(name, length)| {
            format!(
                "<Blob><Name>{name}</Name><Properties><Last-Modified>Wed, 25 Nov 2026 00:00:00 GMT</Last-Modified>\
                 <Etag>x</Etag><Content-Length>{length}</Content-Length>\
                 <Content-Type>application/octet-stream</Content-Type></Properties></Blob>"
            )
        });
        let prefixes = directories.iter().map(|name| format!("<BlobPrefix><Name>{name}</Name></BlobPrefix>"));
        let blobs: String = blobs.chain(prefixes).collect();
        format!("<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker /></EnumerationResults>")
    } else {
        let contents = names.iter().map(|(name, length)| {
            format!(
                "<Contents><Key>{name}</Key><Size>{length}</Size><ETag>x</ETag>\
                 <LastModified>2026-11-25T00:00:00.000Z</LastModified></Contents>"
            )
        });
        let prefixes =
            directories.iter().map(|name| format!("<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"));
        let list: String = contents.chain(prefixes).collect();
        format!("<ListBucketResult><IsTruncated>false</IsTruncated>{list}</ListBucketResult>")
    })
}
