//! Addresses of machines, mailboxes and pages.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::validate::{Check, Validator, Verdict, is_word};

pub(super) fn by_name(name: &str) -> Option<Validator> {
    Some(match name {
        "bare_domain" => bare_domain,
        "email" => email,
        "ipv4" => ipv4,
        "ipv6" => ipv6,
        "mac" => mac,
        "url" => url,
        _ => return None,
    })
}

/// `/24` and the like, if it is a prefix length of this family.
fn prefix_length(after: &[u8], most: u32) -> usize {
    let Some((b'/', digits)) = after.split_first() else { return 0 };
    let n = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    let value = digits[..n.min(4)].iter().fold(0u32, |v, d| v * 10 + u32::from(d - b'0'));
    let ends = digits.get(n).is_none_or(|&b| !is_word(b));
    if (1..=3).contains(&n) && value <= most && ends { 1 + n } else { 0 }
}

fn ipv4(check: &Check<'_>) -> Option<Verdict> {
    check.value().parse::<Ipv4Addr>().ok()?;
    let after = check.after(check.end);
    if after.first().is_some_and(|&b| is_word(b)) || matches!(check.before(), [.., d, b'.'] if d.is_ascii_digit()) {
        return None;
    }
    // One component too many is a slip; several are an object identifier.
    let components = after
        .split(|b| *b != b'.' && !b.is_ascii_digit())
        .next()
        .map_or(0, |rest| rest.split(|b| *b == b'.').filter(|c| !c.is_empty()).take(3).count());
    if components > 1 {
        return None;
    }
    let end = check.end + prefix_length(after, 32);
    // `Chrome/120.0.0.0`, `v1.2.3.4`, `version 1.2.3.4`.
    let before = check.before();
    let version = match before {
        [.., letter, b'/'] => letter.is_ascii_alphanumeric(),
        _ => {
            let tail = &before[before.len().saturating_sub(12)..];
            let tail = tail.trim_ascii_end().to_ascii_lowercase();
            [&b"version"[..], b"release", b" ver", b" ver.", b"version:", b"<<", b">>", b">=", b"<="]
                .iter()
                .any(|w| tail.ends_with(w))
        }
    };
    // `1.0.24.2-5` is a version and its packaging; `192.0.2.10-20` may be a range.
    let packaged = matches!(after, [b'-', d, rest @ ..] if d.is_ascii_digit()
        && rest.iter().find(|b| !b.is_ascii_digit()) != Some(&b'.'));
    let score = if version { Some(0.2) } else { packaged.then_some(0.4) };
    Some(Verdict { start: check.start, end, score })
}

/// Where the fourth component of an IPv4 address ends within an IPv6 address.
fn embedded_end(text: &str) -> Option<usize> {
    let first = text.find('.')?;
    let mut points = text.match_indices('.').skip(2);
    let third = points.next()?.0;
    let end = third + 1 + text[third + 1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len() - third - 1);
    let components = text[first..].split(['.', ':']).count();
    (end < text.len() && components <= 5).then_some(end)
}

fn ipv6(check: &Check<'_>) -> Option<Verdict> {
    let text = check.value().trim_end_matches('.');
    // A colon after an address is punctuation, unless it is the second of two.
    let text = text.strip_suffix(':').filter(|t| !t.ends_with(':')).unwrap_or(text);
    let (text, address) = match text.parse::<Ipv6Addr>() {
        Ok(address) => (text, address),
        // An IPv4 address in it ends it: `::ffff:192.0.2.1:80`, and one component too many is a slip.
        Err(_) => {
            let text = &text[..embedded_end(text)?];
            (text, text.parse::<Ipv6Addr>().ok()?)
        }
    };
    let mut end = check.start + text.len();
    let before = check.before();
    if before.last().is_some_and(|&b| b == b':' || is_word(b)) || check.after(end).first().is_some_and(|&b| is_word(b))
    {
        return None;
    }
    // `%eth0`
    if let [b'%', zone @ ..] = check.after(end) {
        let n =
            zone.iter().take(16).take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')).count();
        let n = zone[..n].iter().rposition(|&b| b != b'.').map_or(0, |last| last + 1);
        end += if n > 0 { 1 + n } else { 0 };
    }
    end += prefix_length(check.after(end), 128);
    let score = if address.is_unspecified() {
        Some(0.1)
    } else {
        // `A::B` is a path in many programming languages, `1::2` a slice; `dead::beef` may be either.
        let hex = text.bytes().filter(u8::is_ascii_hexdigit).count();
        // Eight groups of two are the hardware address EUI-64.
        let hardware = text.split(':').all(|group| group.len() == 2);
        let certain = !hardware
            && (address.is_loopback() || text.contains('.') || text.bytes().any(|b| b.is_ascii_digit()) && hex >= 4);
        (!certain).then_some(0.3)
    };
    Some(Verdict { start: check.start, end, score })
}

