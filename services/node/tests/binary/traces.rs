//! What a trace collector gets: one trace per request from the door to the services, and nothing personal.

use crate::running::Running;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use p92_chassis::server::{Limits, serve};
use prost::Message as _;
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;
use tonic_prost::ProstCodec;

type Received = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

/// A collector on a free port: its address, and what it got.
async fn collector(stop: &CancellationToken) -> (String, Received) {
    let received = Received::default();
    let kept = Arc::clone(&received);
    let export = tower::service_fn(move |request: tonic::Request<ExportTraceServiceRequest>| {
        kept.lock().unwrap().push(request.into_inner());
        std::future::ready(Ok::<_, tonic::Status>(
            tonic::Response::new(ExportTraceServiceResponse::default()),
        ))
    });
    let calls = tower::service_fn(move |request: http::Request<axum::body::Body>| {
        let export = export.clone();
        async move {
            let codec = ProstCodec::<ExportTraceServiceResponse, ExportTraceServiceRequest>::default();
            Ok::<_, std::convert::Infallible>(tonic::server::Grpc::new(codec).unary(export, request).await)
        }
    });
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().route_service(path, calls);
    tokio::spawn(serve(listener, router, Limits::OPERATORS, stop.clone()));
    (address, received)
}

fn spans(received: &Received) -> Vec<Span> {
    let requests = received.lock().unwrap();
    let resources = requests.iter().flat_map(|request| &request.resource_spans);
    resources.flat_map(|one| &one.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_is_one_trace_through_all_services_and_tells_nothing_personal() {
    let stop = CancellationToken::new();
    let (address, received) = collector(&stop).await;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let work = move || {
        let running = Running::start(&data, &[("P92_TELEMETRY__OTLP_ENDPOINT", &address)]);
        let secret = ["--email", "canarymail@example.org", "--password", "canary password"];
        running.command(&[&["account", "create", "canaryname"][..], &secret].concat());
        let app = running.command(&["app", "create", "--name", "canaryapp", "--json"]);
        let app: serde_json::Value = serde_json::from_str(&app).unwrap();
        let id = app["app"]["clientId"].as_str().unwrap();
        let token = running.command(&["token", "create", "--account", "canaryname", "--app", id]);
        let answer = running.post("/api/v1/statuses", &token, "status=canarytext+%23canarytag");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let status: serde_json::Value =
            serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let stream = format!("post/{}", status["id"].as_str().unwrap());
        let events = running.command(&["events", "read", &stream, "--json"]);
        // Readers are soon there; each look is a command, which takes its time.
        let behind = || {
            let told: serde_json::Value = serde_json::from_str(&running.command(&["lag", "--json"])).unwrap();
            let at = |one: &serde_json::Value, name: &str| -> u64 {
                one[name].as_str().map_or(0, |text| text.parse().unwrap())
            };
            told["lags"].as_array().unwrap().iter().any(|one| at(one, "head") > at(one, "applied"))
        };
        assert!((0..100).any(|_| !behind()), "readers do not come");
        assert!(running.stop(), "what is unsent is sent before the end");
        (token, events)
    };
    let (token, events) = tokio::task::spawn_blocking(work).await.unwrap();
    let spans = spans(&received);
    let door = spans.iter().find(|span| span.name.contains("/api/v1/statuses")).expect("the request's span");
    let whole: Vec<_> = spans.iter().filter(|span| span.trace_id == door.trace_id).collect();
    for service in ["p92.identity.v1.", "p92.posting.v1."] {
        assert!(whole.iter().any(|span| span.name.contains(service)), "{service} in {whole:#?}");
    }
    // What an envelope says of it, and who goes on by that when the call is long over.
    let trace = hex::encode(&door.trace_id);
    assert!(events.contains(&format!("00-{trace}-")), "{trace} in {events}");
    let consumed = |span: &&Span| span.name == "consume";
    assert!(whole.iter().copied().any(|span| consumed(&span)), "no reader in {whole:#?}");
    for request in received.lock().unwrap().iter() {
        let text = String::from_utf8_lossy(&request.encode_to_vec()).to_lowercase();
        assert!(!text.contains("canary") && !text.contains(&token.to_lowercase()), "{text}");
    }
    stop.cancel();
}
