//! What was put aside is tried again in order, or skipped, and rebuilt views say the same as live ones.

use crate::world::{claim, open, platform, spec};
use async_trait::async_trait;
use bytes::Bytes;
use p92_eventlog::rebuild::Watch;
use p92_eventlog::settle::{self, Aside};
use p92_eventlog::{
    ConsumeError, Consumer, Platform, Poison, ProjectionError, Recorded, Rows, Runtime, Spec, Stream, View,
};
use p92_kernel::{Service, Shard};
use p92_proto::event::v1::{Position, Settling};
use p92_storage::{Class, Key, Table};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SHARD: Shard = Shard(1);
const BAD: u64 = 666;

fn said(event: &Recorded) -> Result<u64, Poison> {
    Ok(event.decode::<Position>()?.seq)
}

fn poison() -> Poison {
    Poison::Unreadable { event_type: "it".to_owned(), problem: "planted".to_owned() }
}

/// Notes what it is told; chokes on one number until it is mended.
#[derive(Debug, Default)]
struct Choking {
    mended: AtomicBool,
    done: Mutex<Vec<(String, u64)>>,
}

#[async_trait]
impl Consumer for Choking {
    fn name(&self) -> &'static str {
        "posting.choking"
    }
    fn source(&self) -> Service {
        Service::Posting
    }
    fn wants(&self, event_type: &str) -> bool {
        event_type == "p92.event.v1.Position"
    }
    async fn handle(&self, event: &Recorded) -> Result<(), ConsumeError> {
        let number = said(event)?;
        if number == BAD && !self.mended.load(Ordering::SeqCst) {
            return Err(poison().into());
        }
        self.done.lock().push((event.event.stream.clone(), number));
        Ok(())
    }
}

static HEARD: Table = Table {
    name: "ranking_heard",
    class: Class::View,
    row: "",
    serves: "stream | → the numbers, one after the other",
};

/// Writes the numbers of each stream, one after the other, in a service that is not their source.
#[derive(Debug, Default)]
struct Heard {
    mended: Arc<AtomicBool>,
}

#[async_trait]
impl View for Heard {
    fn table(&self) -> &'static Table {
        &HEARD
    }
    fn source(&self) -> Service {
        Service::Posting
    }
    fn wants(&self, event_type: &str) -> bool {
        event_type == "p92.event.v1.Position"
    }
    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        let number = said(event)?;
        if number == BAD && !self.mended.load(Ordering::SeqCst) {
            return Err(poison().into());
        }
        let partition = Key::new().text(&event.event.stream).build();
        let mut row = rows.get(partition.clone(), Bytes::new()).await?.unwrap_or_default().to_vec();
        row.extend_from_slice(format!("{number} ").as_bytes());
        rows.put(partition, Bytes::new(), row);
        Ok(())
    }
}

/// Emits these numbers into one stream.
async fn say(runtime: &Runtime, stream: &str, numbers: &'static [u64]) {
    let stream = Stream::named(stream);
    for number in numbers {
        let stream = stream.clone();
        runtime
            .execute(SHARD, crate::world::meta(1, "", *number), move |round| {
                let stream = stream.clone();
                Box::pin(async move { round.emit::<crate::world::Register>(&stream, &[*number]).await })
            })
            .await
            .unwrap();
    }
}

