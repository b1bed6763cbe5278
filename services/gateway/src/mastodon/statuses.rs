//! Statuses: writing, showing, editing, deleting, pinning; their thread, source and history.

use super::accounts::MANY;
use super::entity::status::{self, Status, StatusEdit, StatusSource, visibility_of};
use super::hydrate::Reader;
use super::key::Key;
use super::path::PathId;
use crate::door::caller::{Actor, Caller};
use crate::error::Problem;
use crate::gate::{Gate, ask};
use crate::params::Params;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use p92_proto::event::v1::{CommandContext, CommandReceipt};
use p92_proto::posting::v1 as posting;
use serde::Serialize;
use serde_json::json;

type Answer = Result<Json<Status>, Problem>;

fn command(gate: &Gate, actor: Actor, key: &Key) -> Option<CommandContext> {
    Some(gate.command(actor.server_id, actor.account_id, actor.app_id, key.as_deref()))
}

/// Tells of what was written, then shows it as it stands.
pub async fn written(
    gate: &Gate,
    caller: &Caller,
    actor: Actor,
    receipt: Option<CommandReceipt>,
    id: u64,
) -> Answer {
    gate.tell(actor.account_id, receipt.as_ref()).await;
    Reader::new(gate, caller, actor.account_id).await.status(id).await.map(Json)
}

/// Things of a status that do not exist here are refused, not dropped.
fn refuse_absent(params: &Params) -> Result<(), Problem> {
    if !params.list("media_ids")?.iter().all(|id| id.is_empty()) {
        return Err(Problem::absent("media"));
    }
    for (name, what) in [
        ("poll", "polls"),
        ("scheduled_at", "scheduled statuses"),
        ("quoted_status_id", "quotes"),
        ("quote_id", "quotes"),
    ] {
        let blank = matches!(params.text(name), Ok(Some("")));
        if params.has(name) && !blank {
            return Err(Problem::absent(what));
        }
    }
    Ok(())
}

fn visibility(params: &Params) -> Result<posting::Visibility, Problem> {
    match params.text("visibility")?.filter(|name| !name.is_empty()) {
        None => Ok(posting::Visibility::Unspecified),
        Some(name) => {
            visibility_of(name).ok_or_else(|| Problem::invalid("visibility", "INVALID", "does not exist"))
        }
    }
}

/// `POST /api/v1/statuses`.
pub async fn create(State(gate): State<Gate>, caller: Caller, key: Key, params: Params) -> Answer {
    let actor = caller.actor("write:statuses")?;
    refuse_absent(&params)?;
    let mut request = posting::PublishPostRequest {
        context: command(&gate, actor, &key),
        text: params.text("status")?.unwrap_or_default().to_owned(),
        content_warning: params.text("spoiler_text")?.unwrap_or_default().to_owned(),
        in_reply_to_id: params.id("in_reply_to_id")?,
        ..posting::PublishPostRequest::default()
    };
    // What the request does not say is as the author prefers, which the post's own service asks for.
    request.set_visibility(visibility(&params)?);
    request.sensitive = params.flag("sensitive")?;
    request.language = params.text("language")?.filter(|language| !language.is_empty()).map(str::to_owned);
    let mut posts = gate.deps.posts.clone();
    let before = Reader::new(&gate, &caller, actor.account_id).await;
    let publish = async { ask(posts.publish_post(request).await) };
    let (answer, author) = before.published(actor.account_id, publish).await?;
    let (receipt, id) = (answer.receipt, answer.post_id);
    let Some(post) = answer.post else { return written(&gate, &caller, actor, receipt, id).await };
    gate.remember(actor.account_id, receipt.as_ref()).await;
    let reader = Reader::new(&gate, &caller, actor.account_id).await;
    let (_told, shown) =
        futures::join!(gate.note(actor.account_id, receipt.as_ref()), reader.post_of(author, &post));
    shown.map(Json)
}

/// `GET /api/v1/statuses/:id`.
pub async fn show(State(gate): State<Gate>, caller: Caller, PathId(id): PathId) -> Answer {
    let viewer = caller.viewer("read:statuses")?;
    Reader::new(&gate, &caller, viewer).await.status(id).await.map(Json)
}

/// `GET /api/v1/statuses?id[]=…`.
pub async fn many(
    State(gate): State<Gate>,
    caller: Caller,
    params: Params,
) -> Result<Json<Vec<Status>>, Problem> {
    let reader = Reader::new(&gate, &caller, caller.viewer("read:statuses")?).await;
    let mut ids = params.ids("id")?;
    ids.truncate(MANY);
    let posts = reader.posts(&ids).await?;
    reader.statuses(&posts).await.map(Json)
}

/// `PUT /api/v1/statuses/:id`. What the request does not name stays.
pub async fn edit(
    State(gate): State<Gate>,
    caller: Caller,
    PathId(post_id): PathId,
    key: Key,
    params: Params,
) -> Answer {
    let actor = caller.actor("write:statuses")?;
    refuse_absent(&params)?;
    let reader = Reader::new(&gate, &caller, actor.account_id).await;
    let post = reader.post(post_id).await?;
    if post.author_id != actor.account_id || post.boosted.is_some() {
        return Err(Problem::not_found());
    }
    let request = posting::EditPostRequest {
        context: command(&gate, actor, &key),
        post_id,
        text: params.text("status")?.map_or(post.text, str::to_owned),
        content_warning: params.text("spoiler_text")?.map_or(post.content_warning, str::to_owned),
        sensitive: params.flag("sensitive")?.unwrap_or(post.sensitive),
        language: params.text("language")?.map_or(post.language, str::to_owned),
        remote: None,
    };
    let answer = ask(gate.deps.posts.clone().edit_post(request).await)?;
    written(&gate, &caller, actor, answer.receipt, post_id).await
}

