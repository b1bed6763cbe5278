//! One's own account: signing up, what apps may know of it, changing it, preferences.

use super::entity::account::{self, CredentialAccount};
use super::hydrate::Reader;
use super::key::Key;
use crate::door::caller::{Actor, Caller, covers};
use crate::error::Problem;
use crate::gate::{Gate, ask, there};
use crate::oauth::token::{Issued, issued};
use crate::params::Params;
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use p92_proto::identity::v1 as identity;
use p92_proto::identity::v1::get_account_request::Account as Which;
use serde_json::{Value, json};

/// `POST /api/v1/accounts`: with a token of the app itself.
pub async fn sign_up(
    State(gate): State<Gate>,
    caller: Caller,
    Key(key): Key,
    params: Params,
) -> Result<Json<Issued>, Problem> {
    let token = caller.token.as_ref().ok_or_else(Problem::unauthenticated)?;
    if token.token.account_id != 0 {
        let words = "This method requires a client credentials authentication";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "APP_NEEDED", words));
    }
    if !covers(&token.token.scopes, "write:accounts") {
        return Err(Problem::out_of_scope());
    }
    gate.limits.sign_up(&caller)?;
    let request = identity::SignUpRequest {
        context: Some(gate.command(caller.server.id, 0, token.token.app_id, key.as_deref())),
        handle: params.needed("username")?.to_owned(),
        email: params.needed("email")?.to_owned(),
        password: params.needed("password")?.to_owned(),
        agreement: params.flag("agreement")?.unwrap_or(false),
        locale: params.text("locale")?.unwrap_or_default().to_owned(),
        reason: params.text("reason")?.unwrap_or_default().to_owned(),
        scopes: token.token.scopes.clone(),
    };
    let answer = ask(gate.deps.accounts.clone().sign_up(request).await)?;
    if let Some(account) = &answer.account {
        gate.remember(account.id, answer.receipt.as_ref()).await;
    }
    Ok(Json(issued(there(answer.token)?)))
}

async fn load(reader: &Reader<'_>, actor: Actor) -> Result<identity::Account, Problem> {
    let which = Some(Which::Id(actor.account_id));
    let request = identity::GetAccountRequest { options: reader.options(), account: which };
    there(ask(reader.gate.deps.accounts.clone().get_account(request).await)?.account)
}

/// The actor's own account, with what only he sees.
pub async fn own(gate: &Gate, caller: &Caller, actor: Actor) -> Result<identity::Account, Problem> {
    load(&Reader::new(gate, caller, actor.account_id).await, actor).await
}

/// `GET /api/v1/accounts/verify_credentials`.
pub async fn verify(State(gate): State<Gate>, caller: Caller) -> Result<Json<CredentialAccount>, Problem> {
    let actor = caller.actor("profile")?;
    let reader = Reader::new(&gate, &caller, actor.account_id).await;
    let (own, stats) = futures::try_join!(load(&reader, actor), reader.stats_of(actor.account_id))?;
    Ok(Json(account::own(&own, stats.as_ref(), &caller.server)))
}

/// `GET /api/v1/preferences`.
pub async fn preferences(State(gate): State<Gate>, caller: Caller) -> Result<Json<Value>, Problem> {
    let actor = caller.actor("read:accounts")?;
    let own = own(&gate, &caller, actor).await?;
    let preferences = own.preferences.clone().unwrap_or_default();
    Ok(Json(json!({
        "posting:default:visibility": account::default_visibility(&own),
        "posting:default:sensitive": preferences.sensitive,
        "posting:default:language": super::entity::some(&preferences.language),
        // How apps open media and warnings is not kept here: they do as they do by default.
        "reading:expand:media": "default",
        "reading:expand:spoilers": false
    })))
}

/// What a request changes of a profile: new values and the names of what they replace.
#[derive(Default)]
struct Change {
    account: identity::Account,
    preferences: identity::Preferences,
    paths: Vec<String>,
}

