//! The commands, one module each.

mod anchor;
mod anchors;
mod approve;
mod bench;
mod bench_verify;
mod bundle;
mod case;
mod demo;
mod detect;
mod doctor;
mod erase;
mod expire;
mod export;
mod hold;
mod key;
mod keyring;
mod mirror;
mod page;
mod prove;
mod receipt;
mod report;
mod reveal;
pub(crate) mod search;
pub(crate) mod serve;
pub(crate) mod show;
mod verify;
mod witness;

use std::process::ExitCode;
use std::sync::Arc;

use clap::CommandFactory;
use tabellion_ledger::{Catalog, Exchange, LedgerError, Reader};
use tabellion_store::{DiskStore, RealDisk};

use crate::Ended;
use crate::cli::{Cli, Command, LogArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::ui;

pub(crate) fn run(command: Command) -> Ended {
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Detect(args) => detect::detect(&args),
        Command::Redact(args) => detect::redact(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Search(args) => search::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Prove(args) => prove::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Key(args) => key::run(&args),
        Command::Hold(args) => hold::run(&args),
        Command::Case(args) => case::run(&args),
        Command::Approve(args) => approve::run(&args),
        Command::Reveal(args) => reveal::run(&args),
        Command::Erase(args) => erase::run(&args),
        Command::Expire(args) => expire::run(&args),
        Command::Keyring { what } => keyring::run(&what),
        Command::Page(args) => page::run(&args),
        Command::Witness(args) => witness::run(&args),
        Command::Anchor(args) => anchor::run(&args),
        Command::Mirror(args) => mirror::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tabellion", &mut script);
            ui::raw(&script)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A log that is only read; another process may be writing it.
pub(crate) struct Log {
    pub(crate) config: Config,
    pub(crate) reader: Reader,
}

impl Log {
    pub(crate) fn open(args: &LogArgs) -> Result<Self, Failure> {
        let log = Self::of(args)?;
        match log.reader.vkey() {
            Err(LedgerError::Missing { .. }) => {
                Err(Failure::environment(format!("there is no log in {}", log.config.data.display()))
                    .hint("name the data directory with --data"))
            }
            other => other.map(|_| log).map_err(Failure::from),
        }
    }

    /// The log, if there is one, or where it will be.
    pub(crate) fn of(args: &LogArgs) -> Result<Self, Failure> {
        let config = Config::load(args.config.as_deref(), args.data.as_deref())?;
        let reader = Reader::new(Arc::new(DiskStore::new(RealDisk::new(&config.data))));
        Ok(Self { config, reader })
    }

    /// The catalog, up to date with what is published.
    pub(crate) fn catalog(&self) -> Result<Catalog, Failure> {
        let mut catalog = Catalog::open(&tabellion_ledger::catalog_path(&self.config.data))?;
        catalog.catch_up(&self.reader)?;
        Ok(catalog)
    }

    /// An exchange that somebody names.
    pub(crate) fn exchange(&self, catalog: &Catalog, id: &str) -> Result<Exchange, Failure> {
        catalog.exchange(&id.to_ascii_uppercase())?.ok_or_else(|| {
            Failure::evidence("the published log has no such exchange")
                .hint("a new exchange is published within a second; its ID is in the header x-tabellion-exchange")
        })
    }
}
