//! A worker and what it is told about its slot.

use crate::world::{Claims, open, platform};
use crate::{LOG, Service};
use p92_eventlog::membership::take_slot;
use p92_eventlog::metrics::Metrics;
use p92_eventlog::platform::Shared;
use p92_eventlog::pointers::ViewStates;
use p92_eventlog::view::ViewSet;
use p92_eventlog::worker::{Holding, Worker};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

async fn becomes(holding: &mut watch::Receiver<Holding>, wanted: Holding) {
    let became = holding.wait_for(|now| *now == wanted);
    tokio::time::timeout(Duration::from_secs(30), became).await.expect("in time").expect("a worker");
}

#[tokio::test]
async fn a_slot_that_could_not_be_handed_over_is_held_again_under_the_same_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let platform = platform(dir.path(), &store, store.clone());
    let shared = Arc::new(Shared {
        platform: Arc::clone(&platform),
        service: Service::Posting,
        own_views: ViewSet(Arc::new([Arc::new(Claims)])),
        view_states: Arc::new(ViewStates::default()),
        metrics: Metrics::new(Service::Posting),
        mutant: None,
    });
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
