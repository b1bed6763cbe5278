//! What a view sees while it projects one event: its own table, as the events before this one left it.

use crate::ProjectionError;
use crate::known::Known;
use crate::overlay::{Laid, Overlay, Place};
use crate::pointers::{Readable, ViewStates};
use bytes::Bytes;
use p92_kernel::Seq;
use p92_storage::{
    Direction, Engine, LogKey, ProjectedWrite, Range, RowKey, Scan, StoreError, Table, TableRef, check_length,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Layers over the store, the newest first.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    pub engine: &'a dyn Engine,
    pub laid: &'a [&'a Overlay],
    /// Where whoever reads writes these rows alone: what it knows of them.
    pub known: Option<&'a Known>,
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
        if let Some(stored) = self.known.and_then(|known| known.get(&key)) {
            return Ok(stored);
        }
        let stored = self.engine.get(&key).await?.map(|row| (row.value, Seq(row.stamp)));
        if let Some(known) = self.known {
            known.read(key, &stored);
        }
        Ok(stored)
    }

    /// The first `limit` rows of a range, in its direction, as the newest layers that have them say. However many rows
    /// are asked for or hidden, none of them is left out.
    pub async fn scan(
        &self,
        table: TableRef,
        partition: &Bytes,
        range: Range,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let found = self.scan_stamped(table, partition, range, direction, limit).await?;
        Ok(found.into_iter().map(|found| (found.clustering, found.value)).collect())
    }

    async fn scan_stamped(
        &self,
        table: TableRef,
        partition: &Bytes,
        range: Range,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Found>, StoreError> {
        let mut over = self.over(table, partition, &range, direction);
        let mut scan = Scan { table, partition: partition.clone(), range, direction, limit, after: None };
        let mut found = Vec::new();
        while found.len() < limit {
            // Every laid row may hide a stored one, so that many more are asked for; an engine gives fewer if it wants.
            scan.limit = (limit - found.len()).saturating_add(over.len());
            let page = self.engine.scan(&scan).await?;
            for (clustering, row) in page.rows {
                while let Some(laid) = over.pop_front_if(|laid| precedes(&laid.0, &clustering, direction)) {
                    found.extend(present(laid));
                }
                match over.pop_front_if(|laid| laid.0 == clustering) {
                    Some(laid) => found.extend(present(laid)),
                    None => found.push(Found { clustering, value: row.value, stored: Some(Seq(row.stamp)) }),
                }
            }
            // Only behind the last stored row is it certain that no stored row comes before the laid ones.
            let Some(next) = page.next else {
                found.extend(over.into_iter().filter_map(present));
                break;
            };
            scan.after = Some(next);
        }
        found.truncate(limit);
        Ok(found)
    }

    /// What is laid over a range, in the direction of a scan.
    fn over(
        &self,
        table: TableRef,
        partition: &Bytes,
        range: &Range,
        direction: Direction,
    ) -> VecDeque<LaidRow> {
        let mut over: BTreeMap<Bytes, Option<Bytes>> = BTreeMap::new();
        for overlay in self.laid.iter().rev() {
            for (clustering, laid) in overlay.range(table.table, partition, range) {
                over.insert(clustering.clone(), laid.value.clone());
            }
        }
        match direction {
            Direction::Forward => over.into_iter().collect(),
            Direction::Backward => over.into_iter().rev().collect(),
        }
    }
}

/// A clustering key, and what is laid there: `None` hides what is stored.
type LaidRow = (Bytes, Option<Bytes>);

/// A row met by a scan.
struct Found {
    clustering: Bytes,
    value: Bytes,
    /// Its stamp, if it comes from the store.
    stored: Option<Seq>,
}

fn present((clustering, value): LaidRow) -> Option<Found> {
    Some(Found { clustering, value: value?, stored: None })
}

fn precedes(one: &Bytes, other: &Bytes, direction: Direction) -> bool {
    match direction {
        Direction::Forward => one < other,
        Direction::Backward => one > other,
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
    /// The first row that no engine would take.
    refused: Option<ProjectionError>,
}

impl<'a> Rows<'a> {
    /// The table `table` as `layers` show it, for the event at `at`.
    #[must_use]
    pub fn new(table: TableRef, at: Seq, layers: Layers<'a>) -> Self {
        Self { table, at, layers, out: Overlay::default(), ahead: BTreeSet::new(), refused: None }
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
        self.out.has_read();
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

    /// The first rows of a range. Rows that are ahead of the event are among them, and stay as they are.
    pub async fn scan(
        &mut self,
        partition: impl Into<Bytes>,
        range: Range,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ProjectionError> {
        let partition = partition.into();
        self.out.has_read();
        let mut laid = vec![&self.out];
        laid.extend_from_slice(self.layers.laid);
        let layers = Layers { laid: &laid, ..self.layers };
        let found = layers.scan_stamped(self.table, &partition, range, direction, limit).await?;
        for row in found.iter().filter(|row| row.stored.is_some_and(|stamp| stamp >= self.at)) {
            self.ahead.insert(self.place(&partition, &row.clustering));
        }
        Ok(found.into_iter().map(|found| (found.clustering, found.value)).collect())
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
        let fits = check_length(self.table, &partition).and_then(|()| check_length(self.table, &clustering));
        if let Err(error) = fits {
            let problem = error.to_string();
            self.refused.get_or_insert(ProjectionError::Row { table: self.table.table.name, problem });
            return;
        }
        let place = self.place(&partition, &clustering);
        if self.ahead.contains(&place) {
            return;
        }
        self.out.lay(place, Laid { table: self.table.table, value, at: self.at });
    }

    fn place(&self, partition: &Bytes, clustering: &Bytes) -> Place {
        Place { table: self.table.table.name, partition: partition.clone(), clustering: clustering.clone() }
    }

    /// What was written. Fails if the store would refuse a row of it: appended, that would stand in the way for ever.
    pub fn written(self) -> Result<Overlay, ProjectionError> {
        match self.refused {
            Some(error) => Err(error),
            None => Ok(self.out),
        }
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
pub fn readable(table: &'static Table, views: &ViewStates) -> Readable {
    if table.class == p92_storage::Class::View { views.answering(table) } else { Readable::only(table) }
}
