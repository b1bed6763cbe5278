//! What a service holds in its hand: its shards' workers, its readers, its reads.

use crate::lease::{Lease, Work};
use crate::membership::{self, Holder};
use crate::metrics::Metrics;
use crate::platform::Shared;
use crate::pointers::ViewStates;
use crate::rebuild::joins::{self, Due};
use crate::rebuild::{Join, Rebuild, RebuildError, Report, Watch};
use crate::round::{Command, Round};
use crate::settle;
use crate::trace;
use crate::view::ViewSet;
use crate::worker::{Holding, Worker};
use crate::{CommandMeta, Consumer, Platform, Reads, Receipt, View, keys::Keys};
use futures::future::BoxFuture;
use p92_kernel::{Elsewhere, Failure, Seq, Service, Shard};
use p92_proto::event::v1;
use p92_storage::{LogKey, StoreError, Table};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long a command waits where its shard is not held before it is told to go elsewhere. Ownership is looked at
/// twice as often.
const SETTLING: Duration = Duration::from_secs(1);

/// What a service brings to its log.
#[derive(Clone, Debug)]
pub struct Spec {
    pub service: Service,
    pub views: Vec<Arc<dyn View>>,
    pub consumers: Vec<Arc<dyn Consumer>>,
}

/// The log of one service in this process.
#[derive(Debug)]
pub struct Runtime {
    pub(crate) shared: Arc<Shared>,
    workers: BTreeMap<Shard, Worker>,
    reads: Reads,
    views: Vec<Arc<dyn View>>,
    /// Where leased readers of views are asked to write both tables.
    joins: Mutex<BTreeMap<LogKey, mpsc::Sender<Join>>>,
    /// One rebuild at a time: a second one of the same view would empty the table that the first one fills.
    rebuilding: tokio::sync::Mutex<()>,
    /// Which version of each view's pointer this member has noted in which rebuild.
    noted: Mutex<BTreeMap<&'static str, (u64, u64)>>,
}

/// The leased readers that a service has, by source and name.
fn leases(spec: &Spec) -> Vec<(Service, Arc<str>, Work)> {
    let mut out = Vec::new();
    let sources: BTreeSet<Service> = spec.views.iter().map(|view| view.source()).collect();
    for source in sources.into_iter().filter(|source| *source != spec.service) {
        let name = settle::reader_of_views(spec.service);
        out.push((source, name.into(), Work::Views(ViewSet::of_source(&spec.views, source))));
    }
    for consumer in &spec.consumers {
        out.push((consumer.source(), consumer.name().into(), Work::Effects(Arc::clone(consumer))));
    }
    out
}

impl Runtime {
    /// Joins the members that may hold this service's slots, and runs what they hold.
    pub async fn start(platform: &Arc<Platform>, spec: Spec) -> Result<Arc<Self>, StoreError> {
        let mut views: Vec<Arc<dyn View>> = vec![Arc::new(Keys::new(spec.service))];
        views.extend(spec.views.iter().cloned());
        let view_states = Arc::new(ViewStates::default());
        let shared = Arc::new(Shared {
            platform: Arc::clone(platform),
            service: spec.service,
            own_views: ViewSet::of_source(&views, spec.service),
            view_states,
            metrics: Metrics::new(spec.service),
            #[cfg(feature = "mutants")]
            mutant: crate::owner::planted(),
        });
        let leases = leases(&spec);
        shared.metrics.begin(platform.shards, leases.iter().map(|(_, name, _)| &**name));
        let readers = leases
            .iter()
            .filter(|(.., work)| matches!(work, Work::Views(_)))
            .map(|(source, name, _)| (*source, Arc::clone(name)))
            .collect();
        let workers = platform
            .shards
            .all()
            .map(|shard| (shard, Worker::start(&shared, LogKey { service: spec.service, shard })))
            .collect();
        let reads = Reads::new(Arc::clone(&shared), readers);
        let runtime = Arc::new(Self {
            shared,
            workers,
            reads,
            views,
            joins: Mutex::default(),
            rebuilding: tokio::sync::Mutex::default(),
            noted: Mutex::default(),
        });
        let held = Arc::downgrade(&runtime);
        let holdings = move || held.upgrade().map(|runtime| runtime.holdings()).unwrap_or_default();
        runtime.shared.metrics.tell_owned(holdings);
        platform.membership.join(runtime.shared.service).await?;
        // As a member: from now on nobody leaves a table before this process has noted that another one answers.
        runtime.load_pointers().await?;
        let mut running = Running { leases, by_shard: BTreeMap::new() };
        let held = platform.membership.slots().borrow().clone();
        running.distribute(&runtime, &held);
        platform.tasks.spawn(follow_slots(Arc::clone(&runtime), running));
        if !platform.engine.capabilities().exclusive {
            platform.tasks.spawn(follow_rebuilds(Arc::clone(&runtime)));
        }
        Ok(runtime)
    }

