//! Places at which a test stops a process, to meet it there with a fault: only with the feature `failpoints`.
//!
//! In: a place, a log. Out: nothing, some time later. It must not know what the fault is, nor let anything be skipped:
//! whoever was held goes on exactly as if he had not been.
//!
//! The folder `FAILPOINT_DIR` is the whole interface. A file `PID.PLACE.SERVICE.SHARD` holds the first who comes to that
//! place, who renames it to `….held` and waits until that is removed. Renaming takes it from everybody else, so one file
//! holds one.

use p92_storage::LogKey;

/// Where a process may be held.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// A round is decided, its group is not appended yet.
    Decided,
    /// The group and its rows stand in the store, nobody was told.
    Stored,
    /// It is published, the callers were not answered.
    Published,
}

/// Waits here while a test wants it.
#[cfg(feature = "failpoints")]
pub async fn reach(place: Place, log: LogKey) {
    const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(5);
    let Some(folder) = std::env::var_os("FAILPOINT_DIR").map(std::path::PathBuf::from) else { return };
    let place = format!("{place:?}").to_lowercase();
    let hold = folder.join(format!("{}.{place}.{}.{}", std::process::id(), log.service, log.shard));
    let held = hold.with_added_extension("held");
    // Nearly always there is no such file.
    if std::fs::rename(&hold, &held).is_err() {
        return;
    }
    tracing::warn!(%place, service = %log.service, shard = %log.shard, "held by a test");
    while held.exists() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Nothing is ever held.
#[cfg(not(feature = "failpoints"))]
#[expect(clippy::unused_async, reason = "what calls it is the same with and without the feature")]
pub async fn reach(_: Place, _: LogKey) {}
