//! A real platform on the embedded engine in a temporary directory, and a small service to run on it: registers that
//! are claimed once, and a view that counts claims.

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use p92_eventlog::platform::Parts;
use p92_eventlog::{
    Aggregate, Bus, CommandMeta, KeyFile, Keyring, LocalBus, NewEvent, Platform, Poison, ProjectionError,
    Receipt, Recorded, Rows, Runtime, Spec, Stream, View,
};
use p92_kernel::{Clock, ErrorCode, Failure, Millis, Random, Service, Shard, ShardCount};
use p92_proto::event::v1;
use p92_storage::{Class, Embedded, EmbeddedConfig, Engine, Key, Table};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[derive(Debug)]
pub struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Millis {
        Millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

#[derive(Debug)]
pub struct TestRandom;

impl Random for TestRandom {
    fn fill(&self, out: &mut [u8]) {
        use rand::Rng as _;
        rand::rng().fill_bytes(out);
    }
}

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(TestClock(Instant::now()))
}

/// A platform over an engine, with its key file beside the data.
pub fn platform(dir: &Path, store: &Arc<Embedded>, engine: Arc<dyn Engine>) -> Arc<Platform> {
    platform_on(dir, store, engine, Arc::new(LocalBus::new(store.shards())))
}

/// The same on another bus.
pub fn platform_on(
    dir: &Path,
    store: &Arc<Embedded>,
    engine: Arc<dyn Engine>,
    bus: Arc<dyn Bus>,
) -> Arc<Platform> {
    let random: Arc<dyn Random> = Arc::new(TestRandom);
    let clock = clock();
    let keys = dir.join("keys");
    let file = KeyFile::open(&keys, store.installation(), store.is_fresh(), clock.now(), &*random).unwrap();
    let keyring = Arc::new(Keyring::new(Arc::clone(&engine), Arc::clone(&random), file));
    let shards = store.shards();
    Platform::start(Parts { engine, bus, clock, random, keyring, shards })
}

pub fn open(dir: &Path) -> Arc<Embedded> {
    let mut config = EmbeddedConfig::at(dir.join("data"));
    config.shards = ShardCount::new(2).unwrap();
    Embedded::open(config).unwrap()
}

/// A register: empty, or claimed for ever. Its event is a `Position` message, whose `seq` is who claimed.
#[derive(Clone, Debug, Default)]
pub struct Register {
    pub claimed_by: Option<u64>,
}

impl Aggregate for Register {
    type Event = u64;

    fn decode(event: &Recorded) -> Result<u64, Poison> {
        Ok(event.decode::<v1::Position>()?.seq)
    }

    fn encode(event: &u64) -> NewEvent {
        NewEvent::of(&v1::Position { seq: *event, ..v1::Position::default() })
    }

    fn evolve(mut self, event: &u64) -> Self {
        self.claimed_by = Some(*event);
        self
    }
}

pub static CLAIMS: Table = Table {
    name: "posting_claims",
    class: Class::View,
    row: "",
    serves: "one partition per shard | → how many claims",
};

/// Who claims under one of these numbers has a row with a name of so many bytes: as many as a store takes, and one more.
pub const NAMED_AT_LENGTH: u64 = 512;
pub const NAMED_TOO_LONG: u64 = 513;

/// How many registers were claimed, per shard.
#[derive(Debug)]
pub struct Claims;

#[async_trait]
impl View for Claims {
    fn table(&self) -> &'static Table {
        &CLAIMS
    }

    fn source(&self) -> Service {
        Service::Posting
    }

    fn wants(&self, event_type: &str) -> bool {
        event_type == "p92.event.v1.Position"
    }

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        let partition = Key::new().small(event.position.shard.0).build();
        let count = rows.get(partition.clone(), Bytes::new()).await?;
        let count = count.map_or(0, |row| u64::from_be_bytes(row.as_ref().try_into().unwrap()));
        rows.put(partition.clone(), Bytes::new(), (count + 1).to_be_bytes().to_vec());
        let who = event.decode_upcast::<v1::Position>(2, |_, position| position)?.seq;
        if (NAMED_AT_LENGTH..=NAMED_TOO_LONG).contains(&who) {
            rows.put(partition, vec![b'n'; usize::try_from(who).unwrap()], "");
        }
        Ok(())
    }
}

pub fn spec() -> Spec {
    Spec { service: Service::Posting, views: vec![Arc::new(Claims)], consumers: vec![] }
}

pub fn meta(actor: u64, key: &str, what: u64) -> CommandMeta {
    let context = v1::CommandContext {
        server_id: 1,
        actor_id: actor,
        idempotency_key: key.to_owned(),
        ..Default::default()
    };
    CommandMeta::of(Some(&context), "Claim", &v1::Position { seq: what, ..Default::default() }).unwrap()
}

/// Claims a register; a rejection if it is claimed.
pub async fn claim(
    runtime: &Runtime,
    shard: Shard,
    register: u64,
    who: u64,
    key: &str,
) -> Result<Receipt, Failure> {
    let stream = Stream::new("register", register);
    runtime
        .execute(shard, meta(who, key, register), move |round| {
            let stream = stream.clone();
            async move {
                let loaded = round.load::<Register>(&stream).await?;
                if loaded.state.claimed_by.is_some() {
                    return Err(Failure::new(ErrorCode::AlreadyExists, "CLAIMED", "It is claimed."));
                }
                round.emit::<Register>(&stream, &[who]).await
            }
            .boxed()
        })
        .await
}

/// How many claims the view counts in a shard.
pub async fn counted(runtime: &Runtime, shard: Shard) -> u64 {
    let row = runtime.reads().get(&CLAIMS, Key::new().small(shard.0), Bytes::new()).await.unwrap();
    row.map_or(0, |row| u64::from_be_bytes(row.value.as_ref().try_into().unwrap()))
}
