//! How a process ends: not ready, a while of serving on, no more accepting, the rest of the work, the last steps, exit.
//!
//! ```text
//! Running ─signal→ Draining ─drain_delay→ Stopping ─work done, or its time over→ Finishing ─steps in order→ Outcome
//! ```
//!
//! While it drains, whoever sends traffic learns that it is not ready, and what was sent meanwhile is still answered:
//! that is what makes a restart lose no request. A second signal ends at once. It refuses to know what the work is.

mod times;

pub use times::{ShutdownConfig, Times};

use futures::future::BoxFuture;
use futures::stream::{Stream, StreamExt as _};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// Serving, and not ready: nobody should send more.
    Draining,
    /// Accepting nothing; what is under way ends.
    Stopping,
    /// The last steps.
    Finishing,
}

/// Why the process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Asked by signal.
    Asked,
    /// Something without which it cannot go on has ended.
    Failed(String),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was finished.
    Clean,
    /// Something failed, or was not finished in time; the log says what.
    Unclean,
    /// A second signal came first.
    Forced,
}

impl Outcome {
    /// The exit code.
    #[must_use]
    pub const fn exit_code(self) -> i32 {
        match self {
            Self::Clean => 0,
            Self::Unclean => 1,
            // 128 + SIGINT, as shells say it.
            Self::Forced => 130,
        }
    }
}

/// How a part of the process may end: with nothing to say, or with an error.
pub trait Ended: 'static {
    /// What it failed with, if it did, with all causes.
    fn failure(self) -> Option<String>;
}

impl Ended for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static> Ended for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| crate::status::chain(error.into().as_ref()))
    }
}

struct Step {
    name: &'static str,
    run: BoxFuture<'static, Result<(), String>>,
}

#[derive(Default)]
struct Work {
    running: BTreeMap<u64, String>,
    next: u64,
    steps: Vec<Step>,
}

struct Shared {
    times: Times,
    phase: watch::Sender<Phase>,
    stopping: CancellationToken,
    cause: watch::Sender<Option<Cause>>,
    work: Mutex<Work>,
    changed: watch::Sender<u64>,
}

/// The end of a process, as all its parts see it. Clones are the same.
#[derive(Clone)]
pub struct Shutdown(Arc<Shared>);

impl std::fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Shutdown").field(&self.phase()).finish()
    }
}

impl Shutdown {
    /// Nothing ends yet.
    #[must_use]
    pub fn new(times: Times) -> Self {
        Self(Arc::new(Shared {
            times,
            phase: watch::Sender::new(Phase::Running),
            stopping: CancellationToken::new(),
            cause: watch::Sender::new(None),
            work: Mutex::default(),
            changed: watch::Sender::new(0),
        }))
    }

