//! Pages that only show: landing, home, profiles, threads.

use super::card::{Card, cards, clean, letter, name_of};
use super::visit::{Frame, Visit};
use super::{drawn, filters};
use crate::error::Problem;
use crate::gate::{ask, there};
use crate::mastodon::entity::account;
use crate::mastodon::hydrate::Reader;
use crate::params::Params;
use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use p92_kernel::Id;
use p92_proto::event::v1::IdWindow;
use p92_proto::identity::v1 as identity;
use p92_proto::posting::v1 as posting;
use p92_proto::timelines::v1 as timelines;

/// Posts of a page.
const PAGE: u32 = 20;

/// The form that writes a post.
#[derive(Clone, Debug, Default)]
pub struct Composer {
    pub anchor: &'static str,
    pub label: &'static str,
    pub key: String,
    pub reply_to: u64,
    pub most: u32,
    pub text: String,
    pub warning: String,
    pub visibility: String,
    pub wrong: String,
}

impl Composer {
    /// Who may see a post: what the form says, and what people read.
    pub const fn choices(&self) -> [(&'static str, &'static str); 4] {
        [
            ("public", "Everybody"),
            ("unlisted", "Everybody, quietly"),
            ("private", "Followers"),
            ("direct", "Mentioned people"),
        ]
    }

    pub fn new(visit: &Visit, anchor: &'static str, label: &'static str) -> Self {
        let most = visit.caller.server.policies.as_ref().map_or(0, |policies| policies.post_characters);
        let most = if most == 0 { 500 } else { most };
        Self { anchor, label, key: visit.gate.new_key(), most, ..Self::default() }
    }
}

#[derive(Template)]
#[template(path = "landing.html")]
struct Landing {
    frame: Frame,
    description: String,
    rules: Vec<String>,
    cards: Vec<Card>,
    empty: &'static str,
    older: String,
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    frame: Frame,
    composer: Composer,
    cards: Vec<Card>,
    empty: &'static str,
    older: String,
}

#[derive(Template)]
#[template(path = "profile.html")]
struct Profile {
    frame: Frame,
    id: u64,
    letter: String,
    handle: String,
    note: String,
    posts: u64,
    followers: u64,
    following: u64,
    stranger: bool,
    followed: bool,
    follow_word: &'static str,
    cards: Vec<Card>,
    empty: &'static str,
    older: String,
}

#[derive(Template)]
#[template(path = "thread.html")]
struct Thread {
    frame: Frame,
    composer: Composer,
    before: Vec<Card>,
    post: Vec<Card>,
    after: Vec<Card>,
}

fn window(params: &Params) -> Result<Option<IdWindow>, Problem> {
    Ok(Some(IdWindow { max_id: params.id("max_id")?, limit: PAGE, ..IdWindow::default() }))
}

/// Where a full page goes on.
fn older(path: &str, ids: &[u64]) -> String {
    match ids.last() {
        Some(last) if ids.len() >= PAGE as usize => format!("{path}?max_id={last}"),
        _ => String::new(),
    }
}

async fn entries(
    reader: &Reader<'_>,
    entries: &[timelines::TimelineEntry],
) -> Result<(Vec<Card>, Vec<u64>), Problem> {
    let ids: Vec<u64> = entries.iter().map(|entry| entry.id).collect();
    let posts = if ids.is_empty() { Vec::new() } else { reader.posts(&ids).await? };
    Ok((cards(&reader.statuses(&posts).await?, reader.viewer_id), ids))
}

/// `GET /`.
pub async fn landing(visit: Visit, params: Params) -> Response {
    let page = async {
        let reader = visit.reader().await;
        let request = timelines::ListPublicRequest {
            options: reader.options(),
            window: window(&params)?,
            local: true,
            ..timelines::ListPublicRequest::default()
        };
        let found = ask(visit.gate.deps.timelines.clone().list_public(request).await)?.entries;
        let (cards, ids) = entries(&reader, &found).await?;
        let server = &visit.caller.server;
        drawn(
            StatusCode::OK,
            &Landing {
                frame: visit.frame("Welcome"),
                description: server.description.clone(),
                rules: server.rules.iter().map(|rule| rule.text.clone()).collect(),
                cards,
                empty: "Nobody here has written anything for everybody yet.",
                older: older("/", &ids),
            },
        )
    };
    visit.answer(page.await)
}

/// Home with this composer.
pub async fn draw_home(
    visit: &Visit,
    params: &Params,
    status: StatusCode,
    composer: Composer,
) -> Result<Response, Problem> {
    visit.actor()?;
    let reader = visit.reader().await;
    let request = timelines::ListHomeRequest {
        options: reader.options(),
        window: window(params)?,
        source: timelines::TimelineSource::Unspecified.into(),
    };
    let found = ask(visit.gate.deps.timelines.clone().list_home(request).await)?.entries;
    let (cards, ids) = entries(&reader, &found).await?;
    let empty = "Nothing here yet. Write something, or follow people whom you find among the public posts of this server.";
    drawn(status, &Home { frame: visit.frame("Home"), composer, cards, empty, older: older("/home", &ids) })
}

