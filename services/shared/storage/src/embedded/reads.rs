//! Reads, each through one snapshot: a plain read could see half of a batch.

use super::layout::{
    Space, Spaces, log_key, log_prefix, partition_prefix, read_error, read_log_row, read_row, row_key,
    split_row_key, table_prefix,
};
use crate::engine::{Direction, LogKey, LogRow, Page, Row, RowKey, Scan, TableRow};
use crate::limits::page_rows;
use crate::{StoreError, TableRef};
use bytes::Bytes;
use fjall::{Guard, Readable as _, Snapshot};
use p92_kernel::Seq;
use std::ops::Bound;

impl Spaces {
    /// One row.
    pub fn get(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.get_at(&self.database.snapshot(), key)
    }

    fn get_at(&self, snapshot: &Snapshot, key: &RowKey) -> Result<Option<Row>, StoreError> {
        let value = snapshot.get(self.of(Space::of(key.table)), row_key(key)?).map_err(read_error)?;
        value.map(|value| read_row(&value)).transpose()
    }

    /// Many rows out of one snapshot.
    pub fn get_many(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>, StoreError> {
        let snapshot = self.database.snapshot();
        keys.iter().map(|key| self.get_at(&snapshot, key)).collect()
    }

    /// A page of a partition.
    pub fn scan(&self, scan: &Scan) -> Result<Page<(Bytes, Row)>, StoreError> {
        let prefix = partition_prefix(scan.table, &scan.partition)?;
        let (from, to) = bounds(&prefix, scan);
        if is_empty(&from, &to) {
            return Ok(Page { rows: Vec::new(), next: None });
        }
        let snapshot = self.database.snapshot();
        let range = snapshot.range(self.of(Space::of(scan.table)), (from, to));
        let limit = page_rows(scan.limit);
        let read = |guard: Guard| -> Result<(Bytes, Row), StoreError> {
            let (key, value) = guard.into_inner().map_err(read_error)?;
            let clustering = key.get(prefix.len()..).unwrap_or_default();
            Ok((Bytes::copy_from_slice(clustering), read_row(&value)?))
        };
        let rows: Vec<_> = match scan.direction {
            Direction::Forward => range.take(limit).map(read).collect::<Result<_, _>>()?,
            Direction::Backward => range.rev().take(limit).map(read).collect::<Result<_, _>>()?,
        };
        let next = if rows.len() == limit { rows.last().map(|(key, _)| key.clone()) } else { None };
        Ok(Page { rows, next })
    }

    /// A page of a whole table, in the order of its key bytes; the token is the last key.
    pub fn scan_table(
        &self,
        table: TableRef,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Page<TableRow>, StoreError> {
        let prefix = table_prefix(table);
        let from = match after {
            Some(after) => Bound::Excluded([prefix.as_slice(), after].concat()),
            None => Bound::Included(prefix.clone()),
        };
        let to = behind(&prefix);
        let limit = page_rows(limit);
        let mut rows = Vec::new();
        let mut last = None;
        let snapshot = self.database.snapshot();
        for guard in snapshot.range(self.of(Space::of(table)), (from, to)).take(limit) {
            let (key, value) = guard.into_inner().map_err(read_error)?;
            let rest = key.get(prefix.len()..).unwrap_or_default();
            let (partition, clustering) = split_row_key(rest)
                .ok_or_else(|| StoreError::Damaged(format!("a key of {table} is too short")))?;
            rows.push(TableRow { partition, clustering, row: read_row(&value)? });
            last = Some(Bytes::copy_from_slice(rest));
        }
        let next = if rows.len() == limit { last } else { None };
        Ok(Page { rows, next })
    }

    /// The row at a slot.
    pub fn log_row(&self, log: LogKey, first_seq: Seq) -> Result<Option<LogRow>, StoreError> {
        let key = log_key(log, first_seq);
        let value = self.database.snapshot().get(self.of(Space::Log), &key).map_err(read_error)?;
        value.map(|value| read_log_row(&key, &value)).transpose()
    }

    /// Rows of a log after a position.
    pub fn read_log(&self, log: LogKey, after: Seq, max_bytes: usize) -> Result<Vec<LogRow>, StoreError> {
        let from = Bound::Included(log_key(log, after.next()));
        let snapshot = self.database.snapshot();
        let mut rows = Vec::new();
        let mut bytes = 0;
        for guard in snapshot.range(self.of(Space::Log), (from, behind(&log_prefix(log)))) {
            let (key, value) = guard.into_inner().map_err(read_error)?;
            bytes += value.len();
            if bytes > max_bytes && !rows.is_empty() {
                break;
            }
            rows.push(read_log_row(&key, &value)?);
        }
        Ok(rows)
    }

    /// The last row of a log.
    pub fn last_log_row(&self, log: LogKey) -> Result<Option<LogRow>, StoreError> {
        let snapshot = self.database.snapshot();
        let Some(guard) = snapshot.prefix(self.of(Space::Log), log_prefix(log)).next_back() else {
            return Ok(None);
        };
        let (key, value) = guard.into_inner().map_err(read_error)?;
        read_log_row(&key, &value).map(Some)
    }
}

/// The border behind everything that begins with `prefix`.
fn behind(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

fn bounds(prefix: &[u8], scan: &Scan) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let at = |clustering: &Bytes| [prefix, clustering].concat();
    let mut from = Bound::Included(scan.range.from.as_ref().map_or_else(|| prefix.to_vec(), at));
    let mut to = scan.range.to.as_ref().map_or_else(|| behind(prefix), |to| Bound::Excluded(at(to)));
    if let Some(after) = &scan.after {
        let after = at(after);
        match scan.direction {
            Direction::Forward if key_of(&from).is_none_or(|from| &after >= from) => {
                from = Bound::Excluded(after);
            }
            Direction::Backward if key_of(&to).is_none_or(|to| &after < to) => to = Bound::Excluded(after),
            Direction::Forward | Direction::Backward => {}
        }
    }
    (from, to)
}

const fn key_of(bound: &Bound<Vec<u8>>) -> Option<&Vec<u8>> {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => Some(key),
        Bound::Unbounded => None,
    }
}

/// Ranges turned around hold nothing; the engine would panic on them.
fn is_empty(from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> bool {
    matches!((key_of(from), key_of(to)), (Some(from), Some(to)) if from >= to)
}
