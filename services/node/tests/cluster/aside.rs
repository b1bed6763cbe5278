//! What readers put aside, settled by an operator. A decision stands in the store: any process is asked, and the reader
//! acts on it where it runs.

use crate::ground::Ground;
use crate::world::within;
use async_trait::async_trait;
use p92_chassis::Transport;
use p92_eventlog::settle::reader_of_views;
use p92_eventlog::{
    Aggregate, CommandMeta, ConsumeError, Consumer, NatsBus, NewEvent, Platform, Poison, ProjectionError,
    Recorded, Rows, Runtime, Spec, Stream, View,
};
use p92_kernel::{Service, Shard};
use p92_node::operator::Operator;
use p92_node::settings::Config;
use p92_proto::event::v1::{Position, Settling};
use p92_proto::operator::v1::operator_service_client::OperatorServiceClient;
use p92_proto::operator::v1::operator_service_server::OperatorServiceServer;
use p92_proto::operator::v1::{
    DropQuarantineRequest, ListQuarantineRequest, Quarantined, RetryQuarantineRequest,
    RetryQuarantineResponse,
};
use p92_storage::{Key, Table};
use parking_lot::Mutex;
use prost::bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tonic::{Code, Request, Status};

const SHARD: Shard = Shard(1);
const CHOKING: &str = "posting.choking";
/// Nobody can apply it until that is mended.
const BAD: u64 = 666;

/// A stream of numbers.
#[derive(Clone, Debug, Default)]
struct Numbers;

impl Aggregate for Numbers {
    type Event = u64;

    fn decode(event: &Recorded) -> Result<u64, Poison> {
        Ok(event.decode::<Position>()?.seq)
    }

    fn encode(event: &u64) -> NewEvent {
        NewEvent::of(&Position { seq: *event, ..Position::default() })
    }

    fn evolve(self, _: &u64) -> Self {
        self
    }
}

/// Whether the bad number can be applied by now. Clones are the same.
#[derive(Clone, Debug, Default)]
struct Mended(Arc<AtomicBool>);

impl Mended {
    fn number(&self, event: &Recorded) -> Result<u64, Poison> {
        let number = Numbers::decode(event)?;
        if number == BAD && !self.0.load(Ordering::SeqCst) {
            return Err(Poison::Unreadable { event_type: "it".to_owned(), problem: "planted".to_owned() });
        }
        Ok(number)
    }
}

/// An effect: it notes what it is told.
#[derive(Debug, Default)]
struct Choking {
    mended: Mended,
    done: Mutex<Vec<(String, u64)>>,
}

impl Choking {
    fn of(&self, stream: &str) -> Vec<u64> {
        let done = self.done.lock();
        done.iter().filter(|(of, _)| of == stream).map(|(_, number)| *number).collect()
    }
}

#[async_trait]
impl Consumer for Choking {
    fn name(&self) -> &'static str {
        CHOKING
    }

    fn source(&self) -> Service {
        Service::Posting
    }

    fn wants(&self, event_type: &str) -> bool {
        event_type == "p92.event.v1.Position"
    }

    async fn handle(&self, event: &Recorded) -> Result<(), ConsumeError> {
        let number = self.mended.number(event)?;
        self.done.lock().push((event.event.stream.clone(), number));
        Ok(())
    }
}

/// A view: the numbers of each stream, one after the other, in some table of ranking.
#[derive(Debug, Default)]
struct Heard {
    mended: Mended,
}

fn table() -> &'static Table {
    p92_ranking::tables::ALL[0]
}

#[async_trait]
impl View for Heard {
    fn table(&self) -> &'static Table {
        table()
    }

    fn source(&self) -> Service {
        Service::Posting
    }

    fn wants(&self, event_type: &str) -> bool {
        event_type == "p92.event.v1.Position"
    }

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        let number = self.mended.number(event)?;
        let partition = Key::new().text(&event.event.stream).build();
        let mut row = rows.get(partition.clone(), Bytes::new()).await?.unwrap_or_default().to_vec();
        row.extend_from_slice(format!("{number} ").as_bytes());
        rows.put(partition, Bytes::new(), row);
        Ok(())
    }
}

/// A process with some services, and its operator API.
struct Process {
    platform: Arc<Platform>,
    runtimes: Vec<Arc<Runtime>>,
    operators: OperatorServiceClient<Transport>,
    _bus: Option<Arc<NatsBus>>,
}

impl Process {
    async fn start(ground: &Ground, dir: &Path, specs: Vec<Spec>) -> Self {
        let (parts, bus) = ground.open(dir, (&Config::default(), "test")).await;
        let platform = Platform::start(parts);
        let mut runtimes = Vec::new();
        for spec in specs {
            let runtime = Runtime::start(&platform, spec).await.unwrap();
            within(runtime.ready()).await;
            runtimes.push(runtime);
        }
        let operator =
            Operator { platform: Arc::clone(&platform), runtimes: runtimes.clone(), tables: vec![] };
        let operators = OperatorServiceClient::new(Transport::local(OperatorServiceServer::new(operator)));
        Self { platform, runtimes, operators, _bus: bus }
    }

    /// Appends these numbers to a stream of posting's log.
    async fn say(&self, stream: &str, numbers: &[u64]) {
        for number in numbers.iter().copied() {
            let stream = Stream::named(stream);
            let meta = CommandMeta::internal(1, String::new());
            let said = self.runtimes[0].execute(SHARD, meta, move |round| {
                let stream = stream.clone();
                Box::pin(async move { round.emit::<Numbers>(&stream, &[number]).await })
            });
            within(said).await.unwrap();
        }
    }

