//! `tabellion keyring`

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use tabellion_vault::{Reading, Recipients};

use super::Log;
use crate::cli::Keyring;
use crate::failure::Failure;
use crate::{Ended, notary, ui};

pub(crate) fn run(what: &Keyring) -> Ended {
    let Keyring::Backup { to, log } = what;
    let log = Log::open(log)?;
    let recipients = &log.config.vault.recipients;
    if recipients.is_empty() {
        return Err(
            Failure::usage("there is nobody to encrypt the backup to").hint("name officers in vault.recipients")
        );
    }
    let count = recipients.len();
    let recipients = Recipients::parse(recipients)?;
    let backup = Reading::open(&log.config.keys())?.backup(&recipients, &notary::now())?;
    write(to, &backup)?;
    ui::note(format!("{} bytes in {}, which any of {count} recipients can open with age", backup.len(), to.display()));
    ui::note("it outlives erasures: after each one, make another and destroy this one");
    Ok(ExitCode::SUCCESS)
}

/// Whole or not at all, and its owner's alone.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error| Failure::environment(format!("cannot write {}", path.display())).because(error);
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&partial).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&partial, path).map_err(failed)
}
