//! Whether a value looks like a secret: drawn by lot, or chosen, and no placeholder.

use super::{Check, Validator, Verdict};

pub(super) fn by_name(name: &str) -> Option<Validator> {
    Some(match name {
        "github_token" => github_token,
        "password" => password,
        "password_value" => password_value,
        "random" => random,
        "secret" => secret,
        "secret_value" => secret_value,
        "url_password" => url_password,
        _ => return None,
    })
}

/// Bits per byte.
fn entropy(value: &[u8]) -> f32 {
    let mut counts = [0u32; 256];
    for &b in value {
        counts[b as usize] += 1;
    }
    let n = value.len() as f32;
    counts.iter().filter(|&&c| c > 0).map(|&c| c as f32 / n).map(|p| -p * p.log2()).sum()
}

/// What documentation writes where a secret would stand.
fn is_placeholder(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    const WORDS: &[&str] = &[
        "example",
        "xxxx",
        "your",
        "changeme",
        "placeholder",
        "redacted",
        "insert",
        "dummy",
        "****",
        "....",
        "replace",
        "process.env",
        "os.environ",
        "getenv",
        "undefined",
        "todo",
        "_here",
        "-here",
        "sample",
    ];
    let distinct = {
        let mut seen = [false; 256];
        value.bytes().filter(|&b| !std::mem::replace(&mut seen[b as usize], true)).count()
    };
    distinct < 4 || WORDS.iter().any(|w| lower.contains(w))
}

/// The part of a token after the last of its separators that is not a fixed prefix, roughly: what ought to be random.
fn random(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value();
    let body = value.as_bytes();
    (!is_placeholder(value) && entropy(body) >= if body.len() >= 24 { 3.0 } else { 2.5 }).then(|| check.keep())
}

/// GitHub's tokens end with six characters of base62: the CRC-32 of the thirty before them
/// (github.blog, "Behind GitHub's new authentication token formats", 2021). One that does not is still reported, with
/// less certainty: the format has changed before.
fn github_token(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value();
    let body = &value.as_bytes()[value.find('_')? + 1..];
    if is_placeholder(value) {
        return None;
    }
    let agrees = body.split_last_chunk::<6>().is_some_and(|(random, checksum)| {
        let mut crc = crc32(random);
        let expected: [u8; 6] = std::array::from_fn(|i| {
            let divisor = 62u32.pow(5 - i as u32);
            let digit = crc / divisor;
            crc %= divisor;
            b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[digit as usize % 62]
        });
        expected == *checksum
    });
    Some(Verdict { score: (!agrees).then_some(0.8), ..check.keep() })
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &b| {
        (0..8).fold(crc ^ u32::from(b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    })
}

fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value
            .iter()
            .enumerate()
            .all(|(i, b)| if matches!(i, 8 | 13 | 18 | 23) { *b == b'-' } else { b.is_ascii_hexdigit() })
}

/// A value after `api_key =` and the like: letters and digits that look drawn by lot.
fn secret(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value().trim_end_matches(['.', ',', ';']);
    let bytes = value.as_bytes();
    // Keys that open nothing.
    const OPEN: &[&str] =
        &["public", "pub_", "pubkey", "cache", "primary", "foreign", "partition", "idempot", "csrf", "credentialid"];
    let before = check.before();
    let name = before[before.len().saturating_sub(24)..].to_ascii_lowercase();
    let name = name.rsplit(|b| matches!(b, b'\n' | b';' | b'&')).next().unwrap_or(&name);
    if OPEN.iter().any(|word| memchr::memmem::find(name, word.as_bytes()).is_some()) {
        return None;
    }
    if is_placeholder(value) || is_uuid(bytes) && !check.context {
        return None;
    }
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    let letters = bytes.iter().filter(|b| b.is_ascii_alphabetic()).count();
    let upper = bytes.iter().filter(|b| b.is_ascii_uppercase()).count();
    let hex = bytes.iter().all(u8::is_ascii_hexdigit);
    // A path, a URL, a dotted or dashed name made of words.
    let separators = bytes.iter().filter(|b| matches!(b, b'/' | b'.' | b'-' | b'_')).count();
    let wordy = separators * 6 >= bytes.len() && digits * 8 < bytes.len() || is_path_of_names(value);
    let enough = if hex { 2.8 } else { 3.3 };
    (digits >= 2
        && letters >= 2
        && !wordy
        && (hex || upper > 0 || digits * 5 >= bytes.len())
        && entropy(bytes) >= enough)
        .then(|| check.cut(value.len()))
}

/// `X25519.secret_length`: names that a point joins.
fn is_path_of_names(value: &str) -> bool {
    let names = || value.split('.');
    names().count() >= 2
        && names().all(|n| n.starts_with(|c: char| c.is_ascii_alphabetic()))
        && names().any(|n| n.len() >= 3 && n.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
}

/// A whole text under a key such as `api_key`.
fn secret_value(check: &Check<'_>) -> Option<Verdict> {
    if check.end - check.start != check.text.trim().len() {
        return None;
    }
    secret(check)
}

/// A value after `password:` and the like. People choose them, so no lot was drawn; but code, placeholders and prose
/// are not passwords.
fn password(check: &Check<'_>) -> Option<Verdict> {
    let quoted = matches!(check.before().last(), Some(b'"' | b'\'' | b'`'));
    chosen(check, quoted)
}

/// The password in a URL. Whatever stands there is one, except what a program would put there.
fn url_password(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value();
    let end = check.text[check.start..].find('@').map(|i| check.start + i)?;
    let template = value.starts_with(['$', '<', '{', '*']) || value.contains("{") || value.contains("...");
    (!template && end == check.end).then(|| check.keep())
}

/// A whole text under a key such as `password`.
fn password_value(check: &Check<'_>) -> Option<Verdict> {
    (check.end - check.start == check.text.len()).then_some(())?;
    chosen(check, true)
}

fn chosen(check: &Check<'_>, quoted: bool) -> Option<Verdict> {
    let value = check.value();
    let before = check.before();
    let value =
        if quoted { value } else { value.trim_end_matches(['.', ',', ';', ')', ']', '}', '!', '?', '"', '\'']) };
    let lower = value.to_ascii_lowercase();
    const NOT: &[&str] = &[
        "true",
        "false",
        "null",
        "none",
        "nil",
        "string",
        "password",
        "passwd",
        "required",
        "optional",
        "secret",
        "reset",
        "undefined",
        "text",
        "username",
        "value",
        "hidden",
        "empty",
        "input",
        "varchar",
        "self",
        "this",
    ];
    let code = value.starts_with(['$', '<', '{', '%', '(', '[', '*', '&', '#'])
        || value.contains("${")
        || value.contains("{{")
        || value.contains("()")
        || lower.contains("env.")
        || lower.contains("environ")
        || lower.contains("config.")
        || lower.contains("getenv")
        || (!quoted && (value.contains('(') || value.contains("->") || value.contains("::")));
    if value.len() < 4 || code || is_placeholder(value) && value.len() > 6 || NOT.contains(&lower.as_str()) {
        return None;
    }
    let letters_only = value.bytes().all(|b| b.is_ascii_alphabetic());
    let equals = before[before.len().saturating_sub(3)..].contains(&b'=');
    // `password: open_sesame` is one; `password: please` is prose.
    if !quoted && letters_only && !(equals && value.len() >= 6) {
        return None;
    }
    Some(check.cut(value.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
