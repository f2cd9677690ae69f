//! The second copy of the log: where it goes, whether that place keeps what it promises, and when it is brought up to
//! date.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tabellion_audit::StoreSource;
use tabellion_ledger::{Ledger, Mirror, MirrorError, Removed, Round};
use tabellion_store::{BucketSettings, BucketStore, Check, DiskStore, Finding, RealDisk, Store, Verdict};
use tokio::sync::watch;

use crate::config::Config;
use crate::failure::Failure;
use crate::metrics::Metrics;

/// Where a copy goes.
pub(crate) enum Target {
    Directory(PathBuf),
    Bucket(Arc<BucketStore>),
}

impl Target {
    /// The target that the configuration, or a command, names.
    pub(crate) fn open(config: &Config, to: &str) -> Result<Self, Failure> {
        if BucketSettings::is_bucket(to) {
            let retention = match (config.mirror.lock, config.mirror.retention_days) {
                (false, _) => None,
                (true, 0) => {
                    return Err(Failure::usage("nothing says for how long objects in the bucket are locked").hint(
                        "set mirror.retention_days (nobody can shorten it afterwards), or mirror.lock = false for a bucket without locks",
                    ));
                }
                (true, days) => Some(Duration::from_secs(u64::from(days) * 24 * 60 * 60)),
            };
            return Ok(Self::Bucket(Arc::new(bucket(config, to, retention)?)));
        }
        if to.contains("://") {
            return Err(Failure::usage(
                "a mirror is a directory, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix",
            ));
        }
        let directory = PathBuf::from(to);
        let inside = |outer: &Path, inner: &Path| {
            let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            absolute(inner).starts_with(absolute(outer))
        };
        if inside(&config.data, &directory) || inside(&directory, &config.data) {
            return Err(Failure::usage("a mirror must not lie in the data directory, nor around it"));
        }
        Ok(Self::Directory(directory))
    }

    /// The store behind it, and whether partial tiles are removed from it once full ones have replaced them.
    fn store(&self) -> Result<(Arc<dyn Store>, bool), Failure> {
        match self {
            Self::Bucket(bucket) => Ok((bucket.clone(), false)),
            Self::Directory(directory) => {
                use std::os::unix::fs::DirBuilderExt;
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(directory)
                    .map_err(|error| Failure::environment("the mirror's directory cannot be made").because(error))?;
                let store = DiskStore::new(RealDisk::new(directory));
                store.clean()?;
                Ok((Arc::new(store), true))
            }
        }
    }

    /// Tries what a bucket really does. Says what is lacking and can be done without; fails over what cannot.
    pub(crate) fn prove(&self) -> Result<Vec<String>, Unfit> {
        match self {
            Self::Bucket(bucket) => judge(&bucket.probe()),
            Self::Directory(_) => Ok(Vec::new()),
        }
    }
}

/// Why a bucket is not used.
pub(crate) enum Unfit {
    /// It did not answer. It may, later.
    Away(String),
    /// It does not keep what it is given.
    Lacking(String),
}

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Away(said) => Self::environment(format!("the bucket cannot be used: {said}"))
                .hint("endpoint, region and credentials: docs/operation.md says where they come from"),
            Unfit::Lacking(said) => Self::environment(format!("the bucket does not keep what it is given: {said}")).hint(
                "the bucket must be made with Object Lock (docs/operation.md); mirror.lock = false takes one without",
            ),
        }
    }
}

/// What follows from the findings. Objects that are to be locked must be; a store without conditional writes is written
/// to in another order; without holds one can live until one is wanted.
fn judge(findings: &[Finding]) -> Result<Vec<String>, Unfit> {
    let say = |finding: &Finding| format!("{}: {}", finding.check, finding.said);
    let mut warnings = Vec::new();
    let mut lacking = Vec::new();
    for finding in findings.iter().filter(|finding| finding.verdict != Verdict::Held) {
        match finding.check {
            Check::Reachable => return Err(Unfit::Away(finding.said.clone())),
            Check::LockKept | Check::DeleteRefused | Check::ShortenRefused => lacking.push(say(finding)),
            Check::LockConfigured if finding.verdict == Verdict::Lacking => lacking.push(say(finding)),
            Check::Conditional | Check::Race => {
                warnings.push(format!("{} (so each object is looked up before and after it is written)", say(finding)));
            }
            _ => warnings.push(say(finding)),
        }
    }
    if lacking.is_empty() { Ok(warnings) } else { Err(Unfit::Lacking(lacking.join("; "))) }
}

fn bucket(config: &Config, url: &str, retention: Option<Duration>) -> Result<BucketStore, Failure> {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let settings = BucketSettings {
        url: url.to_owned(),
        endpoint: given(&config.mirror.endpoint),
        region: given(&config.mirror.region),
        retention,
        timeout: Duration::from_secs(config.mirror.timeout_s),
        options: Vec::new(),
    };
    BucketStore::open(&settings).map_err(|error| Failure::usage("the bucket cannot be used").because(error))
}

/// A log in a bucket, to be verified.
pub(crate) fn bucket_source(config: &Config, url: &str) -> Result<StoreSource, Failure> {
    Ok(StoreSource(Arc::new(bucket(config, url, None)?)))
}

