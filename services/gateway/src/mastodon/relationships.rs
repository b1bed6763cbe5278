//! Follows, requests, blocks and mutes: commands of the actor, and his lists of them.

use super::entity::relationship::{Relationship, relationship};
use super::hydrate::Reader;
use super::key::Key;
use super::page::{ends, page, window};
use super::path::PathId;
use crate::door::caller::{Actor, Caller};
use crate::error::Problem;
use crate::gate::{Gate, ask, there};
use crate::params::Params;
use axum::Json;
use axum::extract::{OriginalUri, State};
use axum::response::Response;
use p92_proto::event::v1::{CommandContext, CommandReceipt};
use p92_proto::identity::v1 as identity;

type Answer = Result<Json<Relationship>, Problem>;

/// `GET /api/v1/accounts/relationships?id[]=…`.
pub async fn many(
    State(gate): State<Gate>,
    caller: Caller,
    params: Params,
) -> Result<Json<Vec<Relationship>>, Problem> {
    let actor = caller.actor("read:follows")?;
    let mut account_ids = params.ids("id")?;
    account_ids.truncate(1_000);
    let options = Some(gate.read_as(&caller, actor.account_id).await);
    let request = identity::GetRelationshipsRequest { options, account_ids };
    let found = ask(gate.deps.relationships.clone().get_relationships(request).await)?.relationships;
    Ok(Json(found.iter().map(relationship).collect()))
}

fn context(gate: &Gate, actor: Actor, key: &Key) -> Option<CommandContext> {
    Some(gate.command(actor.server_id, actor.account_id, actor.app_id, key.as_deref()))
}

async fn done(
    gate: &Gate,
    actor: Actor,
    receipt: Option<CommandReceipt>,
    stands: Option<identity::Relationship>,
) -> Answer {
    gate.tell(actor.account_id, receipt.as_ref()).await;
    Ok(Json(relationship(&there(stands)?)))
}

/// `POST /api/v1/accounts/:id/follow`.
pub async fn follow(
    State(gate): State<Gate>,
    caller: Caller,
    PathId(account_id): PathId,
    key: Key,
    params: Params,
) -> Answer {
    let actor = caller.actor("write:follows")?;
    let request = identity::FollowRequest {
        context: context(&gate, actor, &key),
        account_id,
        show_boosts: params.flag("reblogs")?,
        notify: params.flag("notify")?,
        set_languages: params.has("languages"),
        languages: params.list("languages")?.into_iter().map(str::to_owned).collect(),
        activity_id: String::new(),
    };
    let answer = ask(gate.deps.relationships.clone().follow(request).await)?;
    done(&gate, actor, answer.receipt, answer.relationship).await
}

