//! What is read: one row, many, a page of a partition, a page of a whole table.
//!
//! In: keys. Out: rows with their stamps. It must not know what a row means.
//!
//! A stamp is the version, where there is one. Else it is the row's write time as far as that is a position: times of the
//! clock are microseconds since 1970 and far above every position.

use super::CqlEngine;
use super::counters::Operation;
use super::outcome;
use super::place::{self, Verb};
use super::writes::Discipline;
use crate::engine::{Direction, Page, Row, RowKey, Scan, TableRow};
use crate::limits::{BEHIND_ALL, page_rows};
use crate::{StoreError, TableRef};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use scylla::response::PagingState;
use scylla::response::query_result::QueryRowsResult;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlValue;
use std::ops::ControlFlow;

/// Reads of one call that are under way at once.
const AT_ONCE: usize = 32;
/// Write times from here on are times: 9 September 2001 in microseconds, or 10^15 events of one log.
pub const FIRST_TIME: i64 = 1_000_000_000_000_000;

/// Version, value and write time, as the server sends them.
type Cells<'a> = (Option<i64>, Option<&'a [u8]>, Option<i64>);

fn row((version, value, time): Cells<'_>) -> Option<Row> {
    // A row whose value was never written is one that a deletion left in part; it is none.
    let value = Bytes::copy_from_slice(value?);
    let position = time.filter(|time| *time < FIRST_TIME);
    let stamp = version.or(position).and_then(|stamp| u64::try_from(stamp).ok()).unwrap_or(0);
    Some(Row { value, stamp })
}

impl CqlEngine {
    /// One page of a statement, and where the next begins.
    pub(super) async fn page(
        &self,
        operation: Operation,
        statement: &PreparedStatement,
        values: &[CqlValue],
        from: PagingState,
    ) -> Result<(QueryRowsResult, Option<PagingState>), StoreError> {
        self.counters.sends(operation, 0, 0);
        let asked = self.connection.session.execute_single_page(statement, values, from).await;
        let (result, next) = asked.map_err(|error| outcome::read(&error))?;
        let rows =
            result.into_rows_result().map_err(|error| outcome::damaged("an answer without rows", &error))?;
        self.counters.carried(operation, rows.rows_num(), rows.rows_bytes_size());
        match next.into_paging_control_flow() {
            ControlFlow::Break(()) => Ok((rows, None)),
            ControlFlow::Continue(next) => Ok((rows, Some(next))),
        }
    }

    pub(super) async fn get_row(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        Ok(self.get_with_discipline(key).await?.map(|(row, _)| row))
    }

    /// A row, and how it was written.
    pub(super) async fn get_with_discipline(
        &self,
        key: &RowKey,
    ) -> Result<Option<(Row, Discipline)>, StoreError> {
        let statement = self.statement(key.table, Verb::Get).await?;
        let values = place::key_values(key)?;
        let (rows, _) = self.page(Operation::Get, statement, &values, PagingState::start()).await?;
        let cells = rows
            .maybe_first_row::<Cells<'_>>()
            .map_err(|error| outcome::damaged(&format!("a row of {}", key.table), &error))?;
        let Some(cells) = cells else { return Ok(None) };
        let discipline = match cells {
            (Some(_), ..) => Discipline::Conditional,
            // Whatever has a value has a time.
            (None, _, time) => Discipline::At(time.unwrap_or_default()),
        };
        Ok(row(cells).map(|row| (row, discipline)))
    }

    pub(super) async fn get_rows(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>, StoreError> {
        let mut reads = Vec::with_capacity(keys.len());
        for key in keys {
            reads.push(self.get_row(key).boxed());
        }
        futures::stream::iter(reads).buffered(AT_ONCE).try_collect().await
    }

    pub(super) async fn scan_partition(&self, scan: &Scan) -> Result<Page<(Bytes, Row)>, StoreError> {
        let limit = page_rows(scan.limit);
        let (from, to) = borders(scan);
        if from >= to {
            return Ok(Page { rows: Vec::new(), next: None });
        }
        let verb = match scan.direction {
            Direction::Forward => Verb::Forward,
            Direction::Backward => Verb::Backward,
        };
        let statement = self.statement(scan.table, verb).await?;
        let mut values = place::partition_values(scan.table, &scan.partition)?;
        values.extend([place::blob(&from), place::blob(&to)]);
        values.push(CqlValue::Int(i32::try_from(limit).unwrap_or(i32::MAX)));
        let mut found = Vec::new();
        let mut state = Some(PagingState::start());
        while let Some(from) = state.take() {
            let (rows, next) = self.page(Operation::Scan, statement, &values, from).await?;
            let damaged =
                |error: &dyn std::error::Error| outcome::damaged(&format!("a row of {}", scan.table), error);
            let rows = rows
                .rows::<(&[u8], Option<i64>, Option<&[u8]>, Option<i64>)>()
                .map_err(|error| damaged(&error))?;
            for cells in rows {
                let (clustering, version, value, time) = cells.map_err(|error| damaged(&error))?;
                found
                    .extend(row((version, value, time)).map(|row| (Bytes::copy_from_slice(clustering), row)));
            }
            state = next;
        }
        found.truncate(limit);
        let next = if found.len() == limit { found.last().map(|(key, _)| key.clone()) } else { None };
        Ok(Page { rows: found, next })
    }

    /// In the order of the partitions' tokens, as the server pages. Its own token is handed on, because two partitions
    /// can have one hash and only the server knows where between them it stopped.
    pub(super) async fn scan_rows(
        &self,
        table: TableRef,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Page<TableRow>, StoreError> {
        let mut statement = self.statement(table, Verb::ScanTable).await?.clone();
        statement.set_page_size(i32::try_from(page_rows(limit)).unwrap_or(1));
        let values = place::table_values(table);
        let mut state =
            after.map_or_else(PagingState::start, |after| PagingState::new_from_raw_bytes(&**after));
        loop {
            let (rows, next) = self.page(Operation::ScanTable, &statement, &values, state).await?;
            let damaged =
                |error: &dyn std::error::Error| outcome::damaged(&format!("a row of {table}"), error);
            let rows = rows
                .rows::<(&[u8], &[u8], Option<i64>, Option<&[u8]>, Option<i64>)>()
                .map_err(|error| damaged(&error))?;
            let mut found = Vec::new();
            for cells in rows {
                let (partition, clustering, version, value, time) = cells.map_err(|error| damaged(&error))?;
                found.extend(row((version, value, time)).map(|row| TableRow {
                    partition: Bytes::copy_from_slice(partition),
                    clustering: Bytes::copy_from_slice(clustering),
                    row,
                }));
            }
            match next {
                // Pages that hold deleted rows alone, or rows of other tables, come empty.
                Some(next) if found.is_empty() => state = next,
                next => {
                    let next =
                        next.and_then(|next| next.as_bytes_slice().map(|raw| Bytes::copy_from_slice(raw)));
                    return Ok(Page { rows: found, next });
                }
            }
        }
    }
}

/// The stretch that a scan reads: from inclusive, to exclusive. The key just behind `k` is `k` and a zero.
fn borders(scan: &Scan) -> (Vec<u8>, Vec<u8>) {
    let mut from = scan.range.from.as_ref().map_or_else(Vec::new, |from| from.to_vec());
    let mut to = scan.range.to.as_ref().map_or_else(|| BEHIND_ALL.to_vec(), |to| to.to_vec());
    if let Some(after) = &scan.after {
        match scan.direction {
            Direction::Forward => from = from.max([after.as_ref(), &[0]].concat()),
            Direction::Backward => to = to.min(after.to_vec()),
        }
    }
    (from, to)
}
