//! What is written: plain rows, rows at a position, and rows under a condition.
//!
//! In: writes. Out: that they are acknowledged, or what stands instead. It must not know what a row means.
//!
//! Three disciplines, and no row is ever written by two of them. A plain write carries the time, a positioned one its
//! position, and a conditional one takes its timestamp from the replicas' agreement: mixed, a write would lose against
//! an older one.

use super::CqlEngine;
use super::counters::Operation;
use super::outcome;
use super::place::{self, Verb};
use crate::engine::{Conditional, ProjectedBatch, Projection, Row, RowKey, Write};
use crate::limits::check_partition;
use crate::{Class, Outcome, StoreError, TableRef};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use scylla::response::query_result::QueryResult;
use scylla::statement::batch::{Batch, BatchType};
use scylla::value::{CqlValue, Row as CqlRow};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Rows of one partition that go in one batch, as long as they may be cut.
const BATCH_BYTES: usize = 16 * 1024;
/// A batch that may not be cut. One partition's batch is one mutation, which both servers take whole far beyond this.
const WHOLE_BYTES: usize = 4 * 1024 * 1024;
/// Batches of one projection that are under way at once.
const AT_ONCE: usize = 32;
/// Tries at a row that is to go while others write it.
const ERASURES: usize = 5;

/// The time as a timestamp that rises with every call, so that of two writes of one process the later one stands,
/// whichever nodes they went through.
#[derive(Debug, Default)]
pub struct Ticker(AtomicI64);

impl Ticker {
    fn next(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let before = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(now.max(last + 1)));
        before.map_or(now, |last| now.max(last + 1))
    }
}

/// How far ahead of every clock a row is destroyed, in microseconds: a day. Clocks that are further apart than that are
/// broken, and servers refuse what is days ahead.
const FOR_GOOD: i64 = 24 * 3_600 * 1_000_000;

/// A put or delete with its timestamp.
struct Stamped<'a> {
    key: &'a RowKey,
    value: Option<&'a Bytes>,
    at: i64,
}

impl Stamped<'_> {
    fn bytes(&self) -> usize {
        self.key.partition.len() + self.key.clustering.len() + self.value.map_or(0, Bytes::len)
    }

    fn verb(&self) -> Verb {
        if self.value.is_some() { Verb::Put } else { Verb::Delete }
    }

    fn values(&self) -> Result<Vec<CqlValue>, StoreError> {
        let mut values = place::key_values(self.key)?;
        let at = CqlValue::BigInt(self.at);
        match self.value {
            Some(value) => values.extend([place::blob(value), at]),
            None => values.insert(0, at),
        }
        Ok(values)
    }
}

/// A position as a timestamp.
fn timestamp(position: p92_kernel::Seq) -> Result<i64, StoreError> {
    let at = i64::try_from(position.0).ok().filter(|at| *at < super::reads::FIRST_TIME);
    at.ok_or_else(|| StoreError::Damaged(format!("{position} is no position")))
}

