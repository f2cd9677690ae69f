//! The page that shows a bundle: `index.html` in each, and `tabellion page` without one.
//!
//! It is one file that opens from a disk: style, script and the verifier in WebAssembly stand in it, and a policy that lets
//! it run these and open no connection. `defaults/bundle/page/` has its pieces; `scripts/page` makes the program.

use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tabellion_evidence::bundle::{Files, page};
use tabellion_evidence::tree::sha256;

use super::export::zip_of;
use crate::cli::PageArgs;
use crate::failure::Failure;
use crate::{Ended, ui};

const PAGE: &str = include_str!("../../../../defaults/bundle/page/page.html");
const STYLE: &str = include_str!("../../../../defaults/bundle/page/page.css");
const SCRIPT: &str = include_str!("../../../../defaults/bundle/page/page.js");
/// Built from `crates/page`.
const PROGRAM: &[u8] = include_bytes!("../../../../defaults/bundle/page/page.wasm");

/// A larger copy is not put into a page: browsers would not bear it. The page then takes the bundle's file.
const COPY_BYTES_MAX: usize = 64 << 20;

pub(crate) fn run(args: &PageArgs) -> Ended {
    let page = program();
    match &args.output {
        None => ui::raw(page.as_bytes())?,
        Some(path) => {
            std::fs::write(path, page)
                .map_err(|error| Failure::environment(format!("cannot write {}", path.display())).because(error))?;
            ui::note(format!("open {} in a browser, and drop a bundle on it", path.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The page without a bundle.
pub(super) fn program() -> String {
    // CSP, level 3: the hash of what stands between the tags.
    let hash = |text: &str| format!("sha256-{}", STANDARD.encode(sha256(text).0));
    PAGE.replace("{style-hash}", &hash(STYLE))
        .replace("{script-hash}", &hash(SCRIPT))
        .replace("{style}", STYLE)
        .replace("{program}", &STANDARD.encode(PROGRAM))
        .replace("{script}", SCRIPT)
}

/// The page with a copy of what it shows.
pub(super) fn of(program: &str, files: &Files) -> Result<String, Failure> {
    let copied = zip_of("bundle", files.iter().filter(|(path, _)| page::is_copied(path)))?;
    let copied = (copied.len() <= COPY_BYTES_MAX).then_some(&*copied);
    page::with_copy(program, copied).ok_or_else(|| Failure::internal("the page has no place for a bundle"))
}
