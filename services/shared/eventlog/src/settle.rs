//! Settling what a reader put aside: operators decide in the store, whichever process they ask; who reads acts on it.
//!
//! *Retry* of an effect: the reader itself does the events of the stream again, in order, between two groups; what still
//! cannot be done stays, with all that follows it. *Retry* of a view: rows are functions of the log in its order, and an
//! event cannot be applied late, so the reader's views are rebuilt with it. *Drop*: the events are skipped, by rebuilds
//! too; their rows stay as the record.
//!
//! A reader looks for decisions every second, while something of it is put aside. It alone adds rows, so what it finds
//! settled is settled.

use crate::error::Poison;
use crate::{Platform, Recorded, View, quarantine, tables};
use p92_kernel::{Position, Seq, Service, Shard};
use p92_proto::event::v1::{QuarantineRow, Settling};
use p92_storage::{LogKey, StoreError, Write};
use prost::Message;
use std::collections::BTreeSet;
use std::time::Duration;

/// How often a reader looks whether something was settled.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// An event that was put aside.
#[derive(Clone, Debug)]
pub struct Aside {
    pub reader: String,
    pub event: Recorded,
    pub row: QuarantineRow,
}

impl Aside {
    fn read(reader: &str, row: QuarantineRow) -> Result<Self, StoreError> {
        let damaged = |problem: String| StoreError::Damaged(format!("quarantine: {problem}"));
        let service = Service::from_name(&row.service).ok_or_else(|| damaged(row.service.clone()))?;
        let shard = Shard(u16::try_from(row.shard).map_err(|error| damaged(error.to_string()))?);
        let position = Position { service, shard, seq: Seq(row.seq) };
        let event = Recorded::read(position, row.event.clone());
        let event = event.map_err(|error: Poison| damaged(error.to_string()))?;
        Ok(Self { reader: reader.to_owned(), event, row })
    }

    /// The log that it stands in.
    #[must_use]
    pub const fn log(&self) -> LogKey {
        LogKey { service: self.event.position.service, shard: self.event.position.shard }
    }

    /// What was decided about it.
    #[must_use]
    pub fn settling(&self) -> Settling {
        self.row.settling()
    }

    /// Notes what was decided, and why it could not be applied if that was tried.
    pub async fn note(
        &self,
        platform: &Platform,
        settling: Settling,
        problem: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut row = self.row.clone();
        row.set_settling(settling);
        if let Some(problem) = problem {
            problem.clone_into(&mut row.problem);
        }
        self.put(platform, Some(row)).await
    }

    /// It is aside no more.
    pub async fn remove(&self, platform: &Platform) -> Result<(), StoreError> {
        self.put(platform, None).await
    }

    async fn put(&self, platform: &Platform, row: Option<QuarantineRow>) -> Result<(), StoreError> {
        let key = tables::quarantine_key(&self.reader, &self.event.event.stream, self.event.event.version);
        let value = row.map(|row| row.encode_to_vec().into());
        platform.engine.write(vec![Write { key, value }]).await
    }
}

/// What a reader put aside, streams in order, each by version; what was dropped too.
pub async fn of_reader(platform: &Platform, reader: &str) -> Result<Vec<Aside>, StoreError> {
    let rows = quarantine::rows(platform, reader).await?;
    rows.into_iter().map(|(_, row)| Aside::read(reader, row)).collect()
}

/// What of one stream still waits: neither applied nor dropped.
pub async fn waiting(platform: &Platform, reader: &str, stream: &str) -> Result<Vec<Aside>, StoreError> {
    let all = of_reader(platform, reader).await?;
    let of_stream = |one: &Aside| one.event.event.stream == stream && one.settling() != Settling::Dropped;
    Ok(all.into_iter().filter(of_stream).collect())
}

/// Places in a log that a rebuild of a view leaves out, as the leased reader of that service's views did: all that the
/// view wants but those that are to be tried again.
pub async fn left_out(
    platform: &Platform,
    service: Service,
    view: &dyn View,
    log: LogKey,
) -> Result<BTreeSet<Seq>, StoreError> {
    let all = of_reader(platform, &reader_of_views(service)).await?;
    let here = all
        .iter()
        .filter(|one| one.log() == log && one.settling() != Settling::Retry)
        .filter(|one| view.wants(one.event.event_type()));
    Ok(here.map(|one| one.event.position.seq).collect())
}

/// The leased reader of a service's views.
#[must_use]
pub fn reader_of_views(service: Service) -> String {
    format!("{}.views", service.name())
}