/// A command that says no more than whom it is about.
macro_rules! plain {
    ($(#[$doc:meta])* $name:ident, $scope:literal, $call:ident, $request:ident $(, $rest:ident: $value:expr)?) => {
        $(#[$doc])*
        pub async fn $name(
            State(gate): State<Gate>,
            caller: Caller,
            PathId(account_id): PathId,
            key: Key,
        ) -> Answer {
            let actor = caller.actor($scope)?;
            let request = identity::$request { context: context(&gate, actor, &key), account_id $(, $rest: $value)? };
            let answer = ask(gate.deps.relationships.clone().$call(request).await)?;
            done(&gate, actor, answer.receipt, answer.relationship).await
        }
    };
}

plain!(
    /// `POST /api/v1/accounts/:id/unfollow`.
    unfollow, "write:follows", unfollow, UnfollowRequest
);
plain!(
    /// `POST /api/v1/accounts/:id/remove_from_followers`.
    remove_follower, "write:follows", remove_follower, RemoveFollowerRequest
);
plain!(
    /// `POST /api/v1/accounts/:id/block`.
    block, "write:blocks", block, BlockRequest, activity_id: String::new()
);
plain!(
    /// `POST /api/v1/accounts/:id/unblock`.
    unblock, "write:blocks", unblock, UnblockRequest
);
plain!(
    /// `POST /api/v1/accounts/:id/unmute`.
    unmute, "write:mutes", unmute, UnmuteRequest
);
plain!(
    /// `POST /api/v1/follow_requests/:account_id/authorize`.
    accept, "write:follows", accept_follow, AcceptFollowRequest
);
plain!(
    /// `POST /api/v1/follow_requests/:account_id/reject`.
    reject, "write:follows", reject_follow, RejectFollowRequest
);

/// `POST /api/v1/accounts/:id/mute`.
pub async fn mute(
    State(gate): State<Gate>,
    caller: Caller,
    PathId(account_id): PathId,
    key: Key,
    params: Params,
) -> Answer {
    let actor = caller.actor("write:mutes")?;
    let request = identity::MuteRequest {
        context: context(&gate, actor, &key),
        account_id,
        notifications: params.flag("notifications")?,
        duration_ms: params.number("duration")?.unwrap_or(0).saturating_mul(1_000),
    };
    let answer = ask(gate.deps.relationships.clone().mute(request).await)?;
    done(&gate, actor, answer.receipt, answer.relationship).await
}

/// `GET /api/v1/follow_requests`.
pub async fn requests(
    State(gate): State<Gate>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    params: Params,
) -> Result<Response, Problem> {
    let actor = caller.actor("read:follows")?;
    let reader = Reader::new(&gate, &caller, actor.account_id).await;
    let window = Some(window(&params, 40, 80)?);
    let request = identity::ListFollowRequestsRequest { options: reader.options(), window };
    let edges = ask(gate.deps.relationships.clone().list_follow_requests(request).await)?.edges;
    let ids: Vec<u64> = edges.iter().map(|edge| edge.account_id).collect();
    let shown = reader.accounts(&ids).await?;
    Ok(page(&caller, &uri, ends(edges.iter().map(|edge| edge.follow_id)), &shown))
}

/// `GET /api/v1/blocks`.
pub async fn blocks(
    State(gate): State<Gate>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    params: Params,
) -> Result<Response, Problem> {
    let actor = caller.actor("read:blocks")?;
    let reader = Reader::new(&gate, &caller, actor.account_id).await;
    let window = Some(window(&params, 40, 80)?);
    let request = identity::ListBlocksRequest { options: reader.options(), window };
    let blocks = ask(gate.deps.relationships.clone().list_blocks(request).await)?.blocks;
    let ids: Vec<u64> = blocks.iter().map(|one| one.account_id).collect();
    let shown = reader.accounts(&ids).await?;
    Ok(page(&caller, &uri, ends(blocks.iter().map(|one| one.id)), &shown))
}

/// A muted account, with when it ends.
#[derive(serde::Serialize)]
struct MutedAccount {
    #[serde(flatten)]
    account: super::entity::account::Account,
    mute_expires_at: Option<String>,
}

/// `GET /api/v1/mutes`.
pub async fn mutes(
    State(gate): State<Gate>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    params: Params,
) -> Result<Response, Problem> {
    let actor = caller.actor("read:mutes")?;
    let reader = Reader::new(&gate, &caller, actor.account_id).await;
    let window = Some(window(&params, 40, 80)?);
    let request = identity::ListMutesRequest { options: reader.options(), window };
    let mutes = ask(gate.deps.relationships.clone().list_mutes(request).await)?.mutes;
    let ids: Vec<u64> = mutes.iter().map(|one| one.account_id).collect();
    let cast = reader.cast(&[], &ids).await?;
    let shown: Vec<MutedAccount> = mutes
        .iter()
        .filter_map(|one| Some((one, cast.account(one.account_id)?)))
        .map(|(one, account)| MutedAccount {
            account: cast.shown(account),
            mute_expires_at: super::entity::moment(one.mute_expires_ms),
        })
        .collect();
    Ok(page(&caller, &uri, ends(mutes.iter().map(|one| one.id)), &shown))
}
