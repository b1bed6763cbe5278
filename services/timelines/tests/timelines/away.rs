//! A store that is away, or slow: memory answers as long as the rule of one second can be kept, and no longer.
//!
//! On the engine of simulations, whose faults a test plans, and a clock that jumps to whatever is waited for.

use crate::double::Double;
use crate::world::{Like, World};
use p92_chassis::SystemRandom;
use p92_eventlog::platform::Parts;
use p92_eventlog::{KeyFile, Keyring, LocalBus, Platform};
use p92_kernel::{Clock, Millis, Random, ShardCount};
use p92_proto::timelines::v1::TimelineSource;
use p92_storage::Engine;
use p92_storage::memory::{Asked, Fault, Faults, Memory, MemoryConfig, Request};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic::Code;

/// The time of the runtime, which a test need not wait for.
#[derive(Debug)]
struct Jumping(Instant);

impl Clock for Jumping {
    fn now(&self) -> Millis {
        Millis(1_790_000_000_000 + self.0.elapsed().as_millis() as u64)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What becomes of every request to the store, until it is said otherwise.
#[derive(Debug, Default)]
struct Plan(Mutex<Option<Fault>>);

impl Faults for Plan {
    fn next(&self, _: &Request) -> Fault {
        self.0.lock().unwrap().unwrap_or(Fault::Sound)
    }
}

/// A viewer with one post at home.
struct Scene {
    _dir: tempfile::TempDir,
    plan: Arc<Plan>,
    world: World,
    viewer: u64,
    post: u64,
}

const STEP: Duration = Duration::from_millis(10);

impl Scene {
    async fn new() -> Self {
        let (dir, plan) = (tempfile::tempdir().unwrap(), Arc::new(Plan::default()));
        let faults: Arc<dyn Faults> = Arc::clone(&plan) as Arc<dyn Faults>;
        let memory = Memory::new(MemoryConfig { atomic: false, faults: Some(faults) });
        let engine: Arc<dyn Engine> = Arc::new(Asked(Arc::new(memory)));
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let clock: Arc<dyn Clock> = Arc::new(Jumping(Instant::now()));
        let file = KeyFile::open(&dir.path().join("keys"), "memory", true, clock.now(), &*random).unwrap();
        let keyring = Arc::new(Keyring::new(Arc::clone(&engine), Arc::clone(&random), file));
        let shards = ShardCount::new(2).unwrap();
        let bus = Arc::new(LocalBus::new(shards));
        let platform = Platform::start(Parts { engine, bus, clock, random, keyring, shards });
        let mut world = World::over(platform, Double::default()).await;
        let (author, viewer) = (world.account(), world.account());
        world.follow(viewer, author).await;
        let post = world.post(author, Like::default()).await;
        let scene = Self { _dir: dir, plan, world, viewer, post };
        scene.until_memory().await;
        scene
    }

    /// Reads the viewer's home: which way it came, or why it did not.
    async fn read(&self) -> Result<TimelineSource, Code> {
        let (page, source) = self.world.newest(self.viewer).await.map_err(|status| status.code())?;
        assert_eq!(page, [self.post], "{source:?}");
        Ok(source)
    }

    /// Reads until memory answers.
    async fn until_memory(&self) {
        let since = Instant::now();
        while self.read().await != Ok(TimelineSource::Memory) {
            sleep(STEP).await;
            assert!(since.elapsed() < Duration::from_secs(10), "memory does not answer");
        }
    }

    /// The store is as it is told, and with it whatever stands on it.
    fn store(&self, fault: Option<Fault>) {
        *self.plan.0.lock().unwrap() = fault;
        self.world.double.history().down = fault.is_some();
    }
}

#[tokio::test(start_paused = true)]
async fn memory_answers_for_half_a_second_without_a_store_and_again_with_it() {
    for fault in [Fault::Refused, Fault::Lost { told: Duration::from_secs(2) }] {
        let scene = Scene::new().await;
        scene.store(Some(fault));
        let gone = Instant::now();
        let (mut last, mut refused) = (None, None);
        while gone.elapsed() < Duration::from_secs(4) {
            match scene.read().await {
                Ok(source) => {
                    assert_eq!((source, refused), (TimelineSource::Memory, None), "{fault:?}");
                    last = Some(gone.elapsed());
                }
                Err(code) => {
                    assert_eq!(code, Code::Unavailable, "{fault:?}");
                    refused.get_or_insert_with(|| gone.elapsed());
                }
            }
            sleep(STEP).await;
        }
        // The last answer of the store is at most as old as the pause between two questions.
        let last = last.expect("what is remembered is answered at once");
        assert!((300..=500).contains(&last.as_millis()), "{fault:?}: until {last:?}");
        let refused = refused.expect("what may be old is not shown");
        assert!(refused <= Duration::from_millis(510), "{fault:?}: since {refused:?}");
        scene.store(None);
        scene.until_memory().await;
        scene.world.platform.stop().await;
    }
}

/// An answer says how things stood when its question was sent.
#[tokio::test(start_paused = true)]
async fn what_a_slow_store_says_is_as_old_as_the_question() {
    let scene = Scene::new().await;
    let after = Duration::from_millis(600);
    *scene.plan.0.lock().unwrap() = Some(Fault::Late { before: Duration::ZERO, after });
    sleep(after).await;
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        assert_eq!(scene.read().await, Ok(TimelineSource::Merge), "after {:?}", since.elapsed());
        sleep(STEP).await;
    }
    scene.store(None);
    scene.until_memory().await;
    scene.world.platform.stop().await;
}
