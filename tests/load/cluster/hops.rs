//! What the ways between processes take without P92: a message over the bus, a call over loopback.

use crate::writers::quantile;
use crate::yardstick::{Kind, Yard};
use anyhow::Context as _;
use async_nats::jetstream;
use jetstream::consumer::pull::OrderedConfig;
use jetstream::stream::{Config, StorageType};
use p92_proto::timelines::v1::ListHomeRequest;
use p92_proto::timelines::v1::timeline_service_client::TimelineServiceClient;
use std::time::{Duration, Instant};
use tokio_stream::StreamExt as _;
use tonic::transport::Endpoint;

const STREAM: &str = "p92_yardstick";
const SUBJECT: &str = "yardstick.hop";
/// A message that takes longer is lost, and nothing is to be lost here.
const PATIENCE: Duration = Duration::from_secs(5);

/// From a publish on a stream in memory until an ordered consumer has the message, over two connections; the median.
pub async fn bus(address: &str, bytes: usize, each: Duration) -> anyhow::Result<Duration> {
    let connect = async || {
        let client = async_nats::connect(format!("nats://{address}")).await;
        client.with_context(|| format!("NATS at {address} does not answer"))
    };
    let (publisher, listener) = (jetstream::new(connect().await?), jetstream::new(connect().await?));
    let config = Config {
        name: STREAM.to_owned(),
        subjects: vec![SUBJECT.to_owned()],
        storage: StorageType::Memory,
        max_messages: 1_024,
        ..Config::default()
    };
    let stream = listener.get_or_create_stream(config).await?;
    let mut messages = stream.create_consumer(OrderedConfig::default()).await?.messages().await?;
    let body = bytes::Bytes::from(vec![0x55; bytes]);
    let (mut took, until) = (Vec::new(), Instant::now() + each);
    while Instant::now() < until {
        let began = Instant::now();
        let acknowledged = publisher.publish(SUBJECT, body.clone()).await?;
        let came = tokio::time::timeout(PATIENCE, messages.next()).await;
        came.context("a message did not come")?.context("the consumer ended")??;
        took.push(began.elapsed());
        acknowledged.await?;
    }
    drop(messages);
    listener.delete_stream(STREAM).await?;
    took.sort();
    Ok(quantile(&took, 0.5))
}

/// A bare call and its answer between two processes, over TCP on loopback; the median.
pub async fn call(each: Duration) -> anyhow::Result<Duration> {
    let yard = Yard::start(Kind::Grpc, 1, None)?;
    let endpoint = Endpoint::from_shared(format!("http://{}", yard.address))?.tcp_nodelay(true);
    let mut client = TimelineServiceClient::new(endpoint.connect().await?);
    let (mut took, until) = (Vec::new(), Instant::now() + each);
    while Instant::now() < until {
        let began = Instant::now();
        client.list_home(ListHomeRequest::default()).await?;
        took.push(began.elapsed());
    }
    took.sort();
    Ok(quantile(&took, 0.5))
}
