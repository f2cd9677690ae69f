//! What people call themselves online.

use crate::validate::{Check, Validator, Verdict};

pub(super) fn by_name(name: &str) -> Option<Validator> {
    Some(match name {
        "handle" => handle,
        "profile" => profile,
        "username" => username,
        "username_in_prose" => username_in_prose,
        _ => return None,
    })
}

/// What stands under `username` in documentation, forms and programs.
const NOBODY: &[&str] = &[
    "admin",
    "and",
    "anonymous",
    "any",
    "are",
    "as",
    "at",
    "bool",
    "boolean",
    "by",
    "char",
    "default",
    "email",
    "empty",
    "enter",
    "example",
    "expired",
    "false",
    "field",
    "for",
    "form",
    "from",
    "guest",
    "has",
    "here",
    "in",
    "input",
    "int",
    "integer",
    "invalid",
    "is",
    "it",
    "login",
    "logout",
    "me",
    "missing",
    "must",
    "my",
    "name",
    "nil",
    "nobody",
    "none",
    "not",
    "null",
    "number",
    "object",
    "of",
    "on",
    "one",
    "or",
    "optional",
    "password",
    "placeholder",
    "please",
    "required",
    "root",
    "self",
    "str",
    "string",
    "system",
    "taken",
    "test",
    "text",
    "that",
    "the",
    "this",
    "to",
    "true",
    "undefined",
    "unique",
    "unknown",
    "user",
    "user_name",
    "userid",
    "username",
    "value",
    "varchar",
    "was",
    "with",
    "you",
    "your",
    "your_username",
    "yourname",
    "yours",
    "yourusername",
];

fn is_nobody(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let last = lower.rsplit(['.', '_']).next().unwrap_or_default();
    let role = lower.contains("user") && !lower.bytes().any(|b| b.is_ascii_digit());
    NOBODY.contains(&lower.as_str())
        || NOBODY.contains(&last)
        || role
        || lower.starts_with("your")
        || lower.bytes().all(|b| b == b'x' || b == b'*')
}

/// One word that is not one of those, not a path of names, not an expression.
fn username(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value().trim_end_matches(['.', '-', '_']);
    let after = check.after(check.start + value.len());
    let code = matches!(after, [b'(' | b'[' | b'{' | b'=' | b'@' | b'/' | b'\\', ..] | [b'.' | b':', b'a'..=b'z' | b'A'..=b'Z' | b':', ..]);
    // `u32`, `EVT_LOGIN_CLASS`, `PVOID`, `Regex = …`: a type, a constant; `https:`, the beginning of an address.
    let quoted = matches!(check.before().last(), Some(b'"' | b'\'' | b'`'));
    let capitals = value.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let type_name =
        matches!(value, "u8" | "u16" | "u32" | "u64" | "i8" | "i16" | "i32" | "i64" | "usize" | "f32" | "f64")
            || !quoted && (capitals || matches!(after, [b' ', b'=', ..]))
            || matches!(after, [b'<', ..] | [b':', b'/' | b':' | b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9', ..]);
    let enough = !type_name && value.len() >= 3 && value.bytes().any(|b| b.is_ascii_alphabetic());
    (enough && !code && !is_nobody(value.trim_start_matches('@'))).then(|| check.cut(value.len()))
}

/// The same in a sentence, where a word may follow that is no name: it must look like one, or somebody must say whose.
fn username_in_prose(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value();
    let before = check.before();
    let quoted = matches!(before.last(), Some(b'"' | b'\'' | b'`' | b'@'));
    let made_up = value.bytes().any(|b| b.is_ascii_digit() || matches!(b, b'_' | b'@'))
        || value.trim_end_matches('.').contains('.');
    let tail = before[before.len().saturating_sub(28)..].to_ascii_lowercase();
    let whose =
        [&b"my "[..], b"his ", b"her ", b"their ", b"'s "].iter().any(|w| tail.windows(w.len()).any(|part| part == *w));
    if quoted || made_up || whose { username(check) } else { None }
}

/// An at sign and a name; not the beginning of a path, a mailbox or an expression in code.
fn handle(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value().trim_end_matches(['.', '_']);
    let end = check.start + value.len();
    let joined = matches!(check.before().last(), Some(b) if b.is_ascii_alphanumeric() || !b.is_ascii() || matches!(b, b'.' | b'_' | b'-' | b'/' | b'@'))
        || matches!(check.after(end), [b'/' | b'(' | b'@' | b'=' | b'\\' | b':' | b'"', b, ..] if *b != b' ' && *b != b'\n')
        || matches!(check.after(end), [b'-' | b'.', b, ..] if b.is_ascii_alphanumeric());
    let name = value.get(1..)?;
    (name.len() >= 2 && name.bytes().any(|b| b.is_ascii_alphabetic()) && !joined && !is_nobody(name))
        .then(|| check.cut(value.len()))
}

/// The pages of social networks that belong to nobody.
const PAGES: &[&str] = &[
    "about",
    "accounts",
    "ads",
    "api",
    "apps",
    "blog",
    "business",
    "channel",
    "company",
    "contact",
    "dialog",
    "developers",
    "discover",
    "docs",
    "download",
    "events",
    "explore",
    "features",
    "feed",
    "gaming",
    "groups",
    "hashtag",
    "help",
    "home",
    "i",
    "in",
    "intent",
    "jobs",
    "join",
    "legal",
    "live",
    "login",
    "logout",
    "marketplace",
    "messages",
    "messenger",
    "news",
    "notifications",
    "oauth",
    "orgs",
    "p",
    "page",
    "pages",
    "photo",
    "photos",
    "plugins",
    "policies",
    "posts",
    "press",
    "pricing",
    "privacy",
    "pub",
    "pulse",
    "reel",
    "reels",
    "search",
    "security",
    "settings",
    "share",
    "sharer",
    "signup",
    "sponsors",
    "status",
    "stories",
    "terms",
    "topics",
    "tos",
    "trending",
    "tv",
    "video",
    "videos",
    "watch",
    "web",
];

/// The name in the address of a profile; not the network's own pages, and not what has more path behind it on networks
/// where that is a project.
fn profile(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value().trim_end_matches(['.', '-', '_']);
    let after = check.after(check.start + value.len());
    let lower = value.to_ascii_lowercase();
    let file = matches!(after, [b'/', b, ..] if b.is_ascii_alphanumeric())
        || matches!(after, [b'.', b, ..] if b.is_ascii_alphanumeric());
    let before = check.before();
    let forge = [&b"github.com/"[..], b"gitlab.com/", b"bitbucket.org/"].iter().any(|f| before.ends_with(f));
    let reserved = PAGES.contains(&lower.as_str()) || lower.ends_with(".php") || is_nobody(value);
    if reserved || forge && file || value.len() < 2 {
        return None;
    }
    // An organization has a page there as often as a person.
    Some(if forge { Verdict { score: Some(0.4), ..check.cut(value.len()) } } else { check.cut(value.len()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::global::tests::verdict;

    #[test]
    fn nobody_is_called_required() {
        assert_eq!(verdict(username, "jdoe_77."), Some(("jdoe_77", None)));
        for bad in ["required", "null", "xxxx", "12345", "your_name_here"] {
            assert_eq!(verdict(username, bad), None, "{bad}");
        }
        assert!(verdict(handle, "@jack").is_some());
        assert!(verdict(handle, "@your_handle").is_none());
        assert!(verdict(profile, "jane-doe").is_some());
        assert!(verdict(profile, "explore").is_none());
    }
}
