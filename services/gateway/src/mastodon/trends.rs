//! Trends: ranking says which tags, and how much each is used.

use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::{Gate, ask};
use crate::params::Params;
use axum::Json;
use axum::extract::State;
use p92_proto::ranking::v1::{ListTrendingTagsRequest, TagDay, TrendingTag};
use serde::Serialize;

/// A tag with its use of the last days.
#[derive(Debug, Serialize)]
pub struct Trend {
    id: String,
    name: String,
    url: String,
    history: Vec<Day>,
    following: bool,
}

/// Numbers are strings here, as in Mastodon.
#[derive(Debug, Serialize)]
pub struct Day {
    /// Seconds since the Unix epoch.
    day: String,
    uses: String,
    accounts: String,
}

fn day(one: &TagDay) -> Day {
    Day {
        day: (one.day_ms / 1_000).to_string(),
        uses: one.uses.to_string(),
        accounts: one.accounts.to_string(),
    }
}

fn trend(tag: &TrendingTag, caller: &Caller) -> Trend {
    let id = tag.name.to_lowercase();
    let url = caller.url(&format!("/tags/{id}"));
    let history = tag.days.iter().map(day).collect();
    // Tags cannot be followed yet.
    Trend { id, name: tag.name.clone(), url, history, following: false }
}

/// `GET /api/v1/trends/tags`, and `GET /api/v1/trends` as it was called before.
pub async fn tags(
    State(gate): State<Gate>,
    caller: Caller,
    params: Params,
) -> Result<Json<Vec<Trend>>, Problem> {
    let request = ListTrendingTagsRequest {
        options: Some(gate.read(caller.server.id, 0).await),
        page_size: params.limit(10, 20),
        skip: u32::try_from(params.number("offset")?.unwrap_or(0)).unwrap_or(u32::MAX),
    };
    let tags = ask(gate.deps.rankings.clone().list_trending_tags(request).await)?.tags;
    Ok(Json(tags.iter().map(|tag| trend(tag, &caller)).collect()))
}
