//! One suite over every shape of the transport: a client cannot tell a server in its own process from one elsewhere.
//!
//! Each test runs against all shapes; the server is reached only through a generated client.

// A test says by a panic what it expected.
#![allow(clippy::unwrap_used, clippy::panic)]

mod passing;
mod probe;
mod restart;
mod shapes;
mod tls;

use p92_chassis::status::from_status;
use p92_chassis::transport::{self, Guarded, Rules};
use p92_kernel::ErrorCode;
use probe::{Probe, TRACES};
use shapes::{Shape, shapes};
use std::time::Duration;
use tonic::Code;
use tonic::metadata::MetadataValue;

#[tokio::test]
async fn a_call_is_answered() {
    for shape in shapes().await {
        assert_eq!(shape.check("ok").await.unwrap(), 1, "{}", shape.name);
    }
}

#[tokio::test]
async fn a_failure_arrives_whole() {
    for shape in shapes().await {
        let failure = from_status(shape.check("refused").await.unwrap_err());
        assert_eq!(failure.code, ErrorCode::InvalidArgument, "{}", shape.name);
        assert_eq!(failure.reason, "NAME_REFUSED");
        assert_eq!(failure.field.as_deref(), Some("service"));
        assert_eq!(failure.public, "Not this name: \u{201c}é\u{201d}.");

        let failure = from_status(shape.check("later").await.unwrap_err());
        assert_eq!(
            (failure.code, failure.retry_after),
            (ErrorCode::Unavailable, Some(Duration::from_millis(2_500)))
        );
    }
}

