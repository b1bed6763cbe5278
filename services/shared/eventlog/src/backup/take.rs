//! Reads a store that goes on: records of a backup, in the order that makes it whole (see the room's own page).
//!
//! It knows no file and no network: records go into a channel, in pieces.

use super::{BackupError, Needs, Positions, StateTable, surely, writes_views};
use crate::event::position_from_wire;
use crate::group::Group;
use crate::keys::stream_partition;
use crate::progress::log_of;
use crate::{Stream, heads, tables};
use p92_kernel::{Seq, Service, ShardCount};
use p92_proto::event::v1;
use p92_proto::event::v1::backup_record::Record;
use p92_storage::{Engine, Key, KeyReader, LogKey, LogRow, RowKey, StoreError, Table, TableRow};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::mpsc;

/// Records are handed on when they have this many bytes.
const PIECE_BYTES: usize = 256 * 1024;
/// Rows of state that are read at once.
const PAGE: usize = 500;

/// Records on their way.
struct Pieces {
    send: mpsc::Sender<Vec<v1::BackupRecord>>,
    waiting: Vec<v1::BackupRecord>,
    bytes: usize,
}

impl Pieces {
    async fn push(&mut self, record: Record) -> Result<(), BackupError> {
        let record = v1::BackupRecord { record: Some(record) };
        self.bytes += record.encoded_len();
        self.waiting.push(record);
        if self.bytes >= PIECE_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), BackupError> {
        self.bytes = 0;
        let piece = std::mem::take(&mut self.waiting);
        if piece.is_empty() {
            return Ok(());
        }
        let gone = |_| BackupError::refused("nobody takes the backup any more", "run it again");
        self.send.send(piece).await.map_err(gone)
    }
}

/// Gives out a backup: records into `send`, and in the end the positions up to which each log is in it.
pub async fn take(
    engine: &dyn Engine,
    shards: ShardCount,
    state: &[StateTable],
    send: mpsc::Sender<Vec<v1::BackupRecord>>,
) -> Result<Positions, BackupError> {
    let mut pieces = Pieces { send, waiting: Vec::new(), bytes: 0 };
    let checkpoints = effects(engine, &mut pieces).await?;
    put_aside(engine, &checkpoints, &mut pieces).await?;
    let positions = positions(engine, shards).await?;
    let mut under = BTreeSet::new();
    for table in state {
        rows_of(engine, *table, &positions, &mut pieces, &mut under).await?;
    }
    if under.len() > 1 {
        return Err(BackupError::refused(
            "keys were rotated while the backup ran, or a rotation was cut off: no one key file would open it",
            "run `p92 keys rotate` to its end, then the backup again",
        ));
    }
    let positions = logs(engine, positions, &mut pieces).await?;
    pieces.flush().await?;
    Ok(positions)
}

fn damaged(what: &str) -> impl Fn(String) -> StoreError + use<'_> {
    move |problem| StoreError::Damaged(format!("{what}: {problem}"))
}

/// Every row of a table, page by page.
async fn page(
    engine: &dyn Engine,
    table: &'static Table,
    after: &mut Option<prost::bytes::Bytes>,
) -> Result<(Vec<TableRow>, bool), StoreError> {
    let page = surely(|| engine.scan_table(table.only(), after.as_ref(), PAGE)).await?;
    let more = page.next.is_some();
    *after = page.next;
    Ok((page.rows, more))
}

type Checkpoints = BTreeMap<(String, LogKey), Seq>;

