//! Where a row lies: four keyspaces by write pattern, tables as key prefixes.
//!
//! `log`: rows that are only ever added. `index`: stream rows. `state`: conditional and plain writes. `view`: rows that
//! may be rebuilt. Each value has its stamp in front, eight bytes.

use super::EmbeddedConfig;
use super::pace::Pace;
use crate::engine::{LogKey, LogRow, Row, RowKey};
use crate::limits::check_length;
use crate::{Class, StoreError, TableRef};
use bytes::Bytes;
use fjall::compaction::Leveled;
use fjall::config::CompressionPolicy;
use fjall::{AbstractTree as _, Database, Keyspace, KeyspaceCreateOptions, LsmError, Readable as _};
use p92_kernel::Seq;
use std::sync::Arc;

/// Which keyspace, by write pattern, so that compacting one never rewrites another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    Log,
    Index,
    State,
    View,
}

impl Space {
    /// In the order of their places in arrays.
    pub const ALL: [Self; 4] = [Self::Log, Self::Index, Self::State, Self::View];

    /// Where the rows of a table lie.
    pub const fn of(table: TableRef) -> Self {
        match table.table.class {
            Class::Log => Self::Index,
            Class::State => Self::State,
            Class::View => Self::View,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Index => "index",
            Self::State => "state",
            Self::View => "view",
        }
    }
}

/// An open store.
pub struct Spaces {
    pub database: Database,
    keyspaces: [Keyspace; 4],
    pace: Pace,
    /// Bytes that fill a memtable.
    memtable: u64,
}

impl Drop for Spaces {
    fn drop(&mut self) {
        // The engine underneath closes behind its compactions.
        self.pace.hurry(true);
    }
}

impl std::fmt::Debug for Spaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spaces")
    }
}

/// The engine underneath makes writers wait, without end and without a look at whether its own threads still live, when
/// this many memtables of a keyspace wait to be flushed (4) or runs to be compacted (30). One batch adds one of each at
/// most, so the committer waits before it comes to that.
const MOST_SEALED: usize = 3;
const MOST_RUNS: usize = 20;
/// Tables are small, since the rows that were written last are merged with all of the level below, which holds four: at
/// the engine's own 64 MiB, what fills four memtables would rewrite up to 256.
const TABLE: u64 = 2 << 20;

impl Spaces {
    /// Opens the keyspaces of a database. What a keyspace was made with, it keeps.
    pub fn of_database(database: Database, config: &EmbeddedConfig, pace: Pace) -> fjall::Result<Self> {
        let memtable = config.memtable_kib * 1024;
        let options = || {
            let options = KeyspaceCreateOptions::default()
                .max_memtable_size(memtable)
                .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(TABLE)));
            if config.compression {
                return options;
            }
            options
                .data_block_compression_policy(CompressionPolicy::disabled())
                .index_block_compression_policy(CompressionPolicy::disabled())
        };
        let [log, index, state, view] = Space::ALL.map(|space| database.keyspace(space.name(), options));
        Ok(Self { keyspaces: [log?, index?, state?, view?], memtable, database, pace })
    }

    /// A keyspace.
    pub const fn of(&self, space: Space) -> &Keyspace {
        let [log, index, state, view] = &self.keyspaces;
        match space {
            Space::Log => log,
            Space::Index => index,
            Space::State => state,
            Space::View => view,
        }
    }

    /// Whether writers must wait for the thread that flushes and compacts. It hurries before it comes to that.
    pub fn is_behind(&self) -> bool {
        let most = |count: fn(&Keyspace) -> usize| self.keyspaces.iter().map(count).max().unwrap_or_default();
        let (sealed, runs) = (most(Keyspace::sealed_memtable_count), most(Keyspace::l0_table_count));
        // What is sealed waits behind a compaction, since one thread does both.
        self.pace.hurry(sealed + 1 >= MOST_SEALED || runs * 2 >= MOST_RUNS);
        sealed >= MOST_SEALED || runs >= MOST_RUNS
    }

    /// Seals each memtable that is full, so that it becomes a table. Called behind every commit, by who commits.
    ///
    /// Left alone, the engine underneath asks its thread for that, once for each batch while a memtable is full, through a
    /// queue of 1,000 places. The thread puts what follows into the same queue and waits for a place in it: after a
    /// thousand batches during one compaction it waited for itself, nothing became a table any more, and memtables and
    /// journals grew without end (fjall pull request 323, open in November 2026).
    pub fn seal_full(&self) -> fjall::Result<()> {
        for keyspace in &self.keyspaces {
            if keyspace.tree.active_memtable().size() >= self.memtable {
                keyspace.rotate_memtable()?;
            }
        }
        Ok(())
    }

    /// The number of the last commit; 0 before the first.
    pub fn tally(&self) -> Result<u64, StoreError> {
        let value = self.database.snapshot().get(self.of(Space::State), TALLY).map_err(read_error)?;
        match value {
            None => Ok(0),
            Some(value) => read_tally(&value)
                .map(|(commit, _)| commit)
                .ok_or_else(|| StoreError::Damaged("the number of the last commit".to_owned())),
        }
    }
}

/// The row that every batch writes: the number of the commit, and the sequence number that the engine underneath was
/// about to give. By the first a store that lost its end is known, by both a journal that lost its middle. No table has
/// an empty name, so no row of one is here.
pub const TALLY: &[u8] = b"\0\0commit";

