//! Reading a log from its files, by `docs/format.md`, and the verifier that ships with it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::eventually;

/// The published entries of a log.
pub(crate) struct Log {
    pub(crate) entries: Vec<Value>,
    data: PathBuf,
}

/// Three digits a path segment.
fn number(n: usize) -> String {
    let mut path = format!("{:03}", n % 1000);
    let mut n = n / 1000;
    while n > 0 {
        path = format!("x{:03}/{path}", n % 1000);
        n /= 1000;
    }
    path
}

impl Log {
    /// Reads what is published; also beside a running server.
    pub(crate) fn read(data: &Path) -> Self {
        let entries = eventually("a log that can be read", || Self::entries(data));
        Self { entries, data: data.to_owned() }
    }

    fn entries(data: &Path) -> Option<Vec<Value>> {
        let checkpoint = std::fs::read_to_string(data.join("log/checkpoint")).ok()?;
        let size: usize = checkpoint.lines().nth(1)?.parse().ok()?;
        let mut entries = Vec::new();
        for bundle in 0..size.div_ceil(256) {
            let width = (size - bundle * 256).min(256);
            let name = format!("log/tile/entries/{}", number(bundle));
            // A partial bundle goes away when a full one replaces it.
            let bytes = std::fs::read(data.join(if width == 256 { name.clone() } else { format!("{name}.p/{width}") }))
                .or_else(|_| std::fs::read(data.join(name)))
                .ok()?;
            let mut rest = &bytes[..];
            for _ in 0..width {
                let (length, after) = rest.split_first_chunk::<2>()?;
                let (entry, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
                entries.push(serde_json::from_slice(entry).expect("an entry is JSON"));
                rest = after;
            }
        }
        Some(entries)
    }

    pub(crate) fn request(&self, exchange: &str) -> Option<&Value> {
        self.entries.iter().find(|entry| entry["kind"] == "exchange.request" && entry["id"] == exchange)
    }

    pub(crate) fn responses(&self, exchange: &str) -> Vec<&Value> {
        let of = |entry: &&Value| entry["kind"] == "exchange.response" && entry["exchange"] == exchange;
        self.entries.iter().filter(of).collect()
    }

    pub(crate) fn requests(&self) -> Vec<&Value> {
        self.entries.iter().filter(|entry| entry["kind"] == "exchange.request").collect()
    }

    /// Waits until an exchange's response is published; gives its request and its response.
    pub(crate) fn exchange(data: &Path, exchange: &str) -> (Value, Value) {
        eventually("an exchange to be published", || {
            let log = Self::read(data);
            let response = (*log.responses(exchange).first()?).clone();
            Some((log.request(exchange).expect("a response follows its request").clone(), response))
        })
    }

    /// Waits until the newest exchange of a case has its response, for clients that saw no answer.
    pub(crate) fn case(data: &Path, case: &str) -> (Value, Value) {
        let id = eventually("a request to be published", || {
            let log = Self::read(data);
            let of_case = |entry: &&&Value| entry["case"] == case;
            Some(log.requests().iter().rfind(of_case)?["id"].as_str().unwrap().to_owned())
        });
        Self::exchange(data, &id)
    }

    /// The redacted body of an entry, put together from its parts and checked against its length.
    pub(crate) fn content(&self, entry: &Value) -> Vec<u8> {
        let packs = packs(&self.data);
        let content = &entry["content"];
        let part = |listed: &Value| packs[listed.as_str().unwrap()].clone();
        let manifest: Value = match content.get("manifest") {
            Some(name) => serde_json::from_slice(&part(name)).unwrap(),
            None => content.clone(),
        };
        let listed = manifest.get("parts").or_else(|| manifest.get("content")).and_then(Value::as_array);
        let mut parts = listed.expect("an entry with content").iter().map(|listed| part(&listed["sha256"]));
        let frame = parts.next().unwrap();
        let mut body = Vec::new();
        for byte in frame {
            if byte == 0 { body.extend(parts.next().unwrap()) } else { body.push(byte) }
        }
        assert!(parts.next().is_none());
        assert_eq!(content["bytes"], body.len());
        body
    }
}

fn packs(data: &Path) -> HashMap<String, Vec<u8>> {
    let mut found = HashMap::new();
    for (_, bytes) in files(&data.join("content")) {
        let mut rest = &bytes[..];
        while let Some((hash, after)) = rest.split_at_checked(32) {
            let (length, after) = after.split_first_chunk::<4>().unwrap();
            let (part, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            found.insert(hex::encode(hash), part.to_vec());
            rest = after;
        }
    }
    found
}

/// Every file under a directory.
pub(crate) fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            found.push((path, bytes));
        }
    }
    found
}

/// Checks a log with the verifier that shares no code with the product.
pub(crate) fn verify(data: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../verify/tabellion_verify.py");
    let output = Command::new("python3").arg(script).arg(data).output().expect("python3 is there");
    assert!(
        output.status.success(),
        "the independent verifier says no: {}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let output = Command::new(env!("CARGO_BIN_EXE_tabellion")).arg("verify").arg(data).output().unwrap();
    assert!(
        output.status.success(),
        "`tabellion verify` says no: {}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
