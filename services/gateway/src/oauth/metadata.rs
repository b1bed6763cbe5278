//! What programs may know before they ask: endpoints, scopes, methods; and who a token stands for.

use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::Gate;
use crate::mastodon::profile;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

/// Scopes that routes of this server ask for.
pub const SCOPES: [&str; 24] = [
    "profile",
    "read",
    "read:accounts",
    "read:blocks",
    "read:bookmarks",
    "read:favourites",
    "read:filters",
    "read:follows",
    "read:lists",
    "read:mutes",
    "read:notifications",
    "read:search",
    "read:statuses",
    "write",
    "write:accounts",
    "write:blocks",
    "write:bookmarks",
    "write:favourites",
    "write:follows",
    "write:mutes",
    "write:notifications",
    "write:statuses",
    "follow",
    "push",
];

/// `GET /.well-known/oauth-authorization-server` (RFC 8414).
pub async fn metadata(caller: Caller) -> Json<Value> {
    let at = |path| caller.url(path);
    Json(json!({
        "issuer": at("/"),
        "service_documentation": "https://docs.joinmastodon.org/",
        "authorization_endpoint": at("/oauth/authorize"),
        "token_endpoint": at("/oauth/token"),
        "app_registration_endpoint": at("/api/v1/apps"),
        "revocation_endpoint": at("/oauth/revoke"),
        "userinfo_endpoint": at("/oauth/userinfo"),
        "scopes_supported": SCOPES,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "grant_types_supported": ["authorization_code", "client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"]
    }))
}

/// `GET /oauth/userinfo`.
pub async fn userinfo(State(gate): State<Gate>, caller: Caller) -> Result<Json<Value>, Problem> {
    let actor = caller.actor("profile")?;
    let own = profile::own(&gate, &caller, actor).await?;
    let shown = crate::mastodon::entity::account::account(&own, None, &caller.server);
    Ok(Json(json!({
        "iss": caller.url("/"),
        "sub": shown.uri,
        "name": shown.display_name,
        "preferred_username": shown.username,
        "profile": shown.url,
        "picture": shown.avatar
    })))
}
