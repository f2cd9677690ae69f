//! Objects in a bucket: S3 and what speaks like it, Google Cloud Storage, Azure Blob.
//!
//! What the library `object_store` has is taken from it: the providers' credential chains, signatures, reading,
//! listing. What it has no word for, conditional writes *with* a lock, the locks and holds themselves and the probes of
//! them, are our own requests (`cloud`), signed by it.
//!
//! # How an object is written
//!
//! [`Store::create`], for each object:
//!
//! 1. `PUT` with a lock until the retention's end and "only if there is none". Whatever comes of it is one of:
//!    stored; there already; refused; or unknown (no answer, a broken one, 5xx). A crash here, or an unknown answer, is
//!    the same: the object is there, whole and locked, or it is not.
//! 2. *Unknown*: the same `PUT` again, after a moment, a few times. If the first had succeeded after all, the answer
//!    now is "there already".
//! 3. *There already*: it is read. The same bytes are what was wanted, whoever wrote them. Others are an error
//!    (`AlreadyExists`), and nothing is written.
//! 4. In both cases the store is asked whether the object is there, how long it is and until when it is locked, and its
//!    bytes are compared (by the store's own SHA-256 where it tells one). Only then is the object counted as written:
//!    a 200 proves nothing.
//!
//! Where a store ignores conditions (the probe finds out), 1 is preceded by asking whether there is one, and followed by
//! asking for all its versions: the oldest is the object. A lock keeps it, whoever wrote another over it.
//!
//! [`Store::replace`] is 1 without the condition, 2 and 4. In a bucket with versions the older one stays, locked.
//!
//! [`Store::rewrite`] asks first whether a lock or a hold keeps any version: then nothing is done. Then what is left is written as
//! [`Store::replace`] does, and last each older version is deleted for good. A crash before that is done leaves older ones behind
//! the newest, and the same call again deletes them.
//!
//! # Whom it trusts
//!
//! The store, to keep what it has confirmed to keep: that is what the probe tests and what nobody else can. Whoever has
//! the credentials can write a new version over an object (never remove the locked one): `verify` then finds other bytes.

mod cloud;
mod http;
mod probe;
mod protocol;
mod settings;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use object_store::client::HttpClient;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

pub use probe::{Check, Finding, Verdict};
pub use settings::{BucketSettings, SettingsError};

use crate::objects::failed;
use crate::{Store, StoreError};
use cloud::Cloud;

/// So many objects are written at once: their latencies overlap.
const WRITES_AT_ONCE: usize = 16;

/// Objects in a bucket, below a prefix.
///
/// Its calls block; it has threads of its own for the network.
pub struct BucketStore {
    bucket: Arc<Bucket>,
    /// Taken only when the store is dropped.
    runtime: Option<tokio::runtime::Runtime>,
}

struct Bucket {
    cloud: Cloud,
    objects: Box<dyn ObjectStore>,
    http: HttpClient,
    /// Ends in `/`, or is empty.
    prefix: String,
    /// How long each object is locked.
    retention: Option<Duration>,
    /// Whether the store honours "only if there is none". Assumed until the probe says otherwise.
    conditional: AtomicBool,
}

impl BucketStore {
    /// The store that settings describe. Nothing is asked of it yet.
    ///
    /// # Errors
    ///
    /// A setting, or the environment, cannot be used.
    pub fn open(settings: &BucketSettings) -> Result<Self, SettingsError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("bucket")
            .enable_all()
            .build()
            .map_err(SettingsError::Threads)?;
        let bucket = Arc::new(settings.bucket()?);
        Ok(Self { bucket, runtime: Some(runtime) })
    }

    /// Finds out what this bucket really does, by trying: see [`Check`]. Objects are written below `probe/`; those that
    /// are locked stay until their lock ends, two minutes later. What is found about conditional writes holds for
    /// what this store does from now on.
    pub fn probe(&self) -> Vec<Finding> {
        let findings = self.wait(probe::probe(&self.bucket));
        let honoured = findings
            .iter()
            .filter(|finding| matches!(finding.check, Check::Conditional | Check::Race))
            .all(|finding| finding.verdict == Verdict::Held);
        self.bucket.conditional.store(honoured, Ordering::Relaxed);
        findings
    }

    /// Places a legal hold on an object, or lifts it, and checks that the store says so: nobody deletes the object
    /// while it is held, however old.
    ///
    /// # Errors
    ///
    /// There is no such object, or the store did not do it.
    pub fn hold(&self, name: &str, on: bool) -> Result<(), StoreError> {
        self.wait(self.bucket.hold(&self.bucket.at(name), on)).map_err(failed("hold", name))
    }

    /// Whether an object is held.
    ///
    /// # Errors
    ///
    /// There is no such object, or the store does not answer.
    pub fn is_held(&self, name: &str) -> Result<bool, StoreError> {
        let facts = self.wait(self.bucket.facts(&self.bucket.at(name), None));
        let facts = facts.and_then(|facts| facts.ok_or_else(|| io::ErrorKind::NotFound.into()));
        facts.map(|facts| facts.hold).map_err(failed("read", name))
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.as_ref().expect("only dropping takes it").block_on(future)
    }
}

