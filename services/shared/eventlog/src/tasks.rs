//! The tasks of a platform, and what becomes of it when one of them breaks.
//!
//! A worker that panicked would leave its shard held and served by nobody, for as long as the process beats. So the first
//! panic is told to whoever runs the process, which ends it: others take its slots over, or a restart does.

use futures::FutureExt as _;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tasks that end together.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    broken: CancellationToken,
}

impl Tasks {
    /// Begins a task.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let broken = self.broken.clone();
        self.tracker.spawn(async move {
            // Nothing of it is looked at afterwards but by the end of the process.
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                tracing::error!("a task of the event log has panicked");
                broken.cancel();
            }
        })
    }

    /// Ends when a task has panicked.
    pub async fn broken(&self) {
        self.broken.cancelled().await;
    }

    /// Waits until all have ended; none is begun any more.
    pub async fn end(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_and_an_end_is_not() {
        let tasks = Tasks::default();
        tasks.spawn(async {}).await.unwrap();
        assert!(!tasks.broken.is_cancelled());
        tasks.spawn(async { panic!("on purpose") }).await.unwrap();
        tasks.broken().await;
        tasks.end().await;
    }
}
