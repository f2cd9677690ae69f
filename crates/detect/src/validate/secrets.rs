//! Whether a value looks like a secret: drawn by lot, or chosen, and no placeholder.
//!
//! Three things tell a drawn value from a name, a path or a word: how even its characters are spread (entropy), how
//! often it changes between small letters, capitals and digits, and whether its pairs of letters are those of English
//! (names in programs are made of English). What people choose has none of that: there, only what documentation, code
//! and forms write in its place is known, and is left alone.

use super::{Check, Validator, Verdict};

pub(super) fn by_name(name: &str) -> Option<Validator> {
    Some(match name {
        "connection_string" => connection_string,
        "github_token" => github_token,
        "jwt" => jwt,
        "npm_token" => npm_token,
        "password" => password,
        "password_words" => password_words,
        "private_key" => private_key,
        "provider_key" => provider_key,
        "provider_value" => provider_value,
        "random" => random,
        "secret" => secret,
        "secret_strict" => secret_strict,
        "secret_text" => secret_text,
        "secret_uuid" => secret_uuid,
        "url_password" => url_password,
        _ => return None,
    })
}

/// `ENGLISH[a][b]` is how much more often the letter `b` follows `a` in words and names than by chance: 5 and the
/// binary logarithm of the ratio, from 0 to 9. Counted over the documentation of 300 Rust packages.
const ENGLISH: [&[u8; 26]; 26] = [
    b"25651341503756052767443341",
    b"74546332652742632564621152",
    b"72437316506542732547520130",
    b"64358331721533632564532231",
    b"53664441302557243776143530",
    b"63446641821644732655612140",
    b"52328355602546521664532122",
    b"72338312713343722535521031",
    b"54655550102658641566040304",
    b"64547334535334744463643233",
    b"53458442721535443374425232",
    b"62358411702623730255431061",
    b"75348221612452671254521021",
    b"62666471504324530267442030",
    b"34662440414567550755645201",
    b"72337314503622651756512040",
    b"53355345334634226444834452",
    b"72448341604354630566532040",
    b"52527225603443552367622140",
    b"62438316700432640665512151",
    b"55545440500667360777110202",
    b"74429333721143524333222222",
    b"73347336721426622653224221",
    b"65657524631443471347332532",
    b"44455433632556672476334353",
    b"53449342723453523353424445",
];

/// What a value is made of.
struct Shape {
    len: usize,
    digits: usize,
    lower: usize,
    upper: usize,
    /// How often one character is a digit, a small letter, a capital or another, and the next is not.
    changes: usize,
    /// The same, a capital before small letters not counted: about the words of a name.
    humps: usize,
    /// The longest run of one character.
    run: usize,
    distinct: usize,
    /// Bits per byte.
    entropy: f32,
    /// How often the next character is the next of the alphabet.
    steps: usize,
    /// Neighbouring letters, and how English they are: about 1 for words, below 0 for letters drawn by lot.
    pairs: usize,
    english: f32,
    hex: bool,
}

impl Shape {
    fn of(value: &[u8]) -> Self {
        let mut counts = [0u32; 256];
        let mut shape = Self {
            len: value.len(),
            digits: 0,
            lower: 0,
            upper: 0,
            changes: 0,
            humps: 0,
            run: 0,
            distinct: 0,
            entropy: 0.0,
            steps: 0,
            pairs: 0,
            english: 0.0,
            hex: value.iter().all(u8::is_ascii_hexdigit),
        };
        let class = |b: u8| match b {
            b'0'..=b'9' => 0,
            b'a'..=b'z' => 1,
            b'A'..=b'Z' => 2,
            _ => 3,
        };
        let mut run = 0;
        let mut last = None;
        for &b in value {
            counts[b as usize] += 1;
            match class(b) {
                0 => shape.digits += 1,
                1 => shape.lower += 1,
                2 => shape.upper += 1,
                _ => {}
            }
            if let Some(last) = last {
                shape.changes += usize::from(class(last) != class(b));
                shape.humps += usize::from(class(last) != class(b) && !(class(last) == 2 && class(b) == 1));
                run = if last == b { run + 1 } else { 0 };
                shape.steps += usize::from(last.wrapping_add(1) == b);
                if last.is_ascii_alphabetic() && b.is_ascii_alphabetic() {
                    let at = |b: u8| usize::from(b.to_ascii_lowercase() - b'a');
                    shape.pairs += 1;
                    shape.english += f32::from(ENGLISH[at(last)][at(b)]) - f32::from(b'5');
                }
            }
            shape.run = shape.run.max(run + 1);
            last = Some(b);
        }
        let n = value.len().max(1) as f32;
        shape.english /= shape.pairs.max(1) as f32;
        shape.distinct = counts.iter().filter(|&&c| c > 0).count();
        shape.entropy = counts.iter().filter(|&&c| c > 0).map(|&c| c as f32 / n).map(|p| -p * p.log2()).sum();
        shape
    }

