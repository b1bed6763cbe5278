//! What waits to be published: nobody waits for it, the oldest gives way, and an end is bounded.

use crate::flow::{LOG, group, seq_of};
use crate::server::{Server, bus, config, connected, eventually, shards, waiting};
use futures::StreamExt as _;
use p92_eventlog::{Bus as _, NatsBus};
use std::time::{Duration, Instant};

const STREAM: &str = "p92-v1-posting";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_later_gets_the_newest() {
    let mut server = Server::away();
    let mut config = config(&server);
    config.queue.messages = 10;
    let began = Instant::now();
    let bus = NatsBus::connect(config, shards()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "a process starts without the bus");
    let words = waiting(&bus, &server.address()).await;
    assert!(words.starts_with("NATS at 127.0.0.1:"), "{words}");
    let mut here = bus.subscribe(LOG);
    for seq in 1..=15 {
        bus.publish(LOG, group(LOG, seq));
        assert_eq!(
            seq_of(here.next().await.unwrap()),
            seq,
            "who listens in the same process needs no server"
        );
    }
    assert_eq!((bus.counts().dropped, bus.waiting()), (5, 10));

    server.run().await;
    connected(&bus).await;
    eventually("the newest ten are published", async || bus.counts().published == 10).await;
    let mut stream = server.jetstream().await.get_stream(STREAM).await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 10);
    for (place, seq) in (1..=10).zip(6..=15) {
        let message = stream.get_raw_message(place).await.unwrap();
        assert_eq!(seq_of(message.payload.clone()), seq);
        assert_eq!(message.subject.as_str(), "p92.v1.posting.1");
        let parent = message.headers.get("traceparent").unwrap().as_str();
        assert_eq!(parent, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    }
    assert_eq!(bus.counts().failed, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_publishes_what_waits() {
    let server = Server::start().await;
    let bus = bus(&server).await;
    connected(&bus).await;
    for seq in 1..=1_000 {
        bus.publish(LOG, group(LOG, seq));
    }
    assert!(bus.stop(Duration::from_secs(20)).await, "{:?}", bus.counts());
    assert_eq!(bus.counts().published, 1_000);
    let mut stream = server.jetstream().await.get_stream(STREAM).await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_does_not_wait_for_a_server() {
    let bus = bus(&Server::away()).await;
    bus.publish(LOG, group(LOG, 1));
    let began = Instant::now();
    assert!(!bus.stop(Duration::from_secs(20)).await, "it was not published");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_is_bounded() {
    let server = Server::start().await;
    let bus = bus(&server).await;
    bus.publish(LOG, group(LOG, 1));
    eventually("one is published", async || bus.counts().published == 1).await;
    server.signal("-STOP");
    bus.publish(LOG, group(LOG, 2));
    let began = Instant::now();
    assert!(!bus.stop(Duration::from_millis(500)).await);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    server.signal("-CONT");
}
