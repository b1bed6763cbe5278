//! What identity does: gather what a decision needs, decide in a round, answer. The only place that knows this order.
//!
//! | room | noun |
//! |---|---|
//! | `servers` | tenants |
//! | `sign_up`, `claims` | accounts of this installation, and the names that they get |
//! | `remote` | accounts from elsewhere |
//! | `moderation`, `erasure` | what is done to accounts |
//! | `profile` | what accounts say of themselves |
//! | `answers`, `find`, `listing` | accounts as callers see them, and ways to find them |
//! | `relations`, `lists` | follows, blocks and mutes |
//! | `sign_in` | passwords and sessions |
//! | `apps`, `tokens` | OAuth |

pub mod answers;
pub mod apps;
pub mod claims;
pub mod erasure;
pub mod find;
pub mod listing;
pub mod lists;
pub mod moderation;
mod passwords;
pub mod profile;
pub mod relations;
pub mod remote;
pub mod servers;
pub mod sign_in;
pub mod sign_up;
pub mod tokens;

use crate::config::Config;
use crate::credentials::Hasher;
use crate::domain::account::{Life, State as AccountState};
use crate::domain::handle::Handle;
use crate::domain::sealed::{BlindKey, Sealed};
use crate::domain::{Account, By, Server};
use crate::error::{damaged, no_actor};
use crate::metrics::Metrics;
use crate::state::State;
use crate::tables::{self, ACCOUNTS, SERVERS};
use crate::wire::rows::{account_in, server_in};
use crate::wire::sealed_out;
use bytes::Bytes;
use p92_eventlog::{CommandMeta, Keyring, Platform, Reads, Receipt, Round, Runtime, Stream};
use p92_kernel::{AccountId, ErrorCode, Failure, Millis, Service, digest};
use p92_proto::event::v1::{CommandContext, CommandReceipt, ReadOptions};
use p92_proto::identity::v1;
use prost::Message;
use std::sync::Arc;
use tokio::time::Instant;

/// Everything that identity does.
#[derive(Debug)]
pub struct App {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) state: State,
    pub(crate) hasher: Hasher,
    pub(crate) config: Config,
    pub(crate) metrics: Metrics,
    pub(crate) domains: answers::Domains,
}

/// The stream of an account, under whose name its content is sealed too.
pub(crate) fn account_stream(id: impl std::fmt::Display) -> Stream {
    Stream::new("account", id)
}

/// The name by which an ActivityPub id is found.
pub(crate) fn activity_pub_key(keyring: &Keyring, id: &str) -> BlindKey {
    keyring.blind("identity.activity_pub", id.as_bytes())
}

/// An id out of a request; what is none looks like nobody.
pub(crate) fn account_id(id: u64) -> Result<AccountId, Failure> {
    AccountId::new(id).ok_or_else(|| Failure::not_found("account"))
}

impl App {
    pub(crate) fn platform(&self) -> &Arc<Platform> {
        self.runtime.platform()
    }

    pub(crate) fn reads(&self) -> &Reads {
        self.runtime.reads()
    }

    pub(crate) fn now(&self) -> Millis {
        self.platform().clock.now()
    }

    /// A name made of content.
    pub(crate) fn blind(&self, purpose: &'static str, parts: &[&[u8]]) -> BlindKey {
        self.platform().keyring.blind(purpose, &digest::of_parts(parts))
    }

    /// The name that a handle is claimed by, on a home or (0) on a remote host.
    pub(crate) fn handle_key(&self, home: u64, host: &str, folded: &str) -> BlindKey {
        self.blind("identity.handle", &[&home.to_be_bytes(), host.as_bytes(), folded.as_bytes()])
    }

    pub(crate) fn email_key(&self, home: u64, folded: &str) -> BlindKey {
        self.blind("identity.email", &[&home.to_be_bytes(), folded.as_bytes()])
    }

    pub(crate) fn beginning_key(&self, home: u64, beginning: &str) -> BlindKey {
        self.blind("identity.handle.beginning", &[&home.to_be_bytes(), beginning.as_bytes()])
    }

