//! The engine of a cluster: ScyllaDB or Apache Cassandra, by the part of CQL that both speak alike.
//!
//! In: the operations of the port. Out: rows, and answers when enough replicas hold what was asked. It must not know what
//! a row means, nor who else writes: what must be fenced is fenced by a condition or by a position.
//!
//! | room | noun |
//! |---|---|
//! | `config` | how the store is reached, and how certain its answers are to be |
//! | `connect`, `tls` | the session, and the ways in which it is asked |
//! | `place` | where a row lies: physical tables, and the text of every statement |
//! | `statements` | prepared statements, marked one by one |
//! | `reads` | one row, many, pages |
//! | `writes` | plain, positioned and conditional writes |
//! | `log` | appends that are repeated until their answer is certain, and reading on |
//! | `outcome` | what an error means: whether the write may have happened |
//! | `notes` | the engine's own: whose installation this is, the version of the schema |
//! | `migrate`, `lease` | the schema, made by one runner at a time |
//! | `counters` | what is counted |

mod config;
mod connect;
mod counters;
mod lease;
mod log;
mod login;
mod migrate;
mod notes;
mod outcome;
mod place;
mod reads;
mod statements;
mod tls;
mod writes;

pub use config::{Consistency, CqlConfig, CqlTls, LogSerial};
pub use counters::{Appends, Asked, Operation};
pub use login::{CqlUser, Password};
pub use migrate::{Migrated, Progress, SCHEMA, Step, Watch, migrate, migrate_watched};
pub use place::{Physical, is_name, physical};

use crate::engine::{
    Append, Capabilities, Conditional, Engine, LogKey, LogRow, Page, ProjectedBatch, Projection, Row, RowKey,
    Scan, TableRow, Write,
};
use crate::{StoreError, Table, TableRef};
use async_trait::async_trait;
use bytes::Bytes;
use connect::Connection;
use counters::Counters;
use notes::Marker;
use p92_kernel::{Seq, ShardCount};
use place::{LOG, META, Verb};
use scylla::statement::prepared::PreparedStatement;
use statements::Catalogue;
use std::sync::Arc;
use std::time::Duration;
use writes::Ticker;

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The migration has not run, or not to its end. A service waits for it, and says so.
    #[error(
        "the store has schema {stands}, this build wants {wanted}{}; run the migration",
        if .missing.is_empty() { String::new() } else { format!(" and misses {}", .missing.join(", ")) }
    )]
    SchemaBehind {
        /// 0: there is none yet.
        stands: u64,
        wanted: u64,
        /// Physical tables that are not there.
        missing: Vec<String>,
    },
    /// Anything else; [`StoreError::Unavailable`] may be waited for.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A store over CQL.
#[derive(Debug)]
pub struct CqlEngine {
    connection: Connection,
    catalogue: Catalogue,
    keyspace: String,
    marker: Marker,
    fresh: bool,
    append_budget: Duration,
    ticker: Ticker,
    counters: Counters,
}

/// A store, seen by somebody who only looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The id and number of shards of the installation, if it was ever opened.
    pub opened: Option<(String, ShardCount)>,
    /// When the node that was asked syncs what it acknowledges: `commitlog_sync`, `periodic` or `batch`, with Cassandra
    /// also `group`. `None` if it does not say.
    pub syncs: Option<String>,
}