    fn letters(&self) -> usize {
        self.lower + self.upper
    }

    /// Made of words, as names in programs are.
    fn is_wordy(&self) -> bool {
        !self.hex && self.pairs >= 5 && self.pairs * 2 >= self.len && self.english > 0.3
    }

    /// One character over and over, or very few.
    fn is_monotonous(&self) -> bool {
        self.distinct < 5 || self.run >= 5 && self.run * 3 >= self.len
    }
}

/// What documentation writes where a secret would stand.
fn is_placeholder(value: &str) -> bool {
    const WORDS: &[&str] = &[
        "****",
        "-here",
        "....",
        "_here",
        "changeme",
        "dummy",
        "example",
        "getenv",
        "insert",
        "os.environ",
        "placeholder",
        "process.env",
        "redacted",
        "replace",
        "sample",
        "todo",
        "undefined",
        "xxxx",
        "your",
    ];
    let lower = value.to_ascii_lowercase();
    WORDS.iter().any(|w| lower.contains(w)) || is_specimen(value)
}

/// What has the prefix of a provider's tokens, but not the form that every one of them has: nothing that anybody drew.
fn is_specimen(value: &str) -> bool {
    match value {
        // docs.px.dev: a UUID.
        _ if let Some(rest) = value.strip_prefix("px-api-").or(value.strip_prefix("px-dep-")) => {
            rest.len() >= 36 && !is_uuid(&rest.as_bytes()[..36])
        }
        // developer.hashicorp.com/vault, "Tokens": a batch token holds what it stands for, and is longer than any other;
        // before version 1.10, a service token and a recovery token had 24 characters.
        _ if value.starts_with("hvb.") => value.len() < 100,
        _ if let Some(rest) = value.strip_prefix("r.").or(value.strip_prefix("s.")) => {
            (25..30).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_alphanumeric())
        }
        _ => false,
    }
}

/// A token with a prefix of its own: the form has said nearly all, so only what nobody drew is dropped.
fn random(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value();
    // Typed, not drawn.
    if value.contains("abc123") {
        return None;
    }
    let shape = Shape::of(value.as_bytes());
    let even = shape.entropy >= if shape.len >= 24 { 3.0 } else { 2.5 };
    (even && !shape.is_monotonous() && !is_placeholder(value)).then(|| check.keep())
}

/// A key without a prefix, of its provider's length and alphabet, after the provider's name and a word for a key.
fn provider_key(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value();
    let shape = Shape::of(value.as_bytes());
    if shape.is_monotonous() || shape.is_wordy() || is_placeholder(value) || is_path_of_names(value) {
        return None;
    }
    // `sqlite3TreeViewColumnList`
    if shape.digits <= 1
        && shape.upper > 0
        && shape.lower > 0
        && shape.humps * 4 < shape.len
        && (shape.digits == 1 || shape.english > -0.5)
    {
        return None;
    }
    let few = shape.digits == 0 && !shape.hex && (shape.len < 16 || shape.english > 0.0);
    let even = shape.entropy >= if shape.hex || shape.letters() == 0 { 2.3 } else { 2.8 };
    (even && !few).then(|| check.keep())
}

/// The same for a value of another length than the provider's keys are known to have.
fn provider_value(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value();
    let shape = Shape::of(value.as_bytes());
    let others = shape.len - shape.digits - shape.letters();
    // A date, a path in a program.
    let date = others > 0 && shape.letters() * 6 < shape.len;
    if date || value.contains("::") || is_named_parts(value) || names_no_secret(check) {
        return None;
    }
    provider_key(check)
}

/// GitHub's tokens end with six characters of base62: the CRC-32 of the thirty before them
/// (github.blog, "Behind GitHub's new authentication token formats", 2021). One that does not is still reported, with
/// less certainty: the format has changed before.
fn github_token(check: &Check<'_>) -> Option<Verdict> {
    random(check)?;
    let agrees = has_crc32(check.value());
    Some(Verdict { score: (!agrees).then_some(0.8), ..check.keep() })
}

/// npm's tokens have the same checksum (github.blog, "npm's new access token format", 2021).
fn npm_token(check: &Check<'_>) -> Option<Verdict> {
    github_token(check)
}