/// Names that RFC 2606, RFC 6762 and RFC 8375 keep out of the public tree, and those that companies use all the same.
const PRIVATE_TLDS: &[&str] = &[
    "arpa",
    "corp",
    "example",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "test",
];

/// A local part and a domain under a public suffix (or a private one, which scores less).
fn email(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value();
    let at = value.find('@')?;
    let local = value[..at].trim_start_matches(|c: char| !c.is_alphanumeric() && c != '_');
    if local.is_empty() || local.ends_with('.') {
        return None;
    }
    let start = check.start + at - local.len();
    if is_userinfo(&check.text.as_bytes()[..start]) {
        return None;
    }
    let domain = &value[at + 1..];
    let length = domain
        .char_indices()
        .find(|&(_, c)| !(c.is_alphanumeric() || c == '.' || c == '-' || !c.is_ascii() && is_mark(c)))
        .map_or(domain.len(), |(i, _)| i)
        .min(253);
    let mut domain = &domain[..domain.floor_char_boundary(length)];
    if let Some(dots) = domain.find("..") {
        domain = &domain[..dots];
    }
    let lower = domain.to_ascii_lowercase();
    let mut end = lower.len();
    for _ in 0..8 {
        let name = lower[..end].trim_end_matches(['.', '-']);
        end = name.len();
        let (_, tld) = name.rsplit_once('.')?;
        if name.split('.').any(|label| label.is_empty() || label.len() > 63 || label.starts_with('-')) {
            return None;
        }
        let known = psl::suffix(name.as_bytes()).is_some_and(|s| s.is_known() && s.as_bytes().len() < name.len());
        let score = if known { Some(None) } else { PRIVATE_TLDS.contains(&tld).then_some(Some(0.6)) };
        if let Some(score) = score {
            return Some(Verdict { start, end: check.start + at + 1 + end, score });
        }
        // `jo@example.com-thanks`, `jo@example.com.Then`
        end = match tld.rfind('-') {
            Some(dash) if !tld.starts_with("xn--") => end - tld.len() + dash,
            _ => end - tld.len() - 1,
        };
    }
    None
}

/// `scheme://user:` stands before: what follows up to the `@` is a password, not a mailbox.
fn is_userinfo(before: &[u8]) -> bool {
    let Some((b':', before)) = before.split_last() else { return false };
    let user = before
        .iter()
        .rev()
        .take(128)
        .take_while(|b| !b.is_ascii_whitespace() && !matches!(b, b'/' | b'@' | b':'))
        .count();
    before[..before.len() - user].ends_with(b"://")
}

fn is_mark(c: char) -> bool {
    // Combining marks and viramas stand inside words of Indic and Arabic scripts.
    matches!(c as u32, 0x300..=0x36f | 0x591..=0x5c7 | 0x610..=0x61a | 0x64b..=0x65f | 0x900..=0xdff | 0xe31..=0xe4e)
}

// ---- MAC

/// IEEE 802: six or eight octets with one separator between all of them. Not the broadcast address and not zero, which
/// belong to nobody.
fn mac(check: &Check<'_>) -> Option<Verdict> {
    let text = check.value().as_bytes();
    let mut separators = text.iter().filter(|b| !b.is_ascii_alphanumeric());
    let separator = separators.next()?;
    if separators.any(|s| s != separator) {
        return None;
    }
    let hex = || text.iter().filter(|b| b.is_ascii_alphanumeric());
    let goes_on = |before: &[u8], after: &[u8]| {
        matches!(before, [.., h, s] if s == separator && h.is_ascii_hexdigit())
            || matches!(after, [s, h, ..] if s == separator && h.is_ascii_hexdigit())
    };
    let nobody = hex().all(|&b| b == b'0') || hex().all(|b| b.eq_ignore_ascii_case(&b'f'));
    let after = check.after(check.end);
    let ends = !after.first().is_some_and(|&b| is_word(b));
    (matches!(hex().count(), 12 | 16) && !nobody && ends && !goes_on(check.before(), after)).then(|| check.keep())
}

// ---- URL