/// Waits until so many events of a stream wait.
async fn until_waiting(platform: &Platform, reader: &str, stream: &str, count: usize) -> Vec<Aside> {
    loop {
        let waiting = settle::waiting(platform, reader, stream).await.unwrap();
        if waiting.len() == count && waiting.iter().all(|one| one.settling() == Settling::Unspecified) {
            return waiting;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_effect_is_tried_again_in_order_and_what_follows_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let platform = platform(dir.path(), &store, store.clone());
    let choking = Arc::new(Choking::default());
    let consumer = Arc::clone(&choking) as Arc<dyn Consumer>;
    let runtime = Runtime::start(&platform, Spec { consumers: vec![consumer], ..spec() }).await.unwrap();
    say(&runtime, "register/1", &[1, BAD, 3]).await;
    say(&runtime, "register/2", &[4]).await;
    let aside = until_waiting(&platform, "posting.choking", "register/1", 2).await;
    assert!(aside[0].row.problem.contains("planted") && aside[1].row.problem.is_empty());
    // Not mended: it stays, and what follows it with it.
    for one in &aside {
        one.note(&platform, Settling::Retry, None).await.unwrap();
    }
    let again = until_waiting(&platform, "posting.choking", "register/1", 2).await;
    assert!(again[0].row.problem.contains("planted"));
    choking.mended.store(true, Ordering::SeqCst);
    for one in &again {
        one.note(&platform, Settling::Retry, None).await.unwrap();
    }
    until_waiting(&platform, "posting.choking", "register/1", 0).await;
    say(&runtime, "register/1", &[5]).await;
    let of_first = || -> Vec<u64> {
        choking.done.lock().iter().filter(|(stream, _)| stream == "register/1").map(|(_, n)| *n).collect()
    };
    while of_first().len() < 4 {
        // Said a moment before the reader saw that nothing is aside any more, it is aside itself.
        for one in settle::waiting(&platform, "posting.choking", "register/1").await.unwrap() {
            one.note(&platform, Settling::Retry, None).await.unwrap();
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(of_first(), [1, BAD, 3, 5]);
    platform.stop().await;
}

#[tokio::test]
async fn what_is_dropped_is_skipped_and_stays_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let platform = platform(dir.path(), &store, store.clone());
    let choking = Arc::new(Choking::default());
    let consumer = Arc::clone(&choking) as Arc<dyn Consumer>;
    let runtime = Runtime::start(&platform, Spec { consumers: vec![consumer], ..spec() }).await.unwrap();
    say(&runtime, "register/1", &[BAD]).await;
    for one in until_waiting(&platform, "posting.choking", "register/1", 1).await {
        one.note(&platform, Settling::Dropped, None).await.unwrap();
    }
    let mut next = 10;
    while choking.done.lock().is_empty() {
        // The reader sees the decision within a second; until then what comes is put aside behind it.
        for one in settle::waiting(&platform, "posting.choking", "register/1").await.unwrap() {
            one.note(&platform, Settling::Dropped, None).await.unwrap();
        }
        next += 1;
        claim(&runtime, SHARD, next, 1, "").await.unwrap();
        say(&runtime, "register/1", &[5]).await;
    }
    let record = settle::of_reader(&platform, "posting.choking").await.unwrap();
    assert!(record.iter().any(|one| said(&one.event).unwrap() == BAD && one.settling() == Settling::Dropped));
    assert!(choking.done.lock().iter().all(|(_, number)| *number != BAD));
    platform.stop().await;
}

async fn heard(runtime: &Runtime, stream: &str) -> String {
    let row = runtime.reads().get(&HEARD, Key::new().text(stream), Bytes::new()).await.unwrap();
    row.map(|row| String::from_utf8(row.value.to_vec()).unwrap()).unwrap_or_default()
}

#[tokio::test]
async fn a_rebuilt_view_leaves_out_what_the_live_one_does_until_it_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let platform = platform(dir.path(), &store, store.clone());
    let runtime = Runtime::start(&platform, spec()).await.unwrap();
    let mended = Arc::new(AtomicBool::new(false));
    let view = Arc::new(Heard { mended: Arc::clone(&mended) }) as Arc<dyn View>;
    let spec = Spec { service: Service::Ranking, views: vec![view], consumers: vec![] };
    let reading = Runtime::start(&platform, spec).await.unwrap();
    say(&runtime, "register/1", &[1, BAD, 3]).await;
    say(&runtime, "register/2", &[4]).await;
    let reader = settle::reader_of_views(Service::Ranking);
    let aside = until_waiting(&platform, &reader, "register/1", 2).await;
    let watch: Watch = Arc::new(|_, _| {});
    while heard(&reading, "register/2").await != "4 " {
        tokio::task::yield_now().await;
    }
    let report = reading.rebuild(HEARD.name, true, watch.clone()).await.unwrap();
    assert_eq!((report.difference, report.left_out), (None, 2), "both leave out the same");
    assert_eq!(heard(&reading, "register/1").await, "1 ");
    // Tried again while it is not mended: the live view answers as before.
    for one in &aside {
        one.note(&platform, Settling::Retry, None).await.unwrap();
    }
    assert!(reading.rebuild(HEARD.name, false, watch.clone()).await.is_err());
    assert_eq!(heard(&reading, "register/1").await, "1 ");
    mended.store(true, Ordering::SeqCst);
    let report = reading.rebuild(HEARD.name, false, watch.clone()).await.unwrap();
    assert_eq!(report.left_out, 0);
    for one in &aside {
        one.remove(&platform).await.unwrap();
    }
    assert_eq!(heard(&reading, "register/1").await, format!("1 {BAD} 3 "));
    platform.stop().await;
}
