//! The port: what every engine offers, and the exact meaning of each operation.
//!
//! Two engines stand behind it (embedded, CQL) and one suite, [`crate::conformance`], holds them to these words.

use crate::{StoreError, TableRef};
use async_trait::async_trait;
use bytes::Bytes;
use p92_kernel::{Seq, Service, Shard};

/// Sequence numbers per partition of the log: bucket = (first_seq − 1) div this.
pub const LOG_BUCKET: u64 = 20_000;

/// What tells two attempts at one append from two different groups.
pub type GroupId = [u8; 16];

/// Where a row is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RowKey {
    pub table: TableRef,
    /// At most 512 bytes.
    pub partition: Bytes,
    /// At most 512 bytes.
    pub clustering: Bytes,
}

impl RowKey {
    /// A row of `table`.
    pub fn new(table: TableRef, partition: impl Into<Bytes>, clustering: impl Into<Bytes>) -> Self {
        Self { table, partition: partition.into(), clustering: clustering.into() }
    }
}

/// A row as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub value: Bytes,
    /// Rows written at a position: that position. Rows written conditionally: their version, from 1. Else 0.
    pub stamp: u64,
}

/// Which way a partition is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Backward,
}

/// Clustering keys from `from` (inclusive) up to `to` (exclusive); `None` is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    pub from: Option<Bytes>,
    pub to: Option<Bytes>,
}

impl Range {
    /// The whole partition.
    #[must_use]
    pub const fn all() -> Self {
        Self { from: None, to: None }
    }

    /// Every clustering key that begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        let mut to = prefix.to_vec();
        while let Some(last) = to.pop() {
            if last < u8::MAX {
                to.push(last + 1);
                return Self { from: Some(Bytes::copy_from_slice(prefix)), to: Some(to.into()) };
            }
        }
        Self { from: Some(Bytes::copy_from_slice(prefix)), to: None }
    }
}

/// A read of one partition, in the order of the clustering keys.
#[derive(Clone, Debug)]
pub struct Scan {
    pub table: TableRef,
    pub partition: Bytes,
    pub range: Range,
    pub direction: Direction,
    /// At most this many rows: 0 counts as 1, and engines take at most 1,000.
    pub limit: usize,
    /// Go on behind this clustering key, exclusive, in the direction of the scan and within the range: the last key of
    /// the page before. The row itself may be gone.
    pub after: Option<Bytes>,
}

/// Rows in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page<R> {
    pub rows: Vec<R>,
    /// Where the next page begins, if there may be one. Opaque.
    pub next: Option<Bytes>,
}

/// A row met by a scan of a whole table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRow {
    pub partition: Bytes,
    pub clustering: Bytes,
    pub row: Row,
}

/// A put, or a delete when `value` is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub key: RowKey,
    pub value: Option<Bytes>,
}

/// The answer to a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conditional {
    /// Done by this call, durable.
    Applied,
    /// Not done; this row stands there (`None`: compare-and-set or -delete of a row that does not exist).
    Stands(Option<Row>),
}

/// Rows that are a function of a log up to a position, and the checkpoint that says so.
///
/// CQL: the note first, then each row at the timestamp of its position, then the checkpoint. Embedded: one atomic batch, refused unless
/// the checkpoint stands at `from`.
#[derive(Clone, Debug)]
pub struct ProjectedBatch {
    /// Row whose stamp is the position up to which its reader has applied the log.
    pub checkpoint: RowKey,
    /// The position this batch goes on from: 0 when there is no checkpoint row.
    pub from: Seq,
    /// Where the checkpoint stands afterwards.
    pub to: Seq,
    /// At most one write per key.
    pub writes: Vec<ProjectedWrite>,
    /// A row that must stand before the first of the others is written, so that whoever finds the batch half done can
    /// finish it. An engine to which a batch is one atomic write leaves it out.
    pub note: Option<ProjectedWrite>,
}

/// A put or delete at a position: an older position never overwrites a newer one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectedWrite {
    pub key: RowKey,
    pub value: Option<Bytes>,
    /// Position of the event that the row comes from: the row's stamp, on CQL its timestamp.
    pub at: Seq,
}

/// The answer to a [`ProjectedBatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    Applied,
    /// Nothing was written: the checkpoint stands at another position.
    Refused {
        stands: Seq,
    },
}

/// One shard's log of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogKey {
    pub service: Service,
    pub shard: Shard,
}

/// A group of events as one row of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    pub first_seq: Seq,
    pub last_seq: Seq,
    pub group: GroupId,
    /// Opaque here.
    pub events: Bytes,
}

impl LogRow {
    /// The partition that the row stands in.
    #[must_use]
    pub const fn bucket(first_seq: Seq) -> u64 {
        first_seq.0.saturating_sub(1) / LOG_BUCKET
    }
}

