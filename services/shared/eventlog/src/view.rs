//! Views: what they are, and which of their two tables is read and written.

use crate::{ProjectionError, Recorded, Rows};
use async_trait::async_trait;
use bytes::Bytes;
use p92_kernel::Service;
use p92_proto::event::v1;
use p92_storage::{Conditional, Engine, Key, LogKey, RowKey, Side, StoreError, Table, TableRef};
use parking_lot::RwLock;
use prost::Message;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// One table as a function of one service's events: no clock, no randomness, no call, no other view.
///
/// A service's own views are computed by the owner before the append; others by a leased reader.
#[async_trait]
pub trait View: Send + Sync + std::fmt::Debug + 'static {
    /// The table, of class view.
    fn table(&self) -> &'static Table;

    /// Whose events it is a function of.
    fn source(&self) -> Service;

    /// Whether events of this type matter. Asked for every event, so cheap.
    fn wants(&self, event_type: &str) -> bool;

    /// Writes what the event changes. Each row has exactly one writing shard.
    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError>;
}

/// Which tables of each view are read and written, as the store says and this process has noted.
#[derive(Debug, Default)]
pub struct ViewStates {
    answers: RwLock<HashMap<&'static str, Side>>,
    both: RwLock<HashSet<(&'static str, LogKey)>>,
}

impl ViewStates {
    /// Reads what the store says of these tables.
    pub async fn load(&self, engine: &dyn Engine, tables: &[&'static Table]) -> Result<(), StoreError> {
        for table in tables {
            let side = match engine.get(&pointer_key(table)).await? {
                Some(row) => read_pointer(&row.value)?,
                None => Side::A,
            };
            self.answers.write().insert(table.name, side);
        }
        Ok(())
    }

    /// The table that answers reads.
    #[must_use]
    pub fn answering(&self, table: &'static Table) -> TableRef {
        table.side(self.side(table))
    }

    /// The side that answers reads.
    #[must_use]
    pub fn side(&self, table: &'static Table) -> Side {
        self.answers.read().get(table.name).copied().unwrap_or(Side::A)
    }

    /// The tables that this writing shard writes.
    #[must_use]
    pub fn written(&self, table: &'static Table, log: LogKey) -> (TableRef, Option<TableRef>) {
        let side = self.side(table);
        let both = self.both.read().contains(&(table.name, log));
        (table.side(side), both.then(|| table.side(side.other())))
    }

    /// From now on the shard writes both tables, or one again. Noted in the store first.
    pub async fn set_both(
        &self,
        engine: &dyn Engine,
        table: &'static Table,
        log: LogKey,
        both: bool,
    ) -> Result<(), StoreError> {
        let row = v1::ViewWriterRow { both };
        let write =
            p92_storage::Write { key: writer_key(table, log), value: Some(row.encode_to_vec().into()) };
        engine.write(vec![write]).await?;
        if both {
            self.both.write().insert((table.name, log));
        } else {
            self.both.write().remove(&(table.name, log));
        }
        Ok(())
    }

    /// What the store says of one writing shard. Asked on taking over.
    pub async fn load_writer(
        &self,
        engine: &dyn Engine,
        table: &'static Table,
        log: LogKey,
    ) -> Result<(), StoreError> {
        let both = match engine.get(&writer_key(table, log)).await? {
            Some(row) => {
                v1::ViewWriterRow::decode(row.value)
                    .map_err(|error| StoreError::Damaged(format!("view writer of {}: {error}", table.name)))?
                    .both
            }
            None => false,
        };
        if both {
            self.both.write().insert((table.name, log));
        } else {
            self.both.write().remove(&(table.name, log));
        }
        Ok(())
    }

    /// Moves the pointer from `from` to the other side, in the store and here.
    pub async fn flip(
        &self,
        engine: &dyn Engine,
        table: &'static Table,
        from: Side,
    ) -> Result<(), StoreError> {
        let key = pointer_key(table);
        let to = from.other();
        let row = Bytes::from(v1::ViewPointerRow { answers: side_name(to).to_owned() }.encode_to_vec());
        let expected = engine.get(&key).await?.map(|row| row.stamp);
        match engine.compare_and_set(&key, expected, row).await? {
            Conditional::Applied => {
                self.answers.write().insert(table.name, to);
                Ok(())
            }
            Conditional::Stands(_) => Err(StoreError::Damaged(format!(
                "somebody else moved the pointer of {} meanwhile",
                table.name
            ))),
        }
    }
}

const fn side_name(side: Side) -> &'static str {
    match side {
        Side::B => "b",
        Side::A | Side::Only => "a",
    }
}

fn read_pointer(value: &Bytes) -> Result<Side, StoreError> {
    let row = v1::ViewPointerRow::decode(value.clone())
        .map_err(|error| StoreError::Damaged(format!("a view pointer: {error}")))?;
    match row.answers.as_str() {
        "a" => Ok(Side::A),
        "b" => Ok(Side::B),
        other => Err(StoreError::Damaged(format!("a view pointer says {other:?}"))),
    }
}

fn pointer_key(table: &Table) -> RowKey {
    RowKey::new(crate::tables::VIEW_POINTERS.only(), Key::new().text("views"), Key::new().text(table.name))
}

fn writer_key(table: &Table, log: LogKey) -> RowKey {
    let clustering = Key::new().text(log.service.name()).small(log.shard.0);
    RowKey::new(crate::tables::VIEW_WRITERS.only(), Key::new().text(table.name), clustering)
}

/// Views by whose events they are a function of.
#[derive(Clone, Debug, Default)]
pub struct ViewSet(pub Arc<[Arc<dyn View>]>);

impl ViewSet {
    /// Those with this source.
    #[must_use]
    pub fn of_source(views: &[Arc<dyn View>], source: Service) -> Self {
        Self(views.iter().filter(|view| view.source() == source).cloned().collect())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
