//! The rows by which a rebuild and the writers of its view speak, whichever processes they are in.
//!
//! Who runs the rebuild puts down a row for a writing shard: it is asked to join. Its writer, whoever that is at the
//! moment, replays what is missing at the end of a group, and says in the row that it writes both tables from there on, as
//! whom and under which epoch of its slot. The rebuild accepts that once it has seen that the slot is still this
//! writer's: whoever holds it later reads the row before it writes anything, and goes on with both. Where nobody can tell
//! whether every group went to both tables, the row is void and the rebuild begins again; it never guesses.

use super::{Join, RebuildError, Run, replay};
use crate::partition::every_row;
use crate::platform::Shared;
use crate::{settle, tables};
use bytes::Bytes;
use p92_kernel::{Seq, Service, Shard};
use p92_proto::event::v1;
use p92_storage::{Conditional, Engine, Key, KeyReader, LogKey, Row, RowKey, StoreError, Table, Write};
use prost::Message;
use std::collections::BTreeMap;
use std::time::Duration;

/// The row of a writing shard, in its version.
pub type Writer = (u64, v1::ViewWriterRow);

fn partition(table: &Table, rebuild: u64) -> Bytes {
    Key::new().text(table.name).num(rebuild).build()
}

fn writer_key(table: &Table, rebuild: u64, log: LogKey) -> RowKey {
    let clustering = Key::new().text(log.service.name()).small(log.shard.0);
    RowKey::new(tables::VIEW_WRITERS.only(), partition(table, rebuild), clustering)
}

fn noted_key(table: &Table, rebuild: u64, member: &str) -> RowKey {
    RowKey::new(tables::VIEW_NOTED.only(), partition(table, rebuild), Key::new().text(member))
}

fn damaged(what: &str, problem: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged(format!("{what}: {problem}"))
}

fn read_writer(row: Row) -> Result<Writer, StoreError> {
    let writer = v1::ViewWriterRow::decode(row.value).map_err(|error| damaged("a view's writer", &error))?;
    Ok((row.stamp, writer))
}

/// The writing shards that were asked.
pub async fn writers(
    engine: &dyn Engine,
    table: &Table,
    rebuild: u64,
) -> Result<BTreeMap<LogKey, Writer>, StoreError> {
    let mut found = BTreeMap::new();
    for (clustering, row) in every_row(engine, tables::VIEW_WRITERS.only(), partition(table, rebuild)).await?
    {
        let mut reader = KeyReader::new(&clustering);
        let log = reader.text().and_then(|service| Ok((service, reader.small()?)));
        let (service, shard) = log.map_err(|error| damaged("the key of a view's writer", &error))?;
        let service =
            Service::from_name(&service).ok_or_else(|| damaged("the key of a view's writer", &service))?;
        found.insert(LogKey { service, shard: Shard(shard) }, read_writer(row)?);
    }
    Ok(found)
}

/// Asks a writing shard to join.
pub async fn ask(engine: &dyn Engine, table: &Table, rebuild: u64, log: LogKey) -> Result<(), StoreError> {
    let row = v1::ViewWriterRow::default().encode_to_vec();
    // One that stands there is from an attempt before.
    engine.insert_if_absent(&writer_key(table, rebuild, log), row.into()).await.map(drop)
}

/// Replaces the row of a writing shard if it stands in this version.
pub async fn put(
    engine: &dyn Engine,
    table: &Table,
    rebuild: u64,
    log: LogKey,
    (version, row): (u64, &v1::ViewWriterRow),
) -> Result<bool, StoreError> {
    let key = writer_key(table, rebuild, log);
    let put = engine.compare_and_set(&key, Some(version), row.encode_to_vec().into()).await?;
    Ok(put == Conditional::Applied)
}

/// This member has noted what the pointer says in that version.
pub async fn note(
    engine: &dyn Engine,
    table: &Table,
    rebuild: u64,
    member: &str,
    version: u64,
) -> Result<(), StoreError> {
    let value = v1::ViewNotedRow { version }.encode_to_vec().into();
    engine.write(vec![Write { key: noted_key(table, rebuild, member), value: Some(value) }]).await
}

/// Up to which version each member has noted the pointer.
pub async fn noted(
    engine: &dyn Engine,
    table: &Table,
    rebuild: u64,
) -> Result<BTreeMap<String, u64>, StoreError> {
    let mut found = BTreeMap::new();
    for (clustering, row) in every_row(engine, tables::VIEW_NOTED.only(), partition(table, rebuild)).await? {
        let member =
            KeyReader::new(&clustering).text().map_err(|error| damaged("who noted a view", &error))?;
        let noted = v1::ViewNotedRow::decode(row.value).map_err(|error| damaged("a view's note", &error))?;
        found.insert(member, noted.version);
    }
    Ok(found)
}

/// Removes the rows of a rebuild that is over. Its number never comes again.
pub async fn remove(engine: &dyn Engine, table: &Table, rebuild: u64) -> Result<(), StoreError> {
    for (log, (version, _)) in writers(engine, table, rebuild).await? {
        engine.compare_and_delete(&writer_key(table, rebuild, log), version).await?;
    }
    for member in noted(engine, table, rebuild).await?.into_keys() {
        engine.write(vec![Write { key: noted_key(table, rebuild, &member), value: None }]).await?;
    }
    Ok(())
}

