//! A batch being built: each condition is checked against what stands in the store and what this batch writes already.

use super::heads::Heads;
use super::layout::{Spaces, log_key, log_value, read_log_row, read_row, row_key, stamped};
use crate::StoreError;
use crate::engine::{Append, Conditional, LogKey, LogRow, ProjectedBatch, Projection, Row, RowKey, Write};
use bytes::Bytes;
use fjall::{Keyspace, OwnedWriteBatch, Readable as _, Snapshot};
use p92_kernel::Seq;
use std::collections::HashMap;

/// Keys are at most this long, so that every engine takes them.
const KEY_BYTES: usize = 512;

/// Writes by keyspace and key; `None` deletes.
type Staged = HashMap<(String, Vec<u8>), Option<Vec<u8>>>;

/// What one commit will write.
pub struct Batch<'a> {
    spaces: &'a Spaces,
    snapshot: Snapshot,
    staged: Staged,
    order: Vec<(Keyspace, Vec<u8>, Option<Vec<u8>>)>,
    heads: Heads,
    bytes: usize,
}

impl<'a> Batch<'a> {
    /// An empty batch on what stands now.
    pub fn new(spaces: &'a Spaces) -> Self {
        Self {
            snapshot: spaces.database.snapshot(),
            spaces,
            staged: HashMap::new(),
            order: Vec::new(),
            heads: Heads::new(),
            bytes: 0,
        }
    }

    /// Bytes of keys and values so far.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The heads that it moves.
    pub const fn heads(&self) -> &Heads {
        &self.heads
    }

    /// As the engine takes it; `None` if there is nothing to write.
    pub fn finish(self) -> Option<OwnedWriteBatch> {
        if self.order.is_empty() {
            return None;
        }
        let mut batch = self.spaces.database.batch();
        for (space, key, value) in self.order {
            match value {
                Some(value) => batch.insert(&space, key, value),
                None => batch.remove(&space, key),
            }
        }
        Some(batch)
    }

    fn stage(&mut self, space: &Keyspace, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        self.staged.insert((space.name().to_string(), key.clone()), value.clone());
        self.order.push((space.clone(), key, value));
    }

    fn standing(&self, space: &Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(value) = self.staged.get(&(space.name().to_string(), key.to_vec())) {
            return Ok(value.clone());
        }
        let found = self.snapshot.get(space, key).map_err(super::layout::read_error)?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn row(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        let value = self.standing(self.spaces.of_table(key.table), &row_key(key))?;
        value.map(|value| read_row(&value)).transpose()
    }

    fn put(&mut self, key: &RowKey, stamp: u64, value: Option<&Bytes>) {
        let space = self.spaces.of_table(key.table).clone();
        self.stage(&space, row_key(key), value.map(|value| stamped(stamp, value)));
    }

    /// Plain writes to one partition of one table.
    pub fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        for write in writes {
            check_key(&write.key)?;
        }
        for write in writes {
            self.put(&write.key, 0, write.value.as_ref());
        }
        Ok(())
    }

    /// Insert-if-absent.
    pub fn insert(&mut self, key: &RowKey, value: &Bytes) -> Result<Conditional, StoreError> {
        check_key(key)?;
        if let Some(row) = self.row(key)? {
            return Ok(Conditional::Stands(Some(row)));
        }
        self.put(key, 1, Some(value));
        Ok(Conditional::Applied)
    }

    /// Compare-and-set.
    pub fn compare_and_set(
        &mut self,
        key: &RowKey,
        expected: Option<u64>,
        value: &Bytes,
    ) -> Result<Conditional, StoreError> {
        check_key(key)?;
        let row = self.row(key)?;
        if row.as_ref().map(|row| row.stamp) != expected {
            return Ok(Conditional::Stands(row));
        }
        self.put(key, expected.unwrap_or(0) + 1, Some(value));
        Ok(Conditional::Applied)
    }

    /// Rows at a position, with the checkpoint.
    pub fn project(&mut self, batch: &ProjectedBatch) -> Result<Projection, StoreError> {
        check_key(&batch.checkpoint)?;
        for write in &batch.writes {
            check_key(&write.key)?;
        }
        let stands = self.row(&batch.checkpoint)?.map_or(Seq(0), |row| Seq(row.stamp));
        if stands != batch.from {
            return Ok(Projection::Refused { stands });
        }
        for write in &batch.writes {
            self.put(&write.key, write.at.0, write.value.as_ref());
        }
        self.put(&batch.checkpoint, batch.to.0, Some(&Bytes::new()));
        Ok(Projection::Applied)
    }

    /// A row at its slot of a log, with the state that must not come later.
    pub fn append(
        &mut self,
        log: LogKey,
        row: &LogRow,
        before: &[Write],
        known: &Heads,
    ) -> Result<Append, StoreError> {
        let key = log_key(log, row.first_seq);
        let space = self.spaces.log.clone();
        if let Some(value) = self.standing(&space, &key)? {
            let stands = read_log_row(&key, &value)?;
            return Ok(if stands.group == row.group { Append::Appended } else { Append::SlotLost(stands) });
        }
        let head = self.heads.get(&log).or_else(|| known.get(&log)).copied().unwrap_or_default();
        if row.first_seq != head.next() || row.last_seq < row.first_seq {
            return Err(StoreError::Damaged(format!(
                "an append at {} of {}/{}, which ends at {head}: the log would not be gapless",
                row.first_seq, log.service, log.shard
            )));
        }
        self.write(before)?;
        self.stage(&space, key, Some(log_value(row)));
        self.heads.insert(log, row.last_seq);
        Ok(Append::Appended)
    }
}

fn check_key(key: &RowKey) -> Result<(), StoreError> {
    if key.partition.len() > KEY_BYTES || key.clustering.len() > KEY_BYTES {
        return Err(StoreError::Damaged(format!(
            "a key of {} is longer than {KEY_BYTES} bytes; its service should have refused it",
            key.table
        )));
    }
    Ok(())
}
