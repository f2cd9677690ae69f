//! The search index behind the log.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tabellion_evidence::tree::Hash;
use tabellion_ledger::{Catalog, Ledger, LedgerError, PartsInOrder, Reader};
use tabellion_search::{CatchUpError, Index, SearchError, Source};
use tokio::task::JoinHandle;

/// What the index is made from.
pub(crate) struct LogSource {
    reader: Reader,
    parts: Mutex<PartsInOrder>,
}

impl LogSource {
    /// The catalog must not be behind the log.
    pub(crate) fn new(reader: Reader, catalog: Catalog) -> Self {
        Self { reader: reader.clone(), parts: Mutex::new(PartsInOrder::new(reader, catalog)) }
    }

    fn parts(&self) -> MutexGuard<'_, PartsInOrder> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for LogSource {
    type Error = LedgerError;

    fn size(&self) -> Result<u64, LedgerError> {
        // Not the checkpoint's: what is published is in the catalog a moment later.
        Ok(self.parts().catalog().position()?.map_or(0, |(size, _)| size).min(self.reader.checkpoint()?.size))
    }

    fn root(&self, size: u64) -> Result<Hash, LedgerError> {
        self.reader.root(size, self.reader.checkpoint()?.size)
    }

    fn entries(&self, bundle: u64, size: u64) -> Result<Vec<Vec<u8>>, LedgerError> {
        self.reader.entries(bundle, size)
    }

    fn part(&self, hash: &Hash) -> Result<Option<Vec<u8>>, LedgerError> {
        match self.parts().part(hash) {
            // Damage is for `verify` to report. It must not keep everything after it from being found.
            Err(LedgerError::Damaged { .. } | LedgerError::Missing { .. }) => Ok(None),
            other => other,
        }
    }
}

/// Where the index of a data directory lies.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("search/index.db")
}

/// Indexing waits until nothing has been published for so long …
const QUIET: Duration = Duration::from_secs(2);
/// … but not longer than this. Larger batches cost less, and exchanges come first; whoever searches meanwhile indexes
/// what is missing before looking.
const BEHIND_MAX: Duration = Duration::from_secs(20);

/// Follows the log until it is aborted.
pub(crate) fn spawn(ledger: Arc<Ledger>, data: PathBuf) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut published = ledger.published();
        let mut opened: Option<(Index, LogSource)> = None;
        loop {
            let (reader, data) = (ledger.reader().clone(), data.clone());
            let round = tokio::task::spawn_blocking(move || {
                let (mut index, source) = match opened {
                    Some(opened) => opened,
                    None => open(reader, &data)?,
                };
                let reached = index.catch_up(&source);
                source.parts().rest();
                reached?;
                Ok::<_, CatchUpError<LedgerError>>((index, source))
            });
            opened = match round.await {
                Ok(Ok(opened)) => Some(opened),
                Ok(Err(error)) => {
                    // Derived, so nothing is lost; `search` will say it too.
                    tracing::warn!(%error, "the search index is behind");
                    None
                }
                Err(_) => None,
            };
            if published.changed().await.is_err() {
                return;
            }
            let latest = Instant::now() + BEHIND_MAX;
            while Instant::now() < latest {
                match tokio::time::timeout(QUIET, published.changed()).await {
                    Err(_) => break,
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return,
                }
            }
        }
    })
}

/// Brings the index of a data directory to where the log is, if there is one.
pub(crate) fn follow(reader: Reader, data: &Path) -> Result<(), CatchUpError<LedgerError>> {
    if !path(data).exists() {
        return Ok(());
    }
    let (mut index, source) = open(reader, data)?;
    index.catch_up(&source).map(drop)
}

fn open(reader: Reader, data: &Path) -> Result<(Index, LogSource), CatchUpError<LedgerError>> {
    let catalog = Catalog::open(&tabellion_ledger::catalog_path(data)).map_err(CatchUpError::Source)?;
    Ok((Index::open(&path(data)).map_err(|error: SearchError| error)?, LogSource::new(reader, catalog)))
}
