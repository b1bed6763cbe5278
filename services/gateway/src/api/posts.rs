//! Public calls about posts, and their public shape.

use super::lists::{next, window};
use super::{Door, decimal, id, ids, mask, moment, status, wrong};
use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::ask;
use p92_proto::api::v1 as api;
use p92_proto::event::v1::CommandReceipt;
use p92_proto::posting::v1 as posting;
use tonic::{Request, Response, Status};

/// Most posts of one call.
const MANY: usize = 40;
/// A page of posts, and the longest one.
pub const PAGE: u32 = 20;
pub const LARGEST: u32 = 40;

/// A post as others' programs see it.
pub fn post(one: &posting::Post) -> api::Post {
    let counts = one.counts.unwrap_or_default();
    let mention = |one: &posting::Mention| api::Mention {
        account_id: one.account_id.to_string(),
        handle: one.handle.clone(),
        url: one.url.clone(),
    };
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
        viewer: one.marks.as_ref().map(|marks| api::PostViewer {
            liked: marks.liked,
            boosted: marks.boosted,
            bookmarked: marks.bookmarked,
        }),
        mentions: one.mentions.iter().map(mention).collect(),
        tags: one.tags.iter().map(|tag| tag.name.clone()).collect(),
        pinned: one.pinned,
        object_id: one.object_id.clone(),
    }
}

pub fn posts(all: &[posting::Post]) -> Vec<api::Post> {
    all.iter().map(post).collect()
}

impl Door {
    /// Tells of what was written, then shows a post as it stands.
    async fn written(
        &self,
        caller: &Caller,
        account_id: u64,
        receipt: Option<&CommandReceipt>,
        post_id: u64,
    ) -> Result<Option<api::Post>, Status> {
        let shown = async {
            self.gate.tell(account_id, receipt).await;
            self.reader(caller, account_id).await.post(post_id).await
        };
        shown.await.map(|found| Some(post(&found))).map_err(status)
    }

    /// The request of an edit: what the mask does not name stays as its author typed it.
    async fn edit(
        &self,
        caller: &Caller,
        account_id: u64,
        request: api::UpdatePostRequest,
    ) -> Result<posting::EditPostRequest, Status> {
        let paths =
            mask(request.update_mask.as_ref(), &["text", "content_warning", "sensitive", "language"])?;
        let post_id = id(&request.post_id)?;
        let now = self.reader(caller, account_id).await.post(post_id).await.map_err(status)?;
        if now.author_id != account_id || now.boosted.is_some() {
            return Err(status(Problem::not_found()));
        }
        let mut edit = posting::EditPostRequest {
            post_id,
            text: now.text,
            content_warning: now.content_warning,
            sensitive: now.sensitive,
            language: now.language,
            ..posting::EditPostRequest::default()
        };
        for path in paths {
            match path.as_str() {
                "text" => edit.text.clone_from(&request.text),
                "content_warning" => edit.content_warning.clone_from(&request.content_warning),
                "sensitive" => edit.sensitive = request.sensitive,
                _ => edit.language.clone_from(&request.language),
            }
        }
        Ok(edit)
    }

    /// A page of marked posts.
    fn marked(marked: Vec<posting::ReactedPost>, limit: u32) -> (Vec<api::Post>, String) {
        let next = next(marked.iter().map(|one| one.reaction_id), limit);
        (marked.iter().filter_map(|one| one.post.as_ref()).map(post).collect(), next)
    }
}

/// A mark that says no more than which post, answered with the post.
macro_rules! mark {
    ($self:ident, $request:ident, $scope:literal, $call:ident, $command:ident { $($rest:ident: $value:expr)? }, $answer:ident) => {{
        let (caller, actor) = $self.actor(&$request, $scope).await?;
        let request = $request.into_inner();
        let post_id = id(&request.post_id)?;
        let context = $self.command(actor, &request.request_id)?;
        let command = posting::$command { context, post_id $(, $rest: $value)? };
        let answer = ask($self.gate.deps.reactions.clone().$call(command).await).map_err(status)?;
        let post = $self.written(&caller, actor.account_id, answer.receipt.as_ref(), post_id).await?;
        Ok(Response::new(api::$answer { post }))
    }};
}

#[tonic::async_trait]
impl api::post_service_server::PostService for Door {
    async fn create_post(
        &self,
        request: Request<api::CreatePostRequest>,
    ) -> Result<Response<api::CreatePostResponse>, Status> {
        let (caller, actor) = self.actor(&request, "write:statuses").await?;
        let request = request.into_inner();
        if matches!(api::Visibility::try_from(request.visibility), Err(_) | Ok(api::Visibility::Unspecified))
        {
            return Err(wrong("visibility", "VISIBILITY_NEEDED", "Say who sees the post."));
        }
        let publish = posting::PublishPostRequest {
            context: self.command(actor, &request.request_id)?,
            in_reply_to_id: if request.in_reply_to_id.is_empty() { 0 } else { id(&request.in_reply_to_id)? },
            text: request.text,
            content_warning: request.content_warning,
            sensitive: Some(request.sensitive),
            language: Some(request.language),
            visibility: request.visibility,
            remote: None,
        };
        let answer = ask(self.gate.deps.posts.clone().publish_post(publish).await).map_err(status)?;
        let receipt = answer.receipt.as_ref();
        let shown = match &answer.post {
            Some(made) => {
                self.gate.tell(actor.account_id, receipt).await;
                Some(post(made))
            }
            None => self.written(&caller, actor.account_id, receipt, answer.post_id).await?,
        };
        Ok(Response::new(api::CreatePostResponse { post: shown }))
    }

