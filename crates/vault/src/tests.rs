//! What must not open, what must be gone, and what must stay.

use std::collections::{BTreeMap, HashSet};
use std::path::Path as FilePath;

use proptest::prelude::*;
use tabellion_evidence::salt::{DEPTH, Node, Path};
use tabellion_evidence::tree::Hash;

use super::*;
use crate::salts;

/// No plugin is asked in these tests.
#[derive(Clone)]
struct Nobody;

impl Callbacks for Nobody {
    fn display_message(&self, _: &str) {}
    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }
    fn request_public_string(&self, _: &str) -> Option<String> {
        None
    }
    fn request_passphrase(&self, _: &str) -> Option<secrecy::SecretString> {
        None
    }
}

/// A key pair, as `age-keygen` makes it.
fn officer(directory: &FilePath, name: &str) -> (String, Identities) {
    use secrecy::ExposeSecret as _;
    let identity = age::x25519::Identity::generate();
    let path = directory.join(name);
    std::fs::write(&path, format!("# made for a test\n{}\n", identity.to_string().expose_secret())).unwrap();
    (identity.to_public().to_string(), Identities::read(&path, Nobody).unwrap())
}

/// A recipient of the hybrid kind (ML-KEM-768 and P-256), as hardware keys have it: 768 coefficients and a seed drawn by a
/// seeded generator, and P-256's base point. Nobody has its private key.
const TAGPQ: &str = include_str!("../tests/age1tagpq1.txt");

#[test]
fn what_is_sealed_opens_for_each_officer_and_for_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let (first, first_identity) = officer(directory.path(), "first");
    let (second, second_identity) = officer(directory.path(), "second");
    let (_, other_identity) = officer(directory.path(), "other");
    let recipients = Recipients::parse(&[first, second]).unwrap();
    for bytes in [&b""[..], b"x", &[7; 200_000], "für Zoë".as_bytes()] {
        let Sealed { payload, header } = recipients.seal(bytes).unwrap();
        assert!(header.starts_with(b"age-encryption.org/v1\n-> X25519 ") && header.ends_with(b"\n"));
        for identity in [&first_identity, &second_identity] {
            assert_eq!(*open(&header, &payload, identity, bytes.len() as u64).unwrap(), bytes);
        }
        assert!(matches!(open(&header, &payload, &other_identity, 1 << 20), Err(VaultError::NoIdentity)));
        if !bytes.is_empty() {
            let less = bytes.len() as u64 - 1;
            assert!(matches!(open(&header, &payload, &first_identity, less), Err(VaultError::TooLarge)));
        }
        let again = recipients.seal(bytes).unwrap();
        assert_ne!(again.name(), Sealed { payload, header }.name(), "each piece has a key of its own");
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (recipient, identity) = officer(directory.path(), "officer");
    let recipients = Recipients::parse(&[recipient]).unwrap();
    let secret = b"exactly these bytes";
    let Sealed { payload, header } = recipients.seal(secret).unwrap();
    for bit in 0..header.len() * 8 {
        let mut changed = header.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&changed, &payload, &identity, 100).is_err(), "bit {bit} of the header");
    }
    for bit in 0..payload.len() * 8 {
        let mut changed = payload.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&header, &changed, &identity, 100).is_err(), "bit {bit} of the payload");
    }
    for cut in 0..payload.len() {
        assert!(open(&header, &payload[..cut], &identity, 100).is_err(), "{cut} bytes of the payload");
    }
    for cut in 0..header.len() {
        assert!(open(&header[..cut], &payload, &identity, 100).is_err(), "{cut} bytes of the header");
    }
    assert!(open(&header, &[&payload[..], b"x"].concat(), &identity, 100).is_err(), "a byte more");
    let other = recipients.seal(secret).unwrap();
    assert!(open(&other.header, &payload, &identity, 100).is_err(), "another piece's header");
}

#[test]
fn recipients_are_refused_before_anything_is_sealed_to_them() {
    let directory = tempfile::tempdir().unwrap();
    let (good, _) = officer(directory.path(), "officer");
    let refused = |texts: &[&str]| Recipients::parse(texts).err().expect("it is refused");
    assert!(matches!(refused(&["age1nobody"]), VaultError::Recipient { number: 1 }));
    assert!(matches!(refused(&[&good, &good[..good.len() - 1]]), VaultError::Recipient { number: 2 }));
    assert!(matches!(refused(&["AGE-SECRET-KEY-1QQQ"]), VaultError::Recipient { number: 1 }), "a private key");
    assert!(matches!(refused(&[&good, TAGPQ.trim()]), VaultError::Mixed), "half of it would be safe");
    assert!(Recipients::parse(&[""; 0]).is_err(), "to nobody");
    let hybrid = Recipients::parse(&[TAGPQ.trim()]).unwrap();
    let sealed = hybrid.seal(b"x").unwrap();
    assert!(sealed.header.starts_with(b"age-encryption.org/v1\n-> mlkem768p256tag "));
}

