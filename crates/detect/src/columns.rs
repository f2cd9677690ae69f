//! Tables in text: what a column is called is context for what stands in it. CSV and its relatives, Markdown, and SQL's
//! `INSERT`.

use std::cell::Cell;

use crate::lexicon::Lexicon;

/// No line of a table, and no row of an `INSERT`, is looked at further than this.
const LINE_MAX: usize = 4096;
/// A column is called something shorter.
const HEAD_MAX: usize = 48;
/// More columns than anybody reads.
const COLUMNS_MAX: usize = 256;

/// The words of context in each column's head.
pub(crate) struct Columns {
    heads: Vec<Vec<u16>>,
    form: Form,
    /// The row that was looked at last.
    row: Cell<Row>,
}

/// A row, and whether it has as many cells as there are heads.
#[derive(Clone, Copy, Default)]
struct Row {
    begin: usize,
    end: usize,
    fits: bool,
}

#[derive(Clone, Copy)]
enum Form {
    /// Rows are lines, after the one that ends here.
    Lines { delimiter: u8, begin: usize },
    /// Rows are in parentheses, after this place.
    Rows { begin: usize },
}

impl Columns {
    /// Of a text that is a table or begins with one, or that has rows to insert.
    pub(crate) fn of(text: &str, lexicon: &Lexicon) -> Option<Columns> {
        lines(text, lexicon).or_else(|| insert(text, lexicon))
    }

    /// The same when so many bytes are cut off before the text.
    pub(crate) fn shifted(mut self, bytes: usize) -> Columns {
        let (Form::Lines { begin, .. } | Form::Rows { begin }) = &mut self.form;
        *begin = begin.saturating_sub(bytes);
        self.row = Cell::default();
        self
    }

    /// The words of the head over the place `at`.
    pub(crate) fn over(&self, text: &str, at: usize) -> &[u16] {
        let bytes = text.as_bytes();
        let (Form::Lines { begin, .. } | Form::Rows { begin }) = self.form;
        if at < begin {
            return &[];
        }
        let delimiter = if let Form::Lines { delimiter, .. } = self.form { delimiter } else { b',' };
        // Most places lie in the row that was looked at last.
        let mut row = self.row.get();
        if !(row.begin..row.end).contains(&at) {
            row = self.row_around(bytes, at, begin, delimiter);
            self.row.set(row);
        }
        if !row.fits {
            return &[];
        }
        let column = cells(&bytes[row.begin..at], delimiter).count() - 1;
        self.heads.get(column).map_or(&[], Vec::as_slice)
    }

    fn row_around(&self, bytes: &[u8], at: usize, begin: usize, delimiter: u8) -> Row {
        let least = at.saturating_sub(LINE_MAX).max(begin);
        let most = bytes.len().min(at + LINE_MAX);
        match self.form {
            Form::Lines { .. } => {
                let begin = memchr::memrchr(b'\n', &bytes[least..at]).map_or(least, |i| least + i + 1);
                let end = memchr::memchr(b'\n', &bytes[at..most]).map_or(most, |i| at + i);
                let fits = cells(&bytes[begin..end], delimiter).count() == self.heads.len();
                Row { begin, end: end.max(at + 1), fits }
            }
            Form::Rows { .. } => {
                let open = memchr::memrchr(b'(', &bytes[least..at]).map(|i| least + i + 1);
                let end = memchr::memchr(b')', &bytes[at..most]).map_or(most, |i| at + i);
                Row { begin: open.unwrap_or(at), end: end.max(at + 1), fits: open.is_some() }
            }
        }
    }
}

/// The cells of a line, as ranges; a delimiter in quotes is none.
fn cells(line: &[u8], delimiter: u8) -> impl Iterator<Item = (usize, usize)> + '_ {
    let mut begin = 0;
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let mut quote = None;
        for (i, &b) in line.iter().enumerate().skip(begin) {
            match (quote, b) {
                (Some(open), b) if b == open => quote = None,
                (Some(_), _) => {}
                (None, b'"' | b'\'') if line[begin..i].iter().all(u8::is_ascii_whitespace) => quote = Some(b),
                (None, b) if b == delimiter => {
                    let cell = (begin, i);
                    begin = i + 1;
                    return Some(cell);
                }
                _ => {}
            }
        }
        done = true;
        Some((begin, line.len()))
    })
}

