//! Rows of members: those of dead processes go, and nobody else's.

use crate::world::open;
use bytes::Bytes;
use p92_eventlog::membership::{FORGET_AFTER, Membership};
use p92_eventlog::tables;
use p92_kernel::{Clock, Millis, Service, ShardCount};
use p92_proto::event::v1::MemberRow;
use p92_storage::{Conditional, Direction, Embedded, Engine, Key, KeyReader, Range, RowKey, Scan, Write};
use parking_lot::Mutex;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;

/// A clock that a test moves.
#[derive(Debug, Default)]
struct Moved(Mutex<Duration>);

impl Clock for Moved {
    fn now(&self) -> Millis {
        Millis(1)
    }

    fn monotonic(&self) -> Duration {
        *self.0.lock()
    }
}

fn key(member: &str) -> RowKey {
    RowKey::new(tables::MEMBERS.only(), Key::new().text("members"), Key::new().text(member))
}

fn row(beat: u64) -> Bytes {
    MemberRow { beat, services: vec!["posting".to_owned()], ..MemberRow::default() }.encode_to_vec().into()
}

async fn members(engine: &Embedded) -> Vec<String> {
    let scan = Scan {
        table: tables::MEMBERS.only(),
        partition: Key::new().text("members").build(),
        range: Range::all(),
        direction: Direction::Forward,
        limit: 1_000,
        after: None,
    };
    let page = engine.scan(&scan).await.unwrap();
    page.rows.iter().map(|(clustering, _)| KeyReader::new(clustering).text().unwrap()).collect()
}

#[tokio::test]
async fn rows_of_dead_processes_are_removed_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    // One as it was written before rows had versions, one as it is now, one that goes on beating.
    let old = Write { key: key("dead-1"), value: Some(row(8)) };
    engine.write(vec![old]).await.unwrap();
    for member in ["dead-2", "lives"] {
        engine.compare_and_set(&key(member), None, row(1)).await.unwrap();
    }
    let clock = Arc::new(Moved::default());
    let (tasks, stop) = Default::default();
    let shards = ShardCount::new(2).unwrap();
    let membership =
        Membership::start(engine.clone(), clock.clone(), "own".to_owned(), shards, &tasks, &stop);
    let look = || membership.join(Service::Posting);
    let ahead = |by: Duration| *clock.0.lock() += by;
    look().await.unwrap();
    assert_eq!(members(&engine).await, ["dead-1", "dead-2", "lives", "own"]);

    ahead(FORGET_AFTER / 2);
    let beaten = engine.compare_and_set(&key("lives"), Some(1), row(2)).await.unwrap();
    assert_eq!(beaten, Conditional::Applied);
    look().await.unwrap();
    ahead(FORGET_AFTER / 2 - Duration::from_secs(1));
    look().await.unwrap();
    assert_eq!(members(&engine).await, ["dead-1", "dead-2", "lives", "own"], "not before their time");

    ahead(Duration::from_secs(1));
    look().await.unwrap();
    assert_eq!(members(&engine).await, ["lives", "own"]);

    // Somebody took this process for dead: it is there again with its next beat, and holds what it held.
    let held = membership.slots().borrow().clone();
    assert_eq!(held.len(), 2);
    let own = engine.get(&key("own")).await.unwrap().unwrap().stamp;
    engine.compare_and_delete(&key("own"), own).await.unwrap();
    look().await.unwrap();
    assert_eq!(members(&engine).await, ["lives", "own"]);
    assert_eq!(*membership.slots().borrow(), held);

    stop.cancel();
    tasks.end().await;
    membership.leave().await;
    assert_eq!(members(&engine).await, ["lives"], "who leaves takes his row along");
}
