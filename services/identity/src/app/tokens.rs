//! OAuth codes and tokens: asked for, exchanged once, verified at one server, revoked.

use super::App;
use super::answers::Viewer;
use super::apps::{no_client, within};
use super::sign_in::{SECRET_BYTES, bad_credentials};
use crate::credentials::Password;
use crate::domain::oauth;
use crate::domain::scope::Scopes;
use crate::error::no_actor;
use crate::state::{SecretHash, secret_hash};
use bytes::Bytes;
use p92_kernel::{ErrorCode, Failure, Millis};
use p92_proto::identity::v1;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

const CODE: &str = "code";
const TOKEN: &str = "token";
/// Tokens that are listed at once.
const LISTED: usize = 500;

fn invalid_grant() -> Failure {
    Failure::new(
        ErrorCode::InvalidArgument,
        "INVALID_GRANT",
        "This code is wrong, too old, used already, or was made for another app or address.",
    )
}

fn no_token() -> Failure {
    Failure::new(ErrorCode::Unauthenticated, "INVALID_TOKEN", "The access token is invalid, or was revoked.")
}

impl App {
    /// What an app asks for, if it may.
    async fn asked(
        &self,
        server: u64,
        asked: Option<v1::AuthorizationAsked>,
    ) -> Result<(v1::App, Scopes, v1::AuthorizationAsked), Failure> {
        self.active_server(server).await?;
        let asked = asked.unwrap_or_default();
        let app = self.client(server, &asked.client_id).await?.app.ok_or_else(no_client)?;
        // The address first: only errors after it may be sent there.
        oauth::check_redirect_uri(&app.redirect_uris, &asked.redirect_uri)?;
        oauth::check_challenge(&asked.code_challenge, &asked.code_challenge_method)?;
        let scopes = within(&app, &asked.scopes)?;
        Ok((app, scopes, asked))
    }

    /// Checks what an app asks for, before anybody is asked to consent.
    pub async fn check_authorization(
        &self,
        request: v1::CheckAuthorizationRequest,
    ) -> Result<v1::CheckAuthorizationResponse, Failure> {
        let (app, scopes, _) = self.asked(request.server_id, request.asked).await?;
        Ok(v1::CheckAuthorizationResponse { app: Some(app), scopes: scopes.names() })
    }

    /// The person consents.
    pub async fn authorize(&self, request: v1::AuthorizeRequest) -> Result<v1::AuthorizeResponse, Failure> {
        let (app, scopes, asked) = self.asked(request.server_id, request.asked).await?;
        let account = self.account(request.account_id).await?.ok_or_else(no_actor)?;
        if account.born.home != request.server_id {
            return Err(no_actor());
        }
        self.bearer(request.account_id, request.server_id).await?.ok_or_else(no_actor)?;
        let code = self.state.new_secret();
        let row = v1::CodeRow {
            app_id: app.id,
            account_id: request.account_id,
            redirect_uri: asked.redirect_uri,
            scopes: scopes.names(),
            code_challenge: asked.code_challenge,
            created_ms: self.now().0,
            token_hash: Bytes::new(),
            burned: false,
            credential_id: account.credential,
        };
        self.state.add_code(&secret_hash(request.server_id, CODE, &code), &row).await?;
        Ok(v1::AuthorizeResponse { code })
    }

    /// Exchanges a code for a token, once.
    pub async fn exchange_code(
        &self,
        request: v1::ExchangeCodeRequest,
    ) -> Result<v1::ExchangeCodeResponse, Failure> {
        let server = request.server_id;
        let app = if request.client_secret.is_empty() {
            self.client(server, &request.client_id).await?.app.ok_or_else(no_client)?
        } else {
            self.trusted_client(server, &request.client_id, &request.client_secret).await?
        };
        if request.code.is_empty() || request.code.len() > SECRET_BYTES {
            return Err(invalid_grant());
        }
        let hash = secret_hash(server, CODE, &request.code);
        let (code, version) = self.state.code(&hash).await?.ok_or_else(invalid_grant)?;
        if code.app_id != app.id || code.redirect_uri != request.redirect_uri {
            return Err(invalid_grant());
        }
        if !oauth::verifier_fits(&code.code_challenge, &request.code_verifier) {
            return Err(invalid_grant());
        }
        // Who shows neither secret nor verifier may have found the code in a log.
        if request.client_secret.is_empty() && code.code_challenge.is_empty() {
            return Err(no_client());
        }
        if !code.token_hash.is_empty() {
            return Err(self.used_twice(&hash, code, version).await?);
        }
        if !oauth::is_code_alive(Millis(code.created_ms), self.now()) {
            return Err(invalid_grant());
        }
        let secret = self.state.new_secret();
        let token_hash = Bytes::copy_from_slice(&secret_hash(server, TOKEN, &secret));
        let used = v1::CodeRow { token_hash, ..code.clone() };
        // The code is used before the token is made: who loses here never gets one.
        if !self.state.use_code(&hash, &used, version).await? {
            return Err(match self.state.code(&hash).await? {
                Some((winner, version)) => self.used_twice(&hash, winner, version).await?,
                None => invalid_grant(),
            });
        }
        self.bearer(code.account_id, server).await?.ok_or_else(invalid_grant)?;
        if !self.is_in_force(code.account_id, code.credential_id).await? {
            return Err(invalid_grant());
        }
        let scopes = Scopes::parse(code.scopes.iter().map(String::as_str))?;
        let token = self.issue(&app, code.account_id, &scopes, Some(secret), "authorization_code").await?;
        // Somebody may have shown the code again, or changed the password, before there was a token to revoke.
        let burned = self.state.code(&hash).await?.is_none_or(|(code, _)| code.burned);
        if burned || !self.is_in_force(code.account_id, code.credential_id).await? {
            self.state.remove_token(&secret_hash(server, TOKEN, &token.secret)).await?;
            return Err(invalid_grant());
        }
        Ok(v1::ExchangeCodeResponse { token: Some(token) })
    }

