//! The store that processes share: settings as the engine takes them, its schema, its opening.
//!
//! In: settings. Out: an open store, or in words what is waited for. It names every table of every service, because one
//! keyspace serves all of them; it refuses to know what is in them.

use super::OpenStore;
use super::waiting::{NotYet, Waiting};
use crate::settings::{Consistency, LogSerial, Settings};
use anyhow::Context as _;
use p92_kernel::ShardCount;
use p92_storage::cql::{
    self, Asked, CqlTls, CqlUser, Migrated, OpenError, Operation, Password, Sight, Step, Watch,
};
use p92_storage::{CqlConfig, CqlEngine, Engine, StoreError, Table};
use std::sync::Arc;

/// Every table of the installation: those of services, and those that logs keep of themselves.
#[must_use]
pub fn tables() -> Vec<&'static Table> {
    [
        p92_identity::tables(),
        p92_posting::tables::all().to_vec(),
        p92_timelines::tables(),
        p92_federation_delivery::tables::ALL.to_vec(),
        p92_ranking::tables::ALL.to_vec(),
        p92_eventlog::tables::all(),
    ]
    .concat()
}

/// The settings as the engine takes them.
pub fn config(settings: &Settings) -> anyhow::Result<CqlConfig> {
    let cql = &settings.store.cql;
    let mut config = CqlConfig::at(&cql.contact_points);
    config.keyspace.clone_from(&cql.keyspace);
    config.datacenter.clone_from(&cql.datacenter);
    config.replication = cql.replication;
    config.shards = ShardCount::new(settings.store.shards).context("`store.shards` was checked")?;
    config.consistency = match cql.consistency {
        Consistency::LocalQuorum => cql::Consistency::LocalQuorum,
        Consistency::Quorum => cql::Consistency::Quorum,
    };
    config.log_serial = match cql.log_serial {
        LogSerial::Serial => cql::LogSerial::Serial,
        LogSerial::LocalSerial => cql::LogSerial::LocalSerial,
    };
    if let Some(name) = &cql.username {
        let kept = cql.password.clone();
        // Out of its file again for each connection: it may have been exchanged.
        let password = Password::told_by(move || {
            let password = kept.as_ref().map(p92_chassis::Secret::current).transpose();
            let told = password.map_err(|error| format!("the password of the store cannot be read: {error}"));
            told.map(Option::unwrap_or_default)
        });
        config.user = Some(CqlUser { name: name.clone(), password });
    }
    config.tls = cql.tls.authority_path.clone().map(|authority| CqlTls {
        authority,
        identity: cql.tls.own(),
        server_name: cql.server_name.clone(),
    });
    Ok(config)
}

/// Opens the store, as soon as it is there with its schema.
pub async fn open(settings: &Settings, waiting: &Waiting<'_>) -> anyhow::Result<OpenStore> {
    opened(settings, config(settings)?, waiting).await
}

/// Makes the store of an installation that there was before, where there is none; one that is there is only opened.
pub async fn make(settings: &Settings, installation: &str, shards: ShardCount) -> anyhow::Result<OpenStore> {
    migrate(settings, Step::Expand, &Waiting::not(), &|_| ()).await?;
    let config = CqlConfig { installation: Some(installation.to_owned()), shards, ..config(settings)? };
    opened(settings, config, &Waiting::not()).await
}

async fn opened(settings: &Settings, config: CqlConfig, waiting: &Waiting<'_>) -> anyhow::Result<OpenStore> {
    let tables = tables();
    let open = || async { CqlEngine::open(&config, &tables).await.map_err(|error| sort(error, &config)) };
    let store = waiting.through(open).await?;
    let (said, stands) = (settings.store.shards, store.shards().get());
    if said != stands && settings.is_set("store.shards") {
        anyhow::bail!(
            "`store.shards` is {said}, and the store in the keyspace {} was given {stands} shards at its first start, for ever\n  what to do: set {stands}, or nothing; if it is the wrong store, look at `store.cql.keyspace` and `store.cql.contact_points`",
            config.keyspace
        );
    }
    observe(&store);
    Ok(OpenStore {
        installation: store.installation().to_owned(),
        shards: store.shards(),
        fresh: store.is_fresh(),
        engine: store as Arc<dyn Engine>,
        // Its connections close with the last of its users.
        close: Box::new(|| ()),
    })
}

