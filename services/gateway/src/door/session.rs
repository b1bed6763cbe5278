//! Who is signed in to the pages: a host-only cookie with the secret of a session.
//!
//! Forms of the pages carry a mark derived from that secret, and are refused from other origins.

use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::{Gate, ask};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use p92_proto::identity::v1::{AccountFacts, Session, VerifySessionRequest};
use sha2::{Digest as _, Sha256};

/// The name of the cookie.
pub const COOKIE: &str = "p92_session";

/// Somebody who is signed in to the pages.
#[derive(Clone, Debug)]
pub struct SignedIn {
    pub session: Session,
    pub account: AccountFacts,
    /// Out of the cookie.
    pub secret: String,
}

impl SignedIn {
    /// What a form of a page carries, so that no other site can send it.
    #[must_use]
    pub fn form_mark(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"p92 form\0");
        hash.update(self.secret.as_bytes());
        hex::encode(hash.finalize())
    }
}

/// The secret in the cookie, if there is one.
#[must_use]
pub fn secret_in(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('=')).find_map(
        |(name, value)| (name == COOKIE && !value.is_empty() && value.len() <= 1_024).then_some(value),
    )
}

/// The header that keeps a session in the browser until it ends.
#[must_use]
pub fn set_cookie(caller: &Caller, secret: &str, seconds: u64) -> Option<HeaderValue> {
    let secure = if caller.server.public_url.starts_with("https://") { "; Secure" } else { "" };
    let text = format!("{COOKIE}={secret}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&text).ok()
}

/// Refuses a form that another site sent.
pub fn same_origin(caller: &Caller, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let refused = || Problem::new(StatusCode::FORBIDDEN, "CROSS_SITE", "This form was sent by another site.");
    if matches!(text(header::HeaderName::from_static("sec-fetch-site")), Some("cross-site" | "same-site")) {
        return Err(refused());
    }
    let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
    let host = text(header::HOST).unwrap_or_default();
    let at_door = super::host::of_url(origin).eq_ignore_ascii_case(host) && origin.contains("://");
    if at_door || origin.eq_ignore_ascii_case(&caller.server.public_url) { Ok(()) } else { Err(refused()) }
}

impl Gate {
    /// Who is signed in. `None` for nobody, whatever the cookie says.
    pub async fn signed_in(&self, caller: &Caller, headers: &HeaderMap) -> Result<Option<SignedIn>, Problem> {
        let Some(secret) = secret_in(headers) else { return Ok(None) };
        let request = VerifySessionRequest { server_id: caller.server.id, secret: secret.to_owned() };
        match ask(self.deps.credentials.clone().verify_session(request).await) {
            Ok(answer) => Ok(answer.session.zip(answer.account).map(|(session, account)| SignedIn {
                session,
                account,
                secret: secret.to_owned(),
            })),
            Err(problem) if problem.status.is_client_error() => Ok(None),
            Err(problem) => Err(problem),
        }
    }
}
