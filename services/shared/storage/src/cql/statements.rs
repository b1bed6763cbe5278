//! Prepared statements: each is prepared when it is first needed, and marked for how it may be asked.
//!
//! In: the tables that the store was opened with. Out: statements. It must not know their values.

use super::connect::Connection;
use super::outcome;
use super::place::{self, LOG, Verb};
use crate::limits::PAGE_ROWS;
use crate::{Class, Side, StoreError, Table, TableRef};
use scylla::statement::prepared::PreparedStatement;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Rows that the server sends at once, at most. A page of the port has no more, so it is one page of the server too, and
/// a batch is seen whole; ScyllaDB cuts pages at 1 MiB all the same.
const PAGE: i32 = PAGE_ROWS as i32;
/// Rows of a log that the server sends at once: groups of up to 64 KiB.
const LOG_PAGE: i32 = 64;

/// The statements of one physical table.
#[derive(Debug)]
pub struct Statements {
    keyspace: String,
    pub physical: String,
    class: Class,
    prepared: [OnceCell<PreparedStatement>; Verb::ALL.len()],
}

impl Statements {
    /// A statement, ready to be asked.
    pub async fn of(&self, connection: &Connection, verb: Verb) -> Result<&PreparedStatement, StoreError> {
        let cell = Verb::ALL
            .iter()
            .position(|one| *one == verb)
            .and_then(|place| self.prepared.get(place))
            .ok_or_else(|| StoreError::Damaged("a verb without a statement".to_owned()))?;
        cell.get_or_try_init(|| async {
            let text = verb.text(&self.keyspace, &self.physical, self.class);
            let mut statement = prepare(connection, text).await?;
            statement.set_is_idempotent(!verb.is_conditional());
            let handle = if verb.is_conditional() { &connection.conditional } else { &connection.repeatable };
            statement.set_execution_profile_handle(Some(handle.clone()));
            statement.set_page_size(PAGE);
            Ok(statement)
        })
        .await
    }
}

async fn prepare(connection: &Connection, text: String) -> Result<PreparedStatement, StoreError> {
    connection.session.prepare(text).await.map_err(|error| outcome::prepare(&error))
}

/// The statements of all tables.
#[derive(Debug)]
pub struct Catalogue {
    tables: HashMap<(&'static str, Side), Arc<Statements>>,
    keyspace: String,
    insert_log: OnceCell<PreparedStatement>,
    log_row: OnceCell<PreparedStatement>,
    read_log: OnceCell<PreparedStatement>,
}

impl Catalogue {
    /// Of these tables.
    pub fn of_tables(keyspace: &str, tables: &[&'static Table]) -> Self {
        let mut physical: HashMap<String, Arc<Statements>> = HashMap::new();
        let mut known = HashMap::new();
        for table in tables {
            for side in [Side::Only, Side::A, Side::B] {
                if (table.class == Class::View) == (side == Side::Only) {
                    continue;
                }
                let name = place::physical_name(table.side(side));
                let statements = physical.entry(name.clone()).or_insert_with(|| {
                    Arc::new(Statements {
                        keyspace: keyspace.to_owned(),
                        physical: name,
                        class: table.class,
                        prepared: Default::default(),
                    })
                });
                known.insert((table.name, side), Arc::clone(statements));
            }
        }
        Self {
            tables: known,
            keyspace: keyspace.to_owned(),
            insert_log: OnceCell::new(),
            log_row: OnceCell::new(),
            read_log: OnceCell::new(),
        }
    }

    /// The statements of a table.
    pub fn of(&self, table: TableRef) -> Result<&Arc<Statements>, StoreError> {
        self.tables.get(&(table.table.name, table.side)).ok_or_else(|| {
            StoreError::Damaged(format!("{table} is not among the tables that the store was opened with"))
        })
    }

    /// One conditional insert is the whole of an append.
    pub async fn insert_log(&self, connection: &Connection) -> Result<&PreparedStatement, StoreError> {
        self.insert_log
            .get_or_try_init(|| async {
                let text = format!(
                    "INSERT INTO {}.{LOG} (service, shard, bucket, first_seq, last_seq, group_id, events) \
                     VALUES (?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS",
                    self.keyspace
                );
                let mut statement = prepare(connection, text).await?;
                statement.set_is_idempotent(false);
                statement.set_execution_profile_handle(Some(connection.log.clone()));
                Ok(statement)
            })
            .await
    }

    /// The row at a slot.
    pub async fn log_row(&self, connection: &Connection) -> Result<&PreparedStatement, StoreError> {
        self.log_row.get_or_try_init(|| self.log_read(connection, "first_seq = ?")).await
    }

    /// Rows of a bucket from a slot on.
    pub async fn read_log(&self, connection: &Connection) -> Result<&PreparedStatement, StoreError> {
        self.read_log.get_or_try_init(|| self.log_read(connection, "first_seq >= ?")).await
    }

    async fn log_read(&self, connection: &Connection, slot: &str) -> Result<PreparedStatement, StoreError> {
        let text = format!(
            "SELECT first_seq, last_seq, group_id, events FROM {}.{LOG} \
             WHERE service = ? AND shard = ? AND bucket = ? AND {slot}",
            self.keyspace
        );
        let mut statement = prepare(connection, text).await?;
        statement.set_is_idempotent(true);
        statement.set_execution_profile_handle(Some(connection.repeatable.clone()));
        statement.set_page_size(LOG_PAGE);
        Ok(statement)
    }
}
