//! The engine's own notes in the store: whose installation this is, and the version of its schema.
//!
//! In: a connection. Out: what stands in the table of notes. It must not know who migrates.
//!
//! A note is made or changed conditionally, so two who start at once agree on it.

use super::config::CqlConfig;
use super::connect::Connection;
use super::outcome;
use super::place::META;
use super::writes::Decision;
use crate::{Outcome, StoreError, ids};
use p92_kernel::ShardCount;
use scylla::statement::Statement;
use scylla::value::CqlValue;
use std::time::Duration;

/// Attempts at a note whose outcome is unknown; each repeat is harmless, since it shows what stands.
const ATTEMPTS: u32 = 5;

/// What the store was given at first start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    pub installation: String,
    pub shards: ShardCount,
}

/// An id that nobody makes twice.
pub fn random_id() -> Result<String, StoreError> {
    ids::random_id().map_err(|error| StoreError::Unavailable {
        reason: format!("no randomness for an id: {error}"),
        outcome: Outcome::NoEffect,
    })
}

/// The marker, made if there is none, and whether this call made it.
pub async fn marker(connection: &Connection, config: &CqlConfig) -> Result<(Marker, bool), StoreError> {
    let keyspace = &config.keyspace;
    let installation = config.installation.clone().map_or_else(random_id, Ok)?;
    let made = Marker { installation, shards: config.shards };
    let text = format!("{} {}", made.installation, made.shards.get());
    let insert =
        format!("INSERT INTO {keyspace}.{META} (name, value) VALUES ('installation', ?) IF NOT EXISTS");
    let mut attempt = 0;
    let stands = loop {
        if let Some(stands) = value(connection, keyspace, "installation").await? {
            break stands;
        }
        attempt += 1;
        match decide(connection, &insert, vec![CqlValue::Text(text.clone())]).await {
            Ok(answer) if answer.applied => break text.clone(),
            Ok(answer) => {
                let empty = || StoreError::Damaged("an installation's marker that says nothing".to_owned());
                break answer.text("value").ok_or_else(empty)?;
            }
            Err(error) if attempt >= ATTEMPTS => return Err(error),
            // It may stand all the same: the next look tells.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    let fresh = stands == text;
    Ok((parse(&stands)?, fresh))
}

/// The marker, if there is one.
pub async fn standing(connection: &Connection, keyspace: &str) -> Result<Option<Marker>, StoreError> {
    value(connection, keyspace, "installation").await?.as_deref().map(parse).transpose()
}

fn parse(stands: &str) -> Result<Marker, StoreError> {
    let damaged = || StoreError::Damaged(format!("the installation's marker {stands:?}"));
    let (installation, count) = stands.split_once(' ').ok_or_else(damaged)?;
    let shards = count.parse().ok().and_then(ShardCount::new).ok_or_else(damaged)?;
    if installation.len() != 32 {
        return Err(damaged());
    }
    Ok(Marker { installation: installation.to_owned(), shards })
}

/// A note.
pub async fn value(
    connection: &Connection,
    keyspace: &str,
    name: &str,
) -> Result<Option<String>, StoreError> {
    let text = format!("SELECT value FROM {keyspace}.{META} WHERE name = ?");
    let rows = rows::<(Option<String>,)>(connection, &text, vec![CqlValue::Text(name.to_owned())]).await?;
    Ok(rows.into_iter().next().and_then(|(value,)| value))
}

/// The version of the schema; 0 before there is any.
pub async fn schema_version(connection: &Connection, keyspace: &str) -> Result<u64, StoreError> {
    let Some(text) = value(connection, keyspace, "schema").await? else { return Ok(0) };
    text.parse().map_err(|_| StoreError::Damaged(format!("the schema's version {text:?}")))
}

/// The tables of a keyspace with their comments; none if there is no such keyspace.
pub async fn tables(connection: &Connection, keyspace: &str) -> Result<Vec<(String, String)>, StoreError> {
    let text = "SELECT table_name, comment FROM system_schema.tables WHERE keyspace_name = ?";
    let found =
        rows::<(String, Option<String>)>(connection, text, vec![CqlValue::Text(keyspace.to_owned())]).await?;
    Ok(found.into_iter().map(|(name, comment)| (name, comment.unwrap_or_default())).collect())
}

/// When the node that is asked syncs what it acknowledges, if it says so. Cassandra and ScyllaDB tell it in different places.
pub async fn syncs(connection: &Connection) -> Result<Option<String>, StoreError> {
    let table = if is_scylla(connection).await? { "system.config" } else { "system_views.settings" };
    let text = format!("SELECT value FROM {table} WHERE name = 'commitlog_sync'");
    let rows = rows::<(Option<String>,)>(connection, &text, Vec::new()).await?;
    Ok(rows.into_iter().next().and_then(|(value,)| value).map(|value| value.trim_matches('"').to_owned()))
}

/// ScyllaDB has a table of its own where it keeps what is local to a node.
pub async fn is_scylla(connection: &Connection) -> Result<bool, StoreError> {
    let found = tables(connection, "system").await?;
    Ok(found.iter().any(|(name, _)| name == "scylla_local"))
}

/// All rows of a small, unprepared read.
pub async fn rows<R>(connection: &Connection, text: &str, values: Vec<CqlValue>) -> Result<Vec<R>, StoreError>
where
    R: for<'a> scylla::deserialize::row::DeserializeRow<'a, 'a>,
{
    let mut statement = Statement::new(text);
    statement.set_is_idempotent(true);
    let answer = connection.session.query_unpaged(statement, values).await;
    let result = answer.map_err(|error| outcome::read(&error))?;
    let result =
        result.into_rows_result().map_err(|error| outcome::damaged("an answer without rows", &error))?;
    let rows = result.rows::<R>().map_err(|error| outcome::damaged("a note", &error))?;
    rows.collect::<Result<_, _>>().map_err(|error| outcome::damaged("a note", &error))
}

/// A small, unprepared conditional write.
pub async fn decide(
    connection: &Connection,
    text: &str,
    values: Vec<CqlValue>,
) -> Result<Decision, StoreError> {
    let mut statement = Statement::new(text);
    statement.set_is_idempotent(false);
    statement.set_execution_profile_handle(Some(connection.conditional.clone()));
    let answer = connection.session.query_unpaged(statement, values).await;
    Decision::read(answer.map_err(|error| outcome::conditional(&error))?)
}
