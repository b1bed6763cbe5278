//! What a view sees while it projects one event: its own table, as the events before this one left it.

use crate::ProjectionError;
use crate::overlay::{Laid, Overlay, Place};
use crate::view::ViewStates;
use bytes::Bytes;
use p92_kernel::Seq;
use p92_storage::{
    Direction, Engine, LogKey, ProjectedWrite, Range, RowKey, Scan, StoreError, Table, TableRef,
};
use std::collections::{BTreeMap, BTreeSet};

/// Layers over the store, the newest first.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    pub engine: &'a dyn Engine,
    pub laid: &'a [&'a Overlay],
}

impl Layers<'_> {
    /// A row as the newest layer that has it says, with its stamp.
    pub async fn get(
        &self,
        table: TableRef,
        partition: &Bytes,
        clustering: &Bytes,
    ) -> Result<Option<(Bytes, Seq)>, StoreError> {
        let place =
            Place { table: table.table.name, partition: partition.clone(), clustering: clustering.clone() };
        for overlay in self.laid {
            if let Some(laid) = overlay.get(&place) {
                return Ok(laid.value.clone().map(|value| (value, laid.at)));
            }
        }
        let key = RowKey::new(table, partition.clone(), clustering.clone());
        Ok(self.engine.get(&key).await?.map(|row| (row.value, Seq(row.stamp))))
    }

    /// The first rows of a range, as the newest layers that have them say.
    pub async fn scan(
        &self,
        table: TableRef,
        partition: &Bytes,
        range: Range,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let mut over: BTreeMap<Bytes, Option<Bytes>> = BTreeMap::new();
        for overlay in self.laid.iter().rev() {
            for (clustering, laid) in overlay.range(table.table, partition, &range) {
                over.insert(clustering.clone(), laid.value.clone());
            }
        }
        // Every laid row may hide a stored one, so that many more are asked for.
        let limit_stored = limit.saturating_add(over.len()).min(1_000);
        let page = self
            .engine
            .scan(&Scan {
                table,
                partition: partition.clone(),
                range,
                direction,
                limit: limit_stored,
                after: None,
            })
            .await?;
        let mut rows: BTreeMap<Bytes, Option<Bytes>> =
            page.rows.into_iter().map(|(clustering, row)| (clustering, Some(row.value))).collect();
        rows.extend(over);
        let present = rows.into_iter().filter_map(|(clustering, value)| Some((clustering, value?)));
        let mut present: Vec<_> = present.collect();
        if direction == Direction::Backward {
            present.reverse();
        }
        present.truncate(limit);
        Ok(present)
    }
}

/// A view's own table while one event is projected.
#[derive(Debug)]
pub struct Rows<'a> {
    table: TableRef,
    at: Seq,
    layers: Layers<'a>,
    out: Overlay,
    /// Rows that an earlier owner wrote from this event or a later one, before it could move `applied`. What this
    /// event would make of them is in them already; counting it again would be wrong.
    ahead: BTreeSet<Place>,
}

impl<'a> Rows<'a> {
    /// The table `table` as `layers` show it, for the event at `at`.
    #[must_use]
    pub fn new(table: TableRef, at: Seq, layers: Layers<'a>) -> Self {
        Self { table, at, layers, out: Overlay::default(), ahead: BTreeSet::new() }
    }

    /// The row there, as the events before this one, and what this one wrote already, left it.
    pub async fn get(
        &mut self,
        partition: impl Into<Bytes>,
        clustering: impl Into<Bytes>,
    ) -> Result<Option<Bytes>, ProjectionError> {
        let (partition, clustering) = (partition.into(), clustering.into());
        let place = self.place(&partition, &clustering);
        if let Some(laid) = self.out.get(&place) {
            return Ok(laid.value.clone());
        }
        let found = self.layers.get(self.table, &partition, &clustering).await?;
        if found.as_ref().is_some_and(|(_, stamp)| *stamp >= self.at) {
            self.ahead.insert(place);
        }
        Ok(found.map(|(value, _)| value))
    }

    /// The row there as this message; `None` if there is no row.
    pub async fn get_message<M: prost::Message + Default>(
        &mut self,
        partition: impl Into<Bytes>,
        clustering: impl Into<Bytes>,
    ) -> Result<Option<M>, ProjectionError> {
        let Some(value) = self.get(partition, clustering).await? else { return Ok(None) };
        let table = self.table.table.name;
        M::decode(value).map(Some).map_err(|error| ProjectionError::Row { table, problem: error.to_string() })
    }

    /// The first rows of a range.
    pub async fn scan(
        &self,
        partition: impl Into<Bytes>,
        range: Range,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ProjectionError> {
        let mut laid = vec![&self.out];
        laid.extend_from_slice(self.layers.laid);
        let layers = Layers { engine: self.layers.engine, laid: &laid };
        Ok(layers.scan(self.table, &partition.into(), range, direction, limit).await?)
    }

    /// Writes a row at the event's position.
    pub fn put(
        &mut self,
        partition: impl Into<Bytes>,
        clustering: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) {
        self.lay(partition.into(), clustering.into(), Some(value.into()));
    }

    /// Writes a message as a row at the event's position.
    pub fn put_message<M: prost::Message>(
        &mut self,
        partition: impl Into<Bytes>,
        clustering: impl Into<Bytes>,
        message: &M,
    ) {
        self.put(partition, clustering, message.encode_to_vec());
    }

    /// Deletes a row at the event's position.
    pub fn delete(&mut self, partition: impl Into<Bytes>, clustering: impl Into<Bytes>) {
        self.lay(partition.into(), clustering.into(), None);
    }

    fn lay(&mut self, partition: Bytes, clustering: Bytes, value: Option<Bytes>) {
        let place = self.place(&partition, &clustering);
        if self.ahead.contains(&place) {
            return;
        }
        self.out.lay(place, Laid { table: self.table.table, value, at: self.at });
    }

    fn place(&self, partition: &Bytes, clustering: &Bytes) -> Place {
        Place { table: self.table.table.name, partition: partition.clone(), clustering: clustering.clone() }
    }

    /// What was written.
    #[must_use]
    pub fn written(self) -> Overlay {
        self.out
    }
}

/// Laid rows as writes to the store: of a view to the tables that this writing shard writes.
#[must_use]
pub fn to_writes(overlay: &Overlay, views: &ViewStates, log: LogKey) -> Vec<ProjectedWrite> {
    let mut writes = Vec::new();
    for (place, laid) in overlay.iter() {
        let mut write = |table: TableRef| {
            writes.push(ProjectedWrite {
                key: RowKey::new(table, place.partition.clone(), place.clustering.clone()),
                value: laid.value.clone(),
                at: laid.at,
            });
        };
        if laid.table.class == p92_storage::Class::View {
            let (answering, other) = views.written(laid.table, log);
            write(answering);
            if let Some(other) = other {
                write(other);
            }
        } else {
            write(laid.table.only());
        }
    }
    writes
}

/// A logical table as this process reads it.
#[must_use]
pub fn readable(table: &'static Table, views: &ViewStates) -> TableRef {
    if table.class == p92_storage::Class::View { views.answering(table) } else { table.only() }
}
