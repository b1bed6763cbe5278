//! The engine of one process: fjall under a single committer.
//!
//! In: the operations of the port. Out: rows out of snapshots, and answers when a synced batch holds what was asked.
//! It must not know what a row means. Reads run on the caller's thread, writes on the committer's.
//!
//! | room | noun |
//! |---|---|
//! | `layout` | where a row lies: keyspaces and key bytes |
//! | `open` | opening a directory, and refusing what must not be opened |
//! | `heads` | the side file by which a shortened log is noticed |
//! | `committer` | the thread that merges waiting writes into one synced batch |
//! | `batch` | the batch being built: conditions are checked against what stands and what the batch writes |
//! | `space` | the guard that refuses writes before the disk does |

mod batch;
mod committer;
mod heads;
mod layout;
mod open;
mod reads;
mod space;

pub use space::{FreeSpace, MIB};

use crate::engine::{
    Append, Capabilities, Conditional, Engine, LogKey, LogRow, Page, ProjectedBatch, Projection, Row, RowKey,
    Scan, TableRow, Write,
};
use crate::{Outcome, StoreError, TableRef};
use async_trait::async_trait;
use bytes::Bytes;
use committer::{Committer, Request};
use layout::Spaces;
use p92_kernel::{Seq, ShardCount};
use parking_lot::RwLock;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How an embedded store is opened.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// The directory; made if it does not exist.
    pub dir: PathBuf,
    /// Used at first start only; later the directory says.
    pub shards: ShardCount,
    /// Below this much free space writes are refused, in MiB.
    pub free_floor_mib: u64,
    /// Blocks kept in memory, in MiB.
    pub cache_mib: u64,
    /// Whether stored blocks are compressed.
    pub compression: bool,
    /// How free space is learned.
    pub free_space: FreeSpace,
}

impl EmbeddedConfig {
    /// Defaults for a laptop.
    #[must_use]
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            shards: ShardCount::default(),
            free_floor_mib: 256,
            cache_mib: 16,
            compression: true,
            free_space: FreeSpace::of_file_system(),
        }
    }
}

/// What the committer has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// Batches that were synced.
    pub synced: u64,
    /// Batches that held projections only and were not.
    pub unsynced: u64,
    /// Requests in all of them.
    pub requests: u64,
    /// Time spent in commits with their syncs.
    pub syncing: Duration,
}

/// The handle that reads take, exchanged when the store is reopened after a failed write.
type Current = Arc<RwLock<Option<Arc<Spaces>>>>;

/// The embedded store.
#[derive(Debug)]
pub struct Embedded {
    current: Current,
    committer: Committer,
    installation: String,
    shards: ShardCount,
    fresh: bool,
    _lock: std::fs::File,
}

impl Embedded {
    /// Opens a directory, or makes it. See `open` for what is refused.
    pub fn open(config: EmbeddedConfig) -> Result<Arc<Self>, StoreError> {
        let opened = open::open(&config)?;
        let current: Current = Arc::new(RwLock::new(Some(Arc::new(opened.spaces))));
        let committer = Committer::start(Arc::clone(&current), config, opened.heads)?;
        Ok(Arc::new(Self {
            current,
            committer,
            installation: opened.marker.installation,
            shards: opened.marker.shards,
            fresh: opened.fresh,
            _lock: opened.lock,
        }))
    }

    /// The id that the directory was given at first start.
    #[must_use]
    pub fn installation(&self) -> &str {
        &self.installation
    }

    /// The number of shards that the directory was given at first start.
    #[must_use]
    pub const fn shards(&self) -> ShardCount {
        self.shards
    }

    /// Whether this start made the directory.
    #[must_use]
    pub const fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// What the committer has done.
    #[must_use]
    pub fn commits(&self) -> Commits {
        self.committer.commits()
    }

    /// Ends the committer after everything that waits, and lets go of the directory.
    pub fn close(&self) {
        self.committer.close();
    }

    fn spaces(&self) -> Result<Arc<Spaces>, StoreError> {
        self.current.read().clone().ok_or_else(|| StoreError::Unavailable {
            reason: "the store is being reopened after a failed write".to_owned(),
            outcome: Outcome::NoEffect,
        })
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.committer.send(request(answer)).await?;
        answered.await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable {
                reason: "the committer ended".to_owned(),
                outcome: Outcome::Unknown,
            })
        })
    }
}

#[async_trait]
impl Engine for Embedded {
    fn capabilities(&self) -> Capabilities {
        Capabilities { atomic_projection: true, exclusive: true }
    }

    async fn get(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.spaces()?.get(key)
    }

    async fn get_many(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>, StoreError> {
        self.spaces()?.get_many(keys)
    }

    async fn scan(&self, scan: &Scan) -> Result<Page<(Bytes, Row)>, StoreError> {
        self.spaces()?.scan(scan)
    }

    async fn scan_table(
        &self,
        table: TableRef,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Page<TableRow>, StoreError> {
        self.spaces()?.scan_table(table, after, limit)
    }

    async fn clear(&self, table: TableRef) -> Result<(), StoreError> {
        // Piece by piece, so that the committer is never away for long.
        const PIECE: usize = 1_000;
        loop {
            let page = self.spaces()?.scan_table(table, None, PIECE)?;
            if page.rows.is_empty() {
                return Ok(());
            }
            let writes = page
                .rows
                .into_iter()
                .map(|row| Write { key: RowKey::new(table, row.partition, row.clustering), value: None })
                .collect();
            self.ask(|answer| Request::Write { writes, answer }).await?;
        }
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.ask(|answer| Request::Write { writes, answer }).await
    }

    async fn insert_if_absent(&self, key: &RowKey, value: Bytes) -> Result<Conditional, StoreError> {
        let key = key.clone();
        self.ask(|answer| Request::Insert { key, value, answer }).await
    }

    async fn compare_and_set(
        &self,
        key: &RowKey,
        expected: Option<u64>,
        value: Bytes,
    ) -> Result<Conditional, StoreError> {
        let key = key.clone();
        self.ask(|answer| Request::CompareAndSet { key, expected, value, answer }).await
    }

    async fn project(&self, batch: ProjectedBatch) -> Result<Projection, StoreError> {
        self.ask(|answer| Request::Project { batch, answer }).await
    }

    async fn append(&self, log: LogKey, row: &LogRow, before: &[Write]) -> Result<Append, StoreError> {
        let (row, before) = (row.clone(), before.to_vec());
        self.ask(|answer| Request::Append { log, row, before, answer }).await
    }

    async fn log_row(&self, log: LogKey, first_seq: Seq) -> Result<Option<LogRow>, StoreError> {
        self.spaces()?.log_row(log, first_seq)
    }

    async fn read_log(&self, log: LogKey, after: Seq, max_bytes: usize) -> Result<Vec<LogRow>, StoreError> {
        self.spaces()?.read_log(log, after, max_bytes)
    }
}
