//! Members of a server, as those who moderate it list them.

use super::App;
use super::servers::bad_page_token;
use crate::domain::account::State as AccountState;
use crate::domain::authority::{Over, govern};
use crate::domain::{Account, By, Role};
use crate::tables::{self, MEMBERS};
use crate::wire::enums::{kind_out, role_out, state_out};
use p92_kernel::{AccountId, Failure, Id, PageSize};
use p92_proto::event::v1::ReadOptions;
use p92_proto::identity::v1;
use p92_storage::{Direction, KeyReader, Range};

/// Stretches of 30 days that one page looks through: an empty one costs a read.
const STRETCHES: u64 = 40;
/// Members that one page looks at, whatever the filters leave.
const LOOKED_AT: usize = 1_000;

impl App {
    async fn moderates(&self, options: &ReadOptions) -> Result<(), Failure> {
        let by = self.viewing_capacity(options).await?;
        let over = Over { home: options.server_id, role: Role::Member };
        if by == By::Operator { Ok(()) } else { Ok(govern(by, Role::Moderator, over)?) }
    }

    /// One account as moderators see it.
    pub async fn get_admin_account(
        &self,
        request: v1::GetAdminAccountRequest,
    ) -> Result<v1::GetAdminAccountResponse, Failure> {
        let options = self.fresh(request.options).await?;
        self.moderates(&options).await?;
        let found = self.account(request.account_id).await?.ok_or_else(|| Failure::not_found("account"))?;
        let account = self.admin_account(&found, options.server_id).await?;
        let account = account.ok_or_else(|| Failure::not_found("account"))?;
        Ok(v1::GetAdminAccountResponse { account: Some(account) })
    }

    /// Members, newest first.
    pub async fn list_accounts(
        &self,
        request: v1::ListAccountsRequest,
    ) -> Result<v1::ListAccountsResponse, Failure> {
        let options = self.fresh(request.options.clone()).await?;
        self.moderates(&options).await?;
        let size = PageSize::clamp(request.page_size, 50, 200).get();
        let home = if request.remote { 0 } else { options.server_id };
        let oldest = self.oldest_stretch(home).await?;
        let mut below = match request.page_token.as_str() {
            "" => i64::MAX as u64,
            token => token.parse::<Id>().map_err(|_| bad_page_token())?.get(),
        };
        let newest = tables::stretch(AccountId(Id::floor_of(self.now())));
        let mut stretch = AccountId::new(below).map_or(newest, tables::stretch).min(newest + 1);
        let mut accounts = Vec::new();
        let (mut looked_at, mut looked_through) = (0, 0);
        let next = loop {
            if accounts.len() >= size || looked_at >= LOOKED_AT || looked_through >= STRETCHES {
                break Some(below);
            }
            let ids = self.members_below(home, stretch, below, size - accounts.len()).await?;
            for account in self.accounts(&ids).await?.iter().flatten() {
                if wanted(account, options.server_id, &request) {
                    accounts.extend(self.admin_account(account, options.server_id).await?);
                }
            }
            looked_at += ids.len();
            if let Some(last) = ids.last() {
                below = *last;
                continue;
            }
            if stretch <= oldest {
                break None;
            }
            below = below.min(tables::stretch_floor(stretch));
            stretch -= 1;
            looked_through += 1;
        };
        let next_page_token = next.map(|below| below.to_string()).unwrap_or_default();
        Ok(v1::ListAccountsResponse { accounts, next_page_token })
    }

    async fn members_below(
        &self,
        home: u64,
        stretch: u64,
        below: u64,
        limit: usize,
    ) -> Result<Vec<u64>, Failure> {
        let range = Range { from: Some(tables::falling(below.saturating_sub(1))), to: None };
        let partition = tables::members(home, stretch);
        let page = self.reads().scan(&MEMBERS, partition, range, Direction::Forward, limit, None).await?;
        let id = |(clustering, _): &(bytes::Bytes, p92_storage::Row)| KeyReader::new(clustering).desc();
        page.rows.iter().map(id).collect::<Result<_, _>>().map_err(Failure::internal)
    }

    /// Nobody is older than his server, and nobody from elsewhere than the oldest server.
    async fn oldest_stretch(&self, home: u64) -> Result<u64, Failure> {
        let oldest = if home == 0 {
            let range = Range::all();
            let page = self
                .reads()
                .scan(&tables::SERVERS, tables::servers(), range, Direction::Forward, 1, None)
                .await?;
            let first = page.rows.first().map(|(clustering, _)| KeyReader::new(clustering).num());
            first.transpose().map_err(Failure::internal)?.unwrap_or(home)
        } else {
            home
        };
        Ok(AccountId::new(oldest).map_or(0, tables::stretch))
    }
}

fn wanted(account: &Account, server: u64, request: &v1::ListAccountsRequest) -> bool {
    let Some(state) = account.state_for(server) else { return false };
    let in_state = if request.states.is_empty() {
        state != AccountState::Erased
    } else {
        request.states.contains(&state_out(state))
    };
    let roles = &request.roles;
    let kinds = &request.kinds;
    in_state
        && (roles.is_empty() || roles.contains(&role_out(account.role)))
        && (kinds.is_empty() || kinds.contains(&kind_out(account.kind)))
}
