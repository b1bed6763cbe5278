//! What others did that concerns the actor.

use super::entity::notification::{Notification, name_of, type_of};
use super::entity::status;
use super::hydrate::Reader;
use super::key::Key;
use super::page::{ends, page, window};
use super::path::PathId;
use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::{Gate, ask, there};
use crate::params::Params;
use axum::Json;
use axum::extract::{OriginalUri, State};
use axum::response::Response;
use p92_kernel::Millis;
use p92_proto::timelines::v1 as timelines;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Notifications in their shape: one call for all posts, one for all accounts. Those whose account or post may not be
/// seen any more are left out.
pub async fn shaped(
    reader: &Reader<'_>,
    notes: &[timelines::Notification],
) -> Result<Vec<Notification>, Problem> {
    if notes.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<u64> = notes.iter().map(|note| note.post_id).filter(|id| *id != 0).collect();
    let posts = if ids.is_empty() { Vec::new() } else { reader.posts(&ids).await? };
    let who: Vec<u64> = notes.iter().map(|note| note.account_id).collect();
    let cast = reader.cast(&posts, &who).await?;
    let by_id: HashMap<u64, _> = posts.iter().map(|post| (post.id, post)).collect();
    let shape = |note: &timelines::Notification| {
        let about =
            if note.post_id == 0 { None } else { Some(status::status(by_id.get(&note.post_id)?, &cast)?) };
        Some(Notification {
            id: note.id.to_string(),
            kind: name_of(note.r#type())?,
            group_key: format!("ungrouped-{}", note.id),
            created_at: Millis(note.created_ms).iso8601(),
            account: cast.shown(cast.account(note.account_id)?),
            status: about,
        })
    };
    Ok(notes.iter().filter_map(shape).collect())
}

/// Which are asked for; `None` if only types that do not happen here.
fn filter(params: &Params) -> Result<Option<timelines::NotificationFilter>, Problem> {
    let types = |name| -> Result<(bool, Vec<i32>), Problem> {
        let names: Vec<&str> = params.list(name)?.into_iter().filter(|name| !name.is_empty()).collect();
        let known = names.iter().filter_map(|name| type_of(name)).map(i32::from).collect();
        Ok((!names.is_empty(), known))
    };
    let (asked, wanted) = types("types")?;
    if asked && wanted.is_empty() {
        return Ok(None);
    }
    Ok(Some(timelines::NotificationFilter {
        types: wanted,
        exclude_types: types("exclude_types")?.1,
        account_id: params.id("account_id")?,
    }))
}

/// `GET /api/v1/notifications`.
pub async fn list(
    State(gate): State<Gate>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    params: Params,
) -> Result<Response, Problem> {
    let actor = caller.actor("read:notifications")?;
    let Some(filter) = filter(&params)? else {
        return Ok(page::<Notification>(&caller, &uri, None, &[]));
    };
    let reader = Reader::new(&gate, &caller, actor.account_id).await;
    let request = timelines::ListNotificationsRequest {
        options: reader.options(),
        window: Some(window(&params, 40, 80)?),
        filter: Some(filter),
    };
    let notes = ask(gate.deps.notifications.clone().list_notifications(request).await)?.notifications;
    let shown = shaped(&reader, &notes).await?;
    Ok(page(&caller, &uri, ends(notes.iter().map(|note| note.id)), &shown))
}

/// `GET /api/v1/notifications/:id`.
pub async fn show(
    State(gate): State<Gate>,
    caller: Caller,
    PathId(notification_id): PathId,
) -> Result<Json<Notification>, Problem> {
    let actor = caller.actor("read:notifications")?;
    let reader = Reader::new(&gate, &caller, actor.account_id).await;
    let request = timelines::GetNotificationRequest { options: reader.options(), notification_id };
    let note = there(ask(gate.deps.notifications.clone().get_notification(request).await)?.notification)?;
    shaped(&reader, &[note]).await?.pop().map(Json).ok_or_else(Problem::not_found)
}

/// `POST /api/v1/notifications/:id/dismiss`.
pub async fn dismiss(
    State(gate): State<Gate>,
    caller: Caller,
    PathId(notification_id): PathId,
    key: Key,
) -> Result<Json<Value>, Problem> {
    let actor = caller.actor("write:notifications")?;
    let context = Some(gate.command(actor.server_id, actor.account_id, actor.app_id, key.as_deref()));
    let request = timelines::DismissNotificationRequest { context, notification_id };
    let answer = ask(gate.deps.notifications.clone().dismiss_notification(request).await)?;
    gate.remember(actor.account_id, answer.receipt.as_ref()).await;
    Ok(Json(json!({})))
}

/// `POST /api/v1/notifications/clear`.
pub async fn clear(State(gate): State<Gate>, caller: Caller, key: Key) -> Result<Json<Value>, Problem> {
    let actor = caller.actor("write:notifications")?;
    let context = Some(gate.command(actor.server_id, actor.account_id, actor.app_id, key.as_deref()));
    let request = timelines::ClearNotificationsRequest { context };
    let answer = ask(gate.deps.notifications.clone().clear_notifications(request).await)?;
    gate.remember(actor.account_id, answer.receipt.as_ref()).await;
    Ok(Json(json!({})))
}

/// `GET /api/v1/notifications/unread_count`.
pub async fn unread(
    State(gate): State<Gate>,
    caller: Caller,
    params: Params,
) -> Result<Json<Value>, Problem> {
    let actor = caller.actor("read:notifications")?;
    let Some(filter) = filter(&params)? else { return Ok(Json(json!({ "count": 0 }))) };
    let request = timelines::CountUnreadRequest {
        options: Some(gate.read_as(&caller, actor.account_id).await),
        filter: Some(filter),
        limit: params.limit(100, 1_000),
    };
    let count = ask(gate.deps.notifications.clone().count_unread(request).await)?.count;
    Ok(Json(json!({ "count": count })))
}