    /// Has a command decided by the shard's owner. The answer comes when its group and rows stand.
    pub async fn execute<F>(&self, shard: Shard, meta: CommandMeta, command: F) -> Result<Receipt, Failure>
    where
        F: for<'a> FnMut(&'a mut Round) -> BoxFuture<'a, Result<(), Failure>> + Send + 'static,
    {
        let worker = self.workers.get(&shard).ok_or_else(crate::error::not_here)?;
        let mut meta = meta;
        if meta.traceparent.is_empty() {
            meta.traceparent = trace::current();
        }
        self.settled(shard, worker).await?;
        let command: Command = Box::new(command);
        let answer = worker.execute(meta, command).await;
        match answer {
            // Turned away while it waited: whoever holds the shard by now shall be asked.
            Err(failure) if failure.source.as_ref().is_some_and(|source| source.is::<Elsewhere>()) => {
                Err(self.elsewhere(shard).await)
            }
            answer => answer,
        }
    }

    /// Waits a little until this process holds the shard, or until it is known who else does.
    async fn settled(&self, shard: Shard, worker: &Worker) -> Result<(), Failure> {
        let (mut holding, mut holders) = (worker.holding(), self.platform().membership.holders());
        let until = tokio::time::Instant::now() + SETTLING;
        while *holding.borrow_and_update() == Holding::Nothing {
            // What the last look found. Asking the store for each command that waits would keep it from the take-over.
            let holder = holders.borrow_and_update().get(&(self.service(), shard)).cloned();
            let passed = tokio::time::Instant::now() >= until;
            if passed || holder.is_some_and(|holder| holder.lives && !self.is_self(&holder)) {
                return Err(self.elsewhere(shard).await);
            }
            tokio::select! {
                _ = holding.changed() => {}
                _ = holders.changed() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
        Ok(())
    }

    async fn holder(&self, shard: Shard) -> Result<Option<Holder>, Failure> {
        let holder = self.platform().membership.holder(self.service(), shard).await;
        holder.map_err(crate::error::store_failure)
    }

    fn is_self(&self, holder: &Holder) -> bool {
        self.platform().membership.is_self(holder)
    }

    /// Why a command cannot be decided here, and who can, if that is known.
    async fn elsewhere(&self, shard: Shard) -> Failure {
        let holder = match self.holder(shard).await {
            Ok(holder) => holder,
            Err(failure) => return failure,
        };
        let other = holder.filter(|holder| !self.is_self(holder) && !holder.address.is_empty());
        let log = LogKey { service: self.service(), shard };
        crate::error::elsewhere(log, other.map(|holder| holder.address))
    }

    /// The service's tables.
    #[must_use]
    pub const fn reads(&self) -> &Reads {
        &self.reads
    }

    /// The process it runs in.
    #[must_use]
    pub fn platform(&self) -> &Arc<Platform> {
        &self.shared.platform
    }

    /// The service whose log it is.
    #[must_use]
    pub fn service(&self) -> Service {
        self.shared.service
    }

    /// Which of a view's two tables answers reads here.
    #[must_use]
    pub fn answering_side(&self, table: &'static Table) -> p92_storage::Side {
        self.shared.view_states.side(table)
    }

    /// The views of this service.
    #[must_use]
    pub fn views(&self) -> &[Arc<dyn View>] {
        &self.views
    }

    /// Reads which tables answer. Where members share a store, one that does not answer for a moment ends no start.
    async fn load_pointers(&self) -> Result<(), StoreError> {
        let platform = self.platform();
        let mut pause = Duration::from_millis(100);
        loop {
            match self.shared.view_states.load(&*platform.engine, &self.tables()).await {
                Err(error @ StoreError::Unavailable { .. })
                    if !platform.engine.capabilities().exclusive && !platform.stopping.is_cancelled() =>
                {
                    tracing::warn!(service = %self.service(), %error, "which views answer could not be read yet");
                }
                loaded => return loaded,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    fn tables(&self) -> Vec<&'static Table> {
        self.views.iter().map(|view| view.table()).collect()
    }

    /// Looks whether views of this service are rebuilt, notes it, and has the writers of this process join. Whether one is.
    async fn look_at_rebuilds(&self) -> Result<bool, StoreError> {
        let (engine, states) = (&*self.platform().engine, &self.shared.view_states);
        states.load(engine, &self.tables()).await?;
        let mut any = false;
        for view in &self.views {
            let (table, pointer) = (view.table(), states.pointer(view.table()));
            let (rebuild, Some(version)) = (pointer.rebuild, pointer.version) else { continue };
            if rebuild == 0 {
                continue;
            }
            any = true;
            let before = self.noted.lock().get(table.name).copied();
            // Not before whoever reads the table that answered until now has what it reads, and whoever plays into the
            // other one for a rebuild that was given up has ended; that is looked at again.
            let apart = states.has_left(table) && states.joins_only(table, rebuild);
            if before != Some((rebuild, version)) && apart {
                joins::note(engine, table, rebuild, &self.platform().member, version).await?;
                self.noted.lock().insert(table.name, (rebuild, version));
            }
            for (log, (version, row)) in joins::writers(engine, table, rebuild).await? {
                let Some(epoch) = self.platform().membership.epoch(self.service(), log.shard) else {
                    continue;
                };
                match joins::due(&self.shared, table, rebuild, (log, epoch), &row) {
                    Due::Nothing => {}
                    Due::Join => self.ask_to_join(log, Join { view: Arc::clone(view), rebuild }),
                    Due::Void => {
                        let void = v1::ViewWriterRow { void: true, ..row };
                        joins::put(engine, table, rebuild, log, (version, &void)).await?;
                    }
                }
            }
        }
        Ok(any)
    }

    /// Tells the writer of a log, if this process has one. One that is told already, or cannot hear, is told again later.
    fn ask_to_join(&self, log: LogKey, join: Join) {
        let joins = if log.service == self.service() {
            let owns = |worker: &&Worker| *worker.holding().borrow() == Holding::Owning;
            self.workers.get(&log.shard).filter(owns).map(Worker::joins)
        } else {
            self.joins.lock().get(&log).cloned()
        };
        if let Some(joins) = joins {
            let _ = joins.try_send(join);
        }
    }

    /// Rebuilds a view beside the live one; see `rebuild`.
    pub async fn rebuild(&self, name: &str, verify: bool, watch: Watch) -> Result<Report, RebuildError> {
        let view = self.views.iter().find(|view| view.table().name == name).cloned();
        let view = view.ok_or_else(|| RebuildError::NoSuchView(name.to_owned()))?;
        let source = view.source();
        let logs = self.workers.keys().map(|shard| LogKey { service: source, shard: *shard }).collect();
        let _alone = self.rebuilding.lock().await;
        let look = || -> BoxFuture<'_, Result<(), StoreError>> {
            Box::pin(async { self.look_at_rebuilds().await.map(drop) })
        };
        Rebuild { shared: &self.shared, view, logs, look: &look, watch }.run(verify).await
    }

    /// Waits until ownership has settled: every shard is owned here, or held by another member that lives.
    pub async fn ready(&self) {
        let mut holders = self.platform().membership.holders();
        for (shard, worker) in &self.workers {
            let mut holding = worker.holding();
            let slot = (self.service(), *shard);
            let here = async {
                // The worker ends only with the process.
                let _ = holding.wait_for(|holding| *holding == Holding::Owning).await;
            };
            let there = holders.wait_for(|holders| {
                holders.get(&slot).is_some_and(|holder| holder.lives && !self.is_self(holder))
            });
            tokio::select! {
                () = here => {}
                _ = there => {}
            }
        }
    }

    /// Shards that this process has taken over, the epoch under which it last did, and where it closed their logs.
    #[must_use]
    pub fn taken_over(&self) -> Vec<(Shard, u64, Seq)> {
        let taken = self.workers.iter().filter_map(|(shard, worker)| {
            let (epoch, head) = worker.owns_since()?;
            Some((*shard, epoch, head))
        });
        taken.collect()
    }

    /// Shards, and what this process is doing with them.
    #[must_use]
    pub fn holdings(&self) -> Vec<(Shard, Holding)> {
        self.workers.iter().map(|(shard, worker)| (*shard, *worker.holding().borrow())).collect()
    }
}

/// The leased readers that this process runs, by shard.
struct Running {
    leases: Vec<(Service, Arc<str>, Work)>,
    /// Under which epoch each was started: under another one they find out anew which tables to write.
    by_shard: BTreeMap<Shard, (u64, CancellationToken)>,
}

impl Running {
    /// Tells workers and readers which slots are held.
    fn distribute(&mut self, runtime: &Arc<Runtime>, slots: &BTreeMap<(Service, Shard), u64>) {
        for (shard, worker) in &runtime.workers {
            let epoch = slots.get(&(runtime.shared.service, *shard)).copied();
            worker.slot(epoch);
            if self.by_shard.get(shard).map(|(started, _)| *started) == epoch {
                continue;
            }
            if let Some((_, stop)) = self.by_shard.remove(shard) {
                stop.cancel();
            }
            if let Some(epoch) = epoch {
                let stop = self.start(runtime, *shard);
                self.by_shard.insert(*shard, (epoch, stop));
            }
        }
    }

    fn start(&self, runtime: &Arc<Runtime>, shard: Shard) -> CancellationToken {
        let platform = runtime.platform();
        let stop = platform.stopping.child_token();
        for (source, name, work) in &self.leases {
            let (joins, joining) = mpsc::channel(1);
            let log = LogKey { service: *source, shard };
            if matches!(work, Work::Views(_)) {
                runtime.joins.lock().insert(log, joins);
            }
            let lease = Lease {
                joining,
                shared: Arc::clone(&runtime.shared),
                name: Arc::clone(name),
                log,
                work: work.clone(),
            };
            platform.tasks.spawn(lease.run(stop.clone()));
        }
        stop
    }
}

async fn follow_slots(runtime: Arc<Runtime>, mut running: Running) {
    let platform = Arc::clone(runtime.platform());
    let mut slots = platform.membership.slots();
    loop {
        let held = slots.borrow_and_update().clone();
        running.distribute(&runtime, &held);
        tokio::select! {
            () = platform.stopping.cancelled() => break,
            changed = slots.changed() => if changed.is_err() { break },
        }
    }
    // Workers end by losing their slots: what was appended gets its rows, what waits is turned away.
    running.distribute(&runtime, &BTreeMap::new());
}

/// How often rebuilds are looked for while one was seen lately, and while none was.
const REBUILDS_EVERY: (Duration, Duration) = (membership::LOOK_EVERY, Duration::from_secs(2));
/// For so long the next rebuild is likely: views are mostly rebuilt one after the other.
const REBUILDS_WHILE: Duration = Duration::from_secs(10);

/// Looks at rebuilds that other members run.
async fn follow_rebuilds(runtime: Arc<Runtime>) {
    let platform = Arc::clone(runtime.platform());
    let mut seen: Option<tokio::time::Instant> = None;
    loop {
        match runtime.look_at_rebuilds().await {
            Ok(true) => seen = Some(tokio::time::Instant::now()),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(service = %runtime.service(), %error, "rebuilds could not be looked for");
            }
        }
        let lately = seen.is_some_and(|seen| seen.elapsed() < REBUILDS_WHILE);
        let pause = if lately { REBUILDS_EVERY.0 } else { REBUILDS_EVERY.1 };
        if platform.stopping.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}
