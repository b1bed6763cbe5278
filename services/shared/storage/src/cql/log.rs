//! Logs: one conditional insert per group, repeated with the same bytes until its answer is certain.
//!
//! In: groups at their slots. Out: that a group stands, or which one stands instead. It must not know who owns a log.

use super::CqlEngine;
use super::counters::Operation;
use super::outcome;
use super::place::{bigint, blob};
use super::writes::Decision;
use crate::engine::{Append, GroupId, LogKey, LogRow, Write};
use crate::{Outcome, StoreError};
use bytes::Bytes;
use p92_kernel::Seq;
use scylla::response::PagingState;
use scylla::value::CqlValue;
use std::time::Duration;
use tokio::time::Instant;

/// Pauses between attempts at one append; the last one repeats.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(120),
    Duration::from_millis(300),
    Duration::from_millis(700),
];

/// What names a bucket, as the server holds it.
fn bucket(log: LogKey, first_seq: Seq) -> Vec<CqlValue> {
    vec![
        CqlValue::Text(log.service.name().to_owned()),
        CqlValue::Int(i32::from(log.shard.0)),
        bigint(LogRow::bucket(first_seq)),
    ]
}

fn group_id(bytes: &[u8]) -> Result<GroupId, StoreError> {
    bytes.try_into().map_err(|_| StoreError::Damaged("the id of a group has another length".to_owned()))
}

fn log_row(first: i64, last: i64, group: &[u8], events: Bytes) -> Result<LogRow, StoreError> {
    let seq = |n: i64| u64::try_from(n).map(Seq).map_err(|_| StoreError::Damaged(format!("position {n}")));
    let row = LogRow { first_seq: seq(first)?, last_seq: seq(last)?, group: group_id(group)?, events };
    if row.last_seq < row.first_seq {
        return Err(StoreError::Damaged(format!("a row of a log from {first} to {last}")));
    }
    Ok(row)
}

impl CqlEngine {
    pub(super) async fn append_row(
        &self,
        log: LogKey,
        row: &LogRow,
        before: &[Write],
    ) -> Result<Append, StoreError> {
        if row.first_seq == Seq(0) || row.last_seq < row.first_seq {
            return Err(StoreError::Damaged(format!("an append of {}..={}", row.first_seq, row.last_seq)));
        }
        // Nothing of the row was sent yet, so a failure here is certain as far as the log goes.
        self.write_before(before).await.map_err(|error| match error {
            StoreError::Unavailable { reason, .. } => {
                StoreError::Unavailable { reason, outcome: Outcome::NoEffect }
            }
            other => other,
        })?;
        let ends = Instant::now() + self.append_budget;
        let mut perhaps = false;
        for attempt in 0_usize.. {
            let error = match self.try_append(log, row).await {
                Ok(answer) => {
                    self.counters.settled(&answer, attempt);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            // An earlier attempt may still be under way: this one's certainty is none about that one.
            perhaps |= error.outcome() == Outcome::Unknown;
            let StoreError::Unavailable { reason, .. } = error else { return Err(error) };
            let pause = PAUSES.get(attempt).or(PAUSES.last()).copied().unwrap_or_default();
            if !perhaps || Instant::now() + pause >= ends {
                let outcome = if perhaps { Outcome::Unknown } else { Outcome::NoEffect };
                self.counters.unsettled(attempt);
                return Err(StoreError::Unavailable { reason, outcome });
            }
            tracing::debug!(service = %log.service, shard = %log.shard, attempt, reason,
                "the outcome of an append is not known; it is repeated");
            tokio::time::sleep(pause).await;
        }
        Err(StoreError::Damaged("an append that never ended".to_owned()))
    }

    async fn try_append(&self, log: LogKey, row: &LogRow) -> Result<Append, StoreError> {
        let statement = self.catalogue.insert_log(&self.connection).await?;
        let mut values = bucket(log, row.first_seq);
        values.extend([bigint(row.first_seq.0), bigint(row.last_seq.0), blob(&row.group), blob(&row.events)]);
        self.counters.sends(Operation::Append, 1, row.events.len());
        let answer = self.connection.session.execute_unpaged(statement, values).await;
        let answer = Decision::read(answer.map_err(|error| outcome::conditional(&error))?)?;
        if answer.applied {
            return Ok(Append::Appended);
        }
        let stands = answer.blob("group_id").zip(answer.number("last_seq"));
        let Some((group, last_seq)) = stands else {
            return Err(StoreError::Damaged(format!("slot {} of a log is taken by nothing", row.first_seq)));
        };
        let stands = LogRow {
            first_seq: row.first_seq,
            last_seq: Seq(last_seq),
            group: group_id(&group)?,
            events: answer.blob("events").unwrap_or_default(),
        };
        Ok(if stands.group == row.group { Append::Appended } else { Append::SlotLost(stands) })
    }

    pub(super) async fn row_at(&self, log: LogKey, first_seq: Seq) -> Result<Option<LogRow>, StoreError> {
        let statement = self.catalogue.log_row(&self.connection).await?;
        let mut values = bucket(log, first_seq);
        values.push(bigint(first_seq.0));
        let (rows, _) = self.page(Operation::ReadLog, statement, &values, PagingState::start()).await?;
        let found = rows
            .maybe_first_row::<(i64, i64, &[u8], &[u8])>()
            .map_err(|error| outcome::damaged("a row of a log", &error))?;
        found
            .map(|(first, last, group, events)| log_row(first, last, group, Bytes::copy_from_slice(events)))
            .transpose()
    }

    /// Rows of one bucket. Positions are gapless, so the one behind `after` says which bucket the next row is in; a
    /// reader that goes on from the last row comes into the next bucket by itself.
    pub(super) async fn rows_after(
        &self,
        log: LogKey,
        after: Seq,
        max_bytes: usize,
    ) -> Result<Vec<LogRow>, StoreError> {
        let statement = self.catalogue.read_log(&self.connection).await?;
        let mut values = bucket(log, after.next());
        values.push(bigint(after.next().0));
        let mut found: Vec<LogRow> = Vec::new();
        let mut bytes = 0;
        let mut state = Some(PagingState::start());
        while let Some(from) = state.take() {
            let (rows, next) = self.page(Operation::ReadLog, statement, &values, from).await?;
            let damaged = |error: &dyn std::error::Error| outcome::damaged("a row of a log", error);
            for cells in rows.rows::<(i64, i64, &[u8], &[u8])>().map_err(|error| damaged(&error))? {
                let (first, last, group, events) = cells.map_err(|error| damaged(&error))?;
                bytes += events.len();
                if bytes > max_bytes && !found.is_empty() {
                    return Ok(found);
                }
                let row = log_row(first, last, group, Bytes::copy_from_slice(events))?;
                let expected = found.last().map_or(after, |row| row.last_seq).next();
                if row.first_seq != expected {
                    return Err(StoreError::Damaged(format!(
                        "{}/{}: {} follows where {expected} should",
                        log.service, log.shard, row.first_seq
                    )));
                }
                found.push(row);
            }
            state = next;
        }
        Ok(found)
    }
}
