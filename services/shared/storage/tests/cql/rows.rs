//! Rows by discipline: positions over any order of arrival, the time of one process, versions; and the server's own look
//! at them.

use crate::scene;
use p92_kernel::Seq;
use p92_storage::conformance::{STATE, STREAMS, VIEW};
use p92_storage::cql::{Asked, Operation};
use p92_storage::{
    Conditional, Direction, Engine, ProjectedBatch, ProjectedWrite, Range, Row, RowKey, Scan, Side,
    StoreError, Write,
};

fn positioned(key: &RowKey, value: Option<&'static str>, at: u64) -> ProjectedBatch {
    let checkpoint = RowKey::new(STATE.only(), "checkpoints", format!("at {at}"));
    let write = ProjectedWrite { key: key.clone(), value: value.map(Into::into), at: Seq(at) };
    ProjectedBatch { checkpoint, from: Seq(0), to: Seq(at), writes: vec![write], note: None }
}

/// Every order of three positions, a put, a delete and a put, ends in the newest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_comes_last_the_newest_position_stands() {
    let scene = scene::emptied().await;
    let engine = scene.open().await;
    let orders = [[4, 6, 9], [4, 9, 6], [6, 4, 9], [6, 9, 4], [9, 4, 6], [9, 6, 4]];
    for (n, order) in orders.into_iter().enumerate() {
        let key = RowKey::new(VIEW.side(Side::A), "p", format!("row {n}"));
        for at in order {
            let value =
                [(4, Some("first")), (6, None), (9, Some("last"))].into_iter().find(|one| one.0 == at);
            engine.project(positioned(&key, value.unwrap().1, at)).await.unwrap();
        }
        let stands = engine.get(&key).await.unwrap();
        assert_eq!(stands, Some(Row { value: "last".into(), stamp: 9 }), "{order:?}");
        engine.project(positioned(&key, None, 11)).await.unwrap();
        engine.project(positioned(&key, Some("late"), 10)).await.unwrap();
        assert_eq!(engine.get(&key).await.unwrap(), None, "a late put over a newer delete, {order:?}");
    }
}

/// A post is an entry and a first revision under one key: one mutation for its nodes, so one request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_several_tables_under_one_key_are_one_request() {
    let scene = scene::emptied().await;
    let engine = scene.open().await;
    let keys = [
        RowKey::new(VIEW.side(Side::A), "p", "c"),
        RowKey::new(STREAMS.only(), "p", "c"),
        RowKey::new(VIEW.side(Side::A), "q", "c"),
        // State lies under its own name.
        RowKey::new(STATE.only(), "p", "c"),
    ];
    let write = |key: &RowKey| ProjectedWrite { key: key.clone(), value: Some("v".into()), at: Seq(3) };
    let batch = ProjectedBatch {
        writes: keys.iter().map(write).collect(),
        ..positioned(&RowKey::new(VIEW.side(Side::B), "p", "c"), None, 3)
    };
    let before = engine.asked(Operation::Write).requests;
    engine.project(batch).await.unwrap();
    assert_eq!(
        engine.asked(Operation::Write).requests - before,
        4,
        "three for the rows, one for the checkpoint"
    );
    for key in &keys {
        assert_eq!(engine.get(key).await.unwrap(), Some(Row { value: "v".into(), stamp: 3 }), "{key:?}");
    }
}

/// What a rebuild does: the same positions again, into a table that was emptied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_view_takes_the_same_positions_again() {
    let scene = scene::emptied().await;
    let engine = scene.open().await;
    let key = RowKey::new(VIEW.side(Side::B), "p", "c");
    engine.project(positioned(&key, Some("before"), 7)).await.unwrap();
    let gone = RowKey::new(VIEW.side(Side::B), "p", "gone");
    engine.project(positioned(&gone, None, 8)).await.unwrap();
    engine.clear(VIEW.side(Side::B)).await.unwrap();
    assert_eq!(engine.get(&key).await.unwrap(), None);
    engine.project(positioned(&key, Some("again"), 7)).await.unwrap();
    engine.project(positioned(&gone, Some("there"), 8)).await.unwrap();
    assert_eq!(engine.get(&key).await.unwrap(), Some(Row { value: "again".into(), stamp: 7 }));
    assert_eq!(engine.get(&gone).await.unwrap(), Some(Row { value: "there".into(), stamp: 8 }));
}

