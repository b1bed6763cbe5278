//! Lists that apps ask for when they start and that hold nothing, because nothing of the kind can be made here yet.
//!
//! An empty answer stands here only while it is the truth; a list whose things could exist must be absent instead.

use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::Gate;
use axum::routing::get;
use axum::{Json, Router};

type Nothing = Result<Json<[(); 0]>, Problem>;

async fn for_all() -> Json<[(); 0]> {
    Json([])
}

async fn filters(caller: Caller) -> Nothing {
    caller.actor("read:filters").map(|_| Json([]))
}

async fn lists(caller: Caller) -> Nothing {
    caller.actor("read:lists").map(|_| Json([]))
}

async fn follows(caller: Caller) -> Nothing {
    caller.actor("read:follows").map(|_| Json([]))
}

async fn statuses(caller: Caller) -> Nothing {
    caller.actor("read:statuses").map(|_| Json([]))
}

async fn accounts(caller: Caller) -> Nothing {
    caller.actor("read:accounts").map(|_| Json([]))
}

async fn announcements(caller: Caller) -> Nothing {
    caller.actor("read").map(|_| Json([]))
}

/// Their routes.
pub fn routes() -> Router<Gate> {
    Router::new()
        .route("/api/v1/custom_emojis", get(for_all))
        .route("/api/v1/instance/peers", get(for_all))
        .route("/api/v1/instance/domain_blocks", get(for_all))
        .route("/api/v1/announcements", get(announcements))
        .route("/api/v1/filters", get(filters))
        .route("/api/v2/filters", get(filters))
        .route("/api/v1/lists", get(lists))
        .route("/api/v1/followed_tags", get(follows))
        .route("/api/v1/domain_blocks", get(follows))
        .route("/api/v1/scheduled_statuses", get(statuses))
        .route("/api/v1/featured_tags", get(accounts))
        .route("/api/v1/endorsements", get(accounts))
        .route("/api/v1/accounts/{id}/lists", get(lists))
        .route("/api/v1/accounts/{id}/featured_tags", get(for_all))
}
