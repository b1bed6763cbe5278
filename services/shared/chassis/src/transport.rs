//! The one transport that every generated client uses: the co-located server itself, or a network channel.
//!
//! Deadline, concurrency limit and tracing wrap it, so both behave alike; there is no loopback socket within a process.

use crate::status::to_status;
use http::{HeaderValue, Request, Response};
use p92_kernel::Failure;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt as _};
use tracing::Instrument as _;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Calls that one client may have under way; beyond, RESOURCE_EXHAUSTED with a retry hint.
const UNDER_WAY: usize = 4_096;
/// How long a call may take if nobody above it has a deadline.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(15);

tokio::task_local! {
    /// When the call that this task serves must be answered.
    static DEADLINE: Instant;
}

/// What a generated client is made over: `PostServiceClient::new(transport)`.
#[derive(Clone)]
pub struct Transport {
    inner: BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>,
    permits: Arc<Semaphore>,
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
        let inner = Deadlined(server).map_err(|never: Infallible| -> BoxError { match never {} });
        Self::over(BoxCloneSyncService::new(inner))
    }

    /// The way to servers elsewhere.
    #[must_use]
    pub fn remote(channel: tonic::transport::Channel) -> Self {
        Self::over(BoxCloneSyncService::new(channel.map_err(BoxError::from)))
    }

    fn over(inner: BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>) -> Self {
        Self { inner, permits: Arc::new(Semaphore::new(UNDER_WAY)) }
    }
}

/// The time left for a call made from here.
fn remaining() -> Duration {
    DEADLINE.try_with(|at| at.saturating_duration_since(Instant::now())).unwrap_or(DEFAULT_DEADLINE)
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            let failure = Failure::unavailable(
                "OVERLOADED",
                "Too many requests are under way. Please try again.",
                Duration::from_secs(1),
            );
            return Box::pin(async move { Ok(to_status(failure).into_http()) });
        };
        let left = read_timeout(&request).unwrap_or_else(remaining);
        if let Ok(value) = HeaderValue::from_str(&format!("{}m", left.as_millis().min(99_999_999))) {
            request.headers_mut().insert("grpc-timeout", value);
        }
        let span = tracing::debug_span!("rpc", rpc.system = "grpc", rpc.path = request.uri().path());
        let call = async move {
            let answered = tokio::time::timeout(left, inner.call(request)).await;
            drop(permit);
            answered.unwrap_or_else(|_| Ok(deadline_exceeded().into_http()))
        };
        Box::pin(call.instrument(span))
    }
}

fn deadline_exceeded() -> tonic::Status {
    to_status(Failure {
        retry_after: Some(Duration::from_secs(1)),
        ..Failure::new(
            p92_kernel::ErrorCode::DeadlineExceeded,
            "DEADLINE_EXCEEDED",
            "It took too long. Whether it was done is not known; repeat it with the same key to settle it.",
        )
    })
}

/// `grpc-timeout`: up to eight digits and a unit (gRPC over HTTP/2, Timeout).
fn read_timeout(request: &Request<Body>) -> Option<Duration> {
    let text = request.headers().get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(n.saturating_mul(3_600))),
        "M" => Some(Duration::from_secs(n.saturating_mul(60))),
        "S" => Some(Duration::from_secs(n)),
        "m" => Some(Duration::from_millis(n)),
        "u" => Some(Duration::from_micros(n)),
        "n" => Some(Duration::from_nanos(n)),
        _ => None,
    }
}

/// A server whose handlers know until when they must answer, so that the calls they make inherit it.
#[derive(Clone, Debug)]
pub struct Deadlined<S>(pub S);

impl<S> Service<Request<Body>> for Deadlined<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let at = Instant::now() + read_timeout(&request).unwrap_or(DEFAULT_DEADLINE);
        Box::pin(DEADLINE.scope(at, self.0.call(request)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    /// A server that answers only when its time has run out.
    #[derive(Clone)]
    struct Slow;

    impl Service<Request<Body>> for Slow {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            Box::pin(std::future::pending())
        }
    }

    async fn check(transport: Transport) -> Result<i32, tonic::Status> {
        let request = HealthCheckRequest { service: String::new() };
        Ok(HealthClient::new(transport).check(request).await?.into_inner().status)
    }

    #[tokio::test]
    async fn a_server_in_this_process_answers() {
        let (_reporter, server) = tonic_health::server::health_reporter();
        let routes = tonic::service::Routes::new(server);
        assert_eq!(check(Transport::local(routes)).await.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_at_its_deadline() {
        let status = check(Transport::local(Slow)).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    }

    #[test]
    fn timeouts_are_read_as_grpc_says() {
        let read = |text: &str| {
            read_timeout(&Request::builder().header("grpc-timeout", text).body(Body::empty()).unwrap())
        };
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        for bad in ["", "S", "5", "123456789m", "-1S", "5x"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