/// Whether what follows the first `_` ends with the CRC-32 of the rest, as six characters of base62.
fn has_crc32(token: &str) -> bool {
    let Some((_, body)) = token.split_once('_') else { return false };
    body.as_bytes().split_last_chunk::<6>().is_some_and(|(random, checksum)| {
        let mut crc = crc32(random);
        let expected: [u8; 6] = std::array::from_fn(|i| {
            let divisor = 62u32.pow(5 - i as u32);
            let digit = crc / divisor;
            crc %= divisor;
            b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[digit as usize % 62]
        });
        expected == *checksum
    })
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &b| {
        (0..8).fold(crc ^ u32::from(b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    })
}

/// A JSON Web Token (RFC 7519): its first part is the base64url of an object that names an algorithm (RFC 7515 4.1.1).
fn jwt(check: &Check<'_>) -> Option<Verdict> {
    let header = check.value().split('.').next()?;
    let bytes = base64(header.as_bytes());
    let named = |name: &[u8]| memchr::memmem::find(&bytes, name).is_some();
    (bytes.first() == Some(&b'{') && (named(b"\"alg\"") || named(b"\"enc\""))).then(|| check.keep())
}

/// Base64 in either alphabet, up to the first byte of neither.
fn base64(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut count) = (0u32, 0);
    for &b in text {
        let six = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}

/// A private key in armour (RFC 7468, RFC 4716, RFC 9580 6.2, PuTTY): there is a body, and it is no placeholder.
fn private_key(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value();
    let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let line = value.as_bytes().split(|&b| !base64(b)).map(<[u8]>::len).max().unwrap_or(0);
    let placeholder = value.contains("...") || value.contains("xxxx") || value.contains('<');
    (line >= 24 && !placeholder && Shape::of(value.as_bytes()).distinct >= 20).then(|| check.keep())
}

fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value
            .iter()
            .enumerate()
            .all(|(i, b)| if matches!(i, 8 | 13 | 18 | 23) { *b == b'-' } else { b.is_ascii_hexdigit() })
}

/// A value under a name that says key, token or secret: drawn by lot.
fn secret(check: &Check<'_>) -> Option<Verdict> {
    let value = trimmed(check.value());
    (is_drawn(value, false) && !names_no_secret(check)).then(|| check.cut(value.len()))
}

/// The same where less stands before it: after a word and a space, or a name that ends in `key`.
fn secret_strict(check: &Check<'_>) -> Option<Verdict> {
    let value = trimmed(check.value());
    (is_drawn(value, true) && !names_no_secret(check)).then(|| check.cut(value.len()))
}

/// A quoted value with punctuation in it, under a name that says secret: Django draws its keys from such an alphabet.
fn secret_text(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value();
    let shape = Shape::of(value.as_bytes());
    let others = shape.len - shape.digits - shape.letters();
    let kinds = [shape.digits, shape.lower, shape.upper, others].iter().filter(|&&n| n > 0).count();
    let code = ["${", "{{", "()", "->", "::", "://"].iter().any(|mark| value.contains(mark));
    (kinds >= 3 && shape.entropy >= 3.3 && shape.changes * 3 >= shape.len && !code)
        .then_some(())
        .filter(|()| !shape.is_monotonous() && !shape.is_wordy() && !is_placeholder(value))
        .map(|()| check.keep())
}

/// A UUID under a name that says secret.
fn secret_uuid(check: &Check<'_>) -> Option<Verdict> {
    if names_no_secret(check) { None } else { random(check) }
}

/// The name right before a value in text, in small letters: `"bucket_key": "`, `--key `.
fn name_before(check: &Check<'_>) -> String {
    let before = check.before();
    let before = &before[before.len().saturating_sub(96)..];
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let end = before.iter().rposition(is_name).map_or(0, |i| i + 1);
    let start = before[..end].iter().rposition(|b| !is_name(b)).map_or(0, |i| i + 1);
    String::from_utf8_lossy(&before[start..end]).to_ascii_lowercase()
}

