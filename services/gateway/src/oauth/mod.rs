//! OAuth 2.0 as Mastodon apps use it: the page that asks for consent, tokens, revocation, metadata, user info.
//!
//! Rules (redirect URIs, PKCE, scopes, single use of codes) are identity's; here they get the words of the protocol.

pub mod authorize;
pub mod metadata;
pub mod page;
pub mod token;

use crate::gate::Gate;
use axum::Router;
use axum::routing::{get, post};

/// What apps call, from other origins too.
pub fn routes() -> Router<Gate> {
    Router::new()
        .route("/oauth/token", post(token::token))
        .route("/oauth/revoke", post(token::revoke))
        .route("/oauth/userinfo", get(metadata::userinfo).post(metadata::userinfo))
        .route("/.well-known/oauth-authorization-server", get(metadata::metadata))
}

/// What people see, never from other origins.
pub fn pages() -> Router<Gate> {
    Router::new().route("/oauth/authorize", get(authorize::show).post(authorize::decide))
}
