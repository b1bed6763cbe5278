//! What is under a service in its own tests: a store, its keys, a bus, a platform over them.
//!
//! By default that is an embedded store in the test's directory and a bus of this process, so that a test needs nothing.
//! If `P92_TEST_CQL` names a server (`host:port`), the store is a keyspace there, and if `P92_TEST_NATS_SERVER` names a
//! program, the bus is a server of it. `tests/engines/run services` sets both.
//!
//! A keyspace has far more tables than a test has rows. So it is made once for a service, and emptied when a ground in
//! another directory is opened than the last one; who opens one in the same directory finds what was there. Therefore the
//! tests of a service take turns on real servers (`--test-threads=1`).
//!
//! Nothing that ships has it (feature `ground`). It must not know which service stands on it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what a test stands on ends the test")]

use crate::bus::nats::{BusKey, NatsConfig};
use crate::platform::Parts;
use crate::{Bus, KeyFile, Keyring, LocalBus, NatsBus, Platform, tables};
use p92_kernel::{Clock, Random, ShardCount};
use p92_storage::cql::{Step, migrate, physical};
use p92_storage::{CqlConfig, CqlEngine, Embedded, EmbeddedConfig, Engine, Table};
use parking_lot::Mutex;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::value::{CqlValue, Row};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// What a service's tests stand on.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// Names the keyspace: a word for each service.
    pub name: &'a str,
    /// How many shards an installation has in these tests.
    pub shards: u16,
    /// The tables of the service; those that logs keep of themselves come besides.
    pub tables: &'a [&'static Table],
}

/// A platform over an open store with its keys, and a bus.
#[derive(Debug)]
pub struct Ground {
    pub platform: Arc<Platform>,
    store: Store,
    _nats: Option<NatsServer>,
}

#[derive(Debug)]
enum Store {
    Embedded { open: Arc<Embedded>, data: PathBuf },
    Cql { open: Arc<CqlEngine>, config: Box<CqlConfig>, names: Vec<String> },
}

impl Ground {
    /// What stands in that directory, with this clock; empty if nothing does.
    pub async fn open(dir: &Path, site: Site<'_>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let store = match std::env::var("P92_TEST_CQL") {
            Ok(node) => keyspace(dir, site, &node).await,
            Err(_) => embedded(dir, site),
        };
        let keys = dir.join("keys");
        let (engine, installation, shards, fresh): (Arc<dyn Engine>, _, _, _) = match &store {
            Store::Embedded { open, .. } => {
                (Arc::clone(open) as _, open.installation(), open.shards(), open.is_fresh())
            }
            // An emptied keyspace is as good as a fresh one.
            Store::Cql { open, .. } => {
                (Arc::clone(open) as _, open.installation(), open.shards(), !keys.exists())
            }
        };
        let file = KeyFile::open(&keys, installation, fresh, clock.now(), &*random).unwrap();
        let keyring = Arc::new(Keyring::new(Arc::clone(&engine), Arc::clone(&random), file));
        let nats = std::env::var_os("P92_TEST_NATS_SERVER").map(|program| NatsServer::start(&program, dir));
        let bus: Arc<dyn Bus> = match &nats {
            Some(server) => NatsBus::connect(server.config(site.name), shards).await.unwrap(),
            None => Arc::new(LocalBus::new(shards)),
        };
        let platform = Platform::start(Parts { engine, bus, clock, random, keyring, shards });
        Self { platform, store, _nats: nats }
    }

    /// Ends everything, so that another ground may be opened in the same directory.
    pub async fn close(&self) {
        self.platform.stop().await;
        if let Store::Embedded { open, .. } = &self.store {
            open.close();
        }
    }

    /// Whether these bytes stand anywhere in what the store keeps: in a file, where deleted rows may still be, or in a column
    /// of a row that a server shows, whose files are not ours to read.
    pub async fn holds(&self, needle: &[u8]) -> bool {
        match &self.store {
            Store::Embedded { data, .. } => in_files(data, needle),
            Store::Cql { config, names, .. } => in_rows(config, names, needle).await,
        }
    }
}

