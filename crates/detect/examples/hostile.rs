//! Seconds for 256 KiB of each text that could be expensive. Nothing asserts them: a clock is no test. The tests
//! assert the bound on steps.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::sync::Arc;
use std::time::Instant;

use tabellion_detect::{Context, Engine, Pseudonyms, Redactor, Set};

fn main() {
    let redactor = Redactor::new(Arc::new(Engine::embedded(Set::Default)), Pseudonyms::new([7; 32]));
    let units = [
        ".",
        "1",
        "1.",
        "a@",
        "a@a.",
        "x@y.com ",
        "1.1.1.1 ",
        "+",
        "+1 ",
        "(",
        "(4",
        ":",
        "::",
        "a:",
        "1 ",
        "0 1-",
        "415-555-0132 ",
        "DE89 ",
        "sk-",
        "sk-proj-",
        "eyJ-",
        ".eyJ",
        "eyJ-aaaaaaaaaa.eyJ-aaaaaaaa-",
        "-----BEGIN PRIVATE KEY-----",
        "://a:",
        "://",
        "password=",
        "password: ",
        "token ",
        "secret=a",
        "key=",
        "bearer ",
        "aws",
        "[",
        "[A:",
        "\u{200b}",
        "４",
        "\"",
        "{\"a\":",
        "\\",
        "phone 12345678 ",
        "4111111111111111 ",
    ];
    for unit in units {
        let text = unit.repeat((1 << 18) / unit.len());
        let start = Instant::now();
        let found = redactor.engine().scan(&text, Context::NONE).len();
        let scan = start.elapsed();
        let start = Instant::now();
        let redacted = redactor.json(&text).is_some();
        let json = start.elapsed();
        println!("{scan:>10.2?} scan {found:>7} found   {json:>10.2?} json ({redacted})   {unit:?}");
    }
}
