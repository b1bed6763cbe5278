//! OAuth apps: registered by anybody, named by their token.

use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::{Gate, ask, there};
use crate::params::Params;
use axum::Json;
use axum::extract::State;
use p92_proto::identity::v1::{App, GetAppRequest, RegisterAppRequest, get_app_request};
use serde_json::{Value, json};

/// Scopes of one text, separated by spaces.
#[must_use]
pub fn scopes(text: &str) -> Vec<String> {
    text.split([' ', '+', ',']).filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
}

fn shown(app: &App) -> Value {
    json!({
        "id": app.id.to_string(),
        "name": app.name,
        "website": super::entity::some(&app.website),
        "scopes": app.scopes,
        "redirect_uris": app.redirect_uris,
        "redirect_uri": app.redirect_uris.join("\n"),
        // Push is not here yet, so there is no key to encrypt for.
        "vapid_key": ""
    })
}

/// `POST /api/v1/apps`.
pub async fn register(
    State(gate): State<Gate>,
    caller: Caller,
    params: Params,
) -> Result<Json<Value>, Problem> {
    let texts = params.list("redirect_uris")?;
    // One text may hold several, one in each line.
    let uris = texts.iter().flat_map(|text| text.split(['\n', '\r', ' '])).filter(|uri| !uri.is_empty());
    let redirect_uris: Vec<String> = uris.map(str::to_owned).collect();
    if redirect_uris.is_empty() {
        return Err(Problem::invalid("redirect_uris", "BLANK", "can't be blank"));
    }
    let asked = match params.text("scopes") {
        Ok(text) => scopes(text.unwrap_or_default()),
        Err(_) => params.list("scopes")?.into_iter().map(str::to_owned).collect(),
    };
    let request = RegisterAppRequest {
        server_id: caller.server.id,
        name: params.needed("client_name")?.to_owned(),
        website: params.text("website")?.unwrap_or_default().to_owned(),
        redirect_uris,
        scopes: asked,
        ..RegisterAppRequest::default()
    };
    let answer = ask(gate.deps.apps.clone().register_app(request).await)?;
    let app = there(answer.app)?;
    let mut body = shown(&app);
    if let Some(members) = body.as_object_mut() {
        members.insert("client_id".to_owned(), app.client_id.into());
        members.insert("client_secret".to_owned(), answer.client_secret.into());
        members.insert("client_secret_expires_at".to_owned(), 0.into());
    }
    Ok(Json(body))
}

/// `GET /api/v1/apps/verify_credentials`.
pub async fn verify(State(gate): State<Gate>, caller: Caller) -> Result<Json<Value>, Problem> {
    let token = caller.token.as_ref().ok_or_else(Problem::unauthenticated)?;
    let request = GetAppRequest {
        server_id: caller.server.id,
        app: Some(get_app_request::App::Id(token.token.app_id)),
    };
    let app = there(ask(gate.deps.apps.clone().get_app(request).await)?.app)?;
    Ok(Json(shown(&app)))
}
