//! The schema: made once whoever runs, waited for, extended, and cut back only when asked.

use crate::scene;
use p92_kernel::ShardCount;
use p92_storage::conformance::{STATE, STREAMS, TABLES, VIEW, VIEW_MORE};
use p92_storage::cql::{OpenError, Progress, SCHEMA, Step, migrate, migrate_watched};
use p92_storage::{CqlConfig, CqlEngine, Engine, RowKey, StoreError, Write};
use std::time::{Duration, Instant};

async fn execute(config: &CqlConfig, what: &str) {
    let text = what.replace("META", &format!("{}.p92_meta", config.keyspace));
    scene::session().await.query_unpaged(text, ()).await.unwrap();
}

fn behind(opened: Result<std::sync::Arc<CqlEngine>, OpenError>) -> (u64, Vec<String>) {
    match opened {
        Err(OpenError::SchemaBehind { stands, wanted, missing }) => {
            assert_eq!(wanted, SCHEMA);
            (stands, missing)
        }
        other => panic!("not behind: {other:?}"),
    }
}

/// No keyspace, a keyspace of fewer tables, one that is whole, an older and a newer one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_opened_when_its_schema_is_there() {
    let config = scene::config("opened");
    let (stands, missing) = behind(CqlEngine::open(&config, &TABLES).await);
    assert_eq!((stands, missing.len()), (0, 8));
    migrate(&config, &[&STATE, &STREAMS], Step::Expand).await.unwrap();
    let error = CqlEngine::open(&config, &TABLES).await.unwrap_err();
    assert!(error.to_string().contains("conformance_view_a"), "{error}");
    let (stands, missing) = behind(Err(error));
    assert_eq!((stands, missing.len()), (SCHEMA, 4));
    let done = migrate(&config, &TABLES, Step::Expand).await.unwrap();
    assert_eq!((done.from, done.made.len(), done.left.len()), (SCHEMA, 4, 0));
    CqlEngine::open(&config, &TABLES).await.unwrap();
    execute(&config, "UPDATE META SET value = '0' WHERE name = 'schema' IF EXISTS").await;
    assert_eq!(behind(CqlEngine::open(&config, &TABLES).await), (0, Vec::new()));
    let newer = format!("UPDATE META SET value = '{}' WHERE name = 'schema' IF EXISTS", SCHEMA + 1);
    execute(&config, &newer).await;
    CqlEngine::open(&config, &TABLES).await.unwrap();
    let done = migrate(&config, &TABLES, Step::Expand).await.unwrap();
    assert_eq!((done.from, done.made.len()), (SCHEMA + 1, 0));
    assert!(matches!(migrate(&config, &TABLES, Step::Contract).await, Err(StoreError::Refused { .. })));
    scene::drop_keyspace(&config).await;
}

/// Each step is told before it is taken, and a second run takes none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_hears_of_each_step() {
    let config = scene::config("watched");
    let told = std::sync::Mutex::new(Vec::new());
    let watch = |step: Progress<'_>| told.lock().unwrap().push(format!("{step:?}"));
    migrate_watched(&config, &[&STATE, &STREAMS], Step::Expand, &watch).await.unwrap();
    let steps = std::mem::take(&mut *told.lock().unwrap());
    assert_eq!(steps[0], "MakesKeyspace { copies: 1 }");
    assert!(steps[1].ends_with("at: 1, of: 3 }") && steps[3].ends_with("at: 3, of: 3 }"), "{steps:?}");
    migrate_watched(&config, &[&STATE, &STREAMS], Step::Expand, &watch).await.unwrap();
    assert_eq!(*told.lock().unwrap(), Vec::<String>::new());
    scene::drop_keyspace(&config).await;
}

/// A look gives the store nothing; the first opening gives it an id and its shards, and a look then tells them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_changes_nothing() {
    let config = scene::config("look");
    assert!(matches!(CqlEngine::look(&config, &TABLES).await, Err(OpenError::SchemaBehind { .. })));
    migrate(&config, &TABLES, Step::Expand).await.unwrap();
    assert_eq!(CqlEngine::look(&config, &TABLES).await.unwrap().opened, None);
    let store = CqlEngine::open(&config, &TABLES).await.unwrap();
    assert!(store.is_fresh(), "the look made nothing");
    let seen = CqlEngine::look(&config, &TABLES).await.unwrap();
    assert_eq!(seen.opened, Some((store.installation().to_owned(), store.shards())));
    let syncs = seen.syncs.unwrap();
    assert!(["periodic", "batch", "group"].contains(&&*syncs), "when the server syncs: {syncs}");
    scene::drop_keyspace(&config).await;
}

/// A keyspace of more copies than nodes would take no write, and a datacenter that is not there has nobody to ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_never_be_written_is_not_made() {
    let mut config = scene::config("copies");
    config.replication = 200;
    match migrate(&config, &TABLES, Step::Expand).await {
        Err(StoreError::Unavailable { reason, .. }) => assert!(reason.contains("200 copies"), "{reason}"),
        other => panic!("not waited for: {other:?}"),
    }
    config.datacenter = Some("nowhere".to_owned());
    for refused in [
        migrate(&config, &TABLES, Step::Expand).await.unwrap_err(),
        match CqlEngine::open(&config, &TABLES).await {
            Err(OpenError::Store(error)) => error,
            other => panic!("opened: {other:?}"),
        },
    ] {
        assert!(matches!(&refused, StoreError::Refused { .. }), "{refused:?}");
        assert!(refused.to_string().contains("datacenter1"), "{refused}");
    }
    config.datacenter = None;
    let (stands, _) = behind(CqlEngine::open(&config, &TABLES).await);
    assert_eq!(stands, 0, "no keyspace was made");
}

