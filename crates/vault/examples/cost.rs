//! What salts and sealing cost on this machine: `cargo run --release -p tabellion-vault --example cost`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tabellion_evidence::salt::Path;
use tabellion_evidence::tree::{Hash, sha256};
use tabellion_vault::{Keyring, Piece, Recipients};

const ALPHABET: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A ULID of a time, its random part made from a number.
fn id(time: u64, n: u64) -> String {
    let random = u128::from_be_bytes(sha256(n.to_be_bytes()).0[..16].try_into().expect("16 of 32 bytes")) >> 48;
    let number = u128::from(time) << 80 | random;
    (0..26).rev().map(|at| ALPHABET[(number >> (5 * at)) as usize & 31] as char).collect()
}

/// The best of many rounds: on a machine that does other things too, most are disturbed.
fn per(count: usize, mut work: impl FnMut(usize)) -> Duration {
    let round = (count / 200).max(1);
    let rounds = (0..count / round).map(|n| {
        let started = Instant::now();
        (n * round..(n + 1) * round).for_each(&mut work);
        started.elapsed() / round as u32
    });
    rounds.min().unwrap_or_default()
}

#[expect(clippy::print_stdout, reason = "it measures for whoever runs it")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let keyring = Arc::new(Keyring::open(directory.path(), true)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;

    // Five entries a millisecond.
    let ids: Vec<String> = (0..100_000).map(|n| id(1_790_000_000_000 + n / 5, n)).collect();
    let derive = |n: usize| {
        let path = Path::of(&ids[n]).expect("a ULID");
        black_box(keyring.leaf(&path).expect("the keyring answers").expect("nothing was erased").salt(0));
    };
    println!("salt of a new entry         {:?}", per(ids.len(), derive));
    let bare = |n: usize| {
        black_box(sha256([n as u8; 33]));
    };
    println!("a bare SHA-256 of 33 bytes  {:?}", per(1_000_000, bare));
    runtime.block_on(keyring.erase(ids[..50_000].iter().step_by(1000).cloned().collect()))?;
    println!("salt after 50 erasures      {:?}", per(ids.len() / 2, |n| derive(n + 50_000)));

    let text = (0..20_000_u32).map(|n| format!("word{} ", n % 997)).collect::<String>();
    let hybrid = include_str!("../tests/age1tagpq1.txt").trim();
    let x25519: Vec<String> = (0..2).map(|_| age::x25519::Identity::generate().to_public().to_string()).collect();
    for (name, recipients) in [
        ("X25519", Recipients::parse(&x25519[..1])?),
        ("two X25519", Recipients::parse(&x25519)?),
        ("ML-KEM-768+P-256", Recipients::parse(&[hybrid])?),
    ] {
        for bytes in [200, 2_000, 100_000] {
            let took = per(300, |_| drop(black_box(recipients.seal(&text.as_bytes()[..bytes]))));
            println!("seal {bytes:>6} bytes to {name:<17} {took:?}");
        }
    }
    for callers in [1, 16, 64] {
        let started = Instant::now();
        let mut tasks = Vec::new();
        for caller in 0..callers {
            let keyring = keyring.clone();
            tasks.push(runtime.spawn(async move {
                for n in 0..50_u64 {
                    let n = (callers * 1000 + caller) * 1000 + n;
                    let name: Hash = sha256(n.to_be_bytes());
                    keyring.keep(&id(n, n), vec![Piece::New(name, vec![7; 300])]).await.expect("the disk is not full");
                }
            }));
        }
        for task in tasks {
            runtime.block_on(task)?;
        }
        let each = started.elapsed() / (callers as u32 * 50);
        println!("keep, {callers:>2} at once            {each:?} each");
    }
    Ok(())
}
