//! A worker and what it is told about its slot.

use crate::world::{CLAIMS, Claims, Register, meta, open, platform};
use crate::{LOG, Service};
use futures::FutureExt as _;
use p92_eventlog::membership::take_slot;
use p92_eventlog::metrics::Metrics;
use p92_eventlog::owner::{Owner, finish};
use p92_eventlog::platform::Shared;
use p92_eventlog::pointers::ViewStates;
use p92_eventlog::round::Command;
use p92_eventlog::view::ViewSet;
use p92_eventlog::worker::{Holding, Worker};
use p92_eventlog::{Platform, Stream};
use p92_storage::{Engine as _, Key, RowKey, Side};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

async fn becomes(holding: &mut watch::Receiver<Holding>, wanted: Holding) {
    let became = holding.wait_for(|now| *now == wanted);
    tokio::time::timeout(Duration::from_secs(30), became).await.expect("in time").expect("a worker");
}

fn shared(platform: &Arc<Platform>) -> Arc<Shared> {
    Arc::new(Shared {
        platform: Arc::clone(platform),
        service: Service::Posting,
        own_views: ViewSet(Arc::new([Arc::new(Claims)])),
        view_states: Arc::new(ViewStates::default()),
        metrics: Metrics::new(Service::Posting),
        mutant: None,
    })
}

/// One claim, from its decision until the store has its rows.
async fn claims(shared: &Shared, owner: &mut Owner, register: u64) {
    let stream = Stream::new("register", register);
    let mut command: Command = Box::new(move |round| {
        let stream = stream.clone();
        async move { round.emit::<Register>(&stream, &[1]).await }.boxed()
    });
    owner.decide(&meta(1, &format!("k{register}"), register), &mut command).await.unwrap();
    let decided = owner.close_round().unwrap();
    let rowed = owner.append(decided).await.unwrap();
    finish(shared, &rowed).await.unwrap();
    owner.acknowledged(rowed.last_seq());
}

/// What an owner has read of rows is true while it owns the log, and no longer.
#[tokio::test]
async fn an_owner_that_comes_back_knows_nothing_of_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let platform = platform(dir.path(), &store, store.clone());
    let shared = shared(&platform);
    let (mut one, mut other) = (Owner::new(shared.clone(), LOG), Owner::new(shared.clone(), LOG));
    one.take_over("one", 1).await.unwrap();
    claims(&shared, &mut one, 1).await;
    claims(&shared, &mut one, 2).await;
    other.take_over("other", 2).await.unwrap();
    claims(&shared, &mut other, 3).await;
    one.take_over("one", 3).await.unwrap();
    claims(&shared, &mut one, 4).await;
    let row = RowKey::new(CLAIMS.side(Side::A), Key::new().small(LOG.shard.0), bytes::Bytes::new());
    let row = store.get(&row).await.unwrap().unwrap();
    assert_eq!(row.value.as_ref(), 4_u64.to_be_bytes());
    platform.stop().await;
}

#[tokio::test]
async fn a_slot_that_could_not_be_handed_over_is_held_again_under_the_same_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let platform = platform(dir.path(), &store, store.clone());
    let shared = shared(&platform);
    let worker = Worker::start(&shared, LOG);
    let mut holding = worker.holding();

    let epoch = take_slot(&*store, LOG, &platform.member).await.unwrap();
    worker.slot(epoch);
    becomes(&mut holding, Holding::Owning).await;

    // It was to go to an heir; the row could not be written, and the heir is gone.
    worker.slot(None);
    becomes(&mut holding, Holding::Nothing).await;
    worker.slot(epoch);
    becomes(&mut holding, Holding::Owning).await;

    // The twin: by its row the slot is another's, and what was said last is not tried again and again.
    let other = take_slot(&*store, LOG, "another").await.unwrap();
    worker.slot(other);
    becomes(&mut holding, Holding::Nothing).await;
    tokio::time::timeout(Duration::from_millis(300), holding.changed()).await.unwrap_err();

    let again = take_slot(&*store, LOG, &platform.member).await.unwrap();
    worker.slot(again);
    becomes(&mut holding, Holding::Owning).await;
    // As a runtime does when it stops: workers end by losing their slots.
    worker.slot(None);
    platform.stop().await;
}
