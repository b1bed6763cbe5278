//! Which of each view's two tables is read and written, as the store says and this process has noted.
//!
//! The pointer of a view names the side that answers, and the rebuild that goes on, if one does. A writing shard that has
//! joined that rebuild writes both sides. It must not know how a rebuild comes to its end.

use crate::partition::every_row;
use crate::tables;
use bytes::Bytes;
use p92_proto::event::v1;
use p92_storage::{Conditional, Engine, Key, LogKey, Row, RowKey, Side, StoreError, Table, TableRef};
use parking_lot::{Mutex, RwLock};
use prost::Message;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Weak};

/// What the pointer of a view says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    pub side: Side,
    /// Which rebuild goes on; 0 for none.
    pub rebuild: u64,
    /// The member that runs it.
    pub by: String,
    /// The version of its row; `None` if there is none.
    pub version: Option<u64>,
}

impl Default for Pointer {
    fn default() -> Self {
        Self { side: Side::A, rebuild: 0, by: String::new(), version: None }
    }
}

/// What this process knows of one view.
#[derive(Debug, Default)]
struct Known {
    pointer: Pointer,
    /// Held by whoever reads the table that answers.
    reading: Arc<()>,
    /// The same of tables that answered before.
    read_before: Vec<Weak<()>>,
}

/// A table that is read. While somebody has it, this process does not say that it has left that table, so that no rebuild
/// empties it.
#[derive(Clone, Debug)]
pub struct Readable {
    table: TableRef,
    _reading: Option<Arc<()>>,
}

impl Readable {
    /// A table that no rebuild touches.
    #[must_use]
    pub const fn only(table: &'static Table) -> Self {
        Self { table: table.only(), _reading: None }
    }
}

impl Deref for Readable {
    type Target = TableRef;

    fn deref(&self) -> &TableRef {
        &self.table
    }
}

