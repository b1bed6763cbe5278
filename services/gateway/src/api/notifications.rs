//! Public calls about notifications, and their public shape.

use super::lists::{next, window};
use super::posts::post;
use super::{Door, id, moment, status};
use crate::error::Problem;
use crate::gate::ask;
use crate::mastodon::hydrate::Reader;
use p92_proto::api::v1 as api;
use p92_proto::timelines::v1 as timelines;
use std::collections::HashMap;
use tonic::{Request, Response, Status};

/// Most unread ones that are counted.
const COUNTED: u32 = 100;

/// Notifications in their public shape, with one call for all posts and one for all accounts. Those whose account or
/// post may not be seen any more are left out.
pub async fn shaped(
    reader: &Reader<'_>,
    notes: &[timelines::Notification],
) -> Result<Vec<api::Notification>, Problem> {
    if notes.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<u64> = notes.iter().map(|note| note.post_id).filter(|id| *id != 0).collect();
    let posts = if ids.is_empty() { Vec::new() } else { reader.posts(&ids).await? };
    let who: Vec<u64> = notes.iter().map(|note| note.account_id).collect();
    let cast = reader.cast(&[], &who).await?;
    let posts: HashMap<u64, api::Post> = posts.iter().map(|one| (one.id, post(one))).collect();
    let shape = |note: &timelines::Notification| {
        cast.account(note.account_id)?;
        let about = if note.post_id == 0 { None } else { Some(posts.get(&note.post_id)?.clone()) };
        Some(api::Notification {
            id: note.id.to_string(),
            // Both enums have the same values on purpose.
            r#type: note.r#type,
            account_id: note.account_id.to_string(),
            post: about,
            create_time: moment(note.created_ms),
        })
    };
    Ok(notes.iter().filter_map(shape).collect())
}

#[tonic::async_trait]
impl api::notification_service_server::NotificationService for Door {
    async fn list_notifications(
        &self,
        request: Request<api::ListNotificationsRequest>,
    ) -> Result<Response<api::ListNotificationsResponse>, Status> {
        let (caller, actor) = self.actor(&request, "read:notifications").await?;
        let request = request.into_inner();
        let window = window(request.page_size, &request.page_token, 40, 80)?;
        let reader = self.reader(&caller, actor.account_id).await;
        let filter = timelines::NotificationFilter {
            types: request.types,
            exclude_types: request.exclude_types,
            account_id: 0,
        };
        let list = timelines::ListNotificationsRequest {
            options: reader.options(),
            window: Some(window),
            filter: Some(filter),
        };
        let notes = ask(self.gate.deps.notifications.clone().list_notifications(list).await)
            .map_err(status)?
            .notifications;
        let notifications = shaped(&reader, &notes).await.map_err(status)?;
        let next_page_token = next(notes.iter().map(|note| note.id), window.limit);
        Ok(Response::new(api::ListNotificationsResponse { notifications, next_page_token }))
    }

    async fn dismiss_notification(
        &self,
        request: Request<api::DismissNotificationRequest>,
    ) -> Result<Response<api::DismissNotificationResponse>, Status> {
        let (_, actor) = self.actor(&request, "write:notifications").await?;
        let request = request.into_inner();
        let context = self.command(actor, &request.request_id)?;
        let notification_id = id(&request.notification_id)?;
        let dismiss = timelines::DismissNotificationRequest { context, notification_id };
        let answer = ask(self.gate.deps.notifications.clone().dismiss_notification(dismiss).await);
        self.gate.remember(actor.account_id, answer.map_err(status)?.receipt.as_ref()).await;
        Ok(Response::new(api::DismissNotificationResponse {}))
    }

    async fn clear_notifications(
        &self,
        request: Request<api::ClearNotificationsRequest>,
    ) -> Result<Response<api::ClearNotificationsResponse>, Status> {
        let (_, actor) = self.actor(&request, "write:notifications").await?;
        let context = self.command(actor, &request.get_ref().request_id)?;
        let clear = timelines::ClearNotificationsRequest { context };
        let answer = ask(self.gate.deps.notifications.clone().clear_notifications(clear).await);
        self.gate.remember(actor.account_id, answer.map_err(status)?.receipt.as_ref()).await;
        Ok(Response::new(api::ClearNotificationsResponse {}))
    }

    async fn count_unread_notifications(
        &self,
        request: Request<api::CountUnreadNotificationsRequest>,
    ) -> Result<Response<api::CountUnreadNotificationsResponse>, Status> {
        let (caller, actor) = self.actor(&request, "read:notifications").await?;
        let options = self.reader(&caller, actor.account_id).await.options();
        let count = timelines::CountUnreadRequest { options, filter: None, limit: COUNTED };
        let answer = ask(self.gate.deps.notifications.clone().count_unread(count).await).map_err(status)?;
        Ok(Response::new(api::CountUnreadNotificationsResponse { count: answer.count }))
    }
}