/// The tally of a commit.
pub fn tally_value(commit: u64, floor: u64) -> Vec<u8> {
    [commit.to_be_bytes(), floor.to_be_bytes()].concat()
}

/// Commit and floor out of a tally.
pub fn read_tally(value: &[u8]) -> Option<(u64, u64)> {
    let (commit, floor) = value.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*commit), u64::from_be_bytes(*floor.first_chunk::<8>()?)))
}

fn push_short(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// What all rows of a table begin with.
pub fn table_prefix(table: TableRef) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    push_short(&mut out, [table.table.name, table.suffix()].concat().as_bytes());
    out
}

/// What all rows of a partition begin with.
pub fn partition_prefix(table: TableRef, partition: &[u8]) -> Result<Vec<u8>, StoreError> {
    check_length(table, partition)?;
    let mut out = table_prefix(table);
    push_short(&mut out, partition);
    Ok(out)
}

/// The bytes of a row's key.
pub fn row_key(key: &RowKey) -> Result<Vec<u8>, StoreError> {
    check_length(key.table, &key.clustering)?;
    let mut out = partition_prefix(key.table, &key.partition)?;
    out.extend_from_slice(&key.clustering);
    Ok(out)
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
    let (first_seq, last_seq) = (Seq(u64::from_be_bytes(*first_seq)), Seq(u64::from_be_bytes(*last_seq)));
    if last_seq < first_seq {
        return Err(StoreError::Damaged(format!("a row of a log from {first_seq} to {last_seq}")));
    }
    Ok(LogRow { first_seq, last_seq, group: *group, events: Bytes::copy_from_slice(events) })
}

/// An error of the engine while reading: the disk did not answer, or what it answered is damaged.
pub fn read_error(error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(LsmError::Io(error)) if !means_damage(&error) => {
            StoreError::Unavailable { reason: error.to_string(), outcome: crate::Outcome::NoEffect }
        }
        other => StoreError::Damaged(other.to_string()),
    }
}

/// A file that ends too early, or whose bytes mean nothing, will not get better by waiting.
pub fn means_damage(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | InvalidData | InvalidInput | NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fjall::compaction::filter::{
        CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
    };
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, mpsc};
    use std::time::Duration;

    /// Holds compactions up as long as somebody holds the lock.
    #[derive(Clone, Default)]
    struct Gate {
        lock: Arc<Mutex<()>>,
        entered: Arc<AtomicBool>,
    }

    impl Factory for Gate {
        fn name(&self) -> &'static str {
            "gate"
        }

        fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
            Box::new(self.clone())
        }
    }

    impl CompactionFilter for Gate {
        fn filter_item(&mut self, _: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
            self.entered.store(true, Ordering::Relaxed);
            drop(self.lock.lock().unwrap());
            Ok(Verdict::Keep)
        }
    }

    fn opened(dir: &std::path::Path, gate: &Gate) -> Spaces {
        let factory: Arc<dyn Factory> = Arc::new(gate.clone());
        let database = Database::builder(dir)
            .worker_threads(1)
            .with_compaction_filter_factories(Arc::new(move |_| Some(Arc::clone(&factory))))
            .open()
            .unwrap();
        let config = EmbeddedConfig { memtable_kib: 64, ..EmbeddedConfig::at(dir) };
        Spaces::of_database(database, &config, Pace::default()).unwrap()
    }

    /// One row in each of two keyspaces, as the committer commits.
    fn commit(spaces: &Spaces, row: u32, length: usize) {
        let mut batch = spaces.database.batch();
        for space in [Space::State, Space::View] {
            batch.insert(spaces.of(space), row.to_be_bytes(), vec![0; length]);
        }
        batch.commit().unwrap();
        spaces.seal_full().unwrap();
    }

    #[test]
    fn thousands_of_batches_during_one_compaction_leave_the_engine_at_work() {
        let dir = tempfile::tempdir().unwrap();
        let gate = Gate::default();
        let spaces = Arc::new(opened(dir.path(), &gate));
        let held = gate.lock.lock().unwrap();
        // Runs over the same keys, until the thread compacts and is held.
        for row in (0_u32..100).cycle() {
            if gate.entered.load(Ordering::Relaxed) {
                break;
            }
            if !spaces.is_behind() {
                commit(&spaces, row, 32 * 1024);
            }
        }
        let stop = Arc::new(AtomicBool::new(false));
        let writer = std::thread::spawn({
            let (spaces, stop) = (Arc::clone(&spaces), Arc::clone(&stop));
            move || {
                for row in (0_u32..1_000).cycle() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    if !spaces.is_behind() {
                        commit(&spaces, row, 8);
                    }
                }
            }
        });
        // Many more batches than the engine's queue has places.
        let seen = spaces.database.seqno();
        while spaces.database.seqno() < seen + 3_000 && !spaces.is_behind() {
            std::thread::yield_now();
        }
        drop(held);
        let (done, waiting) = mpsc::channel();
        std::thread::spawn({
            let spaces = Arc::clone(&spaces);
            move || {
                let flushed =
                    [Space::State, Space::View].map(|space| spaces.of(space).rotate_memtable_and_wait());
                done.send(flushed.into_iter().all(|flushed| flushed.is_ok())).unwrap();
            }
        });
        let flushed = waiting.recv_timeout(Duration::from_secs(60));
        stop.store(true, Ordering::Relaxed);
        assert_eq!(flushed, Ok(true), "the engine's thread flushes no more");
        writer.join().unwrap();
    }
}
