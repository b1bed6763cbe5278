//! Backup and restore: everything that cannot be computed anew, as of one position per log.
//!
//! In: an engine, and the tables of state that services declare. Out: records in files with a manifest, and a store that
//! holds them again. It goes through the port alone, so what one engine gave, another takes. It must not know what a row
//! of state means, beyond what its service says must stand beside it.
//!
//! | in | not in, because |
//! |---|---|
//! | every log up to its position | stream rows, views, `applied`, times of logs: functions of logs, written anew by whoever takes over |
//! | every table of state of a service, wrapped keys among them | the key file: never in one place with the store |
//! | checkpoints of readers that do effects, and what these put aside | checkpoints of readers of views: views begin anew |
//! | | members, ownership, view pointers: of processes and tables that are not there any more |
//!
//! The order of reading makes it whole (`take`):
//! 1. Checkpoints of effects. Whatever is read later holds what these effects did; what they did since is done again
//!    after a restore, and they may be repeated.
//! 2. The positions: heads of logs, services that listen before those that they listen to, one read per service. So no
//!    event is in without those that it follows from.
//! 3. State. Claims, keys and passwords are written before the event that tells of them, so every event up to the
//!    positions finds its own. What was destroyed since is not in: content that was erased while the backup ran stays
//!    erased, even where the event that says so lies behind the position.
//! 4. The logs, up to the positions.
//!
//! | room | noun |
//! |---|---|
//! | `take` | reads a store that goes on |
//! | `manifest` | what a backup says of itself |
//! | `folder` | its files: written, synced, renamed; and checked before anything is restored |
//! | `restore` | writes an empty store |

pub mod folder;
pub mod manifest;
pub mod restore;
pub mod take;

pub use folder::{Backup, Draft};
pub use manifest::Manifest;
pub use restore::{Restored, check_keys, refuse_unfinished, restore};
pub use take::take;

use crate::{Stream, tables};
use p92_kernel::{Seq, Service, ShardCount};
use p92_storage::{LogKey, RowKey, StoreError, Table, TableRow};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Up to where each log is in a backup. Logs without an event are not named.
pub type Positions = BTreeMap<LogKey, Seq>;

/// A table of state, and what must stand beside each of its rows.
#[derive(Clone, Copy, Debug)]
pub struct StateTable {
    pub table: &'static Table,
    pub needs: fn(&TableRow) -> Needs,
}

/// What must stand beside a row of state for it to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// This row, which is kept with it: a secret without the list by which it is revoked would be good for ever.
    Row(RowKey),
    /// An event of this stream up to the positions: a name claimed by who is not in the backup would be nobody's.
    Begun(Service, Stream),
}

impl StateTable {
    /// A table whose rows stand alone.
    #[must_use]
    pub const fn plain(table: &'static Table) -> Self {
        const fn nothing(_: &TableRow) -> Needs {
            Needs::Nothing
        }
        Self { table, needs: nothing }
    }
}

/// The tables of state that the log keeps and that are backed up as they are: the wrapped keys of each service.
#[must_use]
pub fn own_tables() -> Vec<StateTable> {
    let of_service = |service| [tables::content_keys(service), tables::subject_keys(service)];
    Service::ALL.into_iter().flat_map(of_service).map(StateTable::plain).collect()
}

/// Whether a reader writes views. These begin anew in a restored store.
fn writes_views(reader: &str) -> bool {
    // As `runtime` names the leased reader of a service's views, and `rebuild` its replays.
    reader.ends_with(".views") || reader.starts_with("rebuild/")
}

/// Why there is no backup, or why it was not restored. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{path} cannot be {action}: {source}")]
    Io { path: PathBuf, action: &'static str, source: std::io::Error },
    #[error("{problem}\n  what to do: {advice}")]
    Refused { problem: String, advice: &'static str },
}

impl BackupError {
    pub(crate) fn refused(problem: impl Into<String>, advice: &'static str) -> Self {
        Self::Refused { problem: problem.into(), advice }
    }

    pub(crate) fn io(
        path: &std::path::Path,
        action: &'static str,
    ) -> impl Fn(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path: path.clone(), action, source }
    }
}

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The installation's id. Its key file has the same one.
    pub installation: String,
    pub shards: ShardCount,
    /// Milliseconds since the Unix epoch.
    pub time_ms: u64,
}

/// How often the store is asked again when it does not answer, with a pause in between that grows.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);

/// Asks the store until it answers, or has not answered too often. Whatever is asked here may be repeated as it is.
async fn surely<T, F>(ask: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut attempt = 0;
    loop {
        attempt += 1;
        match ask().await {
            Err(StoreError::Unavailable { .. }) if attempt < ATTEMPTS => {
                tokio::time::sleep(PAUSE * attempt).await;
            }
            answered => return answered,
        }
    }
}
