//! Who asks: the token that came with a request, and what it may do.
//!
//! Handlers ask with the scope of their route, fine (`write:statuses`); coarse scopes (`write`, `follow`) cover it.

use crate::error::Problem;
use crate::gate::{Answered, Gate, ask, there};
use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use p92_proto::event::v1::ReadOptions;
use p92_proto::identity::v1::{AccountFacts, AccountState, Server, Token, VerifyTokenRequest};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// A token that was found good within the last second.
#[derive(Clone, Debug)]
pub struct Verified {
    pub token: Token,
    /// Absent for a token of the app itself.
    pub account: Option<AccountFacts>,
    /// The token itself, to look again while a socket is open.
    pub secret: String,
}

/// Who knocked at which server's door.
#[derive(Clone, Debug)]
pub struct Caller {
    pub server: Arc<Server>,
    pub token: Option<Arc<Verified>>,
    pub address: Option<IpAddr>,
}

/// An account that acts through an app.
#[derive(Clone, Copy, Debug)]
pub struct Actor {
    pub server_id: u64,
    pub account_id: u64,
    pub app_id: u64,
}

impl Gate {
    /// What a secret stands for at a server.
    pub async fn verify(&self, server_id: u64, secret: &str) -> Result<Arc<Verified>, Problem> {
        let key = Self::secret_key(server_id, secret);
        if let Some(known) = self.tokens.get(&key).await.and_then(|known| known.believed()) {
            return Ok(known);
        }
        let asked = Instant::now();
        // Whose a secret is never changes; whether it still stands is asked.
        let likely_account_id = self.bearers.get(&key).await.unwrap_or_default();
        let request = VerifyTokenRequest { server_id, secret: secret.to_owned(), likely_account_id };
        let answer = ask(self.deps.tokens.clone().verify_token(request).await).map_err(|problem| {
            match problem.status {
                StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => {
                    Problem::unauthenticated()
                }
                _ => problem,
            }
        })?;
        let token = there(answer.token)?;
        if token.server_id != server_id {
            return Err(Problem::unauthenticated());
        }
        if token.account_id != likely_account_id {
            self.bearers.insert(key, token.account_id).await;
        }
        let verified = Arc::new(Verified { token, account: answer.account, secret: secret.to_owned() });
        self.tokens.insert(key, Answered::new(asked, Arc::clone(&verified))).await;
        Ok(verified)
    }

    /// How reads of this caller are made.
    pub async fn read_as(&self, caller: &Caller, viewer_id: u64) -> ReadOptions {
        self.read(caller.server.id, viewer_id).await
    }
}

/// Whether a list of scopes covers a fine one.
#[must_use]
pub fn covers(granted: &[String], wanted: &str) -> bool {
    let coarse = wanted.split_once(':').map_or(wanted, |(coarse, _)| coarse);
    // The old `follow` scope is read and write over these three.
    let follow = matches!(
        wanted,
        "read:follows" | "write:follows" | "read:blocks" | "write:blocks" | "read:mutes" | "write:mutes"
    );
    // One's own profile is part of what these let see.
    let within = |one: &str| wanted == "profile" && matches!(one, "read" | "read:accounts" | "read:me");
    granted.iter().any(|one| one == wanted || one == coarse || (follow && one == "follow") || within(one))
}

impl Verified {
    fn admit(&self, scope: &str) -> Result<(), Problem> {
        if covers(&self.token.scopes, scope) { self.alive() } else { Err(Problem::out_of_scope()) }
    }

    /// Whether its account may do anything at all.
    fn alive(&self) -> Result<(), Problem> {
        let Some(account) = &self.account else { return Ok(()) };
        let words = match account.state() {
            AccountState::Active | AccountState::Limited => return Ok(()),
            AccountState::Unconfirmed => "Your login is missing a confirmed e-mail address",
            AccountState::Pending => "Your login is currently pending approval",
            _ => "Your login is currently disabled",
        };
        Err(Problem::new(StatusCode::FORBIDDEN, "ACCOUNT_MAY_NOT_ACT", words))
    }
}

impl Caller {
    /// The account that looks, 0 for a stranger or an app alone. A token that came must be fit for the scope.
    pub fn viewer(&self, scope: &str) -> Result<u64, Problem> {
        let Some(token) = &self.token else { return Ok(0) };
        if token.account.is_some() {
            if !covers(&token.token.scopes, scope) {
                return Err(Problem::out_of_scope());
            }
            token.alive()?;
        }
        Ok(token.token.account_id)
    }

    /// The account that acts or looks at its own things.
    pub fn actor(&self, scope: &str) -> Result<Actor, Problem> {
        let token = self.token.as_ref().ok_or_else(Problem::unauthenticated)?;
        token.admit(scope)?;
        if token.token.account_id == 0 || token.account.is_none() {
            let words = "This method requires an authenticated user";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "USER_NEEDED", words));
        }
        Ok(Actor {
            server_id: self.server.id,
            account_id: token.token.account_id,
            app_id: token.token.app_id,
        })
    }

    /// Where a page of this server is.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.public_url)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let missing = || p92_kernel::Failure::internal("a route stands outside the door").into();
        parts.extensions.get::<Self>().cloned().ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::covers;

    fn granted(scopes: &str) -> Vec<String> {
        scopes.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn coarse_scopes_cover_fine_ones_and_not_the_reverse() {
        assert!(covers(&granted("read write"), "write:statuses"));
        assert!(covers(&granted("write:statuses"), "write:statuses"));
        assert!(!covers(&granted("write:statuses"), "write:follows"));
        assert!(!covers(&granted("read"), "write:statuses"));
        assert!(!covers(&granted("read:statuses"), "read"));
        assert!(covers(&granted("read:me"), "profile") && !covers(&granted("profile"), "read:accounts"));
        assert!(covers(&granted("follow"), "write:blocks"));
        assert!(!covers(&granted("follow"), "write:statuses"));
    }
}