/// The length of a host that somebody can be at: under a public suffix, or private (the score is then lower), or an
/// address.
fn host(text: &str) -> Option<(usize, Option<f32>)> {
    if let Some(literal) = text.strip_prefix('[') {
        let end = literal.find(']')?;
        literal[..end].parse::<Ipv6Addr>().ok()?;
        return Some((end + 2, None));
    }
    let length = text
        .char_indices()
        .find(|&(_, c)| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_') || !c.is_ascii() && is_mark(c)))
        .map_or(text.len(), |(i, _)| i);
    let name = text[..length].trim_end_matches(['.', '-', '_']);
    if name.len() > 253 || name.split('.').any(|label| label.is_empty() || label.len() > 63 || label.starts_with('-')) {
        return None;
    }
    if name.parse::<Ipv4Addr>().is_ok() {
        return Some((name.len(), None));
    }
    let lower = name.to_lowercase();
    let known = psl::suffix(lower.as_bytes()).is_some_and(|s| s.is_known() && s.as_bytes().len() < lower.len());
    let private = || lower.rsplit_once('.').is_some_and(|(_, tld)| PRIVATE_TLDS.contains(&tld));
    if known { Some((name.len(), None)) } else { private().then_some((name.len(), Some(0.4))) }
}

/// The length of a port, path, query and fragment, without the punctuation that ends a sentence or closes a bracket.
fn path(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut start = 0;
    if let [b':', rest @ ..] = bytes {
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if (1..=5).contains(&digits) {
            start = 1 + digits;
        }
    }
    if !matches!(bytes.get(start), Some(b'/' | b'?' | b'#')) {
        return start;
    }
    let mut open = 0usize;
    let mut end = start;
    for (i, b) in bytes.iter().enumerate().skip(start) {
        match b {
            b'(' => open += 1,
            b')' if open == 0 => break,
            b')' => open -= 1,
            0..=b' ' | b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\' | b'^' | b'{' | b'}' | b'|' | 0x7f => break,
            _ => {}
        }
        end = i + 1;
    }
    let trimmed = text.get(start..end).unwrap_or("").trim_end_matches(['.', ',', ';', ':', '!', '?', '*', ']']);
    start + trimmed.len()
}

/// RFC 3986, with a scheme or with `www.` before it. A text that is nothing but an address in quotes is found with them.
fn url(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value();
    let authority = value.find("://").map_or(0, |i| i + 3);
    let rest = &value[authority..];
    let slash = rest.find(['/', '?', '#', ' ']).unwrap_or(rest.len());
    let user = rest[..slash].rfind('@').map_or(0, |i| i + 1);
    let (length, score) = host(&rest[user..])?;
    if authority == 0 && rest[..length].matches('.').count() < 2 {
        return None;
    }
    let end = authority + user + length;
    let end = end + path(&value[end..]);
    let whole = match (check.before(), check.after(check.start + end)) {
        ([a], [b]) if a == b && matches!(a, b'"' | b'\'') => 1,
        _ => 0,
    };
    Some(Verdict { start: check.start - whole, end: check.start + end + whole, score })
}

/// A name under a public suffix, with a path or without one. Not a part of a mailbox or of another address, not a call
/// or a member in code.
fn bare_domain(check: &Check<'_>) -> Option<Verdict> {
    if matches!(check.before().last(), Some(b'@' | b'/' | b'.' | b'-' | b'_' | b'$' | b'\\')) {
        return None;
    }
    let value = check.value();
    let (length, private) = host(value)?;
    let after = value.as_bytes().get(length).or_else(|| check.after(check.end).first());
    if private.is_some()
        || value[..length].parse::<Ipv4Addr>().is_ok()
        || matches!(after, Some(b'@' | b'(' | b'[' | b'_' | b'='))
    {
        return None;
    }
    let end = length + path(&value[length..]);
    let whole = match (check.before(), check.after(check.start + end)) {
        ([a], [b]) if a == b && matches!(a, b'"' | b'\'') => 1,
        _ => 0,
    };
    Some(Verdict { start: check.start - whole, end: check.start + end + whole, score: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::global::tests::verdict;

    #[test]
    fn addresses_of_nobody_are_dropped() {
        assert!(verdict(mac, "00:1A:2B:3C:4D:5E").is_some());
        assert!(verdict(mac, "0012.3456.789a").is_some());
        for bad in ["FF:FF:FF:FF:FF:FF", "00-00-00-00-00-00", "ffff.ffff.ffff", "00:1A-2B:3C:4D:5E", "00:1A:2B:3C:4D"] {
            assert_eq!(verdict(mac, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_url_ends_before_the_sentence_does() {
        for (text, expected) in [
            ("https://example.com/a?b=c.", "https://example.com/a?b=c"),
            ("https://en.wikipedia.org/wiki/Rust_(film)), and", "https://en.wikipedia.org/wiki/Rust_(film)"),
            ("http://192.0.2.7:8080/x", "http://192.0.2.7:8080/x"),
            ("http://[2001:db8::1]/x y", "http://[2001:db8::1]/x"),
            ("www.example.co.uk,", "www.example.co.uk"),
            ("https://jo:pw@example.com/x", "https://jo:pw@example.com/x"),
        ] {
            assert_eq!(verdict(url, text).map(|v| v.0), Some(expected));
        }
        for bad in ["http://microsoft", "www.microsoft", "https://-x.com", "http://", "http://[::"] {
            assert_eq!(verdict(url, bad), None, "{bad}");
        }
    }
}
