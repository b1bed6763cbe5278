//! The one transport that every generated client uses: the co-located server itself, or servers elsewhere.
//!
//! Deadline, limit, trace and measures wrap it at both ends, so both shapes behave alike; within a process there is no
//! loopback socket, and one span instead of two. It refuses to know any service: a client is made by whoever knows the
//! service's name, `PostServiceClient::new(transport)`.
//!
//! Messages: tonic refuses to decode more than 4 MiB unless a generated client or server is told otherwise.

mod call;
pub mod deadline;
mod guard;
mod method;
mod network;
mod passing;
mod peers;
mod reach;
pub mod route;

pub use deadline::{DEFAULT as DEFAULT_DEADLINE, within};
pub use guard::{Guarded, Rules};
pub use network::{BadAddress, Network, host_and_port};
pub use passing::{Others, PassOn};

use crate::telemetry::context;
use call::{End, Meters, Ongoing};
use http::{Request, Response};
use method::Method;
use p92_kernel::{ErrorCode, Failure};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt as _};

use tracing::{Instrument as _, Span};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Calls of one client that may wait for their answer to begin at once; more are refused with a retry hint. A queue
/// without an end would turn a slow service into a slow installation.
const UNDER_WAY: usize = 4_096;

/// What a generated client is made over: `PostServiceClient::new(transport)`. Clones share connections and limits.
#[derive(Clone)]
pub struct Transport {
    way: BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>,
    permits: Arc<Semaphore>,
    meters: Arc<Meters>,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transport")
    }
}

impl Transport {
    /// The way to a server in this process: a generated server, or `tonic::service::Routes`.
    pub fn local<S>(server: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        let guarded = Guarded::new(server, Rules::INTERNAL);
        let way = guarded.map_err(|never: Infallible| match never {});
        Self::over(BoxCloneSyncService::new(way), End::AsksHere)
    }

    /// The way to servers elsewhere. Nothing is connected before the first call.
    #[must_use]
    pub fn remote(network: Network) -> Self {
        Self::over(BoxCloneSyncService::new(network), End::Asks)
    }

    /// The same way for fewer calls at once.
    #[must_use]
    pub fn with_limit(self, under_way: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(under_way)), ..self }
    }

    fn over(way: BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>, end: End) -> Self {
        Self { way, permits: Arc::new(Semaphore::new(UNDER_WAY)), meters: Meters::new(end) }
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    /// Always ready: waiting for a connection is part of the call and ends at its deadline.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let call = Ongoing::begin(&self.meters, Method::of(request.uri()));
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Box::pin(async move { Ok(call.failed(overloaded())) });
        };
        let allowed = deadline::for_call(request.headers());
        if allowed.is_zero() {
            return Box::pin(async move { Ok(call.failed(deadline_exceeded())) });
        }
        deadline::write(request.headers_mut(), allowed);
        if call.is_here() {
            context::write_beside(&Span::current(), request.extensions_mut());
        } else {
            context::write_headers(call.span(), request.headers_mut());
        }
        let way = self.way.clone();
        let span = call.span().clone();
        let answer = async move {
            let answered = tokio::time::timeout(allowed, way.oneshot(request)).await;
            drop(permit);
            Ok(match answered {
                Ok(Ok(response)) => call.answered(response, None),
                Ok(Err(error)) => call.failed(lost(error)),
                Err(_elapsed) => call.failed(deadline_exceeded()),
            })
        };
        Box::pin(answer.instrument(span))
    }
}

/// There is no way to the server, or it broke before the answer was whole.
fn lost(cause: impl Into<BoxError>) -> Failure {
    Failure::unavailable(
        "SERVICE_UNAVAILABLE",
        "A part of the service does not answer. Please try again.",
        Duration::from_secs(1),
    )
    .because(cause)
}

fn stopping() -> Failure {
    Failure::unavailable("STOPPING", "This part of the service restarts. Please try again.", Duration::ZERO)
}

fn overloaded() -> Failure {
    Failure::unavailable(
        "OVERLOADED",
        "Too many requests are under way. Please try again.",
        Duration::from_secs(1),
    )
}

fn deadline_exceeded() -> Failure {
    Failure {
        retry_after: Some(Duration::from_secs(1)),
        ..Failure::new(
            ErrorCode::DeadlineExceeded,
            "DEADLINE_EXCEEDED",
            "It took too long. Whether it was done is not known; repeat it with the same key to settle it.",
        )
    }
}