/// Finds out whether a shard has joined the rebuild that goes on. Asked by whoever begins to write for it, before it
/// writes anything, under the epoch of its slot.
pub async fn find_out(
    shared: &Shared,
    table: &'static Table,
    log: LogKey,
    epoch: u64,
) -> Result<(), StoreError> {
    let (engine, states) = (&*shared.platform.engine, &shared.view_states);
    states.load(engine, &[table]).await?;
    states.set_joined(table, log, None);
    let first = states.first_found_out(table, log, epoch);
    let rebuild = states.pointer(table).rebuild;
    if rebuild == 0 {
        return Ok(());
    }
    let key = writer_key(table, rebuild, log);
    while let Some(row) = engine.get(&key).await? {
        let (version, row) = read_writer(row)?;
        if !row.both || row.void {
            return Ok(());
        }
        let mine = row.member == shared.platform.member && row.epoch == epoch;
        if mine || row.accepted {
            states.set_joined(table, log, Some(rebuild));
            return Ok(());
        }
        // The holder before said so, and nothing was written for this slot since. If there was another in between, or if
        // this one has written before it said so, groups may be missing.
        let next = if first && row.epoch + 1 == epoch {
            v1::ViewWriterRow { member: shared.platform.member.clone(), epoch, ..row }
        } else {
            v1::ViewWriterRow { void: true, ..row }
        };
        let (joined, value) = (!next.void, Bytes::from(next.encode_to_vec()));
        if engine.compare_and_set(&key, Some(version), value).await? == Conditional::Applied {
            states.set_joined(table, log, joined.then_some(rebuild));
            return Ok(());
        }
    }
    Ok(())
}

/// What a writer of this process must do about its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Nothing,
    /// It is asked to join.
    Join,
    /// Somebody who held the slot before has joined too late: this one began to write without knowing of it.
    Void,
}

/// What is due for a shard that is held here under this epoch.
#[must_use]
pub fn due(
    shared: &Shared,
    table: &'static Table,
    rebuild: u64,
    (log, epoch): (LogKey, u64),
    row: &v1::ViewWriterRow,
) -> Due {
    let states = &shared.view_states;
    if states.has_joined(table, log, rebuild) || row.void || row.accepted || !row.problem.is_empty() {
        return Due::Nothing;
    }
    let mine = row.member == shared.platform.member && row.epoch == epoch;
    match row.both {
        false => Due::Join,
        true if !mine && states.was_found_out(table, log, epoch) => Due::Void,
        true => Due::Nothing,
    }
}

/// A writer's part: nothing is under way, so the log ends for it at `at`. If it does not come about, it is asked again.
pub async fn join(shared: &Shared, log: LogKey, (at, epoch): (Seq, u64), join: Join) {
    let table = join.view.table();
    if let Err(error) = try_join(shared, log, (at, epoch), &join).await {
        tracing::warn!(view = table.name, shard = %log.shard, %error, "a shard has not joined a rebuild yet");
    }
}

async fn try_join(
    shared: &Shared,
    log: LogKey,
    (at, epoch): (Seq, u64),
    join: &Join,
) -> Result<(), RebuildError> {
    let (engine, states) = (&*shared.platform.engine, &shared.view_states);
    let (table, rebuild) = (join.view.table(), join.rebuild);
    let _joining = states.begin_to_join(table, rebuild);
    states.load(engine, &[table]).await?;
    let pointer = states.pointer(table);
    let key = writer_key(table, rebuild, log);
    if pointer.rebuild != rebuild {
        return Ok(());
    }
    let Some(row) = engine.get(&key).await? else { return Ok(()) };
    let (version, row) = read_writer(row)?;
    if row.both || row.void || !row.problem.is_empty() {
        return Ok(());
    }
    let run = Run { target: table.side(pointer.side.other()), number: rebuild };
    let left_out = left_out(shared, &*join.view, log).await?;
    let mut says = v1::ViewWriterRow { member: shared.platform.member.clone(), epoch, ..row };
    match replay(&shared.platform, &*join.view, run, log, at, &left_out).await {
        Ok(events) => (says.both, says.events) = (true, events),
        Err(RebuildError::Store(error)) => return Err(error.into()),
        Err(error) => says.problem = error.to_string(),
    }
    if say(shared, &key, version, &says).await && says.both {
        states.set_joined(table, log, Some(rebuild));
    }
    Ok(())
}

/// Puts the row, however often the store must be asked: as long as nobody knows whether the row says so, the next group
/// could go to neither one nor both tables. False if somebody else changed it.
async fn say(shared: &Shared, key: &RowKey, version: u64, says: &v1::ViewWriterRow) -> bool {
    let mut pause = Duration::from_millis(20);
    while !shared.platform.stopping.is_cancelled() {
        let value = says.encode_to_vec().into();
        match shared.platform.engine.compare_and_set(key, Some(version), value).await {
            Ok(Conditional::Applied) => return true,
            // An attempt before may have come through, and been accepted since.
            Ok(Conditional::Stands(stands)) => {
                let stands = stands.and_then(|row| read_writer(row).ok());
                return stands.is_some_and(|(_, row)| {
                    (row.member, row.epoch, row.both) == (says.member.clone(), says.epoch, says.both)
                });
            }
            Err(error) => {
                tracing::warn!(%error, "whether a shard has joined a rebuild is not known; it is asked again")
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
    false
}

/// What the leased reader of this service's views left out of a foreign log. An owner leaves nothing out of its own.
pub async fn left_out(
    shared: &Shared,
    view: &dyn crate::View,
    log: LogKey,
) -> Result<std::collections::BTreeSet<Seq>, StoreError> {
    if log.service == shared.service {
        return Ok(std::collections::BTreeSet::new());
    }
    settle::left_out(&shared.platform, shared.service, view, log).await
}
