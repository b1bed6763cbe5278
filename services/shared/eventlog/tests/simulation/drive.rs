//! Drives one history: two workers of one log, each sure that it may own it until told otherwise.

use crate::history::{Answer, Asked, Call, History, Took, WHO, check};
use crate::shim::{BadBus, Shim};
use crate::world::{CLAIMS, Claims, Register, TestRandom, clock, meta};
use bytes::Bytes;
use futures::FutureExt as _;
use p92_eventlog::membership::take_slot;
use p92_eventlog::metrics::Metrics;
use p92_eventlog::owner::Mutant;
use p92_eventlog::platform::{Parts, Shared};
use p92_eventlog::pointers::ViewStates;
use p92_eventlog::round::Command;
use p92_eventlog::view::{View, ViewSet};
use p92_eventlog::worker::Worker;
use p92_eventlog::{GroupStream, KeyFile, Keyring, LocalBus, Platform, Round, Stream, keys::Keys};
use p92_kernel::{ErrorCode, Failure, Random, Seq, Service, Shard, ShardCount};
use p92_storage::{Embedded, EmbeddedConfig, Engine, Key, LogKey, RowKey};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const CALLS: u64 = 40;
const REGISTERS: u64 = 6;
const AT_ONCE: usize = 16;

/// Where histories are run, and what was injected into them.
#[derive(Default)]
pub struct Bench {
    faults: [AtomicU64; 4],
}

impl Bench {
    pub fn injected(&self) -> String {
        let [before, after, late, rows] = self.faults.each_ref().map(|fault| fault.load(Ordering::Relaxed));
        format!(
            "{before} lost before, {after} lost after the effect, {late} late appends, {rows} row writes failed"
        )
    }

    /// Whether every kind was injected at least as often as there are histories.
    pub fn enough(&self) -> bool {
        self.faults.iter().all(|fault| fault.load(Ordering::Relaxed) >= 1_000)
    }

    /// Runs histories, as many at once as a store has shards; what each of them violates.
    pub async fn run(
        &self,
        seeds: std::ops::Range<u64>,
        mutant: Option<Mutant>,
    ) -> BTreeMap<u64, Vec<&'static str>> {
        let mut found = BTreeMap::new();
        let seeds: Vec<u64> = seeds.collect();
        for seeds in seeds.chunks(AT_ONCE) {
            let dir = tempfile::tempdir().unwrap();
            let mut config = EmbeddedConfig::at(dir.path().join("data"));
            config.shards = ShardCount::new(AT_ONCE as u16).unwrap();
            let store = Embedded::open(config).unwrap();
            let stage = Stage { dir, store };
            let runs = seeds.iter().map(|seed| stage.history(self, *seed, mutant));
            let results = futures::future::join_all(runs).await;
            found.extend(seeds.iter().copied().zip(results).filter(|(_, wrong)| !wrong.is_empty()));
        }
        found
    }
}

/// One store for as many histories as it has shards.
struct Stage {
    dir: tempfile::TempDir,
    store: Arc<Embedded>,
}

impl Stage {
    fn platform(&self, seed: u64, engine: &Arc<Shim>, bus: &Arc<BadBus>) -> Arc<Platform> {
        let random: Arc<dyn Random> = Arc::new(TestRandom);
        let clock = clock();
        let path = self.dir.path().join(format!("keys-{seed}"));
        let file = KeyFile::open(&path, self.store.installation(), true, clock.now(), &*random).unwrap();
        let engine: Arc<dyn Engine> = Arc::clone(engine) as Arc<dyn Engine>;
        let keyring = Arc::new(Keyring::new(Arc::clone(&engine), Arc::clone(&random), file));
        let bus = Arc::clone(bus) as Arc<dyn p92_eventlog::Bus>;
        Platform::start(Parts { engine, bus, clock, random, keyring, shards: self.store.shards() })
    }

