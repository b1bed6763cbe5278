//! What is done to the server while publishing goes on: messages flow again within seconds, and nobody restarts us.

use crate::flow::Flow;
use crate::server::{Server, connected, eventually, waiting};
use std::time::Duration;

/// "Within seconds": the server's own start and the longest pause of ours between two attempts are in it.
const SECONDS: Duration = Duration::from_secs(8);
const STREAM: &str = "p92-v1-posting";

async fn flowing() -> (Server, Flow) {
    let server = Server::start().await;
    let flow = Flow::start(&server).await;
    flow.flows(SECONDS).await;
    (server, flow)
}

fn report(what: &str, flow: &Flow, took: Duration) {
    eprintln!(
        "{what}: flows again after {took:?}; listener {:?}, publisher {:?}",
        flow.listens.counts(),
        flow.publishes.counts()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_found_again() {
    let (mut server, flow) = flowing().await;
    for _ in 0..3 {
        server.kill();
        waiting(&flow.listens, "NATS at").await;
        server.run().await;
        report("kill -9", &flow, flow.flows(SECONDS).await);
    }
    assert_eq!(flow.listens.counts().reconnects, 3);
    assert_eq!(flow.publishes.counts().reconnects, 3);
    connected(&flow.listens).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_server_is_furnished_again() {
    let (mut server, flow) = flowing().await;
    for _ in 0..3 {
        server.kill();
        server.wipe();
        server.run().await;
        report("data directory wiped", &flow, flow.flows(SECONDS).await);
    }
    let counts = (flow.listens.counts(), flow.publishes.counts());
    assert!(counts.0.repairs + counts.1.repairs >= 4, "made once and after each wipe: {counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purged_stream_goes_on() {
    let (server, flow) = flowing().await;
    let jetstream = server.jetstream().await;
    for _ in 0..3 {
        jetstream.get_stream(STREAM).await.unwrap().purge().await.unwrap();
        report("stream purged", &flow, flow.flows(SECONDS).await);
    }
    assert_eq!(flow.listens.counts().resubscriptions, 0, "a purge is no reason for anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_stream_is_made_anew() {
    let (server, flow) = flowing().await;
    let jetstream = server.jetstream().await;
    for _ in 0..3 {
        jetstream.delete_stream(STREAM).await.unwrap();
        report("stream deleted", &flow, flow.flows(SECONDS).await);
    }
    assert!(flow.listens.counts().resubscriptions >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_consumer_is_made_anew() {
    use futures::TryStreamExt as _;
    let (server, flow) = flowing().await;
    let jetstream = server.jetstream().await;
    for _ in 0..3 {
        let stream = jetstream.get_stream(STREAM).await.unwrap();
        let names: Vec<String> = stream.consumer_names().try_collect().await.unwrap();
        assert_eq!(names.len(), 1, "one consumer per process that listens");
        stream.delete_consumer(&names[0]).await.unwrap();
        report("consumer deleted", &flow, flow.flows(SECONDS).await);
    }
    assert!(flow.listens.counts().resubscriptions >= 3);
}

/// Neither end learns that the connection is dead: the server is stopped, not gone. Its acknowledgements are missed, and
/// it is used again when it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_waited_for() {
    let (server, flow) = flowing().await;
    let failed = flow.publishes.counts().failed;
    server.signal("-STOP");
    eventually("acknowledgements are missed", async || flow.publishes.counts().failed > failed).await;
    server.signal("-CONT");
    report("stopped and continued", &flow, flow.flows(SECONDS).await);
}

/// Nothing is wrong that the server would tell: the consumer stands and beats, and is asked for another log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_while_the_log_grows_is_noticed() {
    use async_nats::jetstream::consumer::pull;
    use futures::TryStreamExt as _;
    let (server, flow) = flowing().await;
    let jetstream = server.jetstream().await;
    for turned in 1..=3 {
        let stream = jetstream.get_stream(STREAM).await.unwrap();
        let name = stream.consumer_names().try_next().await.unwrap().unwrap();
        let consumer = stream.get_consumer::<pull::Config>(&name).await.unwrap();
        let mut config = consumer.cached_info().config.clone();
        assert_eq!(config.filter_subject, "");
        config.filter_subjects = vec!["p92.v1.posting.0".to_owned()];
        let config = pull::Config {
            name: Some(name),
            filter_subjects: config.filter_subjects,
            deliver_policy: config.deliver_policy,
            ack_policy: config.ack_policy,
            max_deliver: config.max_deliver,
            max_waiting: config.max_waiting,
            inactive_threshold: config.inactive_threshold,
            num_replicas: config.num_replicas,
            memory_storage: config.memory_storage,
            description: config.description,
            ..pull::Config::default()
        };
        jetstream.create_consumer_on_stream(config, STREAM).await.unwrap();
        let took = flow.flows(SECONDS).await;
        report("consumer turned to another log", &flow, took);
        assert_eq!(flow.listens.counts().resubscriptions, turned);
        assert!(took >= Duration::from_millis(500), "it was the clock that noticed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subjects_that_are_taken_away_are_given_back() {
    let (server, flow) = flowing().await;
    let jetstream = server.jetstream().await;
    let mut config = jetstream.get_stream(STREAM).await.unwrap().cached_info().config.clone();
    config.subjects = vec!["elsewhere".to_owned()];
    jetstream.update_stream(&config).await.unwrap();
    report("subjects taken away", &flow, flow.flows(SECONDS).await);
    assert!(flow.listens.counts().repairs + flow.publishes.counts().repairs >= 2);
}
