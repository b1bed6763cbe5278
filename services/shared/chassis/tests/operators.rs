//! What an operator sees of a process: probes, measures, traces, panics. One test, since telemetry is set up once.

// A test says by a panic what it expected.
#![allow(clippy::unwrap_used, clippy::panic)]

use axum::Router;
use axum::body::to_bytes;
use futures::StreamExt as _;
use http_body_util::StreamBody;
use hyper::body::Frame;
use opentelemetry::KeyValue;
use p92_chassis::health::{Health, Needed};
use p92_chassis::server::{self, Limits};
use p92_chassis::shutdown::{Shutdown, Times};
use p92_chassis::telemetry::{self, LogFormat, Process, TelemetryConfig, meter};
use p92_chassis::{Transport, ops};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// A collector that says yes to everything, and what it was sent.
async fn collector() -> (SocketAddr, mpsc::UnboundedReceiver<Vec<u8>>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let router = Router::new().fallback(async move |request: axum::extract::Request| {
        sender.send(to_bytes(request.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap();
        let trailers = http::HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
        // An empty message: not compressed, of no length.
        let frames = [Frame::data(bytes::Bytes::from_static(&[0; 5])), Frame::trailers(trailers)];
        let body = StreamBody::new(futures::stream::iter(frames).map(Ok::<_, std::convert::Infallible>));
        http::Response::builder()
            .header("content-type", "application/grpc")
            .body(axum::body::Body::new(body))
            .unwrap()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(server::serve(listener, router, Limits::INTERNAL, CancellationToken::new()));
    (address, receiver)
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let code = text.split(' ').nth(1).unwrap().parse().unwrap();
    (code, text.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_what_the_process_does() {
    let (collector, mut spans) = collector().await;
    let config = TelemetryConfig {
        otlp_endpoint: Some(format!("http://{collector}")),
        log_format: LogFormat::Json,
        ..TelemetryConfig::default()
    };
    let process = Process { service: "test".to_owned(), version: "0.0.0", instance: "one".to_owned() };
    let telemetry = telemetry::init(&config, &process).unwrap();
    assert!(telemetry::init(&config, &process).is_err());

    let health = Health::new(Shutdown::new(Times::ALONE));
    let store = health.condition("store", Needed::ToServe);
    health.complete();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    ops::serve(listener, ops::router(health.clone(), telemetry.metrics()), stop.clone()).unwrap();

    // Probes.
    store.unmet("schema 3 wanted, 2 found");
    let (code, body) = get(address, "/readyz").await;
    let report: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, &report["conditions"][0]["reason"]), (503, &"schema 3 wanted, 2 found".into()));
    store.met();
    assert_eq!(get(address, "/readyz").await.0, 200);
    assert_eq!(get(address, "/livez").await.0, 200);
    assert_eq!(get(address, "/startupz").await.0, 200);
    assert_eq!(get(address, "/else").await.0, 404);
    // Told before the first one, which would raise no alert otherwise.
    assert!(get(address, "/metrics").await.1.contains("\np92_process_panics_total 0\n"));

    // A call, a panic, an instrument.
    let routes = tonic::service::Routes::new(health.grpc());
    let mut client = HealthClient::new(Transport::local(routes));
    client.check(HealthCheckRequest::default()).await.unwrap();
    assert!(tokio::spawn(async { panic!("on purpose") }).await.is_err());
    meter("test").counter("sung_songs", "Songs").add(3, &[KeyValue::new("key", "minor")]);
    meter("test").counted("heard_songs", "Songs, by ear", "ear", || vec![("left", 4), ("right", 5)]);
    meter("test").seconds("song", "Length of a song").record(0.3, &[]);
    let of_shards = opentelemetry::global::meter(telemetry::fields::SCOPE_OF_SHARDS);
    let many = of_shards.u64_gauge("p92_test_places").build();
    (0..5_000).for_each(|shard| many.record(1, &[KeyValue::new("shard", shard)]));

    let (code, text) = get(address, "/metrics").await;
    assert_eq!(code, 200);
    let call = r#"{code="OK",rpc_method="Check",rpc_service="grpc.health.v1.Health"} 1"#;
    for line in [
        &format!("p92_rpc_client_duration_seconds_count{call}"),
        &format!("p92_rpc_server_duration_seconds_count{call}"),
        "p92_rpc_server_under_way 0",
        "p92_process_panics_total 1",
        "p92_process_ready 1",
        r#"p92_process_condition{condition="store"} 1"#,
        r#"p92_test_sung_songs_total{key="minor"} 3"#,
        r#"p92_test_heard_songs_total{ear="left"} 4"#,
        r#"p92_test_heard_songs_total{ear="right"} 5"#,
        r#"p92_test_song_seconds_bucket{le="0.5"} 1"#,
        "p92_process_uptime_seconds ",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line}\nis not in\n{text}");
    }
    let of_shards = text.lines().filter(|line| line.starts_with("p92_test_places{shard="));
    assert_eq!(of_shards.count(), 5_000, "each is told by itself");
    if cfg!(target_os = "linux") {
        assert!(text.contains("\np92_process_resident_bytes "), "{text}");
        assert!(text.contains("\np92_process_cpu_seconds_total "), "{text}");
    }

    // Traces are there when the last step has ended.
    telemetry.flush().await.unwrap();
    let mut sent = Vec::new();
    while let Ok(batch) = spans.try_recv() {
        sent.extend(batch);
    }
    let sent = String::from_utf8_lossy(&sent);
    assert!(sent.contains("grpc.health.v1.Health/Check") && sent.contains("service.instance.id"));
    stop.cancel();
}