    /// How far the end has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.phase.borrow()
    }

    /// Every later phase.
    #[must_use]
    pub fn phases(&self) -> watch::Receiver<Phase> {
        self.0.phase.subscribe()
    }

    /// Resolves when `phase` is reached.
    pub async fn reached(&self, phase: Phase) {
        let mut phases = self.phases();
        // The sender lives as long as `self`.
        let _reached = phases.wait_for(|now| *now >= phase).await;
    }

    /// A token that is cancelled when nothing more may be accepted and loops should end. A part that can be stopped
    /// alone takes `stopping().child_token()`.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.0.stopping.child_token()
    }

    /// Begins the end from within. The first cause stays.
    pub fn begin(&self, cause: Cause) {
        self.0.cause.send_if_modified(|held| {
            let first = held.is_none();
            held.get_or_insert(cause);
            first
        });
    }

    /// Work that the process waits for before its last steps; it should watch `stopping`. Named in the log if it does
    /// not end in time.
    pub fn wait_for<F>(&self, name: &str, work: F) -> impl Future<Output = F::Output> + use<F>
    where
        F: Future,
    {
        let guard = self.hold(name);
        async move {
            let output = work.await;
            drop(guard);
            output
        }
    }

    /// A task that must run until `stopping`. If it ends before, by itself or by a panic, the process ends: a part
    /// that is silently missing is worse than a restart.
    pub fn spawn<F>(&self, name: &'static str, work: F)
    where
        F: Future + Send + 'static,
        F::Output: Ended + Send,
    {
        let task = tokio::spawn(work);
        let this = self.clone();
        tokio::spawn(self.wait_for(name, async move {
            let failed = match task.await {
                Ok(output) => output.failure().map(|error| format!("failed: {error}")),
                Err(_) => Some("panicked".to_owned()),
            };
            if this.phase() < Phase::Stopping {
                let how = failed.as_deref().unwrap_or("ended by itself");
                this.begin(Cause::Failed(format!("{name} {how}")));
            } else if let Some(failed) = failed {
                tracing::error!(part = name, failed, "a part did not stop cleanly");
            }
        }));
    }

    fn hold(&self, name: &str) -> Held {
        let mut work = self.0.work.lock();
        let number = work.next;
        work.next += 1;
        work.running.insert(number, name.to_owned());
        Held { shared: Arc::clone(&self.0), number }
    }

    /// A last step, after all work has ended. Steps run one after the other, in the order in which they were named.
    pub fn finally<F>(&self, name: &'static str, step: F)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.0.work.lock().steps.push(Step { name, run: Box::pin(step) });
    }

    /// Runs until the first signal or `begin`, then ends everything in order. A second signal cuts it short.
    pub async fn run(&self, signals: impl Stream<Item = Signal>) -> Outcome {
        let signals = signals.fuse();
        tokio::pin!(signals);
        let mut causes = self.0.cause.subscribe();
        let cause = tokio::select! {
            signal = signals.select_next_some() => { tracing::info!(?signal, "asked to end"); Cause::Asked }
            cause = causes.wait_for(Option::is_some) => cause.ok().and_then(|c| c.clone()).unwrap_or(Cause::Asked),
        };
        self.begin(cause.clone());
        if let Cause::Failed(why) = &cause {
            tracing::error!(why, "the process cannot go on and ends");
        }
        tokio::select! {
            clean = self.end() => match cause {
                Cause::Asked if clean => Outcome::Clean,
                _ => Outcome::Unclean,
            },
            signal = signals.select_next_some() => {
                tracing::warn!(?signal, "asked again: ending at once");
                Outcome::Forced
            }
        }
    }

    /// Everything after the first signal. Whether all of it was finished.
    async fn end(&self) -> bool {
        let times = self.0.times;
        self.enter(Phase::Draining);
        tokio::time::sleep(times.drain).await;
        self.enter(Phase::Stopping);
        self.0.stopping.cancel();
        let mut clean = tokio::time::timeout(times.work, self.idle()).await.is_ok();
        if !clean {
            let late: Vec<_> = self.0.work.lock().running.values().cloned().collect();
            tracing::error!(late = late.join(", "), after = ?times.work, "not everything ended in time");
        }
        self.enter(Phase::Finishing);
        let steps = std::mem::take(&mut self.0.work.lock().steps);
        for Step { name, run } in steps {
            // A step that fails does not keep the next ones from being taken.
            match tokio::time::timeout(times.step, run).await {
                Ok(Ok(())) => tracing::debug!(step = name, "done"),
                Ok(Err(why)) => {
                    clean = false;
                    tracing::error!(step = name, why, "a last step failed");
                }
                Err(_elapsed) => {
                    clean = false;
                    tracing::error!(step = name, after = ?times.step, "a last step took too long");
                }
            }
        }
        clean
    }

    fn enter(&self, phase: Phase) {
        tracing::info!(?phase, "ending");
        self.0.phase.send_replace(phase);
    }

    async fn idle(&self) {
        let mut changed = self.0.changed.subscribe();
        // The sender lives as long as `self`.
        let _idle = changed.wait_for(|_| self.0.work.lock().running.is_empty()).await;
    }
}

/// Work that has not ended.
struct Held {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.work.lock().running.remove(&self.number);
        self.shared.changed.send_modify(|n| *n += 1);
    }
}

/// What the operating system may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
}

