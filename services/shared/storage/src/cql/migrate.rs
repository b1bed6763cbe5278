//! Migrations: the schema that this version wants, made by one runner at a time, as often as one likes.
//!
//! In: tables as services declare them. Out: a keyspace that has them all. It must not know what is in them.
//!
//! First expand: whatever is wanted is added, and nothing that an older version uses goes. When no older version runs
//! any more, contract: tables of views that nobody declares are dropped. State and logs are never dropped here.

use super::config::CqlConfig;
use super::connect::{Connection, connect};
use super::lease::Lease;
use super::notes;
use super::place::{self, LOG, META, Physical, VIEW_COMMENT};
use crate::{Outcome, StoreError, Table};
use scylla::statement::Statement;
use scylla::value::CqlValue;
use std::sync::Arc;

/// The layout that this build reads and writes. Raised with every change of what stands inside tables; tables that come
/// and go are seen in the store itself.
pub const SCHEMA: u64 = 1;

/// Which half of a migration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Step {
    /// Adds. Before the first process of the new version starts.
    #[default]
    Expand,
    /// Drops what only older versions used. After the last process of the old version ended, and only by one who names
    /// the tables of all services.
    Contract,
}

/// What a migration did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Tables that were made.
    pub made: Vec<String>,
    /// Tables that were dropped.
    pub dropped: Vec<String>,
    /// Tables that nobody declares and that stay.
    pub left: Vec<String>,
    /// The version before; 0 in a new keyspace.
    pub from: u64,
}

