//! One history from its seed: the hosts, what happens to them, and what is found out afterwards.

use crate::check::{Logs, Wrong};
use crate::clients::{self, Call, Notebook, Outcome};
use crate::origin::{self, origin, stage};
use crate::time::{BEFORE, EPOCH};
use crate::trouble::Plan;
use crate::world::{CLIENTS, HOSTS, STORE, World};
use crate::{replica, store};
use futures::FutureExt as _;
use p92_chassis::Transport;
use p92_eventlog::owner::{Mutant, plant};
use p92_eventlog::{Platform, Runtime};
use p92_storage::memory::MemoryConfig;
use std::sync::Arc;
use std::time::Duration;

/// How long a history may take, in its own time.
const LONGEST: Duration = Duration::from_secs(150);
/// How finely time passes. A message takes at least as long.
const TICK: Duration = Duration::from_millis(5);
const SLOWEST: Duration = Duration::from_millis(10);

/// What one seed gave.
#[derive(Debug)]
pub struct History {
    pub trace: u64,
    pub wrong: Wrong,
    faults: usize,
    requests: u64,
    rows: u64,
    calls: Vec<Call>,
}

impl History {
    /// What is worth counting.
    pub fn sums(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let of = |wanted: fn(&Outcome) -> bool| {
            self.calls.iter().filter(|call| !call.act.reads() && wanted(&call.outcome)).count() as u64
        };
        [
            ("faults", self.faults as u64),
            ("lines", self.requests),
            ("rows compared", self.rows),
            ("acknowledged", of(|outcome| matches!(outcome, Outcome::Done(_)))),
            ("rejected", of(|outcome| matches!(outcome, Outcome::Rejected(_)))),
            ("not done", of(|outcome| matches!(outcome, Outcome::NotDone))),
            ("unknown", of(|outcome| matches!(outcome, Outcome::Unknown))),
            ("reads", self.calls.iter().filter(|call| call.act.reads()).count() as u64),
        ]
        .into_iter()
    }
}

/// What is different about a history, besides its seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct With {
    /// A rule that is broken on purpose.
    pub mutant: Option<Mutant>,
    /// Projections stop half way.
    pub tears: bool,
}

/// Runs one history.
pub fn run(seed: u64, with: With) -> History {
    plant(None);
    let world = World::new(seed, with.tears, origin());
    plant(with.mutant);
    let notebook = Arc::new(Notebook::default());
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(SLOWEST)
        .udp_capacity(1 << 14)
        .simulation_duration(LONGEST)
        .build();
    let shared = Arc::clone(&world);
    sim.host(STORE, move || store::serve(Arc::clone(&shared)));
    for (host, name) in HOSTS.into_iter().enumerate() {
        let shared = Arc::clone(&world);
        sim.host(name, move || replica::run(Arc::clone(&shared), host));
    }
    sim.client(CLIENTS, clients::run(Arc::clone(&world), Arc::clone(&notebook)));
    let mut plan = Plan::of(&world);
    let faults = plan.faults();
    let mut wrong = Wrong::new();
    loop {
        plan.step(&mut sim, &world);
        match sim.step() {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => {
                wrong.insert("the history does not end", error.to_string());
                break;
            }
        }
    }
    drop(sim);
    plant(None);
    let calls = std::mem::take(&mut *notebook.calls.lock());
    let (trace, requests) = world.trace();
    let rows = afterwards(&world, &calls, &mut wrong);
    History { trace, wrong, faults, requests, rows, calls }
}

/// What the logs say, and whether every view is what it would be if it were built anew.
fn afterwards(world: &Arc<World>, calls: &[Call], wrong: &mut Wrong) -> u64 {
    let memory = Arc::new(world.memory.copy(MemoryConfig::default()));
    let from = EPOCH.plus(BEFORE * 2);
    let (noted, calls) = (world.noted(), calls.to_vec());
    let (found, rows) = stage(world.seed, memory, world.origin.keys().clone(), from, |platform| {
        async move {
            let mut wrong = match Logs::read(&platform, noted).await {
                Ok(logs) => logs.check(&calls),
                Err(error) => return (Wrong::from([("I4: a log cannot be read", error.to_string())]), 0),
            };
            let rows = if wrong.is_empty() { rebuilt(&platform, &mut wrong).await } else { 0 };
            (wrong, rows)
        }
        .boxed()
    });
    wrong.extend(found);
    rows
}

/// I14. Rows compared.
async fn rebuilt(platform: &Arc<Platform>, wrong: &mut Wrong) -> u64 {
    let mut rows = 0;
    for runtime in services(platform).await {
        // All logs are closed by this member first; the others are dead after six seconds, which pass at once.
        let ready = tokio::time::timeout(Duration::from_secs(60), runtime.ready()).await;
        if ready.is_err() {
            wrong.insert("the shards are not taken over", format!("{:?}", runtime.holdings()));
            return rows;
        }
        caught_up(&runtime).await;
        for view in runtime.views() {
            let name = view.table().name;
            match runtime.rebuild(name, true, Arc::new(|_, _| {})).await {
                Ok(report) => {
                    rows += report.compared;
                    if let Some(difference) = report.difference {
                        wrong.entry("I14: a view is not what its log says").or_insert(difference);
                    }
                }
                Err(error) => {
                    wrong.entry("a view cannot be rebuilt").or_insert(format!("{name}: {error}"));
                }
            }
        }
    }
    rows
}

/// Time for leased readers to come to the end of their logs; it passes at once.
async fn caught_up(_: &Runtime) {
    tokio::time::sleep(Duration::from_secs(20)).await;
}

async fn services(platform: &Arc<Platform>) -> [Arc<Runtime>; 3] {
    let deps = p92_identity::Deps { platform: Arc::clone(platform), config: origin::identity() };
    let identity = p92_identity::start(deps).await.expect("identity starts on a still store");
    let to_identity = Transport::local(identity.routes());
    let deps = p92_posting::Deps { platform: Arc::clone(platform), identity: to_identity.clone() };
    let posting = p92_posting::run(p92_posting::Config::default(), deps).await.expect("likewise posting");
    let to_posting = Transport::local(posting.grpc_service());
    let deps =
        p92_timelines::Deps { platform: Arc::clone(platform), identity: to_identity, posting: to_posting };
    let timelines =
        p92_timelines::run(p92_timelines::Config::default(), deps).await.expect("likewise timelines");
    [Arc::clone(identity.runtime()), Arc::clone(posting.runtime()), Arc::clone(timelines.runtime())]
}
