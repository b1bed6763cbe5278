//! Idempotency: an own view of every service that knows for seven days what was done under which key.

use crate::overlay::{Laid, Overlay, Place};
use crate::{Poison, ProjectionError, Recorded, Rows, View, tables};
use async_trait::async_trait;
use bytes::Bytes;
use p92_kernel::{Service, Shard};
use p92_proto::event::v1;
use p92_storage::{Direction, Key, KeyReader, Range, Table};
use prost::Message;

/// For how long a key is known, in milliseconds of event time.
pub const KNOWN_FOR_MS: u64 = 7 * 24 * 3_600 * 1_000;
/// Old keys are dropped whenever `seq` is a multiple of this; many at a time, so that each command pays little.
const DROP_EVERY: u64 = 64;
const DROP_AT_ONCE: usize = 128;

const BY_KEY: u16 = 0;
const BY_TIME: u16 = 1;

/// The view of keys of one service.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    service: Service,
}

impl Keys {
    /// The view for this service's log.
    #[must_use]
    pub const fn new(service: Service) -> Self {
        Self { service }
    }
}

/// Where a key's row is.
#[must_use]
pub fn key_place(service: Service, shard: Shard, scope: &str, key: &str) -> Place {
    Place {
        table: tables::keys(service).name,
        partition: Key::new().small(BY_KEY).small(shard.0).text(scope).build(),
        clustering: Key::new().text(key).build(),
    }
}

fn by_time(shard: Shard) -> Bytes {
    Key::new().small(BY_TIME).small(shard.0).build()
}

/// What the row of a key says, unless it is older than seven days at `now_ms`.
pub fn read_key(value: Bytes, now_ms: u64) -> Result<Option<v1::KeyRow>, Poison> {
    let row = v1::KeyRow::decode(value).map_err(|error| Poison::Unreadable {
        event_type: "the row of an idempotency key".to_owned(),
        problem: error.to_string(),
    })?;
    Ok((row.time_ms.saturating_add(KNOWN_FOR_MS) > now_ms).then_some(row))
}

#[async_trait]
impl View for Keys {
    fn table(&self) -> &'static Table {
        tables::keys(self.service)
    }

    fn source(&self) -> Service {
        self.service
    }

    fn wants(&self, _event_type: &str) -> bool {
        true
    }

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        let shard = event.position.shard;
        let envelope = &event.event;
        if event.position.seq.0.is_multiple_of(DROP_EVERY) {
            drop_old(shard, envelope.time_ms, rows).await?;
        }
        if envelope.idempotency_key.is_empty() {
            return Ok(());
        }
        let place = key_place(self.service, shard, &envelope.idempotency_scope, &envelope.idempotency_key);
        let known = rows.get_message::<v1::KeyRow>(place.partition.clone(), place.clustering.clone()).await?;
        // The later events of one command keep the subject of its first.
        let same =
            known.filter(|row| row.digest == envelope.idempotency_digest && row.time_ms == envelope.time_ms);
        let row = v1::KeyRow {
            digest: envelope.idempotency_digest.clone(),
            subject: same.map_or_else(|| envelope.stream.clone(), |row| row.subject),
            last_seq: event.position.seq.0,
            time_ms: envelope.time_ms,
        };
        rows.put_message(place.partition, place.clustering, &row);
        let dated = Key::new()
            .num(envelope.time_ms)
            .text(&envelope.idempotency_scope)
            .text(&envelope.idempotency_key);
        rows.put(by_time(shard), dated, Bytes::new());
        Ok(())
    }
}

async fn drop_old(shard: Shard, now_ms: u64, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
    let before = Key::new().num(now_ms.saturating_sub(KNOWN_FOR_MS)).build();
    let range = Range { from: None, to: Some(before) };
    for (clustering, _) in rows.scan(by_time(shard), range, Direction::Forward, DROP_AT_ONCE).await? {
        let mut reader = KeyReader::new(&clustering);
        let parts = reader.num().and_then(|time| Ok((time, reader.text()?, reader.text()?)));
        if let Ok((time_ms, scope, key)) = parts {
            let partition = Key::new().small(BY_KEY).small(shard.0).text(&scope).build();
            let clustering = Key::new().text(&key).build();
            let row = rows.get_message::<v1::KeyRow>(partition.clone(), clustering.clone()).await?;
            // The key may have been used again since, after its seven days.
            if row.is_some_and(|row| row.time_ms == time_ms) {
                rows.delete(partition, clustering);
            }
        }
        rows.delete(by_time(shard), clustering);
    }
    Ok(())
}

/// The stream row of an event: the index by which its aggregate is loaded.
pub fn lay_stream_row(event: &Recorded, overlay: &mut Overlay) {
    let Some(stream) = event.stream() else { return };
    let table = tables::streams(event.position.service);
    overlay.lay(
        Place {
            table: table.name,
            partition: stream_partition(stream.as_str()),
            clustering: Key::new().num(event.event.version).build(),
        },
        Laid { table, value: Some(event.bytes.clone()), at: event.position.seq },
    );
}

/// The partition of a stream's rows.
#[must_use]
pub fn stream_partition(stream: &str) -> Bytes {
    Key::new().text(stream).build()
}
