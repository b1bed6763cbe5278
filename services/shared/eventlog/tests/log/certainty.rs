//! Writes that a store does not confirm: refused for certain, or by an answer that never comes. Whoever asked is told which
//! of the two it is, and the key settles either, with the same owner and with the next one.
//!
//! On the engine of simulations, whose faults a test plans, and a clock that jumps to whatever is waited for.

use crate::world::{TestRandom, claim, counted, spec};
use crate::{LOG, SHARD};
use p92_eventlog::platform::Parts;
use p92_eventlog::{KeyFile, Keyring, LocalBus, Platform, Recorded, Runtime};
use p92_kernel::{Clock, ErrorCode, Failure, Millis, Random, Seq, ShardCount};
use p92_storage::memory::{Asked, Fault, Faults, Memory, MemoryConfig, Request};
use p92_storage::{Engine, LogRow};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The time of the runtime, which a test need not wait for.
#[derive(Debug)]
struct Jumping(Instant);

impl Clock for Jumping {
    fn now(&self) -> Millis {
        Millis(1_000 + self.0.elapsed().as_millis() as u64)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Which step of a write the faults are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Append,
    Rows,
}

/// What becomes of one step of every write to the log, until it is said otherwise.
#[derive(Debug, Default)]
struct Plan(Mutex<Option<(Step, Fault)>>);

impl Plan {
    fn set(&self, step: Step, fault: Fault) {
        *self.0.lock() = Some((step, fault));
    }

    fn calm(&self) {
        *self.0.lock() = None;
    }
}

impl Faults for Plan {
    fn next(&self, request: &Request) -> Fault {
        let step = match request {
            Request::Append { log, .. } if *log == LOG => Step::Append,
            Request::Project(_) => Step::Rows,
            _ => return Fault::Sound,
        };
        self.0.lock().filter(|(planned, _)| *planned == step).map_or(Fault::Sound, |(_, fault)| fault)
    }
}

/// An owner on a store whose faults are planned.
struct Scene {
    dir: tempfile::TempDir,
    plan: Arc<Plan>,
    memory: Memory,
    platform: Arc<Platform>,
    runtime: Arc<Runtime>,
}

/// Somebody who owns the log, once whoever did before counts as dead.
async fn owner(dir: &Path, memory: &Memory) -> (Arc<Platform>, Arc<Runtime>) {
    let engine: Arc<dyn Engine> = Arc::new(Asked(Arc::new(memory.clone())));
    let random: Arc<dyn Random> = Arc::new(TestRandom);
    let clock: Arc<dyn Clock> = Arc::new(Jumping(Instant::now()));
    let keys = dir.join("keys");
    let file = KeyFile::open(&keys, "memory", !keys.exists(), clock.now(), &*random).unwrap();
    let keyring = Arc::new(Keyring::new(Arc::clone(&engine), Arc::clone(&random), file));
    let shards = ShardCount::new(2).unwrap();
    let bus = Arc::new(LocalBus::new(shards));
    let platform = Platform::start(Parts { engine, bus, clock, random, keyring, shards });
    let runtime = Runtime::start(&platform, spec()).await.unwrap();
    let mut slots = platform.membership.slots();
    slots.wait_for(|slots| slots.contains_key(&(LOG.service, LOG.shard))).await.unwrap();
    (platform, runtime)
}

impl Scene {
    async fn new() -> Self {
        let (dir, plan) = (tempfile::tempdir().unwrap(), Arc::new(Plan::default()));
        let faults: Arc<dyn Faults> = Arc::clone(&plan) as Arc<dyn Faults>;
        let memory = Memory::new(MemoryConfig { atomic: false, faults: Some(faults) });
        let (platform, runtime) = owner(dir.path(), &memory).await;
        claim(&runtime, SHARD, 1, 42, "before").await.unwrap();
        Self { dir, plan, memory, platform, runtime }
    }

    async fn log(&self) -> Vec<LogRow> {
        self.platform.engine.read_log(LOG, Seq(0), usize::MAX).await.unwrap()
    }

    /// What is answered under this key of register 2, and how long that took.
    async fn claimed(&self, key: &str) -> (Result<bool, Failure>, Duration) {
        let began = Instant::now();
        let answer = claim(&self.runtime, SHARD, 2, 42, key);
        let answer = tokio::time::timeout(Duration::from_secs(60), answer).await.expect("an answer");
        (answer.map(|receipt| receipt.repeated), began.elapsed())
    }

