//! The engine of one process: fjall under a single committer.
//!
//! In: the operations of the port. Out: rows out of snapshots, and answers when a synced batch holds what was asked.
//! It must not know what a row means. Reads run on the caller's thread, writes on the committer's.
//!
//! | room | noun |
//! |---|---|
//! | `layout` | where a row lies: keyspaces and key bytes |
//! | `reads` | what is read, each time out of one snapshot |
//! | `marker` | whose directory it is, and that nobody else has it open |
//! | `open` | opening a directory, and refusing what must not be opened |
//! | `journal` | a look at the journals before the engine underneath opens them |
//! | `heads` | the side file by which a store that lost its end is noticed |
//! | `committer` | the thread that merges waiting writes into one synced batch |
//! | `batch` | the batch being built: conditions are checked against what stands and what the batch writes |
//! | `space` | the guard that refuses writes before the disk does |
//! | `workers` | the thread underneath, which gives way to those who answer |
//! | `pace` | compaction, in small steps |
//! | `metrics` | what the committer counts |

mod batch;
mod committer;
mod heads;
mod journal;
mod layout;
mod marker;
mod metrics;
mod open;
mod pace;
mod reads;
mod space;
mod workers;

pub use marker::FORMAT;
pub use metrics::{COMMIT_BOUNDS_MICROS, Commits};
pub use space::{FreeSpace, MIB};

use crate::engine::{
    Append, Capabilities, Conditional, Engine, LogKey, LogRow, Page, ProjectedBatch, Projection, Row, RowKey,
    Scan, TableRow, Write,
};
use crate::limits::check_partition;
use crate::{Outcome, StoreError, TableRef};
use async_trait::async_trait;
use bytes::Bytes;
use committer::{Committer, Request, Start};
use layout::Spaces;
use metrics::Counters;
use p92_kernel::{Seq, ShardCount};
use parking_lot::{Mutex, RwLock};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
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
    /// Writes kept in memory, in KiB, in each of four keyspaces, before they become a table. Never larger than at first
    /// start: the engine underneath keeps that one, and beyond it asks its own thread (`Spaces::seal_full`).
    pub memtable_kib: u64,
    /// Whether tables and the large values of journals are compressed. Tables keep what they were made with at first
    /// start.
    pub compression: bool,
    /// How free space is learned.
    pub free_space: FreeSpace,
    /// The id of the installation that is restored here, 32 hexadecimal digits; at first start only. Otherwise a new one.
    pub installation: Option<String>,
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
            memtable_kib: 2 * 1024,
            compression: true,
            free_space: FreeSpace::of_file_system(),
            installation: None,
        }
    }
}

/// The handle that reads take, exchanged when the store is reopened after a failed write.
type Current = Arc<RwLock<Option<Arc<Spaces>>>>;

/// The embedded store.
#[derive(Debug)]
pub struct Embedded {
    // First, so that it ends while the rest still stands.
    committer: Committer,
    current: Current,
    counters: Arc<Counters>,
    installation: String,
    shards: ShardCount,
    fresh: bool,
    lock: Mutex<Option<std::fs::File>>,
}

