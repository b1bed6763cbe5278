//! Passwords and sessions of the pages. A wrong password and an unknown name answer alike, in the same time.

use super::answers::Viewer;
use super::{App, account_id, account_stream, cannot_act};
use crate::credentials::Password;
use crate::domain::Account;
use crate::domain::account::State as AccountState;
use crate::domain::email::Email;
use crate::error::no_actor;
use crate::state::{Names, secret_hash};
use crate::tables;
use crate::wire::enums::state_out;
use p92_kernel::{AccountId, ErrorCode, Failure, Service};
use p92_proto::event::v1::Sealed;
use p92_proto::identity::v1;

const SESSION: &str = "session";
/// Sessions that are listed at once.
const LISTED: usize = 100;
const AGENT_CHARACTERS: usize = 200;
/// The longest login that is looked up; an e-mail address has at most 254 bytes.
const LOGIN_BYTES: usize = 400;
/// The longest secret that is looked up.
pub(crate) const SECRET_BYTES: usize = 200;

pub(crate) fn bad_credentials() -> Failure {
    Failure::new(
        ErrorCode::Unauthenticated,
        "BAD_CREDENTIALS",
        "This password does not fit this name or e-mail address.",
    )
}

fn no_session() -> Failure {
    Failure::new(ErrorCode::Unauthenticated, "NO_SESSION", "You are not signed in, or no longer.")
}

impl App {
    /// Whose login it is at a server.
    async fn login(&self, server: u64, login: &str) -> Result<Option<Account>, Failure> {
        let login = login.trim();
        if login.len() > LOGIN_BYTES {
            return Ok(None);
        }
        let found = match Email::parse(login) {
            Ok(email) => {
                let name = tables::blind(&self.email_key(server, &email.folded));
                match self.state.owner_of(Names::Emails, name).await? {
                    Some(id) => self.account(id).await?,
                    None => None,
                }
            }
            Err(_) => self.by_handle(server, "", login.strip_prefix('@').unwrap_or(login)).await?,
        };
        Ok(found.filter(|account| account.born.home == server))
    }

    /// Whose password it is, and what the account may do.
    pub(crate) async fn authenticate(
        &self,
        server: u64,
        login: &str,
        password: Password,
    ) -> Result<(Account, AccountState), Failure> {
        self.active_server(server).await?;
        let begun = self.platform().clock.monotonic();
        let account = self.login(server, login).await?;
        let stored = match &account {
            Some(account) => self.state.password(account.born.id, account.credential).await?,
            None => None,
        };
        let right = self.hasher.verify(password, stored).await?;
        self.metrics.password(self.platform().clock.monotonic().saturating_sub(begun), right);
        let account = account.filter(|_| right).ok_or_else(bad_credentials)?;
        match account.state_for(server) {
            None | Some(AccountState::Erased) => Err(bad_credentials()),
            Some(state @ AccountState::Suspended) => Err(cannot_act(state)),
            Some(state) => Ok((account, state)),
        }
    }

    /// Tells whose password it is.
    pub async fn check_password(
        &self,
        request: v1::CheckPasswordRequest,
    ) -> Result<v1::CheckPasswordResponse, Failure> {
        let password = Password::new(request.password);
        let (account, state) = self.authenticate(request.server_id, &request.login, password).await?;
        Ok(v1::CheckPasswordResponse { account_id: account.born.id, state: state_out(state) })
    }

    /// Signs in to the pages.
    pub async fn create_session(
        &self,
        request: v1::CreateSessionRequest,
    ) -> Result<v1::CreateSessionResponse, Failure> {
        let password = Password::new(request.password);
        let (account, state) = self.authenticate(request.server_id, &request.login, password).await?;
        let secret = self.state.new_secret();
        let now = self.now().0;
        let expires = self.now().plus(self.config.session_life.0);
        let session = v1::Session {
            id: self.state.new_id(),
            server_id: request.server_id,
            account_id: account.born.id,
            created_ms: now,
            expires_ms: expires.0,
            agent: String::new(),
        };
        let agent: String =
            request.agent.chars().filter(|c| !c.is_control()).take(AGENT_CHARACTERS).collect();
        let sealed = self.seal_agent(account_id(account.born.id)?, &agent).await?;
        let row = v1::SessionRow { session: Some(session.clone()), agent: sealed };
        let hash = secret_hash(request.server_id, SESSION, &secret);
        self.state.add_session(&hash, &row).await?;
        // Whoever changed the password meanwhile may have looked for sessions before there was this one.
        if !self.is_in_force(account.born.id, account.credential).await? {
            self.state.remove_session(account.born.id, session.id, &hash).await?;
            return Err(bad_credentials());
        }
        let session = v1::Session { agent, ..session };
        Ok(v1::CreateSessionResponse { session: Some(session), secret, state: state_out(state) })
    }