/// A name that has the word of a secret in it, and names something else: keys that anybody may see, keys of tables and
/// maps, and what is said about a secret.
fn names_no_secret(check: &Check<'_>) -> bool {
    const INSIDE: &[&str] = &[
        "cache",
        "csrf",
        "foreign",
        "idempot",
        "keychar",
        "keyvault",
        "key_vault",
        "keyword",
        "partition",
        "primary",
        "pubkey",
        "public",
        "pub_",
        "rowkey",
        "row_key",
        "sortkey",
        "sort_key",
        "xsrf",
        "tokeniz",
        "fingerprint",
        "credentialid",
        "credentialsid",
        "checksum",
        "integrity",
        "pagetoken",
        "page_token",
        "nexttoken",
        "next_token",
        "commit",
        "revision",
        "continuation",
        "cursor",
        "changetoken",
    ];
    const LAST: &[&str] = &[
        "id",
        "ids",
        "name",
        "names",
        "url",
        "uri",
        "path",
        "file",
        "type",
        "arn",
        "hash",
        "digest",
        "length",
        "size",
        "count",
        "chars",
        "alias",
        "version",
        "prefix",
        "format",
        "algorithm",
        "sha",
        "sha1",
        "sha256",
        "sha512",
        "md5",
        "etag",
    ];
    let name = name_before(check);
    if INSIDE.iter().any(|word| name.contains(word)) {
        return true;
    }
    // The last word of it, in each of the ways in which words are joined.
    LAST.iter().any(|word| {
        name.strip_suffix(word).is_some_and(|rest| {
            rest.ends_with(['_', '-', '.'])
                || word.len() <= 4
                    && ["key", "keys", "secret", "secrets", "token", "tokens", "credential", "credentials"]
                        .iter()
                        .any(|w| rest.ends_with(w))
        })
    })
}

fn trimmed(value: &str) -> &str {
    value.trim_end_matches(['.', ',', ';', ':', '-'])
}

/// Whether somebody drew it by lot, going by the value alone.
fn is_drawn(value: &str, strict: bool) -> bool {
    let bytes = value.as_bytes();
    let shape = Shape::of(bytes);
    // A public key: SubjectPublicKeyInfo (RFC 5280) of P-256, RSA, Ed25519; OpenSSH's.
    const PUBLIC: &[&str] = &["MFkwEwYHKoZIzj0", "MIIBIjANBgkqhkiG", "MCowBQYDK2VwAyEA", "AAAAB3NzaC1", "AAAAC3NzaC1"];
    if PUBLIC.iter().any(|start| value.starts_with(start)) {
        return false;
    }
    if shape.len < 15 || shape.is_monotonous() || is_placeholder(value) || is_uuid(bytes) {
        return false;
    }
    // An alphabet, or `a1b2c3d4`.
    let every_second = bytes.windows(3).filter(|w| w[0].wrapping_add(1) == w[2]).count();
    if shape.steps * 4 >= shape.len * 3 || every_second * 3 >= shape.len {
        return false;
    }
    if shape.hex {
        return shape.len >= 20 && shape.digits >= 2 && shape.letters() >= 2 && shape.entropy >= 2.8;
    }
    let separators = shape.len - shape.digits - shape.letters();
    // A date, a version, a telephone number.
    if shape.letters() * 4 < shape.digits && separators > 0 || shape.letters() < 2 {
        return false;
    }
    if shape.is_wordy() || is_path_of_names(value) || is_named_parts(value) {
        return false;
    }
    // A base64 of twenty characters has a digit, but for one in fifty.
    if shape.digits < if strict { 2 } else { 1 } && shape.len >= 20 {
        return false;
    }
    let mixed = shape.upper > 0 && shape.lower > 0;
    let enough = if strict { 3.4 } else { 3.2 };
    let changing = shape.changes * if strict { 4 } else { 6 } >= shape.len;
    let drawn = match shape.digits {
        0 => mixed && shape.changes * 3 >= shape.len && separators * 8 < shape.len,
        1 => mixed && changing,
        digits => mixed && changing || digits * 6 >= shape.len,
    };
    drawn && shape.entropy >= enough && shape.english < 0.3
}

