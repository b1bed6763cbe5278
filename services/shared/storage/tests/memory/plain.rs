//! A position over a plain write is told, where rows are guarded each on its own: CQL would drop it without a word.

use p92_kernel::Seq;
use p92_storage::conformance::{STATE, VIEW};
use p92_storage::memory::{Asked, Memory, MemoryConfig};
use p92_storage::{
    Engine, LogKey, LogRow, ProjectedBatch, ProjectedWrite, Projection, Row, RowKey, Side, StoreError, Write,
};
use std::sync::Arc;

fn engine(atomic: bool) -> Asked<Memory> {
    Asked(Arc::new(Memory::new(MemoryConfig { atomic, faults: None })))
}

fn key(name: &'static str) -> RowKey {
    RowKey::new(VIEW.side(Side::A), "p", name)
}

fn plain(name: &'static str, value: Option<&'static str>) -> Vec<Write> {
    vec![Write { key: key(name), value: value.map(Into::into) }]
}

/// Its checkpoint is one that nobody else has.
fn positioned(name: &'static str, value: Option<&'static str>, at: u64) -> ProjectedBatch {
    ProjectedBatch {
        checkpoint: RowKey::new(STATE.only(), "checkpoints", format!("{name} {at}")),
        from: Seq(0),
        to: Seq(at),
        writes: vec![ProjectedWrite { key: key(name), value: value.map(Into::into), at: Seq(at) }],
        note: None,
    }
}

fn told(answer: Result<Projection, StoreError>) {
    let error = answer.unwrap_err();
    assert!(
        matches!(&error, StoreError::Damaged(what) if what.contains("a position over a plain write")),
        "{error}"
    );
}

#[tokio::test]
async fn a_position_over_a_plain_write_is_an_error() {
    let engine = engine(false);
    engine.write(plain("put", Some("plain"))).await.unwrap();
    told(engine.project(positioned("put", Some("at"), 9)).await);
    told(engine.project(positioned("put", None, 9)).await);
    assert_eq!(engine.get(&key("put")).await.unwrap(), Some(Row { value: "plain".into(), stamp: 0 }));
    // A plain delete stays behind, of a row that was at a position as of one that never was.
    engine.project(positioned("moved", Some("at"), 3)).await.unwrap();
    engine.write(plain("moved", None)).await.unwrap();
    engine.write(plain("never", None)).await.unwrap();
    for name in ["moved", "never"] {
        told(engine.project(positioned(name, Some("at"), 9)).await);
        assert_eq!(engine.get(&key(name)).await.unwrap(), None);
    }
    // So does what is written before an append.
    let log = LogKey { service: p92_kernel::Service::Posting, shard: p92_kernel::Shard(0) };
    let row = LogRow { first_seq: Seq(1), last_seq: Seq(1), group: [1; 16], events: "x".into() };
    engine.append(log, &row, &plain("before", Some("plain"))).await.unwrap();
    told(engine.project(positioned("before", Some("at"), 9)).await);
    // An emptied view forgets it, as a truncated table does.
    engine.clear(VIEW.side(Side::A)).await.unwrap();
    engine.project(positioned("moved", Some("again"), 3)).await.unwrap();
    assert_eq!(engine.get(&key("moved")).await.unwrap(), Some(Row { value: "again".into(), stamp: 3 }));
}

#[tokio::test]
async fn a_checkpoint_that_was_deleted_plainly_is_never_used_again() {
    let engine = engine(false);
    let batch = positioned("row", Some("at"), 3);
    engine.project(batch.clone()).await.unwrap();
    engine.write(vec![Write { key: batch.checkpoint.clone(), value: None }]).await.unwrap();
    told(engine.project(batch).await);
    // With one of its own it goes on.
    assert_eq!(engine.project(positioned("row", Some("newer"), 4)).await.unwrap(), Projection::Applied);
}

#[tokio::test]
async fn where_a_projection_is_one_write_positions_are_free_as_embedded_has_them() {
    let engine = engine(true);
    engine.write(plain("put", Some("plain"))).await.unwrap();
    engine.write(plain("gone", None)).await.unwrap();
    for name in ["put", "gone"] {
        engine.project(positioned(name, Some("at"), 9)).await.unwrap();
        assert_eq!(engine.get(&key(name)).await.unwrap(), Some(Row { value: "at".into(), stamp: 9 }));
    }
}

#[tokio::test]
async fn what_is_destroyed_stays_so_when_a_write_lands_later() {
    let engine = engine(false);
    engine.write(plain("key", Some("v"))).await.unwrap();
    engine.destroy(&key("key")).await.unwrap();
    engine.write(plain("key", Some("v"))).await.unwrap();
    assert_eq!(engine.get(&key("key")).await.unwrap(), None);
    engine.project(positioned("at", Some("v"), 1)).await.unwrap();
    engine.destroy(&key("at")).await.unwrap_err();
}
