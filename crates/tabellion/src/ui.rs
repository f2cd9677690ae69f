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

/// What stdout can show.
pub(crate) struct Terminal {
    /// How many columns it has; none when it is no terminal.
    pub(crate) width: Option<usize>,
    /// Whether somebody may want colours.
    pub(crate) colour: bool,
}

/// Asks what stdout is.
pub(crate) fn terminal() -> Terminal {
    let out = std::io::stdout();
    if !out.is_terminal() {
        return Terminal { width: None, colour: false };
    }
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let columns = rustix::termios::tcgetwinsize(&out).map_or(0, |size| usize::from(size.ws_col));
    Terminal {
        // A terminal that does not say is as wide as they used to be.
        width: Some(if columns == 0 { 80 } else { columns }),
        // https://no-color.org
        colour: variable("NO_COLOR").is_none() && variable("TERM").is_some_and(|term| term != "dumb"),
    }
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