/// Checkpoints of readers that do effects.
async fn effects(engine: &dyn Engine, pieces: &mut Pieces) -> Result<Checkpoints, BackupError> {
    let mut found = Checkpoints::new();
    let (mut after, mut more) = (None, true);
    while more {
        let rows;
        (rows, more) = page(engine, &tables::CHECKPOINTS, &mut after).await?;
        for row in rows {
            let (reader, log) = tables::read_checkpoint_key(&row.partition, &row.clustering)?;
            if !writes_views(&reader) {
                found.insert((reader, log), Seq(row.row.stamp));
            }
        }
    }
    for ((reader, log), seq) in &found {
        let record = v1::BackupCheckpoint {
            reader: reader.clone(),
            service: log.service.name().to_owned(),
            shard: u32::from(log.shard.0),
            seq: seq.0,
        };
        pieces.push(Record::Checkpoint(record)).await?;
    }
    Ok(found)
}

/// What readers of effects put aside before their checkpoints. What they put aside since they will put aside again.
async fn put_aside(
    engine: &dyn Engine,
    checkpoints: &Checkpoints,
    pieces: &mut Pieces,
) -> Result<(), BackupError> {
    let (mut after, mut more) = (None, true);
    while more {
        let rows;
        (rows, more) = page(engine, &tables::QUARANTINE, &mut after).await?;
        for row in rows {
            let reader = KeyReader::new(&row.partition).text();
            let reader = reader.map_err(|error| damaged("quarantine")(error.to_string()))?;
            let put = v1::QuarantineRow::decode(row.row.value.clone())
                .map_err(|error| damaged("quarantine")(error.to_string()))?;
            let position = v1::Position { service: put.service, shard: put.shard, seq: put.seq };
            let Some(position) = position_from_wire(&position) else { continue };
            let before = checkpoints.get(&(reader, log_of(position)));
            if before.is_some_and(|checkpoint| position.seq <= *checkpoint) {
                pieces.push(state_record(&tables::QUARANTINE, row)).await?;
            }
        }
    }
    Ok(())
}

/// The heads of all logs. Services listen to those before them in `Service::ALL`, so the last is asked first; all of one
/// service stand in one partition and are one read.
async fn positions(engine: &dyn Engine, shards: ShardCount) -> Result<Positions, BackupError> {
    let mut positions = Positions::new();
    for service in Service::ALL.into_iter().rev() {
        for (shard, head) in surely(|| heads::read_heads(engine, service)).await? {
            if shard.0 >= shards.get() {
                return Err(damaged("applied")(format!("{service} has a shard {shard}")).into());
            }
            positions.insert(LogKey { service, shard }, head);
        }
    }
    Ok(positions)
}

fn state_record(table: &'static Table, row: TableRow) -> Record {
    Record::State(v1::BackupStateRow {
        table: table.name.to_owned(),
        partition: row.partition,
        clustering: row.clustering,
        // Rows of state are never written at a position here, so a stamp is the version of a conditional write.
        conditional: row.row.stamp > 0,
        value: row.row.value,
    })
}

/// The rows of one table of state, each with what must stand beside it. Notes under which rotating keys subjects' keys
/// are wrapped.
async fn rows_of(
    engine: &dyn Engine,
    table: StateTable,
    positions: &Positions,
    pieces: &mut Pieces,
    under: &mut BTreeSet<u64>,
) -> Result<(), BackupError> {
    let keys = Service::ALL.iter().any(|service| std::ptr::eq(table.table, tables::subject_keys(*service)));
    let (mut after, mut more) = (None, true);
    while more {
        let rows;
        (rows, more) = page(engine, table.table, &mut after).await?;
        for row in rows {
            match (table.needs)(&row) {
                Needs::Nothing => {}
                Needs::Begun(service, stream) => {
                    if !begun(engine, service, &stream, positions).await? {
                        continue;
                    }
                }
                Needs::Row(key) => {
                    let Some(beside) = surely(|| engine.get(&key)).await? else { continue };
                    let (at, partition, clustering) = (key.table.table, key.partition, key.clustering);
                    pieces.push(state_record(at, TableRow { partition, clustering, row: beside })).await?;
                }
            }
            // An empty row says that the key was destroyed.
            if keys && !row.row.value.is_empty() {
                let wrapped = v1::WrappedKey::decode(row.row.value.clone());
                under.insert(wrapped.map_err(|error| damaged("a subject's key")(error.to_string()))?.under);
            }
            pieces.push(state_record(table.table, row)).await?;
        }
    }
    Ok(())
}

