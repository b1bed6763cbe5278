//! Search by name: accounts by the beginning of their handle, posts and accounts by their URL, tags by their name.
//!
//! There is no search in texts here.

use super::entity::account::Account;
use super::entity::status::Status;
use super::hydrate::Reader;
use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::{Gate, ask};
use crate::params::Params;
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use p92_proto::event::v1::IdWindow;
use p92_proto::identity::v1::get_account_request::Account as Which;
use p92_proto::identity::v1::{GetAccountRequest, SearchAccountsRequest};
use p92_proto::posting::v1::ResolveUrisRequest;
use p92_proto::timelines::v1::ListTagRequest;
use serde::Serialize;
use serde_json::{Value, json};

/// Longest question.
const LONGEST: usize = 300;

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Found {
    accounts: Vec<Account>,
    statuses: Vec<Status>,
    hashtags: Vec<Value>,
}

async fn accounts_of(
    reader: &Reader<'_>,
    query: &str,
    limit: u32,
    following: bool,
) -> Result<Vec<Account>, Problem> {
    let query = query.trim_start_matches('@');
    if query.is_empty() || query.chars().count() > LONGEST || query.contains(char::is_whitespace) {
        return Ok(Vec::new());
    }
    let request =
        SearchAccountsRequest { options: reader.options(), query: query.to_owned(), limit, following };
    let found = match ask(reader.gate.deps.accounts.clone().search_accounts(request).await) {
        Ok(answer) => answer.accounts,
        // What cannot be the beginning of a handle begins none.
        Err(problem) if problem.status == StatusCode::UNPROCESSABLE_ENTITY => Vec::new(),
        Err(problem) => return Err(problem),
    };
    let ids: Vec<u64> = found.iter().map(|one| one.id).collect();
    reader.accounts(&ids).await
}

/// `GET /api/v1/accounts/search`.
pub async fn accounts(
    State(gate): State<Gate>,
    caller: Caller,
    params: Params,
) -> Result<Json<Vec<Account>>, Problem> {
    let actor = caller.actor("read:accounts")?;
    let reader = Reader::new(&gate, &caller, actor.account_id).await;
    let query = params.text("q")?.unwrap_or_default().trim();
    let following = params.flag("following")?.unwrap_or(false);
    accounts_of(&reader, query, params.limit(40, 80), following).await.map(Json)
}

/// The post or account that a URL names, as far as known here.
async fn by_url(reader: &Reader<'_>, url: &str, found: &mut Found) -> Result<(), Problem> {
    let request = ResolveUrisRequest { options: reader.options(), uris: vec![url.to_owned()] };
    let named = ask(reader.gate.deps.posts.clone().resolve_uris(request).await)?.uris;
    let ids: Vec<u64> =
        named.iter().filter(|one| !one.deleted).map(|one| one.post_id).filter(|id| *id != 0).collect();
    if !ids.is_empty() {
        let posts = reader.posts(&ids).await?;
        found.statuses = reader.statuses(&posts).await?;
        return Ok(());
    }
    let which = Some(Which::ActivityPubId(url.to_owned()));
    let request = GetAccountRequest { options: reader.options(), account: which };
    match ask(reader.gate.deps.accounts.clone().get_account(request).await) {
        Ok(answer) => {
            let ids: Vec<u64> = answer.account.iter().map(|one| one.id).collect();
            found.accounts = reader.accounts(&ids).await?;
            Ok(())
        }
        Err(problem) if problem.status.is_client_error() => Ok(()),
        Err(problem) => Err(problem),
    }
}

/// The tag of that name, if it has posts.
async fn tag(reader: &Reader<'_>, query: &str) -> Result<Vec<Value>, Problem> {
    let name = query.trim_start_matches('#');
    if name.is_empty() || name.contains(|c: char| !(c.is_alphanumeric() || c == '_')) {
        return Ok(Vec::new());
    }
    let request = ListTagRequest {
        options: reader.options(),
        window: Some(IdWindow { limit: 1, ..IdWindow::default() }),
        any: vec![name.to_owned()],
        ..ListTagRequest::default()
    };
    let entries = ask(reader.gate.deps.timelines.clone().list_tag(request).await)?.entries;
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let name = name.to_lowercase();
    let url = reader.caller.url(&format!("/tags/{name}"));
    Ok(vec![json!({ "id": name, "name": name, "url": url, "history": [], "following": false })])
}

/// `GET /api/v2/search`.
pub async fn all(State(gate): State<Gate>, caller: Caller, params: Params) -> Result<Json<Found>, Problem> {
    let reader = Reader::new(&gate, &caller, caller.viewer("read:search")?).await;
    let query = params.needed("q")?.trim();
    let kind = params.text("type")?.unwrap_or_default();
    let wants = |name| kind.is_empty() || kind == name;
    let mut found = Found::default();
    if query.starts_with("https://") || query.starts_with("http://") {
        if query.len() <= 2_000 {
            by_url(&reader, query, &mut found).await?;
        }
        return Ok(Json(found));
    }
    // There is one page of each: what is asked for behind it is empty.
    if params.number("offset")?.unwrap_or(0) > 0 {
        return Ok(Json(found));
    }
    if wants("accounts") && !query.starts_with('#') {
        let following = params.flag("following")?.unwrap_or(false);
        found.accounts = accounts_of(&reader, query, params.limit(20, 40), following).await?;
    }
    if wants("hashtags") && !query.starts_with('@') && query.chars().count() <= LONGEST {
        found.hashtags = tag(&reader, query).await?;
    }
    Ok(Json(found))
}
