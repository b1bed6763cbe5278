//! `/oauth/authorize`: a person signs in, sees who asks for what, and allows or refuses.
//!
//! What is wrong with the app or its redirect URI is shown here and never sent there; the rest goes back to the app.

use super::page;
use crate::door::caller::Caller;
use crate::door::session::{self, SignedIn};
use crate::error::Problem;
use crate::gate::{Gate, ask, there};
use crate::mastodon::apps::scopes;
use crate::params::Params;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use p92_proto::identity::v1 as identity;
use p92_proto::identity::v1::AccountState;
use url::form_urlencoded::Serializer;

/// Where a code is shown instead of sent.
const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";
/// Longest `state` that is carried back.
const LONGEST_STATE: usize = 4_096;

/// What the app asks for, as it came.
struct Asked {
    request: identity::AuthorizationAsked,
    response_type: String,
    state: Option<String>,
    force_login: bool,
}

fn asked(params: &Params) -> Result<Asked, Problem> {
    let text = |name| params.text(name).map(|text| text.unwrap_or_default().to_owned());
    let state = params.text("state")?.map(str::to_owned);
    if state.as_ref().is_some_and(|state| state.len() > LONGEST_STATE) {
        return Err(Problem::malformed("The state is longer than 4,096 bytes."));
    }
    Ok(Asked {
        request: identity::AuthorizationAsked {
            client_id: text("client_id")?,
            redirect_uri: text("redirect_uri")?,
            scopes: scopes(&text("scope")?),
            code_challenge: text("code_challenge")?,
            code_challenge_method: text("code_challenge_method")?,
        },
        response_type: text("response_type")?,
        state,
        force_login: params.flag("force_login").unwrap_or(None).unwrap_or(false),
    })
}

impl Asked {
    /// The same question, as hidden fields of a form.
    fn hidden(&self) -> Vec<(&'static str, String)> {
        let request = &self.request;
        let mut all = vec![
            ("response_type", self.response_type.clone()),
            ("client_id", request.client_id.clone()),
            ("redirect_uri", request.redirect_uri.clone()),
            ("scope", request.scopes.join(" ")),
        ];
        if !request.code_challenge.is_empty() {
            all.push(("code_challenge", request.code_challenge.clone()));
            all.push(("code_challenge_method", request.code_challenge_method.clone()));
        }
        if let Some(state) = &self.state {
            all.push(("state", state.clone()));
        }
        all
    }

    /// Sends the browser back to the app.
    fn back(&self, pairs: &[(&str, &str)]) -> Result<Response, Problem> {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(pairs);
        if let Some(state) = &self.state {
            query.append_pair("state", state);
        }
        let uri = &self.request.redirect_uri;
        let joint = if uri.contains('?') { '&' } else { '?' };
        redirect(&format!("{uri}{joint}{}", query.finish()))
    }
}

