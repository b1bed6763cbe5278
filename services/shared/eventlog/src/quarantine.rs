//! Events that a reader could not apply, with the later events of their streams.

use crate::{Platform, Recorded, tables};
use p92_kernel::Service;
use p92_proto::event::v1;
use p92_storage::{Direction, Key, KeyReader, Range, Scan, StoreError, Write};
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
    /// What stands in the store for this reader. Loaded before its first event.
    pub async fn load(platform: &Platform, reader: &str) -> Result<Self, StoreError> {
        let mut streams = HashSet::new();
        let mut scan = Scan {
            table: tables::QUARANTINE.only(),
            partition: Key::new().text(reader).build(),
            range: Range::all(),
            direction: Direction::Forward,
            limit: 1_000,
            after: None,
        };
        loop {
            let page = platform.engine.scan(&scan).await?;
            for (clustering, row) in page.rows {
                let stream = KeyReader::new(&clustering).text();
                let stream = stream.map_err(|error| StoreError::Damaged(format!("quarantine: {error}")))?;
                let row = v1::QuarantineRow::decode(row.value)
                    .map_err(|error| StoreError::Damaged(format!("quarantine: {error}")))?;
                // What was dropped holds nothing back.
                if let Some(service) = Service::from_name(&row.service).filter(|_| !is_dropped(&row)) {
                    streams.insert((service, stream));
                }
            }
            match page.next {
                Some(next) => scan.after = Some(next),
                None => return Ok(Self { streams }),
            }
        }
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

    /// Puts an event aside, durably.
    pub async fn put(
        &mut self,
        platform: &Platform,
        reader: &str,
        event: &Recorded,
        problem: &str,
    ) -> Result<(), StoreError> {
        let row = v1::QuarantineRow {
            service: event.position.service.name().to_owned(),
            shard: u32::from(event.position.shard.0),
            seq: event.position.seq.0,
            event: event.bytes.clone(),
            problem: problem.to_owned(),
            time_ms: platform.clock.now().0,
            settling: v1::Settling::Unspecified.into(),
        };
        let key = tables::quarantine_key(reader, &event.event.stream, event.event.version);
        platform.engine.write(vec![Write { key, value: Some(row.encode_to_vec().into()) }]).await?;
        self.streams.insert((event.position.service, event.event.stream.clone()));
        Ok(())
    }
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
            let entry = v1::QuarantineRow::decode(row.row.value)
                .map_err(|error| StoreError::Damaged(format!("quarantine: {error}")))?;
            out.push((reader, entry));
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(out),
        }
    }
}
