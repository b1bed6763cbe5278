//! Ways to find accounts: by id, handle, ActivityPub id, and by the beginning of a handle.

use super::App;
use super::answers::Viewer;
use crate::domain::handle::{fold, prefixes, split_mention};
use crate::domain::relationship::{Follow, Pair};
use crate::domain::{Account, host};
use crate::error::too_many;
use crate::tables::{self, ACTIVITY_PUB, BEGINNINGS, HANDLES};
use crate::wire::account::preferences_out;
use futures::future::try_join;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use p92_kernel::{Failure, PageSize};
use p92_proto::identity::v1;
use p92_storage::{Direction, KeyReader, Range, Table};
use std::collections::BTreeSet;

const BATCH: usize = 500;
/// Accounts of a batch that are opened at once.
const AT_ONCE: usize = 32;
const FACTS: usize = 1_000;
const HANDLES_AT_ONCE: usize = 100;
const QUERY_CHARACTERS: usize = 300;
/// Candidates that one completion looks at: most of them are not shown.
const CANDIDATES: usize = 400;
/// The longest ActivityPub id that is looked up.
pub(crate) const ID_BYTES: usize = 2_000;

fn nobody() -> Failure {
    Failure::not_found("account")
}

impl App {
    /// One account.
    pub async fn get_account(
        &self,
        request: v1::GetAccountRequest,
    ) -> Result<v1::GetAccountResponse, Failure> {
        use v1::get_account_request::Account as By;
        let options = self.fresh(request.options).await?;
        let viewer = Viewer::from(&options);
        let found = match request.account {
            Some(By::Id(id)) => self.account(id).await?,
            Some(By::Handle(handle)) => self.by_mention(&handle, viewer.server).await?,
            Some(By::ActivityPubId(id)) => self.by_activity_pub_id(&id).await?,
            None => return Err(Failure::invalid("account", "ACCOUNT_NEEDED", "Which account?")),
        };
        let found = found.ok_or_else(nobody)?;
        let account = self.shown(&found, viewer).await?;
        Ok(v1::GetAccountResponse { account: Some(account.ok_or_else(nobody)?) })
    }

    /// Who acts: neither counts nor a profile, which no command is decided by.
    pub async fn get_actor(&self, request: v1::GetActorRequest) -> Result<v1::GetActorResponse, Failure> {
        let options = self.fresh(request.options).await?;
        let viewer = Viewer::from(&options);
        let account = self.account(viewer.account).await?.ok_or_else(nobody)?;
        viewer.sees(&account).ok_or_else(nobody)?;
        let home = async {
            match account.born.home {
                0 => Ok(None),
                home => super::servers::shown(self.server(home).await?).map(Some),
            }
        };
        let (activity_pub, home) = try_join(self.addresses(&account, Some(viewer.asked)), home).await?;
        Ok(v1::GetActorResponse {
            facts: Self::facts(&account, options.server_id),
            activity_pub,
            preferences: Some(preferences_out(&account.preferences)),
            home,
        })
    }

    /// Those of the ids that may be seen.
    pub async fn batch_get_accounts(
        &self,
        request: v1::BatchGetAccountsRequest,
    ) -> Result<v1::BatchGetAccountsResponse, Failure> {
        let options = self.fresh(request.options).await?;
        if request.ids.len() > BATCH {
            return Err(too_many("ids", BATCH));
        }
        let viewer = Viewer::from(&options);
        let found = self.accounts(&request.ids).await?;
        // Each asks for its counts and keys.
        let shown = found.iter().flatten().map(|account| self.shown(account, viewer).boxed());
        let shown: Vec<Option<v1::Account>> =
            futures::stream::iter(shown.collect::<Vec<_>>()).buffered(AT_ONCE).try_collect().await?;
        Ok(v1::BatchGetAccountsResponse { accounts: shown.into_iter().flatten().collect() })
    }

    /// What services must know to judge.
    pub async fn batch_get_account_facts(
        &self,
        request: v1::BatchGetAccountFactsRequest,
    ) -> Result<v1::BatchGetAccountFactsResponse, Failure> {
        let options = self.fresh(request.options).await?;
        if request.ids.len() > FACTS {
            return Err(too_many("ids", FACTS));
        }
        let found = self.accounts(&request.ids).await?;
        let facts = found.iter().flatten().filter_map(|account| Self::facts(account, options.server_id));
        Ok(v1::BatchGetAccountFactsResponse { accounts: facts.collect() })
    }

    /// The account that a mention names: `name` on the asking server, `name@domain` anywhere.
    pub(crate) async fn by_mention(&self, text: &str, server: u64) -> Result<Option<Account>, Failure> {
        let Some((name, domain)) = split_mention(text) else { return Ok(None) };
        let (home, host) = match domain {
            None => (server, String::new()),
            Some(domain) => match self.server_named(domain).await? {
                Some(server) => (server.born.id, String::new()),
                None => match host::domain(domain) {
                    Ok(domain) => (0, domain),
                    Err(_) => return Ok(None),
                },
            },
        };
        self.by_handle(home, &host, name).await
    }

    /// The account with a handle on a home, or (0) on a remote host: the youngest that lives, since a remote host may
    /// give a handle anew.
    pub(crate) async fn by_handle(
        &self,
        home: u64,
        host: &str,
        name: &str,
    ) -> Result<Option<Account>, Failure> {
        let key = self.handle_key(home, host, &fold(name));
        self.youngest(&HANDLES, tables::blind(&key)).await
    }

