//! From what somebody typed to an expression that FTS5 reads as we mean it.
//!
//! The expression has quoted strings, `AND`, `OR`, `NOT`, parentheses and stars, and all but what is inside the
//! quotes is ours. So no text is a syntax error, and none reaches FTS5's operators or column names.

use crate::text;

/// How much of a text is read. Whoever pastes a page gets what its beginning finds.
const QUERY_BYTES_MAX: usize = 4096;

/// How many words and phrases count; the rest is ignored.
const TERMS_MAX: usize = 64;

/// An expression.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expression {
    pub(crate) fts5: String,
    /// Whether it has `word*`, for which FTS5 does much work before the first result.
    pub(crate) prefix: bool,
}

/// Reads words (all of which must be there), `"quoted phrases"`, `-word` and `-"phrase"` (which must not), `word*`.
/// `None` if no word that can be searched is asked for.
pub(crate) fn expression(query: &str) -> Option<Expression> {
    let mut wanted = Vec::new();
    let mut unwanted = Vec::new();
    let mut prefix = false;
    let mut rest = &query[..query.floor_char_boundary(QUERY_BYTES_MAX)];
    while wanted.len() + unwanted.len() < TERMS_MAX {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c.is_control());
        if rest.is_empty() {
            break;
        }
        // Of `--flag` and of a dash alone, the dash is text.
        let minus = rest.strip_prefix('-').filter(|rest| rest.starts_with(|c: char| c == '"' || c.is_alphanumeric()));
        rest = minus.unwrap_or(rest);
        let term;
        if let Some(quoted) = rest.strip_prefix('"') {
            // A quote that is not closed goes to the end.
            (term, rest) = quoted.split_once('"').unwrap_or((quoted, ""));
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || c.is_control() || c == '"').unwrap_or(rest.len());
            (term, rest) = rest.split_at(end);
        }
        let (is_prefix, after) = match rest.strip_prefix('*') {
            Some(after) => (true, after),
            None => (term.ends_with('*'), rest),
        };
        rest = after;
        let Some(mut string) = string(term) else { continue };
        if is_prefix {
            string.push('*');
            prefix = true;
        }
        if minus.is_some() { &mut unwanted } else { &mut wanted }.push(string);
    }
    if wanted.is_empty() {
        return None;
    }
    let mut fts5 = wanted.join(" AND ");
    if !unwanted.is_empty() {
        fts5 = format!("({fts5}) NOT ({})", unwanted.join(" OR "));
    }
    Some(Expression { fts5, prefix })
}

/// FTS5's string, a phrase of the words that the tokenizer makes of it; `None` if it has none. What is indexed went
/// through the same [`text::push`].
fn string(term: &str) -> Option<String> {
    let mut cleaned = String::new();
    text::push(&mut cleaned, term, usize::MAX);
    let searchable = |c: char| c.is_alphanumeric() || matches!(c, '\u{e000}'..='\u{f8ff}');
    cleaned.contains(searchable).then(|| format!("\"{}\"", cleaned.trim_end().replace('"', "\"\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fts5(query: &str) -> String {
        expression(query).map(|expression| expression.fts5).unwrap_or_default()
    }

    #[test]
    fn reads_words_phrases_exclusions_and_prefixes() {
        assert_eq!(fts5("refund order"), r#""refund" AND "order""#);
        assert_eq!(fts5(r#"  "refund the  order" now"#), r#""refund the order" AND "now""#);
        assert_eq!(fts5(r#"a -b -"c d""#), r#"("a") NOT ("b" OR "c d")"#);
        assert_eq!(fts5(r#"ref* "the ord"*"#), r#""ref*"* AND "the ord"*"#);
        assert_eq!(fts5("[EMAIL_ADDRESS:k7f3q2ab]"), r#""[EMAIL_ADDRESS:k7f3q2ab]""#);
        assert_eq!(fts5("--flag a-b"), r#""--flag" AND "a-b""#);
    }

    #[test]
    fn takes_operators_for_words() {
        assert_eq!(
            fts5("a NOT b OR (c) NEAR(d e) body:x ^y"),
            r#""a" AND "NOT" AND "b" AND "OR" AND "(c)" AND "NEAR(d" AND "e)" AND "body:x" AND "^y""#
        );
        assert_eq!(fts5(r#"un"closed quote"#), r#""un" AND "closed quote""#);
    }

    #[test]
    fn finds_no_word_where_there_is_none() {
        for query in ["", "  ", "-", "*", "\"", "\"\"", "-secret", "*** ()", "\0\u{200b}"] {
            assert_eq!(expression(query), None, "{query:?}");
        }
    }

    #[test]
    fn ignores_what_is_too_much() {
        assert_eq!(fts5(&"word ".repeat(10_000)).matches("word").count(), TERMS_MAX);
        assert!(fts5(&"é".repeat(10_000)).len() <= QUERY_BYTES_MAX + 2);
    }
}