/// `GET /home`.
pub async fn home(visit: Visit, params: Params) -> Response {
    let composer = Composer::new(&visit, "compose", "What is on your mind?");
    visit.answer(draw_home(&visit, &params, StatusCode::OK, composer).await)
}

async fn account_at(reader: &Reader<'_>, handle: &str) -> Result<identity::Account, Problem> {
    let which = identity::get_account_request::Account::Handle(handle.to_owned());
    let request = identity::GetAccountRequest { options: reader.options(), account: Some(which) };
    match ask(reader.gate.deps.accounts.clone().get_account(request).await) {
        // What is no handle names nobody.
        Err(problem) if problem.status == StatusCode::UNPROCESSABLE_ENTITY => Err(Problem::not_found()),
        answer => there(answer?.account),
    }
}

/// How the viewer stands to an account: what the button says, and whether it undoes.
async fn standing(visit: &Visit, reader: &Reader<'_>, id: u64) -> Result<(&'static str, bool), Problem> {
    if visit.viewer() == 0 || visit.viewer() == id {
        return Ok(("", false));
    }
    let request = identity::GetRelationshipsRequest { options: reader.options(), account_ids: vec![id] };
    let found = ask(visit.gate.deps.relationships.clone().get_relationships(request).await)?.relationships;
    Ok(match found.first().map(identity::Relationship::following) {
        Some(identity::FollowState::Following) => ("Unfollow", true),
        Some(identity::FollowState::Requested) => ("Take back the request", true),
        _ => ("Follow", false),
    })
}

/// `GET /@handle`.
pub async fn profile(visit: Visit, Path(handle): Path<String>, params: Params) -> Response {
    let Some(handle) = handle.strip_prefix('@') else { return Problem::not_found().into_response() };
    visit.answer(draw_profile(&visit, handle, &params).await)
}

async fn draw_profile(visit: &Visit, handle: &str, params: &Params) -> Result<Response, Problem> {
    let reader = visit.reader().await;
    let found = account_at(&reader, handle).await?;
    let request = posting::ListByAuthorRequest {
        options: reader.options(),
        author_id: found.id,
        window: window(params)?,
        ..posting::ListByAuthorRequest::default()
    };
    let posts = ask(visit.gate.deps.posts.clone().list_by_author(request).await)?.posts;
    let stats = reader.stats_of(found.id).await?;
    let shape = account::account(&found, stats.as_ref(), &visit.caller.server);
    let (follow_word, followed) = standing(visit, &reader, found.id).await?;
    let ids: Vec<u64> = posts.iter().map(|post| post.id).collect();
    let name = name_of(&shape.display_name, &shape.username);
    let page = Profile {
        frame: visit.frame(name),
        id: found.id,
        letter: letter(name),
        note: clean(&shape.note),
        posts: shape.statuses_count,
        followers: shape.followers_count,
        following: shape.following_count,
        stranger: !follow_word.is_empty(),
        followed,
        follow_word,
        cards: cards(&reader.statuses(&posts).await?, reader.viewer_id),
        empty: "No posts that you can see.",
        older: older(&format!("/@{}", shape.acct), &ids),
        handle: format!("{}@{}", found.handle, found.domain),
    };
    drawn(StatusCode::OK, &page)
}

/// `GET /@handle/id`.
pub async fn thread(visit: Visit, Path((handle, id)): Path<(String, String)>) -> Response {
    if !handle.starts_with('@') {
        return Problem::not_found().into_response();
    }
    visit.answer(draw_thread(&visit, &id).await)
}

async fn draw_thread(visit: &Visit, id: &str) -> Result<Response, Problem> {
    let post_id = id.parse::<Id>().map_err(|_| Problem::not_found())?.get();
    let reader = visit.reader().await;
    let status = reader.status(post_id).await?;
    let request = posting::GetContextRequest { options: reader.options(), post_id };
    let around = ask(visit.gate.deps.posts.clone().get_context(request).await)?;
    let (before, after) =
        futures::try_join!(reader.statuses(&around.ancestors), reader.statuses(&around.descendants))?;
    let viewer = reader.viewer_id;
    let name = name_of(&status.account.display_name, &status.account.username);
    let mut composer = Composer::new(visit, "reply", "Your reply");
    composer.reply_to = post_id;
    composer.visibility =
        status.reblog.as_ref().map_or(status.visibility, |inner| inner.visibility).to_owned();
    if visit.viewer() != 0 && status.account.id != viewer.to_string() {
        composer.text = format!("@{} ", status.account.acct);
    }
    let page = Thread {
        frame: visit.frame(&format!("Post by {name}")),
        composer,
        before: cards(&before, viewer),
        after: cards(&after, viewer),
        post: cards(std::slice::from_ref(&status), viewer),
    };
    drawn(StatusCode::OK, &page)
}
