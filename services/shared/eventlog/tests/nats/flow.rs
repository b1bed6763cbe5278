//! A log that grows without end, published by one process and heard by another, as the store and readers see it.

use crate::server::{Server, bus};
use bytes::Bytes;
use futures::StreamExt as _;
use p92_eventlog::{Bus as _, NatsBus};
use p92_kernel::{Seq, Service, Shard};
use p92_proto::event::v1::{Event, EventGroup};
use p92_storage::LogKey;
use prost::Message as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

pub const LOG: LogKey = LogKey { service: Service::Posting, shard: Shard(1) };

/// A group of one event at that place.
pub fn group(log: LogKey, seq: u64) -> Bytes {
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned();
    let event = Event { event_id: seq, traceparent, ..Event::default() };
    let group = EventGroup {
        service: log.service.name().to_owned(),
        shard: u32::from(log.shard.0),
        first_seq: seq,
        group_id: Bytes::from_static(&[1; 16]),
        events: vec![event.encode_to_vec().into()],
    };
    group.encode_to_vec().into()
}

pub fn seq_of(body: Bytes) -> u64 {
    EventGroup::decode(body).unwrap().first_seq
}

/// A growing log.
pub struct Flow {
    pub publishes: Arc<NatsBus>,
    pub listens: Arc<NatsBus>,
    head: Arc<AtomicU64>,
    heard: Arc<AtomicU64>,
    // Ends its tasks with the test.
    _tasks: JoinSet<()>,
}

impl Flow {
    /// Groups appear every few milliseconds, whether the server is there or not.
    pub async fn start(server: &Server) -> Self {
        let (publishes, listens) = (bus(server).await, bus(server).await);
        let (head, heard) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        let (bus, at) = (Arc::clone(&publishes), Arc::clone(&head));
        tasks.spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            loop {
                tick.tick().await;
                bus.publish(LOG, group(LOG, at.fetch_add(1, Relaxed) + 1));
            }
        });
        // What a process does that asks the store for heads.
        let (bus, at) = (Arc::clone(&listens), Arc::clone(&head));
        tasks.spawn(async move {
            let mut tick = tokio::time::interval(p92_eventlog::heads::ASK_EVERY);
            loop {
                tick.tick().await;
                bus.head_stands(LOG, Seq(at.load(Relaxed)));
            }
        });
        let (mut hears, at) = (listens.subscribe(LOG), Arc::clone(&heard));
        tasks.spawn(async move {
            while let Some(body) = hears.next().await {
                at.fetch_max(seq_of(body), Relaxed);
            }
        });
        Self { publishes, listens, head, heard, _tasks: tasks }
    }

    /// Waits until something is heard that was published after now, and says how long that took.
    pub async fn flows(&self, within: Duration) -> Duration {
        let (began, now) = (Instant::now(), self.head.load(Relaxed));
        while self.heard.load(Relaxed) <= now {
            assert!(
                began.elapsed() < within,
                "nothing came for {within:?}; the listener says: {}, {:?}; the publisher: {}, {:?}",
                *self.listens.state().borrow(),
                self.listens.counts(),
                *self.publishes.state().borrow(),
                self.publishes.counts(),
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        began.elapsed()
    }
}