impl CqlEngine {
    /// Opens a store for these tables. Refuses while its schema is older than this build's or lacks a table; one that is
    /// newer is used as it is, since versions expand before they contract.
    pub async fn open(config: &CqlConfig, tables: &[&'static Table]) -> Result<Arc<Self>, OpenError> {
        let connection = connect_to_schema(config, tables).await?;
        let keyspace = config.keyspace.clone();
        let (marker, fresh) = notes::marker(&connection, config).await?;
        Ok(Arc::new(Self {
            catalogue: Catalogue::of_tables(&keyspace, tables),
            connection,
            keyspace,
            marker,
            fresh,
            append_budget: config.append_budget,
            ticker: Ticker::default(),
            counters: Counters::default(),
        }))
    }

    /// Whether these tables could be served, and what is seen of the store then. It changes nothing.
    pub async fn look(config: &CqlConfig, tables: &[&'static Table]) -> Result<Sight, OpenError> {
        let connection = connect_to_schema(config, tables).await?;
        let marker = notes::standing(&connection, &config.keyspace).await?;
        Ok(Sight {
            opened: marker.map(|marker| (marker.installation, marker.shards)),
            syncs: notes::syncs(&connection).await?,
        })
    }

    /// The id that the store was given at first start.
    #[must_use]
    pub fn installation(&self) -> &str {
        &self.marker.installation
    }

    /// The number of shards that the store was given at first start.
    #[must_use]
    pub const fn shards(&self) -> ShardCount {
        self.marker.shards
    }

    /// Whether this start gave them: true for exactly one of those who open a new store at once.
    #[must_use]
    pub const fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// What became of appends so far.
    #[must_use]
    pub fn appends(&self) -> Appends {
        self.counters.read()
    }

    /// What the store was asked to do so far.
    #[must_use]
    pub fn asked(&self, operation: Operation) -> Asked {
        self.counters.asked(operation)
    }

    async fn statement(&self, table: TableRef, verb: Verb) -> Result<&PreparedStatement, StoreError> {
        self.catalogue.of(table)?.of(&self.connection, verb).await
    }
}

/// A connection to a store whose schema is there.
async fn connect_to_schema(config: &CqlConfig, tables: &[&'static Table]) -> Result<Connection, OpenError> {
    let wanted = place::physical(tables)?;
    let connection = connect::connect(config).await?;
    let keyspace = &config.keyspace;
    let standing = notes::tables(&connection, keyspace).await?;
    let stands = |name: &str| standing.iter().any(|(standing, _)| standing == name);
    let version = if stands(META) { notes::schema_version(&connection, keyspace).await? } else { 0 };
    let names = wanted.into_iter().map(|table| table.name).chain([LOG.to_owned(), META.to_owned()]);
    let missing: Vec<String> = names.filter(|name| !stands(name)).collect();
    if version < SCHEMA || !missing.is_empty() {
        return Err(OpenError::SchemaBehind { stands: version, wanted: SCHEMA, missing });
    }
    Ok(connection)
}

#[async_trait]
impl Engine for CqlEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities { atomic_projection: false, exclusive: false }
    }

    async fn get(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.get_row(key).await
    }

    async fn get_many(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>, StoreError> {
        self.get_rows(keys).await
    }

    async fn scan(&self, scan: &Scan) -> Result<Page<(Bytes, Row)>, StoreError> {
        self.scan_partition(scan).await
    }

    async fn scan_table(
        &self,
        table: TableRef,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Page<TableRow>, StoreError> {
        self.scan_rows(table, after, limit).await
    }

    async fn clear(&self, table: TableRef) -> Result<(), StoreError> {
        self.empty(table).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.write_plain(&writes).await
    }

    async fn destroy(&self, key: &RowKey) -> Result<(), StoreError> {
        self.destroy_row(key).await
    }

    async fn insert_if_absent(&self, key: &RowKey, value: Bytes) -> Result<Conditional, StoreError> {
        self.insert(key, &value).await
    }

    async fn compare_and_set(
        &self,
        key: &RowKey,
        expected: Option<u64>,
        value: Bytes,
    ) -> Result<Conditional, StoreError> {
        match expected {
            None => self.insert(key, &value).await,
            Some(expected) => self.update(key, expected, &value).await,
        }
    }

    async fn compare_and_delete(&self, key: &RowKey, expected: u64) -> Result<Conditional, StoreError> {
        self.remove(key, expected).await
    }

    async fn project(&self, batch: ProjectedBatch) -> Result<Projection, StoreError> {
        self.project_rows(&batch).await
    }

    async fn append(&self, log: LogKey, row: &LogRow, before: &[Write]) -> Result<Append, StoreError> {
        self.append_row(log, row, before).await
    }

    async fn log_row(&self, log: LogKey, first_seq: Seq) -> Result<Option<LogRow>, StoreError> {
        self.row_at(log, first_seq).await
    }

    async fn read_log(&self, log: LogKey, after: Seq, max_bytes: usize) -> Result<Vec<LogRow>, StoreError> {
        self.rows_after(log, after, max_bytes).await
    }
}