#[tokio::test]
async fn causes_and_panics_stay_with_the_server() {
    for shape in shapes().await {
        for case in ["bug", "panic"] {
            let status = shape.check(case).await.unwrap_err();
            assert!(!format!("{status:?}").contains("secret"), "{} {case}: {status:?}", shape.name);
            let failure = from_status(status);
            assert_eq!((failure.code, failure.reason.as_ref()), (ErrorCode::Internal, "INTERNAL"));
        }
        assert_eq!(shape.check("ok").await.unwrap(), 1, "{} goes on", shape.name);
    }
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_and_so_does_its_handler() {
    for shape in shapes().await {
        let asked = transport::within(Duration::from_millis(40), shape.check("never"));
        let failure = from_status(asked.await.unwrap_err());
        assert_eq!(failure.code, ErrorCode::DeadlineExceeded, "{}", shape.name);
        assert_eq!(failure.reason, "DEADLINE_EXCEEDED");
        shape.probe.given_up().await;
    }
}

#[tokio::test]
async fn a_deadline_of_the_request_itself_counts() {
    for shape in shapes().await {
        let mut request = probe::request("never");
        request.set_timeout(Duration::from_millis(40));
        assert_eq!(shape.client().check(request).await.unwrap_err().code(), Code::DeadlineExceeded);
    }
}

#[tokio::test]
async fn what_is_left_travels_through_further_calls() {
    for shape in shapes().await {
        shape.check("left").await.unwrap();
        let left = shape.probe.left();
        assert!(left > Duration::from_secs(14) && left <= transport::DEFAULT_DEADLINE, "{left:?}");

        transport::within(Duration::from_secs(7), shape.check("nested")).await.unwrap();
        let left = shape.probe.left();
        assert!(left > Duration::from_secs(6) && left <= Duration::from_secs(7), "{}: {left:?}", shape.name);
    }
}

#[tokio::test]
async fn a_caller_that_has_no_time_left_does_not_ask() {
    for shape in shapes().await {
        let status = transport::within(Duration::ZERO, shape.check("left")).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_the_handler() {
    for shape in shapes().await {
        let call = tokio::spawn({
            let mut client = shape.client();
            async move { client.check(probe::request("never")).await }
        });
        shape.probe.arrived().await;
        call.abort();
        shape.probe.given_up().await;
    }
}

#[tokio::test]
async fn the_trace_of_the_caller_is_joined() {
    probe::record_spans();
    for shape in shapes().await {
        let caller = tracing::info_span!("caller");
        let ours = probe::trace_id(&caller);
        tracing::Instrument::instrument(shape.check("trace"), caller).await.unwrap();
        let seen = TRACES.lock().get(&shape.probe.number).cloned();
        assert_eq!(seen.as_deref(), Some(ours.as_str()), "{}", shape.name);
    }
}

#[tokio::test]
async fn strangers_cannot_choose_the_trace() {
    probe::record_spans();
    let probe = Probe::new();
    let shape = Shape::served(probe.clone(), Guarded::new(probe.server(), Rules::PUBLIC)).await;
    let caller = tracing::info_span!("caller");
    let theirs = probe::trace_id(&caller);
    tracing::Instrument::instrument(shape.check("trace"), caller).await.unwrap();
    let seen = TRACES.lock().get(&probe.number).cloned().unwrap();
    assert_ne!(seen, theirs);
    assert_ne!(seen, "0".repeat(32));
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused() {
    for shape in shapes().await {
        let status = shape.check(&"x".repeat(5 << 20)).await.unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange, "{}: {status:?}", shape.name);
        assert_eq!(shape.check("ok").await.unwrap(), 1, "{} goes on", shape.name);
    }
}

#[tokio::test]
async fn who_is_too_much_is_told_at_once() {
    for shape in shapes().await {
        let limited = shape.with(|transport| transport.with_limit(1));
        let slow = tokio::spawn({
            let mut client = limited.client();
            async move { client.check(probe::request("never")).await }
        });
        limited.probe.arrived().await;
        let failure = from_status(limited.check("ok").await.unwrap_err());
        assert_eq!((failure.code, failure.reason.as_ref()), (ErrorCode::Unavailable, "OVERLOADED"));
        assert!(failure.retry_after.is_some());
        slow.abort();
        assert!(slow.await.unwrap_err().is_cancelled());
        assert_eq!(limited.check("ok").await.unwrap(), 1, "{}: the place is free again", shape.name);
    }
}

#[tokio::test]
async fn a_server_refuses_what_is_too_much_for_it() {
    let probe = Probe::new();
    let guard = Guarded::new(probe.server(), Rules { under_way: 1, ..Rules::INTERNAL });
    let shape = Shape::served(probe, guard).await;
    let slow = tokio::spawn({
        let mut client = shape.client();
        async move { client.check(probe::request("never")).await }
    });
    shape.probe.arrived().await;
    assert_eq!(from_status(shape.check("ok").await.unwrap_err()).reason, "OVERLOADED");
    slow.abort();
    shape.probe.given_up().await;
}

#[tokio::test]
async fn a_stream_ends_as_its_server_says() {
    for shape in shapes().await {
        let (messages, end) = shape.watch("three").await;
        assert!(messages == 3 && end.is_none(), "{}: {end:?}", shape.name);

        let (messages, end) = shape.watch("three then refused").await;
        assert_eq!(messages, 3);
        assert_eq!(end.unwrap().reason, "NAME_REFUSED", "{}", shape.name);

        let (messages, end) = shape.watch("three then panic").await;
        assert_eq!(messages, 3);
        assert_eq!(end.unwrap().code, ErrorCode::Internal, "{}", shape.name);
        assert_eq!(shape.check("ok").await.unwrap(), 1, "{} goes on", shape.name);
    }
}

#[tokio::test]
async fn a_stream_outlives_the_deadline_of_its_beginning() {
    for shape in shapes().await {
        let allowed = Duration::from_millis(40);
        let mut client = shape.client();
        let begun = transport::within(allowed, client.watch(probe::request("on demand")));
        let mut stream = begun.await.unwrap().into_inner();
        let silence = tokio::time::timeout(allowed * 2, stream.message()).await;
        assert!(silence.is_err(), "{} ended: {silence:?}", shape.name);
        shape.probe.demand();
        assert!(stream.message().await.unwrap().is_some(), "{}", shape.name);
    }
}

#[tokio::test]
async fn what_no_server_knows_is_unimplemented() {
    for shape in shapes().await {
        let status = shape.raw("/no.such.Service/Method").await;
        assert_eq!(status, Some(Code::Unimplemented), "{}", shape.name);
    }
}

#[tokio::test]
async fn metadata_arrives() {
    for shape in shapes().await {
        let mut request = probe::request("metadata");
        request.metadata_mut().insert("p92-server", MetadataValue::from_static("a.example"));
        assert_eq!(shape.client().check(request).await.unwrap().into_inner().status, 1, "{}", shape.name);
    }
}
