//! Public calls for timelines: page by page, and as it happens.

use super::lists::{next, window};
use super::posts::{LARGEST, PAGE, posts};
use super::{Door, status, watch, wrong};
use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::ask;
use crate::mastodon::hydrate::Reader;
use crate::streaming::channel::Channel;
use api::watch_timeline_request::Timeline;
use futures::stream::BoxStream;
use p92_proto::api::v1 as api;
use p92_proto::timelines::v1 as timelines;
use tonic::{Request, Response, Status};

/// The posts of these entries, and the token that goes on.
async fn page(
    reader: &Reader<'_>,
    entries: &[timelines::TimelineEntry],
    limit: u32,
) -> Result<(Vec<api::Post>, String), Problem> {
    let ids: Vec<u64> = entries.iter().map(|entry| entry.id).collect();
    let found = if ids.is_empty() { Vec::new() } else { reader.posts(&ids).await? };
    Ok((posts(&found), next(ids.into_iter(), limit)))
}

impl Door {
    /// The caller of a read that needs no token, and how it is read for him.
    async fn looker<T>(&self, request: &Request<T>) -> Result<(Caller, u64), Status> {
        let caller = self.caller(request).await?;
        let viewer = caller.viewer("read:statuses").map_err(status)?;
        Ok((caller, viewer))
    }
}

fn tag(text: &str) -> Result<String, Status> {
    let tag = text.trim_start_matches('#').to_lowercase();
    if tag.is_empty() || tag.len() > 400 {
        return Err(wrong("tag", "BAD_TAG", "A tag has between 1 and 400 bytes."));
    }
    Ok(tag)
}

#[tonic::async_trait]
impl api::timeline_service_server::TimelineService for Door {
    type WatchTimelineStream = BoxStream<'static, Result<api::WatchTimelineResponse, Status>>;

    async fn list_home_posts(
        &self,
        request: Request<api::ListHomePostsRequest>,
    ) -> Result<Response<api::ListHomePostsResponse>, Status> {
        let (caller, actor) = self.actor(&request, "read:statuses").await?;
        let window = window(request.get_ref().page_size, &request.get_ref().page_token, PAGE, LARGEST)?;
        let reader = self.reader(&caller, actor.account_id).await;
        let list = timelines::ListHomeRequest {
            options: reader.options(),
            window: Some(window),
            source: timelines::TimelineSource::Unspecified.into(),
        };
        let entries = ask(self.gate.deps.timelines.clone().list_home(list).await).map_err(status)?.entries;
        let (posts, next_page_token) = page(&reader, &entries, window.limit).await.map_err(status)?;
        Ok(Response::new(api::ListHomePostsResponse { posts, next_page_token }))
    }

    async fn list_public_posts(
        &self,
        request: Request<api::ListPublicPostsRequest>,
    ) -> Result<Response<api::ListPublicPostsResponse>, Status> {
        let (caller, viewer) = self.looker(&request).await?;
        let window = window(request.get_ref().page_size, &request.get_ref().page_token, PAGE, LARGEST)?;
        let reader = self.reader(&caller, viewer).await;
        let list = timelines::ListPublicRequest {
            options: reader.options(),
            window: Some(window),
            local: request.get_ref().local,
            ..timelines::ListPublicRequest::default()
        };
        let entries = ask(self.gate.deps.timelines.clone().list_public(list).await).map_err(status)?.entries;
        let (posts, next_page_token) = page(&reader, &entries, window.limit).await.map_err(status)?;
        Ok(Response::new(api::ListPublicPostsResponse { posts, next_page_token }))
    }

    async fn list_tag_posts(
        &self,
        request: Request<api::ListTagPostsRequest>,
    ) -> Result<Response<api::ListTagPostsResponse>, Status> {
        let (caller, viewer) = self.looker(&request).await?;
        let window = window(request.get_ref().page_size, &request.get_ref().page_token, PAGE, LARGEST)?;
        let reader = self.reader(&caller, viewer).await;
        let list = timelines::ListTagRequest {
            options: reader.options(),
            window: Some(window),
            any: vec![tag(&request.get_ref().tag)?],
            local: request.get_ref().local,
            ..timelines::ListTagRequest::default()
        };
        let entries = ask(self.gate.deps.timelines.clone().list_tag(list).await).map_err(status)?.entries;
        let (posts, next_page_token) = page(&reader, &entries, window.limit).await.map_err(status)?;
        Ok(Response::new(api::ListTagPostsResponse { posts, next_page_token }))
    }

    async fn watch_timeline(
        &self,
        request: Request<api::WatchTimelineRequest>,
    ) -> Result<Response<Self::WatchTimelineStream>, Status> {
        let (caller, actor) = self.actor(&request, watch::SCOPE).await?;
        let request = request.into_inner();
        let channel = match request.timeline {
            Some(Timeline::Home(_)) => Channel::User,
            Some(Timeline::Public(public)) => {
                Channel::Public { local: public.local, remote: false, media: false }
            }
            Some(Timeline::Tag(tagged)) => Channel::Tag { tag: tag(&tagged.tag)?, local: tagged.local },
            None => return Err(wrong("timeline", "TIMELINE_NEEDED", "Say what to watch.")),
        };
        if channel != Channel::User && !request.cursor.is_empty() {
            return Err(wrong("cursor", "NO_CURSOR_HERE", "Only a watch of home can be resumed."));
        }
        let stream = watch::open(&self.gate, caller, actor, channel, request.cursor).map_err(status)?;
        Ok(Response::new(stream))
    }
}
