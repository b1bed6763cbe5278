//! Rebuilding a view beside the live one, without a pause, across processes (ARCHITECTURE §3.9).
//!
//! The other table is emptied and the log replayed into it, shard by shard. Then each shard's writer, wherever it runs,
//! catches up at a group's end and writes both from there on. When all do, the tables are read side by side; then the pointer
//! moves, and the old table is left when every living member has noted it. Everything that one process must know of
//! another stands in rows of the store, so that one process and many take the same way.
//!
//! | room | noun |
//! |---|---|
//! | `replay` | a log, played into one side |
//! | `joins` | the rows by which rebuild and writers speak, and the writer's part |
//! | `compare` | two sides, held against each other |

mod compare;
pub mod joins;
mod replay;

pub use joins::join;
pub use replay::replay;

use crate::platform::Shared;
use crate::pointers::Pointer;
use crate::{ProjectionError, View, tables};
use futures::future::BoxFuture;
use p92_kernel::clock;
use p92_storage::{LogKey, RowKey, StoreError, TableRef, Write};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a rebuild waits for writers or members without seeing any of them come.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often it begins again because shards changed hands at the wrong moment.
const ATTEMPTS: u32 = 5;

/// Why a view was not rebuilt. The live table answers as before.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("an event cannot be projected: {0}")]
    Projection(#[from] ProjectionError),
    #[error("an event of shard {0} cannot be projected: {1}")]
    Writer(p92_kernel::Shard, String),
    #[error("there is no view {0}")]
    NoSuchView(String),
    #[error("the member {0} rebuilds it at this moment")]
    Elsewhere(String),
    #[error("it was waited in vain for {0}")]
    InVain(String),
    #[error("{0} changed hands while it joined")]
    Disturbed(String),
}

/// What a rebuild found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Events replayed.
    pub events: u64,
    /// Rows compared, if asked to.
    pub compared: u64,
    /// Events that are not in it, because their reader put them aside or was told to skip them.
    pub left_out: u64,
    /// The first row that was not equal.
    pub difference: Option<String>,
}

/// What a rebuild tells while it runs: events replayed, and how many there are about.
pub type Watch = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Asks a writer of this process to catch up to its own place and write both tables from there.
#[derive(Debug)]
pub struct Join {
    pub view: Arc<dyn View>,
    pub rebuild: u64,
}

/// Into which table a rebuild replays, and which rebuild it is.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub target: TableRef,
    number: u64,
}

impl Run {
    /// Its place in a log. No two rebuilds share it: it is removed by a plain delete, and behind one of those a CQL store
    /// takes no position any more.
    fn checkpoint(self, log: LogKey) -> RowKey {
        tables::checkpoint_key(&format!("rebuild/{}/{:016x}", self.target, self.number), log)
    }
}

/// A look at rebuilds by the writers of this process, so that none of them waits for the next one by the clock.
pub type Look<'a> = &'a (dyn Fn() -> BoxFuture<'a, Result<(), StoreError>> + Send + Sync);

/// A rebuild of one view by this process.
pub struct Rebuild<'a> {
    pub shared: &'a Shared,
    pub view: Arc<dyn View>,
    /// The logs that it is a function of.
    pub logs: Vec<LogKey>,
    pub look: Look<'a>,
    pub watch: Watch,
}

impl std::fmt::Debug for Rebuild<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rebuild").field("view", &self.view).finish_non_exhaustive()
    }
}