    /// Whether a credential still holds the account's password.
    pub(crate) async fn is_in_force(&self, account: u64, credential: u64) -> Result<bool, Failure> {
        Ok(self.account(account).await?.is_some_and(|account| account.credential == credential))
    }

    async fn seal_agent(&self, id: AccountId, agent: &str) -> Result<Option<Sealed>, Failure> {
        if agent.is_empty() {
            return Ok(None);
        }
        let keyring = &self.platform().keyring;
        let stream = account_stream(id);
        let (key, new) = keyring.key_to_seal(Service::Identity, id, &stream).await?;
        // Every account has had a key since its birth; without one it has been erased meanwhile.
        if new.is_some() {
            return Err(bad_credentials());
        }
        keyring.seal(&key, id, &stream, "agent", agent.as_bytes()).map(Some)
    }

    /// Tells whose session it is.
    pub async fn verify_session(
        &self,
        request: v1::VerifySessionRequest,
    ) -> Result<v1::VerifySessionResponse, Failure> {
        if request.secret.is_empty() || request.secret.len() > SECRET_BYTES {
            return Err(no_session());
        }
        let hash = secret_hash(request.server_id, SESSION, &request.secret);
        let row = self.state.session(&hash).await?.ok_or_else(no_session)?;
        let session = row.session.unwrap_or_default();
        if session.server_id != request.server_id || session.expires_ms <= self.now().0 {
            return Err(no_session());
        }
        let account = self.bearer(session.account_id, request.server_id).await?.ok_or_else(no_session)?;
        Ok(v1::VerifySessionResponse { session: Some(session), account: Some(account) })
    }

    /// The account that a secret stands for; `None` if it is gone, an error if it is suspended.
    pub(crate) async fn bearer(&self, id: u64, server: u64) -> Result<Option<v1::AccountFacts>, Failure> {
        let Some(account) = self.account(id).await? else { return Ok(None) };
        Self::bearer_of(&account, server)
    }

    /// The same of an account that is at hand.
    pub(crate) fn bearer_of(account: &Account, server: u64) -> Result<Option<v1::AccountFacts>, Failure> {
        match account.state_for(server) {
            None | Some(AccountState::Erased) => Ok(None),
            Some(state @ AccountState::Suspended) => Err(cannot_act(state)),
            Some(_) => Ok(Self::facts(account, server)),
        }
    }

    /// The viewer's sessions.
    pub async fn list_sessions(
        &self,
        request: v1::ListSessionsRequest,
    ) -> Result<v1::ListSessionsResponse, Failure> {
        let options = self.fresh(request.options).await?;
        let viewer = Viewer::from(&options);
        let now = self.now().0;
        let mut sessions = Vec::new();
        for made in self.state.sessions_of(viewer.account, LISTED).await? {
            let Some(row) = self.state.session(&made.hash).await? else { continue };
            let session = row.session.unwrap_or_default();
            if session.expires_ms <= now || session.server_id != viewer.server {
                continue;
            }
            let keyring = &self.platform().keyring;
            let agent = keyring.open_text(Service::Identity, row.agent.as_ref()).await?;
            sessions.push(v1::Session { agent, ..session });
        }
        Ok(v1::ListSessionsResponse { sessions })
    }

    /// Ends one of the actor's sessions.
    pub async fn revoke_session(
        &self,
        request: v1::RevokeSessionRequest,
    ) -> Result<v1::RevokeSessionResponse, Failure> {
        let context = request.context.unwrap_or_default();
        if context.actor_id == 0 {
            return Err(no_actor());
        }
        let made = self.state.sessions_of(context.actor_id, 1_000).await?;
        if let Some(made) = made.into_iter().find(|made| made.id == request.session_id) {
            self.state.remove_session(context.actor_id, made.id, &made.hash).await?;
        }
        Ok(v1::RevokeSessionResponse {})
    }
}
