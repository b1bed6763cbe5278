//! What the processes of one test share: the store, the bus, the keys.
//!
//! By default that is one embedded store and one bus of this process, for a test that needs nothing. If P92_TEST_CQL names
//! a server (`host:port`), it is a keyspace there, and if P92_TEST_NATS_SERVER names a program, a NATS server of it
//! besides; then each process opens its own way there as the binary does. `tests/engines/run` sets both.

use crate::shared::{Shared, Ways};
use p92_chassis::{SystemClock, SystemRandom};
use p92_eventlog::platform::Parts;
use p92_eventlog::{KeyFile, Keyring, LocalBus, NatsBus};
use p92_kernel::{Clock, Random, ShardCount};
use p92_node::settings::Config;
use p92_storage::{Embedded, EmbeddedConfig, Engine};
use std::path::Path;
use std::sync::Arc;

pub const SHARDS: u16 = 16;

/// What is shared. Clones are the same.
#[derive(Clone)]
pub enum Ground {
    /// Of this process.
    Own { store: Arc<Embedded>, ways: Ways, bus: Arc<LocalBus> },
    /// Of servers.
    Real(Arc<crate::real::Servers>),
}

impl Ground {
    /// Fresh and empty, with keys in that directory.
    pub async fn fresh(dir: &Path) -> Self {
        match crate::real::named() {
            Some(node) => Self::Real(Arc::new(crate::real::Servers::fresh(dir, node).await)),
            None => Self::own(dir),
        }
    }

    fn own(dir: &Path) -> Self {
        let mut config = EmbeddedConfig::at(dir.join("data"));
        config.shards = ShardCount::new(SHARDS).unwrap();
        let store = Embedded::open(config).unwrap();
        let (clock, random) = (SystemClock::default(), SystemRandom);
        KeyFile::open(&keys(dir), store.installation(), true, clock.now(), &random).unwrap();
        Self::Own { bus: Arc::new(LocalBus::new(store.shards())), store, ways: Ways::default() }
    }

    /// What is under one process of that name and these settings, and its bus if that has an end of its own.
    pub async fn open(&self, dir: &Path, process: (&Config, &str)) -> (Parts, Option<Arc<NatsBus>>) {
        match self {
            Self::Own { store, ways, bus } => {
                let engine = Arc::new(Shared(Arc::clone(store), ways.clone()));
                (own_parts(store, engine, bus, dir), None)
            }
            Self::Real(servers) => servers.open(dir, process).await,
        }
    }
}

/// The file of the keys.
pub fn keys(dir: &Path) -> std::path::PathBuf {
    dir.join("keys")
}

fn own_parts(store: &Embedded, engine: Arc<dyn Engine>, bus: &Arc<LocalBus>, dir: &Path) -> Parts {
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let file = KeyFile::open(&keys(dir), store.installation(), false, clock.now(), &*random).unwrap();
    let keyring = Arc::new(Keyring::new(Arc::clone(&engine), Arc::clone(&random), file));
    Parts { engine, bus: Arc::clone(bus) as _, clock, random, keyring, shards: store.shards() }
}
