//! How far owners and readers of this process have come, for those who wait for a position.

use p92_kernel::{Position, Seq};
use p92_storage::LogKey;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Who has come so far: the owner of a log, or a reader of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Empty for the owner (`applied`), else the name of the reader.
    pub reader: Arc<str>,
    pub log: LogKey,
}

impl Mark {
    /// The mark of a log's owner.
    #[must_use]
    pub fn applied(log: LogKey) -> Self {
        Self { reader: "".into(), log }
    }

    /// The mark of a reader.
    #[must_use]
    pub fn reader(name: &Arc<str>, log: LogKey) -> Self {
        Self { reader: Arc::clone(name), log }
    }
}

/// A board on which marks are moved and awaited.
#[derive(Debug, Default)]
pub struct Progress {
    marks: RwLock<HashMap<Mark, watch::Sender<Seq>>>,
}

impl Progress {
    fn mark(&self, mark: &Mark) -> watch::Sender<Seq> {
        if let Some(sender) = self.marks.read().get(mark) {
            return sender.clone();
        }
        self.marks.write().entry(mark.clone()).or_insert_with(|| watch::Sender::new(Seq(0))).clone()
    }

    /// Moves a mark forward; it never goes back.
    pub fn reached(&self, mark: &Mark, seq: Seq) {
        self.mark(mark).send_if_modified(|now| {
            let moved = seq > *now;
            *now = (*now).max(seq);
            moved
        });
    }

    /// Where a mark stands.
    #[must_use]
    pub fn at(&self, mark: &Mark) -> Seq {
        *self.mark(mark).borrow()
    }

    /// Waits until a mark stands at `seq`, for ever if it never does.
    pub async fn wait(&self, mark: &Mark, seq: Seq) {
        let mut receiver = self.mark(mark).subscribe();
        // The board owns a sender of every mark, so the wait ends only by reaching it.
        let _ = receiver.wait_for(|now| *now >= seq).await;
    }

    /// A receiver of every move of a mark.
    #[must_use]
    pub fn watch(&self, mark: &Mark) -> watch::Receiver<Seq> {
        self.mark(mark).subscribe()
    }

    /// Where every mark stands.
    #[must_use]
    pub fn all(&self) -> Vec<(Mark, Seq)> {
        self.marks.read().iter().map(|(mark, sender)| (mark.clone(), *sender.borrow())).collect()
    }
}

/// The log that a position is in.
#[must_use]
pub const fn log_of(position: Position) -> LogKey {
    LogKey { service: position.service, shard: position.shard }
}