    /// The account with an ActivityPub id.
    pub(crate) async fn by_activity_pub_id(&self, id: &str) -> Result<Option<Account>, Failure> {
        if id.is_empty() || id.len() > ID_BYTES {
            return Ok(None);
        }
        self.youngest(&ACTIVITY_PUB, tables::blind(&self.activity_pub_key(id))).await
    }

    async fn youngest(&self, table: &'static Table, name: bytes::Bytes) -> Result<Option<Account>, Failure> {
        let page = self.reads().scan(table, name, Range::all(), Direction::Backward, 5, None).await?;
        for (clustering, _) in page.rows {
            let id = KeyReader::new(&clustering).num().map_err(Failure::internal)?;
            let found = self.account(id).await?;
            if let Some(account) = found.filter(|account| account.state_for(0).is_some()) {
                return Ok(Some(account));
            }
        }
        Ok(None)
    }

    /// The accounts that handles name.
    pub async fn resolve_handles(
        &self,
        request: v1::ResolveHandlesRequest,
    ) -> Result<v1::ResolveHandlesResponse, Failure> {
        let options = self.fresh(request.options).await?;
        if request.handles.len() > HANDLES_AT_ONCE {
            return Err(too_many("handles", HANDLES_AT_ONCE));
        }
        let viewer = Viewer::from(&options);
        let mut handles = Vec::new();
        for handle in request.handles {
            let Some(found) = self.by_mention(&handle, viewer.server).await? else { continue };
            if let Some(account) = self.shown(&found, viewer).await? {
                handles.push(v1::ResolvedHandle { handle, account: Some(account) });
            }
        }
        Ok(v1::ResolveHandlesResponse { handles })
    }

    /// Accounts whose handle begins so.
    pub async fn search_accounts(
        &self,
        request: v1::SearchAccountsRequest,
    ) -> Result<v1::SearchAccountsResponse, Failure> {
        let options = self.fresh(request.options).await?;
        let viewer = Viewer::from(&options);
        let query = request.query.trim();
        if query.is_empty() || query.chars().count() > QUERY_CHARACTERS {
            let text = format!("A query has 1 to {QUERY_CHARACTERS} characters.");
            return Err(Failure::invalid("query", "QUERY_LENGTH", text));
        }
        let limit = PageSize::clamp(request.limit, 40, 80).get();
        let exact = self.by_mention(query, viewer.server).await?;
        let name = query.strip_prefix('@').unwrap_or(query);
        let mut found: Vec<Account> = exact.iter().cloned().collect();
        // With a domain it is the name of one account, not the beginning of many.
        if !name.contains('@') {
            found.extend(self.beginning_with(&fold(name), viewer).await?);
        }
        let mut seen = BTreeSet::new();
        let mut accounts = Vec::new();
        for account in found {
            if accounts.len() == limit || !seen.insert(account.born.id) {
                continue;
            }
            let named = exact.as_ref().is_some_and(|exact| exact.born.id == account.born.id);
            if self.may_be_found(&account, viewer, named, request.following).await? {
                accounts.extend(self.shown(&account, viewer).await?);
            }
        }
        Ok(v1::SearchAccountsResponse { accounts })
    }

    /// Candidates of the asking server and from elsewhere, shorter handles first.
    async fn beginning_with(&self, folded: &str, viewer: Viewer) -> Result<Vec<Account>, Failure> {
        let Some(kept) = prefixes(folded).last() else { return Ok(Vec::new()) };
        let mut candidates = BTreeSet::new();
        for home in BTreeSet::from([viewer.server, 0]) {
            let partition = tables::blind(&self.beginning_key(home, kept));
            let reads = self.reads();
            let page = reads.scan(&BEGINNINGS, partition, Range::all(), Direction::Forward, CANDIDATES, None);
            for (clustering, _) in page.await?.rows {
                let mut reader = KeyReader::new(&clustering);
                let place = reader.small().and_then(|length| Ok((length, reader.num()?)));
                candidates.insert(place.map_err(Failure::internal)?);
            }
        }
        let ids: Vec<u64> = candidates.into_iter().take(CANDIDATES).map(|(_, id)| id).collect();
        let mut accounts = Vec::new();
        for account in self.accounts(&ids).await?.into_iter().flatten() {
            // Only beginnings up to a length are kept; the rest is compared here.
            if kept == folded || fold(&self.open(Some(&account.born.handle)).await?).starts_with(folded) {
                accounts.push(account);
            }
        }
        Ok(accounts)
    }

    async fn may_be_found(
        &self,
        account: &Account,
        viewer: Viewer,
        named: bool,
        following: bool,
    ) -> Result<bool, Failure> {
        let own = account.born.id == viewer.account;
        let open = named || own || account.profile.discoverable;
        if open && !following {
            return Ok(viewer.sees(account).is_some());
        }
        if viewer.account == 0 {
            return Ok(false);
        }
        let pair = Pair { from: viewer.account, to: account.born.id };
        let follow = &self.relationship_of(pair).await?.side(pair).follow.clone();
        Ok(matches!(follow, Follow::Following { .. }))
    }
}
