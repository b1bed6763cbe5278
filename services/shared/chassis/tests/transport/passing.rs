//! Calls that find the holder of a slot, whichever replica they come to.

use crate::probe;
use futures::stream::BoxStream;
use p92_chassis::Transport;
use p92_chassis::server::{self, Limits};
use p92_chassis::status::{from_status, to_status};
use p92_chassis::transport::{Guarded, Network, Others, PassOn, Rules, route};
use p92_kernel::{Elsewhere, Failure, Service, Shard};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// What a replica does with the next call that it takes.
#[derive(Clone, Copy, Default)]
enum Manner {
    #[default]
    Answers,
    Hangs,
    /// Its process ends with the call in its hands, and is started again.
    Ends,
}

/// A replica of a service with one slot. It answers with its own number if it holds the slot.
#[derive(Clone, Default)]
struct Replica {
    number: i32,
    /// Where it believes the slot to be; itself if nowhere.
    believes: Arc<Mutex<Option<Elsewhere>>>,
    calls: Arc<AtomicUsize>,
    next: Arc<Mutex<Manner>>,
    process: Arc<Mutex<CancellationToken>>,
}

impl Replica {
    fn believes(&self, address: Option<&str>, here_too: bool) {
        let address = address.map(str::to_owned);
        *self.believes.lock() =
            Some(Elsewhere { service: Service::Posting, shard: Shard(3), address, here_too });
    }

    fn holds(&self) {
        *self.believes.lock() = None;
    }

    fn next(&self, manner: Manner) {
        *self.next.lock() = manner;
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn answer(&self) -> Result<HealthCheckResponse, Status> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let manner = std::mem::take(&mut *self.next.lock());
        match manner {
            Manner::Answers => {}
            Manner::Hangs => std::future::pending().await,
            Manner::Ends => {
                self.process.lock().cancel();
                std::future::pending().await
            }
        }
        match self.believes.lock().clone() {
            Some(elsewhere) if !(elsewhere.here_too && route::is_passed_on()) => {
                let failure = Failure::unavailable("MOVING", "It moves.", Duration::from_secs(1));
                Err(to_status(failure.because(elsewhere)))
            }
            _ => Ok(HealthCheckResponse { status: self.number }),
        }
    }
}

#[tonic::async_trait]
impl Health for Replica {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        self.answer().await.map(Response::new)
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let first = self.answer().await?;
        Ok(Response::new(Box::pin(futures::stream::iter([Ok(first)]))))
    }
}

/// Serves a replica, in one process after the other; its address.
async fn serve(replica: &Replica) -> String {
    let routes = tonic::service::Routes::new(HealthServer::new(replica.clone()));
    let guarded = Guarded::new(PassOn::new(routes, Others::default()), Rules::INTERNAL);
    let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let replica = replica.clone();
    tokio::spawn(async move {
        loop {
            let process = CancellationToken::new();
            *replica.process.lock() = process.clone();
            let server = server::grpc(guarded.clone());
            let serving = server::serve(listener, server, Limits::INTERNAL, CancellationToken::new());
            // Dropped, it closes every connection.
            process.run_until_cancelled_owned(serving).await;
            listener = TcpListener::bind(address).await.unwrap();
        }
    });
    address.to_string()
}

fn replica(number: i32) -> Replica {
    Replica { number, ..Replica::default() }
}

async fn check(way: &Transport) -> Result<i32, Status> {
    Ok(HealthClient::new(way.clone()).check(probe::request("")).await?.into_inner().status)
}

/// Two replicas, and the way to the first alone.
async fn two() -> (Replica, Replica, Transport, [String; 2]) {
    let (one, two) = (replica(1), replica(2));
    let addresses = [serve(&one).await, serve(&two).await];
    let way = Transport::remote(Network::new([&addresses[0]]).unwrap().with_holders(Others::default()));
    (one, two, way, addresses)
}

#[tokio::test]
async fn a_call_is_passed_on_and_the_next_one_goes_there_at_once() {
    let (one, _two, way, [_, there]) = two().await;
    one.believes(Some(&there), false);
    assert_eq!(check(&way).await.unwrap(), 2);
    let before = one.calls.load(Ordering::SeqCst);
    assert_eq!(route::about(Shard(3), check(&way)).await.unwrap(), 2);
    assert_eq!(one.calls.load(Ordering::SeqCst), before, "it went to the holder");
    // Of another shard nothing is known.
    assert_eq!(route::about(Shard(4), check(&way)).await.unwrap(), 2);
    assert_eq!(one.calls.load(Ordering::SeqCst), before + 1);
    let mut stream =
        HealthClient::new(way.clone()).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().status, 2, "a stream is passed on at its opening");
}

