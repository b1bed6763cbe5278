//! One embedded engine for several processes: it proves no longer that nobody else lives, as a CQL store does not.

use async_trait::async_trait;
use p92_kernel::Seq;
use p92_storage::{
    Append, Capabilities, Conditional, Embedded, Engine, LogKey, LogRow, Page, ProjectedBatch, Projection,
    Row, RowKey, Scan, StoreError, TableRef, TableRow, Write,
};
use prost::bytes::Bytes;
use std::sync::Arc;

#[derive(Debug)]
pub struct Shared(pub Arc<Embedded>);

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
        self.0.write(writes).await
    }

    async fn insert_if_absent(&self, key: &RowKey, value: Bytes) -> Result<Conditional, StoreError> {
        self.0.insert_if_absent(key, value).await
    }

    async fn compare_and_set(
        &self,
        key: &RowKey,
        expected: Option<u64>,
        value: Bytes,
    ) -> Result<Conditional, StoreError> {
        self.0.compare_and_set(key, expected, value).await
    }

    async fn compare_and_delete(&self, key: &RowKey, expected: u64) -> Result<Conditional, StoreError> {
        self.0.compare_and_delete(key, expected).await
    }

    async fn project(&self, batch: ProjectedBatch) -> Result<Projection, StoreError> {
        self.0.project(batch).await
    }

    async fn append(&self, log: LogKey, row: &LogRow, before: &[Write]) -> Result<Append, StoreError> {
        self.0.append(log, row, before).await
    }

    async fn log_row(&self, log: LogKey, first_seq: Seq) -> Result<Option<LogRow>, StoreError> {
        self.0.log_row(log, first_seq).await
    }

    async fn read_log(&self, log: LogKey, after: Seq, max_bytes: usize) -> Result<Vec<LogRow>, StoreError> {
        self.0.read_log(log, after, max_bytes).await
    }
}
