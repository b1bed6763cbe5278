//! The tables that the log keeps of itself, besides the logs.
//!
//! Streams and keys exist once per service, the rest once per installation.

use crate::Stream;
use bytes::Bytes;
use p92_kernel::{Service, Shard};
use p92_storage::{Class, Key, KeyReader, LogKey, RowKey, StoreError, Table};

macro_rules! per_service {
    ($(#[$doc:meta])* $function:ident, $suffix:literal, $class:expr, $row:literal, $serves:literal) => {
        $(#[$doc])*
        #[must_use]
        pub const fn $function(service: Service) -> &'static Table {
            macro_rules! of { ($prefix:literal) => {{
                static TABLE: Table = Table {
                    name: concat!($prefix, $suffix), class: $class, row: $row, serves: $serves,
                };
                &TABLE
            }}; }
            match service {
                Service::Identity => of!("identity"),
                Service::Posting => of!("posting"),
                Service::Timelines => of!("timelines"),
                Service::FederationDelivery => of!("federation_delivery"),
                Service::Ranking => of!("ranking"),
            }
        }
    };
}

per_service!(
    /// Stream rows: the index by which an owner loads an aggregate.
    streams, "_streams", Class::Log, "p92.event.v1.Event",
    "stream | version → event: loads an aggregate"
);
per_service!(
    /// What was done under which idempotency key, for seven days.
    keys, "_keys", Class::View, "p92.event.v1.KeyRow",
    "shard, scope | key → what was done; shard | time, scope, key → what may be dropped"
);
per_service!(
    /// Keys of content streams, under their subjects' keys.
    content_keys, "_content_keys", Class::State, "p92.event.v1.WrappedKey",
    "content stream | key → itself, wrapped: opens sealed payloads"
);
per_service!(
    /// Keys of subjects, under a rotating key.
    subject_keys, "_subject_keys", Class::State, "p92.event.v1.WrappedKey",
    "subject | → its key: erasure destroys it"
);

/// Up to where each log's owner has written rows; all of a service's in one partition.
pub static APPLIED: Table = Table {
    name: "eventlog_applied",
    class: Class::State,
    row: "",
    serves: "service | shard → its stamp: a log's head for readers",
};
/// When each log's last event happened.
pub static TIMES: Table = Table {
    name: "eventlog_times",
    class: Class::State,
    row: "p92.event.v1.LogTimeRow",
    serves: "service | shard → time: where the ids of the next owner begin",
};
/// How far leased readers have come.
pub static CHECKPOINTS: Table = Table {
    name: "eventlog_checkpoints",
    class: Class::State,
    row: "",
    serves: "consumer | service, shard → its stamp: where a reader goes on",
};
/// The rows of batches that may end half done.
pub static NOTES: Table = Table {
    name: "eventlog_notes",
    class: Class::State,
    row: "p92.event.v1.NoteRow",
    serves: "as the checkpoint of a batch → its rows: who finds it half done writes exactly these",
};
/// Processes that live.
pub static MEMBERS: Table = Table {
    name: "eventlog_members",
    class: Class::State,
    row: "p92.event.v1.MemberRow",
    serves: "one partition | member → beat: who lives",
};
/// Who holds which slot.
pub static OWNERSHIP: Table = Table {
    name: "eventlog_ownership",
    class: Class::State,
    row: "p92.event.v1.OwnershipRow",
    serves: "service | shard → member, epoch: who holds a slot",
};
/// Which of a view's tables answers.
pub static VIEW_POINTERS: Table = Table {
    name: "eventlog_view_pointers",
    class: Class::State,
    row: "p92.event.v1.ViewPointerRow",
    serves: "one partition | view → a or b: which table answers",
};
/// Which writing shards have joined a rebuild.
pub static VIEW_WRITERS: Table = Table {
    name: "eventlog_view_writers",
    class: Class::State,
    row: "p92.event.v1.ViewWriterRow",
    serves: "view, rebuild | service, shard → both: which tables a writing shard writes",
};
/// Who has noted what the pointer of a view says while a rebuild goes on.
pub static VIEW_NOTED: Table = Table {
    name: "eventlog_view_noted",
    class: Class::State,
    row: "p92.event.v1.ViewNotedRow",
    serves: "view, rebuild | member → version: whether anybody may still read or write by an older pointer",
};
/// Whether a backup is being restored into this store.
pub static RESTORING: Table = Table {
    name: "eventlog_restoring",
    class: Class::State,
    row: "p92.event.v1.RestoringRow",
    serves: "one partition | → since when a restore writes this store: nobody serves it meanwhile",
};
/// Rows that are written to learn how long a write takes.
pub static PROBES: Table = Table {
    name: "eventlog_probes",
    class: Class::State,
    row: "",
    serves: "member | → nothing: how long a durable write takes",
};
/// Events that could not be applied.
pub static QUARANTINE: Table = Table {
    name: "eventlog_quarantine",
    class: Class::State,
    row: "p92.event.v1.QuarantineRow",
    serves: "consumer | stream, version → event: what waits for an operator",
};

/// The tables of one service's log, and those of the installation.
#[must_use]
pub fn all() -> Vec<&'static Table> {
    let of_service =
        |service| [streams(service), keys(service), content_keys(service), subject_keys(service)];
    Service::ALL
        .into_iter()
        .flat_map(of_service)
        .chain([
            &APPLIED,
            &TIMES,
            &CHECKPOINTS,
            &NOTES,
            &MEMBERS,
            &OWNERSHIP,
            &VIEW_POINTERS,
            &VIEW_WRITERS,
            &VIEW_NOTED,
            &QUARANTINE,
            &RESTORING,
            &PROBES,
        ])
        .collect()
}

