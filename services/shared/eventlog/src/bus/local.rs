//! The bus of one process: topics in memory, and nothing behind them.

use super::Bus;
use super::topics::Topics;
use bytes::Bytes;
use futures::stream::BoxStream;
use p92_kernel::ShardCount;
use p92_storage::LogKey;

/// The bus of one process.
#[derive(Debug)]
pub struct LocalBus(Topics);

impl LocalBus {
    /// A bus for the logs of every service.
    #[must_use]
    pub fn new(shards: ShardCount) -> Self {
        Self(Topics::new(shards))
    }
}

impl Bus for LocalBus {
    fn publish(&self, log: LogKey, body: Bytes) {
        self.0.send(log, body);
    }

    fn subscribe(&self, log: LogKey) -> BoxStream<'static, Bytes> {
        self.0.listen(log)
    }
}
