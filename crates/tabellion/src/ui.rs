//! The only place that prints. Results go to stdout, everything else to stderr.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where printing is done")]

use std::io::{IsTerminal, Write};

use crate::failure::Failure;

/// Prints a line of a result.
pub(crate) fn result(line: impl std::fmt::Display) -> Result<(), Failure> {
    write(std::io::stdout().lock(), format_args!("{line}\n"))
}

/// Prints a result as it is.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(cannot_print)
}

/// Prints a value as one line of JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::internal("cannot print").because(error))?;
    result(text)
}

/// Tells the person who called something that is not the result.
pub(crate) fn note(line: impl std::fmt::Display) {
    // A closed stderr is no reason to stop.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A bar for long work, on a terminal's stderr; elsewhere nothing is drawn.
pub(crate) fn progress(length: u64, what: &'static str) -> indicatif::ProgressBar {
    if !std::io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new(length);
    if let Ok(style) = indicatif::ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len} {eta}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what);
    bar
}

fn write(mut out: impl Write, line: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    out.write_fmt(line).and_then(|()| out.flush()).map_err(cannot_print)
}

fn cannot_print(error: std::io::Error) -> Failure {
    Failure::environment("cannot write the result").because(error)
}

/// Text of foreign origin for a terminal: on one line, without control characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
