//! Reactions.

use super::{Door, answer, inner};
use crate::tables::Mark;
use p92_proto::posting::v1;
use p92_proto::posting::v1::reaction_service_server::ReactionService;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ReactionService for Door {
    async fn like(&self, request: Request<v1::LikeRequest>) -> Answer<v1::LikeResponse> {
        let done = self.0.like(inner(request)).await;
        answer(done.map(|receipt| v1::LikeResponse { receipt: Some(receipt.into()) }))
    }

    async fn unlike(&self, request: Request<v1::UnlikeRequest>) -> Answer<v1::UnlikeResponse> {
        let done = self.0.unlike(inner(request)).await;
        answer(done.map(|receipt| v1::UnlikeResponse { receipt: Some(receipt.into()) }))
    }

    async fn boost(&self, request: Request<v1::BoostRequest>) -> Answer<v1::BoostResponse> {
        let done = self.0.boost(inner(request)).await;
        answer(done.map(|(receipt, boost_id)| v1::BoostResponse { receipt: Some(receipt.into()), boost_id }))
    }

    async fn unboost(&self, request: Request<v1::UnboostRequest>) -> Answer<v1::UnboostResponse> {
        let done = self.0.unboost(inner(request)).await;
        answer(done.map(|receipt| v1::UnboostResponse { receipt: Some(receipt.into()) }))
    }

    async fn bookmark(&self, request: Request<v1::BookmarkRequest>) -> Answer<v1::BookmarkResponse> {
        let done = self.0.bookmark(inner(request)).await;
        answer(done.map(|receipt| v1::BookmarkResponse { receipt: Some(receipt.into()) }))
    }

    async fn unbookmark(&self, request: Request<v1::UnbookmarkRequest>) -> Answer<v1::UnbookmarkResponse> {
        let done = self.0.unbookmark(inner(request)).await;
        answer(done.map(|receipt| v1::UnbookmarkResponse { receipt: Some(receipt.into()) }))
    }

    async fn list_likes(&self, request: Request<v1::ListLikesRequest>) -> Answer<v1::ListLikesResponse> {
        let (posts, request) = (&self.0.posts, inner(request));
        let read = async {
            let options = posts.fresh(request.options).await?;
            let posts = posts.reacted(&options, Mark::Like, request.window.as_ref()).await?;
            Ok(v1::ListLikesResponse { posts })
        };
        answer(read.await)
    }

    async fn list_bookmarks(
        &self,
        request: Request<v1::ListBookmarksRequest>,
    ) -> Answer<v1::ListBookmarksResponse> {
        let (posts, request) = (&self.0.posts, inner(request));
        let read = async {
            let options = posts.fresh(request.options).await?;
            let posts = posts.reacted(&options, Mark::Bookmark, request.window.as_ref()).await?;
            Ok(v1::ListBookmarksResponse { posts })
        };
        answer(read.await)
    }

    async fn list_liked_by(
        &self,
        request: Request<v1::ListLikedByRequest>,
    ) -> Answer<v1::ListLikedByResponse> {
        let (posts, request) = (&self.0.posts, inner(request));
        let read = async {
            let options = posts.fresh(request.options).await?;
            let window = request.window.as_ref();
            let reactors = posts.reactors(&options, Mark::Like, request.post_id, window).await?;
            Ok(v1::ListLikedByResponse { reactors })
        };
        answer(read.await)
    }

    async fn list_boosted_by(
        &self,
        request: Request<v1::ListBoostedByRequest>,
    ) -> Answer<v1::ListBoostedByResponse> {
        let (posts, request) = (&self.0.posts, inner(request));
        let read = async {
            let options = posts.fresh(request.options).await?;
            let window = request.window.as_ref();
            let reactors = posts.reactors(&options, Mark::Boost, request.post_id, window).await?;
            Ok(v1::ListBoostedByResponse { reactors })
        };
        answer(read.await)
    }
}