fn embedded(dir: &Path, site: Site<'_>) -> Store {
    let data = dir.join("data");
    let mut config = EmbeddedConfig::at(&data);
    config.shards = ShardCount::new(site.shards).unwrap();
    // What is written can be found in the files.
    config.compression = false;
    Store::Embedded { open: Embedded::open(config).unwrap(), data }
}

/// The keyspace of this site, made if it is not there, and emptied if it was used for another directory.
async fn keyspace(dir: &Path, site: Site<'_>, node: &str) -> Store {
    static LAST: Mutex<Option<PathBuf>> = Mutex::new(None);
    let tables = [site.tables, tables::all().as_slice()].concat();
    let mut config = CqlConfig::at([node]);
    config.keyspace = format!("p92_test_{}_{}", site.name, site.shards);
    config.replication = 1;
    config.shards = ShardCount::new(site.shards).unwrap();
    let names: Vec<String> = physical(&tables).unwrap().into_iter().map(|table| table.name).collect();
    let names = [names, vec!["p92_log".to_owned()]].concat();
    let last = LAST.lock().replace(dir.to_owned());
    if last.is_none() {
        migrate(&config, &tables, Step::Expand).await.unwrap();
    }
    if last.as_deref() != Some(dir) {
        empty(&config, &names).await;
    }
    let open = CqlEngine::open(&config, &tables).await.unwrap();
    Store::Cql { open, config: Box::new(config), names }
}

async fn session(config: &CqlConfig) -> Session {
    SessionBuilder::new().known_nodes(&config.nodes).build().await.unwrap()
}

/// Empties tables that look empty as well: what says that a row is gone would cover a row of an older time.
async fn empty(config: &CqlConfig, names: &[String]) {
    let session = session(config).await;
    for name in names {
        session.query_unpaged(format!("TRUNCATE {}.{name}", config.keyspace), ()).await.unwrap();
    }
}

fn found(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

fn in_files(dir: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() { in_files(&path, needle) } else { found(&std::fs::read(&path).unwrap(), needle) }
    })
}

async fn in_rows(config: &CqlConfig, names: &[String], needle: &[u8]) -> bool {
    let session = session(config).await;
    for name in names {
        let all =
            session.query_unpaged(format!("SELECT * FROM {}.{name}", config.keyspace), ()).await.unwrap();
        let all = all.into_rows_result().unwrap();
        let mut values = all.rows::<Row>().unwrap().flat_map(|row| row.unwrap().columns).flatten();
        let holds = values.any(|value| match &value {
            CqlValue::Blob(bytes) => found(bytes, needle),
            CqlValue::Text(text) => found(text.as_bytes(), needle),
            _ => false,
        });
        if holds {
            return true;
        }
    }
    false
}

/// A NATS server of a test's own, which ends with it: two installations on one would need two accounts.
#[derive(Debug)]
pub struct NatsServer {
    child: Child,
    url: String,
}

impl NatsServer {
    /// One that runs, on a port that is free.
    ///
    /// # Panics
    /// If the program cannot be run, or does not say within ten seconds where it listens.
    #[must_use]
    pub fn start(program: &OsStr, dir: &Path) -> Self {
        let ports = dir.join("nats-ports");
        std::fs::create_dir_all(&ports).unwrap();
        let child = Command::new(program)
            .args(["-a", "127.0.0.1", "-js", "-p", "-1"])
            .arg("--store_dir")
            .arg(dir.join("nats"))
            .arg("--ports_file_dir")
            .arg(&ports)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program:?} cannot be run: {error}"));
        let file = ports.join(format!("nats-server_{}.ports", child.id()));
        let mut started = Self { child, url: String::new() };
        for _ in 0..500 {
            let told = std::fs::read_to_string(&file).unwrap_or_default();
            if let Some(url) = told.split('"').find(|part| part.starts_with("nats://")) {
                url.clone_into(&mut started.url);
                return started;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the NATS server does not say where it listens");
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    fn config(&self, name: &str) -> NatsConfig {
        NatsConfig::at(vec![self.url.clone()], name, BusKey::new(&[92; 32]))
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}
