//! Reading views and state, at least as fresh as the caller asks.

use crate::error::store_failure;
use crate::event::position_from_wire;
use crate::heads::Heads;
use crate::platform::Shared;
use crate::progress::{Mark, log_of};
use crate::rows::readable;
use crate::tables;
use bytes::Bytes;
use p92_kernel::{Failure, Position};
use p92_proto::event::v1;
use p92_storage::{Direction, Page, Range, Row, RowKey, Scan, Table};
use prost::Message;
use std::sync::Arc;
use std::time::Duration;

/// How long a read waits for the positions that it must show.
const WAIT: Duration = Duration::from_secs(5);

/// What a service reads its tables through.
#[derive(Clone, Debug)]
pub struct Reads {
    shared: Arc<Shared>,
    /// Leased readers of this service whose views a read may want, by source.
    readers: Arc<[(p92_kernel::Service, Arc<str>)]>,
}

impl Reads {
    pub(crate) fn new(shared: Arc<Shared>, readers: Arc<[(p92_kernel::Service, Arc<str>)]>) -> Self {
        Self { shared, readers }
    }

    /// Waits until the tables of this service show these positions, or says that they do not yet.
    pub async fn at_least(&self, positions: &[v1::Position]) -> Result<(), Failure> {
        for position in positions {
            let position = position_from_wire(position).ok_or_else(|| {
                Failure::invalid("options.at_least", "BAD_POSITION", "A position names a log that cannot be.")
            })?;
            self.reached(position).await?;
        }
        Ok(())
    }

    /// Waits until the tables of this service show this position.
    pub async fn reached(&self, position: Position) -> Result<(), Failure> {
        let platform = &self.shared.platform;
        let log = log_of(position);
        let marks: Vec<(Mark, RowKey)> = if position.service == self.shared.service {
            vec![(Mark::applied(log), tables::applied_key(log))]
        } else {
            let of_source = self.readers.iter().filter(|(source, _)| *source == position.service);
            of_source.map(|(_, name)| (Mark::reader(name, log), tables::checkpoint_key(name, log))).collect()
        };
        let all = async {
            for (mark, row) in &marks {
                Heads::stands(&*platform.engine, &platform.progress, (mark, row), position.seq).await?;
            }
            Ok::<_, p92_storage::StoreError>(())
        };
        let waited = tokio::time::timeout(WAIT, all).await.map_err(|_| {
            Failure::unavailable(
                "NOT_THERE_YET",
                "What was just written cannot be read yet. Please try again.",
                Duration::from_secs(1),
            )
        });
        waited?.map_err(store_failure)
    }

    /// One row.
    pub async fn get(
        &self,
        table: &'static Table,
        partition: impl Into<Bytes>,
        clustering: impl Into<Bytes>,
    ) -> Result<Option<Row>, Failure> {
        let table = readable(table, &self.shared.view_states);
        let key = RowKey::new(*table, partition, clustering);
        self.shared.platform.engine.get(&key).await.map_err(store_failure)
    }

    /// One row as this message.
    pub async fn get_message<M: Message + Default>(
        &self,
        table: &'static Table,
        partition: impl Into<Bytes>,
        clustering: impl Into<Bytes>,
    ) -> Result<Option<M>, Failure> {
        let Some(row) = self.get(table, partition, clustering).await? else { return Ok(None) };
        M::decode(row.value).map(Some).map_err(Failure::internal)
    }

    /// Many rows, answered in the order of the keys.
    pub async fn get_many(
        &self,
        table: &'static Table,
        keys: impl IntoIterator<Item = (Bytes, Bytes)>,
    ) -> Result<Vec<Option<Row>>, Failure> {
        let table = readable(table, &self.shared.view_states);
        let keys: Vec<RowKey> = keys.into_iter().map(|(p, c)| RowKey::new(*table, p, c)).collect();
        self.shared.platform.engine.get_many(&keys).await.map_err(store_failure)
    }

    /// A page of a partition.
    pub async fn scan(
        &self,
        table: &'static Table,
        partition: impl Into<Bytes>,
        range: Range,
        direction: Direction,
        limit: usize,
        after: Option<Bytes>,
    ) -> Result<Page<(Bytes, Row)>, Failure> {
        let table = readable(table, &self.shared.view_states);
        let scan = Scan { table: *table, partition: partition.into(), range, direction, limit, after };
        self.shared.platform.engine.scan(&scan).await.map_err(store_failure)
    }
}
