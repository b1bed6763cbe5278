//! Servers that come, go, and are held up by their peers.

use crate::probe::{self, Probe};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use p92_chassis::server::{self, Limits};
use p92_chassis::status::from_status;
use p92_chassis::transport::{self, Guarded, Network, Rules, Transport};
use p92_kernel::ErrorCode;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::health_client::HealthClient;
use tower::service_fn;

/// A server that can be stopped.
struct Server {
    probe: Probe,
    address: SocketAddr,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

impl Server {
    async fn at(address: &str, limits: Limits) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (probe, stop) = (Probe::new(), CancellationToken::new());
        let guarded = Guarded::new(probe.server(), Rules::INTERNAL).ending_streams(stop.clone());
        let ended = tokio::spawn(server::serve(listener, server::grpc(guarded), limits, stop.clone()));
        Self { probe, address, stop, ended }
    }

    async fn new() -> Self {
        Self::at("127.0.0.1:0", Limits::INTERNAL).await
    }

    async fn stopped(self) {
        self.stop.cancel();
        self.ended.await.unwrap();
    }
}

fn client<const N: usize>(servers: [&Server; N]) -> HealthClient<Transport> {
    let network = Network::new(servers.map(|server| server.address.to_string())).unwrap();
    HealthClient::new(Transport::remote(network))
}

#[tokio::test]
async fn a_restart_of_one_of_two_loses_no_call() {
    let (one, two) = (Server::new().await, Server::new().await);
    let client = client([&one, &two]);
    let done = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (mut client, done) = (client.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut calls = 0_usize;
                while !done.load(Ordering::Relaxed) {
                    client.check(probe::request("ok")).await.unwrap();
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut back = Vec::new();
    for server in [one, two] {
        let address = server.address.to_string();
        // Some calls arrive before the restart, and some after it.
        let mut mine = client.clone();
        for _ in 0..20 {
            mine.check(probe::request("ok")).await.unwrap();
        }
        server.stopped().await;
        for _ in 0..20 {
            mine.check(probe::request("ok")).await.unwrap();
        }
        let again = Server::at(&address, Limits::INTERNAL).await;
        // It is asked again once its rest is over.
        tokio::time::timeout(Duration::from_secs(10), async {
            while !again.probe.was_called() {
                mine.check(probe::request("ok")).await.unwrap();
            }
        })
        .await
        .unwrap();
        back.push(again);
    }
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        assert!(caller.await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_again() {
    let server = Server::new().await;
    let address = server.address.to_string();
    let mut client = client([&server]);
    client.check(probe::request("ok")).await.unwrap();
    server.stopped().await;
    let failure = from_status(client.check(probe::request("ok")).await.unwrap_err());
    assert_eq!(failure.code, ErrorCode::Unavailable);
    let _back = Server::at(&address, Limits::INTERNAL).await;
    client.check(probe::request("ok")).await.unwrap();
}

#[tokio::test]
async fn a_call_under_way_is_answered_before_the_server_ends() {
    let server = Server::new().await;
    let mut client = client([&server]);
    let call = tokio::spawn(async move { client.check(probe::request("on demand")).await });
    server.probe.arrived().await;
    server.stop.cancel();
    server.probe.demand();
    assert_eq!(call.await.unwrap().unwrap().into_inner().status, 1);
    server.ended.await.unwrap();
}

#[tokio::test]
async fn who_has_just_come_when_the_server_ends_is_answered() {
    for accepted in [false, true] {
        let server = Server::new().await;
        let io = TcpStream::connect(server.address).await.unwrap();
        if accepted {
            // Whoever came later was accepted later.
            client([&server]).check(probe::request("ok")).await.unwrap();
        }
        server.stop.cancel();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
        tokio::spawn(connection);
        let way = service_fn(move |request| sender.clone().send_request(request));
        let origin = "http://server.example".parse().unwrap();
        let answer = HealthClient::with_origin(way, origin).check(probe::request("ok")).await.unwrap();
        assert_eq!(answer.into_inner().status, 1);
        server.ended.await.unwrap();
        assert!(TcpStream::connect(server.address).await.is_err());
    }
}

#[tokio::test]
async fn a_stream_does_not_keep_a_server_from_ending() {
    let server = Server::new().await;
    let mut client = client([&server]);
    let mut stream = client.watch(probe::request("on demand")).await.unwrap().into_inner();
    server.stopped().await;
    let failure = from_status(stream.message().await.unwrap_err());
    assert_eq!((failure.code, failure.reason.as_ref()), (ErrorCode::Unavailable, "STOPPING"));
}

#[tokio::test]
async fn who_says_nothing_is_shown_the_door() {
    let limits = Limits { patience: Duration::from_millis(50), ..Limits::PUBLIC };
    let server = Server::at("127.0.0.1:0", limits).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_connection_too_many_waits_for_a_place() {
    let limits = Limits { connections: 1, ..Limits::INTERNAL };
    let server = Server::at("127.0.0.1:0", limits).await;
    let first = TcpStream::connect(server.address).await.unwrap();
    let mut client = client([&server]);
    let waiting = transport::within(Duration::from_millis(100), client.check(probe::request("ok")));
    assert_eq!(waiting.await.unwrap_err().code(), tonic::Code::DeadlineExceeded);
    drop(first);
    client.check(probe::request("ok")).await.unwrap();
}