/// The signals that end this process, from now on.
pub fn signals() -> std::io::Result<impl Stream<Item = Signal>> {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    let each = |signal, kind| {
        futures::stream::unfold(signal, move |mut signal: tokio::signal::unix::Signal| async move {
            signal.recv().await.map(|()| (kind, signal))
        })
    };
    let (terminate, interrupt) = (each(terminate, Signal::Terminate), each(interrupt, Signal::Interrupt));
    Ok(futures::stream::select(Box::pin(terminate), Box::pin(interrupt)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::channel::mpsc;
    use std::time::Duration;
    use tokio::time::Instant;

    /// A process whose signals the test sends, and what it did, when.
    struct Process {
        shutdown: Shutdown,
        signals: mpsc::UnboundedSender<Signal>,
        end: tokio::task::JoinHandle<(Outcome, Duration)>,
        log: Arc<Mutex<Vec<(String, Duration)>>>,
        began: Instant,
    }

    impl Process {
        fn new(times: Times) -> Self {
            let shutdown = Shutdown::new(times);
            let (signals, received) = mpsc::unbounded();
            let began = Instant::now();
            let end = tokio::spawn({
                let shutdown = shutdown.clone();
                async move { (shutdown.run(received).await, began.elapsed()) }
            });
            Self { shutdown, signals, end, log: Arc::default(), began }
        }

        fn note(&self, what: &str) -> impl Fn() + Send + Sync + 'static + use<> {
            let (log, began, what) = (Arc::clone(&self.log), self.began, what.to_owned());
            move || log.lock().push((what.clone(), began.elapsed()))
        }

        fn step(&self, name: &'static str, result: Result<(), String>) {
            let note = self.note(name);
            self.shutdown.finally(name, async move {
                note();
                result
            });
        }

        fn signal(&self) {
            self.signals.unbounded_send(Signal::Terminate).unwrap();
        }

        fn happened(&self) -> Vec<(String, u64)> {
            self.log.lock().iter().map(|(what, at)| (what.clone(), at.as_secs())).collect()
        }
    }

    fn at(what: &str, seconds: u64) -> (String, u64) {
        (what.to_owned(), seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn serves_on_then_stops_then_takes_its_steps_in_order() {
        let process = Process::new(Times::CLUSTER);
        let (stopping, stopped) = (process.shutdown.stopping(), process.note("stopped accepting"));
        let finished = process.note("last request answered");
        tokio::spawn(process.shutdown.wait_for("server", async move {
            stopping.cancelled().await;
            stopped();
            tokio::time::sleep(Duration::from_secs(2)).await;
            finished();
        }));
        process.step("hand leases over", Ok(()));
        process.step("flush", Ok(()));
        process.signal();
        process.shutdown.reached(Phase::Draining).await;
        assert!(!process.shutdown.stopping().is_cancelled(), "it serves on while it drains");
        assert_eq!(process.happened(), []);
        process.shutdown.reached(Phase::Finishing).await;
        let Process { end, log, .. } = process;
        assert_eq!(end.await.unwrap(), (Outcome::Clean, Duration::from_secs(7)));
        let happened: Vec<_> = log.lock().iter().map(|(what, at)| (what.clone(), at.as_secs())).collect();
        assert_eq!(
            happened,
            [
                at("stopped accepting", 5),
                at("last request answered", 7),
                at("hand leases over", 7),
                at("flush", 7)
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_does_not_end_is_left_behind() {
        let process = Process::new(Times::CLUSTER);
        tokio::spawn(process.shutdown.wait_for("stuck", std::future::pending::<()>()));
        process.step("flush", Ok(()));
        process.signal();
        assert_eq!(process.end.await.unwrap(), (Outcome::Unclean, Duration::from_secs(25)));
        assert_eq!(process.log.lock().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_fails_or_hangs_does_not_stop_the_next() {
        let process = Process::new(Times::ALONE);
        process.step("fails", Err("no".to_owned()));
        process.shutdown.finally("hangs", std::future::pending());
        process.step("flush", Ok(()));
        process.signal();
        let log = Arc::clone(&process.log);
        assert_eq!(process.end.await.unwrap(), (Outcome::Unclean, Duration::from_secs(5)));
        assert_eq!(log.lock().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_at_once() {
        let process = Process::new(Times::CLUSTER);
        process.signal();
        process.shutdown.reached(Phase::Draining).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        process.signal();
        assert_eq!(process.end.await.unwrap(), (Outcome::Forced, Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_ends_by_itself_ends_the_process() {
        let process = Process::new(Times::ALONE);
        process.shutdown.spawn("reader", async { Err::<(), _>("the disk is gone") });
        assert_eq!(process.end.await.unwrap(), (Outcome::Unclean, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_ends_when_asked_is_no_failure() {
        let process = Process::new(Times::CLUSTER);
        let stopping = process.shutdown.stopping();
        process.shutdown.spawn("reader", async move {
            stopping.cancelled().await;
        });
        process.signal();
        assert_eq!(process.end.await.unwrap(), (Outcome::Clean, Duration::from_secs(5)));
    }
}
