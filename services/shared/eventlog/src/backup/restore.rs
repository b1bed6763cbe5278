//! Writes an empty store: state, then logs, then checkpoints of effects, each through the port.
//!
//! Rows that follow from logs are not written here: the owner of each log writes them when it takes over, since nothing
//! of it was applied yet; readers of views begin at the first event. Until the last row stands a mark says that the store
//! is none yet, and whoever would serve it refuses.

use super::folder::{Backup, log_of};
use super::{BackupError, StateTable, own_tables, surely};
use crate::{KeyFile, tables};
use bytes::Bytes;
use futures::future::BoxFuture;
use p92_kernel::{Seq, Service};
use p92_proto::event::v1;
use p92_proto::event::v1::backup_record::Record;
use p92_storage::{
    Append, Conditional, Engine, Key, LogKey, LogRow, ProjectedBatch, Projection, RowKey, StoreError, Table,
    Write,
};
use prost::Message;
use std::collections::{BTreeMap, VecDeque};

/// Writes under way at once.
const UNDER_WAY: usize = 128;
/// What was restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    pub events: u64,
    pub rows: u64,
    pub checkpoints: u64,
}

type Tables = BTreeMap<&'static str, &'static Table>;

fn known(state: &[StateTable]) -> Tables {
    let own = own_tables();
    let all = state.iter().chain(&own).map(|one| one.table).chain([&tables::QUARANTINE]);
    all.map(|table| (table.name, table)).collect()
}

fn restoring_key() -> RowKey {
    RowKey::new(tables::RESTORING.only(), Key::new().text("restoring"), Bytes::new())
}

/// Refuses a store into which a restore was begun and not finished.
pub async fn refuse_unfinished(engine: &dyn Engine) -> Result<(), StoreError> {
    let key = restoring_key();
    if surely(|| engine.get(&key)).await?.is_none() {
        return Ok(());
    }
    Err(StoreError::Refused {
        problem: "a backup was being restored into this store, and that was not finished".to_owned(),
        advice: "empty the store and run `p92 restore` again; the backup is as it was".to_owned(),
    })
}

/// How many subjects' keys are in the backup, and how many of them the key file cannot open: they were wrapped under
/// rotating keys that it does not have.
pub fn check_keys(backup: &Backup, file: &KeyFile) -> Result<(u64, u64), BackupError> {
    let names: Vec<&str> = Service::ALL.map(|service| tables::subject_keys(service).name).to_vec();
    let (mut all, mut closed) = (0, 0);
    for record in backup.state() {
        let Some(Record::State(row)) = record?.record else { continue };
        // An empty row says that the key was destroyed.
        if row.value.is_empty() || !names.contains(&row.table.as_str()) {
            continue;
        }
        let wrapped = v1::WrappedKey::decode(row.value);
        let wrapped = wrapped.map_err(|error| StoreError::Damaged(format!("a subject's key: {error}")))?;
        all += 1;
        closed += u64::from(file.rotating(wrapped.under).is_none());
    }
    Ok((all, closed))
}

/// Writes a backup into an empty store that has as many shards. `state` are the tables that services declare; `watch`
/// is told events and rows of state written so far.
pub async fn restore(
    engine: &dyn Engine,
    backup: &Backup,
    state: &[StateTable],
    now_ms: u64,
    watch: &(dyn Fn(Restored) + Sync),
) -> Result<Restored, BackupError> {
    let known = known(state);
    refuse_unknown(backup, &known)?;
    refuse_unfinished(engine).await?;
    refuse_filled(engine, backup, &known).await?;
    let mark = v1::RestoringRow { began_ms: now_ms }.encode_to_vec().into();
    write(engine, &restoring_key(), Some(mark)).await?;
    let mut line = Line { engine, waiting: VecDeque::new(), done: Restored::default(), watch };
    let mut checkpoints = Vec::new();
    for record in backup.state() {
        match record?.record {
            Some(Record::State(row)) => line.state(row, &known).await?,
            Some(Record::Checkpoint(checkpoint)) => checkpoints.push(checkpoint),
            Some(Record::Log(_)) | None => {}
        }
    }
    for record in backup.logs() {
        let Some(Record::Log(row)) = record?.record else { continue };
        line.log(row).await?;
    }
    line.drain().await?;
    let mut done = line.done;
    for checkpoint in checkpoints {
        done.checkpoints += u64::from(set_checkpoint(engine, backup, &checkpoint).await?);
    }
    // Synced, and with it whatever was written before.
    write(engine, &restoring_key(), None).await?;
    watch(done);
    Ok(done)
}

fn refuse_unknown(backup: &Backup, known: &Tables) -> Result<(), BackupError> {
    match backup.manifest().tables.keys().find(|name| !known.contains_key(name.as_str())) {
        None => Ok(()),
        Some(name) => Err(BackupError::refused(
            format!("the backup has rows of a table {name}, which this P92 does not know"),
            "restore it with the P92 that made it, or a newer one; nothing was written",
        )),
    }
}

