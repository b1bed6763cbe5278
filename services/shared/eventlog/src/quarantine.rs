//! Events that a reader could not apply, with the later events of their streams.

use crate::partition::every_row;
use crate::{Platform, Recorded, tables};
use bytes::Bytes;
use p92_kernel::Service;
use p92_proto::event::v1;
use p92_storage::{Key, KeyReader, LogKey, Row, StoreError, Write};
use prost::Message;
use std::collections::HashSet;

/// After so many tries an event is put aside.
pub const TRIES: u32 = 3;

/// The streams of which a reader has put events aside.
#[derive(Debug, Default)]
pub struct Quarantine {
    streams: HashSet<(Service, String)>,
}

impl Quarantine {
    /// What stands in the store for this reader and log: a stream is in one log. Loaded before its first event.
    pub async fn load(platform: &Platform, reader: &str, log: LogKey) -> Result<Self, StoreError> {
        let of_log = |row: &v1::QuarantineRow| {
            row.service == log.service.name() && row.shard == u32::from(log.shard.0)
        };
        let rows = rows(platform, reader).await?.into_iter();
        // What was dropped holds nothing back.
        let held = rows.filter(|(_, row)| of_log(row) && !is_dropped(row));
        Ok(Self { streams: held.map(|(stream, _)| (log.service, stream)).collect() })
    }

    /// Whether nothing is put aside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Whether an event follows one of its stream that was put aside.
    #[must_use]
    pub fn holds(&self, event: &Recorded) -> bool {
        !self.streams.is_empty()
            && self.streams.contains(&(event.position.service, event.event.stream.clone()))
    }

    /// Puts an event aside, durably. False if it was aside already: a group may be read again, and what was said and
    /// decided about its events stays.
    pub async fn put(
        &mut self,
        platform: &Platform,
        reader: &str,
        event: &Recorded,
        problem: &str,
    ) -> Result<bool, StoreError> {
        let key = tables::quarantine_key(reader, &event.event.stream, event.event.version);
        let stream = (event.position.service, event.event.stream.clone());
        if let Some(stands) = platform.engine.get(&key).await? {
            if !is_dropped(&read(stands.value)?) {
                self.streams.insert(stream);
            }
            return Ok(false);
        }
        let row = v1::QuarantineRow {
            service: event.position.service.name().to_owned(),
            shard: u32::from(event.position.shard.0),
            seq: event.position.seq.0,
            event: event.bytes.clone(),
            problem: problem.to_owned(),
            time_ms: platform.clock.now().0,
            settling: v1::Settling::Unspecified.into(),
        };
        platform.engine.write(vec![Write { key, value: Some(row.encode_to_vec().into()) }]).await?;
        self.streams.insert(stream);
        Ok(true)
    }
}

fn read(row: Bytes) -> Result<v1::QuarantineRow, StoreError> {
    v1::QuarantineRow::decode(row).map_err(|error| StoreError::Damaged(format!("quarantine: {error}")))
}

/// The rows of a reader with the names of their streams: streams in order, each by version; what was dropped too.
pub async fn rows(platform: &Platform, reader: &str) -> Result<Vec<(String, v1::QuarantineRow)>, StoreError> {
    let damaged = |problem: String| StoreError::Damaged(format!("quarantine: {problem}"));
    let partition = Key::new().text(reader).build();
    let named = |(clustering, row): (Bytes, Row)| {
        let stream = KeyReader::new(&clustering).text().map_err(|error| damaged(error.to_string()))?;
        Ok((stream, read(row.value)?))
    };
    let rows = every_row(&*platform.engine, tables::QUARANTINE.only(), partition).await?;
    rows.into_iter().map(named).collect()
}

/// Whether an operator decided that a reader skips it.
#[must_use]
pub fn is_dropped(row: &v1::QuarantineRow) -> bool {
    row.settling() == v1::Settling::Dropped
}

/// Everything that was put aside, dropped events too, for operators.
pub async fn list(platform: &Platform) -> Result<Vec<(String, v1::QuarantineRow)>, StoreError> {
    let mut out = Vec::new();
    let mut after = None;
    loop {
        let page = platform.engine.scan_table(tables::QUARANTINE.only(), after.as_ref(), 500).await?;
        for row in page.rows {
            let reader = KeyReader::new(&row.partition).text();
            let reader = reader.map_err(|error| StoreError::Damaged(format!("quarantine: {error}")))?;
            out.push((reader, read(row.row.value)?));
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(out),
        }
    }
}
