//! Public calls about relationships, and their public shape.

use super::accounts::accounts;
use super::lists::{next, window};
use super::{Door, id, ids, moment, status, wrong};
use crate::error::Problem;
use crate::gate::{ask, there};
use crate::mastodon::hydrate::Reader;
use p92_proto::api::v1 as api;
use p92_proto::identity::v1 as identity;
use tonic::{Request, Response, Status};

/// A page of accounts, and the longest one.
const PAGE: u32 = 40;
const LARGEST: u32 = 80;
/// Most relationships of one call.
const MANY: usize = 1_000;

/// A relationship as others' programs see it. Who mutes the caller is never told.
fn relationship(one: &identity::Relationship) -> api::Relationship {
    api::Relationship {
        account_id: one.account_id.to_string(),
        // Both enums have the same values on purpose.
        following: one.following,
        followed_by: one.followed_by,
        show_boosts: one.show_boosts,
        notify: one.notify,
        languages: one.languages.clone(),
        blocking: one.blocking,
        blocked_by: one.blocked_by,
        muting: one.muting,
        muting_notifications: one.muting_notifications,
        mute_expire_time: moment(one.mute_expires_ms),
    }
}

fn length(duration: Option<&prost_types::Duration>) -> Result<u64, Status> {
    let Some(duration) = duration else { return Ok(0) };
    let ms = u64::try_from(duration.seconds).ok().map(|seconds| seconds.saturating_mul(1_000));
    let ms = ms.zip(u64::try_from(duration.nanos / 1_000_000).ok()).map(|(ms, more)| ms.saturating_add(more));
    ms.filter(|ms| *ms > 0)
        .ok_or_else(|| wrong("duration", "BAD_DURATION", "A mute lasts more than nothing."))
}

/// The accounts at the other ends of these edges; NOT_FOUND if the one whose edges they are may not be seen.
async fn edges_page(
    reader: &Reader<'_>,
    account_id: u64,
    edges: &[identity::FollowEdge],
    limit: u32,
) -> Result<(Vec<api::Account>, String), Status> {
    let ids: Vec<u64> = std::iter::once(account_id).chain(edges.iter().map(|edge| edge.account_id)).collect();
    let mut shown = accounts(reader, &ids).await?;
    if shown.first().is_none_or(|first| first.id != account_id.to_string()) {
        return Err(status(Problem::not_found()));
    }
    shown.remove(0);
    Ok((shown, next(edges.iter().map(|edge| edge.follow_id), limit)))
}

/// A command that says whom it is about, answered with how the caller stands to the other now.
macro_rules! stand {
    ($self:ident, $request:ident, $scope:literal, $call:ident, $command:ident { $($rest:ident: $value:expr),* }, $answer:ident) => {{
        let (_, actor) = $self.actor(&$request, $scope).await?;
        let request = $request.into_inner();
        let context = $self.command(actor, &request.request_id)?;
        let command = identity::$command { context, account_id: id(&request.account_id)?, $($rest: $value),* };
        let answer = ask($self.gate.deps.relationships.clone().$call(command).await).map_err(status)?;
        $self.gate.tell(actor.account_id, answer.receipt.as_ref()).await;
        let stands = there(answer.relationship).map_err(status)?;
        Ok(Response::new(api::$answer { relationship: Some(relationship(&stands)) }))
    }};
}

#[tonic::async_trait]
impl api::relationship_service_server::RelationshipService for Door {
    async fn batch_get_relationships(
        &self,
        request: Request<api::BatchGetRelationshipsRequest>,
    ) -> Result<Response<api::BatchGetRelationshipsResponse>, Status> {
        let (caller, actor) = self.actor(&request, "read:follows").await?;
        let account_ids = ids("account_ids", &request.get_ref().account_ids, MANY)?;
        let options = self.reader(&caller, actor.account_id).await.options();
        let get = identity::GetRelationshipsRequest { options, account_ids };
        let found = ask(self.gate.deps.relationships.clone().get_relationships(get).await).map_err(status)?;
        let relationships = found.relationships.iter().map(relationship).collect();
        Ok(Response::new(api::BatchGetRelationshipsResponse { relationships }))
    }

