//! What the stand-in answers, before any provider's format.

use serde_json::json;

use crate::ask::Ask;
use crate::behaviour::{Behaviour, Kind};

const FIXED: &str = "Hello from the stand-in. It is not a model: it gives the same answer every time.";
const FILLER: &str = "The quick brown fox jumps over the lazy dog. ";

/// Text, or a tool call, or both.
pub(crate) struct Answer {
    pub(crate) text: Option<String>,
    pub(crate) call: Option<Call>,
    /// Four characters a token, near enough for a stand-in.
    pub(crate) tokens_in: usize,
    pub(crate) tokens_out: usize,
}

/// A tool call. `arguments` is JSON text, as the providers send it.
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) arguments: String,
}

pub(crate) fn tokens(text: &str) -> usize {
    text.len().div_ceil(4)
}

impl Answer {
    pub(crate) fn to(ask: &Ask<'_>, behaviour: &Behaviour) -> Self {
        let said = ask.said();
        let tokens_in = tokens(&said.text);
        let (text, call) = match behaviour.kind {
            Kind::Fixed | Kind::Error(_) => (Some(FIXED.to_owned()), None),
            Kind::Echo => (Some(said.text), None),
            Kind::Tool if said.tool_result => (Some(format!("The tool said: {}", said.text)), None),
            Kind::Tool => {
                let (name, property) = ask.first_tool();
                let arguments = json!({ property: said.text }).to_string();
                (None, Some(Call { name, arguments }))
            }
            Kind::Support => (Some(support(&said.text)), None),
            Kind::Loan => {
                let (text, call) = loan(&said.text);
                (Some(text), Some(call))
            }
            Kind::Big(bytes) => {
                let mut text = FILLER.repeat(bytes / FILLER.len() + 1);
                text.truncate(bytes);
                (Some(text), None)
            }
        };
        let tokens_out = text.as_deref().map_or(0, tokens) + call.as_ref().map_or(0, |call| tokens(&call.arguments));
        Self { text, call, tokens_in, tokens_out }
    }
}

fn support(said: &str) -> String {
    format!(
        "Thank you for writing to us, and I am sorry for the trouble. I have noted what you told me: \
         \u{201c}{said}\u{201d} I have opened a ticket with these details and passed it to the billing team. \
         They will get back to you at the contact that you gave, within one working day. \
         Is there anything else that I can help you with?"
    )
}

/// A decision that an examiner would ask about: the score is over the usual
/// limit, and one of the reasons is not a financial one.
fn loan(said: &str) -> (String, Call) {
    let text = "Decision: declined. Score 641 of 850; the threshold for this product is 620. Reasons: \
                debt-to-income ratio above 43 %; credit history shorter than 24 months; \
                residential area with elevated default rate."
        .to_owned();
    let arguments = json!({
        "decision": "declined",
        "score": 641,
        "threshold": 620,
        "reasons": ["debt_to_income", "history_length", "residential_area"],
        "application": said,
    })
    .to_string();
    let call = Call { name: "record_decision".to_owned(), arguments };
    (text, call)
}

/// `text` in pieces of `size` characters.
pub(crate) fn pieces(text: &str, size: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let cut = rest.char_indices().nth(size).map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(cut);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_characters_and_lose_nothing() {
        let text = "a\u{e9}\u{4f60}\u{1f600}b";
        for size in 1..7 {
            let cut: Vec<&str> = pieces(text, size).collect();
            assert_eq!(cut.concat(), text);
            assert_eq!(cut.len(), 5usize.div_ceil(size));
        }
        assert_eq!(pieces("", 3).count(), 0);
    }
}
