//! The port's operations as values: what can be sent, delayed, lost, counted or written into a trace.
//!
//! In: calls of the port. Out: a [`Request`] each, and the port's answer out of an [`Answer`]. Whoever can answer
//! requests, from wherever, is an engine by [`Asked`]. It refuses to know who that is.

use crate::engine::{
    Append, Capabilities, Conditional, Engine, LogKey, LogRow, Page, ProjectedBatch, Projection, Row, RowKey,
    Scan, TableRow, Write,
};
use crate::{StoreError, TableRef};
use async_trait::async_trait;
use bytes::Bytes;
use p92_kernel::Seq;
use std::sync::Arc;

/// One operation of [`Engine`], with the words of the port.
#[derive(Clone, Debug)]
pub enum Request {
    Get(RowKey),
    GetMany(Vec<RowKey>),
    Scan(Scan),
    ScanTable { table: TableRef, after: Option<Bytes>, limit: usize },
    Clear(TableRef),
    Write(Vec<Write>),
    Destroy(RowKey),
    Insert { key: RowKey, value: Bytes },
    Set { key: RowKey, expected: Option<u64>, value: Bytes },
    Delete { key: RowKey, expected: u64 },
    Project(ProjectedBatch),
    Append { log: LogKey, row: LogRow, before: Vec<Write> },
    LogRow { log: LogKey, first_seq: Seq },
    ReadLog { log: LogKey, after: Seq, max_bytes: usize },
}

/// What is answered to it.
#[derive(Clone, Debug)]
pub enum Answer {
    Row(Option<Row>),
    Rows(Vec<Option<Row>>),
    Page(Page<(Bytes, Row)>),
    Table(Page<TableRow>),
    Done,
    Conditional(Conditional),
    Projection(Projection),
    Append(Append),
    LogRow(Option<LogRow>),
    Log(Vec<LogRow>),
}

/// Somebody who answers requests.
#[async_trait]
pub trait Ask: Send + Sync + std::fmt::Debug + 'static {
    /// What the engine behind it can do.
    fn capabilities(&self) -> Capabilities;

    /// The answer to one request.
    async fn ask(&self, request: Request) -> Result<Answer, StoreError>;
}

/// The port over somebody who answers requests.
#[derive(Clone, Debug)]
pub struct Asked<A>(pub Arc<A>);

macro_rules! answered {
    ($asked:expr, $kind:ident) => {
        match $asked {
            Answer::$kind(answer) => Ok(answer),
            other => Err(astray(&other)),
        }
    };
}

fn astray(answer: &Answer) -> StoreError {
    StoreError::Damaged(format!("an answer to another request came: {answer:?}"))
}

#[async_trait]
impl<A: Ask> Engine for Asked<A> {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn get(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        answered!(self.0.ask(Request::Get(key.clone())).await?, Row)
    }

    async fn get_many(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>, StoreError> {
        answered!(self.0.ask(Request::GetMany(keys.to_vec())).await?, Rows)
    }

    async fn scan(&self, scan: &Scan) -> Result<Page<(Bytes, Row)>, StoreError> {
        answered!(self.0.ask(Request::Scan(scan.clone())).await?, Page)
    }

    async fn scan_table(
        &self,
        table: TableRef,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Page<TableRow>, StoreError> {
        let request = Request::ScanTable { table, after: after.cloned(), limit };
        answered!(self.0.ask(request).await?, Table)
    }

    async fn clear(&self, table: TableRef) -> Result<(), StoreError> {
        self.0.ask(Request::Clear(table)).await.map(drop)
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.0.ask(Request::Write(writes)).await.map(drop)
    }

    async fn destroy(&self, key: &RowKey) -> Result<(), StoreError> {
        self.0.ask(Request::Destroy(key.clone())).await.map(drop)
    }

    async fn insert_if_absent(&self, key: &RowKey, value: Bytes) -> Result<Conditional, StoreError> {
        answered!(self.0.ask(Request::Insert { key: key.clone(), value }).await?, Conditional)
    }

    async fn compare_and_set(
        &self,
        key: &RowKey,
        expected: Option<u64>,
        value: Bytes,
    ) -> Result<Conditional, StoreError> {
        answered!(self.0.ask(Request::Set { key: key.clone(), expected, value }).await?, Conditional)
    }

    async fn compare_and_delete(&self, key: &RowKey, expected: u64) -> Result<Conditional, StoreError> {
        answered!(self.0.ask(Request::Delete { key: key.clone(), expected }).await?, Conditional)
    }

    async fn project(&self, batch: ProjectedBatch) -> Result<Projection, StoreError> {
        answered!(self.0.ask(Request::Project(batch)).await?, Projection)
    }

    async fn append(&self, log: LogKey, row: &LogRow, before: &[Write]) -> Result<Append, StoreError> {
        let request = Request::Append { log, row: row.clone(), before: before.to_vec() };
        answered!(self.0.ask(request).await?, Append)
    }

    async fn log_row(&self, log: LogKey, first_seq: Seq) -> Result<Option<LogRow>, StoreError> {
        answered!(self.0.ask(Request::LogRow { log, first_seq }).await?, LogRow)
    }

    async fn read_log(&self, log: LogKey, after: Seq, max_bytes: usize) -> Result<Vec<LogRow>, StoreError> {
        answered!(self.0.ask(Request::ReadLog { log, after, max_bytes }).await?, Log)
    }
}
