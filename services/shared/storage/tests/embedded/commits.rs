//! How writes share a sync, in which order they count, and what is refused while the disk is nearly full.

use crate::scene::{append, contents, group, log, open, put, read_log};
use futures::future::join_all;
use p92_kernel::{Seq, Service};
use p92_storage::conformance::{STATE, VIEW};
use p92_storage::{
    Append, Conditional, Embedded, EmbeddedConfig, Engine, FreeSpace, LogKey, LogRow, ProjectedBatch,
    ProjectedWrite, Projection, RowKey, Side, StoreError, Write,
};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

const LOG: LogKey = log(Service::Posting, 1);

/// Lets the committer go on.
struct Gate(mpsc::Sender<()>);

/// A store whose committer stands still with its first request in hand, since it asks for free space before each batch,
/// so that whatever a test sends comes into one batch.
fn held(dir: &Path) -> (Arc<Embedded>, Gate) {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let free_space = FreeSpace::by(move |_| {
        // Once the gate is open, and dropped, it stays open.
        let _ = wait.lock().unwrap().recv();
        Ok(u64::MAX)
    });
    let config = EmbeddedConfig { free_space, ..EmbeddedConfig::at(dir) };
    (Embedded::open(config).unwrap(), Gate(go))
}

impl Gate {
    /// Opens as soon as so many requests wait.
    async fn open_at(self, store: &Embedded, waiting: u64) {
        while store.commits().waiting < waiting {
            tokio::task::yield_now().await;
        }
        drop(self.0);
    }
}

#[tokio::test]
async fn waiting_appends_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (store, gate) = held(dir.path());
    let appends =
        join_all(
            (0..64).map(|shard| {
                let store = store.clone();
                async move {
                    store.append(log(Service::Posting, shard), &group(1, 1, 1, 1_000), &[]).await.unwrap()
                }
            }),
        );
    let (appended, ()) = tokio::join!(appends, gate.open_at(&store, 64));
    assert!(appended.iter().all(|answer| *answer == Append::Appended));
    let commits = store.commits();
    assert_eq!((commits.synced, commits.requests, commits.waiting), (1, 64, 0));
}

#[tokio::test]
async fn a_batch_stays_short() {
    let dir = tempfile::tempdir().unwrap();
    let (store, gate) = held(dir.path());
    let appends =
        join_all(
            (0..10).map(|shard| {
                let store = store.clone();
                async move {
                    store.append(log(Service::Posting, shard), &group(1, 1, 1, 300_000), &[]).await.unwrap()
                }
            }),
        );
    tokio::join!(appends, gate.open_at(&store, 10));
    assert_eq!(store.commits().synced, 3);
}

/// Requests of one batch come out as if each had found what the ones before it left.
#[tokio::test]
async fn requests_of_one_batch_see_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (store, gate) = held(dir.path());
    let key = |name: &'static str| RowKey::new(STATE.only(), "p", name);
    let put = |name, value: &'static str| vec![Write { key: key(name), value: Some(value.into()) }];
    let delete = |name| vec![Write { key: key(name), value: None }];
    let (inserted, versioned) = (key("insert"), key("cas"));
    let steps = async {
        let inserts = join_all((0..5).map(|_| store.insert_if_absent(&inserted, "x".into())));
        let versions = join_all(
            [None, Some(1), Some(1), Some(2)].map(|v| store.compare_and_set(&versioned, v, "x".into())),
        );
        let groups = [
            group(1, 2, 1, 10),
            group(3, 3, 2, 10),
            group(3, 9, 3, 10),
            group(3, 3, 2, 10),
            group(4, 4, 4, 10),
        ];
        let appends = join_all(groups.map(|row| {
            let store = store.clone();
            async move { store.append(LOG, &row, &[]).await }
        }));
        let back = join_all([put("back", "1"), delete("back"), put("back", "2")].map(|w| store.write(w)));
        let gone = join_all([put("gone", "1"), put("gone", "2"), delete("gone")].map(|w| store.write(w)));
        tokio::join!(inserts, versions, appends, back, gone)
    };
    let ((inserts, versions, appends, back, gone), ()) = tokio::join!(steps, gate.open_at(&store, 20));
    let applied = |answers: Vec<Result<Conditional, StoreError>>| -> Vec<bool> {
        answers.into_iter().map(|answer| answer.unwrap() == Conditional::Applied).collect()
    };
    assert_eq!(applied(inserts), [true, false, false, false, false]);
    assert_eq!(applied(versions), [true, true, false, true]);
    let lost = Append::SlotLost(group(3, 3, 2, 10));
    let appends: Vec<_> = appends.into_iter().map(Result::unwrap).collect();
    assert_eq!(appends, [Append::Appended, Append::Appended, lost, Append::Appended, Append::Appended]);
    assert!(back.into_iter().chain(gone).all(|answer| answer.is_ok()));
    assert_eq!((store.commits().synced, store.commits().slots_lost), (1, 1));
    let before = contents(&store).await.unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(contents(&store).await.unwrap(), before);
    assert_eq!(store.get(&key("back")).await.unwrap().unwrap().value, "2");
    assert_eq!(store.get(&key("gone")).await.unwrap(), None);
    assert_eq!(store.get(&key("cas")).await.unwrap().unwrap().stamp, 3);
}

