//! An event that is newer than this build: its reader gives the slot back, waits, and goes on where it stood.

use crate::world::{Register, claim, meta, open, platform, spec};
use async_trait::async_trait;
use futures::FutureExt as _;
use p92_eventlog::owner::read_groups;
use p92_eventlog::{
    Aggregate, ConsumeError, Consumer, NewEvent, Platform, Poison, Recorded, Runtime, Spec, Stream, tables,
};
use p92_kernel::{Seq, Service, Shard};
use p92_proto::event::v1;
use p92_storage::{Engine as _, LogKey};
use parking_lot::Mutex;
use prost::Message as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::watch;

const SHARD: Shard = Shard(1);
const OTHER: Shard = Shard(0);

/// Reads its own log, and knows events up to a version that a test may raise, as a newer build would.
#[derive(Debug)]
struct Reading {
    known: AtomicU32,
    read: Mutex<Vec<Seq>>,
    refused: watch::Sender<u32>,
}

#[async_trait]
impl Consumer for Reading {
    fn name(&self) -> &'static str {
        "posting.reading"
    }

    fn source(&self) -> Service {
        Service::Posting
    }

    fn wants(&self, event_type: &str) -> bool {
        event_type == "p92.event.v1.Position"
    }

    async fn handle(&self, event: &Recorded) -> Result<(), ConsumeError> {
        let known = self.known.load(Ordering::Acquire);
        if let Err(newer) = event.decode_upcast::<v1::Position>(known, |_, position| position) {
            self.refused.send_modify(|times| *times += 1);
            return Err(newer.into());
        }
        if event.position.shard == SHARD {
            self.read.lock().push(event.position.seq);
        }
        Ok(())
    }
}

/// A register whose events are of a later version.
#[derive(Clone, Debug, Default)]
struct Later<const VERSION: u32>;

impl<const VERSION: u32> Aggregate for Later<VERSION> {
    type Event = u64;

    fn decode(event: &Recorded) -> Result<u64, Poison> {
        Ok(event.decode_upcast::<v1::Position>(VERSION, |_, position| position)?.seq)
    }

    fn encode(event: &u64) -> NewEvent {
        Register::encode(event).version(VERSION)
    }

    fn evolve(self, _: &u64) -> Self {
        self
    }
}

async fn later<const VERSION: u32>(runtime: &Runtime, shard: Shard, register: u64) -> Seq {
    let stream = Stream::new("later", register);
    let done = runtime.execute(shard, meta(1, "", register), move |round| {
        let stream = stream.clone();
        async move { round.emit::<Later<VERSION>>(&stream, &[1]).await }.boxed()
    });
    done.await.unwrap().positions[0].seq
}

async fn owner(platform: &Platform) -> v1::OwnershipRow {
    let row = platform.engine.get(&tables::ownership_key(Service::Posting, SHARD)).await.unwrap().unwrap();
    v1::OwnershipRow::decode(row.value).unwrap()
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it does not come")
}

#[tokio::test]
async fn a_slot_is_given_back_before_a_newer_event_and_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let platform = platform(dir.path(), &store, store.clone());
    let reading = Arc::new(Reading {
        known: AtomicU32::new(1),
        read: Mutex::default(),
        refused: watch::Sender::new(0),
    });
    let consumers: Vec<Arc<dyn Consumer>> = vec![reading.clone()];
    let runtime = Runtime::start(&platform, Spec { consumers, ..spec() }).await.unwrap();
    runtime.ready().await;
    let before = claim(&runtime, SHARD, 1, 1, "").await.unwrap().positions[0].seq;
    let mut slots = platform.membership.slots();
    let (slot, epoch) = ((Service::Posting, SHARD), owner(&platform).await.epoch);
    let newer = later::<2>(&runtime, SHARD, 2).await;

    within(slots.wait_for(|slots| !slots.contains_key(&slot))).await.unwrap();
    let mut holder = owner(&platform).await;
    // The process notes it before it writes it.
    while !holder.member.is_empty() {
        tokio::task::yield_now().await;
        holder = owner(&platform).await;
    }
    assert!(slots.borrow().contains_key(&(Service::Posting, OTHER)), "the other slot stays");
    claim(&runtime, OTHER, 5, 1, "").await.unwrap();
    assert_eq!(*reading.read.lock(), [before], "nothing behind the event was read");

    // Nobody else is there: it is taken up again, the event is still newer, and it is given back for longer.
    within(slots.wait_for(|slots| slots.get(&slot).is_some_and(|now| *now > epoch))).await.unwrap();
    within(reading.refused.subscribe().wait_for(|times| *times >= 2)).await.unwrap();
    within(slots.wait_for(|slots| !slots.contains_key(&slot))).await.unwrap();
    assert_eq!(claim(&runtime, SHARD, 3, 1, "").await.unwrap_err().reason, "SHARD_MOVING");

    reading.known.store(2, Ordering::Release);
    within(slots.wait_for(|slots| slots.contains_key(&slot))).await.unwrap();
    let after = loop {
        match claim(&runtime, SHARD, 3, 1, "").await {
            Ok(receipt) => break receipt.positions[0].seq,
            Err(failure) => assert_eq!(failure.reason, "SHARD_MOVING"),
        }
    };
    let mark = p92_eventlog::progress::Mark::reader(
        &"posting.reading".into(),
        LogKey { service: Service::Posting, shard: SHARD },
    );
    within(platform.progress.wait(&mark, after)).await;
    let of_shard: Vec<Seq> = reading.read.lock().clone();
    assert!(of_shard.starts_with(&[before]) && of_shard.ends_with(&[newer, after]), "{of_shard:?}");
    assert_eq!(p92_eventlog::quarantine::list(&platform).await.unwrap().len(), 0, "it is no poison");
    platform.stop().await;
}

#[tokio::test]
async fn an_owner_gives_a_slot_back_whose_log_it_cannot_project() {
    let log = LogKey { service: Service::Posting, shard: SHARD };
    // As a newer build leaves it that ends between its append and its rows: a log without rows.
    let (newer_dir, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (newer, store) = (open(newer_dir.path()), open(dir.path()));
    let there = platform(newer_dir.path(), &newer, newer.clone());
    let runtime = Runtime::start(&there, Spec { views: vec![], ..spec() }).await.unwrap();
    runtime.ready().await;
    let last = later::<3>(&runtime, SHARD, 2).await;
    there.stop().await;
    for row in newer.read_log(log, Seq(0), usize::MAX).await.unwrap() {
        store.append(log, &row, &[]).await.unwrap();
    }

    let here = platform(dir.path(), &store, store.clone());
    let runtime = Runtime::start(&here, spec()).await.unwrap();
    within(async {
        while !owner(&here).await.member.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let refused = claim(&runtime, SHARD, 3, 1, "").await.unwrap_err();
    assert_eq!(refused.reason, "SHARD_MOVING", "{refused:?}");
    let behind = read_groups(&here, log, last, None).await.unwrap();
    let mut behind = behind.iter().flat_map(|group| &group.events);
    assert!(
        behind.all(|event| event.event.stream.is_empty()),
        "a barrier closes the log, and nothing else is appended"
    );
    claim(&runtime, OTHER, 5, 1, "").await.unwrap();
    here.stop().await;
}