/// What a migration is about to do, for whoever watches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Another runner has the lease, and this one waits for it.
    Waits,
    /// Makes the keyspace, with so many copies of each row.
    MakesKeyspace { copies: u8 },
    /// Makes the table, which is the `at`th of `of`.
    Makes { table: &'a str, at: usize, of: usize },
    /// Drops the table.
    Drops { table: &'a str },
}

/// Told of each step before it is done.
pub type Watch<'a> = &'a (dyn Fn(Progress<'_>) + Send + Sync);

/// Brings the schema to this build's version. To run it again, or twice at once, changes nothing more.
pub async fn migrate(
    config: &CqlConfig,
    tables: &[&'static Table],
    step: Step,
) -> Result<Migrated, StoreError> {
    migrate_watched(config, tables, step, &|_| {}).await
}

/// The same, telling of each step.
pub async fn migrate_watched(
    config: &CqlConfig,
    tables: &[&'static Table],
    step: Step,
    watch: Watch<'_>,
) -> Result<Migrated, StoreError> {
    let wanted = place::physical(tables)?;
    let connection = Arc::new(connect(config).await?);
    let scylla = notes::is_scylla(&connection).await?;
    make_keyspace(&connection, config, scylla, watch).await?;
    ddl(&connection, place::create_meta(&config.keyspace, !scylla)).await?;
    let lease = Lease::take(&connection, config, &|| watch(Progress::Waits)).await?;
    let done = under_lease(&connection, config, (&wanted, step), &lease, watch).await;
    lease.give_back().await;
    done
}

async fn under_lease(
    connection: &Connection,
    config: &CqlConfig,
    (wanted, step): (&[Physical], Step),
    lease: &Lease,
    watch: Watch<'_>,
) -> Result<Migrated, StoreError> {
    let keyspace = &config.keyspace;
    let mut done =
        Migrated { from: notes::schema_version(connection, keyspace).await?, ..Migrated::default() };
    if done.from > SCHEMA && step == Step::Contract {
        return Err(StoreError::Refused {
            problem: format!("the store has schema {}, this build knows {SCHEMA}", done.from),
            advice: "contract with the newer P92".to_owned(),
        });
    }
    let standing = notes::tables(connection, keyspace).await?;
    let stands = |name: &str| standing.iter().any(|(standing, _)| standing == name);
    let lines = wanted
        .iter()
        .map(|table| (table.name.as_str(), place::create(keyspace, table)))
        .chain([(LOG, place::create_log(keyspace))]);
    let missing: Vec<_> = lines.filter(|(name, _)| !stands(name)).collect();
    let of = missing.len();
    for (at, (name, line)) in missing.into_iter().enumerate() {
        lease.check()?;
        watch(Progress::Makes { table: name, at: at + 1, of });
        ddl(connection, line).await?;
        done.made.push(name.to_owned());
    }
    for (name, comment) in &standing {
        if [LOG, META].contains(&name.as_str()) || wanted.iter().any(|table| table.name == *name) {
            continue;
        }
        if step == Step::Contract && comment == VIEW_COMMENT {
            lease.check()?;
            watch(Progress::Drops { table: name });
            ddl(connection, format!("DROP TABLE IF EXISTS {keyspace}.{name}")).await?;
            done.dropped.push(name.clone());
        } else {
            done.left.push(name.clone());
        }
    }
    lease.check()?;
    if done.from < SCHEMA {
        set_version(connection, keyspace, done.from).await?;
    }
    Ok(done)
}

/// Last, so that whoever sees the version finds everything that belongs to it.
async fn set_version(connection: &Connection, keyspace: &str, from: u64) -> Result<(), StoreError> {
    let new = CqlValue::Text(SCHEMA.to_string());
    let answer = if from == 0 {
        let insert =
            format!("INSERT INTO {keyspace}.{META} (name, value) VALUES ('schema', ?) IF NOT EXISTS");
        notes::decide(connection, &insert, vec![new]).await
    } else {
        let update = format!("UPDATE {keyspace}.{META} SET value = ? WHERE name = 'schema' IF value = ?");
        notes::decide(connection, &update, vec![new, CqlValue::Text(from.to_string())]).await
    };
    // Not applied: an attempt whose answer was lost, or a newer runner. Either way the look tells.
    answer?;
    let stands = notes::schema_version(connection, keyspace).await?;
    if stands < SCHEMA {
        return Err(StoreError::Unavailable {
            reason: format!("the schema's version is still {stands}"),
            outcome: Outcome::Unknown,
        });
    }
    Ok(())
}

async fn make_keyspace(
    connection: &Connection,
    config: &CqlConfig,
    scylla: bool,
    watch: Watch<'_>,
) -> Result<(), StoreError> {
    let text = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let keyspace = &config.keyspace;
    let found = notes::rows::<(String,)>(connection, text, vec![CqlValue::Text(keyspace.clone())]).await?;
    if !found.is_empty() {
        return Ok(());
    }
    let datacenter = match &config.datacenter {
        Some(datacenter) => datacenter.clone(),
        None => local_datacenter(connection).await?,
    };
    if !datacenter.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
        return Err(StoreError::Refused {
            problem: format!("a datacenter named {datacenter:?}"),
            advice: "make the keyspace by hand".to_owned(),
        });
    }
    enough_nodes(connection, config, &datacenter)?;
    watch(Progress::MakesKeyspace { copies: config.replication });
    // Conditional writes on tablets need ScyllaDB 2025.4 or later; without them every version behaves alike.
    let tablets = if scylla { " AND tablets = {'enabled': false}" } else { "" };
    let line = format!(
        "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = \
         {{'class': 'NetworkTopologyStrategy', '{datacenter}': {}}} AND durable_writes = true{tablets}",
        config.replication
    );
    ddl(connection, line).await
}

/// A keyspace that wants more copies than there are nodes takes no write, and says so to nobody. Nodes that are about to
/// come are waited for by whoever repeats the migration.
fn enough_nodes(connection: &Connection, config: &CqlConfig, datacenter: &str) -> Result<(), StoreError> {
    let state = connection.session.get_cluster_state();
    let nodes = state.get_nodes_info();
    let there = nodes.iter().filter(|node| node.datacenter.as_deref() == Some(datacenter)).count();
    if there >= usize::from(config.replication) {
        return Ok(());
    }
    Err(StoreError::Unavailable {
        reason: format!(
            "each row shall have {} copies, and the datacenter {datacenter} has {there} nodes; \
             start more of them, or ask for fewer copies",
            config.replication
        ),
        outcome: Outcome::NoEffect,
    })
}

async fn local_datacenter(connection: &Connection) -> Result<String, StoreError> {
    let found =
        notes::rows::<(String,)>(connection, "SELECT data_center FROM system.local", Vec::new()).await?;
    let first = found.into_iter().next().map(|(datacenter,)| datacenter);
    first.ok_or_else(|| StoreError::Damaged("a node that does not know its datacenter".to_owned()))
}

/// Every line says IF (NOT) EXISTS, so one whose answer was lost may be sent again. The driver waits until all nodes
/// agree on the schema.
async fn ddl(connection: &Connection, line: String) -> Result<(), StoreError> {
    let mut statement = Statement::new(line);
    statement.set_is_idempotent(true);
    statement.set_execution_profile_handle(Some(connection.slow.clone()));
    connection
        .session
        .query_unpaged(statement, ())
        .await
        .map(drop)
        .map_err(|error| super::outcome::write(&error))
}
