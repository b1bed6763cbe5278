//! Posting in memory: posts, boosts and likes, with the simplest rule of visibility.

use super::world::{State, World, absent, missing, status};
use p92_kernel::ErrorCode;
use p92_proto::event::v1::CommandReceipt;
use p92_proto::posting::v1::*;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

impl State {
    /// A post as somebody sees it: direct ones are their author's only.
    pub fn seen(&self, viewer: u64, id: u64) -> Option<Post> {
        let mut post = self.posts.get(&id)?.clone();
        if post.visibility() == Visibility::Direct && post.author_id != viewer {
            return None;
        }
        if let Some(inner) = post.boosted.take() {
            post.boosted = Some(Box::new(self.seen(viewer, inner.id)?));
        }
        let boosted = self
            .posts
            .values()
            .any(|one| one.author_id == viewer && one.boosted.as_ref().is_some_and(|inner| inner.id == id));
        let likes = self.likes.iter().filter(|(_, liked)| *liked == id).count() as u64;
        post.counts = Some(Counts { likes, ..Default::default() });
        post.marks = (viewer != 0).then(|| ViewerMarks {
            liked: self.likes.contains(&(viewer, id)),
            boosted,
            ..Default::default()
        });
        Some(post)
    }
}

#[tonic::async_trait]
impl post_service_server::PostService for World {
    async fn publish_post(&self, request: Request<PublishPostRequest>) -> Answer<PublishPostResponse> {
        let request = request.into_inner();
        let visibility = request.visibility();
        let context = request.context.unwrap();
        let mut state = self.at("publish_post");
        if request.text.trim().is_empty() {
            let failure = p92_kernel::Failure::invalid("text", "TEXT_EMPTY", "Text can't be blank");
            return Err(p92_chassis::status::to_status(failure));
        }
        if let Some(id) = state.keys.get(&context.idempotency_key).copied() {
            // It could not be shown: the door asks for it.
            let receipt = state.receipt("posting");
            return Ok(Response::new(PublishPostResponse { receipt, post_id: id, post: None }));
        }
        let preferred = state.accounts.get(&context.actor_id).and_then(|one| one.preferences.clone());
        let preferred = preferred.unwrap_or_default();
        let visibility = if visibility == Visibility::Unspecified {
            // Both enums have the same values on purpose.
            Visibility::try_from(preferred.visibility).ok().filter(|one| *one != Visibility::Unspecified)
        } else {
            Some(visibility)
        };
        let id = state.post(context.actor_id, &request.text, visibility.unwrap_or(Visibility::Public));
        let post = state.posts.get_mut(&id).unwrap();
        post.content_warning = request.content_warning;
        post.sensitive = request.sensitive.unwrap_or(preferred.sensitive);
        post.language = request.language.unwrap_or(preferred.language);
        post.in_reply_to_id = request.in_reply_to_id;
        let post = Some(post.clone());
        state.keys.insert(context.idempotency_key, id);
        Ok(Response::new(PublishPostResponse { receipt: state.receipt("posting"), post_id: id, post }))
    }

    async fn edit_post(&self, request: Request<EditPostRequest>) -> Answer<EditPostResponse> {
        let request = request.into_inner();
        let mut state = self.at("edit_post");
        let post = state.posts.get_mut(&request.post_id).ok_or_else(missing)?;
        post.html = format!("<p>{}</p>", request.text);
        post.text = request.text;
        post.content_warning = request.content_warning;
        post.edited_ms = 1_790_000_000_001;
        Ok(Response::new(EditPostResponse { receipt: state.receipt("posting") }))
    }

    async fn delete_post(&self, request: Request<DeletePostRequest>) -> Answer<DeletePostResponse> {
        let request = request.into_inner();
        let key = request.context.unwrap().idempotency_key;
        let mut state = self.at("delete_post");
        if state.keys.get(&key) == Some(&request.post_id) {
            let receipt =
                state.receipt("posting").map(|receipt| CommandReceipt { repeated: true, ..receipt });
            return Ok(Response::new(DeletePostResponse { receipt }));
        }
        state.posts.remove(&request.post_id).ok_or_else(missing)?;
        state.keys.insert(key, request.post_id);
        Ok(Response::new(DeletePostResponse { receipt: state.receipt("posting") }))
    }

