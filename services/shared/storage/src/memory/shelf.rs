//! Tables and logs in ordered maps, and what one step does to them. No time, no waiting: a step is atomic.

use crate::engine::{
    Append, Conditional, Direction, LogKey, LogRow, Page, ProjectedWrite, Row, RowKey, Scan, TableRow, Write,
};
use crate::limits::{BEHIND_ALL, check_length, page_rows};
use crate::{Side, StoreError, TableRef};
use bytes::{BufMut as _, Bytes, BytesMut};
use p92_kernel::Seq;
use std::collections::BTreeMap;
use std::ops::Bound;
use xxhash_rust::xxh3::xxh3_64;

/// Where a row stands. Partitions come in the order of their hash, as on CQL in that of their token, so that nobody gets
/// used to another order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    table: &'static str,
    side: Side,
    token: u64,
    partition: Bytes,
    clustering: Bytes,
}

/// What stands there. A row deleted at a position leaves the position behind where rows are guarded each on its own, as a
/// delete with a timestamp does on CQL; so does a plain delete leave behind that it was one.
#[derive(Clone, Debug)]
struct Cell {
    value: Option<Bytes>,
    stamp: u64,
    /// Written or deleted plainly: on CQL at a time, and no position is ever newer.
    plain: bool,
    /// Destroyed: on CQL at a time far ahead, and no plain write is newer.
    destroyed: bool,
}

impl Cell {
    /// At a position, or in a version.
    const fn stamped(value: Option<Bytes>, stamp: u64) -> Self {
        Self { value, stamp, plain: false, destroyed: false }
    }
}

/// Everything that a store holds.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    cells: BTreeMap<Place, Cell>,
    logs: BTreeMap<(LogKey, Seq), LogRow>,
}

fn place(key: &RowKey) -> Result<Place, StoreError> {
    check_length(key.table, &key.partition)?;
    check_length(key.table, &key.clustering)?;
    Ok(Place {
        table: key.table.table.name,
        side: key.table.side,
        token: xxh3_64(&key.partition),
        partition: key.partition.clone(),
        clustering: key.clustering.clone(),
    })
}

fn shown(cell: &Cell) -> Option<Row> {
    Some(Row { value: cell.value.clone()?, stamp: cell.stamp })
}

impl Shelf {
    /// One row.
    pub fn get(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        Ok(self.cells.get(&place(key)?).and_then(shown))
    }

    /// A page of a partition.
    pub fn scan(&self, scan: &Scan) -> Result<Page<(Bytes, Row)>, StoreError> {
        let at =
            |clustering: &Bytes| place(&RowKey::new(scan.table, scan.partition.clone(), clustering.clone()));
        let first = at(&Bytes::new())?;
        let mut from = Bound::Included(scan.range.from.as_ref().map_or(Ok(first.clone()), at)?);
        // No key is longer, so this is behind every one of the partition.
        let behind = Place { clustering: Bytes::from_static(&BEHIND_ALL), ..first };
        let mut to = Bound::Excluded(scan.range.to.as_ref().map_or(Ok(behind), at)?);
        if let Some(after) = &scan.after {
            let after = at(after)?;
            match scan.direction {
                Direction::Forward if inner(&from) <= &after => from = Bound::Excluded(after),
                Direction::Backward if inner(&to) > &after => to = Bound::Excluded(after),
                Direction::Forward | Direction::Backward => {}
            }
        }
        if inner(&from) >= inner(&to) {
            return Ok(Page { rows: Vec::new(), next: None });
        }
        let limit = page_rows(scan.limit);
        let there = self
            .cells
            .range((from, to))
            .filter_map(|(place, cell)| Some((place.clustering.clone(), shown(cell)?)));
        let (rows, more) = match scan.direction {
            Direction::Forward => taken(there, limit),
            Direction::Backward => taken(there.rev(), limit),
        };
        let next = rows.last().filter(|_| more).map(|(clustering, _)| clustering.clone());
        Ok(Page { rows, next })
    }

    /// A page of a whole table.
    pub fn scan_table(
        &self,
        table: TableRef,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Page<TableRow>, StoreError> {
        let from = match after {
            None => Bound::Included(first_of(table)),
            Some(token) => Bound::Excluded(place(&row_of(table, token)?)?),
        };
        let there = self
            .cells
            .range((from, Bound::Unbounded))
            .take_while(|(place, _)| (place.table, place.side) == (table.table.name, table.side));
        let there = there.filter_map(|(place, cell)| {
            let (partition, clustering) = (place.partition.clone(), place.clustering.clone());
            Some(TableRow { partition, clustering, row: shown(cell)? })
        });
        let (rows, more) = taken(there, page_rows(limit));
        let next = rows.last().filter(|_| more).map(token_of);
        Ok(Page { rows, next })
    }

    /// Removes every row of a table.
    pub fn clear(&mut self, table: TableRef) {
        self.cells.retain(|place, _| (place.table, place.side) != (table.table.name, table.side));
    }

    /// Writes and deletes, without condition and without a position.
    pub fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let places = writes.iter().map(|write| place(&write.key)).collect::<Result<Vec<_>, _>>()?;
        for (place, write) in places.into_iter().zip(writes) {
            if self.cells.get(&place).is_some_and(|cell| cell.destroyed) {
                continue;
            }
            let cell = Cell { value: write.value.clone(), stamp: 0, plain: true, destroyed: false };
            self.cells.insert(place, cell);
        }
        Ok(())
    }

    /// Deletes a row that was written plainly, for good.
    pub fn destroy(&mut self, key: &RowKey) -> Result<(), StoreError> {
        let place = place(key)?;
        if self.cells.get(&place).is_some_and(|cell| !cell.plain) {
            return Err(StoreError::Damaged(format!("a row of {} was not written plainly", key.table)));
        }
        self.cells.insert(place, Cell { value: None, stamp: 0, plain: true, destroyed: true });
        Ok(())
    }