    /// Somebody shows a code again: one of the two stole it, so the token that was made from it ends. First the mark, by
    /// which a token that is just being made ends too.
    async fn used_twice(
        &self,
        hash: &SecretHash,
        code: v1::CodeRow,
        version: u64,
    ) -> Result<Failure, Failure> {
        let (mut code, mut version) = (code, version);
        while !code.burned {
            let burned = v1::CodeRow { burned: true, ..code.clone() };
            if self.state.use_code(hash, &burned, version).await? {
                code = burned;
                break;
            }
            let Some(found) = self.state.code(hash).await? else { break };
            (code, version) = found;
        }
        if let Ok(token) = SecretHash::try_from(code.token_hash.as_ref()) {
            self.state.remove_token(&token).await?;
        }
        Ok(invalid_grant())
    }

    /// Makes a token.
    pub(crate) async fn issue(
        &self,
        app: &v1::App,
        account: u64,
        scopes: &Scopes,
        secret: Option<String>,
        grant: &'static str,
    ) -> Result<v1::IssuedToken, Failure> {
        let secret = secret.unwrap_or_else(|| self.state.new_secret());
        let token = v1::Token {
            id: self.state.new_id(),
            server_id: app.server_id,
            app_id: app.id,
            account_id: account,
            scopes: scopes.names(),
            created_ms: self.now().0,
        };
        self.state.add_token(&secret_hash(app.server_id, TOKEN, &secret), &token).await?;
        let ended = self.state.end_oldest_tokens(&token, self.config.most_tokens.max(1)).await?;
        if ended != 0 {
            tracing::debug!(ended, grant, "more tokens than may live: the oldest ended");
        }
        self.metrics.token(grant);
        Ok(v1::IssuedToken { token: Some(token), secret })
    }

    /// A token for the app itself.
    pub async fn grant_client_credentials(
        &self,
        request: v1::GrantClientCredentialsRequest,
    ) -> Result<v1::GrantClientCredentialsResponse, Failure> {
        self.active_server(request.server_id).await?;
        let app = self.trusted_client(request.server_id, &request.client_id, &request.client_secret).await?;
        let scopes = within(&app, &request.scopes)?;
        let token = self.issue(&app, 0, &scopes, None, "client_credentials").await?;
        Ok(v1::GrantClientCredentialsResponse { token: Some(token) })
    }

    /// A token for a password, if the configuration switches that on.
    pub async fn grant_password(
        &self,
        request: v1::GrantPasswordRequest,
    ) -> Result<v1::GrantPasswordResponse, Failure> {
        if !self.config.password_grant {
            let text = "Passwords are not exchanged for tokens here. Use the authorization code.";
            return Err(Failure::new(ErrorCode::InvalidArgument, "UNSUPPORTED_GRANT_TYPE", text));
        }
        let app = self.trusted_client(request.server_id, &request.client_id, &request.client_secret).await?;
        let scopes = within(&app, &request.scopes)?;
        let password = Password::new(request.password);
        let (account, _) = self.authenticate(request.server_id, &request.login, password).await?;
        let token = self.issue(&app, account.born.id, &scopes, None, "password").await?;
        if !self.is_in_force(account.born.id, account.credential).await? {
            self.state.remove_token(&secret_hash(request.server_id, TOKEN, &token.secret)).await?;
            return Err(bad_credentials());
        }
        Ok(v1::GrantPasswordResponse { token: Some(token) })
    }