    async fn history(&self, bench: &Bench, seed: u64, mutant: Option<Mutant>) -> Vec<&'static str> {
        let log = LogKey { service: Service::Posting, shard: Shard((seed % AT_ONCE as u64) as u16) };
        let shim = Shim::new(Arc::clone(&self.store), seed);
        let bus = Arc::new(BadBus::new(LocalBus::new(self.store.shards()), seed));
        let owners = [0, 1].map(|n| Contender::new(n, log, self.platform(seed, &shim, &bus), mutant));
        let drive = Drive {
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            log,
            shim,
            owners,
            tick: AtomicU64::new(0),
        };
        let history = drive.run().await;
        let wrong = check(&drive.owners[0].platform, log, &history).await;
        let injected = &drive.shim.injected;
        let counts = [&injected.lost_before, &injected.lost_after, &injected.late, &injected.rows_failed];
        for (sum, count) in bench.faults.iter().zip(counts) {
            sum.fetch_add(count.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        for owner in &drive.owners {
            owner.worker.slot(None);
            owner.platform.stop().await;
        }
        wrong
    }
}

/// One of the two that may own the log.
struct Contender {
    number: u64,
    platform: Arc<Platform>,
    worker: Worker,
}

impl Contender {
    fn new(number: u64, log: LogKey, platform: Arc<Platform>, mutant: Option<Mutant>) -> Self {
        let views: Vec<Arc<dyn View>> = vec![Arc::new(Keys::new(log.service)), Arc::new(Claims)];
        let shared = Arc::new(Shared {
            platform: Arc::clone(&platform),
            service: log.service,
            own_views: ViewSet(views.into()),
            view_states: Arc::new(ViewStates::default()),
            metrics: Metrics::new(log.service),
            mutant,
        });
        Self { number, platform, worker: Worker::start(&shared, log) }
    }
}

struct Drive {
    random: Mutex<StdRng>,
    log: LogKey,
    shim: Arc<Shim>,
    owners: [Contender; 2],
    tick: AtomicU64,
}

fn decided(asked: Asked, register: u64, who: u64) -> Command {
    let stream = Stream::new("register", register);
    Box::new(move |round: &mut Round| {
        let stream = stream.clone();
        async move {
            let claimed = round.load::<Register>(&stream).await?.state.claimed_by.is_some();
            match asked {
                Asked::Claim if claimed => {
                    Err(Failure::new(ErrorCode::AlreadyExists, "CLAIMED", "It is claimed."))
                }
                Asked::Claim => round.emit::<Register>(&stream, &[who]).await,
                Asked::Probe if claimed => Ok(()),
                Asked::Probe => Err(Failure::new(ErrorCode::NotFound, "FREE", "It is free.")),
            }
        }
        .boxed()
    })
}

impl Drive {
    fn roll(&self, below: u64) -> u64 {
        self.random.lock().random_range(0..below)
    }

    fn tick(&self) -> u64 {
        self.tick.fetch_add(1, Ordering::SeqCst)
    }

    async fn run(&self) -> History {
        let history = Mutex::new(History::default());
        self.take_over(0, &history).await;
        let mut current = 0;
        let mut done = Vec::new();
        let mut under_way = futures::stream::FuturesUnordered::new();
        for n in 0..CALLS {
            under_way.push(self.call(n, current).boxed());
            match self.roll(20) {
                0..2 => {
                    // The other takes over; the one before is not told, and goes on as a zombie.
                    current = 1 - current;
                    self.take_over(current, &history).await;
                }
                2..4 => self.owners[1 - current].worker.slot(None),
                4..6 => self.shim.land().await,
                _ => {}
            }
            collect(&mut under_way, &mut done, 3).await;
        }
        collect(&mut under_way, &mut done, 0).await;
        drop(under_way);
        self.shim.land().await;
        self.shim.calm();
        self.take_over(current, &history).await;
        self.repeat_unknown(current, &mut done).await;
        let mut history = history.into_inner();
        history.calls = done;
        history.counted = self.counted().await;
        history.read = self.read(current).await;
        history
    }

    /// One call to the owner of the moment, or, one time in four, to the other one.
    async fn call(&self, n: u64, current: usize) -> Call {
        let to = if self.roll(4) == 0 { 1 - current } else { current };
        let asked = if self.roll(3) == 0 { Asked::Probe } else { Asked::Claim };
        // Streams are named once per installation; histories that share a store must not share them.
        let register = u64::from(self.log.shard.0) * 1_000 + self.roll(REGISTERS);
        self.ask(to, asked, register, n).await
    }

