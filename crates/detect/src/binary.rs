//! Binary data in text: nobody can redact what cannot be read, so its place is taken by its size.

use std::sync::LazyLock;

use memchr::memmem;

/// So many characters of base64 and nothing else are data. Shorter runs are identifiers and keys.
const BASE64_LEAST: usize = 256;

/// `[BINARY:<bytes>]` for a text that is nothing but base64.
pub(crate) fn whole(text: &str) -> Option<String> {
    let text = text.trim();
    if text.len() < BASE64_LEAST {
        return None;
    }
    let mut classes = [false; 4];
    let mut length = 0;
    for b in text.bytes() {
        match b {
            b'A'..=b'Z' => classes[0] = true,
            b'a'..=b'z' => classes[1] = true,
            b'0'..=b'9' => classes[2] = true,
            b'+' | b'/' | b'-' | b'_' => classes[3] = true,
            b'=' => continue,
            b'\r' | b'\n' => continue,
            _ => return None,
        }
        length += 1;
    }
    // A long word in one case, or a long number, is something else.
    let data = text.trim_end_matches('=');
    let plausible = classes.iter().filter(|&&c| c).count() >= 3 && !data.contains('=') && length % 4 != 1;
    plausible.then(|| token(length))
}

/// The text with its base64 `data:` URLs replaced; `None` if it has none.
pub(crate) fn data_urls(text: &str) -> Option<String> {
    /// Made once: it is looked for in every string of every document.
    static MARK: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b";base64,"));
    let bytes = text.as_bytes();
    let mut out: Option<String> = None;
    let mut done = 0;
    for at in MARK.find_iter(bytes) {
        // The media type and its parameters stand between `data:` and `;base64,`.
        let head = at.saturating_sub(128).max(done);
        let head = text.ceil_char_boundary(head);
        let Some(colon) = text[head..at].rfind("data:").map(|i| head + i) else { continue };
        if text[colon..at].contains(|c: char| c.is_whitespace() || c == '"' || c == '\'' || c == ',') {
            continue;
        }
        let data = at + ";base64,".len();
        let length = bytes[data..]
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_' | b'%'))
            .count();
        let padding = bytes[data + length..].iter().take(3).take_while(|b| **b == b'=').count();
        let out = out.get_or_insert_default();
        out.push_str(&text[done..colon]);
        out.push_str(&token(length));
        done = data + length + padding;
    }
    out.map(|mut out| {
        out.push_str(&text[done..]);
        out
    })
}

/// For so many characters of base64 without padding.
fn token(length: usize) -> String {
    format!("[BINARY:{}]", length / 4 * 3 + (length % 4).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_decoded_bytes() {
        for (length, bytes) in [(0, 0), (2, 1), (3, 2), (4, 3), (344, 258)] {
            assert_eq!(token(length), format!("[BINARY:{bytes}]"));
        }
    }

    #[test]
    fn replaces_data_urls_and_nothing_else() {
        assert_eq!(
            data_urls("see data:image/png;base64,iVBORw0KGgo= and data:;base64,AAAA!").as_deref(),
            Some("see [BINARY:8] and [BINARY:3]!")
        );
        assert_eq!(data_urls("see ;base64,AAAA"), None);
        assert_eq!(data_urls("the data: \"x;base64,AAAA"), None);
    }

    #[test]
    fn whole_texts_of_base64_are_binary() {
        assert_eq!(whole(&"aB3+".repeat(64)).as_deref(), Some("[BINARY:192]"));
        assert_eq!(whole(&"aB3+".repeat(63)), None);
        assert_eq!(whole(&"4111".repeat(100)), None);
        assert_eq!(whole(&"a word ".repeat(100)), None);
    }
}