    /// A token without any of these, for the operator.
    pub async fn issue_token(
        &self,
        request: v1::IssueTokenRequest,
    ) -> Result<v1::IssueTokenResponse, Failure> {
        let app = self.client(request.server_id, &request.client_id).await?.app.ok_or_else(no_client)?;
        let scopes = within(&app, &request.scopes)?;
        let secret = match request.secret {
            secret if secret.is_empty() => None,
            secret if oauth::is_secret(&secret) => Some(secret),
            _ => return Err(oauth::BadOAuth::Secret.into()),
        };
        if request.account_id != 0 {
            let account = self.account(request.account_id).await?;
            let member = account.filter(|account| account.born.home == request.server_id);
            let alive = member.and_then(|account| account.state_for(request.server_id));
            alive.ok_or_else(|| Failure::not_found("account"))?;
        }
        if let Some(secret) = &secret {
            let hash = secret_hash(request.server_id, TOKEN, secret);
            if self.state.token(&hash).await?.is_some() {
                let text = "There is a token with this secret already.";
                let taken = Failure::invalid("secret", "TOKEN_EXISTS", text);
                return Err(Failure { code: ErrorCode::AlreadyExists, ..taken });
            }
        }
        let token = self.issue(&app, request.account_id, &scopes, secret, "operator").await?;
        Ok(v1::IssueTokenResponse { token: Some(token) })
    }

    /// Revokes a token of the app that asks (RFC 7009: an unknown one is revoked already).
    pub async fn revoke_token(
        &self,
        request: v1::RevokeTokenRequest,
    ) -> Result<v1::RevokeTokenResponse, Failure> {
        let server = request.server_id;
        let app = if request.client_secret.is_empty() {
            self.client(server, &request.client_id).await?.app.ok_or_else(no_client)?
        } else {
            self.trusted_client(server, &request.client_id, &request.client_secret).await?
        };
        let hash = secret_hash(server, TOKEN, &request.secret);
        let Some(token) = self.state.token(&hash).await? else { return Ok(v1::RevokeTokenResponse {}) };
        if token.app_id != app.id {
            let text = "This token belongs to another app.";
            return Err(Failure::new(ErrorCode::PermissionDenied, "UNAUTHORIZED_CLIENT", text));
        }
        self.state.remove_token(&hash).await?;
        Ok(v1::RevokeTokenResponse {})
    }

    /// Tells what a token may do.
    pub async fn verify_token(
        &self,
        request: v1::VerifyTokenRequest,
    ) -> Result<v1::VerifyTokenResponse, Failure> {
        if request.secret.is_empty() || request.secret.len() > SECRET_BYTES {
            return Err(no_token());
        }
        let hash = secret_hash(request.server_id, TOKEN, &request.secret);
        let likely = async {
            match request.likely_account_id {
                0 => Ok(None),
                id => self.account(id).await,
            }
        };
        let (token, likely) = futures::try_join!(self.state.token(&hash), likely)?;
        let token = token.ok_or_else(no_token)?;
        if token.server_id != request.server_id {
            return Err(no_token());
        }
        let account = match (token.account_id, likely) {
            (0, _) => None,
            (id, Some(account)) if account.born.id == id => {
                Some(Self::bearer_of(&account, request.server_id)?.ok_or_else(no_token)?)
            }
            (id, _) => Some(self.bearer(id, request.server_id).await?.ok_or_else(no_token)?),
        };
        Ok(v1::VerifyTokenResponse { token: Some(token), account })
    }

    /// The viewer's tokens, and the apps that they belong to.
    pub async fn list_tokens(
        &self,
        request: v1::ListTokensRequest,
    ) -> Result<v1::ListTokensResponse, Failure> {
        let options = self.fresh(request.options).await?;
        let viewer = Viewer::from(&options);
        if viewer.account == 0 {
            return Err(no_actor());
        }
        let mut tokens = Vec::new();
        let mut apps = BTreeMap::new();
        for made in self.state.tokens_of(viewer.account, LISTED).await? {
            let token = self.state.token(&made.hash).await?;
            let Some(token) = token.filter(|token| token.server_id == viewer.server) else { continue };
            if let Entry::Vacant(unknown) = apps.entry(token.app_id) {
                let row = self.state.app_by_id(viewer.server, token.app_id).await?;
                unknown.insert(row.and_then(|row| row.app));
            }
            tokens.push(token);
        }
        Ok(v1::ListTokensResponse { tokens, apps: apps.into_values().flatten().collect() })
    }

    /// Revokes one of the actor's tokens.
    pub async fn revoke_token_by_id(
        &self,
        request: v1::RevokeTokenByIdRequest,
    ) -> Result<v1::RevokeTokenByIdResponse, Failure> {
        let context = request.context.unwrap_or_default();
        if context.actor_id == 0 {
            return Err(no_actor());
        }
        let made = self.state.tokens_of(context.actor_id, 1_000).await?;
        if let Some(made) = made.into_iter().find(|made| made.id == request.token_id) {
            self.state.remove_token(&made.hash).await?;
        }
        Ok(v1::RevokeTokenByIdResponse {})
    }
}
