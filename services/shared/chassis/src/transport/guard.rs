//! What stands before the methods of every server: trace, deadline, limit, panics, measures.
//!
//! The same guard stands before a server reached within the process and one reached over the network, which is why a
//! service cannot tell, and need not ask, which of both it is. It refuses to know what the server serves.

use super::call::{End, Meters, Ongoing};
use super::method::Method;
use super::{deadline, deadline_exceeded, overloaded};
use crate::telemetry::context;
use futures::FutureExt as _;
use http::{Request, Response};
use p92_kernel::Failure;
use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::{Service, ServiceExt as _};
use tracing::Instrument as _;

/// Who calls, and what he may ask of the process.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether a caller's trace is joined. Strangers could force sampling by it.
    pub join_traces: bool,
    /// The longest deadline that a caller may ask for.
    pub longest: Duration,
    /// Calls that may wait for their answer to begin at once. Streams that have begun do not count.
    pub under_way: usize,
}

impl Rules {
    /// For callers of the same installation.
    pub const INTERNAL: Self =
        Self { join_traces: true, longest: Duration::from_secs(120), under_way: 8_192 };
    /// For strangers.
    pub const PUBLIC: Self = Self { join_traces: false, longest: Duration::from_secs(30), under_way: 2_048 };
}

/// A server behind its guard.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    server: S,
    rules: Rules,
    permits: Arc<Semaphore>,
    meters: Arc<Meters>,
    stop: Option<CancellationToken>,
}

impl<S> Guarded<S> {
    /// Puts the guard before a generated server or `tonic::service::Routes`.
    #[must_use]
    pub fn new(server: S, rules: Rules) -> Self {
        Self {
            server,
            rules,
            permits: Arc::new(Semaphore::new(rules.under_way)),
            meters: Meters::new(End::Answers),
            stop: None,
        }
    }

    /// Streams that would go on are ended by UNAVAILABLE when `stop` is cancelled, so that whoever watches opens them
    /// elsewhere; otherwise one stream could keep a process from ending.
    #[must_use]
    pub fn ending_streams(self, stop: CancellationToken) -> Self {
        Self { stop: Some(stop), ..self }
    }
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    /// Always ready: whoever is too much is told so, instead of waiting where no deadline sees it.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = Ongoing::begin(&self.meters, Method::of(request.uri()));
        if self.rules.join_traces {
            context::join_caller(call.span(), &request);
        }
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Box::pin(async move { Ok(call.failed(overloaded())) });
        };
        let allowed = deadline::read(request.headers()).unwrap_or(deadline::DEFAULT).min(self.rules.longest);
        let until = Instant::now() + allowed;
        let server = self.server.clone();
        let (span, stop) = (call.span().clone(), self.stop.clone());
        let answer = async move {
            let work = deadline::until(until, server.oneshot(request));
            // A panicking handler is dropped with all that it held; its message went to the log by the panic hook.
            let answered = timeout_at(until, AssertUnwindSafe(work).catch_unwind()).await;
            drop(permit);
            Ok(match answered {
                Ok(Ok(Ok(response))) => call.answered(response, stop.as_ref()),
                Ok(Ok(Err(never))) => match never {},
                Ok(Err(_panic)) => call.failed(Failure::internal("a panic while a call was answered")),
                Err(_elapsed) => call.failed(deadline_exceeded()),
            })
        };
        Box::pin(answer.instrument(span))
    }
}
