//! One request for a page: who is there, what stands around every page, whether a form may do what it asks.

use super::{drawn, onward};
use crate::door::caller::{Actor, Caller};
use crate::door::session::{self, SignedIn};
use crate::error::Problem;
use crate::gate::Gate;
use crate::mastodon::hydrate::Reader;
use crate::params::Params;
use askama::Template;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use p92_proto::identity::v1 as identity;
use p92_proto::identity::v1::{AccountState, RegistrationPolicy};

/// What stands around every page.
#[derive(Clone, Debug)]
pub struct Frame {
    pub title: String,
    pub server: String,
    /// The handle of who is signed in.
    pub me: Option<String>,
    /// What forms carry.
    pub mark: String,
    /// Whether one may sign up.
    pub open: bool,
    /// The page itself, to come back to.
    pub here: String,
}

/// What went wrong in words for people; apps get the wording of Mastodon's API.
pub fn said(problem: &Problem) -> String {
    if problem.status == StatusCode::NOT_FOUND {
        return "What you look for does not exist, or you may not see it.".to_owned();
    }
    let words = problem.error.strip_prefix("Validation failed: ").unwrap_or(&problem.error);
    if words.ends_with(['.', '!', '?']) { words.to_owned() } else { format!("{words}.") }
}

/// Who visits which server.
#[derive(Clone, Debug)]
pub struct Visit {
    pub gate: Gate,
    pub caller: Caller,
    pub headers: HeaderMap,
    pub who: Option<SignedIn>,
    pub me: Option<identity::Account>,
    here: String,
}

#[derive(Template)]
#[template(path = "wrong.html")]
struct Wrong {
    frame: Frame,
    words: String,
}

impl FromRequestParts<Gate> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, gate: &Gate) -> Result<Self, Response> {
        let caller = Caller::from_request_parts(parts, gate).await.map_err(IntoResponse::into_response)?;
        let here = parts.uri.path_and_query().map_or("/", |all| all.as_str()).to_owned();
        let (gate, headers) = (gate.clone(), parts.headers.clone());
        let mut visit = Self { gate, caller, headers, who: None, me: None, here };
        match visit.recognise().await {
            Ok(()) => Ok(visit),
            Err(problem) => Err(visit.wrong(&problem)),
        }
    }
}

impl Visit {
    async fn recognise(&mut self) -> Result<(), Problem> {
        self.who = self.gate.signed_in(&self.caller, &self.headers).await?;
        let Some(who) = &self.who else { return Ok(()) };
        let id = who.session.account_id;
        let cast = Reader::new(&self.gate, &self.caller, id).await.cast(&[], &[id]).await?;
        self.me = cast.account(id).cloned();
        Ok(())
    }

    /// The account that looks, 0 for a stranger.
    pub fn viewer(&self) -> u64 {
        self.me.as_ref().map_or(0, |me| me.id)
    }

    /// Reads as this viewer sees.
    pub async fn reader(&self) -> Reader<'_> {
        Reader::new(&self.gate, &self.caller, self.viewer()).await
    }

    pub fn frame(&self, title: &str) -> Frame {
        let server = &self.caller.server;
        let name = if server.name.is_empty() { &server.domain } else { &server.name };
        Frame {
            title: title.to_owned(),
            server: name.clone(),
            me: self.me.as_ref().map(|me| me.handle.clone()),
            mark: self.who.as_ref().map(SignedIn::form_mark).unwrap_or_default(),
            open: server.registration() != RegistrationPolicy::Closed,
            here: self.here.clone(),
        }
    }

    /// The account that is signed in and may act.
    pub fn actor(&self) -> Result<Actor, Problem> {
        let who = self.who.as_ref().ok_or_else(Problem::unauthenticated)?;
        let words = match who.account.state() {
            AccountState::Active | AccountState::Limited => {
                let server_id = self.caller.server.id;
                return Ok(Actor { server_id, account_id: who.session.account_id, app_id: 0 });
            }
            AccountState::Unconfirmed => "Please confirm your e-mail address first.",
            AccountState::Pending => "Your account waits for approval by a moderator.",
            _ => "This account cannot be used.",
        };
        Err(Problem::new(StatusCode::FORBIDDEN, "ACCOUNT_MAY_NOT_ACT", words))
    }

    /// The same for a form: it must come from a page of this session.
    pub fn form(&self, params: &Params) -> Result<Actor, Problem> {
        self.form_of_session(params)?;
        self.actor()
    }

    /// A form must come from a page of this session.
    pub fn form_of_session(&self, params: &Params) -> Result<(), Problem> {
        session::same_origin(&self.caller, &self.headers)?;
        let who = self.who.as_ref().ok_or_else(Problem::unauthenticated)?;
        // Both sides are hashes of a secret, so the time of comparing tells nothing of use.
        if params.text("mark")? != Some(who.form_mark().as_str()) {
            let words = "This form is out of date. Please go back, load the page again and repeat.";
            return Err(Problem::new(StatusCode::FORBIDDEN, "CROSS_SITE", words));
        }
        Ok(())
    }

    /// What went wrong, as a page.
    pub fn wrong(&self, problem: &Problem) -> Response {
        let title = match problem.status {
            StatusCode::NOT_FOUND => "There is nothing here",
            StatusCode::FORBIDDEN => "This is not allowed",
            _ => "This did not work",
        };
        let page = Wrong { frame: self.frame(title), words: said(problem) };
        drawn(problem.status, &page).unwrap_or_else(IntoResponse::into_response)
    }

    /// The answer of a handler; who must sign in first is led there.
    pub fn answer(&self, answer: Result<Response, Problem>) -> Response {
        match answer {
            Ok(response) => response,
            Err(problem) if problem.status == StatusCode::UNAUTHORIZED => onward("/sign-in"),
            Err(problem) => self.wrong(&problem),
        }
    }
}
