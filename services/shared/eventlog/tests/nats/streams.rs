//! Streams and consumers as the server sees them: shape, repair, and how many messages a delivery costs.

use crate::flow::{LOG, group};
use crate::server::{Server, bus, connected, eventually};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use futures::{StreamExt as _, TryStreamExt as _};
use p92_eventlog::{Bus as _, NatsBus};
use p92_kernel::{Service, Shard};
use p92_storage::LogKey;
use std::collections::BTreeSet;
use std::time::Duration;

const STREAM: &str = "p92-v1-posting";

async fn shape(server: &Server) -> Config {
    server.jetstream().await.get_stream(STREAM).await.unwrap().cached_info().config.clone()
}

fn is_right(config: &Config) -> bool {
    config.subjects == ["p92.v1.posting.*"]
        && config.storage == StorageType::Memory
        && config.retention == RetentionPolicy::Limits
        && config.discard == DiscardPolicy::Old
        && config.max_age == Duration::from_secs(60)
        && config.max_bytes == 32 * 1024 * 1024
        && config.max_messages == 65_536
}

async fn publishes(bus: &NatsBus) {
    let before = bus.counts().published;
    bus.publish(LOG, group(LOG, 1));
    eventually("it is published", async || bus.counts().published > before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_made_as_it_should_be_and_left_alone() {
    let server = Server::start().await;
    for repairs in [1, 0] {
        let bus = bus(&server).await;
        publishes(&bus).await;
        assert_eq!(bus.counts().repairs, repairs);
        let config = shape(&server).await;
        assert!(is_right(&config), "{config:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_configuration_is_put_right() {
    let server = Server::start().await;
    let jetstream = server.jetstream().await;
    let in_place = Config {
        name: STREAM.to_owned(),
        subjects: vec!["p92.v1.posting.0".to_owned()],
        storage: StorageType::Memory,
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        ..Config::default()
    };
    let for_life = Config {
        subjects: vec!["p92.v1.posting.>".to_owned()],
        storage: StorageType::File,
        retention: RetentionPolicy::WorkQueue,
        ..in_place.clone()
    };
    for foreign in [in_place, for_life] {
        jetstream.create_stream(&foreign).await.unwrap();
        let bus = bus(&server).await;
        let mut hears = bus.subscribe(LOG);
        publishes(&bus).await;
        assert!(hears.next().await.is_some());
        let config = shape(&server).await;
        assert!(is_right(&config), "{config:?}");
        assert!(bus.counts().repairs >= 1);
        bus.stop(Duration::from_secs(5)).await;
        jetstream.delete_stream(STREAM).await.unwrap();
    }
}

/// However many readers and shards: one consumer per service and process, with what is wanted and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_has_one_consumer_per_service() {
    let server = Server::start().await;
    let bus = bus(&server).await;
    let log = |service, shard| LogKey { service, shard: Shard(shard) };
    let one: Vec<_> = (0..5).map(|_| bus.subscribe(log(Service::Posting, 1))).collect();
    let jetstream = server.jetstream().await;
    let consumers = async || {
        let Ok(stream) = jetstream.get_stream(STREAM).await else { return Vec::new() };
        let mut found: Vec<_> = stream.consumers().try_collect().await.unwrap();
        found.iter_mut().map(|info| info.config.clone()).collect::<Vec<_>>()
    };
    let filtered = async |subjects: &[&str]| {
        let wanted: BTreeSet<String> = subjects.iter().map(ToString::to_string).collect();
        let found = consumers().await;
        found.len() == 1 && {
            let mut filters: BTreeSet<String> = found[0].filter_subjects.iter().cloned().collect();
            filters.extend(Some(found[0].filter_subject.clone()).filter(|filter| !filter.is_empty()));
            filters == wanted
        }
    };
    eventually("one shard is asked for", async || filtered(&["p92.v1.posting.1"]).await).await;
    let two = bus.subscribe(log(Service::Posting, 0));
    eventually("all are asked for", async || filtered(&["p92.v1.posting.*"]).await).await;
    let config = consumers().await.remove(0);
    assert_eq!((config.ack_policy, config.deliver_policy), (AckPolicy::None, DeliverPolicy::New));
    assert_eq!((config.durable_name, config.memory_storage), (None, true));
    drop(two);
    eventually("less is asked for again", async || filtered(&["p92.v1.posting.1"]).await).await;
    drop(one);
    eventually("nobody asks", async || consumers().await.is_empty()).await;
}

/// Row 11 of the aims: publishes, deliveries and acknowledgements, counted by the server itself with all that goes on
/// beside them, for 8 listening processes and a fan-out of 400.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_costs_a_small_part_of_a_message() {
    const GROUPS: u64 = 2_000;
    const FAN_OUT: u64 = 400;
    let server = Server::start().await;
    let publishes = bus(&server).await;
    let mut replicas = Vec::new();
    for _ in 0..8 {
        let replica = bus(&server).await;
        let hears = [0, 1].map(|shard| replica.subscribe(LogKey { shard: Shard(shard), ..LOG }));
        replicas.push((replica, hears));
    }
    connected(&publishes).await;
    let mut probes = 0;
    eventually("all listen", async || {
        probes += 1;
        publishes.publish(LOG, group(LOG, probes));
        replicas.iter().all(|(replica, _)| replica.counts().received > 0)
    })
    .await;
    eventually("the probes are through", async || publishes.counts().published == probes).await;
    let came = || -> u64 { replicas.iter().map(|(replica, _)| replica.counts().received).sum() };
    let (before, heard) = (server.messages().await, came());
    for seq in 0..GROUPS {
        publishes.publish(LogKey { shard: Shard((seq % 2) as u16), ..LOG }, group(LOG, seq));
    }
    eventually("all came", async || came() >= heard + 8 * GROUPS).await;
    eventually("all are acknowledged", async || publishes.counts().published == probes + GROUPS).await;
    let messages = server.messages().await - before;
    let each = messages as f64 / (GROUPS * FAN_OUT) as f64;
    eprintln!(
        "{messages} messages of the server for {GROUPS} groups heard by 8: {each:.4} per delivery at {FAN_OUT}"
    );
    assert!(each <= 0.05, "{each}");
}