    async fn get_post(
        &self,
        request: Request<api::GetPostRequest>,
    ) -> Result<Response<api::GetPostResponse>, Status> {
        let caller = self.caller(&request).await?;
        let viewer = caller.viewer("read:statuses").map_err(status)?;
        let post_id = id(&request.get_ref().post_id)?;
        let found = self.reader(&caller, viewer).await.post(post_id).await.map_err(status)?;
        Ok(Response::new(api::GetPostResponse { post: Some(post(&found)) }))
    }

    async fn batch_get_posts(
        &self,
        request: Request<api::BatchGetPostsRequest>,
    ) -> Result<Response<api::BatchGetPostsResponse>, Status> {
        let caller = self.caller(&request).await?;
        let viewer = caller.viewer("read:statuses").map_err(status)?;
        let ids = ids("post_ids", &request.get_ref().post_ids, MANY)?;
        let found = self.reader(&caller, viewer).await.posts(&ids).await.map_err(status)?;
        Ok(Response::new(api::BatchGetPostsResponse { posts: posts(&found) }))
    }

    async fn update_post(
        &self,
        request: Request<api::UpdatePostRequest>,
    ) -> Result<Response<api::UpdatePostResponse>, Status> {
        let (caller, actor) = self.actor(&request, "write:statuses").await?;
        let context = self.command(actor, &request.get_ref().request_id)?;
        let edit = self.edit(&caller, actor.account_id, request.into_inner()).await?;
        let post_id = edit.post_id;
        let edit = posting::EditPostRequest { context, ..edit };
        let answer = ask(self.gate.deps.posts.clone().edit_post(edit).await).map_err(status)?;
        let post = self.written(&caller, actor.account_id, answer.receipt.as_ref(), post_id).await?;
        Ok(Response::new(api::UpdatePostResponse { post }))
    }

    async fn delete_post(
        &self,
        request: Request<api::DeletePostRequest>,
    ) -> Result<Response<api::DeletePostResponse>, Status> {
        let (_, actor) = self.actor(&request, "write:statuses").await?;
        let request = request.into_inner();
        let context = self.command(actor, &request.request_id)?;
        let delete = posting::DeletePostRequest { context, post_id: id(&request.post_id)? };
        let answer = ask(self.gate.deps.posts.clone().delete_post(delete).await).map_err(status)?;
        self.gate.tell(actor.account_id, answer.receipt.as_ref()).await;
        Ok(Response::new(api::DeletePostResponse {}))
    }

    async fn get_thread(
        &self,
        request: Request<api::GetThreadRequest>,
    ) -> Result<Response<api::GetThreadResponse>, Status> {
        let caller = self.caller(&request).await?;
        let viewer = caller.viewer("read:statuses").map_err(status)?;
        let post_id = id(&request.get_ref().post_id)?;
        let options = self.reader(&caller, viewer).await.options();
        let get = posting::GetContextRequest { options, post_id };
        let thread = ask(self.gate.deps.posts.clone().get_context(get).await).map_err(status)?;
        let (ancestors, descendants) = (posts(&thread.ancestors), posts(&thread.descendants));
        Ok(Response::new(api::GetThreadResponse { ancestors, descendants }))
    }

    async fn list_post_revisions(
        &self,
        request: Request<api::ListPostRevisionsRequest>,
    ) -> Result<Response<api::ListPostRevisionsResponse>, Status> {
        let caller = self.caller(&request).await?;
        let viewer = caller.viewer("read:statuses").map_err(status)?;
        let post_id = id(&request.get_ref().post_id)?;
        let options = self.reader(&caller, viewer).await.options();
        let get = posting::GetHistoryRequest { options, post_id };
        let history = ask(self.gate.deps.posts.clone().get_history(get).await).map_err(status)?;
        let revisions = history.revisions.into_iter().map(|one| api::PostRevision {
            html: one.html,
            content_warning: one.content_warning,
            sensitive: one.sensitive,
            create_time: moment(one.created_ms),
        });
        Ok(Response::new(api::ListPostRevisionsResponse { revisions: revisions.collect() }))
    }

