//! Tokens: from codes, for apps themselves, for passwords where the operator allows it; and their end.

use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::{Gate, ask, there};
use crate::mastodon::apps::scopes;
use crate::params::Params;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use http::{HeaderMap, StatusCode, header};
use p92_proto::identity::v1 as identity;
use serde::Serialize;
use serde_json::json;

/// A token as apps get it.
#[derive(Debug, Serialize)]
pub struct Issued {
    access_token: String,
    token_type: &'static str,
    scope: String,
    created_at: u64,
}

/// A token with its secret, in its shape.
#[must_use]
pub fn issued(token: identity::IssuedToken) -> Issued {
    let facts = token.token.unwrap_or_default();
    Issued {
        access_token: token.secret,
        token_type: "Bearer",
        scope: facts.scopes.join(" "),
        created_at: facts.created_ms / 1_000,
    }
}

/// Id and secret of the app: in the body, or as HTTP Basic (RFC 6749 §2.3.1).
struct Client {
    id: String,
    secret: String,
}

fn client(headers: &HeaderMap, params: &Params) -> Result<Client, Problem> {
    let invalid = || Problem::new(StatusCode::UNAUTHORIZED, "INVALID_CLIENT", "The client is not known.");
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let basic =
        value.and_then(|text| text.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("basic"));
    if let Some((_, encoded)) = basic {
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(encoded.trim()).map_err(|_| invalid())?;
        let text = String::from_utf8(bytes).map_err(|_| invalid())?;
        let (id, secret) = text.split_once(':').ok_or_else(invalid)?;
        let plain = |text: &str| {
            percent_encoding::percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| invalid())
        };
        return Ok(Client { id: plain(id)?, secret: plain(secret)? });
    }
    Ok(Client {
        id: params.text("client_id")?.ok_or_else(invalid)?.to_owned(),
        secret: params.text("client_secret")?.unwrap_or_default().to_owned(),
    })
}

/// `POST /oauth/token`.
pub async fn token(
    State(gate): State<Gate>,
    caller: Caller,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    let token = exchange(&gate, &caller, &headers, &params).await.map_err(Problem::into_oauth)?;
    let kept = [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")];
    Ok((kept, Json(issued(token))).into_response())
}

async fn exchange(
    gate: &Gate,
    caller: &Caller,
    headers: &HeaderMap,
    params: &Params,
) -> Result<identity::IssuedToken, Problem> {
    let Client { id: client_id, secret: client_secret } = client(headers, params)?;
    let mut tokens = gate.deps.tokens.clone();
    let server_id = caller.server.id;
    let text = |name| params.text(name).map(|text| text.unwrap_or_default().to_owned());
    match text("grant_type")?.as_str() {
        "authorization_code" => {
            let request = identity::ExchangeCodeRequest {
                server_id,
                client_id,
                client_secret,
                code: text("code")?,
                redirect_uri: text("redirect_uri")?,
                code_verifier: text("code_verifier")?,
            };
            there(ask(tokens.exchange_code(request).await)?.token)
        }
        "client_credentials" => {
            let scopes = scopes(&text("scope")?);
            let request =
                identity::GrantClientCredentialsRequest { server_id, client_id, client_secret, scopes };
            there(ask(tokens.grant_client_credentials(request).await)?.token)
        }
        "password" => {
            let login = text("username")?;
            gate.limits.password(caller, &login)?;
            let request = identity::GrantPasswordRequest {
                server_id,
                client_id,
                client_secret,
                login,
                password: text("password")?,
                scopes: scopes(&text("scope")?),
            };
            there(ask(tokens.grant_password(request).await)?.token)
        }
        "" => Err(Problem::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", "There is no grant_type.")),
        _ => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "UNSUPPORTED_GRANT_TYPE",
            "The authorization grant type is not supported.",
        )),
    }
}

/// `POST /oauth/revoke`. An unknown token is revoked already.
pub async fn revoke(
    State(gate): State<Gate>,
    caller: Caller,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    let end = async {
        let Client { id: client_id, secret: client_secret } = client(&headers, &params)?;
        let secret = params.text("token")?.unwrap_or_default().to_owned();
        let request =
            identity::RevokeTokenRequest { server_id: caller.server.id, client_id, client_secret, secret };
        let key = Gate::secret_key(caller.server.id, &request.secret);
        ask(gate.deps.tokens.clone().revoke_token(request).await)?;
        gate.tokens.invalidate(&key).await;
        Ok(())
    };
    end.await.map_err(Problem::into_oauth)?;
    Ok(Json(json!({})).into_response())
}
