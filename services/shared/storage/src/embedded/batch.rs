//! A batch being built: each condition is checked against what stands in the store and what this batch writes already.
//!
//! So requests that wait together come out as if they had come one by one. A request is staged whole or, when it is
//! refused, not at all: everything that can fail comes before its first write.

use super::heads::Heads;
use super::layout::{self, Space, Spaces};
use crate::StoreError;
use crate::engine::{Append, Conditional, LogKey, LogRow, ProjectedBatch, Projection, Row, RowKey, Write};
use fjall::{OwnedWriteBatch, Readable as _, Snapshot};
use p92_kernel::Seq;
use std::collections::BTreeMap;

/// Writes by key; `None` deletes. A key stands here once, since the engine underneath gives all writes of a batch one
/// sequence number and could not tell two of them apart.
type Staged = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What one commit will write.
pub struct Batch<'a> {
    spaces: &'a Spaces,
    snapshot: Snapshot,
    known: &'a Heads,
    staged: [Staged; 4],
    moved: Heads,
    bytes: usize,
    sync: bool,
}

/// A key with what stands there.
struct Found {
    space: Space,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

impl Found {
    fn row(&self) -> Result<Option<Row>, StoreError> {
        self.value.as_deref().map(layout::read_row).transpose()
    }
}

impl<'a> Batch<'a> {
    /// An empty batch on what stands now; `known` are the heads of the logs.
    pub fn new(spaces: &'a Spaces, known: &'a Heads) -> Self {
        Self {
            snapshot: spaces.database.snapshot(),
            spaces,
            known,
            staged: Default::default(),
            moved: Heads::new(),
            bytes: 0,
            sync: false,
        }
    }

    /// Bytes of keys and values so far.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it writes anything.
    pub fn is_empty(&self) -> bool {
        self.staged.iter().all(BTreeMap::is_empty)
    }

    /// Whether somebody was promised that it is durable.
    pub const fn needs_sync(&self) -> bool {
        self.sync
    }

    /// As the engine takes it, numbered, and the heads that it moves.
    pub fn finish(mut self, commit: u64) -> (OwnedWriteBatch, Heads) {
        let tally = layout::tally_value(commit, self.spaces.database.seqno());
        self.stage(Space::State, layout::TALLY.to_vec(), Some(tally));
        let mut batch = self.spaces.database.batch();
        for (space, staged) in Space::ALL.into_iter().zip(self.staged) {
            let keyspace = self.spaces.of(space);
            for (key, value) in staged {
                match value {
                    Some(value) => batch.insert(keyspace, key, value),
                    None => batch.remove(keyspace, key),
                }
            }
        }
        (batch, self.moved)
    }

    fn stage(&mut self, space: Space, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        let [log, index, state, view] = &mut self.staged;
        match space {
            Space::Log => log,
            Space::Index => index,
            Space::State => state,
            Space::View => view,
        }
        .insert(key, value);
    }

    fn find(&self, space: Space, key: Vec<u8>) -> Result<Found, StoreError> {
        let [log, index, state, view] = &self.staged;
        let staged = match space {
            Space::Log => log,
            Space::Index => index,
            Space::State => state,
            Space::View => view,
        };
        let value = match staged.get(&key) {
            Some(value) => value.clone(),
            None => {
                let found = self.snapshot.get(self.spaces.of(space), &key).map_err(layout::read_error)?;
                found.map(|value| value.to_vec())
            }
        };
        Ok(Found { space, key, value })
    }

    fn find_row(&self, key: &RowKey) -> Result<Found, StoreError> {
        self.find(Space::of(key.table), layout::row_key(key)?)
    }

    /// Plain writes.
    pub fn write(&mut self, writes: &[Write], sync: bool) -> Result<(), StoreError> {
        let encoded =
            writes.iter().map(|write| layout::row_key(&write.key)).collect::<Result<Vec<_>, StoreError>>()?;
        for (write, key) in writes.iter().zip(encoded) {
            let value = write.value.as_ref().map(|value| layout::stamped(0, value));
            self.stage(Space::of(write.key.table), key, value);
        }
        self.sync |= sync;
        Ok(())
    }