/// The pointers of a service's views, and the rebuilds that its writing shards here have joined.
#[derive(Debug, Default)]
pub struct ViewStates {
    pointers: RwLock<HashMap<&'static str, Known>>,
    joined: RwLock<HashMap<(&'static str, LogKey), u64>>,
    /// Held while a writer here plays a log into the other table of a view, for which rebuild.
    joining: Mutex<Vec<(&'static str, u64, Weak<()>)>>,
    /// Under which epoch it was last found out whether a shard had joined.
    found_out: RwLock<HashMap<(&'static str, LogKey), u64>>,
}

impl ViewStates {
    /// Reads what the store says of these tables. What is known already is never replaced by something older.
    ///
    /// All pointers stand in one partition and are one small read: every process looks again and again.
    pub async fn load(&self, engine: &dyn Engine, tables: &[&'static Table]) -> Result<(), StoreError> {
        let mut rows: HashMap<Bytes, Row> =
            every_row(engine, tables::VIEW_POINTERS.only(), all_pointers()).await?.into_iter().collect();
        for table in tables {
            let pointer = match rows.remove(&place(table)) {
                Some(row) => read_pointer(&row.value, row.stamp)?,
                None => Pointer::default(),
            };
            self.note(table, pointer);
        }
        Ok(())
    }

    fn note(&self, table: &'static Table, pointer: Pointer) {
        let mut pointers = self.pointers.write();
        let known = pointers.entry(table.name).or_default();
        if known.pointer.version > pointer.version {
            return;
        }
        if known.pointer.side != pointer.side {
            let before = std::mem::take(&mut known.reading);
            known.read_before.retain(|reading| reading.strong_count() > 0);
            known.read_before.push(Arc::downgrade(&before));
        }
        known.pointer = pointer;
    }

    /// Says that a writer plays a log into the other table, as long as what is returned is held.
    pub fn begin_to_join(&self, table: &'static Table, rebuild: u64) -> Arc<()> {
        let held = Arc::new(());
        let mut joining = self.joining.lock();
        joining.retain(|(.., held)| held.strong_count() > 0);
        joining.push((table.name, rebuild, Arc::downgrade(&held)));
        held
    }

    /// Whether no writer here plays into the other table for another rebuild than this one, which would have it empty.
    #[must_use]
    pub fn joins_only(&self, table: &'static Table, rebuild: u64) -> bool {
        let under_way = |(name, of, held): &(&str, u64, Weak<()>)| {
            *name == table.name && *of != rebuild && held.strong_count() > 0
        };
        !self.joining.lock().iter().any(under_way)
    }

    /// Whether nobody here reads a table any more that answered before.
    #[must_use]
    pub fn has_left(&self, table: &'static Table) -> bool {
        let pointers = self.pointers.read();
        let readers = pointers.get(table.name).map(|known| known.read_before.as_slice()).unwrap_or_default();
        readers.iter().all(|reading| reading.strong_count() == 0)
    }

    /// What the pointer says, as far as this process has noted.
    #[must_use]
    pub fn pointer(&self, table: &'static Table) -> Pointer {
        self.pointers.read().get(table.name).map(|known| known.pointer.clone()).unwrap_or_default()
    }

    /// The table that answers reads, to be kept until what is read from it is there.
    #[must_use]
    pub fn answering(&self, table: &'static Table) -> Readable {
        let pointers = self.pointers.read();
        let known = pointers.get(table.name);
        let side = known.map_or(Side::A, |known| known.pointer.side);
        Readable { table: table.side(side), _reading: known.map(|known| Arc::clone(&known.reading)) }
    }

    /// The side that answers reads.
    #[must_use]
    pub fn side(&self, table: &'static Table) -> Side {
        self.pointers.read().get(table.name).map_or(Side::A, |known| known.pointer.side)
    }

    /// The tables that this writing shard writes.
    #[must_use]
    pub fn written(&self, table: &'static Table, log: LogKey) -> (TableRef, Option<TableRef>) {
        let (side, rebuild) = {
            let pointers = self.pointers.read();
            pointers.get(table.name).map_or((Side::A, 0), |known| (known.pointer.side, known.pointer.rebuild))
        };
        let both = rebuild != 0 && self.has_joined(table, log, rebuild);
        (table.side(side), both.then(|| table.side(side.other())))
    }

    /// Whether this writing shard has joined that rebuild.
    #[must_use]
    pub fn has_joined(&self, table: &'static Table, log: LogKey, rebuild: u64) -> bool {
        self.joined.read().get(&(table.name, log)) == Some(&rebuild)
    }

    /// It has, or it has joined none. The store says so already.
    pub fn set_joined(&self, table: &'static Table, log: LogKey, rebuild: Option<u64>) {
        let mut joined = self.joined.write();
        match rebuild {
            Some(rebuild) => joined.insert((table.name, log), rebuild),
            None => joined.remove(&(table.name, log)),
        };
    }

    /// Whether it is found out for the first time under this epoch what a shard has joined.
    pub fn first_found_out(&self, table: &'static Table, log: LogKey, epoch: u64) -> bool {
        self.found_out.write().insert((table.name, log), epoch) != Some(epoch)
    }

    /// Whether that was found out under this epoch.
    #[must_use]
    pub fn was_found_out(&self, table: &'static Table, log: LogKey, epoch: u64) -> bool {
        self.found_out.read().get(&(table.name, log)) == Some(&epoch)
    }

    /// Moves the pointer, in the store and here, if it stands as `from` says. False if it does not.
    pub async fn move_pointer(
        &self,
        engine: &dyn Engine,
        table: &'static Table,
        from: &Pointer,
        to: Pointer,
    ) -> Result<bool, StoreError> {
        let row = v1::ViewPointerRow {
            answers: side_name(to.side).to_owned(),
            rebuild: to.rebuild,
            by: to.by.clone(),
        };
        let value = Bytes::from(row.encode_to_vec());
        let moved = engine.compare_and_set(&pointer_key(table), from.version, value).await?;
        if moved == Conditional::Applied {
            let version = Some(from.version.unwrap_or(0) + 1);
            self.note(table, Pointer { version, ..to });
            return Ok(true);
        }
        Ok(false)
    }
}

const fn side_name(side: Side) -> &'static str {
    match side {
        Side::B => "b",
        Side::A | Side::Only => "a",
    }
}

fn read_pointer(value: &Bytes, version: u64) -> Result<Pointer, StoreError> {
    let row = v1::ViewPointerRow::decode(value.clone())
        .map_err(|error| StoreError::Damaged(format!("a view pointer: {error}")))?;
    let side = match row.answers.as_str() {
        "a" => Side::A,
        "b" => Side::B,
        other => return Err(StoreError::Damaged(format!("a view pointer says {other:?}"))),
    };
    Ok(Pointer { side, rebuild: row.rebuild, by: row.by, version: Some(version) })
}

/// The partition of all pointers.
fn all_pointers() -> Bytes {
    Key::new().text("views").build()
}

/// A view's place in it.
fn place(table: &Table) -> Bytes {
    Key::new().text(table.name).build()
}

fn pointer_key(table: &Table) -> RowKey {
    RowKey::new(tables::VIEW_POINTERS.only(), all_pointers(), place(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_left_when_its_last_reader_has_what_it_wanted() {
        let (states, view) = (ViewStates::default(), tables::keys(p92_kernel::Service::Posting));
        let stands = |side, version| states.note(view, Pointer { side, version, ..Pointer::default() });
        stands(Side::A, Some(1));
        let reading = states.answering(view);
        stands(Side::A, Some(2));
        assert!(states.has_left(view), "it is the same table");
        stands(Side::B, Some(3));
        let behind = states.answering(view);
        assert!(!states.has_left(view));
        assert_ne!(*reading, *behind);
        drop(reading);
        assert!(states.has_left(view), "whoever reads the other one is no matter");
        stands(Side::A, Some(2));
        assert_eq!(*states.answering(view), *behind, "what is older is not believed");
    }

    #[test]
    fn who_still_plays_into_a_table_is_waited_for_by_the_next_rebuild() {
        let (states, view) = (ViewStates::default(), tables::keys(p92_kernel::Service::Posting));
        let playing = states.begin_to_join(view, 7);
        assert!(states.joins_only(view, 7), "its own rebuild does not wait for it");
        assert!(!states.joins_only(view, 8));
        assert!(states.joins_only(tables::keys(p92_kernel::Service::Identity), 8), "another view's does not");
        drop(playing);
        assert!(states.joins_only(view, 8));
    }
}