/// `X25519.secret_length`, `app.keystore.file`: names that a point joins.
fn is_path_of_names(value: &str) -> bool {
    let names = || value.split(['.', '/']);
    names().count() >= 2
        && names().all(|n| n.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
        && names().any(|n| n.len() >= 3 && n.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
}

/// `cmp2-qat-1208358310`, `jjwt-jackson-0.11.2`, `rc0.13.0_20230412_0712-SNAPSHOT`: short parts, each of letters or of
/// digits or nearly so, with something between them.
fn is_named_parts(value: &str) -> bool {
    let parts = || value.split(['.', '/', '-', '_', '=', '+', '~']).filter(|p| !p.is_empty());
    let plain = |p: &str| {
        let shape = Shape::of(p.as_bytes());
        shape.changes <= 1 || p.len() <= 3 || shape.changes == 2 && shape.is_wordy()
    };
    let count = parts().count();
    count >= 3 && parts().filter(|p| plain(p)).count() * 5 >= count * 4 || count == 2 && parts().all(plain)
}

/// A password after `password:` and the like, or under such a key. People choose them, so no lot was drawn; but code,
/// placeholders and prose are not passwords.
fn password(check: &Check<'_>) -> Option<Verdict> {
    let (value, quoted) = delimited(check)?;
    let name = name_before(check);
    if check.start > 0 && says_of_a_password(&name) {
        return None;
    }
    // `DB_PASS=whiteduke` is one, and what has a digit or a mark in it.
    if check.start > 0 && name.contains("pass") && is_only_pass(&name) {
        let word = value.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
        if !name.ends_with("pass") || word && !is_line_of_its_own(check, value) {
            return None;
        }
    }
    is_chosen(check, value, quoted).then(|| check.cut(value.len()))
}

/// A name that has the word in it, and names something else; or that has `pass` in it, which has other meanings.
fn says_of_a_password(name: &str) -> bool {
    const LAST: &[&str] = &[
        "age",
        "at",
        "changed",
        "count",
        "date",
        "env",
        "error",
        "errors",
        "expires",
        "field",
        "file",
        "form",
        "hash",
        "hasher",
        "hashers",
        "hashes",
        "help_text",
        "hint",
        "id",
        "incorrect",
        "input",
        "invalid",
        "label",
        "length",
        "max",
        "message",
        "min",
        "mismatch",
        "name",
        "path",
        "pattern",
        "placeholder",
        "policy",
        "prompt",
        "regex",
        "required",
        "reset",
        "strength",
        "template",
        "text",
        "time",
        "title",
        "type",
        "uri",
        "url",
        "used",
        "validator",
        "validators",
        "variable",
        "view",
    ];
    let name = name.rsplit('.').next().unwrap_or(name);
    name.is_empty() || LAST.iter().any(|word| name.strip_suffix(word).is_some_and(|rest| !rest.is_empty()))
}

/// A name with nothing but `pass` in it: `DB_PASS`, but `anyPass` and `bypass` too, and `passed`.
fn is_only_pass(name: &str) -> bool {
    const WORDS: &[&str] =
        &["passw", "passphrase", "passcode", "pwd", "secret", "wachtwoord", "kennwort", "contrase", "mot"];
    name.is_ascii() && !WORDS.iter().any(|word| name.contains(word))
}

/// A password after `password is`: in prose, so that a word alone is none unless it is quoted.
fn password_words(check: &Check<'_>) -> Option<Verdict> {
    let (value, quoted) = delimited(check)?;
    let word = value.bytes().all(|b| b.is_ascii_alphabetic());
    (quoted || !word && value.bytes().any(|b| b.is_ascii_digit() || b.is_ascii_punctuation()))
        .then_some(())
        .filter(|()| is_chosen(check, value, quoted))
        .map(|()| check.cut(value.len()))
}

/// What the candidate's quotes enclose, or the whole text under a key, or up to where an unquoted word ends; and
/// whether it was enclosed.
fn delimited<'a>(check: &Check<'a>) -> Option<(&'a str, bool)> {
    let value = check.value();
    let before = check.before();
    let Some(&last) = before.last() else {
        return if check.end == check.text.len() { Some((value, true)) } else { unquoted(value) };
    };
    if !is_quote(last) {
        return unquoted(value);
    }
    if before.ends_with(b"\\\"") || before.ends_with(b"\\'") {
        return value.find('\\').map(|end| (&value[..end], true));
    }
    // Two of one kind enclose nothing; of different kinds, the outer may be the one that counts.
    let quotes = before.iter().rev().take_while(|&&b| is_quote(b)).count();
    if quotes == 2 && before.ends_with(&[last, last]) {
        return None;
    }
    // A pattern may have stopped before the quote.
    let closed = check.after(check.end).first().is_some_and(|&b| is_quote(b));
    let value = if closed { &check.text[check.start..=check.end] } else { value };
    let closed_by = |quote: u8| {
        let mut skip = false;
        value.bytes().position(|b| {
            let ends = b == quote && !skip;
            skip = b == b'\\' && !skip;
            ends
        })
    };
    let end = before.iter().rev().take(quotes).find_map(|&quote| closed_by(quote))?;
    Some((&value[..end], true))
}

fn is_quote(b: u8) -> bool {
    matches!(b, b'"' | b'\'' | b'`')
}

fn unquoted(value: &str) -> Option<(&str, bool)> {
    let end = value.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | ',' | ';' | '\\'));
    let value = &value[..end.unwrap_or(value.len())];
    // `password=sesame&next=home`
    let next = value.match_indices('&').find(|&(at, _)| {
        let rest = value[at + 1..].trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        rest.starts_with('=') && rest.len() < value.len() - at - 1
    });
    let value = &value[..next.map_or(value.len(), |(at, _)| at)];
    Some((value.trim_end_matches(['.', ')', ']', '}', '!', '?', '&', '|', ':']), false))
}

