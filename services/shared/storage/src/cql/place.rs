//! Where a row lies: which physical table, and the text of every statement.
//!
//! In: tables as their services declare them. Out: names, one line of DDL each, and statements whose only difference is
//! the table. It must not know who executes them.
//!
//! Every table is alike: `p` and `c` are the same key bytes as in the embedded engine, `row` is the value, `v` the version
//! of rows that are written conditionally. State is never emptied by rebuilds, so all state of one owner (a service, or
//! what stands before the first `_`) shares one physical table, told apart by `t`, the table's name. Views and stream rows
//! have their own, so that emptying one is one `TRUNCATE`.

use crate::engine::RowKey;
use crate::limits::check_length;
use crate::{Class, StoreError, Table, TableRef};
use p92_kernel::{Service, digest};
use scylla::value::CqlValue;
use std::collections::BTreeMap;

/// Physical tables that a keyspace may have, those of the engine itself included. Each costs every node of the store
/// memory, whatever is in it; the servers warn somewhat above.
const MOST_TABLES: usize = 99;

/// Logs of all services and shards.
pub const LOG: &str = "p92_log";
/// Marker, schema version, lease of the migration.
pub const META: &str = "p92_meta";

/// A physical table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Physical {
    pub name: String,
    pub class: Class,
}

/// Who declares a table: the service that its name begins with, else its first word.
fn owner(table: &Table) -> &'static str {
    let of_service = Service::ALL
        .into_iter()
        .map(Service::name)
        .find(|service| table.name.strip_prefix(service).is_some_and(|rest| rest.starts_with('_')));
    of_service.unwrap_or_else(|| table.name.split('_').next().unwrap_or(table.name))
}

/// The name of the physical table that a table's rows lie in.
pub fn physical_name(table: TableRef) -> String {
    match table.table.class {
        Class::State => format!("{}_state", owner(table.table)),
        Class::Log | Class::View => table.to_string(),
    }
}