/// Whether a stream's first event is in the backup.
async fn begun(
    engine: &dyn Engine,
    service: Service,
    stream: &Stream,
    positions: &Positions,
) -> Result<bool, StoreError> {
    let Some(id) = stream.id() else { return Ok(false) };
    let first =
        RowKey::new(tables::streams(service).only(), stream_partition(stream.as_str()), Key::new().num(1));
    let position = positions.get(&LogKey { service, shard: id.shard() });
    // A stream row is written at the position of its event.
    let stands = surely(|| engine.get(&first)).await?.map(|row| Seq(row.stamp));
    Ok(stands.is_some_and(|stands| position.is_some_and(|position| stands <= *position)))
}

/// The logs up to the positions. If an event says that it follows another one behind them, that one is taken too: the
/// position moves on.
async fn logs(
    engine: &dyn Engine,
    positions: Positions,
    pieces: &mut Pieces,
) -> Result<Positions, BackupError> {
    let mut taken = Positions::new();
    let mut wanted = positions.clone();
    loop {
        let next = wanted.iter().find(|(log, until)| taken.get(log).is_none_or(|at| at < *until));
        let Some((log, until)) = next.map(|(log, until)| (*log, *until)) else { break };
        let from = taken.get(&log).copied().unwrap_or_default();
        let at = log_until(engine, log, from, until, &mut wanted, pieces).await?;
        if positions.get(&log).is_some_and(|head| at < *head) {
            let problem = format!("{}/{} ends at {at}, but its rows go on", log.service, log.shard);
            return Err(damaged("a log")(problem).into());
        }
        taken.insert(log, at);
        // What an event says to follow may never have been.
        let until = wanted.entry(log).or_default();
        *until = if *until > at && from == at { at } else { *until };
    }
    taken.retain(|_, at| *at > Seq(0));
    Ok(taken)
}

/// The groups of one log from behind `from` until one ends at `until` or later, or the log ends. Returns where.
async fn log_until(
    engine: &dyn Engine,
    log: LogKey,
    from: Seq,
    until: Seq,
    wanted: &mut Positions,
    pieces: &mut Pieces,
) -> Result<Seq, BackupError> {
    const AT_ONCE: usize = 1024 * 1024;
    let mut at = from;
    while at < until {
        let rows = surely(|| engine.read_log(log, at, AT_ONCE)).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows.into_iter().take_while(|row| row.first_seq <= until) {
            if row.first_seq != at.next() {
                let problem = format!("{}/{} has a gap behind {at}", log.service, log.shard);
                return Err(damaged("a log")(problem).into());
            }
            at = row.last_seq;
            follow(log, &row, wanted)?;
            pieces.push(log_record(log, row)).await?;
        }
    }
    Ok(at)
}

/// Asks for the events that the events of a row say they follow.
fn follow(log: LogKey, row: &LogRow, wanted: &mut Positions) -> Result<(), BackupError> {
    let group = Group::from_row(log, row).map_err(|error| damaged("a log")(error.to_string()))?;
    for after in group.events.iter().flat_map(|event| &event.event.after) {
        let Some(position) = position_from_wire(after) else { continue };
        let until = wanted.entry(log_of(position)).or_default();
        *until = (*until).max(position.seq);
    }
    Ok(())
}

fn log_record(log: LogKey, row: LogRow) -> Record {
    Record::Log(v1::BackupLogRow {
        service: log.service.name().to_owned(),
        shard: u32::from(log.shard.0),
        first_seq: row.first_seq.0,
        last_seq: row.last_seq.0,
        group_id: prost::bytes::Bytes::copy_from_slice(&row.group),
        events: row.events,
    })
}