/// The answer to an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Append {
    /// The row is there, durable, by this call or by an earlier attempt with the same group id.
    Appended,
    /// Another row stands in the slot: the log has another owner.
    SlotLost(LogRow),
}

/// What an engine can do that another cannot; the conformance suite asks instead of guessing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// A projected batch is one atomic write, refused as a whole when the checkpoint stands elsewhere.
    /// Without it every row is guarded on its own by its position, and the checkpoint is written last.
    pub atomic_projection: bool,
    /// Opening the store proves that nobody else lives (directory lock).
    pub exclusive: bool,
}

/// A store. Reads see only what is durable; every success answer to a write means: durable.
///
/// [`Engine::project`] is the exception: its rows can be recomputed from a durable log, so it answers when the batch
/// is visible, in order, and it becomes durable with the next synced write.
#[async_trait]
pub trait Engine: Send + Sync + std::fmt::Debug + 'static {
    /// What this engine can do.
    fn capabilities(&self) -> Capabilities;

    /// One row.
    async fn get(&self, key: &RowKey) -> Result<Option<Row>, StoreError>;

    /// Many rows, answered in the order of the keys. Nothing is promised about their being read at one moment.
    async fn get_many(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>, StoreError>;

    /// A page of a partition: clustering keys and rows. It sees a batch of [`Engine::write`] whole or not at all.
    async fn scan(&self, scan: &Scan) -> Result<Page<(Bytes, Row)>, StoreError>;

    /// A page of a whole table, in the engine's own order, which is the same for both sides of a view. Rows that come
    /// and go between two pages may be seen or not; all others are seen once.
    async fn scan_table(
        &self,
        table: TableRef,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Page<TableRow>, StoreError>;

    /// Removes every row of a table. Not at one moment: whoever reads meanwhile may find some, and a row that is written
    /// meanwhile may stay or go. Views and stream rows take any position afterwards; a row of state that stood at a
    /// position takes only newer ones, since on CQL what is deleted leaves its position for a while.
    async fn clear(&self, table: TableRef) -> Result<(), StoreError>;

    /// Writes and deletes in one partition of one table, all or nothing, at most one per key. Not for rows that
    /// conditional writes touch, and not for rows that are written at a position: on CQL a plain write bears the time,
    /// and no position would ever be newer. Several partitions are a bug of the caller.
    async fn write(&self, writes: Vec<Write>) -> Result<(), StoreError>;

    /// Deletes a row that was written plainly, whoever's clock it bears, and for good: what of it is still under way has
    /// no effect any more. For rows that nobody makes a second time, such as keys: on CQL the delete bears a time a day
    /// ahead, and whatever is written there before then is lost.
    async fn destroy(&self, key: &RowKey) -> Result<(), StoreError>;

    /// Puts the row, in version 1, if there is none.
    async fn insert_if_absent(&self, key: &RowKey, value: Bytes) -> Result<Conditional, StoreError>;

    /// Replaces the row (or makes it, `expected` = `None`) if its version, the stamp, is `expected`. The new version
    /// is `expected + 1`, or 1.
    async fn compare_and_set(
        &self,
        key: &RowKey,
        expected: Option<u64>,
        value: Bytes,
    ) -> Result<Conditional, StoreError>;

    /// Deletes the row if its version, the stamp, is `expected`; [`Conditional::Stands`] shows what is there instead. A
    /// row that is made anew begins with version 1 again: whoever remembers versions of a row that others delete must
    /// reckon with that.
    async fn compare_and_delete(&self, key: &RowKey, expected: u64) -> Result<Conditional, StoreError>;

    /// Writes rows at a position and moves the checkpoint. The log must be durable up to `to`. Where two readers with
    /// checkpoints of their own write one row, the newer position stands; a delete leaves no position behind.
    async fn project(&self, batch: ProjectedBatch) -> Result<Projection, StoreError>;

    /// Puts the row at its slot, `row.first_seq`, if none stands there.
    ///
    /// `before` are writes to state that must be durable no later than the row, such as the keys that open it.
    /// Embedded: one batch with the row. CQL: written and acknowledged first. If the slot is lost they may stand.
    ///
    /// The slot is the one behind the end of the log as the caller knows it. If that is older than the end of the log, a
    /// row stands there; a slot beyond the end, or inside a group, is a bug of the caller. Embedded refuses it, CQL cannot
    /// know.
    async fn append(&self, log: LogKey, row: &LogRow, before: &[Write]) -> Result<Append, StoreError>;

    /// The row at exactly this slot.
    async fn log_row(&self, log: LogKey, first_seq: Seq) -> Result<Option<LogRow>, StoreError>;

    /// Rows that begin after `after`, which is 0 or the end of a group, in order: at least one if there is one, then
    /// as many as fit `max_bytes`. An engine may stop earlier; a reader goes on until nothing comes.
    async fn read_log(&self, log: LogKey, after: Seq, max_bytes: usize) -> Result<Vec<LogRow>, StoreError>;
}
