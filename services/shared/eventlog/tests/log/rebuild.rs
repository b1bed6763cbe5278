//! Views are functions of events: rebuilt beside the live table, under load, they are equal, and a changed byte is found.

use crate::world::{CLAIMS, claim, counted, open, platform, spec};
use bytes::Bytes;
use p92_eventlog::rebuild::RebuildError;
use p92_eventlog::{Platform, Runtime};
use p92_kernel::Shard;
use p92_storage::{Embedded, Engine, Key, RowKey, Side, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SHARD: Shard = Shard(1);

async fn start(dir: &std::path::Path) -> (Arc<Embedded>, Arc<Platform>, Arc<Runtime>) {
    let store = open(dir);
    let platform = platform(dir, &store, store.clone());
    let runtime = Runtime::start(&platform, spec()).await.unwrap();
    runtime.ready().await;
    (store, platform, runtime)
}

fn silent() -> p92_eventlog::rebuild::Watch {
    Arc::new(|_, _| {})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_is_rebuilt_under_load_and_equal() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, platform, runtime) = start(dir.path()).await;
    for n in 0..50 {
        claim(&runtime, SHARD, n, 1, &format!("key {n}")).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let load = {
        let (runtime, stop) = (Arc::clone(&runtime), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut made = 50;
            while !stop.load(Ordering::Relaxed) {
                claim(&runtime, SHARD, made, 1, &format!("key {made}")).await.unwrap();
                made += 1;
            }
            made
        })
    };
    for view in ["posting_claims", "posting_keys", "posting_claims"] {
        let report = runtime.rebuild(view, true, silent()).await.unwrap();
        assert_eq!(report.difference, None, "{view}");
        assert!(report.compared > 0, "{view}");
    }
    stop.store(true, Ordering::Relaxed);
    let made = load.await.unwrap();
    assert_eq!(counted(&runtime, SHARD).await, made);
    assert!(claim(&runtime, SHARD, 3, 1, "key 3").await.unwrap().repeated, "the rebuilt keys answer");
    platform.stop().await;
}

#[tokio::test]
async fn a_changed_byte_is_found_and_mended() {
    let dir = tempfile::tempdir().unwrap();
    let (store, platform, runtime) = start(dir.path()).await;
    claim(&runtime, SHARD, 1, 1, "").await.unwrap();
    let key = RowKey::new(CLAIMS.side(Side::A), Key::new().small(SHARD.0), Bytes::new());
    let mut row = store.get(&key).await.unwrap().unwrap().value.to_vec();
    row[3] ^= 1;
    store.write(vec![Write { key, value: Some(row.into()) }]).await.unwrap();
    let report = runtime.rebuild("posting_claims", true, silent()).await.unwrap();
    assert!(report.difference.unwrap().starts_with("posting_claims"));
    assert_eq!(counted(&runtime, SHARD).await, 1, "the rebuilt table answers");
    let again = runtime.rebuild("posting_claims", true, silent()).await.unwrap();
    assert_eq!(again.difference, None);
    platform.stop().await;
}

#[tokio::test]
async fn a_view_that_is_none_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, platform, runtime) = start(dir.path()).await;
    let error = runtime.rebuild("posting_nothing", false, silent()).await.unwrap_err();
    assert!(matches!(error, RebuildError::NoSuchView(name) if name == "posting_nothing"));
    platform.stop().await;
}
