//! The public listeners, HTTP and gRPC, over one gate.

use super::base::Bound;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::{HeaderValue, StatusCode, Version, header};
use p92_chassis::server::{self, Limits};
use p92_chassis::shutdown::{Phase, Shutdown};
use p92_chassis::transport::{Guarded, Rules};
use p92_chassis::{SystemClock, SystemRandom, Transport};
use std::sync::Arc;

/// The ways to what a gate asks.
pub(super) struct Asked {
    pub(super) identity: Transport,
    pub(super) posting: Transport,
    pub(super) timelines: Transport,
    pub(super) ranking: Transport,
}

/// Lets strangers in, until the process stops. `home` is the public URL of the first server.
pub(super) async fn listen(
    [http, grpc]: [Bound; 2],
    asked: Asked,
    config: p92_gateway::Config,
    home: String,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let stop = shutdown.stopping();
    let Asked { identity, posting, timelines, ranking } = asked;
    let (clock, random) = (Arc::new(SystemClock::default()), Arc::new(SystemRandom));
    let deps = p92_gateway::Deps::over(identity, posting, timelines, ranking, clock, random);
    let gate = p92_gateway::Gate::ending_with(deps, config, home, stop.clone());
    let web = p92_gateway::over(&gate).layer(from_fn_with_state(shutdown.clone(), last_while_draining));
    let web = server::serve(http.listener, web, Limits::PUBLIC, stop.clone());
    shutdown.spawn("the public HTTP listener", web);
    let public = p92_gateway::api::services(&gate).await?;
    let public = Guarded::new(public, Rules::PUBLIC).ending_streams(stop.clone());
    let calls = server::serve(grpc.listener, server::grpc(public), Limits::PUBLIC, stop);
    shutdown.spawn("the public gRPC listener", calls);
    Ok(())
}

/// While the process drains, each answer is the last on its connection, and says so: a client that keeps its connection
/// asks the next thing elsewhere, and never at the moment in which the connection is closed.
async fn last_while_draining(State(shutdown): State<Shutdown>, request: Request, next: Next) -> Response {
    // HTTP/2 has another word for it, which the listener says.
    let one_at_a_time = request.version() <= Version::HTTP_11;
    let mut answer = next.run(request).await;
    let goes_on = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    if one_at_a_time && !goes_on && shutdown.phase() >= Phase::Draining {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}
