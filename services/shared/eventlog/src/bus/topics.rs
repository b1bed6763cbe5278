//! One topic per log inside this process: what both buses deliver into. It knows no network and decodes nothing.

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use p92_kernel::{Service, Shard, ShardCount};
use p92_storage::LogKey;
use std::collections::{BTreeSet, HashMap};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// How many groups a slow listener may lag behind before it misses some and reads the log instead.
pub const LAG: usize = 256;

/// A topic for each log that there can be.
#[derive(Debug)]
pub(super) struct Topics {
    shards: ShardCount,
    topics: HashMap<LogKey, broadcast::Sender<Bytes>>,
}

impl Topics {
    /// Topics for the logs of every service.
    pub(super) fn new(shards: ShardCount) -> Self {
        let logs = Service::ALL
            .into_iter()
            .flat_map(|service| shards.all().map(move |shard| LogKey { service, shard }));
        Self { shards, topics: logs.map(|log| (log, broadcast::Sender::new(LAG))).collect() }
    }

    /// Hands a body to those who listen now.
    pub(super) fn send(&self, log: LogKey, body: Bytes) {
        if let Some(topic) = self.topics.get(&log) {
            // An error says that nobody listens, which is no fault.
            let _ = topic.send(body);
        }
    }

    /// What is sent to that log's topic from now on.
    pub(super) fn listen(&self, log: LogKey) -> BoxStream<'static, Bytes> {
        let Some(topic) = self.topics.get(&log) else { return futures::stream::pending().boxed() };
        futures::stream::unfold(topic.subscribe(), |mut receiver| async move {
            loop {
                match receiver.recv().await {
                    Ok(body) => return Some((body, receiver)),
                    // The reader sees the gap by its sequence numbers.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        })
        .boxed()
    }

    /// The shards of a service to whose logs somebody listens.
    pub(super) fn listened(&self, service: Service) -> BTreeSet<Shard> {
        let listened = |shard: &Shard| {
            let topic = self.topics.get(&LogKey { service, shard: *shard });
            topic.is_some_and(|topic| topic.receiver_count() > 0)
        };
        self.shards.all().filter(listened).collect()
    }

    /// How many shards there are.
    pub(super) const fn shards(&self) -> ShardCount {
        self.shards
    }
}