/// A mirror, ready to run: the only one of this log to this target.
pub(crate) struct Copier {
    mirror: Mirror,
    _lock: File,
}

impl Copier {
    pub(crate) fn new(data: &Path, to: &str, target: &Target) -> Result<Self, Failure> {
        // Two that write the same names at the same time would do no harm, but the older checkpoint could come last.
        let name = hex::encode(&Sha256::digest(to.as_bytes())[..8]);
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).open(data.join(format!("mirror-{name}.lock")));
        let lock = lock.map_err(|error| Failure::environment("the data directory cannot be written").because(error))?;
        lock.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => {
                Failure::environment("another process mirrors this log to this target")
                    .hint("a running server does, if [mirror] says so")
            }
            std::fs::TryLockError::Error(error) => Failure::environment("cannot lock the mirror").because(error),
        })?;
        let (copy, prune) = target.store()?;
        let source = Arc::new(DiskStore::new(RealDisk::new(data)));
        Ok(Self { mirror: Mirror::new(source, copy, prune), _lock: lock })
    }

    pub(crate) fn round(&mut self, progress: &dyn Fn(u64, u64)) -> Result<Round, MirrorError> {
        self.mirror.round(progress)
    }

    /// What the log has removed because it expired goes from the mirror too.
    pub(crate) fn prune(&mut self) -> Result<Removed, MirrorError> {
        self.mirror.prune()
    }
}

impl From<MirrorError> for Failure {
    fn from(error: MirrorError) -> Self {
        let says_no = !matches!(error, MirrorError::Source(_) | MirrorError::Mirror(_) | MirrorError::Write(_));
        if says_no {
            Self::evidence("the log was not mirrored").because(error)
        } else {
            Self::environment("the log was not mirrored").because(error)
        }
    }
}

/// The mirror that runs beside the server.
pub(crate) struct Continuous {
    target: Target,
    to: String,
    data: PathBuf,
    every: Duration,
    proved: bool,
}

/// Prepares it, if there is to be one. A bucket that does not keep what it is given stops the server from starting; one
/// that is away does not: recording does not depend on it, and it is tried again.
pub(crate) async fn continuous(config: &Config) -> Result<Option<Continuous>, Failure> {
    let to = config.mirror.to.clone();
    if to.is_empty() {
        return Ok(None);
    }
    let target = Target::open(config, &to)?;
    let (data, every) = (config.data.clone(), Duration::from_secs(config.mirror.every_s));
    let proving = tokio::task::spawn_blocking(move || {
        let proved = match target.prove() {
            Ok(warnings) => {
                warnings.iter().for_each(|warning| tracing::warn!(%warning, "the bucket lacks something"));
                true
            }
            Err(Unfit::Away(said)) => {
                tracing::warn!(%said, "the bucket is away; the log is recorded, and mirrored later");
                false
            }
            Err(unfit) => return Err(unfit.into()),
        };
        Ok(Some(Continuous { target, to, data, every, proved }))
    });
    proving.await.map_err(|_| Failure::internal("trying the bucket did not end"))?
}

/// A mirror that runs, on a thread of its own: a bucket that does not answer must not keep the process from ending.
pub(crate) struct Running {
    /// Dropped to end it.
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Ends it, after the round that is under way, or after a while without it. (What a round leaves undone, the next one does.)
    pub(crate) async fn stop(self, grace: Duration) {
        drop(self.stop);
        let deadline = Instant::now() + grace;
        while !self.thread.is_finished() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Continuous {
    pub(crate) fn spawn(self, ledger: &Ledger, metrics: Arc<Metrics>) -> Result<Running, Failure> {
        let (stop, stopped) = mpsc::channel();
        let published = ledger.published();
        let thread =
            std::thread::Builder::new().name("mirror".into()).spawn(move || self.run(published, &stopped, &metrics));
        let thread = thread.map_err(|error| Failure::environment("cannot start threads").because(error))?;
        Ok(Running { stop, thread })
    }

    fn run(mut self, mut published: watch::Receiver<u64>, stopped: &mpsc::Receiver<()>, metrics: &Metrics) {
        let mut copier = None;
        loop {
            published.borrow_and_update();
            let failed = match self.round(&mut copier) {
                Ok(round) => {
                    metrics.mirrored(round.size);
                    false
                }
                Err(failure) => {
                    metrics.mirror_failed();
                    tracing::error!(%failure, "the log was not mirrored");
                    true
                }
            };
            // Nothing new needs no round; one that failed is tried again.
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(self.every) {
                if failed || published.has_changed().unwrap_or(false) {
                    break;
                }
            }
            if matches!(stopped.try_recv(), Err(TryRecvError::Disconnected)) {
                return;
            }
        }
    }

    fn round(&mut self, copier: &mut Option<Copier>) -> Result<Round, Failure> {
        if !self.proved {
            self.target.prove()?;
            self.proved = true;
        }
        let copier = match copier {
            Some(copier) => copier,
            None => copier.insert(Copier::new(&self.data, &self.to, &self.target)?),
        };
        let round = copier.round(&|_, _| {})?;
        match copier.prune()? {
            Removed { parts: 0, .. } => {}
            Removed { parts, kept } => tracing::info!(parts, kept, "removed from the mirror what is no longer kept"),
        }
        Ok(round)
    }
}