    async fn list_author_posts(
        &self,
        request: Request<api::ListAuthorPostsRequest>,
    ) -> Result<Response<api::ListAuthorPostsResponse>, Status> {
        let caller = self.caller(&request).await?;
        let viewer = caller.viewer("read:statuses").map_err(status)?;
        let request = request.into_inner();
        let window = window(request.page_size, &request.page_token, PAGE, LARGEST)?;
        let author_id = id(&request.author_id)?;
        let reader = self.reader(&caller, viewer).await;
        let list = posting::ListByAuthorRequest {
            options: reader.options(),
            author_id,
            window: Some(window),
            exclude_replies: request.exclude_replies,
            exclude_boosts: request.exclude_boosts,
            pinned: request.pinned,
            ..posting::ListByAuthorRequest::default()
        };
        let found = ask(self.gate.deps.posts.clone().list_by_author(list).await).map_err(status)?.posts;
        if found.is_empty() && reader.accounts(&[author_id]).await.map_err(status)?.is_empty() {
            return Err(status(Problem::not_found()));
        }
        // Pinned ones stand in the order of pinning and are few: there is no next page.
        let next_page_token =
            if request.pinned { String::new() } else { next(found.iter().map(|one| one.id), window.limit) };
        Ok(Response::new(api::ListAuthorPostsResponse { posts: posts(&found), next_page_token }))
    }

    async fn like_post(
        &self,
        request: Request<api::LikePostRequest>,
    ) -> Result<Response<api::LikePostResponse>, Status> {
        mark!(self, request, "write:favourites", like, LikeRequest { remote: None }, LikePostResponse)
    }

    async fn unlike_post(
        &self,
        request: Request<api::UnlikePostRequest>,
    ) -> Result<Response<api::UnlikePostResponse>, Status> {
        mark!(self, request, "write:favourites", unlike, UnlikeRequest {}, UnlikePostResponse)
    }

    async fn boost_post(
        &self,
        request: Request<api::BoostPostRequest>,
    ) -> Result<Response<api::BoostPostResponse>, Status> {
        let (caller, actor) = self.actor(&request, "write:statuses").await?;
        let request = request.into_inner();
        let boost = posting::BoostRequest {
            context: self.command(actor, &request.request_id)?,
            post_id: id(&request.post_id)?,
            visibility: request.visibility,
            ..posting::BoostRequest::default()
        };
        let answer = ask(self.gate.deps.reactions.clone().boost(boost).await).map_err(status)?;
        let post = self.written(&caller, actor.account_id, answer.receipt.as_ref(), answer.boost_id).await?;
        Ok(Response::new(api::BoostPostResponse { post }))
    }

    async fn unboost_post(
        &self,
        request: Request<api::UnboostPostRequest>,
    ) -> Result<Response<api::UnboostPostResponse>, Status> {
        mark!(self, request, "write:statuses", unboost, UnboostRequest {}, UnboostPostResponse)
    }

    async fn bookmark_post(
        &self,
        request: Request<api::BookmarkPostRequest>,
    ) -> Result<Response<api::BookmarkPostResponse>, Status> {
        mark!(self, request, "write:bookmarks", bookmark, BookmarkRequest {}, BookmarkPostResponse)
    }

    async fn unbookmark_post(
        &self,
        request: Request<api::UnbookmarkPostRequest>,
    ) -> Result<Response<api::UnbookmarkPostResponse>, Status> {
        mark!(self, request, "write:bookmarks", unbookmark, UnbookmarkRequest {}, UnbookmarkPostResponse)
    }

    async fn list_bookmarked_posts(
        &self,
        request: Request<api::ListBookmarkedPostsRequest>,
    ) -> Result<Response<api::ListBookmarkedPostsResponse>, Status> {
        let (caller, actor) = self.actor(&request, "read:bookmarks").await?;
        let request = request.into_inner();
        let window = window(request.page_size, &request.page_token, PAGE, LARGEST)?;
        let options = self.reader(&caller, actor.account_id).await.options();
        let list = posting::ListBookmarksRequest { options, window: Some(window) };
        let found = ask(self.gate.deps.reactions.clone().list_bookmarks(list).await).map_err(status)?.posts;
        let (posts, next_page_token) = Self::marked(found, window.limit);
        Ok(Response::new(api::ListBookmarkedPostsResponse { posts, next_page_token }))
    }

    async fn list_liked_posts(
        &self,
        request: Request<api::ListLikedPostsRequest>,
    ) -> Result<Response<api::ListLikedPostsResponse>, Status> {
        let (caller, actor) = self.actor(&request, "read:favourites").await?;
        let request = request.into_inner();
        let window = window(request.page_size, &request.page_token, PAGE, LARGEST)?;
        let options = self.reader(&caller, actor.account_id).await.options();
        let list = posting::ListLikesRequest { options, window: Some(window) };
        let found = ask(self.gate.deps.reactions.clone().list_likes(list).await).map_err(status)?.posts;
        let (posts, next_page_token) = Self::marked(found, window.limit);
        Ok(Response::new(api::ListLikedPostsResponse { posts, next_page_token }))
    }
}