#[tokio::test]
async fn the_connection_by_which_calls_are_passed_on_is_not_taken_for_a_flood() {
    let (one, two, _, [here, there]) = two().await;
    one.believes(Some(&there), false);
    // Who does not remember holders: every call is passed on. h2 closes a connection after a hundred empty frames.
    let way = Transport::remote(Network::new([&here]).unwrap());
    for call in 0..250 {
        assert_eq!(check(&way).await.unwrap(), 2, "call {call}");
    }
    assert_eq!(two.calls.load(Ordering::SeqCst), 250);
}

#[tokio::test]
async fn a_call_is_passed_on_once() {
    let (one, two, way, [here, there]) = two().await;
    // Each takes the other for the holder.
    one.believes(Some(&there), false);
    two.believes(Some(&here), false);
    let asked = p92_chassis::transport::within(Duration::from_secs(1), check(&way)).await;
    let failure = from_status(asked.unwrap_err());
    assert_eq!((failure.reason.as_ref(), failure.retry_after), ("MOVING", Some(Duration::from_secs(1))));
    let (ours, theirs) = (one.calls.load(Ordering::SeqCst), two.calls.load(Ordering::SeqCst));
    assert!(theirs <= ours, "whoever was passed a call passed none on: {ours} and {theirs}");
}

#[tokio::test]
async fn a_call_waits_while_a_slot_moves() {
    let (one, two, way, [_, there]) = two().await;
    // Nobody holds it.
    one.believes(None, false);
    two.believes(None, false);
    let calls = Arc::clone(&one.calls);
    let asked = tokio::spawn(async move { check(&way).await });
    while calls.load(Ordering::SeqCst) < 3 {
        tokio::task::yield_now().await;
    }
    one.believes(Some(&there), false);
    two.holds();
    assert_eq!(asked.await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn who_can_answer_too_does_if_the_holder_is_gone() {
    let (one, _two, way, _) = two().await;
    // A port that was free a moment ago, and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    one.believes(Some(&format!("127.0.0.1:{port}")), true);
    assert_eq!(check(&way).await.unwrap(), 1);
}

/// Whether it was done is not known: only who has the key may ask again, and a replica has not.
#[tokio::test]
async fn a_call_that_its_holder_took_to_its_end_is_not_asked_again() {
    let (one, two, way, [_, there]) = two().await;
    one.believes(Some(&there), false);
    two.next(Manner::Ends);
    let failure = from_status(check(&way).await.unwrap_err());
    assert_eq!(failure.reason, "SERVICE_UNAVAILABLE", "{failure:?}");
    assert!(failure.retry_after.is_some(), "{failure:?}");
    assert_eq!((one.calls(), two.calls()), (1, 1));
    // The same where the caller knows the holder and goes there at once.
    two.next(Manner::Ends);
    let failure = from_status(route::about(Shard(3), check(&way)).await.unwrap_err());
    assert_eq!((failure.reason.as_ref(), one.calls(), two.calls()), ("SERVICE_UNAVAILABLE", 1, 2));
    // The next call is another one, and the holder is back.
    assert_eq!(check(&way).await.unwrap(), 2);
    assert_eq!((one.calls(), two.calls()), (2, 3));
}

#[tokio::test]
async fn who_can_answer_too_does_not_wait_for_a_holder_that_hangs_or_ends() {
    for manner in [Manner::Hangs, Manner::Ends] {
        let (one, two, way, [_, there]) = two().await;
        one.believes(Some(&there), true);
        two.next(manner);
        // Far within the time that a call has.
        assert_eq!(check(&way).await.unwrap(), 1);
        assert_eq!((one.calls(), two.calls()), (2, 1), "asked once, then answered here");
    }
}

/// Where nobody else can answer, a holder that hangs has all the time that the call has, and is asked once.
#[tokio::test]
async fn a_holder_that_hangs_is_waited_for_until_the_deadline() {
    let (one, two, way, [_, there]) = two().await;
    one.believes(Some(&there), false);
    two.next(Manner::Hangs);
    let asked = p92_chassis::transport::within(Duration::from_millis(1_500), check(&way));
    assert_eq!(from_status(asked.await.unwrap_err()).reason, "DEADLINE_EXCEEDED");
    assert_eq!((one.calls(), two.calls()), (1, 1));
}

#[tokio::test]
async fn a_holder_that_has_gone_is_forgotten() {
    let (one, two, way, [_, there]) = two().await;
    one.believes(Some(&there), false);
    assert_eq!(check(&way).await.unwrap(), 2);
    // It holds the slot no longer, and says so to whoever comes directly; the slot came here.
    two.believes(None, false);
    one.holds();
    let asked = p92_chassis::transport::within(Duration::from_secs(1), route::about(Shard(3), check(&way)));
    assert!(asked.await.is_err());
    assert_eq!(route::about(Shard(3), check(&way)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_request_too_large_to_be_kept_is_refused() {
    let (_, _, way, _) = two().await;
    let request = HealthCheckRequest { service: "x".repeat(5 << 20) };
    let refused = HealthClient::new(way).check(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
}
