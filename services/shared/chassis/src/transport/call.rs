//! One call while it is under way: its span, its time and its end, alike at the end that asks and the end that answers.
//!
//! It refuses to know how the call travels. Labels are names of methods and codes, never what strangers send.

use super::method::{Method, OTHER};
use crate::status::to_status;
use crate::telemetry::fields;
use bytes::Bytes;
use http::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use opentelemetry::metrics::{Histogram, UpDownCounter};
use opentelemetry::{KeyValue, global};
use p92_kernel::Failure;
use std::future::Future as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::body::Body;
use tonic::{Code, Status};
use tracing::Span;
use tracing::field::Empty;

/// Which end of the call this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Asks,
    /// Asks a server of the same process: the call has one span, that of whoever answers.
    AsksHere,
    Answers,
}

impl End {
    const fn kind(self) -> &'static str {
        match self {
            Self::Asks | Self::AsksHere => "client",
            Self::Answers => "server",
        }
    }

    /// What counts as an error of this end (OpenTelemetry, "Semantic conventions for gRPC"): whoever answers is not
    /// at fault for a request that deserved its refusal.
    const fn at_fault(self, code: Code) -> bool {
        match self {
            Self::Asks | Self::AsksHere => !matches!(code, Code::Ok),
            Self::Answers => matches!(
                code,
                Code::Unknown
                    | Code::DeadlineExceeded
                    | Code::Unimplemented
                    | Code::Internal
                    | Code::Unavailable
                    | Code::DataLoss
            ),
        }
    }
}

/// The instruments of one end. Made with the transport, after the process has set up its meter.
#[derive(Clone, Debug)]
pub(crate) struct Meters {
    end: End,
    duration: Histogram<f64>,
    under_way: UpDownCounter<i64>,
}

impl Meters {
    pub(crate) fn new(end: End) -> Arc<Self> {
        let meter = global::meter(fields::SCOPE);
        let kind = end.kind();
        Arc::new(Self {
            end,
            duration: meter
                .f64_histogram(format!("p92_rpc_{kind}_duration_seconds"))
                .with_description("Time from a call's beginning to the end of its answer")
                .with_boundaries(crate::telemetry::metrics::SECONDS.to_vec())
                .build(),
            under_way: meter
                .i64_up_down_counter(format!("p92_rpc_{kind}_under_way"))
                .with_description("Calls and streams that have not ended")
                .build(),
        })
    }
}

/// A call that has not ended. Dropped without an end, it counts as cancelled.
pub(crate) struct Ongoing {
    meters: Arc<Meters>,
    method: Method,
    span: Span,
    since: Instant,
    code: Option<Code>,
}

impl Ongoing {
    pub(crate) fn begin(meters: &Arc<Meters>, method: Method) -> Self {
        let end = meters.end;
        let name = || format!("{}/{}", method.service, method.name);
        // The answering end never takes its parent from the task that it happens to run on: it is told by what
        // came with the call, in one process as between two.
        let span = match end {
            End::Asks => tracing::info_span!(
                "call",
                { fields::SPAN_NAME } = name(),
                { fields::SPAN_KIND } = end.kind(),
                { fields::RPC_SYSTEM } = "grpc",
                { fields::RPC_SERVICE } = &*method.service,
                { fields::RPC_METHOD } = &*method.name,
                { fields::RPC_CODE } = Empty,
                { fields::SPAN_STATUS } = Empty,
            ),
            End::AsksHere => Span::none(),
            End::Answers => tracing::info_span!(
                parent: None,
                "answer",
                { fields::SPAN_NAME } = name(),
                { fields::SPAN_KIND } = end.kind(),
                { fields::RPC_SYSTEM } = "grpc",
                { fields::RPC_SERVICE } = &*method.service,
                { fields::RPC_METHOD } = &*method.name,
                { fields::RPC_CODE } = Empty,
                { fields::SPAN_STATUS } = Empty,
            ),
        };
        meters.under_way.add(1, &[]);
        Self { meters: Arc::clone(meters), method, span, since: Instant::now(), code: None }
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Whether the server is in this process.
    pub(crate) fn is_here(&self) -> bool {
        self.meters.end == End::AsksHere
    }

    /// The answer, watched until it ends, or until `stop` ends a stream that would have gone on.
    pub(crate) fn answered(
        mut self,
        response: Response<Body>,
        stop: Option<&CancellationToken>,
    ) -> Response<Body> {
        // An answer without a body has its status among the headers.
        self.code = Status::from_header_map(response.headers()).map(|status| status.code());
        let stop = stop.map(|stop| Box::pin(stop.clone().cancelled_owned()));
        response.map(|body| {
            if body.is_end_stream() { Body::empty() } else { Body::new(Answer { body, call: self, stop }) }
        })
    }

    /// The answer is this failure.
    pub(crate) fn failed(self, failure: Failure) -> Response<Body> {
        let response = self.span.in_scope(|| to_status(failure)).into_http();
        self.answered(response, None)
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        let end = self.meters.end;
        let code = self.code.unwrap_or(Code::Cancelled);
        // Strangers may ask for anything; what nobody answers to has no name here.
        let nameless = end == End::Answers && code == Code::Unimplemented;
        let label = |name: &Arc<str>| if nameless { OTHER.into() } else { Arc::clone(name) };
        self.meters.under_way.add(-1, &[]);
        self.meters.duration.record(
            self.since.elapsed().as_secs_f64(),
            &[
                KeyValue::new("rpc_service", label(&self.method.service)),
                KeyValue::new("rpc_method", label(&self.method.name)),
                KeyValue::new("code", code_name(code)),
            ],
        );
        self.span.record(fields::RPC_CODE, code as i32);
        if end.at_fault(code) {
            self.span.record(fields::SPAN_STATUS, "ERROR");
        }
    }
}

/// The body of an answer, watched.
struct Answer {
    body: Body,
    call: Ongoing,
    stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Answer {
    /// Ends the stream by a status of ours, where the connection stays as it is for all other calls.
    fn end(&mut self, failure: Failure) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.body = Body::empty();
        self.stop = None;
        let status = to_status(failure);
        self.call.code = Some(status.code());
        let mut trailers = http::HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            trailers.insert(Status::GRPC_STATUS, http::HeaderValue::from(status.code() as i32));
        }
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    /// Whether the server stops. Asked only while the stream has nothing to say.
    fn stopped(&mut self, context: &mut Context<'_>) -> bool {
        self.stop.as_mut().is_some_and(|stop| stop.as_mut().poll(context).is_ready())
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let span = self.call.span.clone();
        let _entered = span.enter();
        let body = &mut self.body;
        // What is broken by the panic is dropped and never polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(context)));
        match polled {
            Err(_panic) => self.end(Failure::internal("a panic while a stream was answered")),
            Ok(Poll::Ready(Some(Ok(frame)))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let status = Status::from_header_map(trailers);
                    self.call.code = Some(status.map_or(Code::Unknown, |status| status.code()));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Ok(Poll::Ready(Some(Err(error)))) => {
                let failure = super::lost(error);
                let status = to_status(failure);
                self.call.code = Some(status.code());
                Poll::Ready(Some(Err(status)))
            }
            Ok(Poll::Ready(None)) => {
                self.call.code.get_or_insert(Code::Unknown);
                Poll::Ready(None)
            }
            Ok(Poll::Pending) if self.stopped(context) => self.end(super::stopping()),
            Ok(Poll::Pending) => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The code's name as gRPC writes it.
const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