fn redirect(to: &str) -> Result<Response, Problem> {
    let to = HeaderValue::from_str(to).map_err(|_| Problem::malformed("The redirect URI cannot be used."))?;
    let headers = [(header::LOCATION, to), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

fn shown(caller: &Caller, problem: &Problem) -> Response {
    let status =
        if problem.status == StatusCode::UNPROCESSABLE_ENTITY || problem.status == StatusCode::UNAUTHORIZED {
            StatusCode::BAD_REQUEST
        } else {
            problem.status
        };
    page::wrong(&caller.server.name, status, &problem.error)
}

/// Whether the app may ask for that: the app, or the answer that says why not.
async fn check(
    gate: &Gate,
    caller: &Caller,
    asked: &Asked,
) -> Result<identity::CheckAuthorizationResponse, Response> {
    let request = identity::CheckAuthorizationRequest {
        server_id: caller.server.id,
        asked: Some(asked.request.clone()),
    };
    let answer = ask(gate.deps.tokens.clone().check_authorization(request).await);
    let back = |name: &str, words: &str| {
        if asked.request.redirect_uri == OUT_OF_BAND {
            return page::wrong(&caller.server.name, StatusCode::BAD_REQUEST, words);
        }
        let sent = asked.back(&[("error", name), ("error_description", words)]);
        sent.unwrap_or_else(|problem| shown(caller, &problem))
    };
    match answer {
        Ok(_) if asked.response_type != "code" => {
            Err(back("unsupported_response_type", "The only response type is code."))
        }
        Ok(answer) => Ok(answer),
        Err(problem) if problem.reason.as_ref() == "INVALID_SCOPE" => {
            Err(back("invalid_scope", &problem.error))
        }
        Err(problem) if problem.reason.as_ref() == "INVALID_REQUEST" => {
            Err(back("invalid_request", &problem.error))
        }
        Err(problem) => Err(shown(caller, &problem)),
    }
}

fn refused_account(state: AccountState) -> Option<&'static str> {
    match state {
        AccountState::Active | AccountState::Limited => None,
        AccountState::Unconfirmed => Some("Please confirm your e-mail address first."),
        AccountState::Pending => Some("Your account waits for approval by a moderator."),
        _ => Some("This account cannot be used."),
    }
}

/// `GET /oauth/authorize`.
pub async fn show(State(gate): State<Gate>, caller: Caller, headers: HeaderMap, params: Params) -> Response {
    let asked = match asked(&params) {
        Ok(asked) => asked,
        Err(problem) => return shown(&caller, &problem),
    };
    let checked = match check(&gate, &caller, &asked).await {
        Ok(checked) => checked,
        Err(response) => return response,
    };
    let app = checked.app.unwrap_or_default();
    let mut hidden = asked.hidden();
    match gate.signed_in(&caller, &headers).await {
        Err(problem) => shown(&caller, &problem),
        Ok(Some(someone)) if !asked.force_login => {
            if let Some(words) = refused_account(someone.account.state()) {
                return page::wrong(&caller.server.name, StatusCode::FORBIDDEN, words);
            }
            hidden.push(("mark", someone.form_mark()));
            page::consent(&caller.server.name, &app.name, &app.website, &checked.scopes, &hidden)
        }
        Ok(_) => page::sign_in(&caller.server.name, &app.name, &hidden, None),
    }
}

/// `POST /oauth/authorize`: a password, or a decision.
pub async fn decide(
    State(gate): State<Gate>,
    caller: Caller,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let decided = async {
        session::same_origin(&caller, &headers)?;
        let asked = asked(&params)?;
        let checked = match check(&gate, &caller, &asked).await {
            Ok(checked) => checked,
            Err(response) => return Ok(response),
        };
        let app = checked.app.unwrap_or_default();
        if params.has("password") {
            return sign_in(&gate, &caller, &headers, &params, &asked, &app).await;
        }
        let Some(someone) = gate.signed_in(&caller, &headers).await? else {
            return Ok(page::sign_in(&caller.server.name, &app.name, &asked.hidden(), None));
        };
        if params.text("mark")? != Some(someone.form_mark().as_str()) {
            let words = "This form is out of date. Please go back and try again.";
            return Err(Problem::new(StatusCode::FORBIDDEN, "CROSS_SITE", words));
        }
        if params.text("decision")? != Some("approve") {
            return refuse(&caller, &asked);
        }
        approve(&gate, &caller, &someone, &asked, &app).await
    };
    decided.await.unwrap_or_else(|problem| shown(&caller, &problem))
}

fn refuse(caller: &Caller, asked: &Asked) -> Result<Response, Problem> {
    if asked.request.redirect_uri == OUT_OF_BAND {
        return Ok(page::wrong(&caller.server.name, StatusCode::OK, "You refused. Nothing was allowed."));
    }
    asked.back(&[("error", "access_denied"), ("error_description", "The resource owner denied the request.")])
}

async fn approve(
    gate: &Gate,
    caller: &Caller,
    someone: &SignedIn,
    asked: &Asked,
    app: &identity::App,
) -> Result<Response, Problem> {
    if let Some(words) = refused_account(someone.account.state()) {
        return Ok(page::wrong(&caller.server.name, StatusCode::FORBIDDEN, words));
    }
    let request = identity::AuthorizeRequest {
        server_id: caller.server.id,
        account_id: someone.session.account_id,
        asked: Some(asked.request.clone()),
    };
    let code = ask(gate.deps.tokens.clone().authorize(request).await)?.code;
    if asked.request.redirect_uri == OUT_OF_BAND {
        return Ok(page::code(&caller.server.name, &app.name, &code));
    }
    asked.back(&[("code", &code)])
}

async fn sign_in(
    gate: &Gate,
    caller: &Caller,
    headers: &HeaderMap,
    params: &Params,
    asked: &Asked,
    app: &identity::App,
) -> Result<Response, Problem> {
    let login = params.text("login")?.unwrap_or_default().trim();
    gate.limits.password(caller, login)?;
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let request = identity::CreateSessionRequest {
        server_id: caller.server.id,
        login: login.to_owned(),
        password: params.text("password")?.unwrap_or_default().to_owned(),
        agent: agent.chars().take(200).collect(),
    };
    let answer = match ask(gate.deps.credentials.clone().create_session(request).await) {
        Ok(answer) => answer,
        Err(problem) if problem.status.is_client_error() => {
            let page = page::sign_in(&caller.server.name, &app.name, &asked.hidden(), Some(&problem.error));
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
        Err(problem) => return Err(problem),
    };
    let made = there(answer.session)?;
    let mut again = Serializer::new(String::new());
    again.extend_pairs(asked.hidden());
    let mut response = redirect(&format!("/oauth/authorize?{}", again.finish()))?;
    let seconds = made.expires_ms.saturating_sub(gate.deps.clock.now().0) / 1_000;
    if let Some(cookie) = session::set_cookie(caller, &answer.secret, seconds) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