/// State shares its table with other state, so it is emptied row by row, each row in its own way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emptied_state_takes_every_kind_of_row_with_it() {
    let scene = scene::emptied().await;
    let engine = scene.open().await;
    let table = STATE.only();
    let plain = RowKey::new(table, "p", "plain");
    engine.write(vec![Write { key: plain, value: Some("v".into()) }]).await.unwrap();
    let claimed = RowKey::new(table, "p", "claimed");
    engine.insert_if_absent(&claimed, "v".into()).await.unwrap();
    engine.project(positioned(&RowKey::new(table, "p", "at"), Some("v"), 5)).await.unwrap();
    let streams = RowKey::new(STREAMS.only(), "p", "c");
    engine.write(vec![Write { key: streams.clone(), value: Some("v".into()) }]).await.unwrap();
    assert_eq!(engine.scan_table(table, None, 100).await.unwrap().rows.len(), 4);
    engine.clear(table).await.unwrap();
    assert_eq!(engine.scan_table(table, None, 100).await.unwrap().rows, Vec::new());
    assert!(engine.get(&streams).await.unwrap().is_some());
    assert_eq!(engine.insert_if_absent(&claimed, "v".into()).await.unwrap(), Conditional::Applied);
}

/// A process whose clock was ahead wrote it: our own time would delete nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_row_from_a_clock_that_is_ahead_is_emptied_too() {
    let scene = scene::emptied().await;
    let engine = scene.open().await;
    // The year 2096, in microseconds.
    let insert = format!(
        "INSERT INTO {}.conformance_state (t, p, c, row) VALUES ('conformance_state', 0x70, 0x63, 0x76) \
         USING TIMESTAMP 4000000000000000",
        scene.config.keyspace
    );
    scene::session().await.query_unpaged(insert, ()).await.unwrap();
    let key = RowKey::new(STATE.only(), "p", "c");
    assert_eq!(engine.get(&key).await.unwrap(), Some(Row { value: "v".into(), stamp: 0 }));
    engine.clear(STATE.only()).await.unwrap();
    assert_eq!(engine.get(&key).await.unwrap(), None);
}

/// A key written by a process whose clock is an hour ahead: a plain delete loses against it, and so that is no way to
/// destroy it. What is destroyed stays so, even if the same write comes once more, from hours ahead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_destroyed_stays_so_whoever_s_clock_was_ahead() {
    let scene = scene::emptied().await;
    let engine = scene.open().await;
    let session = scene::session().await;
    let key = RowKey::new(STATE.only(), "p", "c");
    let written = async |hours: u64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let at = (now + std::time::Duration::from_hours(hours)).as_micros();
        let insert = format!(
            "INSERT INTO {}.conformance_state (t, p, c, row) VALUES ('conformance_state', 0x70, 0x63, 0x76) \
             USING TIMESTAMP {at}",
            scene.config.keyspace
        );
        session.query_unpaged(insert, ()).await.unwrap();
        engine.get(&key).await.unwrap().is_some()
    };
    assert!(written(1).await);
    engine.write(vec![Write { key: key.clone(), value: None }]).await.unwrap();
    assert!(engine.get(&key).await.unwrap().is_some(), "a plain delete is older");
    engine.destroy(&key).await.unwrap();
    assert_eq!(engine.get(&key).await.unwrap(), None);
    assert!(!written(12).await, "a write that was under way");
    let claimed = RowKey::new(STATE.only(), "p", "claimed");
    engine.insert_if_absent(&claimed, "v".into()).await.unwrap();
    engine.destroy(&claimed).await.unwrap_err();
    assert!(engine.get(&claimed).await.unwrap().is_some());
}

