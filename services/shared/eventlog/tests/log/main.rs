//! The log on the embedded engine: what is acknowledged stands, in order, once.

// A test says by a panic what it expected.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod backup;
mod certainty;
mod lag;
mod members;
mod newer;
mod older;
mod overlay;
mod rebuild;
mod sealed;
mod settle;
mod slots;
mod world;

use p92_eventlog::Runtime;
use p92_eventlog::owner::read_groups;
use p92_kernel::{Seq, Service, Shard};
use p92_storage::{Engine, LogKey};
use std::sync::Arc;
use world::{claim, counted, open, platform, spec};

const SHARD: Shard = Shard(1);
const LOG: LogKey = LogKey { service: Service::Posting, shard: SHARD };

#[tokio::test]
async fn a_claim_is_made_once_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let platform = platform(dir.path(), &store, store.clone());
    let runtime = Runtime::start(&platform, spec()).await.unwrap();
    let receipt = claim(&runtime, SHARD, 7, 42, "k1").await.unwrap();
    assert!(!receipt.repeated);
    assert_eq!(receipt.subject.as_ref().unwrap().as_str(), "register/7");
    let repeated = claim(&runtime, SHARD, 7, 42, "k1").await.unwrap();
    assert!(repeated.repeated);
    assert_eq!(repeated.positions, receipt.positions);
    assert_eq!(claim(&runtime, SHARD, 7, 43, "k1").await.unwrap_err().reason, "CLAIMED");
    assert_eq!(claim(&runtime, SHARD, 8, 42, "k1").await.unwrap_err().reason, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(counted(&runtime, SHARD).await, 1);
    platform.stop().await;
}

#[tokio::test]
async fn a_thousand_writers_share_groups_and_a_restart_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path());
        let platform = platform(dir.path(), &store, store.clone());
        let runtime = Runtime::start(&platform, spec()).await.unwrap();
        runtime.ready().await;
        let before = store.commits().synced;
        let claims = (0..800_u64).map(|n| {
            let runtime = Arc::clone(&runtime);
            tokio::spawn(async move { claim(&runtime, SHARD, n % 400, n, "").await })
        });
        let results = futures::future::join_all(claims).await;
        let made = results.into_iter().filter(|result| result.as_ref().unwrap().is_ok()).count();
        assert_eq!(made, 400, "each register is claimed by exactly one");
        assert_eq!(counted(&runtime, SHARD).await, 400);
        assert!(store.commits().synced - before < 200, "writers share syncs: {:?}", store.commits());
        platform.stop().await;
    }
    let store = open(dir.path());
    let platform = platform(dir.path(), &store, store.clone());
    let runtime = Runtime::start(&platform, spec()).await.unwrap();
    assert_eq!(claim(&runtime, SHARD, 399, 1, "").await.unwrap_err().reason, "CLAIMED");
    assert_eq!(counted(&runtime, SHARD).await, 400);
    let groups = read_groups(&platform, LOG, Seq(0), None).await.unwrap();
    let seqs: Vec<u64> =
        groups.iter().flat_map(|group| &group.events).map(|event| event.position.seq.0).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    let barriers =
        groups.iter().flat_map(|group| &group.events).filter(|event| event.event.stream.is_empty());
    assert_eq!(barriers.count(), 2, "each start closes the log behind it");
    assert!(store.log_row(LOG, Seq(1)).await.unwrap().is_some());
    platform.stop().await;
}

/// A command is refused before its append if the store would take a row of it never: appended, it would stand in the way of
/// everything that comes after it.
#[tokio::test]
async fn a_row_that_no_store_takes_refuses_its_command_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let platform = platform(dir.path(), &store, store.clone());
    let runtime = Runtime::start(&platform, spec()).await.unwrap();
    claim(&runtime, SHARD, 7, world::NAMED_AT_LENGTH, &"k".repeat(255)).await.unwrap();
    assert_eq!(counted(&runtime, SHARD).await, 1);
    let refused = claim(&runtime, SHARD, 8, world::NAMED_TOO_LONG, "k2").await.unwrap_err();
    assert_eq!(refused.code, p92_kernel::ErrorCode::Internal, "{refused:?}");
    let groups = read_groups(&platform, LOG, Seq(0), None).await.unwrap();
    let events = groups.iter().flat_map(|group| &group.events);
    assert_eq!(events.filter(|event| event.event.stream == "register/8").count(), 0, "it was not appended");
    claim(&runtime, SHARD, 8, 42, "k3").await.unwrap();
    assert_eq!(counted(&runtime, SHARD).await, 2);
    platform.stop().await;
}
