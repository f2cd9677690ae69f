//! A body from the network is cut into a frame and parts that are the body again, and says its facts, whatever it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tabellion_gateway::dialect::{Dialect, PARTS_MAX, Split, decode, read_request, read_response};

const DIALECTS: [Dialect; 6] = [
    Dialect::OpenAiChat,
    Dialect::OpenAiCompletions,
    Dialect::OpenAiResponses,
    Dialect::OpenAiEmbeddings,
    Dialect::Anthropic,
    Dialect::Generic,
];
const ENCODINGS: [&str; 6] = ["identity", "gzip", "deflate", "br", "zstd", "gzip, gzip, gzip"];
const DECODED_MAX: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    for encoding in ENCODINGS {
        if let Ok(decoded) = decode(encoding, data, DECODED_MAX) {
            assert!(decoded.len() <= DECODED_MAX);
        }
    }
    let Some((&which, body)) = data.split_first() else { return };
    let dialect = DIALECTS[usize::from(which) % DIALECTS.len()];
    if let Ok(body) = std::str::from_utf8(body) {
        check(&read_request(dialect, body).1, body);
        check(&read_response(dialect, body).1, body);
    }
});

fn check(split: &Split, body: &str) {
    let frame = split.frame(body.as_bytes());
    if split.parts.is_empty() {
        assert_eq!(frame, body.as_bytes());
        return;
    }
    assert!(split.parts.len() <= PARTS_MAX);
    let mut parts = split.parts.iter();
    let mut whole = Vec::with_capacity(body.len());
    for byte in frame {
        match byte {
            0 => {
                let part = parts.next().expect("a part for each zero byte");
                assert!(!part.range.is_empty());
                let text = &body[part.range.clone()];
                serde_json::from_str::<serde::de::IgnoredAny>(text).expect("a part is a JSON value");
                whole.extend_from_slice(text.as_bytes());
            }
            byte => whole.push(byte),
        }
    }
    assert!(parts.next().is_none());
    assert_eq!(whole, body.as_bytes());
}
