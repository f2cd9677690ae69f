//! What the page in a bundle shows, computed in the page: `evidence` as WebAssembly, and a view of the bundle for reading.
//!
//! A page has no types to talk to us with, only memory. So it asks for room ([`input`]), writes a request there, calls
//! [`check`], and reads the answer, JSON, from where [`output`] says. The request is the length of a JSON object in four
//! bytes, little-endian; that object (`Asked`); and the bundle: its zip file, or its files one after the other.
//!
//! It does no I/O, and it never fails: what cannot be read comes back as a bundle that is not verified, with the reason.

use std::sync::Mutex;

use serde::Deserialize;
use serde_json::{Value, json};
use tabellion_evidence::bundle::{self, Checked, Contents, Files, Scope, Trust, UnpackError};
use tabellion_evidence::note::parse_keys;
use tabellion_evidence::policy::Policy;
use tabellion_evidence::timestamp::Roots;

mod view;

/// What a page asks.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    /// Only the payload and its record are here: the page's own copy.
    payload: bool,
    /// The log's keys, one a line, from elsewhere than the bundle; empty: the bundle's own.
    vkey: String,
    /// A trust policy; empty: the bundle's own.
    policy: String,
    /// Roots of timestamp authorities, in PEM; empty: the bundle's own.
    roots: String,
    /// What follows: files, with their paths below the bundle's directory and their lengths. None: a zip file.
    files: Vec<(String, usize)>,
}

static INPUT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static OUTPUT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Makes room for a request of so many bytes, and says where.
#[expect(unsafe_code, reason = "a page finds a function by its name, and naming one counts as unsafe")]
#[unsafe(no_mangle)]
pub extern "C" fn input(length: usize) -> *mut u8 {
    let mut input = INPUT.lock().expect("a page has one thread");
    input.clear();
    input.resize(length, 0);
    input.as_mut_ptr()
}

/// Answers the request; returns the length of the answer.
#[expect(unsafe_code, reason = "a page finds a function by its name, and naming one counts as unsafe")]
#[unsafe(no_mangle)]
pub extern "C" fn check() -> usize {
    let input = std::mem::take(&mut *INPUT.lock().expect("a page has one thread"));
    let mut output = OUTPUT.lock().expect("a page has one thread");
    *output = answer(&input).to_string().into_bytes();
    output.len()
}

/// Where the answer is, until the next request.
#[expect(unsafe_code, reason = "a page finds a function by its name, and naming one counts as unsafe")]
#[unsafe(no_mangle)]
pub extern "C" fn output() -> *const u8 {
    OUTPUT.lock().expect("a page has one thread").as_ptr()
}

/// The answer to a request.
pub fn answer(request: &[u8]) -> Value {
    let parsed = request.split_at_checked(4).and_then(|(length, rest)| {
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let (asked, zip) = rest.split_at_checked(length)?;
        Some((serde_json::from_slice::<Asked>(asked).ok()?, zip))
    });
    let Some((asked, bytes)) = parsed else { return refused("request", "the page's request is malformed") };
    let trust = match trust(&asked) {
        Ok(trust) => trust,
        Err(why) => return refused("given", why),
    };
    let files = match if asked.files.is_empty() { bundle::unpack(bytes) } else { cut(&asked.files, bytes) } {
        Ok(files) => files,
        Err(why) => return refused("zip", &why.to_string()),
    };
    let scope = if asked.payload { Scope::Payload } else { Scope::Whole };
    let checked = bundle::verify_within(&files, &trust, scope);
    report(&files, &checked)
}

/// Files that come one after the other.
fn cut(named: &[(String, usize)], mut bytes: &[u8]) -> Result<Files, UnpackError> {
    let mut files = Files::new();
    for (path, length) in named {
        let (file, rest) = bytes.split_at_checked(*length).ok_or(UnpackError::Damaged)?;
        bytes = rest;
        if files.insert(path.clone(), file.to_vec()).is_some() {
            return Err(UnpackError::Twice);
        }
    }
    if bytes.is_empty() { Ok(files) } else { Err(UnpackError::Damaged) }
}

fn refused(code: &str, why: &str) -> Value {
    json!({"verified": false, "proved": [], "unchecked": [], "problems": [{"file": "", "code": code, "text": why}]})
}

fn trust(asked: &Asked) -> Result<Trust, &'static str> {
    let mut trust = Trust::default();
    if !asked.vkey.trim().is_empty() {
        trust.keys = parse_keys(asked.vkey.trim()).map_err(|_| "the key that was given is none")?;
    }
    if !asked.policy.trim().is_empty() {
        let policy = Policy::parse(asked.policy.as_bytes()).map_err(|_| "the policy that was given is none")?;
        trust.policy = Some(policy);
    }
    if !asked.roots.trim().is_empty() {
        trust.tsa_roots = Some(Roots::parse(asked.roots.as_bytes()).map_err(|_| "the roots that were given are none")?);
    }
    Ok(trust)
}

fn report(files: &Files, checked: &Checked) -> Value {
    let head = checked.checkpoint.as_ref();
    let problems: Vec<Value> = checked
        .problems
        .iter()
        .map(|one| json!({"file": one.file, "code": one.wrong.code(), "text": one.wrong.to_string()}))
        .collect();
    let contents = files.get(bundle::CONTENTS).and_then(|bytes| serde_json::from_slice::<Contents>(bytes).ok());
    let (exchanges, custody) = match &contents {
        Some(contents) => (view::exchanges(files, contents, &checked.expired), view::custody(files, contents)),
        None => (Vec::new(), Vec::new()),
    };
    let selection = contents.map(|contents| contents.selection);
    json!({
        "verified": checked.problems.is_empty(),
        "origin": head.map(|head| &head.origin),
        "size": head.map(|head| head.size),
        "root": head.map(|head| head.root),
        "manifest": files.get(bundle::MANIFEST).map(tabellion_evidence::tree::sha256),
        "selection": selection,
        "exported": view::exported(files),
        "proved": checked.proved,
        "problems": problems,
        "unchecked": checked.unchecked,
        "exchanges": exchanges,
        "custody": custody,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(asked: &str, zip: &[u8]) -> Value {
        let mut request = (asked.len() as u32).to_le_bytes().to_vec();
        request.extend_from_slice(asked.as_bytes());
        request.extend_from_slice(zip);
        answer(&request)
    }

    #[test]
    fn whatever_a_page_asks_it_gets_an_answer() {
        for (asked, zip, code) in [
            ("{}", &b"no zip"[..], "zip"),
            ("{\"vkey\":\"x\"}", b"", "given"),
            ("{\"policy\":\"x\"}", b"", "given"),
            ("{\"roots\":\"x\"}", b"", "given"),
            ("{\"more\":1}", b"", "request"),
            ("{\"files\":[[\"a\",2]]}", b"x", "zip"),
            ("{\"files\":[[\"a\",1],[\"a\",1]]}", b"xy", "zip"),
            ("", b"", "request"),
        ] {
            let answer = ask(asked, zip);
            assert_eq!((&answer["verified"], &answer["problems"][0]["code"]), (&false.into(), &code.into()), "{asked}");
        }
        for short in [&b""[..], b"\x01", b"\xff\xff\xff\xff{}"] {
            assert_eq!(answer(short)["problems"][0]["code"], "request");
        }
    }
}
