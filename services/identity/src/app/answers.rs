//! Accounts as callers see them: opened, counted, and hidden from those who may not see them.

use super::App;
use crate::domain::Account;
use crate::domain::account::State as AccountState;
use crate::tables::{self, COUNTS};
use crate::wire::account::preferences_out;
use crate::wire::enums::{kind_out, role_out, state_out};
use p92_kernel::{Failure, Id};
use p92_proto::event::v1::ReadOptions;
use p92_proto::identity::v1;
use p92_storage::{Direction, Range};
use prost::Message;
use std::sync::Arc;
use tokio::time::Instant;

/// Who looks, at which server, and since when: what is read for him is asked for later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Viewer {
    pub server: u64,
    pub account: u64,
    pub asked: Instant,
}

impl From<&ReadOptions> for Viewer {
    fn from(options: &ReadOptions) -> Self {
        Self { server: options.server_id, account: options.viewer_id, asked: Instant::now() }
    }
}

impl Viewer {
    /// The account's state, if the viewer may see it.
    pub(crate) fn sees(self, account: &Account) -> Option<AccountState> {
        let state = account.state_for(self.server)?;
        let own = account.born.id == self.account
            && matches!(state, AccountState::Unconfirmed | AccountState::Pending);
        (state.acts() || own).then_some(state)
    }
}

/// How many domains are remembered.
const DOMAINS: u64 = 10_000;

/// The domains of servers that are known, which never change: without them every account of a page would ask for its own.
#[derive(Debug)]
pub(crate) struct Domains(moka::sync::Cache<u64, Arc<str>>);

impl Default for Domains {
    fn default() -> Self {
        Self(moka::sync::Cache::new(DOMAINS))
    }
}

impl App {
    /// An account as a viewer sees it; `None` if he may not.
    pub(crate) async fn shown(
        &self,
        account: &Account,
        viewer: Viewer,
    ) -> Result<Option<v1::Account>, Failure> {
        let Some(state) = viewer.sees(account) else { return Ok(None) };
        let own = account.born.id == viewer.account;
        let shown = self.opened(account, state, own, Some(viewer.asked)).await?;
        // Erased since it was read: nobody sees it any more.
        Ok((shown.state() != v1::AccountState::Erased).then_some(shown))
    }

    /// An account with everything that is shown of it; `own`: with what only itself sees. Its row was asked for at `asked`, if
    /// that is known, or later.
    pub(crate) async fn opened(
        &self,
        account: &Account,
        state: AccountState,
        own: bool,
        asked: Option<Instant>,
    ) -> Result<v1::Account, Failure> {
        let born = &account.born;
        let profile = &account.profile;
        // Whatever is opened first brings the key of the rest.
        let handle = self.open_of(account, asked, Some(&born.handle));
        let found = futures::try_join!(self.counts(born.id), self.domain(born.home), handle);
        let (counts, domain, handle) = found?;
        let domain = domain.map_or_else(|| born.host.clone(), |domain| domain.to_string());
        let made = Id::new(born.id).map_or(0, |id| id.millis().0);
        let fields: Option<v1::ProfileFields> =
            self.open_message_of(account, asked, profile.fields.as_ref()).await?;
        let activity_pub = self.addresses(account, asked).await?;
        // Erased since it was read: its key is gone already.
        let gone = handle.is_empty() || activity_pub.is_none();
        let state = if gone { AccountState::Erased } else { state };
        Ok(v1::Account {
            id: born.id,
            server_id: born.home,
            handle,
            domain,
            kind: kind_out(account.kind),
            state: state_out(state),
            role: role_out(account.role),
            display_name: self.open_of(account, asked, profile.display_name.as_ref()).await?,
            note: self.open_of(account, asked, profile.note.as_ref()).await?,
            fields: fields.unwrap_or_default().fields,
            avatar_url: self.open_of(account, asked, profile.avatar_url.as_ref()).await?,
            header_url: self.open_of(account, asked, profile.header_url.as_ref()).await?,
            locked: account.locked,
            bot: profile.bot,
            discoverable: profile.discoverable,
            indexable: profile.indexable,
            hide_follows: profile.hide_follows,
            created_ms: if born.published_ms == 0 { made } else { born.published_ms },
            activity_pub,
            preferences: own.then(|| preferences_out(&account.preferences)),
            followers_count: counts.followers,
            following_count: counts.following,
            follow_requests_count: if own { counts.requests } else { 0 },
            public_key_pem: profile.public_key_pem.clone(),
        })
    }

