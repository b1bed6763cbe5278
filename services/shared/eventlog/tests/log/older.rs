//! An event of an older version: whoever reads it, reads it in the meaning of today.

use crate::world::{meta, open, platform};
use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use p92_eventlog::progress::Mark;
use p92_eventlog::{
    Aggregate, ConsumeError, Consumer, NewEvent, Poison, ProjectionError, Recorded, Rows, Runtime, Spec,
    Stream, View,
};
use p92_kernel::{Seq, Service, Shard};
use p92_proto::event::v1;
use p92_storage::{Class, Key, LogKey, Table};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

const SHARD: Shard = Shard(1);
const LOG: LogKey = LogKey { service: Service::Posting, shard: SHARD };

/// A length that grows. Version 1 says by how many centimetres, version 2 by how many millimetres.
fn millimetres(event: &Recorded) -> Result<u64, Poison> {
    let upcast = |version, grown: v1::Position| match version {
        1 => v1::Position { seq: grown.seq * 10, ..grown },
        _ => grown,
    };
    Ok(event.decode_upcast(2, upcast)?.seq)
}

fn grown(by: u64) -> NewEvent {
    NewEvent::of(&v1::Position { seq: by, ..v1::Position::default() })
}

/// As a build of `VERSION` has it.
#[derive(Clone, Debug, Default)]
struct Length<const VERSION: u32>(u64);

impl<const VERSION: u32> Aggregate for Length<VERSION> {
    type Event = u64;

    fn decode(event: &Recorded) -> Result<u64, Poison> {
        if VERSION == 1 { Ok(event.decode::<v1::Position>()?.seq) } else { millimetres(event) }
    }

    fn encode(event: &u64) -> NewEvent {
        grown(*event).version(VERSION)
    }

    fn evolve(self, event: &u64) -> Self {
        Self(self.0 + event)
    }
}

static LENGTHS: Table =
    Table { name: "posting_lengths", class: Class::View, row: "", serves: "one partition | → the length" };

/// The length as a row.
#[derive(Debug)]
struct Lengths;

#[async_trait]
impl View for Lengths {
    fn table(&self) -> &'static Table {
        &LENGTHS
    }

    fn source(&self) -> Service {
        Service::Posting
    }

    fn wants(&self, event_type: &str) -> bool {
        event_type == "p92.event.v1.Position"
    }

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        let partition = Key::new().num(1).build();
        let stands = rows.get(partition.clone(), Bytes::new()).await?;
        let stands = stands.map_or(0, |row| u64::from_be_bytes(row.as_ref().try_into().unwrap()));
        rows.put(partition, Bytes::new(), (stands + millimetres(event)?).to_be_bytes().to_vec());
        Ok(())
    }
}

/// What an effect is told.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<u64>>);

#[async_trait]
impl Consumer for Told {
    fn name(&self) -> &'static str {
        "posting.told"
    }

    fn source(&self) -> Service {
        Service::Posting
    }

    fn wants(&self, event_type: &str) -> bool {
        event_type == "p92.event.v1.Position"
    }

    async fn handle(&self, event: &Recorded) -> Result<(), ConsumeError> {
        self.0.lock().push(millimetres(event)?);
        Ok(())
    }
}

/// Lets the length grow; what it was before.
async fn grow<const VERSION: u32>(runtime: &Runtime, by: u64) -> (u64, Seq) {
    let stands = Arc::new(Mutex::new(0));
    let before = Arc::clone(&stands);
    let done = runtime.execute(SHARD, meta(1, "", by), move |round| {
        let before = Arc::clone(&before);
        async move {
            let stream = Stream::new("length", 1);
            *before.lock() = round.load::<Length<VERSION>>(&stream).await?.state.0;
            round.emit::<Length<VERSION>>(&stream, &[by]).await
        }
        .boxed()
    });
    let at = done.await.unwrap().positions[0].seq;
    let before = *stands.lock();
    (before, at)
}

#[tokio::test]
async fn what_an_older_build_wrote_is_read_in_the_meaning_of_today() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let older = platform(dir.path(), &store, store.clone());
    let spec = || Spec { service: Service::Posting, views: vec![], consumers: vec![] };
    let runtime = Runtime::start(&older, spec()).await.unwrap();
    runtime.ready().await;
    assert_eq!(grow::<1>(&runtime, 3).await.0, 0);
    assert_eq!(grow::<1>(&runtime, 4).await.0, 3);
    older.stop().await;

    let today = platform(dir.path(), &store, store.clone());
    let told = Arc::new(Told::default());
    let consumers: Vec<Arc<dyn Consumer>> = vec![told.clone()];
    let views: Vec<Arc<dyn View>> = vec![Arc::new(Lengths)];
    let runtime = Runtime::start(&today, Spec { views, consumers, ..spec() }).await.unwrap();
    runtime.ready().await;
    // The row is of a view that the older build did not have.
    let silent = Arc::new(|_, _| {});
    runtime.rebuild(LENGTHS.name, false, silent.clone()).await.unwrap();
    let (before, at) = grow::<2>(&runtime, 5).await;
    assert_eq!(before, 70, "an aggregate");
    assert_eq!(grow::<2>(&runtime, 6).await.0, 75);
    let row = runtime.reads().get(&LENGTHS, Key::new().num(1).build(), Bytes::new()).await.unwrap().unwrap();
    assert_eq!(row.value.as_ref(), 81_u64.to_be_bytes(), "a view");
    let verified = runtime.rebuild(LENGTHS.name, true, silent).await.unwrap();
    assert_eq!((verified.compared, verified.difference), (1, None));
    let mark = Mark::reader(&"posting.told".into(), LOG);
    let heard = today.progress.wait(&mark, at.next());
    tokio::time::timeout(Duration::from_secs(60), heard).await.expect("the effect is done");
    assert_eq!(*told.0.lock(), [30, 40, 5, 6], "an effect");
    today.stop().await;
}
