//! Timelines in memory: home is everything that one follows, live is a channel.

use super::world::{World, missing, status};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use p92_kernel::ErrorCode;
use p92_proto::timelines::v1::*;
use tokio_stream::wrappers::BroadcastStream;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl timeline_service_server::TimelineService for World {
    type WatchHomeStream = BoxStream<'static, Result<WatchHomeResponse, Status>>;
    type WatchPublicStream = BoxStream<'static, Result<WatchPublicResponse, Status>>;

    async fn list_home(&self, request: Request<ListHomeRequest>) -> Answer<ListHomeResponse> {
        let request = request.into_inner();
        let options = request.options.unwrap();
        let window = request.window.unwrap();
        let mut state = self.at("list_home");
        state.at_least = options.at_least;
        let viewer = options.viewer_id;
        let home = state.posts.values().rev().filter(|post| {
            (post.author_id == viewer || state.follows.contains(&(viewer, post.author_id)))
                && (window.max_id == 0 || post.id < window.max_id)
                && post.id > window.min_id.max(window.since_id)
        });
        let entries =
            home.take(window.limit as usize).map(|post| TimelineEntry { id: post.id, ..Default::default() });
        Ok(Response::new(ListHomeResponse { entries: entries.collect(), source: 0 }))
    }

    async fn list_tag(&self, request: Request<ListTagRequest>) -> Answer<ListTagResponse> {
        let tag = format!("#{}", request.into_inner().any.join(""));
        let state = self.at("list_tag");
        let with = state.posts.values().rev().filter(|post| post.text.contains(&tag));
        let entries = with.map(|post| TimelineEntry { id: post.id, ..Default::default() }).collect();
        Ok(Response::new(ListTagResponse { entries }))
    }

    async fn list_public(&self, request: Request<ListPublicRequest>) -> Answer<ListPublicResponse> {
        let request = request.into_inner();
        let server = request.options.unwrap().server_id;
        let state = self.at("list_public");
        let all = state.posts.values().rev().filter(|post| !request.local || post.author_home_id == server);
        let entries = all.map(|post| TimelineEntry { id: post.id, ..Default::default() }).collect();
        Ok(Response::new(ListPublicResponse { entries }))
    }

    async fn note_own_write(&self, request: Request<NoteOwnWriteRequest>) -> Answer<NoteOwnWriteResponse> {
        self.at("note_own_write").told.extend(request.into_inner().positions);
        Ok(Response::new(NoteOwnWriteResponse {}))
    }

    async fn watch_home(&self, request: Request<WatchHomeRequest>) -> Answer<Self::WatchHomeStream> {
        let request = request.into_inner();
        let mut state = self.at("watch_home");
        if !state.accounts.contains_key(&request.options.unwrap().viewer_id) {
            return Err(status(ErrorCode::Unauthenticated, "GONE", "No."));
        }
        let told = BroadcastStream::new(self.live.subscribe());
        state.cursors.push(request.cursor.to_vec());
        let told = told.map(|one| one.ok().flatten().ok_or_else(|| Status::unavailable("the slot moves")));
        let told = told.scan(false, |broken, one| {
            let over = std::mem::replace(broken, one.is_err());
            std::future::ready((!over).then_some(one))
        });
        Ok(Response::new(told.boxed()))
    }

    async fn watch_public(&self, request: Request<WatchPublicRequest>) -> Answer<Self::WatchPublicStream> {
        let cursor = request.into_inner().cursor;
        self.at("watch_public").cursors.push(cursor.to_vec());
        let told = BroadcastStream::new(self.live.subscribe());
        let told = told.map(|one| {
            let told = one.ok().flatten().ok_or_else(|| Status::unavailable("the process stops"))?;
            let change = match told.change {
                Some(watch_home_response::Change::Entry(entry)) => {
                    watch_public_response::Change::Entry(entry)
                }
                _ => watch_public_response::Change::StillHere(StillHere {}),
            };
            Ok(WatchPublicResponse { cursor: told.cursor, change: Some(change) })
        });
        Ok(Response::new(told.boxed()))
    }
}

#[tonic::async_trait]
impl notification_service_server::NotificationService for World {
    async fn get_notification(
        &self,
        request: Request<GetNotificationRequest>,
    ) -> Answer<GetNotificationResponse> {
        let id = request.into_inner().notification_id;
        let note = self.at("get_notification").notes.iter().find(|note| note.id == id).copied();
        Ok(Response::new(GetNotificationResponse { notification: Some(note.ok_or_else(missing)?) }))
    }

    async fn dismiss_notification(
        &self,
        request: Request<DismissNotificationRequest>,
    ) -> Answer<DismissNotificationResponse> {
        let id = request.into_inner().notification_id;
        let mut state = self.at("dismiss_notification");
        state.notes.retain(|note| note.id != id);
        Ok(Response::new(DismissNotificationResponse { receipt: state.receipt("timelines") }))
    }

    async fn clear_notifications(
        &self,
        _: Request<ClearNotificationsRequest>,
    ) -> Answer<ClearNotificationsResponse> {
        let mut state = self.at("clear_notifications");
        state.notes.clear();
        Ok(Response::new(ClearNotificationsResponse { receipt: state.receipt("timelines") }))
    }

    async fn count_unread(&self, _: Request<CountUnreadRequest>) -> Answer<CountUnreadResponse> {
        let count = u32::try_from(self.at("count_unread").notes.len()).unwrap();
        Ok(Response::new(CountUnreadResponse { count }))
    }

    async fn list_notifications(
        &self,
        request: Request<ListNotificationsRequest>,
    ) -> Answer<ListNotificationsResponse> {
        let filter = request.into_inner().filter.unwrap();
        let state = self.at("list_notifications");
        let wanted = state.notes.iter().filter(|note| {
            (filter.types.is_empty() || filter.types.contains(&note.r#type))
                && !filter.exclude_types.contains(&note.r#type)
        });
        Ok(Response::new(ListNotificationsResponse { notifications: wanted.copied().collect() }))
    }
}

#[tonic::async_trait]
impl marker_service_server::MarkerService for World {
    async fn get_markers(&self, request: Request<GetMarkersRequest>) -> Answer<GetMarkersResponse> {
        let asked = request.into_inner().timelines;
        let state = self.at("get_markers");
        let markers = state.markers.values().filter(|one| asked.contains(&one.timeline)).copied().collect();
        Ok(Response::new(GetMarkersResponse { markers }))
    }

    async fn set_markers(&self, request: Request<SetMarkersRequest>) -> Answer<SetMarkersResponse> {
        let mut state = self.at("set_markers");
        let mut markers = Vec::new();
        for change in request.into_inner().changes {
            let version = state.markers.get(&change.timeline).map_or(0, |one| one.version) + 1;
            let marker = Marker {
                timeline: change.timeline,
                last_read_id: change.last_read_id,
                version,
                updated_ms: 1,
            };
            state.markers.insert(change.timeline, marker);
            markers.push(marker);
        }
        Ok(Response::new(SetMarkersResponse { receipt: state.receipt("timelines"), markers }))
    }
}