    /// Puts the row if its version is `expected`; `None`: if there is none.
    pub fn set(
        &mut self,
        key: &RowKey,
        expected: Option<u64>,
        value: &Bytes,
    ) -> Result<Conditional, StoreError> {
        let stands = self.get(key)?;
        if stands.as_ref().map(|row| row.stamp) != expected {
            return Ok(Conditional::Stands(stands));
        }
        let stamp = expected.unwrap_or(0) + 1;
        self.cells.insert(place(key)?, Cell::stamped(Some(value.clone()), stamp));
        Ok(Conditional::Applied)
    }

    /// Deletes the row if its version is `expected`.
    pub fn delete(&mut self, key: &RowKey, expected: u64) -> Result<Conditional, StoreError> {
        let stands = self.get(key)?;
        if stands.as_ref().map(|row| row.stamp) != Some(expected) {
            return Ok(Conditional::Stands(stands));
        }
        self.cells.remove(&place(key)?);
        Ok(Conditional::Applied)
    }

    /// Writes a row at a position, unless a newer one stands there. Of two writes at one position a delete stands, and of
    /// two values the larger: CQL decides so, and it does not matter as long as rows are functions of events. Over a plain
    /// write CQL would drop it without a word; here whoever mixes the two is told.
    pub fn put_at(&mut self, write: &ProjectedWrite) -> Result<(), StoreError> {
        let place = place(&write.key)?;
        let stamp = write.at.0;
        let stands = self.cells.get(&place);
        if stands.is_some_and(|cell| cell.plain) {
            return Err(StoreError::Damaged(format!("a position over a plain write of {}", write.key.table)));
        }
        let outdone = stands.is_some_and(|cell| match (&cell.value, &write.value) {
            _ if cell.stamp != stamp => cell.stamp > stamp,
            (None, _) => true,
            (Some(_), None) => false,
            (Some(stands), Some(value)) => stands > value,
        });
        if !outdone {
            self.cells.insert(place, Cell::stamped(write.value.clone(), stamp));
        }
        Ok(())
    }

    /// Writes a row whose order is kept by a checkpoint and not by itself: what is deleted leaves nothing behind.
    pub fn put_in_order(&mut self, write: &ProjectedWrite) -> Result<(), StoreError> {
        let at = place(&write.key)?;
        if self.cells.get(&at).is_none_or(|cell| cell.stamp <= write.at.0) {
            match &write.value {
                Some(value) => {
                    self.cells.insert(at, Cell::stamped(Some(value.clone()), write.at.0));
                }
                None => {
                    self.cells.remove(&at);
                }
            }
        }
        Ok(())
    }

    /// Puts a group into its slot if none stands there.
    pub fn append(&mut self, log: LogKey, row: &LogRow) -> Append {
        let stands = self.logs.entry((log, row.first_seq)).or_insert_with(|| row.clone());
        if stands.group == row.group { Append::Appended } else { Append::SlotLost(stands.clone()) }
    }

    /// The row at exactly this slot.
    pub fn log_row(&self, log: LogKey, first_seq: Seq) -> Option<LogRow> {
        self.logs.get(&(log, first_seq)).cloned()
    }

    /// Rows that begin after a position. As on CQL, a read ends with the bucket that it began in.
    pub fn read_log(&self, log: LogKey, after: Seq, max_bytes: usize) -> Vec<LogRow> {
        let range = (Bound::Excluded((log, after)), Bound::Included((log, Seq(u64::MAX))));
        let mut rows: Vec<LogRow> = Vec::new();
        let mut bytes = 0;
        for row in self.logs.range(range).map(|(_, row)| row) {
            bytes += row.events.len();
            let begun = rows.first().map(|first| LogRow::bucket(first.first_seq));
            if begun.is_some_and(|bucket| bytes > max_bytes || bucket != LogRow::bucket(row.first_seq)) {
                break;
            }
            rows.push(row.clone());
        }
        rows
    }
}

fn inner(bound: &Bound<Place>) -> &Place {
    static NONE: Place =
        Place { table: "", side: Side::Only, token: 0, partition: Bytes::new(), clustering: Bytes::new() };
    match bound {
        Bound::Included(place) | Bound::Excluded(place) => place,
        Bound::Unbounded => &NONE,
    }
}

/// The first `limit`, and whether there are more.
fn taken<T>(mut there: impl Iterator<Item = T>, limit: usize) -> (Vec<T>, bool) {
    let rows = there.by_ref().take(limit).collect();
    (rows, there.next().is_some())
}

fn first_of(table: TableRef) -> Place {
    Place {
        table: table.table.name,
        side: table.side,
        token: 0,
        partition: Bytes::new(),
        clustering: Bytes::new(),
    }
}

/// Where a scan of a table stopped: the partition after its length, and the clustering key.
fn token_of(row: &TableRow) -> Bytes {
    let mut token = BytesMut::new();
    token.put_u16(u16::try_from(row.partition.len()).unwrap_or(u16::MAX));
    token.extend_from_slice(&row.partition);
    token.extend_from_slice(&row.clustering);
    token.freeze()
}

fn row_of(table: TableRef, token: &Bytes) -> Result<RowKey, StoreError> {
    let parts = token
        .split_first_chunk()
        .and_then(|(length, rest)| rest.split_at_checked(usize::from(u16::from_be_bytes(*length))));
    let (partition, clustering) =
        parts.ok_or_else(|| StoreError::Damaged(format!("no page of {table} begins at this token")))?;
    Ok(RowKey::new(table, Bytes::copy_from_slice(partition), Bytes::copy_from_slice(clustering)))
}