/// What the engine of simulations refuses: a plain write bears the time, so no position is ever newer, and nobody is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_over_a_plain_write_is_never_seen() {
    let scene = scene::emptied().await;
    let engine = scene.open().await;
    let key = RowKey::new(VIEW.side(Side::A), "p", "c");
    for value in [Some("plain"), None] {
        engine.write(vec![Write { key: key.clone(), value: value.map(Into::into) }]).await.unwrap();
        engine.project(positioned(&key, Some("at"), 9)).await.unwrap();
        let stands = engine.get(&key).await.unwrap();
        assert_eq!(stands, value.map(|value| Row { value: value.into(), stamp: 0 }));
    }
}

/// Of a batch far above what should be sent, all rows come or none; one that no server would take is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_batch_is_whole_and_a_huge_one_refused() {
    let scene = scene::emptied().await;
    let engine = scene.open().await;
    let table = STREAMS.only();
    let rows = |count: u8, size: usize| -> Vec<Write> {
        (0..count)
            .map(|n| Write { key: RowKey::new(table, "p", vec![n]), value: Some(vec![n; size].into()) })
            .collect()
    };
    engine.write(rows(100, 4_000)).await.unwrap();
    let scan = Scan {
        table,
        partition: "p".into(),
        range: Range::all(),
        direction: Direction::Forward,
        limit: 1_000,
        after: None,
    };
    assert_eq!(engine.scan(&scan).await.unwrap().rows.len(), 100);
    let error = engine.write(rows(100, 100_000)).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
}

/// Puts at once after each other, each through a session with several connections: the later one stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_plain_writes_the_later_one_stands() {
    let scene = scene::emptied().await;
    let engine = scene.open().await;
    let key = RowKey::new(STATE.only(), "p", "c");
    for n in 0..200_u8 {
        engine.write(vec![Write { key: key.clone(), value: None }]).await.unwrap();
        engine.write(vec![Write { key: key.clone(), value: Some(vec![n].into()) }]).await.unwrap();
        let row = engine.get(&key).await.unwrap();
        assert_eq!(row, Some(Row { value: vec![n].into(), stamp: 0 }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_cannot_hold_is_refused_before_it_is_sent() {
    let scene = scene::emptied().await;
    let engine = scene.open().await;
    static OTHER: p92_storage::Table =
        p92_storage::Table { name: "other_table", class: p92_storage::Class::State, row: "", serves: "" };
    let keys = [
        RowKey::new(STATE.only(), "", "c"),
        RowKey::new(STATE.only(), vec![1; 513], "c"),
        RowKey::new(STATE.only(), "p", vec![1; 513]),
        RowKey::new(OTHER.only(), "p", "c"),
    ];
    for key in keys {
        let error = engine.get(&key).await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged(_)), "{error}");
        let write = Write { key, value: Some("v".into()) };
        assert!(matches!(engine.write(vec![write]).await, Err(StoreError::Damaged(_))));
    }
}

/// What operators are told of how the store is used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_counted_as_what_it_is() {
    let scene = scene::emptied().await;
    let engine = scene.open().await;
    let key = |c: &'static str| RowKey::new(STREAMS.only(), "p", c);
    let write = |c, value: &'static str| Write { key: key(c), value: Some(value.into()) };
    engine.write(vec![write("c", "123"), write("d", "45")]).await.unwrap();
    assert_eq!(engine.asked(Operation::Write), Asked { requests: 1, rows: 2, bytes: 9 });
    engine.get_many(&[key("c"), key("x")]).await.unwrap();
    let got = engine.asked(Operation::Get);
    assert_eq!((got.requests, got.rows), (2, 1));
    assert!(got.bytes >= 3, "{got:?}");
    engine.project(positioned(&RowKey::new(VIEW.side(Side::A), "p", "c"), Some("1"), 3)).await.unwrap();
    assert_eq!(engine.asked(Operation::Write).requests, 3, "a row and its checkpoint");
    let claim = RowKey::new(STATE.only(), "p", "claim");
    assert_eq!(engine.insert_if_absent(&claim, "1".into()).await.unwrap(), Conditional::Applied);
    let refused = engine.insert_if_absent(&claim, "2".into()).await.unwrap();
    assert!(matches!(refused, Conditional::Stands(_)), "{refused:?}");
    assert_eq!(engine.asked(Operation::Conditional).requests, 2);
    assert_eq!(engine.asked(Operation::Append), Asked::default());
}
