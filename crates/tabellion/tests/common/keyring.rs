//! Reading a keyring from its file, by `docs/format.md` and `docs/vault.md`.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};

const ALPHABET: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

fn open(data: &Path) -> Connection {
    let db = Connection::open(data.with_extension("keys").join("keyring.db")).unwrap();
    db.busy_timeout(super::PATIENCE).unwrap();
    db
}

/// The `n`-th salt of an entry; `None` if it was erased.
pub(crate) fn salt(data: &Path, id: &str, n: u32) -> Option<[u8; 32]> {
    let db = open(data);
    let symbols: Vec<u8> = id.chars().map(|c| ALPHABET.find(c).expect("a ULID") as u8).collect();
    for depth in 0..symbols.len() {
        let keys: Option<Vec<u8>> = db
            .query_row("SELECT keys FROM opened WHERE prefix = ?", [&symbols[..depth]], |row| row.get(0))
            .optional()
            .unwrap();
        let key = keys?[usize::from(symbols[depth]) * 32..][..32].to_vec();
        if key != [0; 32] {
            let leaf = symbols[depth + 1..]
                .iter()
                .fold(key, |key, &symbol| Sha256::new().chain_update(key).chain_update([symbol]).finalize().to_vec());
            return Some(Sha256::new().chain_update(leaf).chain_update(n.to_be_bytes()).finalize().into());
        }
    }
    None
}

/// What an entry commits to bytes with.
pub(crate) fn commitment(data: &Path, id: &str, n: u32, bytes: &[u8]) -> Option<String> {
    let salt = salt(data, id, n)?;
    Some(hex::encode(Sha256::new().chain_update(salt).chain_update(bytes).finalize()))
}

/// All headers, by the names of their payloads.
pub(crate) fn headers(data: &Path) -> Vec<(String, Vec<u8>)> {
    let db = open(data);
    let mut statement = db.prepare("SELECT lower(hex(name)), header FROM piece ORDER BY name").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// All keys that lead to salts.
pub(crate) fn nodes(data: &Path) -> Vec<Vec<u8>> {
    let db = open(data);
    let mut statement = db.prepare("SELECT keys FROM opened").unwrap();
    let rows: Vec<Vec<u8>> = statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    rows.iter().flat_map(|keys| keys.chunks_exact(32)).filter(|key| *key != [0; 32]).map(<[u8]>::to_vec).collect()
}

/// As a crash between the writes of keyring and log leaves it: a key of an entry that was never appended.
pub(crate) fn orphan(data: &Path, id: &str) {
    let db = open(data);
    db.execute("INSERT INTO piece(name, header) VALUES (?, ?)", (vec![9; 32], vec![1; 60])).unwrap();
    db.execute("INSERT INTO named(entry, name) VALUES (?, ?)", (id, vec![9; 32])).unwrap();
}