/// `DELETE /api/v1/statuses/:id`: answers with what it was and what was typed, so that it can be written again.
///
/// A repeat under the same key finds the post gone: it is told so by success, without the content that no longer exists.
pub async fn delete(
    State(gate): State<Gate>,
    caller: Caller,
    PathId(post_id): PathId,
    key: Key,
) -> Result<Response, Problem> {
    let actor = caller.actor("write:statuses")?;
    let reader = Reader::new(&gate, &caller, actor.account_id).await;
    let post = match reader.post(post_id).await {
        Err(problem) if problem.status == StatusCode::NOT_FOUND && key.0.is_some() => None,
        found => Some(found?),
    };
    let mut shown = None;
    if let Some(post) = post {
        if post.author_id != actor.account_id || post.boosted.is_some() {
            return Err(Problem::not_found());
        }
        let text = Some(post.text.clone());
        let status = reader.statuses(&[post]).await?.pop().ok_or_else(Problem::not_found)?;
        shown = Some(Status { text, ..status });
    }
    let request = posting::DeletePostRequest { context: command(&gate, actor, &key), post_id };
    let answer = ask(gate.deps.posts.clone().delete_post(request).await)?;
    let repeated = answer.receipt.as_ref().is_some_and(|receipt| receipt.repeated);
    gate.tell(actor.account_id, answer.receipt.as_ref()).await;
    match shown {
        Some(status) => Ok(Json(status).into_response()),
        None if repeated => Ok(Json(json!({ "id": post_id.to_string() })).into_response()),
        None => Err(Problem::not_found()),
    }
}

/// `POST /api/v1/statuses/:id/pin`.
pub async fn pin(State(gate): State<Gate>, caller: Caller, PathId(post_id): PathId, key: Key) -> Answer {
    let actor = caller.actor("write:accounts")?;
    let request = posting::PinPostRequest { context: command(&gate, actor, &key), post_id };
    let answer = ask(gate.deps.posts.clone().pin_post(request).await)?;
    written(&gate, &caller, actor, answer.receipt, post_id).await
}

/// `POST /api/v1/statuses/:id/unpin`.
pub async fn unpin(State(gate): State<Gate>, caller: Caller, PathId(post_id): PathId, key: Key) -> Answer {
    let actor = caller.actor("write:accounts")?;
    let request = posting::UnpinPostRequest { context: command(&gate, actor, &key), post_id };
    let answer = ask(gate.deps.posts.clone().unpin_post(request).await)?;
    written(&gate, &caller, actor, answer.receipt, post_id).await
}

/// A thread around a status.
#[derive(Debug, Serialize)]
pub struct Context {
    ancestors: Vec<Status>,
    descendants: Vec<Status>,
}

/// `GET /api/v1/statuses/:id/context`.
pub async fn context_of(gate: &Gate, caller: &Caller, post_id: u64) -> Result<Context, Problem> {
    let reader = Reader::new(gate, caller, caller.viewer("read:statuses")?).await;
    let request = posting::GetContextRequest { options: reader.options(), post_id };
    let thread = ask(gate.deps.posts.clone().get_context(request).await)?;
    let before = thread.ancestors.len();
    let mut posts = thread.ancestors;
    posts.extend(thread.descendants);
    let cast = reader.cast(&posts, &[]).await?;
    let shape = |posts: &[posting::Post]| posts.iter().filter_map(|one| status::status(one, &cast)).collect();
    let (ancestors, descendants) = posts.split_at_checked(before).unwrap_or((&posts, &[]));
    Ok(Context { ancestors: shape(ancestors), descendants: shape(descendants) })
}

/// `GET /api/v1/statuses/:id/context`.
pub async fn context(
    State(gate): State<Gate>,
    caller: Caller,
    PathId(id): PathId,
) -> Result<Json<Context>, Problem> {
    context_of(&gate, &caller, id).await.map(Json)
}

/// `GET /api/v1/statuses/:id/source`.
pub async fn source(
    State(gate): State<Gate>,
    caller: Caller,
    PathId(post_id): PathId,
) -> Result<Json<StatusSource>, Problem> {
    let actor = caller.actor("read:statuses")?;
    let options = Some(gate.read_as(&caller, actor.account_id).await);
    let request = posting::GetSourceRequest { options, post_id };
    let source = ask(gate.deps.posts.clone().get_source(request).await)?;
    Ok(Json(StatusSource {
        id: post_id.to_string(),
        text: source.text,
        spoiler_text: source.content_warning,
    }))
}

/// `GET /api/v1/statuses/:id/history`.
pub async fn history(
    State(gate): State<Gate>,
    caller: Caller,
    PathId(post_id): PathId,
) -> Result<Json<Vec<StatusEdit>>, Problem> {
    let reader = Reader::new(&gate, &caller, caller.viewer("read:statuses")?).await;
    let request = posting::GetHistoryRequest { options: reader.options(), post_id };
    let revisions = ask(gate.deps.posts.clone().get_history(request).await)?.revisions;
    let authors: Vec<u64> = revisions.iter().map(|one| one.author_id).collect();
    let cast = reader.cast(&[], &authors).await?;
    Ok(Json(revisions.iter().filter_map(|one| status::edit(one, &cast)).collect()))
}