/// Tells operators what the store is asked to do, as long as it is open.
fn observe(store: &Arc<CqlEngine>) {
    let tell = |things, about, of: fn(Asked) -> u64| {
        let store = Arc::downgrade(store);
        p92_chassis::telemetry::meter("storage").counted(things, about, "operation", move || {
            let Some(store) = store.upgrade() else { return Vec::new() };
            Operation::ALL.into_iter().map(|one| (one.name(), of(store.asked(one)))).collect()
        });
    };
    tell("requests", "Requests sent to the store, by what they do", |asked| asked.requests);
    tell("rows", "Rows written to the store, or read from it", |asked| asked.rows);
    tell("bytes", "Bytes of keys and rows written to the store, or of rows read from it", |asked| {
        asked.bytes
    });
}

/// Whether the store could be served now, and what is seen of it then. It changes nothing.
pub async fn look(settings: &Settings) -> anyhow::Result<Sight> {
    let (config, tables) = (config(settings)?, tables());
    let look = || async { CqlEngine::look(&config, &tables).await.map_err(|error| sort(error, &config)) };
    Waiting::not().through(look).await
}

/// Brings the schema to what this build wants, as soon as the store can be asked.
pub async fn migrate(
    settings: &Settings,
    step: Step,
    waiting: &Waiting<'_>,
    watch: Watch<'_>,
) -> anyhow::Result<Migrated> {
    let (config, tables) = (config(settings)?, tables());
    let attempt = || async {
        let done = cql::migrate_watched(&config, &tables, step, watch).await;
        done.map_err(|error| sort(OpenError::Store(error), &config))
    };
    waiting.through(attempt).await
}

/// What is cured by waiting, and what only an operator cures.
fn sort(error: OpenError, config: &CqlConfig) -> NotYet {
    match error {
        OpenError::SchemaBehind { stands: 0, .. } => NotYet::Later(format!(
            "the keyspace {} at {} has no schema yet; `p92 migrate` makes it",
            config.keyspace,
            config.nodes.join(", ")
        )),
        OpenError::SchemaBehind { stands, wanted, missing } => {
            let lacks = match missing.as_slice() {
                [] => format!("has schema {stands}, and this build wants {wanted}"),
                [one] => format!("lacks the table {one}"),
                [first, rest @ ..] => format!("lacks {first} and {} more tables", rest.len()),
            };
            NotYet::Later(format!(
                "the keyspace {} {lacks}; `p92 migrate` of this build mends it",
                config.keyspace
            ))
        }
        OpenError::Store(StoreError::Unavailable { reason, .. }) => {
            NotYet::Later(format!("the store cannot be used yet: {reason}"))
        }
        OpenError::Store(error) => NotYet::Never(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Config;

    #[test]
    fn how_certain_answers_are_to_be_is_what_the_settings_say() {
        let usual = config(&Settings::given(Config::default()).unwrap()).unwrap();
        assert_eq!(
            (usual.consistency, usual.log_serial),
            (cql::Consistency::LocalQuorum, cql::LogSerial::Serial)
        );
        let mut given = Config::default();
        given.store.cql.consistency = Consistency::Quorum;
        given.store.cql.log_serial = LogSerial::LocalSerial;
        given.store.cql.datacenter = Some("near".to_owned());
        let other = config(&Settings::given(given).unwrap()).unwrap();
        assert_eq!(
            (other.consistency, other.log_serial, other.datacenter.as_deref()),
            (cql::Consistency::Quorum, cql::LogSerial::LocalSerial, Some("near"))
        );
    }
}