impl Change {
    fn named(&mut self, path: &str) {
        self.paths.push(path.to_owned());
    }

    fn texts(&mut self, params: &Params) -> Result<(), Problem> {
        if let Some(text) = params.text("display_name")? {
            self.account.display_name = text.to_owned();
            self.named("display_name");
        }
        if let Some(text) = params.text("note")? {
            self.account.note = text.to_owned();
            self.named("note");
        }
        if params.has("fields_attributes") {
            for row in params.rows("fields_attributes")? {
                let member = |name| row.iter().find(|(one, _)| *one == name).map_or("", |(_, text)| text);
                let (name, value) = (member("name").to_owned(), member("value").to_owned());
                if !name.is_empty() || !value.is_empty() {
                    self.account.fields.push(identity::ProfileField { name, value });
                }
            }
            self.named("fields");
        }
        Ok(())
    }

    fn flags(&mut self, params: &Params) -> Result<(), Problem> {
        let account = &mut self.account;
        let flags = [
            ("locked", "locked", &mut account.locked),
            ("bot", "bot", &mut account.bot),
            ("discoverable", "discoverable", &mut account.discoverable),
            ("indexable", "indexable", &mut account.indexable),
            ("hide_collections", "hide_follows", &mut account.hide_follows),
            ("source[sensitive]", "preferences.sensitive", &mut self.preferences.sensitive),
        ];
        for (name, path, place) in flags {
            if let Some(flag) = params.flag(name)? {
                *place = flag;
                self.paths.push(path.to_owned());
            }
        }
        Ok(())
    }

    fn source(&mut self, params: &Params) -> Result<(), Problem> {
        if let Some(name) = params.text("source[privacy]")?.filter(|name| !name.is_empty()) {
            let visibility = match name {
                "public" => identity::Visibility::Public,
                "unlisted" => identity::Visibility::Unlisted,
                "private" => identity::Visibility::Followers,
                "direct" => identity::Visibility::Direct,
                _ => return Err(Problem::invalid("source", "INVALID", "has a privacy that does not exist")),
            };
            self.preferences.set_visibility(visibility);
            self.named("preferences.visibility");
        }
        if let Some(language) = params.text("source[language]")? {
            self.preferences.language = language.to_owned();
            self.named("preferences.language");
        }
        Ok(())
    }
}

/// `PATCH /api/v1/accounts/update_credentials`.
pub async fn update(
    State(gate): State<Gate>,
    caller: Caller,
    Key(key): Key,
    params: Params,
) -> Result<Json<CredentialAccount>, Problem> {
    let actor = caller.actor("write:accounts")?;
    if params.is_file("avatar") || params.is_file("header") {
        return Err(Problem::absent("place for pictures"));
    }
    let mut change = Change::default();
    change.texts(&params)?;
    change.flags(&params)?;
    change.source(&params)?;
    if !change.paths.is_empty() {
        change.account.preferences = Some(change.preferences);
        let request = identity::UpdateProfileRequest {
            context: Some(gate.command(actor.server_id, actor.account_id, actor.app_id, key.as_deref())),
            update_mask: Some(prost_types::FieldMask { paths: change.paths }),
            account: Some(change.account),
        };
        let answer = ask(gate.deps.accounts.clone().update_profile(request).await)?;
        gate.remember(actor.account_id, answer.receipt.as_ref()).await;
    }
    verify_again(&gate, &caller, actor).await
}

async fn verify_again(
    gate: &Gate,
    caller: &Caller,
    actor: Actor,
) -> Result<Json<CredentialAccount>, Problem> {
    let reader = Reader::new(gate, caller, actor.account_id).await;
    let (own, stats) = futures::try_join!(load(&reader, actor), reader.stats_of(actor.account_id))?;
    Ok(Json(account::own(&own, stats.as_ref(), &caller.server)))
}