/// ULIDs as they come: of the same time or near it, and from far away.
fn id(time: u64, random: u128) -> String {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let number = u128::from(time) << 80 | (random & ((1 << 80) - 1));
    (0..DEPTH).rev().map(|at| ALPHABET[(number >> (5 * at)) as usize & 31] as char).collect()
}

fn path(id: &str) -> Path {
    Path::of(id).unwrap()
}

/// A tree in a database of its own, and its keys from the start.
fn tree() -> (rusqlite::Connection, Vec<Node>) {
    let db = rusqlite::Connection::open_in_memory().unwrap();
    db.execute_batch("CREATE TABLE opened(prefix BLOB PRIMARY KEY, keys BLOB NOT NULL)").unwrap();
    salts::plant(&db).unwrap();
    let keys: Vec<u8> = db.query_row("SELECT keys FROM opened", [], |row| row.get(0)).unwrap();
    let nodes = keys.chunks_exact(32).map(|key| Node::new(key.try_into().unwrap())).collect();
    (db, nodes)
}

fn derived(first: &[Node], id: &str) -> Node {
    let path = path(id);
    first[usize::from(path.symbols()[0])].descend(&path.symbols()[1..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is erased, in whatever order: its key is gone, from everything that is kept, and all others stay.
    #[test]
    fn erased_salts_are_gone_and_all_others_stay(
        ids in prop::collection::btree_map((0_u64..4, 0_u128..40), any::<bool>(), 1..40),
        far in any::<(u64, u128)>(),
        together in any::<bool>(),
    ) {
        let (db, first) = tree();
        let mut all: BTreeMap<String, bool> = ids
            .into_iter()
            // Times that are the same, or differ at the end, or near the beginning; random parts alike.
            .map(|((time, random), erased)| (id([1, 2, 33, 1 << 40][time as usize], random * 0x1111_1111_1111), erased))
            .collect();
        all.insert(id(far.0 >> 16, far.1), false);
        let mut salts = crate::salts::Salts::new(db);
        let leaf = |salts: &mut crate::salts::Salts, id: &str| {
            let path = path(id);
            salts.above(&path).unwrap().map(|(node, depth)| node.descend(&path.symbols()[depth..]))
        };
        for id in all.keys() {
            prop_assert_eq!(leaf(&mut salts, id), Some(derived(&first, id)));
        }
        let (erased, kept): (Vec<Path>, Vec<Path>) = {
            let (erased, kept): (Vec<_>, Vec<_>) = all.iter().partition(|(_, erased)| **erased);
            let paths = |of: Vec<(&String, &bool)>| of.into_iter().map(|(id, _)| path(id)).collect();
            (paths(erased), paths(kept))
        };
        if together {
            // What is older than this can be cleared as one.
            let from = path(&id(2, 20 * 0x1111_1111_1111));
            let whole = salts::cover(&erased, &kept, &from);
            prop_assert!(whole.len() <= erased.len());
            for prefix in &whole {
                let below = erased.iter().filter(|path| path.symbols().starts_with(prefix)).count();
                prop_assert!(below > 0 && !kept.iter().any(|path| path.symbols().starts_with(prefix)));
                prop_assert!(prefix.len() == DEPTH || prefix[..] < from.symbols()[..prefix.len()], "it could still come");
                // Some were erased by themselves before.
                if let Some(first) = erased.iter().find(|path| path.symbols().starts_with(prefix)) {
                    salts.puncture(first.symbols());
                }
                prop_assert!(prefix.len() == DEPTH || !salts.puncture(prefix).is_empty());
                prop_assert!(salts.puncture(prefix).is_empty(), "twice");
                prop_assert!(!salts.rows().iter().any(|(row, _)| row.starts_with(prefix)), "nothing is left below it");
            }
        } else {
            for path in &erased {
                prop_assert!(!salts.puncture(path.symbols()).is_empty());
                prop_assert!(salts.puncture(path.symbols()).is_empty(), "twice");
            }
        }
        for (id, erased) in &all {
            let expected = (!erased).then(|| derived(&first, id));
            prop_assert_eq!(leaf(&mut salts, id), expected);
        }
        // No key that is kept leads to one that was erased.
        for (prefix, keys) in salts.rows() {
            for (symbol, key) in keys.chunks_exact(32).enumerate().filter(|(_, key)| *key != [0; 32]) {
                let kept: Vec<u8> = prefix.iter().copied().chain([symbol as u8]).collect();
                let node = Node::new(key.try_into().unwrap());
                for (id, _) in all.iter().filter(|(_, erased)| **erased) {
                    prop_assert!(!path(id).symbols().starts_with(&kept), "an ancestor is kept");
                    let below = node.descend(&path(id).symbols()[kept.len()..]);
                    prop_assert_ne!(below, derived(&first, id));
                }
            }
        }
    }
}

async fn keep(
    keyring: &Keyring,
    recipients: &Recipients,
    entry: &str,
    texts: &[&str],
) -> Vec<(Hash, Vec<u8>, Vec<u8>)> {
    let sealed: Vec<Sealed> = texts.iter().map(|text| recipients.seal(text.as_bytes()).unwrap()).collect();
    let pieces = sealed.iter().map(|sealed| Piece::New(sealed.name(), sealed.header.clone())).collect();
    keyring.keep(entry, pieces).await.unwrap();
    sealed.into_iter().map(|sealed| (sealed.name(), sealed.payload, sealed.header)).collect()
}

/// Whether any of these, or a piece of one, is in a file of a directory.
fn found_any<'a>(directory: &FilePath, all: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let pieces = all.into_iter().flat_map(|bytes| bytes.windows(16).step_by(8));
    let search = aho_corasick::AhoCorasick::new(pieces).unwrap();
    std::fs::read_dir(directory).unwrap().any(|file| search.is_match(&std::fs::read(file.unwrap().path()).unwrap()))
}

fn found(directory: &FilePath, bytes: &[u8]) -> bool {
    found_any(directory, [bytes])
}

fn own(header: &[u8]) -> &[u8] {
    &header[header.iter().position(|&byte| byte == b'\n').unwrap() + 1..]
}

#[tokio::test]
async fn an_erasure_leaves_nothing_behind_but_what_others_share() {
    let place = tempfile::tempdir().unwrap();
    let keys = tempfile::tempdir().unwrap();
    let (recipient, identity) = officer(place.path(), "officer");
    let recipients = Recipients::parse(&[recipient]).unwrap();
    let keyring = Keyring::open(keys.path(), true).unwrap();
    let entries: Vec<String> = (0..40).map(|n| id(1_700_000_000_000 + n, 5)).collect();
    let mut pieces = Vec::new();
    for entry in &entries {
        pieces.push(keep(&keyring, &recipients, entry, &["frame", "message"]).await);
    }
    // The second's first piece is in the first's, too.
    keyring.keep(&entries[0], vec![Piece::Known(pieces[1][0].0)]).await.unwrap();
    let reading = Reading::open(keys.path()).unwrap();
    let leaf = |n: usize| reading.leaf(&path(&entries[n])).unwrap();
    let before: Vec<Node> = (0..40).map(|n| leaf(n).unwrap()).collect();
    assert!(found(keys.path(), own(&pieces[1][1].2)));

    let erased = keyring.erase(vec![entries[1].clone(), entries[7].clone()]).await.unwrap();
    assert_eq!((erased.entries, erased.pieces), (2, 3));
    assert_eq!(erased.remaining, [Remaining { name: pieces[1][0].0, because: entries[0].clone() }]);
    let fresh = Reading::open(keys.path()).unwrap();
    for n in 0..40 {
        let expected = (![1, 7].contains(&n)).then(|| before[n].clone());
        assert_eq!(fresh.leaf(&path(&entries[n])).unwrap(), expected);
        assert_eq!(keyring.leaf(&path(&entries[n])).unwrap(), expected);
        for (which, (name, payload, header)) in pieces[n].iter().enumerate() {
            let gone = n == 7 || (n == 1 && which == 1);
            assert_eq!(fresh.header(name).unwrap(), (!gone).then(|| header.clone()), "{n}, {which}");
            assert_eq!(found(keys.path(), own(header)), !gone, "{n}, {which}");
            if let Some(header) = fresh.header(name).unwrap() {
                assert!(open(&header, payload, &identity, 100).is_ok());
            }
        }
    }
    assert!(!found(keys.path(), before[1].expose()) && !found(keys.path(), before[7].expose()));
    for again in [keyring.erase(vec![entries[1].clone()]).await, keyring.erase_again(vec![entries[1].clone()]).await] {
        let again = again.unwrap();
        assert_eq!((again.entries, again.pieces, again.remaining.len()), (1, 0, 0), "harmless");
    }
    let shared = keyring.erase(vec![entries[0].clone()]).await.unwrap();
    assert_eq!(shared.pieces, 3, "its own two, and the one that was the second's");
    assert!(matches!(keyring.keep(&entries[2], vec![Piece::Known(pieces[1][0].0)]).await, Err(VaultError::Gone)));
}

#[tokio::test]
async fn a_keyring_of_many_erasures_holds_no_key_of_any_of_them() {
    let place = tempfile::tempdir().unwrap();
    let keys = tempfile::tempdir().unwrap();
    let (recipient, _) = officer(place.path(), "officer");
    let recipients = Recipients::parse(&[recipient]).unwrap();
    let keyring = Keyring::open(keys.path(), true).unwrap();
    let entries: Vec<String> = (0..120).map(|n| id(1_700_000_000_000 + n * 977, u128::from(n) << 70)).collect();
    let mut headers = Vec::new();
    for entry in &entries {
        headers
            .extend(keep(&keyring, &recipients, entry, &["a", "b", "c"]).await.into_iter().map(|(.., header)| header));
    }
    let leaves: Vec<Node> = entries.iter().map(|entry| keyring.leaf(&path(entry)).unwrap().unwrap()).collect();
    for some in entries.chunks(37) {
        keyring.erase(some.to_vec()).await.unwrap();
    }
    assert!(!found_any(keys.path(), headers.iter().map(|header| own(header))));
    assert!(!found_any(keys.path(), leaves.iter().map(|leaf| &leaf.expose()[..])));
}

#[tokio::test]
async fn what_was_kept_survives_and_orphans_do_not() {
    let place = tempfile::tempdir().unwrap();
    let keys = tempfile::tempdir().unwrap();
    let (recipient, _) = officer(place.path(), "officer");
    let recipients = Recipients::parse(&[recipient]).unwrap();
    let entries: Vec<String> = (0..4).map(|n| id(1_700_000_000_000 + n, 5)).collect();
    let mut pieces = Vec::new();
    {
        let keyring = Keyring::open(keys.path(), true).unwrap();
        assert_eq!(keyring.unsettled().size, 0);
        pieces.push(keep(&keyring, &recipients, &entries[0], &["a"]).await);
        keyring.appended(&entries[0]);
        keyring.settle(1).await.unwrap();
        pieces.push(keep(&keyring, &recipients, &entries[1], &["b"]).await);
        pieces.push(keep(&keyring, &recipients, &entries[2], &["c"]).await);
        // Not appended, and names a piece of one that was.
        keyring.keep(&entries[2], vec![Piece::Known(pieces[1][0].0)]).await.unwrap();
    }
    let keyring = Keyring::open(keys.path(), false).unwrap();
    assert_eq!(keyring.unsettled().size, 1);
    let appended = HashSet::from([entries[1].clone()]);
    assert_eq!(Keyring::drop_orphans(keys.path(), keyring.unsettled(), &appended).unwrap(), 1);
    let reading = Reading::open(keys.path()).unwrap();
    let headers: Vec<bool> = pieces.iter().map(|pieces| reading.header(&pieces[0].0).unwrap().is_some()).collect();
    assert_eq!(headers, [true, true, false], "those from before are settled, and not asked about");
    assert_eq!(Keyring::drop_orphans(keys.path(), keyring.unsettled(), &appended).unwrap(), 0);
}

#[tokio::test]
async fn what_is_under_way_is_not_settled_and_what_is_not_appended_keeps_nothing() {
    let place = tempfile::tempdir().unwrap();
    let keys = tempfile::tempdir().unwrap();
    let (recipient, _) = officer(place.path(), "officer");
    let recipients = Recipients::parse(&[recipient]).unwrap();
    let entries: Vec<String> = (0..3).map(|n| id(1_700_000_000_000 + n, 5)).collect();
    {
        let keyring = Keyring::open(keys.path(), true).unwrap();
        let first = keep(&keyring, &recipients, &entries[0], &["a"]).await;
        keyring.appended(&entries[0]);
        // The log does not take this one, which has a piece of its own and one of the first's.
        let own = keep(&keyring, &recipients, &entries[1], &["b"]).await;
        keyring.keep(&entries[1], vec![Piece::Known(first[0].0)]).await.unwrap();
        keyring.release(&entries[1]).await.unwrap();
        let reading = Reading::open(keys.path()).unwrap();
        assert!(reading.header(&own[0].0).unwrap().is_none());
        let erased = keyring.erase(vec![entries[0].clone()]).await.unwrap();
        assert_eq!((erased.pieces, erased.remaining.len()), (1, 0));
        // Of this one nobody knows yet.
        keep(&keyring, &recipients, &entries[2], &["c"]).await;
        keyring.settle(1).await.unwrap();
    }
    let keyring = Keyring::open(keys.path(), false).unwrap();
    assert_eq!(keyring.unsettled().size, 1);
    assert_eq!(Keyring::drop_orphans(keys.path(), keyring.unsettled(), &HashSet::new()).unwrap(), 1);
}

#[tokio::test]
async fn a_backup_brings_everything_back_and_a_lost_keyring_is_an_error() {
    let place = tempfile::tempdir().unwrap();
    let keys = tempfile::tempdir().unwrap();
    let (recipient, identity) = officer(place.path(), "officer");
    let recipients = Recipients::parse(&[recipient]).unwrap();
    let entry = id(1_700_000_000_000, 5);
    let keyring = Keyring::open(keys.path(), true).unwrap();
    let pieces = keep(&keyring, &recipients, &entry, &["a"]).await;
    let leaf = keyring.leaf(&path(&entry)).unwrap();
    let reading = Reading::open(keys.path()).unwrap();
    assert_eq!(reading.backed_up().unwrap(), None);
    let backup = reading.backup(&recipients, "2026-11-22T10:00:00Z").unwrap();
    assert_eq!(reading.backed_up().unwrap().as_deref(), Some("2026-11-22T10:00:00Z"));
    assert!(!backup.windows(6).any(|window| window == b"SQLite"));
    keyring.erase(vec![entry.clone()]).await.unwrap();
    drop((keyring, reading));
    for file in std::fs::read_dir(keys.path()).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    assert!(matches!(Keyring::open(keys.path(), false), Err(VaultError::Missing)));
    assert!(matches!(Reading::open(keys.path()), Err(VaultError::Missing)));
    // As `age --decrypt` would.
    let at = backup.windows(5).position(|window| window == b"\n--- ").unwrap() + 5;
    let end = at + backup[at..].iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let decryptor = age::Decryptor::new(&backup[..]).unwrap();
    let mut restored = Vec::new();
    let mut reader = decryptor.decrypt(identity.all()).unwrap();
    std::io::Read::read_to_end(&mut reader, &mut restored).unwrap();
    assert!(end < backup.len() && restored.starts_with(b"SQLite format 3\0"));
    std::fs::write(keys.path().join(FILE), restored).unwrap();
    let keyring = Keyring::open(keys.path(), false).unwrap();
    assert_eq!(keyring.leaf(&path(&entry)).unwrap(), leaf, "what was erased since is back, until the log is looked at");
    assert_eq!(Reading::open(keys.path()).unwrap().header(&pieces[0].0).unwrap(), Some(pieces[0].2.clone()));
}

#[tokio::test]
async fn many_keep_at_once() {
    let keys = tempfile::tempdir().unwrap();
    let keyring = std::sync::Arc::new(Keyring::open(keys.path(), true).unwrap());
    let tasks: Vec<_> = (0..200_u64)
        .map(|n| {
            let keyring = keyring.clone();
            tokio::spawn(async move {
                let name = Hash([n as u8; 32]);
                keyring.keep(&id(n, 0), vec![Piece::New(name, vec![n as u8; 50])]).await.unwrap();
                name
            })
        })
        .collect();
    let mut names = Vec::new();
    for task in tasks {
        names.push(task.await.unwrap());
    }
    let reading = Reading::open(keys.path()).unwrap();
    for (n, name) in names.iter().enumerate() {
        assert_eq!(reading.header(name).unwrap(), Some(vec![n as u8; 50]));
    }
}

#[test]
fn a_keyring_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let keys = tempfile::tempdir().unwrap();
    let _keyring = Keyring::open(keys.path(), true).unwrap();
    for file in std::fs::read_dir(keys.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.path());
    }
    std::fs::write(keys.path().join(FILE), b"not a database").unwrap();
    assert!(Keyring::open(keys.path(), false).is_err());
}
