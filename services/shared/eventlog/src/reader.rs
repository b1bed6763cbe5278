//! Following a log: groups in order by seq, from the bus when it is quick, from the log itself when it is not.
//!
//! First seq = applied + 1: apply. Smaller: drop. Larger, or silence while the head moves: read the log.

use crate::Platform;
use crate::group::Group;
use crate::owner::read_piece;
use crate::progress::Mark;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use p92_kernel::Seq;
use p92_storage::{LogKey, StoreError};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// After this long without a message the head is compared.
const SILENCE: Duration = Duration::from_secs(1);

/// The groups of one log, each exactly once and in order, from a position on.
pub struct GroupStream {
    platform: Arc<Platform>,
    log: LogKey,
    at: Seq,
    hints: BoxStream<'static, Bytes>,
    waiting_hint: Option<Bytes>,
    read: VecDeque<Group>,
}

impl std::fmt::Debug for GroupStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupStream").field("log", &self.log).field("at", &self.at).finish_non_exhaustive()
    }
}

impl GroupStream {
    /// Follows a log from behind `after`, which is 0 or the end of a group.
    #[must_use]
    pub fn new(platform: &Arc<Platform>, log: LogKey, after: Seq) -> Self {
        platform.heads.follow(log.service);
        Self {
            platform: Arc::clone(platform),
            log,
            at: after,
            hints: platform.bus.subscribe(log),
            waiting_hint: None,
            read: VecDeque::new(),
        }
    }

    /// The log.
    #[must_use]
    pub const fn log(&self) -> LogKey {
        self.log
    }

    /// End of the last group handed out.
    #[must_use]
    pub const fn at(&self) -> Seq {
        self.at
    }

    /// The next group. Waits for it; an error of the store is for the caller to wait on.
    pub async fn next(&mut self) -> Result<Group, StoreError> {
        loop {
            if let Some(group) = self.read.pop_front() {
                if group.first_seq == self.at.next() {
                    self.at = group.last_seq();
                    return Ok(group);
                }
                self.read.clear();
            }
            if let Some(group) = self.hinted_now() {
                self.at = group.last_seq();
                return Ok(group);
            }
            let head = self.platform.progress.at(&Mark::applied(self.log));
            if head > self.at {
                self.read = read_piece(&self.platform, self.log, self.at, Some(head)).await?.into();
                if !self.read.is_empty() {
                    continue;
                }
            }
            self.wait().await;
        }
    }

    /// The next group out of what the bus has delivered already.
    fn hinted_now(&mut self) -> Option<Group> {
        use futures::FutureExt as _;
        while let Some(body) = self.waiting_hint.take().or_else(|| self.hints.next().now_or_never().flatten())
        {
            // A body that does not decode is dropped: an event is judged by its log row only.
            let Ok(group) = Group::read(body) else { continue };
            if group.log == self.log && group.first_seq == self.at.next() {
                return Some(group);
            }
        }
        None
    }

    /// Until a message comes or the head of the log has moved, or for a second.
    async fn wait(&mut self) {
        let mark = Mark::applied(self.log);
        tokio::select! {
            biased;
            hint = self.hints.next() => self.waiting_hint = hint,
            () = self.platform.progress.wait(&mark, self.at.next()) => {}
            () = tokio::time::sleep(SILENCE) => {}
        }
    }
}
