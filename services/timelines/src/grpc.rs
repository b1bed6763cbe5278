//! The services of the contract: decode, call, encode.

use crate::app::App;
use crate::app::notifications::Filter;
use crate::app::public::{Origin, Tags};
use crate::domain::marker::List;
use crate::error;
use crate::wire::{entry_to_wire, list_from_wire, window};
use futures::stream::{self, BoxStream, StreamExt as _};
use p92_chassis::status::to_status;
use p92_eventlog::CommandMeta;
use p92_kernel::{AccountId, Failure, PageSize};
use p92_proto::event::v1::{CommandContext, ReadOptions};
use p92_proto::timelines::v1 as proto;
use p92_proto::timelines::v1::marker_service_server::MarkerService;
use p92_proto::timelines::v1::notification_service_server::NotificationService;
use p92_proto::timelines::v1::timeline_service_server::TimelineService;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// All three services.
#[derive(Clone, Debug)]
pub struct Grpc(pub Arc<App>);

const DEFAULT: u32 = 20;
const MOST: u32 = 80;
const NOTIFICATIONS_DEFAULT: u32 = 40;

fn answer<T>(result: Result<T, Failure>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(to_status)
}

fn actor(context: Option<&CommandContext>) -> Result<AccountId, Failure> {
    context.and_then(|context| AccountId::new(context.actor_id)).ok_or_else(error::no_viewer)
}

fn entries(page: &[crate::domain::entry::Entry<u64>]) -> Vec<proto::TimelineEntry> {
    page.iter().map(entry_to_wire).collect()
}

fn filter(filter: Option<proto::NotificationFilter>) -> Filter {
    let filter = filter.unwrap_or_default();
    Filter { types: filter.types, exclude_types: filter.exclude_types, account: filter.account_id }
}

#[tonic::async_trait]
impl TimelineService for Grpc {
    async fn list_home(
        &self,
        request: Request<proto::ListHomeRequest>,
    ) -> Result<Response<proto::ListHomeResponse>, Status> {
        let request = request.into_inner();
        let source = proto::TimelineSource::try_from(request.source).unwrap_or_default();
        let window = window(request.window.as_ref(), DEFAULT, MOST);
        let page = self.0.list_home(&request.options.unwrap_or_default(), window, source).await;
        answer(
            page.map(|(page, source)| proto::ListHomeResponse {
                entries: entries(&page),
                source: source.into(),
            }),
        )
    }

    async fn list_public(
        &self,
        request: Request<proto::ListPublicRequest>,
    ) -> Result<Response<proto::ListPublicResponse>, Status> {
        let request = request.into_inner();
        let origin = Origin { local: request.local, remote: request.remote, only_media: request.only_media };
        let window = window(request.window.as_ref(), DEFAULT, MOST);
        let page = self.0.list_public(&request.options.unwrap_or_default(), window, origin).await;
        answer(page.map(|page| proto::ListPublicResponse { entries: entries(&page) }))
    }

    async fn list_tag(
        &self,
        request: Request<proto::ListTagRequest>,
    ) -> Result<Response<proto::ListTagResponse>, Status> {
        let request = request.into_inner();
        let origin = Origin { local: request.local, remote: request.remote, only_media: request.only_media };
        let window = window(request.window.as_ref(), DEFAULT, MOST);
        let tags = Tags { any: request.any, all: request.all, none: request.none };
        let page = self.0.list_tag(&request.options.unwrap_or_default(), window, origin, &tags).await;
        answer(page.map(|page| proto::ListTagResponse { entries: entries(&page) }))
    }

    type WatchHomeStream = BoxStream<'static, Result<proto::WatchHomeResponse, Status>>;

    async fn watch_home(
        &self,
        request: Request<proto::WatchHomeRequest>,
    ) -> Result<Response<Self::WatchHomeStream>, Status> {
        let watch = self.0.watch_home(request.into_inner()).await.map_err(to_status)?;
        // A failure is the last thing that a stream says.
        let messages = stream::unfold(Some(watch), |watch| async move {
            let mut watch = watch?;
            match watch.next().await? {
                Ok(message) => Some((Ok(message), Some(watch))),
                Err(failure) => Some((Err(to_status(failure)), None)),
            }
        });
        Ok(Response::new(messages.boxed()))
    }

    type WatchPublicStream = BoxStream<'static, Result<proto::WatchPublicResponse, Status>>;

    async fn watch_public(
        &self,
        request: Request<proto::WatchPublicRequest>,
    ) -> Result<Response<Self::WatchPublicStream>, Status> {
        let request = request.into_inner();
        let origin = Origin { local: request.local, remote: request.remote, only_media: request.only_media };
        let options = request.options.unwrap_or_default();
        let watch = self.0.watch_public(options, origin, request.tag, &request.cursor).await;
        let watch = watch.map_err(to_status)?;
        let messages = stream::unfold(Some(watch), |watch| async move {
            let mut watch = watch?;
            match watch.next().await? {
                Ok(message) => Some((Ok(message), Some(watch))),
                Err(failure) => Some((Err(to_status(failure)), None)),
            }
        });
        Ok(Response::new(messages.boxed()))
    }

