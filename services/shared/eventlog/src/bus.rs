//! The bus: a hint that a log has grown, with the new row in it. It may lose, double and reorder; nothing depends on it.

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use p92_kernel::{Service, ShardCount};
use p92_storage::LogKey;
use std::collections::HashMap;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Publishes rows that stand in a log, and hands them to whoever listens.
pub trait Bus: Send + Sync + std::fmt::Debug + 'static {
    /// Publishes the body of a row that the store has taken. Never waits; what does not fit is dropped.
    fn publish(&self, log: LogKey, body: Bytes);

    /// What is published of that log from now on. Ends only with the bus.
    fn subscribe(&self, log: LogKey) -> BoxStream<'static, Bytes>;
}

/// How many groups a slow listener may lag behind before it misses some and reads the log instead.
const LAG: usize = 256;

/// The bus of one process.
#[derive(Debug)]
pub struct LocalBus {
    subjects: HashMap<LogKey, broadcast::Sender<Bytes>>,
}

impl LocalBus {
    /// A bus for the logs of every service.
    #[must_use]
    pub fn new(shards: ShardCount) -> Self {
        let logs = Service::ALL
            .into_iter()
            .flat_map(|service| shards.all().map(move |shard| LogKey { service, shard }));
        Self { subjects: logs.map(|log| (log, broadcast::Sender::new(LAG))).collect() }
    }
}

impl Bus for LocalBus {
    fn publish(&self, log: LogKey, body: Bytes) {
        if let Some(subject) = self.subjects.get(&log) {
            // An error says that nobody listens, which is no fault.
            let _ = subject.send(body);
        }
    }

    fn subscribe(&self, log: LogKey) -> BoxStream<'static, Bytes> {
        let Some(subject) = self.subjects.get(&log) else { return futures::stream::pending().boxed() };
        futures::stream::unfold(subject.subscribe(), |mut receiver| async move {
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
}