impl Drop for BucketStore {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waits for nothing, so that it may be dropped anywhere.
            runtime.shutdown_background();
        }
    }
}

impl Bucket {
    /// An object's name in the bucket.
    fn at(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    async fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match self.objects.get(&Path::from(self.at(name))).await {
            Ok(found) => Ok(Some(found.bytes().await?.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn read_range(&self, name: &str, offset: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
        let beyond = |end: u64| end > http::OBJECT_BYTES_MAX as u64;
        let Some(end) = offset.checked_add(length as u64).filter(|&end| !beyond(end)) else { return Ok(None) };
        if length == 0 {
            return Ok(self.read(name).await?.filter(|bytes| bytes.len() as u64 >= offset).map(|_| Vec::new()));
        }
        match self.objects.get_range(&Path::from(self.at(name)), offset..end).await {
            Ok(bytes) => Ok((bytes.len() == length).then(|| bytes.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            // A range that begins behind the end is an error to some stores; the whole object decides.
            Err(error) => match self.read(name).await? {
                Some(bytes) if (bytes.len() as u64) < end => Ok(None),
                _ => Err(error.into()),
            },
        }
    }

    async fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let below = self.at(&if directory.is_empty() { String::new() } else { format!("{directory}/") });
        let listed = self.objects.list_with_delimiter(Some(&Path::from(below.as_str()))).await?;
        let strip = |path: &Path| path.as_ref().strip_prefix(&below).map(str::to_owned);
        let mut names: Vec<String> = listed.objects.iter().filter_map(|object| strip(&object.location)).collect();
        names.extend(listed.common_prefixes.iter().filter_map(|path| Some(format!("{}/", strip(path)?))));
        names.sort_unstable();
        Ok(names)
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        self.delete(&self.at(name), None).await
    }
}

impl Store for BucketStore {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.wait(self.bucket.read(name)).map_err(failed("read", name))
    }

    fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, StoreError> {
        self.wait(self.bucket.read_range(name, offset, length)).map_err(failed("read", name))
    }

    fn create(&self, objects: &[(&str, &[u8])]) -> Result<(), StoreError> {
        let writes =
            futures_util::stream::iter(objects.iter().map(|(name, bytes)| async move {
                self.bucket.create(name, bytes).await.map_err(failed("write", name))
            }));
        self.wait(writes.buffer_unordered(WRITES_AT_ONCE).try_collect())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.wait(self.bucket.replace(name, bytes)).map_err(failed("write", name))
    }

    /// In a bucket with versions, this hides an object; what is locked stays.
    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.wait(self.bucket.remove(name)).map_err(failed("remove", name))
    }

    fn remove_all(&self, directory: &str) -> Result<(), StoreError> {
        for name in self.list(directory)?.iter().filter(|name| !name.ends_with('/')) {
            self.remove(&format!("{directory}/{name}"))?;
        }
        Ok(())
    }

    fn rewrite(&self, objects: &[(&str, Option<&[u8]>)]) -> Result<(), StoreError> {
        objects
            .iter()
            .try_for_each(|(name, bytes)| self.wait(self.bucket.rewrite(name, *bytes)).map_err(failed("replace", name)))
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, StoreError> {
        self.wait(self.bucket.list(directory)).map_err(failed("list", directory))
    }
}
