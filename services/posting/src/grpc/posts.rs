//! Posts.

use super::{Door, answer, at_most, inner};
use crate::tables::Counted;
use p92_kernel::Failure;
use p92_proto::posting::v1;
use p92_proto::posting::v1::post_service_server::PostService;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl PostService for Door {
    async fn publish_post(
        &self,
        request: Request<v1::PublishPostRequest>,
    ) -> Answer<v1::PublishPostResponse> {
        let published = self.0.publish(inner(request)).await;
        answer(published.map(|made| v1::PublishPostResponse {
            receipt: Some(made.receipt.into()),
            post_id: made.id,
            post: made.post,
        }))
    }

    async fn edit_post(&self, request: Request<v1::EditPostRequest>) -> Answer<v1::EditPostResponse> {
        let edited = self.0.edit(inner(request)).await;
        answer(edited.map(|receipt| v1::EditPostResponse { receipt: Some(receipt.into()) }))
    }

    async fn delete_post(&self, request: Request<v1::DeletePostRequest>) -> Answer<v1::DeletePostResponse> {
        let deleted = self.0.delete(inner(request)).await;
        answer(deleted.map(|receipt| v1::DeletePostResponse { receipt: Some(receipt.into()) }))
    }

    async fn pin_post(&self, request: Request<v1::PinPostRequest>) -> Answer<v1::PinPostResponse> {
        let pinned = self.0.pin(inner(request)).await;
        answer(pinned.map(|receipt| v1::PinPostResponse { receipt: Some(receipt.into()) }))
    }

    async fn unpin_post(&self, request: Request<v1::UnpinPostRequest>) -> Answer<v1::UnpinPostResponse> {
        let unpinned = self.0.unpin(inner(request)).await;
        answer(unpinned.map(|receipt| v1::UnpinPostResponse { receipt: Some(receipt.into()) }))
    }

    async fn get_post(&self, request: Request<v1::GetPostRequest>) -> Answer<v1::GetPostResponse> {
        let (posts, request) = (&self.0.posts, inner(request));
        let read = async {
            let options = posts.fresh(request.options).await?;
            Ok(v1::GetPostResponse { post: Some(posts.one(&options, request.post_id).await?) })
        };
        answer(read.await)
    }

    async fn get_posts(&self, request: Request<v1::GetPostsRequest>) -> Answer<v1::GetPostsResponse> {
        let (posts, request) = (&self.0.posts, inner(request));
        let read = async {
            at_most(&request.post_ids, 200, "post_ids")?;
            let options = posts.fresh(request.options).await?;
            Ok(v1::GetPostsResponse { posts: posts.show(&options, &request.post_ids).await? })
        };
        answer(read.await)
    }

    async fn get_marks(&self, request: Request<v1::GetMarksRequest>) -> Answer<v1::GetMarksResponse> {
        let (posts, request) = (&self.0.posts, inner(request));
        let read = async {
            at_most(&request.post_ids, 200, "post_ids")?;
            let options = posts.fresh(request.options).await?;
            Ok(v1::GetMarksResponse { marks: posts.marks_of(&options, &request.post_ids).await? })
        };
        answer(read.await)
    }

    async fn get_context(&self, request: Request<v1::GetContextRequest>) -> Answer<v1::GetContextResponse> {
        let (posts, request) = (&self.0.posts, inner(request));
        let read = async {
            let options = posts.fresh(request.options).await?;
            let (id, _) = posts.row(&options, request.post_id).await?;
            let thread = posts.thread(&options, id).await?;
            Ok(v1::GetContextResponse {
                ancestors: thread.ancestors,
                descendants: thread.descendants,
                tombstones: thread.tombstones,
            })
        };
        answer(read.await)
    }

    async fn get_history(&self, request: Request<v1::GetHistoryRequest>) -> Answer<v1::GetHistoryResponse> {
        let (posts, request) = (&self.0.posts, inner(request));
        let read = async {
            let options = posts.fresh(request.options).await?;
            Ok(v1::GetHistoryResponse { revisions: posts.history(&options, request.post_id).await? })
        };
        answer(read.await)
    }

    async fn get_source(&self, request: Request<v1::GetSourceRequest>) -> Answer<v1::GetSourceResponse> {
        let (posts, request) = (&self.0.posts, inner(request));
        let read = async {
            let options = posts.fresh(request.options).await?;
            let (_, row) = posts.row(&options, request.post_id).await?;
            let content = posts.content(row.content.as_ref()).await?;
            let content = content.ok_or_else(|| Failure::not_found("post"))?;
            Ok(v1::GetSourceResponse { text: content.text, content_warning: content.content_warning })
        };
        answer(read.await)
    }

    async fn list_by_author(
        &self,
        request: Request<v1::ListByAuthorRequest>,
    ) -> Answer<v1::ListByAuthorResponse> {
        let (posts, mut request) = (&self.0.posts, inner(request));
        let read = async {
            let options = posts.fresh(request.options.take()).await?;
            Ok(v1::ListByAuthorResponse { posts: posts.by_author(&options, &request).await? })
        };
        answer(read.await)
    }

    async fn list_outboxes(
        &self,
        request: Request<v1::ListOutboxesRequest>,
    ) -> Answer<v1::ListOutboxesResponse> {
        let (posts, mut request) = (&self.0.posts, inner(request));
        let read = async {
            at_most(&request.author_ids, 10_000, "author_ids")?;
            posts.fresh(request.options.take()).await?;
            Ok(v1::ListOutboxesResponse { entries: posts.outboxes(&request).await? })
        };
        answer(read.await)
    }

    async fn list_by_tag(&self, request: Request<v1::ListByTagRequest>) -> Answer<v1::ListByTagResponse> {
        let (posts, request) = (&self.0.posts, inner(request));
        let read = async {
            posts.fresh(request.options).await?;
            let entries = posts.by_tag(&request.tag, request.window.as_ref()).await?;
            Ok(v1::ListByTagResponse { entries })
        };
        answer(read.await)
    }

    async fn resolve_uris(
        &self,
        request: Request<v1::ResolveUrisRequest>,
    ) -> Answer<v1::ResolveUrisResponse> {
        let (posts, request) = (&self.0.posts, inner(request));
        let read = async {
            at_most(&request.uris, 200, "uris")?;
            posts.fresh(request.options).await?;
            Ok(v1::ResolveUrisResponse { uris: posts.resolve(request.uris).await? })
        };
        answer(read.await)
    }

    async fn get_author_stats(
        &self,
        request: Request<v1::GetAuthorStatsRequest>,
    ) -> Answer<v1::GetAuthorStatsResponse> {
        let (posts, request) = (&self.0.posts, inner(request));
        let read = async {
            at_most(&request.author_ids, 200, "author_ids")?;
            posts.fresh(request.options).await?;
            let mut stats = Vec::with_capacity(request.author_ids.len());
            for author_id in request.author_ids {
                let v1::StatsRow { posts, last_post_ms } = posts.stats(Counted::Author(author_id)).await?;
                stats.push(v1::AuthorStats { author_id, posts, last_post_ms });
            }
            Ok(v1::GetAuthorStatsResponse { stats })
        };
        answer(read.await)
    }

    async fn get_server_stats(
        &self,
        request: Request<v1::GetServerStatsRequest>,
    ) -> Answer<v1::GetServerStatsResponse> {
        let (posts, request) = (&self.0.posts, inner(request));
        let read = async {
            let options = posts.fresh(request.options).await?;
            let stats = posts.stats(Counted::Server(options.server_id)).await?;
            Ok(v1::GetServerStatsResponse { posts: stats.posts })
        };
        answer(read.await)
    }
}
