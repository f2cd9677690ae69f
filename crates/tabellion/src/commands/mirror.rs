//! `tabellion mirror`

use std::process::ExitCode;
use std::time::Duration;

use tabellion_ledger::Removed;

use super::Log;
use crate::cli::MirrorArgs;
use crate::failure::Failure;
use crate::mirror::{Copier, Target};
use crate::{Ended, ui};

pub(crate) fn run(args: &MirrorArgs) -> Ended {
    let log = Log::open(&args.log)?;
    let to = args.to.clone().unwrap_or_else(|| log.config.mirror.to.clone());
    if to.is_empty() {
        return Err(Failure::usage("nothing says where the copy goes").hint("name it with --to, or set mirror.to"));
    }
    let target = Target::open(&log.config, &to)?;
    for warning in target.prove()? {
        ui::note(format!("warning: {warning}"));
    }
    let mut copier = Copier::new(&log.config.data, &to, &target)?;
    loop {
        let bar = ui::progress(0, "mirror");
        let round = copier.round(&|done, total| {
            bar.set_length(total);
            bar.set_position(done);
        });
        bar.finish_and_clear();
        let round = round?;
        let removed = copier.prune()?;
        if args.json {
            ui::json(&serde_json::json!({
                "from": round.from,
                "size": round.size,
                "objects": round.objects,
                "bytes": round.bytes,
                "removed": removed.parts,
                "kept": removed.kept,
            }))?;
        } else if round.objects == 0 {
            ui::result(format!("{} entries are in {to}, as before", round.size))?;
        } else {
            let new = round.size - round.from;
            ui::result(format!(
                "{} entries are in {to}, {new} of them new ({} objects, {} bytes)",
                round.size, round.objects, round.bytes
            ))?;
        }
        if !args.json && removed != Removed::default() {
            ui::result(format!(
                "{} parts that are no longer kept are removed there; {} stay for now, because a lock keeps them, or the log still has them",
                removed.parts, removed.kept
            ))?;
        }
        match args.every {
            Some(seconds) => std::thread::sleep(Duration::from_secs(seconds)),
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}
