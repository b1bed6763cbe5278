//! How far owners and readers of this process have come, for those who wait for a position, and which readers run in it.

use p92_kernel::{Position, Seq, Service};
use p92_storage::LogKey;
use parking_lot::{Mutex, RwLock};
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
    /// The readers that run, and whose they are. One may begin anew before its last run has ended, so they are counted.
    running: Mutex<HashMap<(Service, Mark), usize>>,
}

/// A reader that runs in this process, until this is dropped.
#[derive(Debug)]
pub struct Running {
    board: Arc<Progress>,
    reader: (Service, Mark),
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.board.running.lock();
        if let Some(runs) = running.get_mut(&self.reader) {
            *runs -= 1;
            if *runs == 0 {
                running.remove(&self.reader);
            }
        }
    }
}

/// A reader that runs, and how far it is behind.
#[derive(Clone, Debug)]
pub struct Behind {
    /// Whose reader it is.
    pub service: Service,
    pub mark: Mark,
    pub events: u64,
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

    /// A reader of this service runs from now on, whose place this mark is.
    #[must_use]
    pub fn run(self: &Arc<Self>, service: Service, mark: Mark) -> Running {
        let reader = (service, mark);
        *self.running.lock().entry(reader.clone()).or_default() += 1;
        Running { board: Arc::clone(self), reader }
    }

    /// How far each reader that runs is behind the head of its log. Before its place and the head are known, nothing is
    /// told of it: that would be a lag of the whole log, or of none.
    #[must_use]
    pub fn behind(&self) -> Vec<Behind> {
        let running: Vec<(Service, Mark)> = self.running.lock().keys().cloned().collect();
        let marks = self.marks.read();
        let at = |mark: &Mark| marks.get(mark).map(|sender| *sender.borrow());
        let behind = running.into_iter().filter_map(|(service, mark)| {
            let head = at(&Mark::applied(mark.log)).filter(|head| *head > Seq(0))?;
            let events = head.0.saturating_sub(at(&mark)?.0);
            Some(Behind { service, mark, events })
        });
        behind.collect()
    }

    /// Where the logs end that this process owns or follows, as far as it knows.
    #[must_use]
    pub fn heads(&self) -> Vec<(LogKey, Seq)> {
        let heads = self.all().into_iter().filter(|(mark, at)| mark.reader.is_empty() && *at > Seq(0));
        heads.map(|(mark, at)| (mark.log, at)).collect()
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