impl CqlEngine {
    /// Writes of one partition, in one table or in several, as one.
    async fn write_whole(&self, writes: &[Stamped<'_>]) -> Result<(), StoreError> {
        let session = &self.connection.session;
        self.counters.sends(Operation::Write, writes.len(), writes.iter().map(Stamped::bytes).sum());
        if let [write] = writes {
            let statement = self.statement(write.key.table, write.verb()).await?;
            let answer = session.execute_unpaged(statement, write.values()?).await;
            return answer.map(drop).map_err(|error| outcome::write(&error));
        }
        let mut batch = Batch::new(BatchType::Unlogged);
        let mut values = Vec::with_capacity(writes.len());
        for write in writes {
            batch.append_statement(self.statement(write.key.table, write.verb()).await?.clone());
            values.push(write.values()?);
        }
        batch.set_is_idempotent(true);
        batch.set_execution_profile_handle(Some(self.connection.repeatable.clone()));
        session.batch(&batch, values).await.map(drop).map_err(|error| outcome::write(&error))
    }

    pub(super) async fn write_plain(&self, writes: &[Write]) -> Result<(), StoreError> {
        let Some(first) = writes.first() else { return Ok(()) };
        check_partition(writes)?;
        let at = self.ticker.next();
        let stamped: Vec<Stamped<'_>> =
            writes.iter().map(|write| Stamped { key: &write.key, value: write.value.as_ref(), at }).collect();
        let bytes: usize = stamped.iter().map(Stamped::bytes).sum();
        if stamped.len() > 1 && bytes > WHOLE_BYTES {
            return Err(StoreError::Damaged(format!("a batch of {bytes} bytes of {}", first.key.table)));
        }
        if stamped.len() > 1 && bytes > BATCH_BYTES {
            tracing::debug!(table = %first.key.table, bytes, "a batch is larger than it should be");
        }
        self.write_whole(&stamped).await
    }

    /// Writes of any partitions, all acknowledged when this returns.
    pub(super) async fn write_before(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut parts: BTreeMap<(&str, &str, &Bytes), Vec<Write>> = BTreeMap::new();
        for write in writes {
            let key = &write.key;
            parts
                .entry((key.table.table.name, key.table.suffix(), &key.partition))
                .or_default()
                .push(write.clone());
        }
        let parts: Vec<Vec<Write>> = parts.into_values().collect();
        let mut under_way = Vec::with_capacity(parts.len());
        for part in &parts {
            under_way.push(self.write_plain(part).boxed());
        }
        futures::stream::iter(under_way).buffer_unordered(AT_ONCE).try_collect().await
    }

    pub(super) async fn project_rows(&self, batch: &ProjectedBatch) -> Result<Projection, StoreError> {
        if let Some(note) = &batch.note {
            // Acknowledged before any row is sent: whoever finds one of the rows finds the note too.
            let stamped = Stamped { key: &note.key, value: note.value.as_ref(), at: timestamp(note.at)? };
            self.write_whole(&[stamped]).await?;
        }
        // Rows of several tables under one key lie on the same nodes, and are one mutation there.
        let mut parts: BTreeMap<(Option<&str>, &Bytes), Vec<Vec<Stamped<'_>>>> = BTreeMap::new();
        for write in &batch.writes {
            let key = &write.key;
            let stamped = Stamped { key, value: write.value.as_ref(), at: timestamp(write.at)? };
            let cuts = parts.entry((place::name_within(key.table), &key.partition)).or_default();
            match cuts.last_mut() {
                Some(cut)
                    if cut.iter().map(Stamped::bytes).sum::<usize>() + stamped.bytes() <= BATCH_BYTES =>
                {
                    cut.push(stamped);
                }
                _ => cuts.push(vec![stamped]),
            }
        }
        let cuts: Vec<Vec<Stamped<'_>>> = parts.into_values().flatten().collect();
        let mut under_way = Vec::with_capacity(cuts.len());
        for cut in &cuts {
            under_way.push(self.write_whole(cut).boxed());
        }
        futures::stream::iter(under_way).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        // Last, so that whoever sees it finds the rows too.
        let empty = Bytes::new();
        let at = timestamp(batch.to)?;
        let checkpoint = Stamped { key: &batch.checkpoint, value: Some(&empty), at };
        self.write_whole(&[checkpoint]).await?;
        Ok(Projection::Applied)
    }

    pub(super) async fn insert(&self, key: &RowKey, value: &Bytes) -> Result<Conditional, StoreError> {
        let mut values = place::key_values(key)?;
        values.push(place::blob(value));
        self.decide(key.table, Verb::Insert, values).await
    }

    pub(super) async fn update(
        &self,
        key: &RowKey,
        expected: u64,
        value: &Bytes,
    ) -> Result<Conditional, StoreError> {
        let mut values = vec![place::bigint(expected.saturating_add(1)), place::blob(value)];
        values.extend(place::key_values(key)?);
        values.push(place::bigint(expected));
        self.decide(key.table, Verb::Update, values).await
    }

    pub(super) async fn remove(&self, key: &RowKey, expected: u64) -> Result<Conditional, StoreError> {
        let mut values = place::key_values(key)?;
        values.push(place::bigint(expected));
        self.decide(key.table, Verb::Remove, values).await
    }

    async fn decide(
        &self,
        table: TableRef,
        verb: Verb,
        values: Vec<CqlValue>,
    ) -> Result<Conditional, StoreError> {
        let statement = self.statement(table, verb).await?;
        self.counters.sends(Operation::of(verb), 1, values.iter().map(bytes_of).sum());
        let answer = self.connection.session.execute_unpaged(statement, values).await;
        let answer = Decision::read(answer.map_err(|error| outcome::conditional(&error))?)?;
        if answer.applied {
            return Ok(Conditional::Applied);
        }
        let stands = answer.blob("row").map(|value| Row { value, stamp: answer.number("v").unwrap_or(0) });
        Ok(Conditional::Stands(stands))
    }

    /// Empties a table. State shares its physical table with others, so its rows go one by one, each by its own discipline.
    pub(super) async fn empty(&self, table: TableRef) -> Result<(), StoreError> {
        if table.table.class != Class::State {
            return self.truncate(table).await;
        }
        let mut after = None;
        loop {
            let page = self.scan_rows(table, after.as_ref(), usize::MAX).await?;
            for found in page.rows {
                let key = RowKey::new(table, found.partition, found.clustering);
                self.erase(&key).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Deletes a plain row at a time at which nothing that was ever written to it is newer, nor what is under way.
    pub(super) async fn destroy_row(&self, key: &RowKey) -> Result<(), StoreError> {
        let stands = match self.get_with_discipline(key).await? {
            Some((_, Discipline::At(at))) => at,
            Some((_, Discipline::Conditional)) => {
                return Err(StoreError::Damaged(format!("a row of {} was not written plainly", key.table)));
            }
            None => 0,
        };
        let at = self.ticker.next().max(stands).saturating_add(FOR_GOOD);
        self.write_whole(&[Stamped { key, value: None, at }]).await
    }

    async fn truncate(&self, table: TableRef) -> Result<(), StoreError> {
        let physical = &self.catalogue.of(table)?.physical;
        let mut statement =
            scylla::statement::Statement::new(format!("TRUNCATE {}.{physical}", self.keyspace));
        statement.set_is_idempotent(true);
        statement.set_execution_profile_handle(Some(self.connection.slow.clone()));
        let answer = self.connection.session.query_unpaged(statement, ()).await;
        answer.map(drop).map_err(|error| outcome::write(&error))
    }

    /// Deletes a row as it was written. Whoever writes it meanwhile may win, and then it may stay: so says the port.
    async fn erase(&self, key: &RowKey) -> Result<(), StoreError> {
        for _ in 0..ERASURES {
            let Some((row, discipline)) = self.get_with_discipline(key).await? else { break };
            match discipline {
                // At its own time, which may be ahead of our clock: of two writes at one time the delete stands.
                Discipline::At(at) => {
                    self.write_whole(&[Stamped { key, value: None, at }]).await?;
                }
                Discipline::Conditional => {
                    self.remove(key, row.stamp).await?;
                }
            }
        }
        Ok(())
    }
}

/// What a bound value of ours takes, without its length.
const fn bytes_of(value: &CqlValue) -> usize {
    match value {
        CqlValue::Blob(bytes) => bytes.len(),
        CqlValue::Text(text) => text.len(),
        _ => size_of::<i64>(),
    }
}

/// How a row was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Discipline {
    /// Without a condition, at this time or position.
    At(i64),
    Conditional,
}

/// The answer to a conditional write, its columns found by name: servers send different ones, in different orders.
#[derive(Debug)]
pub(super) struct Decision {
    pub applied: bool,
    columns: BTreeMap<String, CqlValue>,
}

impl Decision {
    pub fn read(result: QueryResult) -> Result<Self, StoreError> {
        // The write is decided, but what we were told cannot be read: only a repeat can tell.
        let unclear = |what: String| StoreError::Unavailable { reason: what, outcome: Outcome::Unknown };
        let rows = result.into_rows_result().map_err(|error| unclear(error.to_string()))?;
        let names: Vec<String> = rows.column_specs().iter().map(|column| column.name().to_owned()).collect();
        let first = rows.first_row::<CqlRow>().map_err(|error| unclear(error.to_string()))?;
        let columns: BTreeMap<String, CqlValue> =
            names.into_iter().zip(first.columns).filter_map(|(name, value)| Some((name, value?))).collect();
        match columns.get("[applied]") {
            Some(CqlValue::Boolean(applied)) => Ok(Self { applied: *applied, columns }),
            _ => Err(unclear("an answer that does not say whether it was applied".to_owned())),
        }
    }

    pub fn blob(&self, name: &str) -> Option<Bytes> {
        match self.columns.get(name) {
            Some(CqlValue::Blob(bytes)) => Some(Bytes::copy_from_slice(bytes)),
            // Some servers tell nothing from empty by another kind of value.
            Some(CqlValue::Empty) => Some(Bytes::new()),
            _ => None,
        }
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        match self.columns.get(name) {
            Some(CqlValue::BigInt(number)) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    pub fn text(&self, name: &str) -> Option<String> {
        match self.columns.get(name) {
            Some(CqlValue::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_rise_with_every_call() {
        let ticker = Ticker::default();
        let mut last = 0;
        for _ in 0..10_000 {
            let next = ticker.next();
            assert!(next > last && next > super::super::reads::FIRST_TIME);
            last = next;
        }
    }
}