impl Embedded {
    /// Opens a directory, or makes it. See `open` for what is refused.
    pub fn open(config: EmbeddedConfig) -> Result<Arc<Self>, StoreError> {
        let opened = open::open(&config)?;
        let current: Current = Arc::new(RwLock::new(Some(Arc::new(opened.spaces))));
        let counters = Arc::new(Counters::default());
        let committer = Committer::start(Start {
            current: Arc::clone(&current),
            config,
            found: opened.found,
            shards: opened.marker.shards,
            counters: Arc::clone(&counters),
        })?;
        Ok(Arc::new(Self {
            committer,
            current,
            counters,
            installation: opened.marker.installation,
            shards: opened.marker.shards,
            fresh: opened.fresh,
            lock: Mutex::new(Some(opened.lock)),
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

    /// What the committer has done, and how many requests wait.
    #[must_use]
    pub fn commits(&self) -> Commits {
        self.counters.read(self.committer.waiting())
    }

    /// Ends the committer after everything that waits, and lets go of the directory. Every later request, of whoever
    /// still has a handle, is answered with [`StoreError::Unavailable`].
    pub fn close(&self) {
        self.committer.close();
        // The engine first: whoever gets the lock must find its folder free.
        let spaces = self.current.write().take();
        drop(spaces);
        *self.lock.lock() = None;
    }

    fn read<T>(&self, read: impl FnOnce(&Spaces) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let current = self.current.read().clone();
        let Some(spaces) = current else {
            return Err(StoreError::Unavailable {
                reason: "the store is closed, or could not be opened anew after a failed write yet"
                    .to_owned(),
                outcome: Outcome::NoEffect,
            });
        };
        // The engine asserts on some kinds of damage; a panic must not end the task of whoever reads.
        catch_unwind(AssertUnwindSafe(|| read(&spaces)))
            .unwrap_or_else(|_| Err(StoreError::Damaged("the engine panicked on what it read".to_owned())))
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
        self.read(|spaces| spaces.get(key))
    }

    async fn get_many(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>, StoreError> {
        self.read(|spaces| spaces.get_many(keys))
    }

    async fn scan(&self, scan: &Scan) -> Result<Page<(Bytes, Row)>, StoreError> {
        self.read(|spaces| spaces.scan(scan))
    }

    async fn scan_table(
        &self,
        table: TableRef,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Page<TableRow>, StoreError> {
        self.read(|spaces| spaces.scan_table(table, after, limit))
    }

    async fn clear(&self, table: TableRef) -> Result<(), StoreError> {
        // Piece by piece, so that the committer is never away for long. Journals are in order: syncing the last piece
        // makes the ones before it durable too.
        let mut page = self.read(|spaces| spaces.scan_table(table, None, usize::MAX))?;
        while !page.rows.is_empty() {
            let next = match &page.next {
                Some(after) => self.read(|spaces| spaces.scan_table(table, Some(after), usize::MAX))?,
                None => Page { rows: Vec::new(), next: None },
            };
            let sync = next.rows.is_empty();
            let writes = std::mem::replace(&mut page, next)
                .rows
                .into_iter()
                .map(|row| Write { key: RowKey::new(table, row.partition, row.clustering), value: None })
                .collect();
            self.ask(|answer| Request::Write { writes, sync, answer }).await?;
        }
        Ok(())
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        check_partition(&writes)?;
        self.ask(|answer| Request::Write { writes, sync: true, answer }).await
    }

    async fn destroy(&self, key: &RowKey) -> Result<(), StoreError> {
        // Writes stand in the order in which they were asked for, and nobody else writes.
        self.write(vec![Write { key: key.clone(), value: None }]).await
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

    async fn compare_and_delete(&self, key: &RowKey, expected: u64) -> Result<Conditional, StoreError> {
        let key = key.clone();
        self.ask(|answer| Request::CompareAndDelete { key, expected, answer }).await
    }

    async fn project(&self, batch: ProjectedBatch) -> Result<Projection, StoreError> {
        self.ask(|answer| Request::Project { batch, answer }).await
    }

    async fn append(&self, log: LogKey, row: &LogRow, before: &[Write]) -> Result<Append, StoreError> {
        let (row, before) = (row.clone(), before.to_vec());
        let answer = self.ask(|answer| Request::Append { log, row, before, answer }).await?;
        if matches!(answer, Append::SlotLost(_)) {
            self.counters.slot_lost();
        }
        Ok(answer)
    }

    async fn log_row(&self, log: LogKey, first_seq: Seq) -> Result<Option<LogRow>, StoreError> {
        self.read(|spaces| spaces.log_row(log, first_seq))
    }

    async fn read_log(&self, log: LogKey, after: Seq, max_bytes: usize) -> Result<Vec<LogRow>, StoreError> {
        self.read(|spaces| spaces.read_log(log, after, max_bytes))
    }
}
