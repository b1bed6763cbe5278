//! The one thread that writes: takes everything that waits, builds one batch, syncs it, then answers.
//!
//! The more load, the more requests share a sync. A batch becomes visible only after its sync, since the engine
//! underneath writes its journal and syncs it before it fills its memtables; a batch of projections alone is not synced,
//! because its rows are functions of logs that were. After a write that failed, reads go on, writes are refused, and the
//! store is opened anew as soon as the disk takes writes again. It must not know what a request means.

use super::batch::Batch;
use super::heads::{HeadsFile, Said};
use super::layout::Spaces;
use super::metrics::Counters;
use super::space::Guard;
use super::{Current, EmbeddedConfig, open};
use crate::engine::{Append, Conditional, LogKey, LogRow, ProjectedBatch, Projection, RowKey, Write};
use crate::{Outcome, StoreError};
use bytes::Bytes;
use fjall::PersistMode;
use p92_kernel::ShardCount;
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Requests that may wait; whoever comes then waits for a place, which is how a slow disk slows its callers.
const WAITING: usize = 4_096;
/// A batch closes at this many requests or bytes, so that one sync stays short.
const MOST_REQUESTS: usize = 4_096;
const MOST_BYTES: usize = 1024 * 1024;
/// After a failed write the store is opened anew after the first of these, then after twice as long each time.
const REOPEN_FIRST: Duration = Duration::from_millis(100);
const REOPEN_MOST: Duration = Duration::from_secs(5);

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the committer is asked.
pub enum Request {
    /// Not synced on their own account unless `sync`.
    Write {
        writes: Vec<Write>,
        sync: bool,
        answer: Answer<()>,
    },
    Insert {
        key: RowKey,
        value: Bytes,
        answer: Answer<Conditional>,
    },
    CompareAndSet {
        key: RowKey,
        expected: Option<u64>,
        value: Bytes,
        answer: Answer<Conditional>,
    },
    CompareAndDelete {
        key: RowKey,
        expected: u64,
        answer: Answer<Conditional>,
    },
    Project {
        batch: ProjectedBatch,
        answer: Answer<Projection>,
    },
    Append {
        log: LogKey,
        row: LogRow,
        before: Vec<Write>,
        answer: Answer<Append>,
    },
}

/// A request with its place among those that wait.
type Queued = (Request, OwnedSemaphorePermit);

