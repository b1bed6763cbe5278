//! The one door in: Mastodon HTTP and streaming, public gRPC, web pages.
//!
//! It finds the server by host, knows the caller by token, counts rates, translates, gathers what a page needs with one
//! call per kind, and streams. It owns no data, reads no log and no store: it knows messages of `proto` and the clients
//! that the node hands in. Only here (and in `activitypub`) a post is called a status.

pub mod api;
pub mod config;
pub mod door;
pub mod error;
pub mod gate;
pub mod mastodon;
pub mod metrics;
pub mod oauth;
pub mod pages;
pub mod params;
pub mod streaming;

pub use config::Config;
pub use gate::{Deps, Gate};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use error::Problem;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use std::time::Duration;
use tower::util::MapRequest;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// Everything that listens to HTTP, over these clients.
pub fn router(deps: Deps, config: Config) -> Router {
    over(&Gate::new(deps, config))
}

/// The same over a gate that other doors use too.
pub fn over(gate: &Gate) -> Router {
    // Routing comes before layers, so what changes the path stands around the router that has the routes.
    Router::new().fallback_service(MapRequest::new(routes(gate), without_last_slash))
}

fn routes(gate: &Gate) -> Router {
    Router::new()
        .merge(mastodon::routes())
        .merge(oauth::routes())
        .merge(streaming::routes())
        .merge(oauth::pages())
        .merge(pages::routes())
        .fallback(nowhere)
        .method_not_allowed_fallback(not_so)
        .layer(from_fn_with_state(gate.clone(), door::enter))
        // Outside of the door, so that browsers may read its refusals too.
        .layer(cors())
        .layer(from_fn(guard))
        .layer(from_fn(metrics::measured))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            Problem::from(p92_kernel::Failure::internal("a handler panicked")).into_response()
        }))
        .with_state(gate.clone())
}

/// Apps ask for `/api/v1/instance/` and mean `/api/v1/instance`.
fn without_last_slash(mut request: Request) -> Request {
    let path = request.uri().path();
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() || trimmed.len() == path.len() {
        return request;
    }
    let target = match request.uri().query() {
        Some(query) => format!("{trimmed}?{query}"),
        None => trimmed.to_owned(),
    };
    let mut parts = request.uri().clone().into_parts();
    if let Ok(target) = PathAndQuery::try_from(target) {
        parts.path_and_query = Some(target);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// What pages of any origin may call: it takes a token, never a cookie.
const SHARED: [&str; 7] =
    ["/api/", "/oauth/token", "/oauth/revoke", "/oauth/userinfo", "/.well-known/", "/nodeinfo/", "/assets/"];

fn cors() -> CorsLayer {
    let exposed = ["link", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-request-id"];
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(|_, parts| {
            SHARED.iter().any(|start| parts.uri.path().starts_with(start))
        }))
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ])
        .allow_headers(AllowHeaders::list([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("x-requested-with"),
        ]))
        .expose_headers(exposed.map(HeaderName::from_static))
        .max_age(Duration::from_hours(2))
}

/// Headers that every answer has. Pages say themselves what they may load.
async fn guard(request: Request, next: axum::middleware::Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let defaults = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::CACHE_CONTROL, "private, no-store"),
    ];
    for (name, value) in defaults {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.append(header::VARY, HeaderValue::from_static("Authorization"));
    response
}

async fn nowhere() -> Problem {
    Problem::not_found()
}

async fn not_so() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "This method is not allowed here")
}