async fn refuse_filled(engine: &dyn Engine, backup: &Backup, known: &Tables) -> Result<(), BackupError> {
    let filled = |what: String| {
        let problem = format!("the store is not empty: it has {what}");
        BackupError::refused(problem, "name an empty one; nothing was written")
    };
    for service in Service::ALL {
        for shard in backup.manifest().origin.shards.all() {
            if !surely(|| engine.read_log(LogKey { service, shard }, Seq(0), 1)).await?.is_empty() {
                return Err(filled(format!("events of {service}")));
            }
        }
    }
    for table in known.values().copied().chain([&tables::CHECKPOINTS, &tables::APPLIED]) {
        if !surely(|| engine.scan_table(table.only(), None, 1)).await?.rows.is_empty() {
            return Err(filled(format!("rows in {}", table.name)));
        }
    }
    Ok(())
}

/// Writes under way. They are handed to the store in order, and awaited in order.
struct Line<'a> {
    engine: &'a dyn Engine,
    waiting: VecDeque<BoxFuture<'a, Result<(), BackupError>>>,
    done: Restored,
    watch: &'a (dyn Fn(Restored) + Sync),
}

impl<'a> Line<'a> {
    async fn push(
        &mut self,
        write: impl Future<Output = Result<(), BackupError>> + Send + 'a,
    ) -> Result<(), BackupError> {
        // Asked once at once, so that the store gets the rows of a log in their order. The runtime must not put that
        // off because this task has done much already; the wait below lets others have their turn.
        let mut write: BoxFuture<'a, _> = Box::pin(tokio::task::unconstrained(write));
        match futures::poll!(write.as_mut()) {
            std::task::Poll::Ready(written) => written?,
            std::task::Poll::Pending => self.waiting.push_back(write),
        }
        while self.waiting.len() >= UNDER_WAY {
            self.one().await?;
        }
        (self.watch)(self.done);
        Ok(())
    }

    async fn one(&mut self) -> Result<(), BackupError> {
        match self.waiting.pop_front() {
            Some(write) => write.await,
            None => Ok(()),
        }
    }

    async fn drain(&mut self) -> Result<(), BackupError> {
        while !self.waiting.is_empty() {
            self.one().await?;
        }
        Ok(())
    }

    async fn state(&mut self, row: v1::BackupStateRow, known: &Tables) -> Result<(), BackupError> {
        // Tables were looked at before the first write.
        let Some(table) = known.get(row.table.as_str()) else { return Ok(()) };
        let key = RowKey::new(table.only(), row.partition, row.clustering);
        self.done.rows += 1;
        let (engine, conditional) = (self.engine, row.conditional);
        self.push(put(engine, key, row.value, conditional)).await
    }

    async fn log(&mut self, row: v1::BackupLogRow) -> Result<(), BackupError> {
        let damaged = || StoreError::Damaged("a row of a log in the backup".to_owned());
        let log = log_of(&row.service, row.shard).ok_or_else(damaged)?;
        let group = row.group_id.as_ref().try_into().map_err(|_| damaged())?;
        let (first_seq, last_seq) = (Seq(row.first_seq), Seq(row.last_seq));
        self.done.events += last_seq.0.saturating_sub(first_seq.0) + 1;
        let row = LogRow { first_seq, last_seq, group, events: row.events };
        let engine = self.engine;
        self.push(append(engine, log, row)).await
    }
}

/// Who else is there must go first.
fn disturbed(what: &str) -> BackupError {
    let problem = format!("somebody else writes {what} of this store");
    BackupError::refused(problem, "stop whoever uses it, empty it, and begin again")
}

async fn write(engine: &dyn Engine, key: &RowKey, value: Option<Bytes>) -> Result<(), StoreError> {
    surely(|| engine.write(vec![Write { key: key.clone(), value: value.clone() }])).await
}

async fn put(engine: &dyn Engine, key: RowKey, value: Bytes, conditional: bool) -> Result<(), BackupError> {
    if !conditional {
        return Ok(write(engine, &key, Some(value)).await?);
    }
    match surely(|| engine.insert_if_absent(&key, value.clone())).await? {
        Conditional::Stands(Some(row)) if row.value != value => Err(disturbed(&key.table.to_string())),
        // By an attempt before, whose answer was lost.
        Conditional::Applied | Conditional::Stands(_) => Ok(()),
    }
}

async fn append(engine: &dyn Engine, log: LogKey, row: LogRow) -> Result<(), BackupError> {
    match surely(|| engine.append(log, &row, &[])).await? {
        Append::Appended => Ok(()),
        Append::SlotLost(_) => Err(disturbed(&format!("the log {}/{}", log.service, log.shard))),
    }
}

/// Where a reader of effects goes on: never beyond its log. False if its log is not there at all.
async fn set_checkpoint(
    engine: &dyn Engine,
    backup: &Backup,
    checkpoint: &v1::BackupCheckpoint,
) -> Result<bool, BackupError> {
    let log = log_of(&checkpoint.service, checkpoint.shard);
    let head = log.and_then(|log| backup.manifest().positions.get(&log).copied());
    let (Some(log), Some(head)) = (log, head) else { return Ok(false) };
    let to = Seq(checkpoint.seq).min(head);
    let batch = ProjectedBatch {
        checkpoint: tables::checkpoint_key(&checkpoint.reader, log),
        from: Seq(0),
        to,
        writes: Vec::new(),
        note: None,
    };
    match surely(|| engine.project(batch.clone())).await? {
        Projection::Refused { stands } if stands != to => Err(disturbed(&checkpoint.reader)),
        Projection::Applied | Projection::Refused { .. } => Ok(true),
    }
}
