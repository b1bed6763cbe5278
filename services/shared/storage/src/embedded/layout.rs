//! Where a row lies: four keyspaces by write pattern, tables as key prefixes.
//!
//! `log`: rows that are only ever added. `index`: stream rows. `state`: conditional and plain writes. `view`: rows that
//! may be rebuilt. Each value has its stamp in front, eight bytes.

use crate::engine::{LogKey, LogRow, Row, RowKey};
use crate::{Class, StoreError, TableRef};
use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use p92_kernel::Seq;

/// An open store.
#[derive(Clone)]
pub struct Spaces {
    pub database: Database,
    pub log: Keyspace,
    index: Keyspace,
    state: Keyspace,
    view: Keyspace,
}

impl std::fmt::Debug for Spaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spaces")
    }
}

/// Keeps memory small: four of them, each flushed at this size.
const MEMTABLE: u64 = 8 * 1024 * 1024;

impl Spaces {
    /// Opens the keyspaces of a database.
    pub fn of(database: Database, compression: bool) -> fjall::Result<Self> {
        let options = || {
            let options = KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE);
            if compression {
                return options;
            }
            options
                .data_block_compression_policy(fjall::config::CompressionPolicy::disabled())
                .index_block_compression_policy(fjall::config::CompressionPolicy::disabled())
        };
        Ok(Self {
            log: database.keyspace("log", options)?,
            index: database.keyspace("index", options)?,
            state: database.keyspace("state", options)?,
            view: database.keyspace("view", options)?,
            database,
        })
    }

    /// The keyspace of a table.
    pub const fn of_table(&self, table: TableRef) -> &Keyspace {
        match table.table.class {
            Class::Log => &self.index,
            Class::State => &self.state,
            Class::View => &self.view,
        }
    }
}

fn push_short(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// What all rows of a table begin with.
pub fn table_prefix(table: TableRef) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    let name = table.to_string();
    push_short(&mut out, name.as_bytes());
    out
}

/// What all rows of a partition begin with.
pub fn partition_prefix(table: TableRef, partition: &[u8]) -> Vec<u8> {
    let mut out = table_prefix(table);
    push_short(&mut out, partition);
    out
}

/// The bytes of a row's key.
pub fn row_key(key: &RowKey) -> Vec<u8> {
    let mut out = partition_prefix(key.table, &key.partition);
    out.extend_from_slice(&key.clustering);
    out
}

/// Partition and clustering key out of what follows the table's prefix.
pub fn split_row_key(rest: &[u8]) -> Option<(Bytes, Bytes)> {
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (partition, clustering) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((Bytes::copy_from_slice(partition), Bytes::copy_from_slice(clustering)))
}

/// A value with its stamp in front.
pub fn stamped(stamp: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + value.len());
    out.extend_from_slice(&stamp.to_be_bytes());
    out.extend_from_slice(value);
    out
}

/// A stored value as a row.
pub fn read_row(value: &[u8]) -> Result<Row, StoreError> {
    let (stamp, value) = value
        .split_first_chunk::<8>()
        .ok_or_else(|| StoreError::Damaged("a row shorter than its stamp".to_owned()))?;
    Ok(Row { stamp: u64::from_be_bytes(*stamp), value: Bytes::copy_from_slice(value) })
}

/// What all rows of a log begin with.
pub fn log_prefix(log: LogKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(48);
    push_short(&mut out, log.service.name().as_bytes());
    out.extend_from_slice(&log.shard.0.to_be_bytes());
    out
}

/// The key of a slot. The bucket stands in it as on CQL, where it is part of the partition.
pub fn log_key(log: LogKey, first_seq: Seq) -> Vec<u8> {
    let mut out = log_prefix(log);
    out.extend_from_slice(&LogRow::bucket(first_seq).to_be_bytes());
    out.extend_from_slice(&first_seq.0.to_be_bytes());
    out
}

/// The columns of a log row.
pub fn log_value(row: &LogRow) -> Vec<u8> {
    let mut out = Vec::with_capacity(24 + row.events.len());
    out.extend_from_slice(&row.last_seq.0.to_be_bytes());
    out.extend_from_slice(&row.group);
    out.extend_from_slice(&row.events);
    out
}

/// A stored log row.
pub fn read_log_row(key: &[u8], value: &[u8]) -> Result<LogRow, StoreError> {
    let damaged = || StoreError::Damaged("a row of a log is too short".to_owned());
    let first_seq = key.last_chunk::<8>().ok_or_else(damaged)?;
    let (last_seq, rest) = value.split_first_chunk::<8>().ok_or_else(damaged)?;
    let (group, events) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
    Ok(LogRow {
        first_seq: Seq(u64::from_be_bytes(*first_seq)),
        last_seq: Seq(u64::from_be_bytes(*last_seq)),
        group: *group,
        events: Bytes::copy_from_slice(events),
    })
}

/// An error of the engine while reading.
pub fn read_error(error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Io(error) => {
            StoreError::Unavailable { reason: error.to_string(), outcome: crate::Outcome::NoEffect }
        }
        other => StoreError::Damaged(other.to_string()),
    }
}
