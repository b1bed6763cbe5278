//! What waits to be published: bounded in messages and bytes, and the oldest goes when it is full, since the newest says
//! most about where a log stands.

use super::config::QueueLimits;
use bytes::Bytes;
use p92_storage::LogKey;
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<(LogKey, Bytes)>,
    bytes: usize,
}

/// A queue that never refuses and never waits.
#[derive(Debug)]
pub(super) struct Queue {
    limits: QueueLimits,
    waiting: Mutex<Waiting>,
    came: Notify,
}

impl Queue {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self { limits, waiting: Mutex::default(), came: Notify::new() }
    }

    /// Puts a message behind the others and says which logs lost one for it.
    pub(super) fn push(&self, log: LogKey, body: Bytes) -> Vec<LogKey> {
        let mut dropped = Vec::new();
        {
            let mut waiting = self.waiting.lock();
            waiting.bytes += body.len();
            waiting.messages.push_back((log, body));
            // The newest stays, even if it alone is larger than the limit.
            while waiting.messages.len() > 1
                && (waiting.messages.len() > self.limits.messages || waiting.bytes > self.limits.bytes)
            {
                let Some((log, oldest)) = waiting.messages.pop_front() else { break };
                waiting.bytes -= oldest.len();
                dropped.push(log);
            }
        }
        self.came.notify_one();
        dropped
    }

    /// The oldest, if there is one.
    pub(super) fn take(&self) -> Option<(LogKey, Bytes)> {
        let mut waiting = self.waiting.lock();
        let oldest = waiting.messages.pop_front()?;
        waiting.bytes -= oldest.1.len();
        Some(oldest)
    }

    /// The oldest, as soon as there is one. For one taker: a second would miss what comes.
    pub(super) async fn next(&self) -> (LogKey, Bytes) {
        loop {
            if let Some(oldest) = self.take() {
                return oldest;
            }
            self.came.notified().await;
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.lock().messages.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{Queue, QueueLimits};
    use bytes::Bytes;
    use p92_kernel::{Service, Shard};
    use p92_storage::LogKey;

    const LOG: LogKey = LogKey { service: Service::Posting, shard: Shard(0) };

    #[tokio::test]
    async fn the_oldest_goes_and_is_named() {
        let queue = Queue::new(QueueLimits { messages: 2, bytes: 10 });
        let push = |text: &'static str| queue.push(LOG, Bytes::from_static(text.as_bytes())).len();
        assert_eq!((push("a"), push("b"), push("c")), (0, 0, 1));
        assert_eq!(push("123456789"), 1, "by number; bytes still fit");
        assert_eq!(queue.next().await.1, "c");
        assert_eq!(push("xy"), 1, "by bytes");
        assert_eq!(push("much more than ten"), 1, "what is too large alone stays alone");
        assert_eq!((queue.len(), queue.next().await.1), (1, Bytes::from_static(b"much more than ten")));
        assert!(queue.take().is_none());
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let queue = std::sync::Arc::new(Queue::new(QueueLimits::default()));
        let taker = std::sync::Arc::clone(&queue);
        let taken = tokio::spawn(async move { taker.next().await.1 });
        tokio::task::yield_now().await;
        queue.push(LOG, Bytes::from_static(b"late"));
        assert_eq!(taken.await.unwrap(), "late");
    }
}