/// A line with nothing but a name, `=` and the value, as in files of settings; not indented, as code often is.
fn is_line_of_its_own(check: &Check<'_>, value: &str) -> bool {
    let before = check.before();
    let line = &before[before.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1)..];
    let after = check.after(check.start + value.len());
    let rest = after.iter().position(|b| !matches!(b, b' ' | b'\r')).map_or(b'\n', |i| after[i]);
    let line = line.trim_ascii_end();
    line.ends_with(b"=")
        && !line.starts_with(b" ")
        && line[..line.len() - 1]
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b' ' | b'#'))
        && matches!(rest, b'\n' | b'#')
}

/// What forms, schemas, code and documentation write where a password would stand.
fn is_chosen(check: &Check<'_>, value: &str, quoted: bool) -> bool {
    const NOT: &[&str] = &[
        "admin_password",
        "blank",
        "bool",
        "boolean",
        "bytes",
        "char",
        "default",
        "disabled",
        "empty",
        "enabled",
        "false",
        "field",
        "hidden",
        "input",
        "invalid",
        "label",
        "missing",
        "new_password",
        "nil",
        "none",
        "not-set",
        "null",
        "object",
        "optional",
        "options",
        "passphrase",
        "passwd",
        "password",
        "password1",
        "password2",
        "passwords",
        "pwd",
        "required",
        "reset",
        "secret",
        "self",
        "str",
        "string",
        "text",
        "this",
        "true",
        "undefined",
        "user",
        "username",
        "value",
        "varchar",
    ];
    let lower = value.to_ascii_lowercase();
    let code = value.starts_with(['$', '<', '{', '%', '(', '[', '*', '&', '#', '@'])
        || value.contains("${")
        || value.contains("#{")
        || value.contains("{{")
        || value.contains("()")
        || ["env.", "environ", "config.", "getenv", "settings.", "request."].iter().any(|w| lower.contains(w))
        || (!quoted && (value.contains(['(', '[', '{']) || value.contains("->") || value.contains("::")))
        || (!quoted && is_path_of_names(value) && !value.contains('/'));
    if value.len() < 4 || code || is_placeholder(value) || NOT.contains(&lower.as_str()) {
        return false;
    }
    let shape = Shape::of(value.as_bytes());
    if shape.distinct < 3 || value.bytes().all(|b| b.is_ascii_punctuation()) {
        return false;
    }
    // The markup of documentation: `:type password: :py:data:`.
    if !quoted && check.before().ends_with(b" :") {
        return false;
    }
    // A label, a sentence: more than four words.
    if value.split(' ').count() > 4
        || value.contains(['\n', '\t', '\\']) && value.contains(' ')
        || value.contains(['\n', '\t'])
        || value.ends_with([':', '?']) && value.contains(' ')
    {
        return false;
    }
    // A version, a date; and what is given to a server that lets everybody in (RFC 1635).
    let version = value.trim_start_matches(['^', '~', 'v', '=', '>', '<']);
    let numbers = version.bytes().all(|b| b.is_ascii_digit() || b == b'.') && version.contains('.');
    let date = value.len() >= 10
        && value.bytes().take(10).eq(value.bytes().take(10).enumerate().map(|(i, b)| {
            if matches!(i, 4 | 7) {
                b'-'
            } else if b.is_ascii_digit() {
                b
            } else {
                0
            }
        }));
    let folder = value.starts_with('/') && shape.digits == 0;
    if numbers || date || folder || value.ends_with('@') {
        return false;
    }
    let letters_only = shape.letters() == shape.len;
    let says_so = lower.contains("passw") || lower.contains("pwd");
    if quoted {
        return !(letters_only && says_so);
    }
    // `password: hunter2` is one, and `password=sesame`; `password: please` is prose, `password = raw_password` is code,
    // `password: WS_STRING` and `password: u32` are types.
    let constant = shape.lower == 0 && shape.upper > 0 && value.contains('_');
    let hexadecimal = lower.starts_with("0x");
    let number = shape.digits > 0
        && lower.trim_end_matches(|c: char| c.is_ascii_digit()).ends_with(['u', 'i', 'f'])
        && lower.bytes().filter(u8::is_ascii_alphabetic).count() == 1;
    // `PWD=/home/jo`
    let path = value.starts_with(['/', ':']) || value.starts_with("~/");
    let after = check.after(check.start + value.len()).first().copied().unwrap_or(b' ');
    let listed = shape.digits == shape.len && after == b',';
    if constant || hexadecimal || number || path || listed || value.starts_with("__") {
        return false;
    }
    if is_line_of_its_own(check, value) {
        return true;
    }
    let humps = value.as_bytes().windows(2).any(|w| w[0].is_ascii_lowercase() && w[1].is_ascii_uppercase());
    let name = value.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    if !name {
        return true;
    }
    let pair = check.before().ends_with(b"=") && matches!(after, b' ' | b'\n' | b'\r' | b'&' | b';');
    pair && shape.len >= 6 && shape.upper == 0 && !says_so && !humps
}

