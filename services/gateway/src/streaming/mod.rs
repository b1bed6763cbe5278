//! Live: what happens in a home or a public timeline, as server-sent events or over a WebSocket.

use crate::gate::Gate;
use axum::Router;

/// Every route of streaming.
pub fn routes() -> Router<Gate> {
    Router::new()
}
