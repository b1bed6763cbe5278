//! Public calls for timelines, page by page.

use super::posts::post;
use super::{Door, status, wrong};
use crate::error::Problem;
use crate::gate::ask;
use crate::mastodon::hydrate::Reader;
use p92_kernel::Id;
use p92_proto::api::v1 as api;
use p92_proto::event::v1::IdWindow;
use p92_proto::timelines::v1 as timelines;
use tonic::{Request, Response, Status};

const PAGE: u32 = 20;
const LARGEST: u32 = 40;

fn window(page_size: i32, page_token: &str) -> Result<IdWindow, Status> {
    let asked = u32::try_from(page_size)
        .map_err(|_| wrong("page_size", "PAGE_SIZE_NEGATIVE", "The page size is negative."))?;
    let limit = if asked == 0 { PAGE } else { asked.min(LARGEST) };
    let max_id = match page_token {
        "" => 0,
        token => token
            .parse::<Id>()
            .map_err(|_| wrong("page_token", "BAD_PAGE_TOKEN", "This page token was not given out."))?
            .get(),
    };
    Ok(IdWindow { max_id, limit, ..IdWindow::default() })
}

/// The posts of these entries, and the token that goes on.
async fn page(
    reader: &Reader<'_>,
    entries: &[timelines::TimelineEntry],
    limit: u32,
) -> Result<(Vec<api::Post>, String), Problem> {
    let ids: Vec<u64> = entries.iter().map(|entry| entry.id).collect();
    let posts = if ids.is_empty() { Vec::new() } else { reader.posts(&ids).await? };
    let next = match ids.last() {
        Some(last) if ids.len() >= limit as usize => last.to_string(),
        _ => String::new(),
    };
    Ok((posts.iter().map(post).collect(), next))
}

#[tonic::async_trait]
impl api::timeline_service_server::TimelineService for Door {
    async fn list_home_posts(
        &self,
        request: Request<api::ListHomePostsRequest>,
    ) -> Result<Response<api::ListHomePostsResponse>, Status> {
        let caller = self.caller(&request).await?;
        let actor = caller.actor("read:statuses").map_err(status)?;
        let window = window(request.get_ref().page_size, &request.get_ref().page_token)?;
        let limit = window.limit;
        let reader = Reader::new(&self.gate, &caller, actor.account_id).await;
        let list = timelines::ListHomeRequest {
            options: reader.options(),
            window: Some(window),
            source: timelines::TimelineSource::Unspecified.into(),
        };
        let entries = ask(self.gate.deps.timelines.clone().list_home(list).await).map_err(status)?.entries;
        let (posts, next_page_token) = page(&reader, &entries, limit).await.map_err(status)?;
        Ok(Response::new(api::ListHomePostsResponse { posts, next_page_token }))
    }

    async fn list_public_posts(
        &self,
        request: Request<api::ListPublicPostsRequest>,
    ) -> Result<Response<api::ListPublicPostsResponse>, Status> {
        let caller = self.caller(&request).await?;
        let viewer = caller.viewer("read:statuses").map_err(status)?;
        let window = window(request.get_ref().page_size, &request.get_ref().page_token)?;
        let limit = window.limit;
        let reader = Reader::new(&self.gate, &caller, viewer).await;
        let list = timelines::ListPublicRequest {
            options: reader.options(),
            window: Some(window),
            local: request.get_ref().local,
            ..timelines::ListPublicRequest::default()
        };
        let entries = ask(self.gate.deps.timelines.clone().list_public(list).await).map_err(status)?.entries;
        let (posts, next_page_token) = page(&reader, &entries, limit).await.map_err(status)?;
        Ok(Response::new(api::ListPublicPostsResponse { posts, next_page_token }))
    }
}
