//! What the tests share: a server, a keyspace that is made once and emptied for each case, keyspaces of their own.

use p92_storage::conformance::TABLES;
use p92_storage::cql::{Step, migrate};
use p92_storage::{CqlConfig, CqlEngine};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::{Mutex, MutexGuard};

/// Whether the shared keyspace is there. Cases that use it take turns.
static SHARED: Mutex<bool> = Mutex::const_new(false);
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The server of this run.
pub fn node() -> String {
    std::env::var("P92_TEST_CQL").unwrap_or_else(|_| {
        panic!(
            "these tests need a CQL server: set P92_TEST_CQL=host:port; \
             `deploy/local/cassandra.py start --dir DIR` starts one and prints its address"
        )
    })
}

/// A keyspace that nobody else has.
pub fn config(words: &str) -> CqlConfig {
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut config = CqlConfig::at([node()]);
    config.keyspace = format!("p92_test_{words}_{}_{n}", std::process::id());
    config.replication = 1;
    config
}

/// A session beside the engine's, for what the engine does not do.
pub async fn session() -> Session {
    SessionBuilder::new().known_node(node()).build().await.unwrap()
}

/// The shared keyspace while it is one case's.
pub struct Scene {
    pub config: CqlConfig,
    _turn: MutexGuard<'static, bool>,
}

impl Scene {
    pub async fn open(&self) -> Arc<CqlEngine> {
        CqlEngine::open(&self.config, &TABLES).await.unwrap()
    }
}

/// The shared keyspace with all its tables empty.
pub async fn emptied() -> Scene {
    let mut made = SHARED.lock().await;
    let mut config = CqlConfig::at([node()]);
    config.keyspace = format!("p92_test_shared_{}", std::process::id());
    config.replication = 1;
    if !*made {
        migrate(&config, &TABLES, Step::Expand).await.unwrap();
        *made = true;
    }
    let session = session().await;
    let physical = p92_storage::cql::physical(&TABLES).unwrap().into_iter().map(|table| table.name);
    for table in physical.chain(["p92_log".to_owned()]) {
        session.query_unpaged(format!("TRUNCATE {}.{table}", config.keyspace), ()).await.unwrap();
    }
    Scene { config, _turn: made }
}

/// Drops a keyspace of a case.
pub async fn drop_keyspace(config: &CqlConfig) {
    session().await.query_unpaged(format!("DROP KEYSPACE {}", config.keyspace), ()).await.unwrap();
}