/// The way to the thread.
#[derive(Debug)]
pub struct Committer {
    requests: Mutex<Option<mpsc::Sender<Queued>>>,
    places: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread starts with.
pub struct Start {
    pub current: Current,
    pub config: EmbeddedConfig,
    pub found: Said,
    pub shards: ShardCount,
    pub counters: Arc<Counters>,
}

impl Committer {
    /// Starts the thread.
    pub fn start(start: Start) -> Result<Self, StoreError> {
        let failed = open::io_refused(&start.config.dir, "the store cannot start");
        let file = HeadsFile::open(&start.config.dir, &start.found).map_err(&failed)?;
        let (requests, waiting) = mpsc::channel();
        let run = Run {
            guard: Guard::new(start.config.free_space.clone(), start.config.free_floor_mib),
            commit: start.found.commit,
            start,
            file,
            broken: None,
        };
        let thread = std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || run.run(&waiting))
            .map_err(&failed)?;
        Ok(Self {
            requests: Mutex::new(Some(requests)),
            places: Arc::new(Semaphore::new(WAITING)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Hands over a request; waits while too many wait.
    pub async fn send(&self, request: Request) -> Result<(), StoreError> {
        let closed = || StoreError::Unavailable {
            reason: "the store is closed".to_owned(),
            outcome: Outcome::NoEffect,
        };
        let place = self.places.clone().acquire_owned().await.map_err(|_| closed())?;
        let requests = self.requests.lock();
        requests.as_ref().and_then(|requests| requests.send((request, place)).ok()).ok_or_else(closed)
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        WAITING.saturating_sub(self.places.available_permits())
    }

    /// Ends the thread after everything that waits.
    pub fn close(&self) {
        *self.requests.lock() = None;
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // It catches what panics; if it still ended so, everybody who waited has been told.
            let _ = thread.join();
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.close();
    }
}

/// An answer that waits for the commit.
type Waiting = Box<dyn FnOnce(Result<(), &Failed>) + Send>;

/// A commit that failed.
struct Failed {
    reason: String,
    outcome: Outcome,
}

fn waiting<T: Send + 'static>(answer: Answer<T>, result: Result<T, StoreError>) -> Waiting {
    Box::new(move |committed| {
        let result = match committed {
            Ok(()) => result,
            Err(Failed { reason, outcome }) => result
                .and_then(|_| Err(StoreError::Unavailable { reason: reason.clone(), outcome: *outcome })),
        };
        // Whoever asked may have gone.
        let _ = answer.send(result);
    })
}

impl Request {
    /// Adds it to the batch.
    fn apply(self, batch: &mut Batch<'_>) -> Waiting {
        match self {
            Self::Write { writes, sync, answer } => waiting(answer, batch.write(&writes, sync)),
            Self::Insert { key, value, answer } => waiting(answer, batch.insert(&key, &value)),
            Self::CompareAndSet { key, expected, value, answer } => {
                waiting(answer, batch.compare_and_set(&key, expected, &value))
            }
            Self::CompareAndDelete { key, expected, answer } => {
                waiting(answer, batch.compare_and_delete(&key, expected))
            }
            Self::Project { batch: projected, answer } => waiting(answer, batch.project(&projected)),
            Self::Append { log, row, before, answer } => waiting(answer, batch.append(log, &row, &before)),
        }
    }

    /// Answers without doing it.
    fn refuse(self, error: StoreError) {
        // Whoever asked may have gone.
        match self {
            Self::Write { answer, .. } => drop(answer.send(Err(error))),
            Self::Insert { answer, .. }
            | Self::CompareAndSet { answer, .. }
            | Self::CompareAndDelete { answer, .. } => drop(answer.send(Err(error))),
            Self::Project { answer, .. } => drop(answer.send(Err(error))),
            Self::Append { answer, .. } => drop(answer.send(Err(error))),
        }
    }
}

/// Why the engine takes no writes, and when it is opened anew.
struct Broken {
    reason: String,
    next: Instant,
    wait: Duration,
}

struct Run {
    start: Start,
    file: HeadsFile,
    guard: Guard,
    /// The number of the last commit, synced or not.
    commit: u64,
    broken: Option<Broken>,
}

impl Run {
    fn run(mut self, requests: &mpsc::Receiver<Queued>) {
        loop {
            let first = match &self.broken {
                None => requests.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
                Some(broken) => requests.recv_timeout(broken.next.saturating_duration_since(Instant::now())),
            };
            match first {
                Ok(first) => self.serve(first, requests),
                Err(mpsc::RecvTimeoutError::Timeout) => self.mend(),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        if let Err(error) = self.file.sync() {
            tracing::warn!(%error, "the side file of heads could not be synced");
        }
    }

    fn serve(&mut self, first: Queued, requests: &mpsc::Receiver<Queued>) {
        if self.broken.as_ref().is_some_and(|broken| broken.next <= Instant::now()) {
            self.mend();
        }
        let refusal = match (&self.broken, self.guard.check(&self.start.config.dir)) {
            (Some(broken), _) => {
                Some(StoreError::Unavailable { reason: broken.reason.clone(), outcome: Outcome::NoEffect })
            }
            (None, Err((free_mib, floor_mib))) => {
                self.start.counters.refused_full();
                Some(StoreError::Full { free_mib, floor_mib })
            }
            (None, Ok(())) => None,
        };
        match refusal {
            Some(refusal) => first.0.refuse(refusal),
            None => self.commit_waiting(first, requests),
        }
    }

    /// One batch out of what waits, as large as a batch may be.
    fn commit_waiting(&mut self, first: Queued, requests: &mpsc::Receiver<Queued>) {
        let current = self.start.current.read().clone();
        let Some(spaces) = current else {
            let reason = "the store is closed".to_owned();
            return first.0.refuse(StoreError::Unavailable { reason, outcome: Outcome::NoEffect });
        };
        let mut answers = Vec::new();
        let mut places = Vec::new();
        // A panic of the engine underneath, on damage that it did not expect, must cost this batch only.
        let committed = catch_unwind(AssertUnwindSafe(|| {
            let mut batch = Batch::new(&spaces, &self.start.found.heads);
            let mut next = Some(first);
            while let Some((request, place)) = next.take() {
                answers.push(request.apply(&mut batch));
                places.push(place);
                if batch.bytes() < MOST_BYTES && answers.len() < MOST_REQUESTS {
                    next = requests.try_recv().ok();
                }
            }
            commit(&spaces, batch, self.commit + 1)
        }));
        drop(spaces);
        let committed = committed.unwrap_or_else(|_| {
            Err(Failed { reason: "the engine panicked in a commit".to_owned(), outcome: Outcome::Unknown })
        });
        match &committed {
            Ok(None) => {}
            Ok(Some(done)) => self.committed(done, answers.len()),
            Err(failed) => self.failed(failed),
        }
        drop(places);
        for answer in answers {
            answer(committed.as_ref().map(|_| ()));
        }
    }

    fn committed(&mut self, done: &Done, requests: usize) {
        self.commit += 1;
        self.start.found.heads.extend(&done.moved);
        if done.synced {
            self.start.found.commit = self.commit;
            if let Err(error) = self.file.write(&self.start.found) {
                tracing::warn!(%error, "the side file of heads could not be written");
            }
        }
        self.start.counters.committed(requests, done.synced, done.took);
    }

    fn failed(&mut self, failed: &Failed) {
        tracing::error!(
            reason = failed.reason,
            "a commit failed; the store is opened anew before it takes writes again"
        );
        self.start.counters.failed();
        self.broken = Some(Broken {
            reason: failed.reason.clone(),
            next: Instant::now() + REOPEN_FIRST,
            wait: REOPEN_FIRST,
        });
    }

    /// Opens a store anew whose last write failed. What the failed batch wrote stands afterwards, durable, or does not.
    fn mend(&mut self) {
        if let Err(error) = self.reopen() {
            tracing::warn!(%error, "the store cannot be opened anew yet");
            if let Some(broken) = &mut self.broken {
                broken.wait = (broken.wait * 2).min(REOPEN_MOST);
                broken.next = Instant::now() + broken.wait;
            }
            return;
        }
        tracing::info!("the store was opened anew and takes writes again");
        self.start.counters.reopened();
        self.broken = None;
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        let config = &self.start.config;
        // Looked at before the old handle goes: while the disk still fails, reads go on through it.
        if let Err((free_mib, floor_mib)) = self.guard.check(&config.dir) {
            return Err(StoreError::Full { free_mib, floor_mib });
        }
        open::probe(&config.dir).map_err(open::io_refused(&config.dir, "the disk still refuses writes"))?;
        let mut current = self.start.current.write();
        // Reads that hold the old handle finish on it; they are short. The new one may only be opened behind it.
        while current.as_ref().is_some_and(|spaces| Arc::strong_count(spaces) > 1) {
            std::thread::sleep(Duration::from_millis(1));
        }
        *current = None;
        let spaces = open::open_checked(config, &self.start.found)?;
        let found = open::found(&spaces, self.start.shards)?;
        self.file.write(&found).map_err(open::io_refused(&config.dir, "the side file cannot be written"))?;
        self.commit = found.commit;
        self.start.found = found;
        *current = Some(Arc::new(spaces));
        Ok(())
    }
}

/// A batch that was committed.
struct Done {
    moved: super::heads::Heads,
    synced: bool,
    took: Duration,
}

fn commit(spaces: &Spaces, batch: Batch<'_>, number: u64) -> Result<Option<Done>, Failed> {
    if batch.is_empty() {
        return Ok(None);
    }
    let since = Instant::now();
    wait_for_workers(spaces)?;
    let synced = batch.needs_sync();
    let (batch, moved) = batch.finish(number);
    // `fdatasync` is enough: it also writes the metadata without which the data could not be read back, such as the
    // size of a journal that grew and the place of what was a hole. It leaves out times, which nobody reads.
    let mode = if synced { PersistMode::SyncData } else { PersistMode::Buffer };
    match batch.durability(Some(mode)).commit() {
        Ok(()) => {
            // The batch stands whatever becomes of this; if the engine has failed, the next batch is refused by it.
            if let Err(error) = spaces.seal_full() {
                tracing::warn!(%error, "a full memtable could not be sealed");
            }
            Ok(Some(Done { moved, synced, took: since.elapsed() }))
        }
        // Refused before anything was written: a thread of the engine failed earlier.
        Err(error @ fjall::Error::Poisoned) => {
            Err(Failed { reason: error.to_string(), outcome: Outcome::NoEffect })
        }
        Err(error) => Err(Failed { reason: error.to_string(), outcome: Outcome::Unknown }),
    }
}

/// The engine underneath lets a writer wait for its threads without end, even when they have failed; so it is waited for
/// here, where their failure is noticed.
fn wait_for_workers(spaces: &Spaces) -> Result<(), Failed> {
    while spaces.is_behind() {
        if let Err(error) = spaces.database.persist(PersistMode::Buffer) {
            return Err(Failed { reason: error.to_string(), outcome: Outcome::NoEffect });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
