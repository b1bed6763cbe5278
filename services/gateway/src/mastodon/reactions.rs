//! Favourites, bookmarks and reblogs: commands of the actor, his lists of them, and who did them to a status.

use super::entity::status::Status;
use super::hydrate::Reader;
use super::key::Key;
use super::page::{ends, page, window};
use super::path::PathId;
use super::statuses::written;
use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::{Gate, ask};
use crate::params::Params;
use axum::Json;
use axum::extract::{OriginalUri, State};
use axum::response::Response;
use http::Uri;
use p92_proto::posting::v1 as posting;

type Answer = Result<Json<Status>, Problem>;

/// A mark that says no more than which post.
macro_rules! mark {
    ($(#[$doc:meta])* $name:ident, $scope:literal, $call:ident, $request:ident $(, $rest:ident: $value:expr)?) => {
        $(#[$doc])*
        pub async fn $name(State(gate): State<Gate>, caller: Caller, PathId(post_id): PathId, key: Key) -> Answer {
            let actor = caller.actor($scope)?;
            let context = gate.command(actor.server_id, actor.account_id, actor.app_id, key.as_deref());
            let request = posting::$request { context: Some(context), post_id $(, $rest: $value)? };
            let answer = ask(gate.deps.reactions.clone().$call(request).await)?;
            gate.remember(actor.account_id, answer.receipt.as_ref()).await;
            Reader::new(&gate, &caller, actor.account_id).await.status(post_id).await.map(Json)
        }
    };
}

mark!(
    /// `POST /api/v1/statuses/:id/favourite`.
    favourite, "write:favourites", like, LikeRequest, remote: None
);
mark!(
    /// `POST /api/v1/statuses/:id/unfavourite`.
    unfavourite, "write:favourites", unlike, UnlikeRequest
);
mark!(
    /// `POST /api/v1/statuses/:id/bookmark`.
    bookmark, "write:bookmarks", bookmark, BookmarkRequest
);
mark!(
    /// `POST /api/v1/statuses/:id/unbookmark`.
    unbookmark, "write:bookmarks", unbookmark, UnbookmarkRequest
);

/// `POST /api/v1/statuses/:id/reblog`: answers with the boost, which wraps the status.
pub async fn reblog(
    State(gate): State<Gate>,
    caller: Caller,
    PathId(post_id): PathId,
    key: Key,
    params: Params,
) -> Answer {
    let actor = caller.actor("write:statuses")?;
    let context = gate.command(actor.server_id, actor.account_id, actor.app_id, key.as_deref());
    let mut request = posting::BoostRequest { context: Some(context), post_id, ..Default::default() };
    if let Some(name) = params.text("visibility")?.filter(|name| !name.is_empty()) {
        let visibility = super::entity::status::visibility_of(name)
            .ok_or_else(|| Problem::invalid("visibility", "INVALID", "does not exist"))?;
        request.set_visibility(visibility);
    }
    let answer = ask(gate.deps.reactions.clone().boost(request).await)?;
    written(&gate, &caller, actor, answer.receipt, answer.boost_id).await
}

/// `POST /api/v1/statuses/:id/unreblog`: answers with the status itself, whichever of both was named.
pub async fn unreblog(State(gate): State<Gate>, caller: Caller, PathId(id): PathId, key: Key) -> Answer {
    let actor = caller.actor("write:statuses")?;
    let post = Reader::new(&gate, &caller, actor.account_id).await.post(id).await?;
    let post_id = post.boosted.map_or(post.id, |inner| inner.id);
    let context = gate.command(actor.server_id, actor.account_id, actor.app_id, key.as_deref());
    let request = posting::UnboostRequest { context: Some(context), post_id };
    let answer = ask(gate.deps.reactions.clone().unboost(request).await)?;
    written(&gate, &caller, actor, answer.receipt, post_id).await
}

async fn marked(
    reader: &Reader<'_>,
    uri: &Uri,
    marked: Vec<posting::ReactedPost>,
) -> Result<Response, Problem> {
    let ends = ends(marked.iter().map(|one| one.reaction_id));
    let posts: Vec<posting::Post> = marked.into_iter().filter_map(|one| one.post).collect();
    let shown = reader.statuses(&posts).await?;
    Ok(page(reader.caller, uri, ends, &shown))
}

/// `GET /api/v1/favourites`.
pub async fn favourites(
    State(gate): State<Gate>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    params: Params,
) -> Result<Response, Problem> {
    let actor = caller.actor("read:favourites")?;
    let reader = Reader::new(&gate, &caller, actor.account_id).await;
    let window = Some(window(&params, 20, 40)?);
    let request = posting::ListLikesRequest { options: reader.options(), window };
    let posts = ask(gate.deps.reactions.clone().list_likes(request).await)?.posts;
    marked(&reader, &uri, posts).await
}

/// `GET /api/v1/bookmarks`.
pub async fn bookmarks(
    State(gate): State<Gate>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    params: Params,
) -> Result<Response, Problem> {
    let actor = caller.actor("read:bookmarks")?;
    let reader = Reader::new(&gate, &caller, actor.account_id).await;
    let window = Some(window(&params, 20, 40)?);
    let request = posting::ListBookmarksRequest { options: reader.options(), window };
    let posts = ask(gate.deps.reactions.clone().list_bookmarks(request).await)?.posts;
    marked(&reader, &uri, posts).await
}

async fn reactors(reader: &Reader<'_>, uri: &Uri, who: &[posting::Reactor]) -> Result<Response, Problem> {
    let ids: Vec<u64> = who.iter().map(|one| one.account_id).collect();
    let shown = reader.accounts(&ids).await?;
    Ok(page(reader.caller, uri, ends(who.iter().map(|one| one.reaction_id)), &shown))
}

/// `GET /api/v1/statuses/:id/favourited_by`.
pub async fn favourited_by(
    State(gate): State<Gate>,
    caller: Caller,
    PathId(post_id): PathId,
    OriginalUri(uri): OriginalUri,
    params: Params,
) -> Result<Response, Problem> {
    let reader = Reader::new(&gate, &caller, caller.viewer("read:accounts")?).await;
    let window = Some(window(&params, 40, 80)?);
    let request = posting::ListLikedByRequest { options: reader.options(), post_id, window };
    let who = ask(gate.deps.reactions.clone().list_liked_by(request).await)?.reactors;
    reactors(&reader, &uri, &who).await
}

/// `GET /api/v1/statuses/:id/reblogged_by`.
pub async fn reblogged_by(
    State(gate): State<Gate>,
    caller: Caller,
    PathId(post_id): PathId,
    OriginalUri(uri): OriginalUri,
    params: Params,
) -> Result<Response, Problem> {
    let reader = Reader::new(&gate, &caller, caller.viewer("read:accounts")?).await;
    let window = Some(window(&params, 40, 80)?);
    let request = posting::ListBoostedByRequest { options: reader.options(), post_id, window };
    let who = ask(gate.deps.reactions.clone().list_boosted_by(request).await)?.reactors;
    reactors(&reader, &uri, &who).await
}