/// The physical tables of `tables`, each once, in order of their names; without those of the engine itself.
pub fn physical(tables: &[&'static Table]) -> Result<Vec<Physical>, StoreError> {
    use crate::Side;
    let mut found: BTreeMap<String, Class> = BTreeMap::new();
    for table in tables {
        let sides: &[Side] = if table.class == Class::View { &[Side::A, Side::B] } else { &[Side::Only] };
        for side in sides {
            let name = physical_name(table.side(*side));
            if !is_name(&name) {
                return Err(bug(format!("{name:?} cannot be the name of a table")));
            }
            let shared = table.class == Class::State;
            if found.insert(name.clone(), table.class).is_some_and(|class| !shared || class != table.class) {
                return Err(bug(format!("two tables want to lie in {name}")));
            }
        }
    }
    if found.len() + 2 > MOST_TABLES {
        return Err(bug(format!(
            "{} tables, and the store is to have at most {MOST_TABLES}; services must declare fewer views",
            found.len() + 2
        )));
    }
    Ok(found.into_iter().map(|(name, class)| Physical { name, class }).collect())
}

/// Names stand in statements as they are, so they hold nothing that would have to be quoted. 48 is Cassandra's limit.
pub fn is_name(name: &str) -> bool {
    name.len() <= 48
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn bug(what: String) -> StoreError {
    StoreError::Damaged(what)
}

/// One line of DDL. The comment tells a later migration what may be dropped.
pub fn create(keyspace: &str, physical: &Physical) -> String {
    let name = &physical.name;
    let (part, key, words) = match physical.class {
        Class::State => ("t text, ", "(t, p)", "state"),
        Class::Log => ("", "p", "log"),
        Class::View => ("", "p", VIEW_COMMENT),
    };
    format!(
        "CREATE TABLE IF NOT EXISTS {keyspace}.{name} ({part}p blob, c blob, v bigint, row blob, \
         PRIMARY KEY ({key}, c)) WITH comment = '{words}'"
    )
}

/// What stands in the comment of a view's table.
pub const VIEW_COMMENT: &str = "view";

/// The line of the logs.
pub fn create_log(keyspace: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {keyspace}.{LOG} (service text, shard int, bucket bigint, first_seq bigint, \
         last_seq bigint, group_id blob, events blob, PRIMARY KEY ((service, shard, bucket), first_seq)) \
         WITH comment = 'log'"
    )
}

/// The line of the engine's own notes. On Cassandra the id is given, a function of the keyspace: two who make a table at
/// once through different nodes would each give it one of their own, and there is no lease yet that keeps them apart.
pub fn create_meta(keyspace: &str, fixed_id: bool) -> String {
    let id = if fixed_id { format!(" AND id = {}", meta_id(keyspace)) } else { String::new() };
    format!(
        "CREATE TABLE IF NOT EXISTS {keyspace}.{META} (name text PRIMARY KEY, value text, holder text, beat bigint) \
         WITH comment = 'meta'{id}"
    )
}

/// In the shape of a time-based id, as the server gives them.
fn meta_id(keyspace: &str) -> String {
    let digest = digest::sha256(format!("{keyspace}.{META}").as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-1{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

/// What is done to rows; each a statement of every table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    Get,
    Forward,
    Backward,
    ScanTable,
    /// Put at a timestamp: a position, or the time.
    Put,
    /// Delete at a timestamp.
    Delete,
    Insert,
    Update,
    Remove,
}

impl Verb {
    pub const ALL: [Self; 9] = [
        Self::Get,
        Self::Forward,
        Self::Backward,
        Self::ScanTable,
        Self::Put,
        Self::Delete,
        Self::Insert,
        Self::Update,
        Self::Remove,
    ];

    /// Whether it is decided by the replicas' agreement. Then it may not be sent twice: its repeat would meet its own work.
    pub const fn is_conditional(self) -> bool {
        matches!(self, Self::Insert | Self::Update | Self::Remove)
    }

    /// The statement, for a physical table.
    pub fn text(self, keyspace: &str, table: &str, class: Class) -> String {
        let at = format!("{keyspace}.{table}");
        let shared = class == Class::State;
        let part = if shared { "t = ? AND p = ?" } else { "p = ?" };
        let (names, marks) = if shared { ("t, p, c", "?, ?, ?") } else { ("p, c", "?, ?") };
        // A condition on `row` that is always true: so a refusal shows the row that stands, in the same round trip.
        let standing = "v = ? AND row >= 0x";
        match self {
            Self::Get => format!("SELECT v, row, WRITETIME(row) FROM {at} WHERE {part} AND c = ?"),
            Self::Forward => format!(
                "SELECT c, v, row, WRITETIME(row) FROM {at} WHERE {part} AND c >= ? AND c < ? ORDER BY c ASC LIMIT ?"
            ),
            Self::Backward => format!(
                "SELECT c, v, row, WRITETIME(row) FROM {at} WHERE {part} AND c >= ? AND c < ? ORDER BY c DESC LIMIT ?"
            ),
            Self::ScanTable if shared => {
                format!("SELECT p, c, v, row, WRITETIME(row) FROM {at} WHERE t = ? ALLOW FILTERING")
            }
            Self::ScanTable => format!("SELECT p, c, v, row, WRITETIME(row) FROM {at}"),
            Self::Put => format!("INSERT INTO {at} ({names}, row) VALUES ({marks}, ?) USING TIMESTAMP ?"),
            Self::Delete => format!("DELETE FROM {at} USING TIMESTAMP ? WHERE {part} AND c = ?"),
            Self::Insert => {
                format!("INSERT INTO {at} ({names}, v, row) VALUES ({marks}, 1, ?) IF NOT EXISTS")
            }
            Self::Update => format!("UPDATE {at} SET v = ?, row = ? WHERE {part} AND c = ? IF {standing}"),
            Self::Remove => format!("DELETE FROM {at} WHERE {part} AND c = ? IF {standing}"),
        }
    }
}

/// A value to bind.
pub fn blob(bytes: &[u8]) -> CqlValue {
    CqlValue::Blob(bytes.to_vec())
}

/// A number to bind. Positions, versions and times stay far below the border.
pub fn bigint(number: u64) -> CqlValue {
    CqlValue::BigInt(i64::try_from(number).unwrap_or(i64::MAX))
}

/// The name by which a table is told apart inside its physical one; `None` if it has that for itself.
pub const fn name_within(table: TableRef) -> Option<&'static str> {
    match table.table.class {
        Class::State => Some(table.table.name),
        Class::Log | Class::View => None,
    }
}

/// What names a table inside its physical one.
pub fn table_values(table: TableRef) -> Vec<CqlValue> {
    name_within(table).map(|name| CqlValue::Text(name.to_owned())).into_iter().collect()
}

/// What names a partition.
pub fn partition_values(table: TableRef, partition: &[u8]) -> Result<Vec<CqlValue>, StoreError> {
    check_length(table, partition)?;
    if partition.is_empty() {
        return Err(bug(format!("an empty partition key of {table}; CQL has none")));
    }
    let mut values = table_values(table);
    values.push(blob(partition));
    Ok(values)
}

/// What names a row.
pub fn key_values(key: &RowKey) -> Result<Vec<CqlValue>, StoreError> {
    check_length(key.table, &key.clustering)?;
    let mut values = partition_values(key.table, &key.partition)?;
    values.push(blob(&key.clustering));
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;

    static SESSIONS: Table = table("identity_sessions", Class::State);
    static TOKENS: Table = table("identity_tokens", Class::State);
    static QUEUE: Table = table("federation_delivery_queue", Class::State);
    static APPLIED: Table = table("eventlog_applied", Class::State);
    static EDGES: Table = table("identity_edges", Class::View);
    static STREAMS: Table = table("identity_streams", Class::Log);
    static CLASH: Table = table("identity_state", Class::Log);

    const fn table(name: &'static str, class: Class) -> Table {
        Table { name, class, row: "", serves: "" }
    }

    #[test]
    fn state_of_an_owner_shares_a_table_and_views_have_two() {
        let tables = [&SESSIONS, &TOKENS, &QUEUE, &APPLIED, &EDGES, &STREAMS];
        let names: Vec<String> = physical(&tables).unwrap().into_iter().map(|one| one.name).collect();
        let expected = [
            "eventlog_state",
            "federation_delivery_state",
            "identity_edges_a",
            "identity_edges_b",
            "identity_state",
            "identity_streams",
        ];
        assert_eq!(names, expected);
        assert_ne!(physical_name(EDGES.side(Side::A)), physical_name(EDGES.side(Side::B)));
    }

    #[test]
    fn two_classes_never_share_and_names_need_no_quotes() {
        assert!(physical(&[&SESSIONS, &CLASH]).is_err());
        assert!(physical(&[&EDGES, &EDGES]).is_err());
        static QUOTED: Table = table("x; DROP", Class::View);
        assert!(physical(&[&QUOTED]).is_err());
    }

    #[test]
    fn more_tables_than_a_store_should_have_are_refused() {
        let views = |count: usize| -> Vec<&'static Table> {
            (0..count)
                .map(|n| {
                    let name: &'static str = Box::leak(format!("x_v{n}").into_boxed_str());
                    &*Box::leak(Box::new(table(name, Class::View)))
                })
                .collect()
        };
        assert_eq!(physical(&views(48)).unwrap().len(), 96);
        assert!(physical(&views(49)).is_err());
    }

    /// The rules of portable CQL that can be read off the statements.
    #[test]
    fn statements_keep_to_the_portable_subset() {
        for class in [Class::State, Class::Log, Class::View] {
            for verb in Verb::ALL {
                let text = verb.text("k", "t", class);
                assert_eq!(text.contains(" IF "), verb.is_conditional(), "{text}");
                assert!(!(verb.is_conditional() && text.contains("TIMESTAMP")), "{text}");
                assert!(!text.contains("NULL") && !text.contains(':') && !text.contains(" IN "), "{text}");
            }
        }
    }
}
