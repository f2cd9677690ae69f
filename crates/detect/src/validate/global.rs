//! Numbers and names that are the same everywhere: cards, accounts, addresses of machines and mailboxes.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::checksum::luhn;
use super::{Check, Validator, Verdict, is_part_of_number, is_word};

pub(super) fn by_name(name: &str) -> Option<Validator> {
    Some(match name {
        "card" => card,
        "email" => email,
        "iban" => iban,
        "ipv4" => ipv4,
        "ipv6" => ipv6,
        _ => return None,
    })
}

/// Whether an issuer has cards with these first digits and this length. ISO/IEC 7812 ranges as the networks publish.
fn issued(digits: &[u8]) -> bool {
    let n = digits.len();
    let first = |k: usize| digits[..k].iter().fold(0u32, |p, &d| p * 10 + u32::from(d));
    let (p2, p3, p4, p6) = (first(2), first(3), first(4), first(6));
    match p2 {
        40..=49 => matches!(n, 13 | 16 | 18 | 19),
        51..=55 => n == 16,
        34 | 37 => n == 15,
        36 | 38 | 39 => (14..=19).contains(&n),
        30 if p3 <= 305 || p3 == 309 => (14..=19).contains(&n),
        35 => (3528..=3589).contains(&p4) && (16..=19).contains(&n),
        18 => p4 == 1800 && n == 15,
        21 => p4 == 2131 && n == 15,
        22..=27 if (2221..=2720).contains(&p4) => n == 16,
        22 => (2200..=2205).contains(&p4) && (16..=19).contains(&n),
        50 | 56..=58 => {
            (12..=19).contains(&n)
                && (n == 16 || [5018, 5020, 5038, 5612, 5893].contains(&p4) || p3 == 506 || p3 == 508)
        }
        60..=69 => {
            let maestro = [6304, 6390, 6759, 6761, 6762, 6763, 6767, 6771].contains(&p4);
            let discover = p4 == 6011 || (644..=659).contains(&p3) || (622126..=622925).contains(&p6);
            let others = p2 == 62 || p2 == 60 || p2 == 65 || (637..=639).contains(&p3) || p4 == 6334 || p4 == 6767;
            (discover || others) && (16..=19).contains(&n) || maestro && (12..=19).contains(&n)
        }
        81 | 82 => (16..=19).contains(&n),
        97 => p4 == 9792 && n == 16,
        _ => false,
    }
}

/// Luhn, and a prefix and a length that an issuer uses. With a context word nearby the prefix does not matter.
fn card(check: &Check<'_>) -> Option<Verdict> {
    let text = check.value().as_bytes();
    let digits: Vec<u8> = text.iter().filter(|b| b.is_ascii_digit()).map(|b| b - b'0').collect();
    let mut ends = (1..=text.len()).rev().filter(|&i| text[i - 1].is_ascii_digit());
    let mut left = digits.len();
    while left >= 12 {
        let end = ends.next()?;
        let digits = &digits[..left];
        left -= 1;
        let after = check.after(check.start + end);
        if after.first().is_some_and(|&b| is_word(b)) || is_part_of_number(check.before(), after) {
            continue;
        }
        if !luhn(digits) || digits.iter().all(|&d| d == digits[0]) || !one_separator(&text[..end]) {
            continue;
        }
        if issued(digits) {
            return Some(check.cut(end));
        }
        if check.context {
            return Some(Verdict { score: Some(0.3), ..check.cut(end) });
        }
    }
    None
}

/// Groups of at least two digits, with the same separator between all of them.
fn one_separator(text: &[u8]) -> bool {
    let mut separators = text.iter().filter(|b| !b.is_ascii_digit());
    let Some(first) = separators.next() else { return true };
    separators.all(|s| s == first) && text.split(|b| !b.is_ascii_digit()).all(|g| g.len() >= 2)
}

// ---- IBAN

/// Country and length: SWIFT, IBAN Registry, release 99.
const IBAN_LENGTHS: &[u8] =
    b"AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24\
FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27\
MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28\
TL23TN24TR26UA29VA22VG24XK20YE30";

fn iban_length(country: [u8; 2]) -> Option<usize> {
    IBAN_LENGTHS.chunks_exact(4).find(|c| c[..2] == country).map(|c| usize::from((c[2] - b'0') * 10 + c[3] - b'0'))
}

/// ISO 13616: the registry's length, and mod 97 = 1 (ISO 7064). In capitals or in small letters, not in both.
fn iban(check: &Check<'_>) -> Option<Verdict> {
    let text = check.value().as_bytes();
    let country = [text.first()?.to_ascii_uppercase(), text.get(1)?.to_ascii_uppercase()];
    let length = iban_length(country)?;
    let mut compact = [0u8; 40];
    let mut n = 0;
    let mut end = 0;
    for (i, &b) in text.iter().enumerate() {
        if b.is_ascii_alphanumeric() {
            compact[n] = b;
            n += 1;
            if n == length {
                end = i + 1;
                break;
            }
        }
    }
    let compact = &compact[..n];
    if n != length || check.after(check.start + end).first().is_some_and(|&b| is_word(b)) {
        return None;
    }
    if compact.iter().any(u8::is_ascii_uppercase) && compact.iter().any(u8::is_ascii_lowercase) {
        return None;
    }
    let remainder = compact[4..].iter().chain(&compact[..4]).fold(0u32, |r, b| match b {
        b'0'..=b'9' => (r * 10 + u32::from(b - b'0')) % 97,
        _ => (r * 100 + u32::from(b.to_ascii_uppercase() - b'A') + 10) % 97,
    });
    (remainder == 1).then(|| check.cut(end))
}

// ---- IP

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
            [&b"version"[..], b"release", b" ver", b" ver.", b"version:"].iter().any(|w| tail.ends_with(w))
        }
    };
    Some(Verdict { start: check.start, end, score: version.then_some(0.2) })
}

fn ipv6(check: &Check<'_>) -> Option<Verdict> {
    let text = check.value().trim_end_matches('.');
    // A colon after an address is punctuation, unless it is the second of two.
    let text = text.strip_suffix(':').filter(|t| !t.ends_with(':')).unwrap_or(text);
    let address = text.parse::<Ipv6Addr>().ok()?;
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
        end += if n > 0 { 1 + n } else { 0 };
    }
    end += prefix_length(check.after(end), 128);
    let score = if address.is_unspecified() {
        Some(0.1)
    } else {
        // `A::B` is a path in many programming languages, `1::2` a slice; `dead::beef` may be either.
        let hex = text.bytes().filter(u8::is_ascii_hexdigit).count();
        let certain =
            address.is_loopback() || text.contains('.') || text.bytes().any(|b| b.is_ascii_digit()) && hex >= 4;
        (!certain).then_some(0.3)
    };
    Some(Verdict { start: check.start, end, score })
}

// ---- e-mail

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iban_lengths_are_sorted_and_well_formed() {
        assert_eq!(IBAN_LENGTHS.len() % 4, 0);
        let countries: Vec<_> = IBAN_LENGTHS.chunks_exact(4).map(|c| [c[0], c[1]]).collect();
        assert!(countries.windows(2).all(|w| w[0] < w[1]));
        assert!(IBAN_LENGTHS.chunks_exact(4).all(|c| (15..=34).contains(&((c[2] - b'0') * 10 + c[3] - b'0'))));
    }
}
