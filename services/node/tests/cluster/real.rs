//! Real servers under a test: a keyspace that is made for it and dropped after it, and a NATS server that ends with it.

use crate::ground::{SHARDS, keys};
use p92_chassis::{SystemClock, SystemRandom};
use p92_eventlog::NatsBus;
use p92_eventlog::ground::NatsServer;
use p92_eventlog::platform::Parts;
use p92_node::backing::{self, Backing, Waiting, cql};
use p92_node::settings::{BusKind, Config, Settings, StoreKind};
use p92_storage::cql::Step;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::{Mutex, OwnedMutexGuard};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The CQL server that tests should use, if one is named.
pub fn named() -> Option<String> {
    std::env::var("P92_TEST_CQL").ok()
}

/// The servers of one test.
pub struct Servers {
    node: String,
    keyspace: String,
    nats: Option<NatsServer>,
    /// One server carries the keyspaces of one test at a time.
    _turn: OwnedMutexGuard<()>,
}

impl Servers {
    /// A keyspace with the tables of all services, and its keys.
    pub async fn fresh(dir: &Path, node: String) -> Self {
        static TURNS: std::sync::LazyLock<Arc<Mutex<()>>> = std::sync::LazyLock::new(Arc::default);
        let turn = Arc::clone(&TURNS).lock_owned().await;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let keyspace = format!("p92_test_cluster_{}_{number}", std::process::id());
        let nats = std::env::var_os("P92_TEST_NATS_SERVER").map(|program| NatsServer::start(&program, dir));
        let servers = Self { node, keyspace, nats, _turn: turn };
        let settings = servers.settings(dir, &Config::default());
        cql::migrate(&settings, Step::Expand, &Waiting::not(), &|_| {}).await.unwrap();
        let store = cql::open(&settings, &Waiting::not()).await.unwrap();
        let made = backing::make_keys(&settings, dir, &store, &SystemClock::default(), &SystemRandom).await;
        assert!(made.unwrap());
        servers
    }

    fn settings(&self, dir: &Path, config: &Config) -> Settings {
        let mut config = config.clone();
        config.store.kind = StoreKind::Cql;
        config.store.shards = SHARDS;
        config.store.cql.contact_points = vec![self.node.clone()];
        config.store.cql.keyspace.clone_from(&self.keyspace);
        config.store.cql.replication = 1;
        config.keys = Some(keys(dir));
        if let Some(nats) = &self.nats {
            config.bus.kind = BusKind::Nats;
            nats.url().clone_into(&mut config.bus.url);
        }
        Settings::given(config).unwrap()
    }

    /// What is under one process, opened as the binary does.
    pub async fn open(&self, dir: &Path, (config, name): (&Config, &str)) -> (Parts, Option<Arc<NatsBus>>) {
        let settings = self.settings(dir, config);
        let Backing { parts, bus, .. } =
            backing::open_all(&settings, dir, name, &Waiting::not()).await.unwrap();
        (parts, bus.between)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let (node, keyspace) = (self.node.clone(), self.keyspace.clone());
        // A runtime of its own, since a test that ends has none that would wait.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let session = scylla::client::session_builder::SessionBuilder::new().known_node(node);
                let session = session.build().await.unwrap();
                let _gone = session.query_unpaged(format!("DROP KEYSPACE {keyspace}"), ()).await;
            });
        });
        let _dropped = dropping.join();
    }
}