    async fn get_post(&self, request: Request<GetPostRequest>) -> Answer<GetPostResponse> {
        let request = request.into_inner();
        let options = request.options.unwrap();
        let mut state = self.at("get_post");
        state.at_least = options.at_least;
        let post = state.seen(options.viewer_id, request.post_id).ok_or_else(missing)?;
        Ok(Response::new(GetPostResponse { post: Some(post) }))
    }

    async fn get_posts(&self, request: Request<GetPostsRequest>) -> Answer<GetPostsResponse> {
        let request = request.into_inner();
        let viewer = request.options.unwrap().viewer_id;
        let state = self.at("get_posts");
        let posts = request.post_ids.iter().filter_map(|id| state.seen(viewer, *id)).collect();
        Ok(Response::new(GetPostsResponse { posts }))
    }

    async fn get_marks(&self, request: Request<GetMarksRequest>) -> Answer<GetMarksResponse> {
        let request = request.into_inner();
        let viewer = request.options.unwrap().viewer_id;
        let state = self.at("get_marks");
        let marks = |id: &u64| state.seen(viewer, *id).and_then(|post| post.marks).unwrap_or_default();
        Ok(Response::new(GetMarksResponse { marks: request.post_ids.iter().map(marks).collect() }))
    }

    async fn get_context(&self, request: Request<GetContextRequest>) -> Answer<GetContextResponse> {
        let request = request.into_inner();
        let viewer = request.options.unwrap().viewer_id;
        let state = self.at("get_context");
        let post = state.seen(viewer, request.post_id).ok_or_else(missing)?;
        let ancestors = state.seen(viewer, post.in_reply_to_id).into_iter().collect();
        let replies = state.posts.values().filter(|one| one.in_reply_to_id == post.id).map(|one| one.id);
        let descendants = replies.filter_map(|id| state.seen(viewer, id)).collect();
        Ok(Response::new(GetContextResponse { ancestors, descendants, tombstones: Vec::new() }))
    }

    async fn get_source(&self, request: Request<GetSourceRequest>) -> Answer<GetSourceResponse> {
        let request = request.into_inner();
        let post = self.at("get_source").seen(request.options.unwrap().viewer_id, request.post_id);
        let post = post.ok_or_else(missing)?;
        Ok(Response::new(GetSourceResponse { text: post.text, content_warning: post.content_warning }))
    }

    async fn get_history(&self, request: Request<GetHistoryRequest>) -> Answer<GetHistoryResponse> {
        let request = request.into_inner();
        let post = self.at("get_history").seen(request.options.unwrap().viewer_id, request.post_id);
        let post = post.ok_or_else(missing)?;
        let now = Revision { number: 1, html: post.html, author_id: post.author_id, ..Default::default() };
        Ok(Response::new(GetHistoryResponse { revisions: vec![now] }))
    }

    async fn list_by_author(&self, request: Request<ListByAuthorRequest>) -> Answer<ListByAuthorResponse> {
        let request = request.into_inner();
        let viewer = request.options.unwrap().viewer_id;
        let window = request.window.unwrap();
        let state = self.at("list_by_author");
        let own = state.posts.values().rev().filter(|one| one.author_id == request.author_id);
        let within = own.filter(|one| window.max_id == 0 || one.id < window.max_id);
        let posts = within.filter_map(|one| state.seen(viewer, one.id)).take(window.limit as usize).collect();
        Ok(Response::new(ListByAuthorResponse { posts }))
    }

    async fn get_author_stats(
        &self,
        request: Request<GetAuthorStatsRequest>,
    ) -> Answer<GetAuthorStatsResponse> {
        let state = self.at("get_author_stats");
        let of = |author_id| AuthorStats {
            author_id,
            posts: state.posts.values().filter(|one| one.author_id == author_id).count() as u64,
            last_post_ms: 0,
        };
        let stats = request.into_inner().author_ids.into_iter().map(of).collect();
        Ok(Response::new(GetAuthorStatsResponse { stats }))
    }

    async fn get_server_stats(&self, _: Request<GetServerStatsRequest>) -> Answer<GetServerStatsResponse> {
        let posts = self.at("get_server_stats").posts.len() as u64;
        Ok(Response::new(GetServerStatsResponse { posts }))
    }
    absent! {
        pin_post(PinPostRequest) -> PinPostResponse;
        unpin_post(UnpinPostRequest) -> UnpinPostResponse;
        list_outboxes(ListOutboxesRequest) -> ListOutboxesResponse;
        list_by_tag(ListByTagRequest) -> ListByTagResponse;
        resolve_uris(ResolveUrisRequest) -> ResolveUrisResponse;
    }
}