    pub(crate) fn activity_pub_key(&self, id: &str) -> BlindKey {
        activity_pub_key(&self.platform().keyring, id)
    }

    pub(crate) fn beginnings(&self, home: u64, handle: &Handle) -> crate::domain::account::Beginnings {
        crate::domain::account::Beginnings {
            keys: handle.prefixes().map(|beginning| self.beginning_key(home, beginning)).collect(),
            characters: u32::try_from(handle.folded().chars().count()).unwrap_or(u32::MAX),
        }
    }

    /// What accompanies a command. The digest is keyed: what was asked may hold passwords and addresses, which nobody
    /// shall find by trying.
    pub(crate) fn meta(
        &self,
        context: &CommandContext,
        name: &str,
        body: &impl Message,
    ) -> Result<CommandMeta, Failure> {
        let mut meta = CommandMeta::of(Some(context), name, body)?;
        meta.digest =
            Bytes::copy_from_slice(&self.platform().keyring.blind("identity.command", &meta.digest));
        Ok(meta)
    }

    /// A server that lives or lived.
    pub(crate) async fn server(&self, id: u64) -> Result<Option<Server>, Failure> {
        let row =
            self.reads().get_message::<v1::ServerRow>(&SERVERS, tables::servers(), tables::id(id)).await?;
        let server = row.map(server_in).transpose().map_err(damaged)?;
        Ok(server.filter(Server::is_known))
    }

    /// A server that people may sign in and up at.
    pub(crate) async fn active_server(&self, id: u64) -> Result<Server, Failure> {
        let server = self.server(id).await?.ok_or_else(|| Failure::not_found("server"))?;
        if server.life == crate::domain::server::Life::Active {
            return Ok(server);
        }
        Err(Failure::new(ErrorCode::FailedPrecondition, "SERVER_CLOSED", "This server has closed."))
    }

    /// An account as it stands, in whatever state.
    pub(crate) async fn account(&self, id: u64) -> Result<Option<Account>, Failure> {
        let row = self.reads().get_message::<v1::AccountRow>(&ACCOUNTS, tables::id(id), Bytes::new()).await?;
        row.map(account_in).transpose().map_err(damaged)
    }

    /// Accounts as they stand, in the order of the ids.
    pub(crate) async fn accounts(&self, ids: &[u64]) -> Result<Vec<Option<Account>>, Failure> {
        let keys = ids.iter().map(|id| (tables::id(*id), Bytes::new()));
        let rows = self.reads().get_many(&ACCOUNTS, keys).await?;
        let read = |row: p92_storage::Row| {
            let row = v1::AccountRow::decode(row.value).map_err(Failure::internal)?;
            account_in(row).map_err(damaged)
        };
        rows.into_iter().map(|row| row.map(read).transpose()).collect()
    }

    /// Waits until a read shows what its options ask for.
    pub(crate) async fn fresh(&self, options: Option<ReadOptions>) -> Result<ReadOptions, Failure> {
        let options = options.unwrap_or_default();
        self.reads().at_least(&options.at_least).await?;
        Ok(options)
    }

    /// The account that acts, if it may.
    pub(crate) async fn actor(&self, context: &CommandContext) -> Result<Account, Failure> {
        if context.actor_id == 0 {
            return Err(no_actor());
        }
        let account = self.account(context.actor_id).await?.ok_or_else(no_actor)?;
        match account.state_for(context.server_id) {
            Some(state) if state.acts() => Ok(account),
            Some(state) => Err(cannot_act(state)),
            None => Err(no_actor()),
        }
    }

    /// In what capacity somebody does something to accounts or servers.
    pub(crate) async fn capacity(&self, context: &CommandContext) -> Result<By, Failure> {
        if context.actor_id == 0 {
            // An app without an actor is a stranger, not the operator.
            return if context.app_id == 0 { Ok(By::Operator) } else { Err(no_actor()) };
        }
        let actor = self.actor(context).await?;
        Ok(By::Member { server: actor.born.home, role: actor.role })
    }