    /// The domain of a server; `None` if there is no such server, as for those who are at home elsewhere.
    async fn domain(&self, server: u64) -> Result<Option<Arc<str>>, Failure> {
        if server == 0 {
            return Ok(None);
        }
        if let Some(known) = self.domains.0.get(&server) {
            return Ok(Some(known));
        }
        let Some(server) = self.server(server).await? else { return Ok(None) };
        let domain: Arc<str> = server.born.domain.into();
        self.domains.0.insert(server.born.id, Arc::clone(&domain));
        Ok(Some(domain))
    }

    /// Its ActivityPub ids; `None` once its key is destroyed. Its row was asked for at `asked`, if that is known, or later.
    pub(crate) async fn addresses(
        &self,
        account: &Account,
        asked: Option<Instant>,
    ) -> Result<Option<v1::ActivityPubIds>, Failure> {
        self.open_message_of(account, asked, Some(&account.activity_pub)).await
    }

    /// An account as it sees itself, whatever it waits for.
    pub(crate) async fn own_account(&self, id: u64, server: u64) -> Result<v1::Account, Failure> {
        let account = self.account(id).await?.ok_or_else(|| Failure::not_found("account"))?;
        let state = account.state_for(server).ok_or_else(|| Failure::not_found("account"))?;
        self.opened(&account, state, true, None).await
    }

    /// An account as those who moderate it see it.
    pub(crate) async fn admin_account(
        &self,
        account: &Account,
        server: u64,
    ) -> Result<Option<v1::AdminAccount>, Failure> {
        let Some(state) = account.state_for(server) else { return Ok(None) };
        let born = &account.born;
        let member = born.home != 0 && (born.home == server || server == 0) && state != AccountState::Erased;
        let (email, reason) = if member {
            (self.open(born.email.as_ref()).await?, self.open(born.reason.as_ref()).await?)
        } else {
            Default::default()
        };
        Ok(Some(v1::AdminAccount {
            account: Some(self.opened(account, state, member, None).await?),
            email,
            reason,
            locale: account.preferences.locale.clone(),
            email_confirmed: account.email_confirmed,
            app_id: born.app,
        }))
    }

    /// What other services must know of an account; `None` if nobody ever met it.
    pub(crate) fn facts(account: &Account, server: u64) -> Option<v1::AccountFacts> {
        Some(v1::AccountFacts {
            id: account.born.id,
            server_id: account.born.home,
            kind: kind_out(account.kind),
            state: state_out(account.state_for(server)?),
            role: role_out(account.role),
            locked: account.locked,
            bot: account.profile.bot,
            discoverable: account.profile.discoverable,
            indexable: account.profile.indexable,
            host: account.born.host.clone(),
        })
    }

    /// What all shards together count for an account.
    pub(crate) async fn counts(&self, account: u64) -> Result<v1::FollowCountsRow, Failure> {
        let reads = self.reads();
        let most = usize::from(self.platform().shards.get()).min(1_000);
        let (mut sum, mut after) = (v1::FollowCountsRow::default(), None);
        loop {
            let partition = tables::id(account);
            let page = reads.scan(&COUNTS, partition, Range::all(), Direction::Forward, most, after).await?;
            for (_, row) in page.rows {
                let row = v1::FollowCountsRow::decode(row.value).map_err(Failure::internal)?;
                sum.followers += row.followers;
                sum.following += row.following;
                sum.requests += row.requests;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(sum),
            }
        }
    }
}