    async fn ask(&self, to: usize, asked: Asked, register: u64, n: u64) -> Call {
        let owner = &self.owners[to];
        let key = if asked == Asked::Claim { format!("key {n}") } else { String::new() };
        let who = owner.number * WHO + n;
        let began = self.tick();
        // Clients have deadlines; what an owner that cannot take over would have said is not known.
        let asking = owner.worker.execute(meta(1, &key, register), decided(asked, register, who));
        let answer = tokio::time::timeout(Duration::from_secs(1), asking).await;
        let answer = answer.unwrap_or_else(|_| Err(p92_eventlog::error::outcome_unknown()));
        let ended = self.tick();
        let (answer, seq) = match answer {
            Ok(receipt) => (Answer::Done, receipt.positions.last().map(|position| position.seq.0)),
            Err(failure) => (read_failure(&failure), None),
        };
        Call { asked, register, who, began, ended, answer, seq }
    }

    /// Every claim whose outcome is unknown is repeated with its key, at the last owner.
    async fn repeat_unknown(&self, current: usize, calls: &mut Vec<Call>) {
        let unknown: Vec<Call> = calls
            .iter()
            .filter(|call| call.answer == Answer::Unknown && call.asked == Asked::Claim)
            .cloned()
            .collect();
        for call in unknown {
            let again = self.ask(current, call.asked, call.register, call.who % WHO).await;
            calls.push(again);
        }
    }

    /// Takes the slot and waits until the log is closed behind it.
    async fn take_over(&self, number: usize, history: &Mutex<History>) {
        let owner = &self.owners[number];
        let epoch = loop {
            if let Some(epoch) = take_slot(&*self.shim, self.log, &owner.platform.member).await.unwrap() {
                break epoch;
            }
        };
        owner.worker.slot(Some(epoch));
        let owned = async {
            loop {
                let standing = owner.worker.owns_since();
                if standing.is_some_and(|(at, _)| at == epoch) {
                    return standing.map(|(_, head)| head);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if let Ok(Some(head)) = tokio::time::timeout(Duration::from_secs(5), owned).await {
            history.lock().took.push(Took { worker: owner.number, head: head.0 });
        }
    }

    async fn counted(&self) -> u64 {
        let table = CLAIMS.side(p92_storage::Side::A);
        let key = RowKey::new(table, Key::new().small(self.log.shard.0), Bytes::new());
        let row = self.shim.get(&key).await.unwrap();
        row.map_or(0, |row| u64::from_be_bytes(row.value.as_ref().try_into().unwrap()))
    }

    /// What a reader gets that follows the log from its beginning, over the bad bus.
    async fn read(&self, current: usize) -> Vec<u64> {
        let platform = &self.owners[current].platform;
        let head = self.shim.get(&p92_eventlog::tables::applied_key(self.log)).await.unwrap();
        let head = head.map_or(Seq(0), |row| Seq(row.stamp));
        let mut groups = GroupStream::new(platform, self.log, Seq(0));
        let mut out = Vec::new();
        while groups.at() < head {
            // A log that ends before what was applied is a violation, and nothing to wait for.
            let Ok(group) = tokio::time::timeout(Duration::from_secs(5), groups.next()).await else { break };
            let group = group.unwrap();
            out.extend(group.events.iter().map(|event| event.position.seq.0));
        }
        out
    }
}

fn read_failure(failure: &Failure) -> Answer {
    match failure.reason.as_ref() {
        "CLAIMED" | "FREE" => Answer::Rejected,
        "SHARD_MOVING" | "OVERLOADED" | "STORE_UNAVAILABLE" => Answer::NotHere,
        // A log with a broken rule also fails in ways that are bugs; what was done then is not known.
        "OUTCOME_UNKNOWN" | "INTERNAL" => Answer::Unknown,
        other => panic!("an answer that nobody expects: {other}: {failure:?}"),
    }
}

async fn collect<'a>(
    under_way: &mut futures::stream::FuturesUnordered<futures::future::BoxFuture<'a, Call>>,
    done: &mut Vec<Call>,
    leave: usize,
) {
    use futures::StreamExt as _;
    while under_way.len() > leave {
        if let Some(call) = under_way.next().await {
            done.push(call);
        }
    }
    // Those left must be polled too, or they would not be under way.
    while let Some(Some(call)) = under_way.next().now_or_never() {
        done.push(call);
    }
}
