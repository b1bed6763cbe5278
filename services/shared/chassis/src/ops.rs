//! The operators' listener: probes for the orchestrator, metrics for Prometheus, nothing for strangers.
//!
//! It runs on a thread of its own, so that a process whose tasks no longer run says so instead of saying nothing, and
//! so that measures can be read when they matter most. It refuses to change anything.

use crate::health::{Health, Report};
use crate::server::{self, Limits};
use crate::telemetry::Metrics;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// `/livez`, `/startupz`, `/readyz`: 200 or 503, and all conditions as JSON. `/metrics`: Prometheus text.
pub fn router(health: Health, metrics: Metrics) -> Router {
    let probe = |verdict: fn(&Report) -> bool| {
        move |State(health): State<Health>| async move { answer(&health.report(), verdict) }
    };
    Router::new()
        .route("/livez", get(probe(|report| report.alive)))
        .route("/startupz", get(probe(|report| report.started)))
        .route("/readyz", get(probe(|report| report.ready)))
        .with_state(health)
        .route(
            "/metrics",
            get(async move || ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], metrics.text())),
        )
}

fn answer(report: &Report, verdict: fn(&Report) -> bool) -> Response {
    let code = if verdict(report) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // A probe is asked anew each time; a stale answer would be a wrong one.
    (code, [(header::CACHE_CONTROL, "no-store")], axum::Json(report)).into_response()
}

/// Serves `router` on a thread of its own until `stop`, which should come last of all: whoever asks a process that ends
/// shall hear that it is not ready, rather than nothing. The thread ends within about a second of it.
pub fn serve(
    listener: std::net::TcpListener,
    router: Router,
    stop: CancellationToken,
) -> std::io::Result<JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("p92-ops".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::error!(error = %error, "the operators' listener cannot be used");
                    return;
                }
            };
            let end = stop.clone();
            let served = server::serve(listener, router, Limits::OPERATORS, stop);
            tokio::pin!(served);
            tokio::select! {
                () = &mut served => {}
                () = end.cancelled() => {
                    // Whoever still reads may finish, within reason.
                    let _late = tokio::time::timeout(Duration::from_secs(1), served).await;
                }
            }
        });
    })
}
