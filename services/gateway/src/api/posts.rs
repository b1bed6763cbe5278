//! Public calls about posts, and their public shape.

use super::{Door, id, key, status, wrong};
use crate::gate::ask;
use crate::mastodon::hydrate::Reader;
use p92_proto::api::v1 as api;
use p92_proto::posting::v1 as posting;
use tonic::{Request, Response, Status};

fn moment(ms: u64) -> Option<prost_types::Timestamp> {
    let seconds = i64::try_from(ms / 1_000).ok().filter(|_| ms != 0)?;
    let nanos = i32::try_from(ms % 1_000 * 1_000_000).ok()?;
    Some(prost_types::Timestamp { seconds, nanos })
}

/// A post as others' programs see it.
pub fn post(one: &posting::Post) -> api::Post {
    let counts = one.counts.unwrap_or_default();
    let decimal = |id: u64| if id == 0 { String::new() } else { id.to_string() };
    api::Post {
        id: one.id.to_string(),
        author_id: one.author_id.to_string(),
        // Both enums have the same values on purpose.
        visibility: one.visibility,
        html: one.html.clone(),
        content_warning: one.content_warning.clone(),
        sensitive: one.sensitive,
        language: one.language.clone(),
        create_time: moment(one.created_ms),
        update_time: moment(one.edited_ms),
        in_reply_to_id: decimal(one.in_reply_to_id),
        url: one.url.clone(),
        like_count: counts.likes,
        boost_count: counts.boosts,
        reply_count: counts.replies,
        boosted: one.boosted.as_deref().map(|inner| Box::new(post(inner))),
    }
}

#[tonic::async_trait]
impl api::post_service_server::PostService for Door {
    async fn create_post(
        &self,
        request: Request<api::CreatePostRequest>,
    ) -> Result<Response<api::CreatePostResponse>, Status> {
        let caller = self.caller(&request).await?;
        let actor = caller.actor("write:statuses").map_err(status)?;
        let request = request.into_inner();
        if matches!(api::Visibility::try_from(request.visibility), Err(_) | Ok(api::Visibility::Unspecified))
        {
            return Err(wrong("visibility", "VISIBILITY_NEEDED", "Say who sees the post."));
        }
        let key = key(&request.request_id)?;
        let in_reply_to_id = if request.in_reply_to_id.is_empty() { 0 } else { id(&request.in_reply_to_id)? };
        let publish = posting::PublishPostRequest {
            context: Some(self.gate.command(actor.server_id, actor.account_id, actor.app_id, key)),
            text: request.text,
            content_warning: request.content_warning,
            sensitive: request.sensitive,
            language: request.language,
            visibility: request.visibility,
            in_reply_to_id,
            remote: None,
        };
        let answer = ask(self.gate.deps.posts.clone().publish_post(publish).await).map_err(status)?;
        self.gate.tell(actor.account_id, answer.receipt.as_ref()).await.map_err(status)?;
        let reader = Reader::new(&self.gate, &caller, actor.account_id).await;
        let made = reader.post(answer.post_id).await.map_err(status)?;
        Ok(Response::new(api::CreatePostResponse { post: Some(post(&made)) }))
    }

    async fn get_post(
        &self,
        request: Request<api::GetPostRequest>,
    ) -> Result<Response<api::GetPostResponse>, Status> {
        let caller = self.caller(&request).await?;
        let viewer = caller.viewer("read:statuses").map_err(status)?;
        let reader = Reader::new(&self.gate, &caller, viewer).await;
        let found = reader.post(id(&request.get_ref().post_id)?).await.map_err(status)?;
        Ok(Response::new(api::GetPostResponse { post: Some(post(&found)) }))
    }

    async fn delete_post(
        &self,
        request: Request<api::DeletePostRequest>,
    ) -> Result<Response<api::DeletePostResponse>, Status> {
        let caller = self.caller(&request).await?;
        let actor = caller.actor("write:statuses").map_err(status)?;
        let request = request.into_inner();
        let key = key(&request.request_id)?;
        let delete = posting::DeletePostRequest {
            context: Some(self.gate.command(actor.server_id, actor.account_id, actor.app_id, key)),
            post_id: id(&request.post_id)?,
        };
        let answer = ask(self.gate.deps.posts.clone().delete_post(delete).await).map_err(status)?;
        self.gate.tell(actor.account_id, answer.receipt.as_ref()).await.map_err(status)?;
        Ok(Response::new(api::DeletePostResponse {}))
    }
}