    /// The same for a read.
    pub(crate) async fn viewing_capacity(&self, options: &ReadOptions) -> Result<By, Failure> {
        let context = CommandContext {
            server_id: options.server_id,
            actor_id: options.viewer_id,
            ..CommandContext::default()
        };
        self.capacity(&context).await
    }

    /// What is inside sealed content; empty if there is none, or its key was destroyed.
    pub(crate) async fn open(&self, sealed: Option<&Sealed>) -> Result<String, Failure> {
        let sealed = sealed.map(sealed_out);
        self.platform().keyring.open_text(Service::Identity, sealed.as_ref()).await
    }

    /// The same for an encoded message.
    pub(crate) async fn open_message<M: Message + Default>(
        &self,
        sealed: Option<&Sealed>,
    ) -> Result<Option<M>, Failure> {
        let Some(sealed) = sealed.map(sealed_out) else { return Ok(None) };
        let opened = self.platform().keyring.open(Service::Identity, &sealed).await?;
        opened.map(M::decode).transpose().map_err(Failure::internal)
    }

    /// What is inside sealed content of an account whose row was asked for then, if that is known; empty if it is erased.
    pub(crate) async fn open_of(
        &self,
        account: &Account,
        asked: Option<Instant>,
        sealed: Option<&Sealed>,
    ) -> Result<String, Failure> {
        let opened = self.bytes_of(account, asked, sealed).await?.unwrap_or_default();
        String::from_utf8(opened.to_vec()).map_err(Failure::internal)
    }

    /// The same for an encoded message.
    pub(crate) async fn open_message_of<M: Message + Default>(
        &self,
        account: &Account,
        asked: Option<Instant>,
        sealed: Option<&Sealed>,
    ) -> Result<Option<M>, Failure> {
        self.bytes_of(account, asked, sealed).await?.map(M::decode).transpose().map_err(Failure::internal)
    }

    /// The key of an account that lives is destroyed behind the event of its erasure, and none of its contents' alone: what
    /// its row says holds for a key of it that is known.
    async fn bytes_of(
        &self,
        account: &Account,
        asked: Option<Instant>,
        sealed: Option<&Sealed>,
    ) -> Result<Option<Bytes>, Failure> {
        let Some(sealed) = sealed.filter(|_| account.life != Life::Erased).map(sealed_out) else {
            return Ok(None);
        };
        let keyring = &self.platform().keyring;
        match asked.filter(|_| account.life == Life::Living) {
            Some(asked) => keyring.open_standing(Service::Identity, &sealed, asked).await,
            None => keyring.open(Service::Identity, &sealed).await,
        }
    }
}

/// Seals content of an account within a round.
pub(crate) async fn seal(
    round: &mut Round,
    account: AccountId,
    field: &'static str,
    content: &[u8],
) -> Result<Sealed, Failure> {
    let sealed = round.seal(account, &account_stream(account), field, content).await?;
    Ok(crate::wire::sealed_in(sealed))
}

/// Why an account in this state does nothing.
pub(crate) fn cannot_act(state: AccountState) -> Failure {
    let (reason, text) = match state {
        AccountState::Unconfirmed => ("ACCOUNT_UNCONFIRMED", "Confirm your e-mail address first."),
        AccountState::Pending => ("ACCOUNT_PENDING", "Your account waits for the approval of a moderator."),
        AccountState::Suspended => ("ACCOUNT_SUSPENDED", "This account is suspended."),
        AccountState::Erased => ("ACCOUNT_ERASED", "This account is gone."),
        AccountState::Active | AccountState::Limited => {
            ("ACCOUNT_CANNOT_ACT", "This account cannot do that.")
        }
    };
    Failure::new(ErrorCode::PermissionDenied, reason, text)
}

/// The receipt of a command that may have taken two steps.
pub(crate) fn receipt(steps: impl IntoIterator<Item = Receipt>) -> CommandReceipt {
    let mut out = CommandReceipt::default();
    for step in steps {
        let step = CommandReceipt::from(step);
        out.repeated |= step.repeated;
        out.positions.extend(step.positions);
    }
    out
}