/// RFC 3849: addresses that only documentation has.
const DOCUMENTATION: &str = "@[2001:db8:";

/// The password in a URL. Whatever stands there is one, except what a program would put there.
fn url_password(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value();
    let template = value.starts_with(['$', '<', '{', '*', '%', '['])
        || value.contains('{')
        || value.contains("...")
        || Shape::of(value.as_bytes()).distinct < 2
        || check.text[check.end..].starts_with(DOCUMENTATION)
        || matches!(value, "pass" | "password" | "passwd" | "pwd")
            && ["user:", "username:", "login:"].iter().any(|user| check.before().ends_with(user.as_bytes()));
    (!template).then(|| check.keep())
}

/// A connection string: the password in it is one.
fn connection_string(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value().trim_end_matches([';', ',', '.', ' ']);
    let lower = value.to_ascii_lowercase();
    const NAMES: &[&str] = &["password", "pwd", "accountkey", "sharedaccesskey", "sharedsecretvalue", "secret"];
    let secret = match value.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')) {
        Some((user, _)) => user.split_once(':')?.1,
        None => NAMES.iter().find_map(|name| {
            lower.match_indices(name).find_map(|(at, _)| {
                let rest = value[at + name.len()..].trim_start().strip_prefix('=')?;
                Some(rest.trim_start().split(';').next().unwrap_or_default())
            })
        })?,
    };
    let template = secret.starts_with(['$', '<', '{', '*', '%', '[', '#', '('])
        || value.contains(DOCUMENTATION)
        || secret.contains('{')
        || secret.contains("...")
        || secret.len() < 3
        || Shape::of(secret.as_bytes()).distinct < 2;
    (!template && !is_placeholder(secret)).then(|| check.cut(value.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Check<'_> {
        Check { text, start: 0, end: text.len(), context: false, least: 0.0 }
    }

    #[test]
    fn a_prefix_without_its_form_is_no_token() {
        for specimen in [
            "px-api-a1b2c3d4-e5f6-g7h8-i8j0-k0l3m3n4o0p5",
            "hvb.JGbZZaCkOSgsZ56uhGlTK2z",
            "r.Z4bTMtngfLeQ18AqVoBBkUAOD1",
        ] {
            assert!(is_specimen(specimen), "{specimen}");
        }
        for token in [
            "px-api-0c6f2e1a-9d3b-4c5e-8f7a-1b2c3d4e5f60",
            "s.ZC9Ecf4M5g9o34Q6RkzGsj0z",
            "b.AAAAAQJgxDgqsGNorpoOR8hPZ5SU",
        ] {
            assert!(!is_specimen(token), "{token}");
        }
    }

    #[test]
    fn crc32_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_checksum_notices_every_other_character() {
        let body = "0123456789abcdefghijABCDEFGHIJ";
        let mut crc = crc32(body.as_bytes());
        let mut digits = [0u8; 6];
        for digit in digits.iter_mut().rev() {
            *digit = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[(crc % 62) as usize];
            crc /= 62;
        }
        let token = format!("ghp_{body}{}", std::str::from_utf8(&digits).expect("base62 is ASCII"));
        assert!(has_crc32(&token));
        for i in 4..token.len() {
            let mut other = token.clone().into_bytes();
            other[i] = if other[i] == b'z' { b'y' } else { b'z' };
            assert!(!has_crc32(std::str::from_utf8(&other).expect("ASCII")), "{i}");
        }
    }

    #[test]
    fn a_jwt_has_a_header_that_names_an_algorithm() {
        // {"alg":"HS256","typ":"JWT"}, {"typ": "TCV2"}, {"a
        assert!(jwt(&check("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.c2ln")).is_some());
        assert!(jwt(&check("eyJ0eXAiOiAiVENWMiJ9.RkNWLXdXS3M1.OGY1OWRk")).is_none());
        assert!(jwt(&check("eyJh.eyJh.eyJh")).is_none());
        assert!(jwt(&check("")).is_none());
    }

    #[test]
    fn what_was_drawn_is_told_from_names() {
        for drawn in [
            "2df902a7f9a9f19edd44335fe1468dab",
            "Hlf09f7tq6oDR5NDby3tv5E73t7Y3lQy1Kgm",
            "KiXr4PZ9lVFpR9s1b7Aglass",
            "zZRnQ5Te0K0zwqXsHhnzIeDHa7cXMd5d",
            "d9T8HJIbPMoCfib7UVCij8j852WWQawE",
        ] {
            assert!(is_drawn(drawn, true), "{drawn}");
        }
        for name in [
            "Befaehigung_P2_and_more_of_it",
            "KeyBoundaryDescriptionForTesting",
            "PdfEncryptionKeySize.Key128Bit",
            "X25519.secret_length",
            "cmp2-qat-1208358310",
            "550e8400-e29b-41d4-a716-446655440000",
            "io.jsonwebtoken:jjwt-jackson-0.11.2",
            "rc0.13.0_20230412_0712-SNAPSHOT",
            "s_rsa1024_priv.pem",
            "YOUR_TOKEN_1234567890",
            "xxxxxxxxxxxxxxxxxxxxxxxx1A",
            "2024-01-02T03:04:05",
            "",
        ] {
            assert!(!is_drawn(name, false), "{name}");
        }
    }

    /// What `validate` leaves of what follows `mark` in `text`.
    fn after<'a>(text: &'a str, mark: &str, validate: Validator) -> Option<&'a str> {
        let start = text.find(mark).expect("the mark stands in the text") + mark.len();
        let verdict = validate(&Check { text, start, end: text.len(), context: true, least: 0.0 })?;
        Some(&text[verdict.start..verdict.end])
    }

    #[test]
    fn a_name_may_say_that_its_value_is_no_secret() {
        const DRAWN: &str = "9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit";
        for name in ["api_key", "clientSecret", "TOKEN", "signing-key"] {
            assert!(after(&format!("{name} = {DRAWN}"), " = ", secret).is_some(), "{name}");
        }
        for name in ["public_key", "cacheKey", "csrf-token", "credentialsId", "userSecretsId", "token_url", "key_name"]
        {
            assert!(after(&format!("{name} = {DRAWN}"), " = ", secret).is_none(), "{name}");
        }
    }

    #[test]
    fn passwords_are_told_from_code_and_prose() {
        for (text, expected) in [
            ("password = 'open sesame'", "open sesame"),
            ("password='`123QWERasdf'", "`123QWERasdf"),
            ("password=sesame&x=y", "sesame"),
            ("password=hunter2)", "hunter2"),
        ] {
            let mark = if text.contains('\'') { "='" } else { "=" };
            let mark = if text.contains("= '") { "= '" } else { mark };
            assert_eq!(after(text, mark, password), Some(expected), "{text}");
        }
        for text in [
            "self.password=raw_password,",
            "x.password=getPassword;",
            "password=None):",
            "password=${PW}",
            "password=u32,",
            "password=WS_STRING,",
            "any_pass=overEvery,",
            "pwd=/home/jo",
            "password_hash=x9y8z7w6",
            "password=********",
        ] {
            assert_eq!(after(text, "=", password), None, "{text}");
        }
        assert_eq!(after("(user = \"\", password = \"\", domain = \"\")", "password = \"\"", password), None);
    }

    #[test]
    fn a_connection_string_has_a_password_that_is_no_template() {
        for text in ["postgres://jo:s2Tf2k@rLMy@db/x", "Server=a;Uid=jo;Pwd=q8R4nZt2;", "A=b;AccountKey=q8R4nZt2"] {
            assert!(connection_string(&check(text)).is_some(), "{text}");
        }
        for text in ["postgres://jo:${PW}@db/x", "amqp://jo:****@db", "Server=a;Pwd={0};", "Server=a;Uid=jo", "a://b"] {
            assert!(connection_string(&check(text)).is_none(), "{text}");
        }
    }

    #[test]
    fn a_quoted_password_ends_with_its_quote() {
        let text = "password = \"hun ter2\" and more";
        let found = password(&Check { text, start: 12, end: text.len(), context: true, least: 0.0 });
        assert_eq!(found.map(|v| &text[v.start..v.end]), Some("hun ter2"));
    }

    #[test]
    fn foreign_bytes_do_not_panic() {
        for text in ["é", "\"é", "-----BEGIN é", "://é:@", "password=é", "eyJ.é", "=;é", "pwd"] {
            for (start, _) in text.char_indices() {
                let check = Check { text, start, end: text.len(), context: false, least: 0.0 };
                for name in [
                    "connection_string",
                    "github_token",
                    "jwt",
                    "password",
                    "password_words",
                    "private_key",
                    "provider_key",
                    "provider_value",
                    "random",
                    "secret",
                    "secret_strict",
                    "secret_text",
                    "secret_uuid",
                    "url_password",
                ] {
                    by_name(name).expect("it is registered")(&check);
                }
            }
        }
    }
}