fn heads(line: &str, delimiter: u8, lexicon: &Lexicon) -> Option<Vec<Vec<u16>>> {
    let heads: Vec<_> = cells(line.as_bytes(), delimiter)
        .take(COLUMNS_MAX)
        .map(|(from, to)| {
            lexicon
                .in_key(line[from..to].trim_matches(|c: char| c == '"' || c == '\'' || c == '`' || c.is_whitespace()))
        })
        .collect();
    heads.iter().any(|words| !words.is_empty()).then_some(heads)
}

const DELIMITERS: [u8; 4] = [b'\t', b';', b'|', b','];

fn lines(text: &str, lexicon: &Lexicon) -> Option<Columns> {
    let bytes = text.as_bytes();
    // Most texts do not begin with anything that is as short as a head.
    let begins = &bytes[..bytes.len().min(HEAD_MAX + 1)];
    if !begins.iter().any(|b| DELIMITERS.contains(b)) {
        return None;
    }
    let first = memchr::memchr(b'\n', &bytes[..bytes.len().min(LINE_MAX)])?;
    let second = &bytes[first + 1..];
    let second =
        &second[..memchr::memchr(b'\n', &second[..second.len().min(LINE_MAX)]).unwrap_or(second.len().min(LINE_MAX))];
    let head = text[..first].trim_end_matches('\r');
    // A head names; it has no numbers of its own.
    let digits = head.bytes().filter(u8::is_ascii_digit).count();
    if digits * 8 > head.len() {
        return None;
    }
    let third = bytes[first + 1..].get(second.len() + 1..).unwrap_or_default();
    let third =
        &third[..memchr::memchr(b'\n', &third[..third.len().min(LINE_MAX)]).unwrap_or(third.len().min(LINE_MAX))];
    DELIMITERS.into_iter().filter(|delimiter| begins.contains(delimiter)).find_map(|delimiter| {
        let count = cells(head.as_bytes(), delimiter).count();
        let fits = |line: &[u8]| cells(line, delimiter).count() == count;
        // Two lines of prose may have as many commas; three hardly, and no part of them is as short as a head.
        let short = cells(head.as_bytes(), delimiter).all(|(from, to)| to - from <= HEAD_MAX);
        if count < 2 || !short || !fits(second) || !third.is_empty() && !fits(third) {
            return None;
        }
        let heads = heads(head, delimiter, lexicon)?;
        Some(Columns { heads, form: Form::Lines { delimiter, begin: first + 1 }, row: Cell::default() })
    })
}

/// `INSERT INTO t (a, b) VALUES (…), (…)`.
fn insert(text: &str, lexicon: &Lexicon) -> Option<Columns> {
    let bytes = text.as_bytes();
    let values = |at: &usize| {
        bytes
            .get(at + 1..at + 8)
            .is_some_and(|mark| matches!(mark[0], b' ' | b'\n') && (mark[1..] == *b"VALUES" || mark[1..] == *b"values"))
    };
    let at = memchr::memchr_iter(b')', bytes).find(values)?;
    let open = at.saturating_sub(LINE_MAX) + memchr::memrchr(b'(', &bytes[at.saturating_sub(LINE_MAX)..at])?;
    let heads = heads(&text[open + 1..at], b',', lexicon)?;
    Some(Columns { heads, form: Form::Rows { begin: at + 1 }, row: Cell::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexicon::Builder;

    fn over(text: &str, value: &str) -> Vec<String> {
        let mut builder = Builder::default();
        builder.word("ssn");
        builder.word("phone");
        let lexicon = builder.build().unwrap();
        let at = text.find(value).unwrap();
        let words = Columns::of(text, &lexicon).map(|columns| columns.over(text, at).to_vec()).unwrap_or_default();
        words.into_iter().map(|word| lexicon.word(word).to_string()).collect()
    }

    #[test]
    fn a_head_is_over_its_column() {
        assert_eq!(over("name,customer_ssn,phone\nJo,123,456\nMa,124,457\n", "124"), ["ssn"]);
        assert_eq!(over("name;ssn\r\n\"Jo; the one\";123\r\n", "123"), ["ssn"]);
        assert_eq!(over("| name | SSN |\n|------|-----|\n| Jo | 123 |\n", "123"), ["ssn"]);
        assert_eq!(over("INSERT INTO t (name, ssn) VALUES ('Jo, the', '123'), ('Ma', '124')", "124"), ["ssn"]);
        assert!(over("name,ssn\nJo,123\n", "Jo").is_empty());
        assert!(over("Dear ssn, hello\nthis is no table 123", "123").is_empty());
    }
}
