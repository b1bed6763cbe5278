//! The Mastodon client API: one file per resource, shapes in `entity`.
//!
//! Handlers say which scope they need, call the services, gather what the answer names, and give it its shape.

pub mod accounts;
pub mod apps;
pub mod assets;
pub mod empties;
pub mod entity;
pub mod fragments;
pub mod hydrate;
pub mod instance;
pub mod key;
pub mod markers;
pub mod notifications;
pub mod page;
pub mod path;
pub mod profile;
pub mod reactions;
pub mod relationships;
pub mod search;
pub mod statuses;
pub mod text;
pub mod timelines;
pub mod trends;

use crate::gate::Gate;
use axum::Router;
use axum::routing::{get, post};

/// Every route of the API.
pub fn routes() -> Router<Gate> {
    Router::new()
        .merge(server_routes())
        .merge(account_routes())
        .merge(relationship_routes())
        .merge(status_routes())
        .merge(timeline_routes())
        .merge(empties::routes())
}

fn server_routes() -> Router<Gate> {
    Router::new()
        .route("/api/v1/instance", get(instance::v1))
        .route("/api/v2/instance", get(instance::v2))
        .route("/api/v1/instance/rules", get(instance::rules))
        .route("/.well-known/nodeinfo", get(instance::nodeinfo_links))
        .route("/nodeinfo/2.0", get(instance::nodeinfo_2_0))
        .route("/nodeinfo/2.1", get(instance::nodeinfo_2_1))
        .route("/api/v1/apps", post(apps::register))
        .route("/api/v1/apps/verify_credentials", get(apps::verify))
        .route("/assets/avatar.png", get(assets::avatar))
        .route("/assets/header.png", get(assets::header))
}

fn account_routes() -> Router<Gate> {
    Router::new()
        .route("/api/v1/accounts", get(accounts::many).post(profile::sign_up))
        .route("/api/v1/accounts/verify_credentials", get(profile::verify))
        .route("/api/v1/accounts/update_credentials", axum::routing::patch(profile::update))
        .route("/api/v1/preferences", get(profile::preferences))
        .route("/api/v1/accounts/lookup", get(accounts::lookup))
        .route("/api/v1/accounts/search", get(search::accounts))
        .route("/api/v1/accounts/{id}", get(accounts::show))
        .route("/api/v1/accounts/{id}/statuses", get(accounts::statuses))
        .route("/api/v1/accounts/{id}/followers", get(accounts::followers))
        .route("/api/v1/accounts/{id}/following", get(accounts::following))
        .route("/api/v2/search", get(search::all))
}

fn relationship_routes() -> Router<Gate> {
    use relationships as r;
    Router::new()
        .route("/api/v1/accounts/relationships", get(r::many))
        .route("/api/v1/accounts/{id}/follow", post(r::follow))
        .route("/api/v1/accounts/{id}/unfollow", post(r::unfollow))
        .route("/api/v1/accounts/{id}/remove_from_followers", post(r::remove_follower))
        .route("/api/v1/accounts/{id}/block", post(r::block))
        .route("/api/v1/accounts/{id}/unblock", post(r::unblock))
        .route("/api/v1/accounts/{id}/mute", post(r::mute))
        .route("/api/v1/accounts/{id}/unmute", post(r::unmute))
        .route("/api/v1/follow_requests", get(r::requests))
        .route("/api/v1/follow_requests/{id}/authorize", post(r::accept))
        .route("/api/v1/follow_requests/{id}/reject", post(r::reject))
        .route("/api/v1/blocks", get(r::blocks))
        .route("/api/v1/mutes", get(r::mutes))
}

fn status_routes() -> Router<Gate> {
    use reactions as r;
    use statuses as s;
    Router::new()
        .route("/api/v1/statuses", get(s::many).post(s::create))
        .route("/api/v1/statuses/{id}", get(s::show).put(s::edit).delete(s::delete))
        .route("/api/v1/statuses/{id}/context", get(s::context))
        .route("/api/v1/statuses/{id}/source", get(s::source))
        .route("/api/v1/statuses/{id}/history", get(s::history))
        .route("/api/v1/statuses/{id}/pin", post(s::pin))
        .route("/api/v1/statuses/{id}/unpin", post(s::unpin))
        .route("/api/v1/statuses/{id}/reblog", post(r::reblog))
        .route("/api/v1/statuses/{id}/unreblog", post(r::unreblog))
        .route("/api/v1/statuses/{id}/favourite", post(r::favourite))
        .route("/api/v1/statuses/{id}/unfavourite", post(r::unfavourite))
        .route("/api/v1/statuses/{id}/bookmark", post(r::bookmark))
        .route("/api/v1/statuses/{id}/unbookmark", post(r::unbookmark))
        .route("/api/v1/statuses/{id}/reblogged_by", get(r::reblogged_by))
        .route("/api/v1/statuses/{id}/favourited_by", get(r::favourited_by))
        .route("/api/v1/favourites", get(r::favourites))
        .route("/api/v1/bookmarks", get(r::bookmarks))
}

fn timeline_routes() -> Router<Gate> {
    use notifications as n;
    Router::new()
        .route("/api/v1/timelines/home", get(timelines::home))
        .route("/api/v1/timelines/public", get(timelines::public))
        .route("/api/v1/timelines/tag/{tag}", get(timelines::tag))
        .route("/api/v1/trends", get(trends::tags))
        .route("/api/v1/trends/tags", get(trends::tags))
        .route("/api/v1/notifications", get(n::list))
        .route("/api/v1/notifications/clear", post(n::clear))
        .route("/api/v1/notifications/unread_count", get(n::unread))
        .route("/api/v1/notifications/{id}", get(n::show))
        .route("/api/v1/notifications/{id}/dismiss", post(n::dismiss))
        .route("/api/v1/markers", get(markers::show).post(markers::set))
}
