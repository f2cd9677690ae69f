//! What the end-to-end tests share: a server of our own to start, kill and question; a client and an upstream that show
//! their bytes; a reader of the log that shares no code with the product.
//!
//! Everything here blocks and uses threads, so that a test reads in the order in which things happen. Waits have
//! deadlines that are far longer than anything should take: they end a test that hangs, and measure nothing.

#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]
#![allow(clippy::print_stderr, reason = "what the server said belongs beside a failure")]

mod http;
pub(crate) mod keyring;
mod log;
mod server;
mod upstream;

pub(crate) use http::{Answer, Connection, Request};
pub(crate) use log::{Log, files, verify};
pub(crate) use server::{Server, Setup};
pub(crate) use upstream::{Received, StandIn, Upstream};

use std::time::{Duration, Instant};

/// Long enough for anything on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Asks until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "gave up waiting for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A small generator of the same numbers for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..n.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(n);
        bytes
    }
}

pub(crate) fn has(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

/// A chat request.
pub(crate) fn chat(model: &str, text: &str, stream: bool) -> Vec<u8> {
    serde_json::json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]})
        .to_string()
        .into_bytes()
}