/// Partition of the heads of a service's logs.
#[must_use]
pub fn applied_partition(service: Service) -> Bytes {
    Key::new().text(service.name()).build()
}

/// The head of one log.
#[must_use]
pub fn applied_key(log: LogKey) -> RowKey {
    RowKey::new(APPLIED.only(), applied_partition(log.service), Key::new().small(log.shard.0))
}

/// The checkpoint of a leased reader.
#[must_use]
pub fn checkpoint_key(consumer: &str, log: LogKey) -> RowKey {
    let clustering = Key::new().text(log.service.name()).small(log.shard.0);
    RowKey::new(CHECKPOINTS.only(), Key::new().text(consumer), clustering)
}

/// The note of the batch that moves a checkpoint: of a reader, or of an owner, whose checkpoint is `applied`. Their
/// clustering keys begin differently.
#[must_use]
pub fn note_key(checkpoint: &RowKey) -> RowKey {
    RowKey::new(NOTES.only(), checkpoint.partition.clone(), checkpoint.clustering.clone())
}

/// Whose checkpoint it is, and of which log.
pub fn read_checkpoint_key(partition: &[u8], clustering: &[u8]) -> Result<(String, LogKey), StoreError> {
    let read = || {
        let consumer = KeyReader::new(partition).text().ok()?;
        let mut rest = KeyReader::new(clustering);
        let service = Service::from_name(&rest.text().ok()?)?;
        Some((consumer, LogKey { service, shard: Shard(rest.small().ok()?) }))
    };
    read().ok_or_else(|| StoreError::Damaged("the key of a checkpoint".to_owned()))
}

/// The row of a reader's quarantine that holds an event.
#[must_use]
pub fn quarantine_key(reader: &str, stream: &str, version: u64) -> RowKey {
    RowKey::new(QUARANTINE.only(), Key::new().text(reader), Key::new().text(stream).num(version))
}

/// Partition of the keys of a content stream.
#[must_use]
pub fn content_keys_of(content: &Stream) -> Bytes {
    Key::new().text(content.as_str()).build()
}

/// The row of one of them. Keys had no number once, and one stream had one: it stands where a key without one would.
#[must_use]
pub fn content_key(service: Service, content: &Stream, id: u64) -> RowKey {
    let clustering = if id == 0 { Bytes::new() } else { Key::new().num(id).build() };
    RowKey::new(content_keys(service).only(), content_keys_of(content), clustering)
}

/// The row of a subject's key.
#[must_use]
pub fn subject_key(service: Service, subject: u64) -> RowKey {
    RowKey::new(subject_keys(service).only(), Key::new().num(subject), Bytes::new())
}

/// The ownership row of a slot.
#[must_use]
pub fn ownership_key(service: Service, shard: Shard) -> RowKey {
    RowKey::new(OWNERSHIP.only(), Key::new().text(service.name()), Key::new().small(shard.0))
}