impl Rebuild<'_> {
    /// Rebuilds the view, and compares if asked to. The pointer moves in the end, whatever the comparison says: the rebuilt
    /// table is what the log says.
    pub async fn run(&self, verify: bool) -> Result<Report, RebuildError> {
        let mut attempt = 1;
        loop {
            match self.once(verify).await {
                Err(error @ RebuildError::Disturbed(_)) if attempt < ATTEMPTS => {
                    tracing::warn!(view = self.view.table().name, %error, "a rebuild begins again");
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    async fn once(&self, verify: bool) -> Result<Report, RebuildError> {
        let (engine, states) = (&*self.shared.platform.engine, &self.shared.view_states);
        let table = self.view.table();
        let run = self.begin().await?;
        let mut report = Report::default();
        let rebuilt = self.switch(run, verify, &mut report).await;
        let pointer = states.pointer(table);
        if pointer.rebuild == run.number {
            let over = Pointer { rebuild: 0, by: String::new(), ..pointer.clone() };
            states.move_pointer(engine, table, &pointer, over).await?;
        }
        if rebuilt.is_ok() {
            // Every living member reads and writes the other one.
            engine.clear(table.side(pointer.side.other())).await?;
        }
        self.tidy(run).await?;
        rebuilt.map(|()| report)
    }

    /// Says that a rebuild goes on. Whoever ran one before is dead, or not heard any more.
    async fn begin(&self) -> Result<Run, RebuildError> {
        let (platform, states) = (&self.shared.platform, &self.shared.view_states);
        let table = self.view.table();
        loop {
            states.load(&*platform.engine, &[table]).await?;
            let pointer = states.pointer(table);
            let another = pointer.rebuild != 0 && pointer.by != platform.member;
            if another && platform.membership.lives(&pointer.by).await? {
                return Err(RebuildError::Elsewhere(pointer.by));
            }
            let number = u64::from_be_bytes(clock::random_bytes(&*platform.random)).max(1);
            let target = table.side(pointer.side.other());
            let to = Pointer { rebuild: number, by: platform.member.clone(), ..pointer.clone() };
            if states.move_pointer(&*platform.engine, table, &pointer, to).await? {
                return Ok(Run { target, number });
            }
        }
    }

    /// Fills the other table until all writers write both, then moves the pointer and waits until everybody has noted it.
    async fn switch(&self, run: Run, verify: bool, report: &mut Report) -> Result<(), RebuildError> {
        let (platform, states) = (&self.shared.platform, &self.shared.view_states);
        let (engine, table) = (&*platform.engine, self.view.table());
        // Whoever joined a rebuild before would write into a table that is being emptied.
        self.all_noted(run).await?;
        engine.clear(run.target).await?;
        // Asked for, since nobody here may follow the logs of slots that others hold.
        let heads = platform.heads.ask(self.view.source()).await?;
        let heads = |log: &LogKey| heads.get(&log.shard).copied().unwrap_or_default();
        let total: u64 = self.logs.iter().map(|log| heads(log).0).sum();
        for log in &self.logs {
            let left_out = joins::left_out(self.shared, &*self.view, *log).await?;
            report.events += replay(platform, &*self.view, run, *log, heads(log), &left_out).await?;
            report.left_out += left_out.len() as u64;
            (self.watch)(report.events, total.max(report.events));
            joins::ask(engine, table, run.number, *log).await?;
        }
        report.events += self.all_joined(run).await?;
        (self.watch)(report.events, total.max(report.events));
        let live = states.pointer(table);
        if verify {
            compare::compare(engine, table.side(live.side), run.target, report).await?;
        }
        let flipped = Pointer { side: live.side.other(), ..live.clone() };
        if live.rebuild != run.number || !states.move_pointer(engine, table, &live, flipped).await? {
            return Err(RebuildError::Elsewhere("that took this one for dead".to_owned()));
        }
        self.all_noted(run).await
    }

    /// Waits until every living member of the service has noted what the pointer says.
    async fn all_noted(&self, run: Run) -> Result<(), RebuildError> {
        let platform = &self.shared.platform;
        let table = self.view.table();
        let mut waits = Waits::new();
        loop {
            (self.look)().await?;
            let version = self.shared.view_states.pointer(table).version;
            let noted = joins::noted(&*platform.engine, table, run.number).await?;
            let serving = platform.membership.serving(self.shared.service).await?;
            let missing: BTreeSet<String> = serving
                .into_iter()
                .filter(|member| noted.get(member).copied() < version)
                .map(|member| format!("the member {member}, to note it"))
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            waits.for_these(table.name, missing).await?;
        }
    }

    /// Waits until every writing shard has joined, and this is accepted. Returns how many events they replayed.
    async fn all_joined(&self, run: Run) -> Result<u64, RebuildError> {
        let platform = &self.shared.platform;
        let (engine, table) = (&*platform.engine, self.view.table());
        let mut waits = Waits::new();
        loop {
            (self.look)().await?;
            let (mut missing, mut events) = (BTreeSet::new(), 0);
            let writers = joins::writers(engine, table, run.number).await?;
            for log in &self.logs {
                let Some((version, row)) = writers.get(log) else {
                    return Err(RebuildError::Elsewhere("that took this one for dead".to_owned()));
                };
                events += row.events;
                if row.accepted {
                    continue;
                }
                if !row.problem.is_empty() {
                    return Err(RebuildError::Writer(log.shard, row.problem.clone()));
                }
                let (member, epoch) = platform.membership.owner(self.shared.service, log.shard).await?;
                // If the slot is another's by now, that one has read the row and speaks for itself; see `joins::find_out`.
                let stands = (&member, epoch) == (&row.member, row.epoch);
                if row.void {
                    return Err(RebuildError::Disturbed(format!("shard {}", log.shard)));
                }
                let accepted = p92_proto::event::v1::ViewWriterRow { accepted: true, ..row.clone() };
                if row.both
                    && stands
                    && joins::put(engine, table, run.number, *log, (*version, &accepted)).await?
                {
                    continue;
                }
                missing.insert(match &*member {
                    "" => format!("shard {}, which nobody holds", log.shard),
                    member => format!("shard {}, held by the member {member}", log.shard),
                });
            }
            if missing.is_empty() {
                return Ok(events);
            }
            waits.for_these(table.name, missing).await?;
        }
    }

    /// Removes what the rebuild has put down, besides the rows of the view.
    async fn tidy(&self, run: Run) -> Result<(), StoreError> {
        let engine = &*self.shared.platform.engine;
        for log in &self.logs {
            let checkpoint = run.checkpoint(*log);
            for key in [tables::note_key(&checkpoint), checkpoint] {
                engine.write(vec![Write { key, value: None }]).await?;
            }
        }
        joins::remove(engine, self.view.table(), run.number).await
    }
}

/// Waiting that ends when nobody comes any more.
struct Waits {
    since: Instant,
    told: Instant,
    missing: BTreeSet<String>,
    pause: Duration,
}

impl Waits {
    fn new() -> Self {
        let now = Instant::now();
        Self { since: now, told: now, missing: BTreeSet::new(), pause: Duration::from_millis(2) }
    }

    /// Waits a little for those that are missing.
    async fn for_these(&mut self, view: &str, missing: BTreeSet<String>) -> Result<(), RebuildError> {
        const TELL: Duration = Duration::from_secs(10);
        if missing != self.missing {
            (self.missing, self.since) = (missing, Instant::now());
        }
        let names = || self.missing.iter().cloned().collect::<Vec<_>>().join("; ");
        if self.since.elapsed() >= PATIENCE {
            return Err(RebuildError::InVain(names()));
        }
        if self.told.elapsed() >= TELL {
            tracing::warn!(view, waits_for = names(), "a rebuild waits");
            self.told = Instant::now();
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(Duration::from_millis(250));
        Ok(())
    }
}
