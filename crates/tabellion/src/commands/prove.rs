//! `tabellion prove`

use std::process::ExitCode;

use tabellion_evidence::entry::{self, Entry};
use tabellion_vault::Reading;

use super::{Log, receipt, reveal};
use crate::cli::ProveArgs;
use crate::failure::Failure;
use crate::{Ended, ui};

pub(crate) fn run(args: &ProveArgs) -> Ended {
    let log = Log::open(&args.log)?;
    let id = match (&args.id, &args.extends) {
        (Some(id), None) => id,
        (_, Some(older)) => return receipt::write(&receipt::extends(&log, older)?, args.output.as_deref()),
        (None, None) => return Err(Failure::usage("name an exchange")),
    };
    let catalog = log.catalog()?;
    let exchange = log.exchange(&catalog, id)?;
    let index = if args.response { exchange.response } else { exchange.request };
    let index = index.ok_or_else(|| {
        Failure::evidence(if args.response { "the exchange is still open" } else { "the request is not in the log" })
    })?;
    let proof = log.reader.prove(index)?;
    let leaf = proof.extra.clone().unwrap_or_default();
    // What is handed out is checked first, as whoever receives it will.
    proof
        .verify(&leaf, &log.reader.vkey()?)
        .map_err(|error| Failure::evidence("the log's own proof does not verify").because(error))?;
    if let Some(path) = &args.original {
        check_original(&log, &leaf, path)?;
    }
    if let Some(what) = args.cose {
        return receipt::write(&receipt::of_entry(&log, &proof, &leaf, what)?, args.output.as_deref());
    }
    let text = proof.to_text();
    match &args.output {
        None => ui::raw(text.as_bytes())?,
        Some(path) => {
            std::fs::write(path, text)
                .map_err(|error| Failure::environment(format!("cannot write {}", path.display())).because(error))?;
            ui::note(format!("entry {index} is in the log; check it with: tabellion verify {}", path.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Holds somebody's copy of the bytes against the commitment in the entry.
fn check_original(log: &Log, leaf: &[u8], path: &std::path::Path) -> Result<(), Failure> {
    let entry = Entry::parse(leaf).map_err(|error| Failure::evidence("the entry cannot be read").because(error))?;
    let original =
        entry.original.as_ref().ok_or_else(|| Failure::evidence("the entry has no commitment to an original"))?;
    let copy = std::fs::read(path)
        .map_err(|error| Failure::environment(format!("cannot read {}", path.display())).because(error))?;
    let leaf = reveal::leaf(&Reading::open(&log.config.keys())?, &entry)?;
    let leaf =
        leaf.ok_or_else(|| Failure::evidence("the original was erased: nobody can prove a copy exact any more"))?;
    if entry::commitment(&leaf.salt(0), &copy) != original.commitment {
        return Err(Failure::evidence(format!(
            "{} is not what crossed the wire: the entry commits to other bytes",
            path.display()
        )));
    }
    ui::note(format!("exact     {} has the {} bytes that crossed the wire", path.display(), copy.len()));
    ui::note(format!("          commitment {}", original.commitment));
    ui::note("          others check a copy with the salt, which `tabellion reveal --salt` gives out");
    Ok(())
}
