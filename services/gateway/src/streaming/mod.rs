//! Live: what happens in a home or a public timeline, as server-sent events or over a WebSocket.
//!
//! Each subscription is one watch at timelines. Posts are read for the viewer at the moment of sending, those that
//! arrive together with one call. A token that ends closes its sockets within five seconds.

pub mod channel;
pub mod feed;
pub mod messages;
pub mod sockets;
mod sse;
mod websocket;

use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::Gate;
use crate::params::Params;
use axum::Router;
use axum::routing::get;

/// Every route of streaming.
pub fn routes() -> Router<Gate> {
    Router::new()
        .route("/api/v1/streaming", get(websocket::open))
        .route("/api/v1/streaming/health", get(async || "OK"))
        .route("/api/v1/streaming/{first}", get(sse::one))
        .route("/api/v1/streaming/{first}/{second}", get(sse::two))
}

/// The caller with his token, from wherever streams take one: the header, the query, the WebSocket protocol.
async fn recognised(
    gate: &Gate,
    caller: Caller,
    params: &Params,
    protocol: Option<&str>,
) -> Result<Caller, Problem> {
    if caller.token.is_some() {
        return Ok(caller);
    }
    let secret = params.text("access_token")?.filter(|secret| !secret.is_empty()).or(protocol);
    let secret = secret.filter(|secret| secret.len() <= 1_024).ok_or_else(Problem::unauthenticated)?;
    let token = Some(gate.verify(caller.server.id, secret).await?);
    Ok(Caller { token, ..caller })
}
