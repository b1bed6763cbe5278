//! The one thread that writes: takes everything that waits, builds one batch, syncs it, then answers.
//!
//! The more load, the more requests share a sync. A batch becomes visible only after its sync; a batch of projections
//! alone is not synced, because its rows are functions of logs that were.

use super::batch::Batch;
use super::heads::{Heads, HeadsFile};
use super::space::Guard;
use super::{Commits, Current, EmbeddedConfig, open};
use crate::engine::{Append, Conditional, LogKey, LogRow, ProjectedBatch, Projection, RowKey, Write};
use crate::{Outcome, StoreError};
use bytes::Bytes;
use fjall::PersistMode;
use parking_lot::Mutex;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait.
const WAITING: usize = 16_384;
/// A batch closes at this many requests or bytes.
const MOST_REQUESTS: usize = 4_096;
const MOST_BYTES: usize = 1024 * 1024;
/// After a failed write the store is reopened at most this often.
const REOPEN_EVERY: Duration = Duration::from_millis(500);

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the committer is asked.
pub enum Request {
    Write { writes: Vec<Write>, answer: Answer<()> },
    Insert { key: RowKey, value: Bytes, answer: Answer<Conditional> },
    CompareAndSet { key: RowKey, expected: Option<u64>, value: Bytes, answer: Answer<Conditional> },
    Project { batch: ProjectedBatch, answer: Answer<Projection> },
    Append { log: LogKey, row: LogRow, before: Vec<Write>, answer: Answer<Append> },
    Close,
}

/// The way to the thread.
#[derive(Debug)]
pub struct Committer {
    requests: mpsc::Sender<Request>,
    commits: Arc<Mutex<Commits>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    /// Starts the thread.
    pub fn start(current: Current, config: EmbeddedConfig, heads: Heads) -> Result<Self, StoreError> {
        let (requests, waiting) = mpsc::channel(WAITING);
        let commits = Arc::new(Mutex::new(Commits::default()));
        let failed = |error: std::io::Error| StoreError::Refused {
            problem: format!("{}: the store cannot start: {error}", config.dir.display()),
            advice: "look at the permissions and the health of the disk".to_owned(),
        };
        let file = HeadsFile::open(&config.dir).map_err(failed)?;
        let guard = Guard::new(config.free_space.clone(), config.free_floor_mib);
        let run = Run {
            current,
            heads,
            file,
            guard,
            commits: Arc::clone(&commits),
            broken: None,
            config: config.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || run.run(waiting))
            .map_err(failed)?;
        Ok(Self { requests, commits, thread: Mutex::new(Some(thread)) })
    }

    /// Hands over a request; waits while too many wait.
    pub async fn send(&self, request: Request) -> Result<(), StoreError> {
        self.requests.send(request).await.map_err(|_| StoreError::Unavailable {
            reason: "the store is closed".to_owned(),
            outcome: Outcome::NoEffect,
        })
    }

    /// What was done.
    pub fn commits(&self) -> Commits {
        *self.commits.lock()
    }

    /// Ends the thread after everything that waits.
    pub fn close(&self) {
        let Some(thread) = self.thread.lock().take() else { return };
        while let Err(mpsc::error::TrySendError::Full(_)) = self.requests.try_send(Request::Close) {
            std::thread::yield_now();
        }
        // A panic of the thread has answered everybody with an unknown outcome already.
        let _ = thread.join();
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.close();
    }
}

/// An answer that waits for the commit.
type Waiting = Box<dyn FnOnce(Result<(), Failed>) + Send>;

/// A commit that failed.
#[derive(Clone, Debug)]
struct Failed(String);

fn waiting<T: Send + 'static>(answer: Answer<T>, result: Result<T, StoreError>) -> Waiting {
    Box::new(move |committed| {
        // Whoever asked may have gone.
        let _ = answer.send(match committed {
            Ok(()) => result,
            Err(Failed(reason)) => {
                result.and(Err(StoreError::Unavailable { reason, outcome: Outcome::Unknown }))
            }
        });
    })
}

impl Request {
    /// Whether the batch must be synced because of it.
    const fn needs_sync(&self) -> bool {
        !matches!(self, Self::Project { .. } | Self::Close)
    }

    /// Adds it to the batch.
    fn apply(self, batch: &mut Batch<'_>, heads: &Heads) -> Option<Waiting> {
        Some(match self {
            Self::Write { writes, answer } => waiting(answer, batch.write(&writes)),
            Self::Insert { key, value, answer } => waiting(answer, batch.insert(&key, &value)),
            Self::CompareAndSet { key, expected, value, answer } => {
                waiting(answer, batch.compare_and_set(&key, expected, &value))
            }
            Self::Project { batch: projected, answer } => waiting(answer, batch.project(&projected)),
            Self::Append { log, row, before, answer } => {
                waiting(answer, batch.append(log, &row, &before, heads))
            }
            Self::Close => return None,
        })
    }

