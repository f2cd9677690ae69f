//! How the demo speaks: results on stdout, wrapped to the terminal, in the same words with and without colour.

use std::time::Duration;

use crate::failure::{Failure, Fault};
use crate::ui;

/// Wide enough for two columns beside each other.
const WIDTH_MAX: usize = 100;
const WIDTH_MIN: usize = 60;
/// Where what belongs to a label begins.
const INDENT: usize = 15;
/// How long the eye gets, on a terminal, for what it has just been shown.
const BREATH: Duration = Duration::from_millis(1000);
/// And for a claim.
const GLANCE: Duration = Duration::from_millis(250);
/// Between two pieces of a streamed answer.
const KEYSTROKE: Duration = Duration::from_millis(9);
/// A word that begins this close to the edge begins on the next line: when a piece comes, the rest of its word is not
/// known yet.
const LAST_WORD: usize = 12;

/// Marks inside of a text, none of which takes a place on the screen. They are characters for private use, so no text
/// of the demo has them.
const PERSONAL: char = '\u{e000}';
const TOKEN: char = '\u{e001}';
const STRONG: char = '\u{e002}';
const PLAIN: char = '\u{e003}';
/// A space at which no line is broken.
const HARD_SPACE: char = '\u{a0}';

/// Where the demo is played.
pub(super) struct Stage {
    width: usize,
    colour: bool,
    paced: bool,
    /// What is played, for whoever must be told that it failed.
    scene: &'static str,
    /// Values to be highlighted.
    personal: &'static [&'static str],
    /// Where the next piece of a streamed answer goes.
    column: usize,
}

impl Stage {
    pub(super) fn new(personal: &'static [&'static str]) -> Self {
        let terminal = ui::terminal();
        Self {
            width: terminal.width.unwrap_or(80).clamp(WIDTH_MIN, WIDTH_MAX),
            colour: terminal.colour,
            paced: terminal.width.is_some(),
            scene: "the beginning",
            personal,
            column: 0,
        }
    }

    /// Begins a scene.
    pub(super) async fn scene(&mut self, number: usize, title: &'static str) -> Result<(), Failure> {
        self.breathe().await;
        self.scene = title;
        ui::result("")?;
        self.show(&format!("{STRONG}{number}. {title}{PLAIN}"))
    }

    /// What a failure is for the demo: ours, unless the surroundings are at fault.
    pub(super) fn failed(&self, failure: Failure) -> Failure {
        let message = format!("the demo failed at \u{201c}{}\u{201d}: {failure}", self.scene);
        if failure.fault == Fault::Environment { Failure::environment(message) } else { Failure::internal(message) }
    }

    /// Gives the eye time.
    pub(super) async fn breathe(&self) {
        self.wait(BREATH).await;
    }

    async fn wait(&self, time: Duration) {
        if self.paced {
            tokio::time::sleep(time).await;
        }
    }

    /// Tells something.
    pub(super) fn say(&self, text: &str) -> Result<(), Failure> {
        self.block("  ", "  ", text)
    }

    /// One of several things.
    pub(super) fn item(&self, sign: &str, text: &str) -> Result<(), Failure> {
        let first = format!("    {sign} ");
        self.block(&first, &" ".repeat(places(&first)), &self.marked(text))
    }

    /// A title that is no scene.
    pub(super) fn title(&self, text: &str) -> Result<(), Failure> {
        self.show(&format!("{STRONG}{text}{PLAIN}"))
    }

    /// A command that would show the same.
    pub(super) fn command(&self, command: &str) -> Result<(), Failure> {
        self.show(&format!("  $ {STRONG}{command}{PLAIN}"))
    }

    /// Something with a name, in one line however long: somebody may want to copy it.
    pub(super) fn verbatim_named(&self, name: &str, text: &str) -> Result<(), Failure> {
        ui::result(format!("{}{text}", label(name)))
    }

    /// A line as it is, however long: somebody may want to copy it.
    pub(super) fn verbatim(&self, text: &str) -> Result<(), Failure> {
        ui::result(format!("      {text}"))
    }

    /// Something with a name.
    pub(super) fn named(&self, name: &str, text: &str) -> Result<(), Failure> {
        self.block(&label(name), &label(""), &self.marked(text))
    }

    /// What went over the wire, and what the log holds of it: beside each other where there is room.
    pub(super) fn compare(&self, name: &str, sent: &str, held: &str) -> Result<(), Failure> {
        let (sent, held) = (self.marked(sent), self.marked(held));
        if self.width < WIDTH_MAX {
            self.block(&label(name), &label(""), &sent)?;
            return self.block(&label("  the log"), &label(""), &held);
        }
        let half = (self.width - 5) / 2;
        let (left, right) = (wrap(&sent, half), wrap(&held, half));
        self.show(&format!("  {STRONG}{name:half$}{PLAIN}   {STRONG}the log has{PLAIN}"))?;
        for row in 0..left.len().max(right.len()) {
            let left = left.get(row).map_or("", String::as_str);
            let right = right.get(row).map_or("", String::as_str);
            let gap = " ".repeat(half.saturating_sub(places(left)));
            self.show(&format!("  {left}{gap} \u{2502} {right}"))?;
        }
        Ok(())
    }

    /// Says what was expected and is so; fails where it is not.
    pub(super) async fn expect(&self, holds: bool, claim: &str) -> Result<(), Failure> {
        self.wait(GLANCE).await;
        if holds {
            return self.block(&format!("  {TOKEN}\u{2713}{PLAIN} "), "    ", claim);
        }
        self.block(&format!("  {PERSONAL}\u{2717}{PLAIN} "), "    ", &format!("NOT SO: {claim}"))?;
        Err(Failure::internal(format!("it is not so that {claim}")))
    }

    /// Shows a piece of an answer while it is streamed. Without a terminal, [`Stage::streamed`] shows the whole.
    pub(super) async fn piece(&mut self, name: &str, piece: &str) -> Result<(), Failure> {
        if !self.paced {
            return Ok(());
        }
        let mut out = String::new();
        if self.column == 0 {
            out.push_str(&label(name));
            self.column = INDENT;
        }
        for c in ui::plain(piece).chars() {
            if c == ' ' && self.column + LAST_WORD > self.width {
                out.push('\n');
                out.push_str(&label(""));
                self.column = INDENT;
            } else {
                out.push(c);
                self.column += 1;
            }
        }
        ui::raw(out.as_bytes())?;
        self.wait(KEYSTROKE).await;
        Ok(())
    }

    /// Ends what [`Stage::piece`] showed.
    pub(super) fn streamed(&mut self, name: &str, whole: &str) -> Result<(), Failure> {
        if !self.paced {
            return self.named(name, whole);
        }
        self.column = 0;
        ui::result("")
    }

    fn block(&self, first: &str, others: &str, text: &str) -> Result<(), Failure> {
        let mut before = first;
        for line in wrap(text, self.width - places(others)) {
            self.show(&format!("{before}{line}"))?;
            before = others;
        }
        Ok(())
    }

    /// Prints a line, with its marks as colours or without them.
    fn show(&self, line: &str) -> Result<(), Failure> {
        let mut out = String::new();
        for c in line.chars() {
            let code = match c {
                PERSONAL => "\x1b[31m",
                TOKEN => "\x1b[32m",
                STRONG => "\x1b[1m",
                PLAIN => "\x1b[0m",
                HARD_SPACE => {
                    out.push(' ');
                    continue;
                }
                c => {
                    out.push(c);
                    continue;
                }
            };
            if self.colour {
                out.push_str(code);
            }
        }
        ui::result(out.trim_end())
    }

    /// Marks personal values and the tokens that stand for them.
    fn marked(&self, text: &str) -> String {
        let mut text = ui::plain(text);
        for value in self.personal {
            let unbroken: String = value.chars().map(|c| if c == ' ' { HARD_SPACE } else { c }).collect();
            text = text.replace(value, &format!("{PERSONAL}{unbroken}{PLAIN}"));
        }
        let mut marked = String::new();
        let mut rest = text.as_str();
        while let Some(start) = rest.find('[') {
            marked.push_str(&rest[..start]);
            rest = &rest[start..];
            match rest.find(']').filter(|&end| is_token(&rest[1..end])) {
                Some(end) => {
                    marked.push_str(&format!("{TOKEN}{}{PLAIN}", &rest[..=end]));
                    rest = &rest[end + 1..];
                }
                None => {
                    marked.push('[');
                    rest = &rest[1..];
                }
            }
        }
        marked + rest
    }
}

