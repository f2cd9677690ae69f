//! A stream from the network gives the same events and the same answer however it is cut, and the answer is JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tabellion_gateway::dialect::{Assembled, Assembler, Dialect, Event, Events, StreamDecoder};

const DIALECTS: [Dialect; 5] =
    [Dialect::OpenAiChat, Dialect::OpenAiCompletions, Dialect::OpenAiResponses, Dialect::Anthropic, Dialect::Generic];
const ENCODINGS: [&str; 5] = ["gzip", "deflate", "br", "zstd", "zstd, gzip"];
const DECODED_MAX: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let [which, size, stream @ ..] = data else { return };
    let size = usize::from(*size).max(1);
    let dialect = DIALECTS[usize::from(*which) % DIALECTS.len()];

    let whole = read(dialect, [stream]);
    let cut = read(dialect, stream.chunks(size));
    assert_eq!(whole, cut);
    if let Some(body) = whole.1.body {
        serde_json::from_slice::<serde::de::IgnoredAny>(&body).expect("an assembled body is JSON");
        assert!(!body.contains(&0));
    }

    let mut decoder =
        StreamDecoder::new(ENCODINGS[usize::from(*which) % ENCODINGS.len()], DECODED_MAX).expect("known encodings");
    let mut decoded = 0;
    for chunk in stream.chunks(size) {
        let Ok(bytes) = decoder.feed(chunk) else { break };
        decoded += bytes.len();
    }
    assert!(decoded <= DECODED_MAX);
});

type Said = (Option<String>, String);

fn read<'a>(dialect: Dialect, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Said>, Assembled) {
    let mut events = Events::new();
    let mut assembler = Assembler::new(dialect);
    let mut said = Vec::new();
    let mut take = |event: Event| {
        let _ = assembler.event(&event);
        said.push((event.name, event.data));
    };
    for chunk in chunks {
        for event in events.feed(chunk) {
            assert!(event.end <= chunk.len() && event.start.is_none_or(|start| start < event.end));
            take(event);
        }
    }
    if let Some(event) = events.finish() {
        take(event);
    }
    (said, assembler.finish())
}
