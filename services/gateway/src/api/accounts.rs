//! Public calls about accounts, and their public shape.

use super::{Door, id, ids, mask, moment, status, wrong};
use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::{ask, there};
use crate::mastodon::hydrate::Reader;
use crate::mastodon::text;
use api::get_account_request::Account as Asked;
use p92_proto::api::v1 as api;
use p92_proto::identity::v1 as identity;
use p92_proto::identity::v1::get_account_request::Account as Which;
use p92_proto::posting::v1::AuthorStats;
use tonic::{Request, Response, Status};

/// Most accounts of one call.
const MANY: usize = 40;
const DAY: u64 = 86_400_000;

/// An account as others' programs see it.
pub fn account(one: &identity::Account, stats: Option<&AuthorStats>) -> api::Account {
    let is_local = one.server_id != 0;
    let ids = one.activity_pub.clone().unwrap_or_default();
    let field = |field: &identity::ProfileField| api::ProfileField {
        name: field.name.clone(),
        value: if is_local { field.value.clone() } else { text::cleaned(&field.value) },
    };
    api::Account {
        id: one.id.to_string(),
        handle: one.handle.clone(),
        domain: one.domain.clone(),
        // Both enums have the same values on purpose.
        kind: one.kind,
        display_name: one.display_name.clone(),
        note_html: if is_local { text::paragraphs(&one.note) } else { text::cleaned(&one.note) },
        note: if is_local { one.note.clone() } else { String::new() },
        fields: one.fields.iter().map(field).collect(),
        avatar_url: one.avatar_url.clone(),
        header_url: one.header_url.clone(),
        locked: one.locked,
        bot: one.bot,
        discoverable: one.discoverable,
        indexable: one.indexable,
        hide_follows: one.hide_follows,
        create_time: moment(one.created_ms - one.created_ms % DAY),
        follower_count: one.followers_count,
        following_count: one.following_count,
        post_count: stats.map_or(0, |stats| stats.posts),
        url: if ids.url.is_empty() { ids.id.clone() } else { ids.url },
        actor_id: ids.id,
    }
}

/// Accounts in the order of these ids; who may not be seen is left out.
pub async fn accounts(reader: &Reader<'_>, ids: &[u64]) -> Result<Vec<api::Account>, Status> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let cast = reader.cast(&[], ids).await.map_err(status)?;
    let shown = |id: &u64| cast.account(*id).map(|one| account(one, cast.stats(*id)));
    Ok(ids.iter().filter_map(shown).collect())
}

impl Door {
    async fn find(&self, caller: &Caller, viewer: u64, which: Which) -> Result<Option<api::Account>, Status> {
        let found = async {
            let reader = self.reader(caller, viewer).await;
            let get = identity::GetAccountRequest { options: reader.options(), account: Some(which) };
            let found = there(ask(self.gate.deps.accounts.clone().get_account(get).await)?.account)?;
            let stats = reader.stats_of(found.id).await?;
            Ok(account(&found, stats.as_ref()))
        };
        found.await.map(Some).map_err(|problem: Problem| match problem.status {
            // What is no handle names nobody.
            http::StatusCode::UNPROCESSABLE_ENTITY => status(Problem::not_found()),
            _ => status(problem),
        })
    }
}

#[tonic::async_trait]
impl api::account_service_server::AccountService for Door {
    async fn get_account(
        &self,
        request: Request<api::GetAccountRequest>,
    ) -> Result<Response<api::GetAccountResponse>, Status> {
        let caller = self.caller(&request).await?;
        let viewer = caller.viewer("read:accounts").map_err(status)?;
        let which = match request.into_inner().account {
            Some(Asked::Id(text)) => Which::Id(id(&text)?),
            Some(Asked::Handle(handle)) if !handle.is_empty() && handle.len() <= 400 => Which::Handle(handle),
            Some(Asked::Handle(_)) => return Err(status(Problem::not_found())),
            None => return Err(wrong("account", "ACCOUNT_NEEDED", "Name an account by id or handle.")),
        };
        let account = self.find(&caller, viewer, which).await?;
        Ok(Response::new(api::GetAccountResponse { account }))
    }

    async fn batch_get_accounts(
        &self,
        request: Request<api::BatchGetAccountsRequest>,
    ) -> Result<Response<api::BatchGetAccountsResponse>, Status> {
        let caller = self.caller(&request).await?;
        let viewer = caller.viewer("read:accounts").map_err(status)?;
        let ids = ids("ids", &request.get_ref().ids, MANY)?;
        let accounts = accounts(&self.reader(&caller, viewer).await, &ids).await?;
        Ok(Response::new(api::BatchGetAccountsResponse { accounts }))
    }

    async fn get_own_account(
        &self,
        request: Request<api::GetOwnAccountRequest>,
    ) -> Result<Response<api::GetOwnAccountResponse>, Status> {
        let (caller, actor) = self.actor(&request, "profile").await?;
        let account = self.find(&caller, actor.account_id, Which::Id(actor.account_id)).await?;
        Ok(Response::new(api::GetOwnAccountResponse { account }))
    }

    async fn update_own_account(
        &self,
        request: Request<api::UpdateOwnAccountRequest>,
    ) -> Result<Response<api::UpdateOwnAccountResponse>, Status> {
        const KNOWN: [&str; 8] =
            ["display_name", "note", "fields", "locked", "bot", "discoverable", "indexable", "hide_follows"];
        let (caller, actor) = self.actor(&request, "write:accounts").await?;
        let request = request.into_inner();
        let paths = mask(request.update_mask.as_ref(), &KNOWN)?;
        let new = request.account.unwrap_or_default();
        let field = |one: api::ProfileField| identity::ProfileField { name: one.name, value: one.value };
        let update = identity::UpdateProfileRequest {
            context: self.command(actor, &request.request_id)?,
            update_mask: Some(prost_types::FieldMask { paths }),
            account: Some(identity::Account {
                display_name: new.display_name,
                note: new.note,
                fields: new.fields.into_iter().map(field).collect(),
                locked: new.locked,
                bot: new.bot,
                discoverable: new.discoverable,
                indexable: new.indexable,
                hide_follows: new.hide_follows,
                ..identity::Account::default()
            }),
        };
        let answer = ask(self.gate.deps.accounts.clone().update_profile(update).await).map_err(status)?;
        self.gate.remember(actor.account_id, answer.receipt.as_ref()).await;
        let account = self.find(&caller, actor.account_id, Which::Id(actor.account_id)).await?;
        Ok(Response::new(api::UpdateOwnAccountResponse { account }))
    }
}