#[tokio::test]
async fn projections_alone_are_not_synced() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let project = |from, to| {
        let key = RowKey::new(VIEW.side(Side::A), "p", "row");
        let writes = vec![ProjectedWrite { key, value: Some("x".into()), at: Seq(to) }];
        let checkpoint = RowKey::new(STATE.only(), "checkpoints", "c");
        store.project(ProjectedBatch { checkpoint, from: Seq(from), to: Seq(to), writes, note: None })
    };
    for n in 0..10 {
        assert_eq!(project(n, n + 1).await.unwrap(), Projection::Applied);
    }
    assert_eq!((store.commits().synced, store.commits().unsynced), (0, 10));
    append(&store, LOG, &group(1, 1, 1, 10)).await;
    assert_eq!((store.commits().synced, store.commits().unsynced), (1, 10));
    // A process that ends takes none of them: they are with the system.
    assert_eq!(project(9, 10).await.unwrap(), Projection::Refused { stands: Seq(10) });
    drop(store);
    let row = open(dir.path()).get(&RowKey::new(VIEW.side(Side::A), "p", "row")).await.unwrap();
    assert_eq!(row.unwrap().stamp, 10);
}

#[tokio::test]
async fn a_write_outlives_whoever_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (store, gate) = held(dir.path());
    let row = group(1, 1, 1, 10);
    {
        let mut asked = Box::pin(store.append(LOG, &row, &[]));
        assert!(futures::poll!(&mut asked).is_pending());
    }
    gate.open_at(&store, 1).await;
    append(&store, LOG, &group(2, 2, 2, 10)).await;
    assert_eq!(read_log(&store, LOG).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_gap_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, LOG, &group(1, 5, 1, 10)).await;
    let inside_out = LogRow { last_seq: Seq(5), ..group(6, 6, 2, 10) };
    for row in [group(7, 7, 2, 10), group(3, 3, 2, 10), inside_out] {
        let error = store.append(LOG, &row, &[]).await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    }
    append(&store, LOG, &group(6, 6, 2, 10)).await;
}

#[tokio::test]
async fn what_other_engines_cannot_do_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let two = vec![put(STATE.only(), "one", 1, vec![]), put(STATE.only(), "two", 1, vec![])];
    let long = vec![put(STATE.only(), &"p".repeat(513), 1, vec![])];
    for writes in [two, long] {
        assert!(matches!(store.write(writes).await.unwrap_err(), StoreError::Damaged(_)));
    }
    assert_eq!(store.commits().synced, 0);
}

/// Repeats an append until it is taken; the guard asks for free space ten times a second.
async fn append_when_possible(store: &Embedded, row: &LogRow) {
    let since = Instant::now();
    loop {
        match store.append(LOG, row, &[]).await {
            Ok(answer) => return assert_eq!(answer, Append::Appended),
            Err(StoreError::Full { .. }) if since.elapsed() < Duration::from_secs(20) => {
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_read_and_not_written() {
    const MIB: u64 = 1024 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(300 * MIB));
    let asked = free.clone();
    let config = EmbeddedConfig {
        free_space: FreeSpace::by(move |_| Ok(asked.load(Ordering::Relaxed))),
        ..EmbeddedConfig::at(dir.path())
    };
    let store = Embedded::open(config.clone()).unwrap();
    append(&store, LOG, &group(1, 1, 1, 10)).await;
    let before = contents(&store).await.unwrap();
    drop(store);
    free.store(255 * MIB, Ordering::Relaxed);
    let store = Embedded::open(config).unwrap();
    let error = store.append(LOG, &group(2, 2, 2, 10), &[]).await.unwrap_err();
    assert!(matches!(error, StoreError::Full { free_mib: 255, floor_mib: 256 }), "{error}");
    assert_eq!(error.outcome(), p92_storage::Outcome::NoEffect);
    assert!(matches!(store.clear(STATE.only()).await, Ok(())), "nothing to clear");
    assert_eq!(contents(&store).await.unwrap(), before);
    assert!(store.commits().refused_full >= 1);
    free.store(256 * MIB, Ordering::Relaxed);
    append_when_possible(&store, &group(2, 2, 2, 10)).await;
}

#[tokio::test]
async fn the_file_system_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let floor = EmbeddedConfig { free_floor_mib: u64::MAX, ..EmbeddedConfig::at(dir.path()) };
    let store = Embedded::open(floor).unwrap();
    let error = store.append(LOG, &group(1, 1, 1, 10), &[]).await.unwrap_err();
    assert!(matches!(error, StoreError::Full { free_mib, .. } if free_mib > 0), "{error}");
}
