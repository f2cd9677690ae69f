//! How a request says what it wants: by its model name, and by `x-standin`.

use std::time::Duration;

use axum::http::HeaderMap;

/// What the answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The same short sentence every time.
    Fixed,
    /// The last user message.
    Echo,
    /// A tool call with the last user message in its arguments.
    Tool,
    /// A support agent who quotes the customer.
    Support,
    /// A loan decision, in words and as a tool call.
    Loan,
    /// So many bytes of filler.
    Big(usize),
    /// The provider's error of this status.
    Error(u16),
}

/// How the answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As the provider's documentation says.
    Whole,
    /// Part of it, then the connection closes.
    Broken,
    /// Part of it, then nothing, with the connection open.
    Hanging,
    /// A stream that ends in order, without its terminal event.
    Unterminated,
    /// A stream that turns into the provider's error event.
    Failed,
}

/// What a request asked for. See the table in the crate's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Behaviour {
    pub(crate) kind: Kind,
    pub(crate) ending: Ending,
    /// Characters of text, or of tool arguments, in one event.
    pub(crate) chunk: usize,
    /// Waited before each event, and before a plain answer.
    pub(crate) pace: Option<Duration>,
    /// Each event waits for a release of the gate of this name.
    pub(crate) gate: Option<String>,
    pub(crate) gzip: bool,
    pub(crate) split: bool,
    /// Close the connection instead of answering. Only [`crate::serve`] can.
    pub(crate) dropped: bool,
}

/// 64 MiB: as much as a test of large answers needs, and no more than a typing
/// mistake should cost.
const BIG_BYTES_MAX: usize = 64 << 20;
const PACE_MS_MAX: u64 = 60_000;
const CHUNK_DEFAULT: usize = 5;
/// A large answer in pieces of five characters would measure events, not size.
const CHUNK_BIG: usize = 1000;

impl Behaviour {
    pub(crate) fn of(model: &str, headers: &HeaderMap) -> Self {
        let mut behaviour = Self {
            kind: Kind::Fixed,
            ending: Ending::Whole,
            chunk: 0,
            pace: None,
            gate: None,
            gzip: false,
            split: false,
            dropped: false,
        };
        // A model that is named for a way of delivery has to say something, and
        // what a test can compare is its own text.
        if behaviour.apply(model) && behaviour.kind == Kind::Fixed {
            behaviour.kind = Kind::Echo;
        }
        for value in headers.get_all("x-standin") {
            for word in value.to_str().unwrap_or_default().split(',') {
                behaviour.apply(word.trim());
            }
        }
        if behaviour.chunk == 0 {
            behaviour.chunk = match behaviour.kind {
                Kind::Big(_) => CHUNK_BIG,
                _ => CHUNK_DEFAULT,
            };
        }
        behaviour
    }

    /// Takes one word; false if it is none of ours, as every real model's name.
    fn apply(&mut self, word: &str) -> bool {
        let (name, argument) = match word.split_once(['-', '=']) {
            Some((name, argument)) => (name, Some(argument)),
            None => (word, None),
        };
        let number = argument.and_then(|text| text.parse::<u64>().ok());
        match name {
            "echo" => {
                self.kind = Kind::Echo;
                self.set_chunk(number);
            }
            "tool" => {
                self.kind = Kind::Tool;
                self.set_chunk(number);
            }
            "support" => self.kind = Kind::Support,
            "loan" => self.kind = Kind::Loan,
            "big" | "size" => {
                let bytes = number.and_then(|n| usize::try_from(n).ok()).unwrap_or(1 << 20);
                self.kind = Kind::Big(bytes.min(BIG_BYTES_MAX));
            }
            "error" => match number.and_then(|n| u16::try_from(n).ok()) {
                Some(status @ 400..=599) => self.kind = Kind::Error(status),
                _ => return false,
            },
            "chunk" => self.set_chunk(number),
            "slow" | "pace_ms" => {
                self.pace = Some(Duration::from_millis(number.unwrap_or(20).min(PACE_MS_MAX)));
            }
            "gate" => self.gate = Some(argument.unwrap_or("gate").to_owned()),
            "break" => self.ending = Ending::Broken,
            "hang" => self.ending = Ending::Hanging,
            "nodone" => self.ending = Ending::Unterminated,
            "fail" => self.ending = Ending::Failed,
            "drop" => self.dropped = true,
            "gzip" => self.gzip = true,
            "split" => self.split = true,
            _ => return false,
        }
        true
    }

    fn set_chunk(&mut self, number: Option<u64>) {
        if let Some(number) = number.and_then(|n| usize::try_from(n).ok()) {
            self.chunk = number.max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(model: &str, header: Option<&str>) -> Behaviour {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert("x-standin", header.parse().expect("a header value"));
        }
        Behaviour::of(model, &headers)
    }

    #[test]
    fn a_model_name_chooses() {
        assert_eq!(of("echo-7", None).chunk, 7);
        assert_eq!(of("error-429", None).kind, Kind::Error(429));
        assert_eq!(of("big-100", None).kind, Kind::Big(100));
        assert_eq!(of("slow", None).pace, Some(Duration::from_millis(20)));
        assert_eq!(of("slow", None).kind, Kind::Echo);
        assert_eq!(of("gate-a", None).gate.as_deref(), Some("a"));
    }

    #[test]
    fn the_names_of_real_models_choose_nothing() {
        for model in ["gpt-4o-mini", "claude-opus-5", "o3", "", "text-embedding-3-small"] {
            assert_eq!(of(model, None), of("gpt-4o", None), "{model}");
        }
        assert_eq!(of("gpt-4o", None).kind, Kind::Fixed);
    }

    #[test]
    fn a_header_adds_to_the_model() {
        let both = of("echo-3", Some("split, gzip,pace_ms=4"));
        assert_eq!((both.kind, both.chunk), (Kind::Echo, 3));
        assert!(both.split && both.gzip);
        assert_eq!(both.pace, Some(Duration::from_millis(4)));
        assert_eq!(of("gpt-4o", Some("slow")).kind, Kind::Fixed);
    }

    #[test]
    fn nonsense_is_bounded() {
        assert_eq!(of("echo-0", None).chunk, 1);
        assert_eq!(of("big-99999999999", None).kind, Kind::Big(BIG_BYTES_MAX));
        assert_eq!(of("error-99", None).kind, Kind::Fixed);
        assert_eq!(of("error-200", None).kind, Kind::Fixed);
    }
}
