//! The store and the bus under everything: opened here, and known elsewhere by their ports alone.
//!
//! What another engine or bus brings is one arm of a `match`. It refuses to know which services run over it.
//!
//! | room | noun |
//! |---|---|
//! | `cql` | the store that processes share, and its schema |
//! | `nats` | the bus between processes |
//! | `waiting` | how a start waits for a store that is not there yet |

pub mod cql;
mod nats;
mod waiting;

pub use waiting::{NotYet, Waiting};

use crate::settings::{BusKind, Settings, Store, StoreKind};
use anyhow::{Context as _, bail};
use p92_chassis::{SystemClock, SystemRandom};
use p92_eventlog::bus::nats::BusKey;
use p92_eventlog::platform::Parts;
use p92_eventlog::{Bus, KeyFile, Keyring, LocalBus, NatsBus, tables};
use p92_kernel::{Clock, Random, Service, ShardCount};
use p92_storage::{Embedded, EmbeddedConfig, Engine};
use std::path::Path;
use std::sync::Arc;

/// An open store.
pub struct OpenStore {
    pub engine: Arc<dyn Engine>,
    /// The id of the installation whose data it holds.
    pub installation: String,
    pub shards: ShardCount,
    /// Made by this opening: nothing was sealed in it yet.
    pub fresh: bool,
    /// Lets go of it, when nobody uses it any more.
    pub close: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for OpenStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenStore").field("installation", &self.installation).finish_non_exhaustive()
    }
}

/// Opens the store that the settings name. One that is shared may be waited for; an error is for the operator.
pub async fn open_store(
    settings: &Settings,
    data: &Path,
    waiting: &Waiting<'_>,
) -> anyhow::Result<OpenStore> {
    match settings.store.kind {
        StoreKind::Embedded => embedded(&settings.store, data),
        StoreKind::Cql => cql::open(settings, waiting).await,
    }
}

fn embedded(settings: &Store, data: &Path) -> anyhow::Result<OpenStore> {
    let mut config = EmbeddedConfig::at(data);
    config.shards = ShardCount::new(settings.shards).context("`store.shards` was checked")?;
    config.free_floor_mib = settings.free_floor_mib;
    config.cache_mib = settings.cache_mib;
    config.compression = settings.compression;
    let store = Embedded::open(config)?;
    Ok(OpenStore {
        installation: store.installation().to_owned(),
        shards: store.shards(),
        fresh: store.is_fresh(),
        engine: Arc::clone(&store) as Arc<dyn Engine>,
        close: Box::new(move || store.close()),
    })
}

/// An open bus.
#[derive(Clone, Debug)]
pub struct OpenBus {
    pub bus: Arc<dyn Bus>,
    /// The same, if it is one between processes: it has a state, and an end of its own.
    pub between: Option<Arc<NatsBus>>,
}

/// Opens the bus that the settings name, for a process of this name. One between processes need not be there; `key` is by
/// what messages of the installation are known.
pub async fn open_bus(
    settings: &Settings,
    name: &str,
    shards: ShardCount,
    key: BusKey,
) -> anyhow::Result<OpenBus> {
    match settings.bus.kind {
        BusKind::Local => Ok(OpenBus { bus: Arc::new(LocalBus::new(shards)), between: None }),
        BusKind::Nats => {
            let bus = nats::connect(&settings.bus, name, shards, key).await?;
            Ok(OpenBus { bus: Arc::clone(&bus) as Arc<dyn Bus>, between: Some(bus) })
        }
    }
}

/// What is under a platform, open.
#[derive(Debug)]
pub struct Backing {
    pub store: OpenStore,
    pub parts: Parts,
    pub bus: OpenBus,
}

/// Everything under the platform of a process of this name: the store, its keys, the bus.
pub async fn open_all(
    settings: &Settings,
    data: &Path,
    name: &str,
    waiting: &Waiting<'_>,
) -> anyhow::Result<Backing> {
    let store = open_store(settings, data, waiting).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let file = open_keys(settings, data, &store, &*clock, &*random)?;
    let (engine, shards) = (Arc::clone(&store.engine), store.shards);
    let keyring = Arc::new(Keyring::new(Arc::clone(&engine), Arc::clone(&random), file));
    let key = BusKey::new(&keyring.blind("bus", &[]));
    let bus = open_bus(settings, name, shards, key).await?;
    let parts = Parts { engine, bus: Arc::clone(&bus.bus), clock, random, keyring, shards };
    Ok(Backing { store, parts, bus })
}

/// The keys of the store. They are made with an embedded store that is fresh; where processes share a store, each reads
/// the file that the operator mounts, and none makes one: two would seal for two installations.
pub fn open_keys(
    settings: &Settings,
    data: &Path,
    store: &OpenStore,
    clock: &dyn Clock,
    random: &dyn Random,
) -> anyhow::Result<KeyFile> {
    let path = settings.keys(data);
    let alone = settings.store.kind == StoreKind::Embedded;
    if !alone && !path.exists() {
        bail!(
            "the key file {} is missing\n  what to do: make it once for the installation with `p92 keys init`, and mount the same file (read-only is enough) for every service; `keys` names it",
            path.display()
        );
    }
    Ok(KeyFile::open(&path, &store.installation, alone && store.fresh, clock.now(), random)?)
}

/// Makes the key file of a store in which nothing was sealed yet, where it is not there. Whether it was made.
pub async fn make_keys(
    settings: &Settings,
    data: &Path,
    store: &OpenStore,
    clock: &dyn Clock,
    random: &dyn Random,
) -> anyhow::Result<bool> {
    let path = settings.keys(data);
    let there = path.exists();
    let untouched = there || !is_sealed(&*store.engine).await?;
    // One that is there is looked at, so that the file of another installation is told at once.
    KeyFile::open(&path, &store.installation, untouched, clock.now(), random)?;
    Ok(!there)
}

/// Whether anything was sealed: then a new key file would open none of it.
async fn is_sealed(engine: &dyn Engine) -> anyhow::Result<bool> {
    for service in Service::ALL {
        let keys = tables::subject_keys(service).only();
        if !engine.scan_table(keys, None, 1).await?.rows.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