/// Two at once in an empty store: each table is made by one of them, and both end well. A third finds nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runners_make_one_schema() {
    let config = scene::config("runners");
    let run = || {
        let config = config.clone();
        tokio::spawn(async move { migrate(&config, &TABLES, Step::Expand).await })
    };
    let (one, other) = tokio::join!(run(), run());
    let (one, other) = (one.unwrap().unwrap(), other.unwrap().unwrap());
    let mut made = [one.made, other.made].concat();
    made.sort();
    let mut expected: Vec<String> =
        p92_storage::cql::physical(&TABLES).unwrap().into_iter().map(|table| table.name).collect();
    expected.push("p92_log".to_owned());
    expected.sort();
    assert_eq!(made, expected);
    let again = migrate(&config, &TABLES, Step::Expand).await.unwrap();
    assert_eq!((again.made, again.from), (Vec::new(), SCHEMA));
    let engine = CqlEngine::open(&config, &TABLES).await.unwrap();
    engine.insert_if_absent(&RowKey::new(STATE.only(), "p", "c"), "v".into()).await.unwrap();
    scene::drop_keyspace(&config).await;
}

/// Whoever died with the lease is waited for as long as he might live, and no longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_runner_holds_nobody_up() {
    let mut config = scene::config("dead");
    config.lease_silence = Duration::from_secs(2);
    migrate(&config, &[&STATE], Step::Expand).await.unwrap();
    execute(&config, "INSERT INTO META (name, holder, beat) VALUES ('lease', 'dead', 7) IF NOT EXISTS").await;
    let impatient = CqlConfig { lease_wait: Duration::from_millis(300), ..config.clone() };
    let error = migrate(&impatient, &TABLES, Step::Expand).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    let began = Instant::now();
    let done = migrate(&config, &TABLES, Step::Expand).await.unwrap();
    assert!(began.elapsed() >= config.lease_silence, "a lease was taken from one who might live");
    assert_eq!(done.made.len(), 5);
    // And given back, so that the next one does not wait.
    let began = Instant::now();
    migrate(&config, &TABLES, Step::Expand).await.unwrap();
    assert!(began.elapsed() < config.lease_silence, "{:?}", began.elapsed());
    scene::drop_keyspace(&config).await;
}

/// What nobody declares stays until it is asked for, and then views alone go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contracting_drops_views_and_nothing_else() {
    let config = scene::config("contract");
    migrate(&config, &TABLES, Step::Expand).await.unwrap();
    let engine = CqlEngine::open(&config, &TABLES).await.unwrap();
    let key = RowKey::new(STREAMS.only(), "p", "c");
    engine.write(vec![Write { key: key.clone(), value: Some("v".into()) }]).await.unwrap();
    let fewer = [&STATE, &VIEW];
    let done = migrate(&config, &fewer, Step::Expand).await.unwrap();
    assert_eq!(done.dropped, Vec::<String>::new());
    assert_eq!(done.left.len(), 3);
    let done = migrate(&config, &fewer, Step::Contract).await.unwrap();
    let mut dropped = done.dropped;
    dropped.sort();
    assert_eq!(dropped, ["conformance_view_more_a", "conformance_view_more_b"]);
    assert_eq!(done.left, ["conformance_streams"]);
    assert!(engine.get(&key).await.unwrap().is_some());
    assert_eq!(behind(CqlEngine::open(&config, &[&VIEW_MORE]).await).1.len(), 2);
    scene::drop_keyspace(&config).await;
}

/// Of many who open a new store at once, one is told that it is fresh; all are told the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_is_named_once() {
    let config = scene::config("named");
    migrate(&config, &TABLES, Step::Expand).await.unwrap();
    let opening: Vec<_> = (1..=6)
        .map(|n| {
            let config = CqlConfig { shards: ShardCount::new(n).unwrap(), ..config.clone() };
            tokio::spawn(async move { CqlEngine::open(&config, &TABLES).await.unwrap() })
        })
        .collect();
    let mut fresh = Vec::new();
    let mut told = std::collections::BTreeSet::new();
    for (n, opening) in (1..).zip(opening) {
        let engine = opening.await.unwrap();
        if engine.is_fresh() {
            fresh.push(n);
        }
        told.insert((engine.installation().to_owned(), engine.shards().get()));
    }
    assert_eq!(fresh.len(), 1, "{fresh:?}");
    assert_eq!(told.len(), 1, "{told:?}");
    let (installation, shards) = told.pop_first().unwrap();
    assert_eq!((installation.len(), shards), (32, fresh[0]));
    let again = CqlEngine::open(&config, &TABLES).await.unwrap();
    assert_eq!((again.installation(), again.is_fresh()), (installation.as_str(), false));
    scene::drop_keyspace(&config).await;
}
