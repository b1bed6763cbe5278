//! Accounts as others see them: one, many, by handle; what they posted, who follows them, whom they follow.

use super::entity::account::{self, Account};
use super::hydrate::Reader;
use super::page::{ends, page, window};
use super::path::PathId;
use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::{Gate, ask, there};
use crate::params::Params;
use axum::Json;
use axum::extract::{OriginalUri, State};
use axum::response::Response;
use p92_proto::event::v1::IdWindow;
use p92_proto::identity::v1::get_account_request::Account as Which;
use p92_proto::identity::v1::{FollowEdge, GetAccountRequest, ListFollowersRequest, ListFollowingRequest};
use p92_proto::posting::v1::ListByAuthorRequest;

/// Most accounts or statuses of one question.
pub const MANY: usize = 40;

async fn find(reader: &Reader<'_>, which: Which) -> Result<Account, Problem> {
    let request = GetAccountRequest { options: reader.options(), account: Some(which) };
    let found = there(ask(reader.gate.deps.accounts.clone().get_account(request).await)?.account)?;
    let stats = reader.stats_of(found.id).await?;
    Ok(account::account(&found, stats.as_ref(), &reader.caller.server))
}

/// `GET /api/v1/accounts/:id`.
pub async fn show(
    State(gate): State<Gate>,
    caller: Caller,
    PathId(id): PathId,
) -> Result<Json<Account>, Problem> {
    let reader = Reader::new(&gate, &caller, caller.viewer("read:accounts")?).await;
    find(&reader, Which::Id(id)).await.map(Json)
}

/// `GET /api/v1/accounts?id[]=…`.
pub async fn many(
    State(gate): State<Gate>,
    caller: Caller,
    params: Params,
) -> Result<Json<Vec<Account>>, Problem> {
    let reader = Reader::new(&gate, &caller, caller.viewer("read:accounts")?).await;
    let mut ids = params.ids("id")?;
    ids.truncate(MANY);
    reader.accounts(&ids).await.map(Json)
}

/// `GET /api/v1/accounts/lookup`.
pub async fn lookup(
    State(gate): State<Gate>,
    caller: Caller,
    params: Params,
) -> Result<Json<Account>, Problem> {
    let reader = Reader::new(&gate, &caller, caller.viewer("read:accounts")?).await;
    let handle = params.text("acct")?.unwrap_or_default().trim();
    if handle.is_empty() || handle.len() > 400 {
        return Err(Problem::not_found());
    }
    match find(&reader, Which::Handle(handle.to_owned())).await {
        // What is no handle names nobody.
        Err(problem) if problem.status == http::StatusCode::UNPROCESSABLE_ENTITY => Err(Problem::not_found()),
        found => found.map(Json),
    }
}

/// `GET /api/v1/accounts/:id/statuses`.
pub async fn statuses(
    State(gate): State<Gate>,
    caller: Caller,
    PathId(author_id): PathId,
    OriginalUri(uri): OriginalUri,
    params: Params,
) -> Result<Response, Problem> {
    let reader = Reader::new(&gate, &caller, caller.viewer("read:statuses")?).await;
    let request = ListByAuthorRequest {
        options: reader.options(),
        author_id,
        window: Some(window(&params, 20, 40)?),
        exclude_replies: params.flag("exclude_replies")?.unwrap_or(false),
        exclude_boosts: params.flag("exclude_reblogs")?.unwrap_or(false),
        only_media: params.flag("only_media")?.unwrap_or(false),
        tagged: params.text("tagged")?.unwrap_or_default().to_owned(),
        pinned: params.flag("pinned")?.unwrap_or(false),
    };
    let pinned = request.pinned;
    let posts = ask(gate.deps.posts.clone().list_by_author(request).await)?.posts;
    let cast = reader.cast(&posts, &[author_id]).await?;
    if cast.account(author_id).is_none() {
        return Err(Problem::not_found());
    }
    let shown: Vec<_> = posts.iter().filter_map(|post| super::entity::status::status(post, &cast)).collect();
    // Pinned ones stand in the order of pinning and are few: there is no next page.
    let ends = if pinned { None } else { ends(posts.iter().map(|post| post.id)) };
    Ok(page(&caller, &uri, ends, &shown))
}

async fn edges_page(
    reader: &Reader<'_>,
    uri: &http::Uri,
    account_id: u64,
    edges: &[FollowEdge],
) -> Result<Response, Problem> {
    let mut ids: Vec<u64> = edges.iter().map(|edge| edge.account_id).collect();
    ids.push(account_id);
    let cast = reader.cast(&[], &ids).await?;
    if cast.account(account_id).is_none() {
        return Err(Problem::not_found());
    }
    ids.pop();
    let ends = ends(edges.iter().map(|edge| edge.follow_id));
    Ok(page(reader.caller, uri, ends, &cast.accounts(&ids)))
}

fn edges_window(params: &Params) -> Result<Option<IdWindow>, Problem> {
    window(params, 40, 80).map(Some)
}

/// `GET /api/v1/accounts/:id/followers`.
pub async fn followers(
    State(gate): State<Gate>,
    caller: Caller,
    PathId(account_id): PathId,
    OriginalUri(uri): OriginalUri,
    params: Params,
) -> Result<Response, Problem> {
    let reader = Reader::new(&gate, &caller, caller.viewer("read:accounts")?).await;
    let request =
        ListFollowersRequest { options: reader.options(), account_id, window: edges_window(&params)? };
    let edges = ask(gate.deps.relationships.clone().list_followers(request).await)?.edges;
    edges_page(&reader, &uri, account_id, &edges).await
}

/// `GET /api/v1/accounts/:id/following`.
pub async fn following(
    State(gate): State<Gate>,
    caller: Caller,
    PathId(account_id): PathId,
    OriginalUri(uri): OriginalUri,
    params: Params,
) -> Result<Response, Problem> {
    let reader = Reader::new(&gate, &caller, caller.viewer("read:accounts")?).await;
    let request =
        ListFollowingRequest { options: reader.options(), account_id, window: edges_window(&params)? };
    let edges = ask(gate.deps.relationships.clone().list_following(request).await)?.edges;
    edges_page(&reader, &uri, account_id, &edges).await
}