    async fn note_own_write(
        &self,
        request: Request<proto::NoteOwnWriteRequest>,
    ) -> Result<Response<proto::NoteOwnWriteResponse>, Status> {
        let request = request.into_inner();
        let noted = self.0.note_own_write(request.viewer_id, request.positions);
        answer(noted.map(|()| proto::NoteOwnWriteResponse {}))
    }
}

#[tonic::async_trait]
impl NotificationService for Grpc {
    async fn list_notifications(
        &self,
        request: Request<proto::ListNotificationsRequest>,
    ) -> Result<Response<proto::ListNotificationsResponse>, Status> {
        let request = request.into_inner();
        let window = window(request.window.as_ref(), NOTIFICATIONS_DEFAULT, MOST);
        let options = request.options.unwrap_or_default();
        let page = self.0.list_notifications(&options, window, &filter(request.filter)).await;
        answer(page.map(|notifications| proto::ListNotificationsResponse { notifications }))
    }

    async fn get_notification(
        &self,
        request: Request<proto::GetNotificationRequest>,
    ) -> Result<Response<proto::GetNotificationResponse>, Status> {
        let request = request.into_inner();
        let options = request.options.unwrap_or_default();
        let found = self.0.get_notification(&options, request.notification_id).await;
        answer(found.map(|found| proto::GetNotificationResponse { notification: Some(found) }))
    }

    async fn dismiss_notification(
        &self,
        request: Request<proto::DismissNotificationRequest>,
    ) -> Result<Response<proto::DismissNotificationResponse>, Status> {
        let mut request = request.into_inner();
        let context = request.context.take();
        let done = async {
            let account = actor(context.as_ref())?;
            let meta = CommandMeta::of(context.as_ref(), "p92.timelines.v1.DismissNotification", &request)?;
            self.0.dismiss(meta, account, request.notification_id).await
        };
        answer(done.await.map(|receipt| proto::DismissNotificationResponse { receipt: Some(receipt.into()) }))
    }

    async fn clear_notifications(
        &self,
        request: Request<proto::ClearNotificationsRequest>,
    ) -> Result<Response<proto::ClearNotificationsResponse>, Status> {
        let mut request = request.into_inner();
        let context = request.context.take();
        let done = async {
            let account = actor(context.as_ref())?;
            let meta = CommandMeta::of(context.as_ref(), "p92.timelines.v1.ClearNotifications", &request)?;
            self.0.clear(meta, account).await
        };
        answer(done.await.map(|receipt| proto::ClearNotificationsResponse { receipt: Some(receipt.into()) }))
    }

    async fn count_unread(
        &self,
        request: Request<proto::CountUnreadRequest>,
    ) -> Result<Response<proto::CountUnreadResponse>, Status> {
        let request = request.into_inner();
        let limit = PageSize::clamp(request.limit, 100, 1_000).get();
        let options = request.options.unwrap_or_default();
        let count = self.0.count_unread(&options, &filter(request.filter), limit).await;
        let count = count.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        answer(count.map(|count| proto::CountUnreadResponse { count }))
    }
}

#[tonic::async_trait]
impl MarkerService for Grpc {
    async fn get_markers(
        &self,
        request: Request<proto::GetMarkersRequest>,
    ) -> Result<Response<proto::GetMarkersResponse>, Status> {
        let request = request.into_inner();
        let markers = self.0.markers(&request.options.unwrap_or_default()).await;
        answer(markers.map(|mut markers| {
            markers.retain(|marker| {
                request.timelines.is_empty() || request.timelines.contains(&marker.timeline)
            });
            proto::GetMarkersResponse { markers }
        }))
    }

    async fn set_markers(
        &self,
        request: Request<proto::SetMarkersRequest>,
    ) -> Result<Response<proto::SetMarkersResponse>, Status> {
        let mut request = request.into_inner();
        let context = request.context.take();
        let done = async {
            let account = actor(context.as_ref())?;
            let meta = CommandMeta::of(context.as_ref(), "p92.timelines.v1.SetMarkers", &request)?;
            let changes: Option<Vec<(List, u64)>> = request
                .changes
                .iter()
                .map(|change| Some((list_from_wire(change.timeline)?, change.last_read_id)))
                .collect();
            let changes = changes.ok_or_else(|| {
                Failure::invalid("changes.timeline", "BAD_TIMELINE", "Markers are of home and notifications.")
            })?;
            let lists: Vec<i32> = request.changes.iter().map(|change| change.timeline).collect();
            let receipt = self.0.set_markers(meta, account, changes).await?;
            let receipt: p92_proto::event::v1::CommandReceipt = receipt.into();
            let options = ReadOptions {
                at_least: receipt.positions.clone(),
                viewer_id: account.get(),
                ..ReadOptions::default()
            };
            let mut markers = self.0.markers(&options).await?;
            markers.retain(|marker| lists.contains(&marker.timeline));
            Ok(proto::SetMarkersResponse { receipt: Some(receipt), markers })
        };
        answer(done.await)
    }
}