    /// The owner dies at this moment, and another one takes over what stands then.
    async fn next_owner(&self) -> (Arc<Platform>, Arc<Runtime>) {
        owner(self.dir.path(), &self.memory.copy(MemoryConfig::default())).await
    }
}

/// How often register 2 was claimed, by the log.
async fn times(platform: &Platform) -> usize {
    let groups = p92_eventlog::owner::read_groups(platform, LOG, Seq(0), None).await.unwrap();
    let of_register = |event: &&Recorded| event.event.stream == "register/2";
    groups.iter().flat_map(|group| &group.events).filter(of_register).count()
}

/// A store without a quorum says so before it does anything.
#[tokio::test(start_paused = true)]
async fn a_refused_append_changes_nothing_and_its_key_settles_it_later() {
    let scene = Scene::new().await;
    let before = scene.log().await;
    scene.plan.set(Step::Append, Fault::Refused);
    // In one round, so that one refusal is told to each of them.
    let all = futures::future::join_all(["k1", "k2", "k3"].map(|key| scene.claimed(key))).await;
    for (answer, took) in all {
        let failure = answer.unwrap_err();
        assert_eq!((failure.code, &*failure.reason), (ErrorCode::Unavailable, "STORE_UNAVAILABLE"));
        assert_eq!(failure.retry_after, Some(Duration::from_secs(1)), "{failure:?}");
        assert!(failure.public.contains("Nothing was changed"), "{}", failure.public);
        assert!(took < Duration::from_secs(1), "told at once, after {took:?}");
    }
    assert_eq!(scene.log().await, before);
    assert_eq!(counted(&scene.runtime, SHARD).await, 1);

    scene.plan.calm();
    assert!(!scene.claimed("k1").await.0.unwrap(), "it is done now");
    assert!(scene.claimed("k1").await.0.unwrap(), "and not a second time");
    assert_eq!(scene.claimed("k2").await.0.unwrap_err().reason, "CLAIMED");
    assert_eq!((times(&scene.platform).await, counted(&scene.runtime, SHARD).await), (1, 2));
    scene.platform.stop().await;
}

/// Nobody can tell whether it was done. The answer says so while the owner goes on asking, and the key tells.
#[tokio::test(start_paused = true)]
async fn what_is_never_answered_is_told_as_unknown_and_settled_by_its_key() {
    let told = Duration::from_millis(300);
    let [unanswered, lost] = [Fault::Unanswered { told }, Fault::Lost { told }];
    for (step, fault, stands) in
        [(Step::Append, unanswered, true), (Step::Append, lost, false), (Step::Rows, lost, true)]
    {
        let scene = Scene::new().await;
        scene.plan.set(step, fault);
        let (answer, took) = scene.claimed("k").await;
        let failure = answer.unwrap_err();
        let case = format!("{step:?} {fault:?}: {failure:?}");
        assert_eq!(
            (failure.code, &*failure.reason),
            (ErrorCode::DeadlineExceeded, "OUTCOME_UNKNOWN"),
            "{case}"
        );
        assert_eq!(failure.retry_after, Some(Duration::from_secs(1)), "{case}");
        // Ten seconds, or with the first answer behind them.
        assert!((10..13).contains(&took.as_secs()), "{case} after {took:?}");
        assert_eq!(times(&scene.platform).await, usize::from(stands), "{case}");

        let (platform, runtime) = scene.next_owner().await;
        let settled = claim(&runtime, SHARD, 2, 42, "k").await.unwrap();
        assert_eq!((settled.repeated, times(&platform).await), (stands, 1), "{case}: the next owner");
        assert_eq!(counted(&runtime, SHARD).await, 2, "{case}: the next owner");
        platform.stop().await;

        // The owner that lives has not given up what it was asked for, and does nothing else meanwhile.
        let again = scene.claimed("k");
        tokio::pin!(again);
        let early = tokio::time::timeout(Duration::from_secs(5), &mut again).await;
        assert!(early.is_err(), "{case}: {early:?} before the store answers");
        scene.plan.calm();
        let (settled, _) = again.await;
        assert_eq!((settled.unwrap(), times(&scene.platform).await), (true, 1), "{case}: the same owner");
        assert_eq!(counted(&scene.runtime, SHARD).await, 2, "{case}: the same owner");
        scene.platform.stop().await;
    }
}
