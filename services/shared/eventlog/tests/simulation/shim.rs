//! The embedded engine behind a bad network: answers that get lost before or after the effect, appends that land late,
//! row writes that fail or dawdle; and a bus that drops and doubles one message in ten.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use p92_eventlog::{Bus, LocalBus};
use p92_kernel::Seq;
use p92_storage::{
    Append, Capabilities, Conditional, Embedded, Engine, LogKey, LogRow, Outcome, Page, ProjectedBatch,
    Projection, Row, RowKey, Scan, StoreError, TableRef, TableRow, Write,
};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What was injected.
#[derive(Debug, Default)]
pub struct Injected {
    pub lost_before: AtomicU64,
    pub lost_after: AtomicU64,
    pub late: AtomicU64,
    pub rows_failed: AtomicU64,
}

/// The engine of one history.
#[derive(Debug)]
pub struct Shim {
    store: Arc<Embedded>,
    random: Mutex<StdRng>,
    calm: AtomicBool,
    late: Mutex<Vec<(LogKey, LogRow)>>,
    pub injected: Injected,
}

impl Shim {
    pub fn new(store: Arc<Embedded>, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            store,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            calm: AtomicBool::new(false),
            late: Mutex::default(),
            injected: Injected::default(),
        })
    }

    /// No more faults.
    pub fn calm(&self) {
        self.calm.store(true, Ordering::SeqCst);
    }

    /// Lets every late append land now, if its slot is still free.
    pub async fn land(&self) {
        let late = std::mem::take(&mut *self.late.lock());
        for (log, row) in late {
            // A slot that lies behind the head by now is refused by this engine; on CQL it would be taken too.
            let _ = self.store.append(log, &row, &[]).await;
        }
    }

    fn roll(&self) -> u32 {
        if self.calm.load(Ordering::SeqCst) { 100 } else { self.random.lock().random_range(0..100) }
    }

    fn unknown(reason: &str) -> StoreError {
        StoreError::Unavailable { reason: reason.to_owned(), outcome: Outcome::Unknown }
    }
}

#[async_trait]
impl Engine for Shim {
    fn capabilities(&self) -> Capabilities {
        Capabilities { exclusive: false, ..self.store.capabilities() }
    }

    async fn get(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.store.get(key).await
    }

    async fn get_many(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>, StoreError> {
        self.store.get_many(keys).await
    }

    async fn scan(&self, scan: &Scan) -> Result<Page<(Bytes, Row)>, StoreError> {
        self.store.scan(scan).await
    }

    async fn scan_table(
        &self,
        table: TableRef,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Page<TableRow>, StoreError> {
        self.store.scan_table(table, after, limit).await
    }

    async fn clear(&self, table: TableRef) -> Result<(), StoreError> {
        self.store.clear(table).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.store.write(writes).await
    }

    async fn destroy(&self, key: &RowKey) -> Result<(), StoreError> {
        self.store.destroy(key).await
    }

    async fn insert_if_absent(&self, key: &RowKey, value: Bytes) -> Result<Conditional, StoreError> {
        self.store.insert_if_absent(key, value).await
    }

    async fn compare_and_set(
        &self,
        key: &RowKey,
        expected: Option<u64>,
        value: Bytes,
    ) -> Result<Conditional, StoreError> {
        self.store.compare_and_set(key, expected, value).await
    }

    async fn compare_and_delete(&self, key: &RowKey, expected: u64) -> Result<Conditional, StoreError> {
        self.store.compare_and_delete(key, expected).await
    }

    async fn project(&self, batch: ProjectedBatch) -> Result<Projection, StoreError> {
        match self.roll() {
            0..10 => {
                self.injected.rows_failed.fetch_add(1, Ordering::Relaxed);
                Err(Self::unknown("rows: lost before the effect"))
            }
            10..15 => {
                self.store.project(batch).await?;
                Err(Self::unknown("rows: lost after the effect"))
            }
            // Long enough for another round to be decided on what is laid over.
            15..50 => {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                self.store.project(batch).await
            }
            _ => self.store.project(batch).await,
        }
    }

    async fn append(&self, log: LogKey, row: &LogRow, before: &[Write]) -> Result<Append, StoreError> {
        match self.roll() {
            0..8 => {
                self.injected.lost_before.fetch_add(1, Ordering::Relaxed);
                Err(Self::unknown("append: lost before the effect"))
            }
            8..18 => {
                self.store.append(log, row, before).await?;
                self.injected.lost_after.fetch_add(1, Ordering::Relaxed);
                Err(Self::unknown("append: lost after the effect"))
            }
            18..30 => {
                self.late.lock().push((log, row.clone()));
                self.injected.late.fetch_add(1, Ordering::Relaxed);
                // The caller hangs until somebody else has had time to take over.
                tokio::time::sleep(std::time::Duration::from_millis(8)).await;
                Err(Self::unknown("append: still on its way"))
            }
            _ => self.store.append(log, row, before).await,
        }
    }

    async fn log_row(&self, log: LogKey, first_seq: Seq) -> Result<Option<LogRow>, StoreError> {
        self.store.log_row(log, first_seq).await
    }

    async fn read_log(&self, log: LogKey, after: Seq, max_bytes: usize) -> Result<Vec<LogRow>, StoreError> {
        self.store.read_log(log, after, max_bytes).await
    }
}

/// A bus that drops and doubles one message in ten.
#[derive(Debug)]
pub struct BadBus {
    inner: LocalBus,
    random: Mutex<StdRng>,
}

impl BadBus {
    pub fn new(inner: LocalBus, seed: u64) -> Self {
        Self { inner, random: Mutex::new(StdRng::seed_from_u64(seed ^ 0xb05)) }
    }
}

impl Bus for BadBus {
    fn publish(&self, log: LogKey, body: Bytes) {
        let roll = self.random.lock().next_u32() % 10;
        if roll > 0 {
            self.inner.publish(log, body.clone());
        }
        if roll == 1 {
            self.inner.publish(log, body);
        }
    }

    fn subscribe(&self, log: LogKey) -> BoxStream<'static, Bytes> {
        self.inner.subscribe(log)
    }
}