    async fn list(&self, with_dropped: bool) -> Vec<Quarantined> {
        let request = ListQuarantineRequest { with_dropped };
        self.operators.clone().list_quarantine(request).await.unwrap().into_inner().events
    }

    /// Waits until so many events of a stream are put aside by a reader.
    async fn until_aside(&self, reader: &str, stream: &str, count: usize) {
        let of_both = |one: &Quarantined| {
            one.reader == reader && one.event.as_ref().is_some_and(|event| event.stream == stream)
        };
        let aside = async {
            while self.list(false).await.iter().filter(|one| of_both(one)).count() != count {
                tokio::task::yield_now().await;
            }
        };
        within(aside).await;
    }

    async fn retry(&self, reader: &str, stream: &str) -> Result<RetryQuarantineResponse, Status> {
        let request = RetryQuarantineRequest { reader: reader.to_owned(), stream: stream.to_owned() };
        Ok(self.operators.clone().retry_quarantine(patient(request)).await?.into_inner())
    }

    async fn drop_aside(&self, reader: &str, stream: &str) -> Vec<Quarantined> {
        let request = DropQuarantineRequest { reader: reader.to_owned(), stream: stream.to_owned() };
        self.operators.clone().drop_quarantine(patient(request)).await.unwrap().into_inner().dropped
    }
}

/// A request that may take as long as the command line lets it.
fn patient<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(60));
    request
}

fn posting(consumers: Vec<Arc<dyn Consumer>>) -> Spec {
    Spec { service: Service::Posting, views: vec![], consumers }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_is_settled_through_a_process_that_does_not_run_its_reader() {
    let dir = tempfile::tempdir().unwrap();
    let ground = Ground::fresh(dir.path()).await;
    let choking = Arc::new(Choking::default());
    let reading = Process::start(&ground, dir.path(), vec![posting(vec![choking.clone()])]).await;
    let asked = Process::start(&ground, dir.path(), vec![]).await;
    let nothing = asked.retry(CHOKING, "number/1").await.unwrap_err();
    assert_eq!(nothing.code(), Code::NotFound, "{nothing:?}");

    reading.say("number/1", &[1, BAD, 3]).await;
    asked.until_aside(CHOKING, "number/1", 2).await;
    // Not mended: it is tried, and stays with what is behind it.
    let tried = asked.retry(CHOKING, "number/1").await.unwrap();
    assert_eq!((tried.applied, tried.left), (0, 2), "{tried:?}");
    assert!(tried.problem.contains("planted"), "{tried:?}");
    assert_eq!(choking.of("number/1"), [1]);
    choking.mended.0.store(true, Ordering::SeqCst);
    let tried = asked.retry(CHOKING, "number/1").await.unwrap();
    assert_eq!((tried.applied, tried.left), (2, 0), "{tried:?}");
    assert_eq!(choking.of("number/1"), [1, BAD, 3], "in order, each once");
    assert_eq!(asked.list(true).await.len(), 0);
    reading.say("number/1", &[4]).await;
    within(async {
        while choking.of("number/1").len() < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;

    choking.mended.0.store(false, Ordering::SeqCst);
    reading.say("number/2", &[BAD, 5]).await;
    asked.until_aside(CHOKING, "number/2", 2).await;
    assert_eq!(asked.drop_aside(CHOKING, "number/2").await.len(), 2);
    assert_eq!(asked.list(false).await.len(), 0);
    let record = asked.list(true).await;
    assert!(record.len() == 2 && record.iter().all(|one| one.settling() == Settling::Dropped), "{record:?}");
    reading.say("number/2", &[6]).await;
    within(async {
        while choking.of("number/2").is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(choking.of("number/2"), [6], "what was dropped is never done");
    for process in [asked, reading] {
        process.platform.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_rebuilt_with_what_was_put_aside_by_a_process_of_its_service() {
    let dir = tempfile::tempdir().unwrap();
    let ground = Ground::fresh(dir.path()).await;
    let (view, reader) = (Heard::default(), reader_of_views(Service::Ranking));
    let mended = view.mended.clone();
    let ranking = Spec { service: Service::Ranking, views: vec![Arc::new(view)], consumers: vec![] };
    let reading = Process::start(&ground, dir.path(), vec![posting(vec![]), ranking]).await;
    let another = Process::start(&ground, dir.path(), vec![]).await;
    reading.say("number/1", &[1, BAD, 3]).await;
    another.until_aside(&reader, "number/1", 2).await;
    let refused = another.retry(&reader, "number/1").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");

    let heard = async || {
        let key = Key::new().text("number/1");
        let row = reading.runtimes[1].reads().get(table(), key, Bytes::new()).await.unwrap();
        String::from_utf8(row.unwrap().value.to_vec()).unwrap()
    };
    let tried = reading.retry(&reader, "number/1").await.unwrap();
    assert_eq!((tried.applied, tried.left), (0, 2), "{tried:?}");
    assert!(tried.problem.contains("planted"), "{tried:?}");
    assert_eq!(heard().await, "1 ", "the live table answers as before");
    mended.0.store(true, Ordering::SeqCst);
    let tried = reading.retry(&reader, "number/1").await.unwrap();
    assert_eq!((tried.applied, tried.left), (2, 0), "{tried:?}");
    assert_eq!(heard().await, format!("1 {BAD} 3 "));
    assert_eq!(another.list(true).await.len(), 0);
    for process in [another, reading] {
        process.platform.stop().await;
    }
}
