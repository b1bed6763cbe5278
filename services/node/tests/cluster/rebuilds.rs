//! Views that are rebuilt while several replicas write them, and while replicas die.

use crate::moves::two_of_posting;
use crate::world::{Installation, Replica, spread, within};
use p92_eventlog::Runtime;
use p92_eventlog::rebuild::{RebuildError, Report};
use p92_node::role::Role;
use p92_storage::Side;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// One that an owner writes by reading what stood before: counts, so that a group that went to one table only shows.
const OWN: &str = "posting_stats";
/// One that a leased reader writes so.
const LEASED: &str = "timelines_notes_of_posts";

async fn verified(runtime: &Runtime, view: &str) -> Report {
    let report = within(runtime.rebuild(view, true, Arc::new(|_, _| {}))).await.unwrap();
    assert_eq!(report.difference, None, "{view}");
    report
}

fn side(runtime: &Runtime, view: &str) -> Side {
    let of = |one: &&Arc<dyn p92_eventlog::View>| one.table().name == view;
    runtime.answering_side(runtime.views().iter().find(of).unwrap().table())
}

/// What a writer may meet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meets {
    /// Nobody dies: every post is taken.
    NoDeath,
    /// Whoever was asked to pass a post on may find nobody.
    Death,
}

/// Publishes posts until told to stop. How many were acknowledged.
fn writes(
    all: &Arc<Installation>,
    at: &Replica,
    authors: Vec<u64>,
    meets: Meets,
) -> (Arc<AtomicBool>, tokio::task::JoinHandle<u64>) {
    let (all, way, stop) = (Arc::clone(all), at.transport(), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let writer = tokio::spawn(async move {
        let mut written = 0;
        while !stopped.load(Ordering::Acquire) {
            for author in &authors {
                match all.publish(way.clone(), *author, &format!("post {written}")).await {
                    Ok(_) => written += 1,
                    Err(refused) => {
                        assert!(
                            meets == Meets::Death && refused.code() == tonic::Code::Unavailable,
                            "{refused:?}"
                        );
                    }
                }
            }
        }
        written
    });
    (stop, writer)
}

#[tokio::test(flavor = "multi_thread")]
async fn either_replica_rebuilds_what_both_write() {
    let mut all = Installation::new().await;
    let (posting, _identity, authors) = two_of_posting(&mut all).await;
    all.found_at(&posting.each_ref());
    let timelines = [all.start(Role::Timelines).await, all.start(Role::Timelines).await];
    spread(&timelines.each_ref()).await;
    let all = Arc::new(all);
    let (stop, writer) = writes(&all, &posting[0], authors, Meets::NoDeath);
    let mut expected = Side::A;
    for replica in 0..2 {
        let report = verified(&posting[replica].runtime, OWN).await;
        assert!(report.compared > 0);
        verified(&timelines[replica].runtime, LEASED).await;
        expected = expected.other();
        for at in 0..2 {
            assert_eq!(side(&posting[at].runtime, OWN), expected, "each replica reads the one that answers");
            assert_eq!(side(&timelines[at].runtime, LEASED), expected);
        }
    }
    stop.store(true, Ordering::Release);
    assert!(within(writer).await.unwrap() > 0);
}

/// Kills a replica when the rebuild tells of its progress for the `nth` time, by another replica.
async fn rebuilt_while_one_dies(nth: u32) {
    let mut all = Installation::new().await;
    let ([one, other], _identity, authors) = two_of_posting(&mut all).await;
    let all = Arc::new(all);
    let (stop, writer) = writes(&all, &other, authors, Meets::Death);
    let (dies, told) = (Mutex::new(Some(one)), Mutex::new(0));
    let kill = move |_, _| {
        let mut told = told.lock();
        *told += 1;
        if *told == nth {
            dies.lock().take().unwrap().kill();
        }
    };
    let report = within(other.runtime.rebuild(OWN, true, Arc::new(kill))).await.unwrap();
    assert_eq!(report.difference, None);
    assert!(report.compared > 0);
    // Slot by slot, and not always before the rebuild is done.
    spread(&[&other]).await;
    verified(&other.runtime, OWN).await;
    stop.store(true, Ordering::Release);
    assert!(within(writer).await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_dies_before_it_joins_is_replaced() {
    rebuilt_while_one_dies(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_dies_behind_its_joining_is_replaced() {
    // Told once for each shard, and once more when all have joined.
    rebuilt_while_one_dies(u32::from(crate::world::SHARDS) + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_whose_member_dies_is_begun_anew_by_another() {
    let mut all = Installation::new().await;
    let ([one, other], _identity, authors) = two_of_posting(&mut all).await;
    let all = Arc::new(all);
    let (stop, writer) = writes(&all, &other, authors, Meets::Death);
    let joined = Arc::new(Notify::new());
    let tells = Arc::clone(&joined);
    let told = Mutex::new(0);
    let watch = move |_, _| {
        *told.lock() += 1;
        if *told.lock() == crate::world::SHARDS {
            tells.notify_one();
        }
    };
    let runtime = Arc::clone(&one.runtime);
    let dying = async {
        tokio::select! {
            done = runtime.rebuild(OWN, true, Arc::new(watch)) => panic!("it was done too early: {done:?}"),
            () = joined.notified() => {}
        }
    };
    within(dying).await;
    let early = other.runtime.rebuild(OWN, true, Arc::new(|_, _| {})).await;
    assert!(matches!(&early, Err(RebuildError::Elsewhere(by)) if *by == one.platform.member), "{early:?}");
    one.kill();
    // Whoever counts as dead holds no slot, and rebuilds no more either.
    spread(&[&other]).await;
    let report = within(other.runtime.rebuild(OWN, true, Arc::new(|_, _| {}))).await.unwrap();
    assert_eq!(report.difference, None);
    assert!(report.compared > 0);
    stop.store(true, Ordering::Release);
    assert!(within(writer).await.unwrap() > 0);
}
