//! What is measured at the door, and the span of each request. Labels are routes and codes, never names of people.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};
use p92_chassis::telemetry::{fields, meter};
use std::sync::LazyLock;
use std::time::Instant;
use tracing::Instrument as _;

static REQUESTS: LazyLock<Counter<u64>> =
    LazyLock::new(|| meter("gateway").counter("requests", "Requests by route, method and status."));
static TIMES: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    meter("gateway").seconds("request", "Time to the head of the answer, by route and method.")
});

/// Counts and times a request, within a span of its own.
pub async fn measured(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = match request.method().as_str() {
        known @ ("GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let span = tracing::info_span!(
        "http",
        { fields::SPAN_NAME } = format!("{method} {route}"),
        { fields::SPAN_KIND } = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = tracing::field::Empty,
        { fields::SPAN_STATUS } = tracing::field::Empty,
    );
    let begun = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record(fields::SPAN_STATUS, "ERROR");
    }
    let of = [KeyValue::new("route", route), KeyValue::new("method", method)];
    TIMES.record(begun.elapsed().as_secs_f64(), &of);
    let [route, method] = of;
    REQUESTS.add(1, &[route, method, KeyValue::new("status", i64::from(status.as_u16()))]);
    response
}