    async fn follow_account(
        &self,
        request: Request<api::FollowAccountRequest>,
    ) -> Result<Response<api::FollowAccountResponse>, Status> {
        let (_, actor) = self.actor(&request, "write:follows").await?;
        let request = request.into_inner();
        let follow = identity::FollowRequest {
            context: self.command(actor, &request.request_id)?,
            account_id: id(&request.account_id)?,
            show_boosts: request.show_boosts,
            notify: request.notify,
            ..identity::FollowRequest::default()
        };
        let answer = ask(self.gate.deps.relationships.clone().follow(follow).await).map_err(status)?;
        self.gate.tell(actor.account_id, answer.receipt.as_ref()).await;
        let stands = there(answer.relationship).map_err(status)?;
        Ok(Response::new(api::FollowAccountResponse { relationship: Some(relationship(&stands)) }))
    }

    async fn mute_account(
        &self,
        request: Request<api::MuteAccountRequest>,
    ) -> Result<Response<api::MuteAccountResponse>, Status> {
        let (_, actor) = self.actor(&request, "write:mutes").await?;
        let request = request.into_inner();
        let mute = identity::MuteRequest {
            context: self.command(actor, &request.request_id)?,
            account_id: id(&request.account_id)?,
            notifications: request.notifications,
            duration_ms: length(request.duration.as_ref())?,
        };
        let answer = ask(self.gate.deps.relationships.clone().mute(mute).await).map_err(status)?;
        self.gate.tell(actor.account_id, answer.receipt.as_ref()).await;
        let stands = there(answer.relationship).map_err(status)?;
        Ok(Response::new(api::MuteAccountResponse { relationship: Some(relationship(&stands)) }))
    }

    async fn unfollow_account(
        &self,
        request: Request<api::UnfollowAccountRequest>,
    ) -> Result<Response<api::UnfollowAccountResponse>, Status> {
        stand!(self, request, "write:follows", unfollow, UnfollowRequest {}, UnfollowAccountResponse)
    }

    async fn remove_follower(
        &self,
        request: Request<api::RemoveFollowerRequest>,
    ) -> Result<Response<api::RemoveFollowerResponse>, Status> {
        stand!(
            self,
            request,
            "write:follows",
            remove_follower,
            RemoveFollowerRequest {},
            RemoveFollowerResponse
        )
    }

    async fn accept_follow_request(
        &self,
        request: Request<api::AcceptFollowRequestRequest>,
    ) -> Result<Response<api::AcceptFollowRequestResponse>, Status> {
        stand!(
            self,
            request,
            "write:follows",
            accept_follow,
            AcceptFollowRequest {},
            AcceptFollowRequestResponse
        )
    }

    async fn reject_follow_request(
        &self,
        request: Request<api::RejectFollowRequestRequest>,
    ) -> Result<Response<api::RejectFollowRequestResponse>, Status> {
        stand!(
            self,
            request,
            "write:follows",
            reject_follow,
            RejectFollowRequest {},
            RejectFollowRequestResponse
        )
    }

    async fn block_account(
        &self,
        request: Request<api::BlockAccountRequest>,
    ) -> Result<Response<api::BlockAccountResponse>, Status> {
        stand!(
            self,
            request,
            "write:blocks",
            block,
            BlockRequest { activity_id: String::new() },
            BlockAccountResponse
        )
    }

    async fn unblock_account(
        &self,
        request: Request<api::UnblockAccountRequest>,
    ) -> Result<Response<api::UnblockAccountResponse>, Status> {
        stand!(self, request, "write:blocks", unblock, UnblockRequest {}, UnblockAccountResponse)
    }

    async fn unmute_account(
        &self,
        request: Request<api::UnmuteAccountRequest>,
    ) -> Result<Response<api::UnmuteAccountResponse>, Status> {
        stand!(self, request, "write:mutes", unmute, UnmuteRequest {}, UnmuteAccountResponse)
    }