    /// Answers without doing it.
    fn refuse(self, error: impl Fn() -> StoreError) {
        match self {
            Self::Write { answer, .. } => drop(answer.send(Err(error()))),
            Self::Insert { answer, .. } | Self::CompareAndSet { answer, .. } => {
                drop(answer.send(Err(error())))
            }
            Self::Project { answer, .. } => drop(answer.send(Err(error()))),
            Self::Append { answer, .. } => drop(answer.send(Err(error()))),
            Self::Close => {}
        }
    }
}

struct Run {
    current: Current,
    config: EmbeddedConfig,
    heads: Heads,
    file: HeadsFile,
    guard: Guard,
    commits: Arc<Mutex<Commits>>,
    /// Why the engine takes no writes, and when reopening was tried.
    broken: Option<(String, Instant)>,
}

impl Run {
    fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(first) = requests.blocking_recv() {
            let mut closing = matches!(first, Request::Close);
            let mut taken = vec![first];
            while taken.len() < MOST_REQUESTS
                && let Ok(next) = requests.try_recv()
            {
                closing |= matches!(next, Request::Close);
                taken.push(next);
            }
            self.serve(taken);
            if closing {
                return;
            }
        }
    }

    fn serve(&mut self, requests: Vec<Request>) {
        if let Err(reason) = self.mend() {
            for request in requests {
                request.refuse(|| StoreError::Unavailable {
                    reason: reason.clone(),
                    outcome: Outcome::NoEffect,
                });
            }
            return;
        }
        if let Err((free_mib, floor_mib)) = self.guard.check(&self.config.dir) {
            for request in requests {
                request.refuse(|| StoreError::Full { free_mib, floor_mib });
            }
            return;
        }
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            self.commit_some(&mut requests);
            if self.broken.is_some() {
                let reason = "a write before this one failed";
                requests.by_ref().for_each(|request| {
                    request.refuse(|| StoreError::Unavailable {
                        reason: reason.to_owned(),
                        outcome: Outcome::NoEffect,
                    });
                });
            }
        }
    }

    /// One batch out of what waits, as large as a batch may be.
    fn commit_some(&mut self, requests: &mut impl Iterator<Item = Request>) {
        let Some(spaces) = self.current.read().clone() else { return };
        let mut batch = Batch::new(&spaces);
        let mut answers = Vec::new();
        let mut sync = false;
        let mut count = 0_u64;
        for request in requests.by_ref() {
            sync |= request.needs_sync();
            count += 1;
            answers.extend(request.apply(&mut batch, &self.heads));
            if batch.bytes() >= MOST_BYTES {
                break;
            }
        }
        let moved = batch.heads().clone();
        let since = Instant::now();
        let committed = match batch.finish() {
            None => Ok(()),
            Some(batch) => batch
                // The journal grows, and `fdatasync` writes the new size too: what is needed to find the data again.
                .durability(if sync { Some(PersistMode::SyncData) } else { Some(PersistMode::Buffer) })
                .commit()
                .map_err(|error| Failed(error.to_string())),
        };
        drop(spaces);
        match &committed {
            Ok(()) => {
                self.heads.extend(moved.iter().map(|(log, seq)| (*log, *seq)));
                if !moved.is_empty()
                    && let Err(error) = self.file.write(&self.heads)
                {
                    tracing::warn!(%error, "the side file of heads could not be written");
                }
                self.count(sync, count, since.elapsed());
            }
            Err(Failed(reason)) => {
                tracing::error!(
                    reason,
                    "a commit failed; the store is reopened before it takes writes again"
                );
                self.broken = Some((reason.clone(), Instant::now()));
            }
        }
        for answer in answers {
            answer(committed.clone());
        }
    }

    fn count(&self, sync: bool, requests: u64, took: Duration) {
        let mut commits = self.commits.lock();
        if sync {
            commits.synced += 1;
            commits.syncing += took;
        } else {
            commits.unsynced += 1;
        }
        commits.requests += requests;
    }

    /// Reopens a store whose last write failed. What the failed batch wrote may stand afterwards, durable, or not at all.
    fn mend(&mut self) -> Result<(), String> {
        let Some((reason, since)) = self.broken.clone() else { return Ok(()) };
        if since.elapsed() < REOPEN_EVERY {
            return Err(reason);
        }
        self.broken = Some((reason.clone(), Instant::now()));
        if self.guard.check(&self.config.dir).is_err() {
            return Err(reason);
        }
        match self.reopen() {
            Ok(()) => {
                tracing::info!("the store was reopened and takes writes again");
                self.broken = None;
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "the store cannot be reopened yet");
                Err(reason)
            }
        }
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        // Looked at before the old handle goes: while the disk still fails, reads go on through it.
        open::probe(&self.config.dir)?;
        let mut current = self.current.write();
        // Reads that hold the old handle finish on it; they are short. The new one may only be opened behind it.
        while current.as_ref().is_some_and(|spaces| Arc::strong_count(spaces) > 1) {
            std::thread::sleep(Duration::from_millis(1));
        }
        *current = None;
        let spaces = open::reopen(&self.config)?;
        for (log, head) in &mut self.heads {
            *head = spaces.last_log_row(*log)?.map_or(*head, |row| row.last_seq);
        }
        *current = Some(Arc::new(spaces));
        Ok(())
    }
}
