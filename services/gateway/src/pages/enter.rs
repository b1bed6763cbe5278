//! Signing up, in and out. Forms of strangers have no session to be marked with: their origin is looked at instead.

use super::visit::{Frame, Visit, said};
use super::{drawn, onward};
use crate::door::session;
use crate::error::Problem;
use crate::gate::{ask, there};
use crate::params::Params;
use askama::Template;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use p92_proto::identity::v1 as identity;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    frame: Frame,
    login: String,
    wrong: String,
}

#[derive(Template)]
#[template(path = "sign_up.html")]
struct SignUp {
    frame: Frame,
    key: String,
    handle: String,
    email: String,
    reason: String,
    asks_reason: bool,
    rules: Vec<String>,
    wrong: String,
}

/// `GET /sign-in`.
pub async fn sign_in_page(visit: Visit) -> Response {
    visit.answer(draw_sign_in(&visit, StatusCode::OK, "", ""))
}

fn draw_sign_in(visit: &Visit, status: StatusCode, login: &str, wrong: &str) -> Result<Response, Problem> {
    drawn(status, &SignIn { frame: visit.frame("Sign in"), login: login.to_owned(), wrong: wrong.to_owned() })
}

/// `POST /sign-in`.
pub async fn sign_in(visit: Visit, params: Params) -> Response {
    let done = async {
        session::same_origin(&visit.caller, &visit.headers)?;
        let login = params.text("login")?.unwrap_or_default().trim();
        visit.gate.limits.password(&visit.caller, login)?;
        match open(&visit, login, params.text("password")?.unwrap_or_default()).await {
            Err(problem) if problem.status.is_client_error() => {
                draw_sign_in(&visit, StatusCode::UNPROCESSABLE_ENTITY, login, &said(&problem))
            }
            answer => answer,
        }
    };
    visit.answer(done.await)
}

/// Opens a session and leads home.
async fn open(visit: &Visit, login: &str, password: &str) -> Result<Response, Problem> {
    let agent =
        visit.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let request = identity::CreateSessionRequest {
        server_id: visit.caller.server.id,
        login: login.to_owned(),
        password: password.to_owned(),
        agent: agent.chars().take(200).collect(),
    };
    let answer = ask(visit.gate.deps.credentials.clone().create_session(request).await)?;
    let seconds = there(answer.session)?.expires_ms.saturating_sub(visit.gate.deps.clock.now().0) / 1_000;
    let mut response = onward("/home");
    if let Some(cookie) = session::set_cookie(&visit.caller, &answer.secret, seconds) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// `GET /sign-up`.
pub async fn sign_up_page(visit: Visit) -> Response {
    visit.answer(draw_sign_up(&visit, &Params::default(), ""))
}

fn draw_sign_up(visit: &Visit, params: &Params, wrong: &str) -> Result<Response, Problem> {
    let server = &visit.caller.server;
    if server.registration() == identity::RegistrationPolicy::Closed {
        return Err(Problem::new(StatusCode::FORBIDDEN, "CLOSED", "This server takes no new members."));
    }
    let text = |name| params.text(name).map(|text| text.unwrap_or_default().to_owned());
    let page = SignUp {
        frame: visit.frame("Sign up"),
        key: visit.gate.new_key(),
        handle: text("handle")?,
        email: text("email")?,
        reason: text("reason")?,
        asks_reason: server.registration() == identity::RegistrationPolicy::Approval,
        rules: server.rules.iter().map(|rule| rule.text.clone()).collect(),
        wrong: wrong.to_owned(),
    };
    drawn(if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY }, &page)
}

/// `POST /sign-up`.
pub async fn sign_up(visit: Visit, params: Params) -> Response {
    let done = async {
        session::same_origin(&visit.caller, &visit.headers)?;
        visit.gate.limits.sign_up(&visit.caller)?;
        let text = |name| params.text(name).map(|text| text.unwrap_or_default().to_owned());
        let key = params.text("key")?.filter(|key| !key.is_empty() && key.len() <= 255);
        let (email, password) = (text("email")?, text("password")?);
        let request = identity::SignUpRequest {
            context: Some(visit.gate.command(visit.caller.server.id, 0, 0, key)),
            handle: text("handle")?,
            email: email.clone(),
            password: password.clone(),
            agreement: params.flag("agreement")?.unwrap_or(false),
            reason: text("reason")?,
            ..identity::SignUpRequest::default()
        };
        let answer = match ask(visit.gate.deps.accounts.clone().sign_up(request).await) {
            Err(problem) if problem.status == StatusCode::UNPROCESSABLE_ENTITY => {
                return draw_sign_up(&visit, &params, &said(&problem));
            }
            answer => answer?,
        };
        if let Some(account) = &answer.account {
            visit.gate.remember(account.id, answer.receipt.as_ref()).await;
        }
        open(&visit, &email, &password).await
    };
    visit.answer(done.await)
}

/// `POST /sign-out`.
pub async fn sign_out(visit: Visit, params: Params) -> Response {
    let done = async {
        let who = visit.who.as_ref().ok_or_else(Problem::unauthenticated)?;
        visit.form_of_session(&params)?;
        let account_id = who.session.account_id;
        let context = Some(visit.gate.command(visit.caller.server.id, account_id, 0, None));
        let request = identity::RevokeSessionRequest { context, session_id: who.session.id };
        ask(visit.gate.deps.credentials.clone().revoke_session(request).await)?;
        let mut response = onward("/");
        let gone = session::set_cookie(&visit.caller, "", 0).unwrap_or_else(|| HeaderValue::from_static(""));
        response.headers_mut().insert(header::SET_COOKIE, gone);
        Ok(response)
    };
    visit.answer(done.await)
}