    async fn list_followers(
        &self,
        request: Request<api::ListFollowersRequest>,
    ) -> Result<Response<api::ListFollowersResponse>, Status> {
        let caller = self.caller(&request).await?;
        let viewer = caller.viewer("read:accounts").map_err(status)?;
        let request = request.into_inner();
        let window = window(request.page_size, &request.page_token, PAGE, LARGEST)?;
        let reader = self.reader(&caller, viewer).await;
        let account_id = id(&request.account_id)?;
        let list =
            identity::ListFollowersRequest { options: reader.options(), account_id, window: Some(window) };
        let edges =
            ask(self.gate.deps.relationships.clone().list_followers(list).await).map_err(status)?.edges;
        let (accounts, next_page_token) = edges_page(&reader, account_id, &edges, window.limit).await?;
        Ok(Response::new(api::ListFollowersResponse { accounts, next_page_token }))
    }

    async fn list_following(
        &self,
        request: Request<api::ListFollowingRequest>,
    ) -> Result<Response<api::ListFollowingResponse>, Status> {
        let caller = self.caller(&request).await?;
        let viewer = caller.viewer("read:accounts").map_err(status)?;
        let request = request.into_inner();
        let window = window(request.page_size, &request.page_token, PAGE, LARGEST)?;
        let reader = self.reader(&caller, viewer).await;
        let account_id = id(&request.account_id)?;
        let list =
            identity::ListFollowingRequest { options: reader.options(), account_id, window: Some(window) };
        let edges =
            ask(self.gate.deps.relationships.clone().list_following(list).await).map_err(status)?.edges;
        let (accounts, next_page_token) = edges_page(&reader, account_id, &edges, window.limit).await?;
        Ok(Response::new(api::ListFollowingResponse { accounts, next_page_token }))
    }

    async fn list_follow_requests(
        &self,
        request: Request<api::ListFollowRequestsRequest>,
    ) -> Result<Response<api::ListFollowRequestsResponse>, Status> {
        let (caller, actor) = self.actor(&request, "read:follows").await?;
        let window = window(request.get_ref().page_size, &request.get_ref().page_token, PAGE, LARGEST)?;
        let reader = self.reader(&caller, actor.account_id).await;
        let list = identity::ListFollowRequestsRequest { options: reader.options(), window: Some(window) };
        let found =
            ask(self.gate.deps.relationships.clone().list_follow_requests(list).await).map_err(status)?.edges;
        let ids: Vec<u64> = found.iter().map(|one| one.account_id).collect();
        let next_page_token = next(found.iter().map(|one| one.follow_id), window.limit);
        let accounts = accounts(&reader, &ids).await?;
        Ok(Response::new(api::ListFollowRequestsResponse { accounts, next_page_token }))
    }

    async fn list_blocked_accounts(
        &self,
        request: Request<api::ListBlockedAccountsRequest>,
    ) -> Result<Response<api::ListBlockedAccountsResponse>, Status> {
        let (caller, actor) = self.actor(&request, "read:blocks").await?;
        let window = window(request.get_ref().page_size, &request.get_ref().page_token, PAGE, LARGEST)?;
        let reader = self.reader(&caller, actor.account_id).await;
        let list = identity::ListBlocksRequest { options: reader.options(), window: Some(window) };
        let found = ask(self.gate.deps.relationships.clone().list_blocks(list).await).map_err(status)?.blocks;
        let ids: Vec<u64> = found.iter().map(|one| one.account_id).collect();
        let next_page_token = next(found.iter().map(|one| one.id), window.limit);
        let accounts = accounts(&reader, &ids).await?;
        Ok(Response::new(api::ListBlockedAccountsResponse { accounts, next_page_token }))
    }

    async fn list_muted_accounts(
        &self,
        request: Request<api::ListMutedAccountsRequest>,
    ) -> Result<Response<api::ListMutedAccountsResponse>, Status> {
        let (caller, actor) = self.actor(&request, "read:mutes").await?;
        let window = window(request.get_ref().page_size, &request.get_ref().page_token, PAGE, LARGEST)?;
        let reader = self.reader(&caller, actor.account_id).await;
        let list = identity::ListMutesRequest { options: reader.options(), window: Some(window) };
        let found = ask(self.gate.deps.relationships.clone().list_mutes(list).await).map_err(status)?.mutes;
        let ids: Vec<u64> = found.iter().map(|one| one.account_id).collect();
        let next_page_token = next(found.iter().map(|one| one.id), window.limit);
        let accounts = accounts(&reader, &ids).await?;
        Ok(Response::new(api::ListMutedAccountsResponse { accounts, next_page_token }))
    }
}
