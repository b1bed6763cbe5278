//! One embedded engine for several processes: it proves no longer that nobody else lives, as a CQL store does not.
//!
//! It also holds everybody to what CQL asks for and an embedded engine does not: a row of state is written plainly for
//! ever, or conditionally for ever. Whoever mixes the two on one row ends the test.

use async_trait::async_trait;
use p92_kernel::Seq;
use p92_storage::{
    Append, Capabilities, Class, Conditional, Embedded, Engine, LogKey, LogRow, Page, ProjectedBatch,
    Projection, Row, RowKey, Scan, StoreError, TableRef, TableRow, Write,
};
use parking_lot::Mutex;
use prost::bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Plain,
    Conditional,
}

/// Table, partition, clustering.
type Place = (&'static str, Bytes, Bytes);

/// How each row of state was written first. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Ways(Arc<Mutex<HashMap<Place, Way>>>);

impl Ways {
    fn note(&self, key: &RowKey, way: Way) {
        if key.table.table.class == Class::State {
            let name = key.table.table.name;
            let row = (name, key.partition.clone(), key.clustering.clone());
            let first = *self.0.lock().entry(row).or_insert(way);
            assert_eq!(first, way, "a row of {name} is written in two ways");
        }
    }

    fn plain(&self, writes: &[Write]) {
        writes.iter().for_each(|write| self.note(&write.key, Way::Plain));
    }
}

#[derive(Debug)]
pub struct Shared(pub Arc<Embedded>, pub Ways);

#[async_trait]
impl Engine for Shared {
    fn capabilities(&self) -> Capabilities {
        Capabilities { exclusive: false, ..self.0.capabilities() }
    }

    async fn get(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.0.get(key).await
    }

    async fn get_many(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>, StoreError> {
        self.0.get_many(keys).await
    }

    async fn scan(&self, scan: &Scan) -> Result<Page<(Bytes, Row)>, StoreError> {
        self.0.scan(scan).await
    }

    async fn scan_table(
        &self,
        table: TableRef,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Page<TableRow>, StoreError> {
        self.0.scan_table(table, after, limit).await
    }

    async fn clear(&self, table: TableRef) -> Result<(), StoreError> {
        self.0.clear(table).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.1.plain(&writes);
        self.0.write(writes).await
    }

    async fn destroy(&self, key: &RowKey) -> Result<(), StoreError> {
        self.1.note(key, Way::Plain);
        self.0.destroy(key).await
    }

    async fn insert_if_absent(&self, key: &RowKey, value: Bytes) -> Result<Conditional, StoreError> {
        self.1.note(key, Way::Conditional);
        self.0.insert_if_absent(key, value).await
    }

    async fn compare_and_set(
        &self,
        key: &RowKey,
        expected: Option<u64>,
        value: Bytes,
    ) -> Result<Conditional, StoreError> {
        self.1.note(key, Way::Conditional);
        self.0.compare_and_set(key, expected, value).await
    }

    async fn compare_and_delete(&self, key: &RowKey, expected: u64) -> Result<Conditional, StoreError> {
        self.1.note(key, Way::Conditional);
        self.0.compare_and_delete(key, expected).await
    }

    async fn project(&self, batch: ProjectedBatch) -> Result<Projection, StoreError> {
        self.0.project(batch).await
    }

    async fn append(&self, log: LogKey, row: &LogRow, before: &[Write]) -> Result<Append, StoreError> {
        self.1.plain(before);
        self.0.append(log, row, before).await
    }

    async fn log_row(&self, log: LogKey, first_seq: Seq) -> Result<Option<LogRow>, StoreError> {
        self.0.log_row(log, first_seq).await
    }

    async fn read_log(&self, log: LogKey, after: Seq, max_bytes: usize) -> Result<Vec<LogRow>, StoreError> {
        self.0.read_log(log, after, max_bytes).await
    }
}

#[tokio::test]
async fn names_apps_and_codes_are_kept_used_and_swept_in_one_way_each() {
    use p92_chassis::{SystemClock, SystemRandom};
    use p92_identity::state::{Names, State, secret_hash};
    use p92_proto::identity::v1;
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(p92_storage::EmbeddedConfig::at(dir.path().join("data"))).unwrap();
    let engine: Arc<dyn Engine> = Arc::new(Shared(store, Ways::default()));
    let state = State::new(engine, Arc::new(SystemClock::default()), Arc::new(SystemRandom));
    let name = Bytes::from_static(b"alice");
    for owner in [1, 2] {
        assert_eq!(state.claim(Names::Handles, name.clone(), owner).await.unwrap(), owner);
        state.release(Names::Handles, name.clone(), owner).await.unwrap();
    }
    let app = v1::App { id: 7, server_id: 1, client_id: "client".to_owned(), ..v1::App::default() };
    assert!(state.add_app(&app, &secret_hash(1, "app", "secret")).await.unwrap());
    let hash = secret_hash(1, "code", "a code");
    let mut code = v1::CodeRow { created_ms: 1, ..v1::CodeRow::default() };
    state.add_code(&hash, &code).await.unwrap();
    let (_, version) = state.code(&hash).await.unwrap().unwrap();
    code.created_ms = 2;
    assert!(state.use_code(&hash, &code, version).await.unwrap());
    assert_eq!(state.sweep(24 * 3_600_000).await.unwrap(), 0, "a day is not over");
    assert_eq!(state.sweep(24 * 3_600_000 + 3).await.unwrap(), 1);
    assert!(state.code(&hash).await.unwrap().is_none());
}