    /// Insert-if-absent.
    pub fn insert(&mut self, key: &RowKey, value: &[u8]) -> Result<Conditional, StoreError> {
        let found = self.find_row(key)?;
        if let Some(row) = found.row()? {
            return Ok(Conditional::Stands(Some(row)));
        }
        self.stage(found.space, found.key, Some(layout::stamped(1, value)));
        self.sync = true;
        Ok(Conditional::Applied)
    }

    /// Compare-and-set.
    pub fn compare_and_set(
        &mut self,
        key: &RowKey,
        expected: Option<u64>,
        value: &[u8],
    ) -> Result<Conditional, StoreError> {
        let found = self.find_row(key)?;
        let row = found.row()?;
        if row.as_ref().map(|row| row.stamp) != expected {
            return Ok(Conditional::Stands(row));
        }
        let version = expected.unwrap_or(0).saturating_add(1);
        self.stage(found.space, found.key, Some(layout::stamped(version, value)));
        self.sync = true;
        Ok(Conditional::Applied)
    }

    /// Compare-and-delete.
    pub fn compare_and_delete(&mut self, key: &RowKey, expected: u64) -> Result<Conditional, StoreError> {
        let found = self.find_row(key)?;
        let row = found.row()?;
        if row.as_ref().map(|row| row.stamp) != Some(expected) {
            return Ok(Conditional::Stands(row));
        }
        self.stage(found.space, found.key, None);
        self.sync = true;
        Ok(Conditional::Applied)
    }

    /// Rows at a position, with the checkpoint. Asks for no sync: the rows are a function of a log whose rows up to
    /// `to` are durable already, which the caller guarantees; if a crash takes them, the checkpoint goes with them.
    pub fn project(&mut self, batch: &ProjectedBatch) -> Result<Projection, StoreError> {
        let checkpoint = self.find_row(&batch.checkpoint)?;
        let stands = checkpoint.row()?.map_or(Seq(0), |row| Seq(row.stamp));
        if stands != batch.from {
            return Ok(Projection::Refused { stands });
        }
        let mut writes = Vec::with_capacity(batch.writes.len());
        for write in &batch.writes {
            let found = self.find_row(&write.key)?;
            // Two readers, each with its own checkpoint, may write one row: a rebuild and the writer that takes over.
            if found.row()?.is_none_or(|row| row.stamp <= write.at.0) {
                let value = write.value.as_ref().map(|value| layout::stamped(write.at.0, value));
                writes.push(Found { value, ..found });
            }
        }
        for write in writes {
            self.stage(write.space, write.key, write.value);
        }
        self.stage(checkpoint.space, checkpoint.key, Some(layout::stamped(batch.to.0, &[])));
        Ok(Projection::Applied)
    }

    /// A row at its slot of a log, with the state that must not come later.
    pub fn append(&mut self, log: LogKey, row: &LogRow, before: &[Write]) -> Result<Append, StoreError> {
        let slot = self.find(Space::Log, layout::log_key(log, row.first_seq))?;
        if let Some(value) = &slot.value {
            let stands = layout::read_log_row(&slot.key, value)?;
            return Ok(if stands.group == row.group { Append::Appended } else { Append::SlotLost(stands) });
        }
        let head = self.moved.get(&log).or_else(|| self.known.get(&log)).copied().unwrap_or_default();
        if row.first_seq != head.next() || row.last_seq < row.first_seq {
            return Err(StoreError::Damaged(format!(
                "an append of {}..={} to {}/{}, which ends at {head}: the log would not be gapless",
                row.first_seq, row.last_seq, log.service, log.shard
            )));
        }
        self.write(before, true)?;
        self.stage(Space::Log, slot.key, Some(layout::log_value(row)));
        self.moved.insert(log, row.last_seq);
        Ok(Append::Appended)
    }
}