#[tonic::async_trait]
impl reaction_service_server::ReactionService for World {
    async fn like(&self, request: Request<LikeRequest>) -> Answer<LikeResponse> {
        let request = request.into_inner();
        let mut state = self.at("like");
        let actor = request.context.unwrap().actor_id;
        state.seen(actor, request.post_id).ok_or_else(missing)?;
        state.likes.insert((actor, request.post_id));
        Ok(Response::new(LikeResponse { receipt: state.receipt("posting") }))
    }

    async fn unlike(&self, request: Request<UnlikeRequest>) -> Answer<UnlikeResponse> {
        let request = request.into_inner();
        let mut state = self.at("unlike");
        state.likes.remove(&(request.context.unwrap().actor_id, request.post_id));
        Ok(Response::new(UnlikeResponse { receipt: state.receipt("posting") }))
    }

    async fn bookmark(&self, _: Request<BookmarkRequest>) -> Answer<BookmarkResponse> {
        Ok(Response::new(BookmarkResponse { receipt: self.at("bookmark").receipt("posting") }))
    }

    async fn unboost(&self, request: Request<UnboostRequest>) -> Answer<UnboostResponse> {
        let request = request.into_inner();
        let actor = request.context.unwrap().actor_id;
        let mut state = self.at("unboost");
        state.posts.retain(|_, one| {
            one.author_id != actor || one.boosted.as_ref().is_none_or(|inner| inner.id != request.post_id)
        });
        Ok(Response::new(UnboostResponse { receipt: state.receipt("posting") }))
    }

    async fn list_likes(&self, request: Request<ListLikesRequest>) -> Answer<ListLikesResponse> {
        let viewer = request.into_inner().options.unwrap().viewer_id;
        let state = self.at("list_likes");
        let own = state.likes.iter().filter(|(by, _)| *by == viewer);
        let posts = own.map(|(_, id)| ReactedPost { reaction_id: id + 1, post: state.seen(viewer, *id) });
        Ok(Response::new(ListLikesResponse { posts: posts.collect() }))
    }

    async fn list_liked_by(&self, request: Request<ListLikedByRequest>) -> Answer<ListLikedByResponse> {
        let request = request.into_inner();
        let state = self.at("list_liked_by");
        state.seen(request.options.unwrap().viewer_id, request.post_id).ok_or_else(missing)?;
        let who = state.likes.iter().filter(|(_, id)| *id == request.post_id);
        let reactors = who.map(|(by, id)| Reactor { account_id: *by, reaction_id: id + 1 }).collect();
        Ok(Response::new(ListLikedByResponse { reactors }))
    }

    async fn list_boosted_by(&self, request: Request<ListBoostedByRequest>) -> Answer<ListBoostedByResponse> {
        let id = request.into_inner().post_id;
        let state = self.at("list_boosted_by");
        let boosts =
            state.posts.values().filter(|one| one.boosted.as_ref().is_some_and(|inner| inner.id == id));
        let reactors = boosts.map(|one| Reactor { account_id: one.author_id, reaction_id: one.id }).collect();
        Ok(Response::new(ListBoostedByResponse { reactors }))
    }

    async fn boost(&self, request: Request<BoostRequest>) -> Answer<BoostResponse> {
        let request = request.into_inner();
        let mut state = self.at("boost");
        let actor = request.context.unwrap().actor_id;
        let post = state.seen(actor, request.post_id).ok_or_else(missing)?;
        if state.accounts.get(&actor).unwrap().kind() == p92_proto::identity::v1::AccountKind::Corporate {
            let words = "This server does not let corporate accounts boost.";
            return Err(status(ErrorCode::PermissionDenied, "KIND_MAY_NOT_BOOST", words));
        }
        let id = state.post(actor, "", Visibility::Public);
        let boost = state.posts.get_mut(&id).unwrap();
        boost.boosted = Some(Box::new(post));
        boost.html = String::new();
        boost.url = String::new();
        Ok(Response::new(BoostResponse { receipt: state.receipt("posting"), boost_id: id }))
    }
    absent! {
        unbookmark(UnbookmarkRequest) -> UnbookmarkResponse;
        list_bookmarks(ListBookmarksRequest) -> ListBookmarksResponse;
    }
}
