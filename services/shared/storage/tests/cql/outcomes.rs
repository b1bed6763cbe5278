//! An answer that is lost: the outcome is unknown, and the same write again settles it.

use crate::{proxy, scene};
use p92_kernel::{Seq, Service, Shard};
use p92_storage::conformance::{STATE, TABLES};
use p92_storage::cql::OpenError;
use p92_storage::{
    Append, Conditional, CqlConfig, CqlEngine, Engine, LogKey, LogRow, Outcome, Row, RowKey, StoreError,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const LOG: LogKey = LogKey { service: Service::Posting, shard: Shard(5) };

fn group(first: u64, last: u64, id: u8) -> LogRow {
    LogRow { first_seq: Seq(first), last_seq: Seq(last), group: [id; 16], events: vec![id; 40].into() }
}

/// An engine whose only way to the server is the wire.
async fn behind(wire: std::net::SocketAddr, scene: &scene::Scene, budget: Duration) -> Arc<CqlEngine> {
    let mut config = CqlConfig { nodes: vec![wire.to_string()], ..scene.config.clone() };
    config.append_budget = budget;
    config.request_timeout = Duration::from_secs(20);
    CqlEngine::open(&config, &TABLES).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_an_append_is_unknown_and_its_repeat_settles_it() {
    let scene = scene::emptied().await;
    let (address, wire) = proxy::start(scene::node()).await;
    let engine = behind(address, &scene, Duration::ZERO).await;
    let (first, second) = (group(1, 2, 1), group(3, 3, 2));
    assert_eq!(engine.append(LOG, &first, &[]).await.unwrap(), Append::Appended);
    wire.cut_answers(true);
    let error = engine.append(LOG, &second, &[]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { outcome: Outcome::Unknown, .. }), "{error}");
    assert_eq!(wire.cut.load(Ordering::SeqCst), 1, "the driver sent it again");
    assert_eq!(engine.appends().unsettled, 1);
    // The server had taken it: whoever reads sees it, and the same group again is told so, whoever asks.
    let beside = scene.open().await;
    assert_eq!(beside.log_row(LOG, Seq(3)).await.unwrap(), Some(second.clone()));
    wire.cut_answers(false);
    let again = behind(address, &scene, Duration::from_secs(30)).await;
    assert_eq!(again.append(LOG, &second, &[]).await.unwrap(), Append::Appended);
    assert_eq!(beside.append(LOG, &group(3, 9, 7), &[]).await.unwrap(), Append::SlotLost(second));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_its_budget_an_append_repeats_itself() {
    let scene = scene::emptied().await;
    let (address, wire) = proxy::start(scene::node()).await;
    let engine = behind(address, &scene, Duration::from_secs(30)).await;
    wire.cut_answers(true);
    let row = group(1, 1, 1);
    let appending = {
        let (engine, row) = (Arc::clone(&engine), row.clone());
        tokio::spawn(async move { engine.append(LOG, &row, &[]).await })
    };
    while wire.cut.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    wire.cut_answers(false);
    assert_eq!(appending.await.unwrap().unwrap(), Append::Appended);
    assert!(engine.appends().repeated >= 1);
    assert_eq!(engine.read_log(LOG, Seq(0), 1 << 20).await.unwrap(), vec![row]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_a_claim_is_unknown_and_shown_afterwards() {
    let scene = scene::emptied().await;
    let (address, wire) = proxy::start(scene::node()).await;
    let engine = behind(address, &scene, Duration::ZERO).await;
    let key = RowKey::new(STATE.only(), "names", "alice");
    // Opened, so that preparing is not what fails.
    engine.insert_if_absent(&RowKey::new(STATE.only(), "names", "bob"), "1".into()).await.unwrap();
    wire.cut_answers(true);
    let error = engine.insert_if_absent(&key, "mine".into()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { outcome: Outcome::Unknown, .. }), "{error}");
    assert_eq!(wire.cut.load(Ordering::SeqCst), 1, "the driver sent it again");
    let stands = Row { value: "mine".into(), stamp: 1 };
    let again = scene.open().await.insert_if_absent(&key, "mine".into()).await.unwrap();
    assert_eq!(again, Conditional::Stands(Some(stands)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_at_the_address_may_be_waited_for() {
    // A port that was ours a moment ago and on which nobody listens.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let config = CqlConfig::at([free.to_string()]);
    let Err(OpenError::Store(error)) = CqlEngine::open(&config, &TABLES).await else { panic!("opened") };
    assert!(matches!(error, StoreError::Unavailable { outcome: Outcome::NoEffect, .. }), "{error}");
    assert!(error.to_string().contains(&free.to_string()), "{error}");
    let config = CqlConfig::at(["no-such-host.invalid:9042"]);
    let Err(OpenError::Store(error)) = CqlEngine::open(&config, &TABLES).await else { panic!("opened") };
    assert!(matches!(error, StoreError::Unavailable { outcome: Outcome::NoEffect, .. }), "{error}");
}