fn label(name: &str) -> String {
    format!("  {name:0$}", INDENT - 2)
}

/// `ENTITY:token`
fn is_token(text: &str) -> bool {
    text.split_once(':').is_some_and(|(entity, token)| {
        entity.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            && token.len() == 8
            && token.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    })
}

/// How many places a text takes on the screen.
fn places(text: &str) -> usize {
    text.chars().filter(|&c| !(PERSONAL..=PLAIN).contains(&c)).count()
}

/// Breaks a text into lines at spaces and, because JSON need not have any, after commas; at the edge where it must.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for piece in text.split_inclusive([' ', ',']) {
        if !line.is_empty() && places(&line) + places(piece.trim_end()) > width {
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
        }
        let piece = if line.is_empty() && !lines.is_empty() { piece.trim_start_matches(' ') } else { piece };
        for c in piece.chars() {
            if c != ' ' && places(&line) >= width {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    lines.push(line.trim_end().to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(colour: bool) -> Stage {
        Stage { width: 80, colour, paced: false, scene: "", personal: &["4111 1111"], column: 0 }
    }

    #[test]
    fn lines_are_broken_at_spaces_and_commas_and_nothing_is_lost() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap(r#"{"a":1,"b":2}"#, 8), [r#"{"a":1,"#, r#""b":2}"#]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("", 3), [""]);
        assert_eq!(wrap("  indented text", 10), ["  indented", "text"]);
    }

    #[test]
    fn values_and_tokens_are_marked_and_only_they() {
        let marked = stage(true).marked("card 4111 1111 is [CREDIT_CARD:abcdefg2], [not] one");
        let expected =
            format!("card {PERSONAL}4111{HARD_SPACE}1111{PLAIN} is {TOKEN}[CREDIT_CARD:abcdefg2]{PLAIN}, [not] one");
        assert_eq!(marked, expected);
        assert_eq!(places(&marked), "card 4111 1111 is [CREDIT_CARD:abcdefg2], [not] one".chars().count());
    }

    #[test]
    fn what_does_not_hold_is_a_defect_and_is_named_with_its_scene() {
        let runtime = crate::commands::serve::runtime().unwrap();
        let mut stage = stage(false);
        runtime.block_on(stage.scene(9, "A scene")).unwrap();
        runtime.block_on(stage.expect(true, "this holds")).unwrap();
        let failure = stage.failed(runtime.block_on(stage.expect(false, "that holds")).unwrap_err());
        assert_eq!(failure.fault, Fault::Internal);
        let message = "the demo failed at \u{201c}A scene\u{201d}: it is not so that that holds";
        assert_eq!(failure.to_string(), message);
        assert_eq!(stage.failed(Failure::environment("no disk")).fault, Fault::Environment);
        assert_eq!(stage.failed(Failure::evidence("no")).fault, Fault::Internal);
    }
}
