//! Posts and boosts as statuses, their sources and their history.

use super::account::Account;
use super::{moment, some, some_id};
use crate::mastodon::fragments::Fragment;
use crate::mastodon::hydrate::Cast;
use p92_kernel::Millis;
use p92_proto::posting::v1 as posting;
use serde::Serialize;
use std::borrow::Cow;
use std::sync::LazyLock;

#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub id: String,
    pub created_at: String,
    pub in_reply_to_id: Option<String>,
    pub in_reply_to_account_id: Option<String>,
    pub sensitive: bool,
    pub spoiler_text: String,
    pub visibility: &'static str,
    pub language: Option<String>,
    pub uri: String,
    pub url: Option<String>,
    pub replies_count: u64,
    pub reblogs_count: u64,
    pub favourites_count: u64,
    pub edited_at: Option<String>,
    pub content: String,
    pub reblog: Option<Box<Status>>,
    pub application: Option<Application>,
    pub account: Account,
    pub media_attachments: [(); 0],
    pub mentions: Vec<Mention>,
    pub tags: Vec<Tag>,
    pub emojis: [(); 0],
    pub card: Option<()>,
    pub poll: Option<()>,
    #[serde(flatten)]
    pub viewer: Option<Marks>,
    /// Only of a post just deleted, so that it can be written again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What the viewer did with it; left out for a stranger.
#[derive(Clone, Debug, Default, Serialize, PartialEq, Eq)]
pub struct Marks {
    pub favourited: bool,
    pub reblogged: bool,
    pub muted: bool,
    pub bookmarked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    pub filtered: [(); 0],
}

impl From<&posting::ViewerMarks> for Marks {
    fn from(marks: &posting::ViewerMarks) -> Self {
        Self {
            favourited: marks.liked,
            reblogged: marks.boosted,
            bookmarked: marks.bookmarked,
            ..Self::default()
        }
    }
}

impl Marks {
    /// Its fields, to be put into an object. Of nearly every post of a page the viewer has marked nothing.
    #[must_use]
    pub fn fields(&self) -> Cow<'static, str> {
        static NONE: LazyLock<String> = LazyLock::new(|| Marks::default().written());
        if *self == Self::default() { Cow::Borrowed(NONE.as_str()) } else { Cow::Owned(self.written()) }
    }

    fn written(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        json.strip_prefix('{').and_then(open).unwrap_or_default().to_owned()
    }
}

/// An object without its end.
fn open(json: &str) -> Option<&str> {
    json.strip_suffix('}')
}

impl Status {
    fn is_for_everybody(&self) -> bool {
        matches!(self.visibility, "public" | "unlisted")
            && self.text.is_none()
            && self.reblog.as_deref().is_none_or(Self::is_for_everybody)
    }

    /// Its bytes, cut where the viewer's marks belong; `None` if it is not for everybody.
    #[must_use]
    pub fn fragment(&self) -> Option<Fragment> {
        if !self.is_for_everybody() {
            return None;
        }
        let bare = Self { viewer: None, reblog: None, ..self.clone() };
        let json = serde_json::to_string(&bare).ok()?;
        let author = bare.account.id.parse().ok()?;
        let Some(inner) = self.reblog.as_deref() else {
            let (marked, rest) = (self.id.parse().ok()?, open(&json)?.to_owned());
            return Some(Fragment { marked, authors: [author; 2], wrapped: None, rest });
        };
        // Quotes within texts are written as `\"`, so this stands nowhere else.
        let (before, after) = json.split_once("\"reblog\":null")?;
        let within = serde_json::to_string(&Self { viewer: None, ..inner.clone() }).ok()?;
        Some(Fragment {
            marked: inner.id.parse().ok()?,
            authors: [author, inner.account.id.parse().ok()?],
            wrapped: Some((format!("{before}\"reblog\":"), open(&within)?.to_owned())),
            rest: open(after)?.to_owned(),
        })
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Application {
    pub name: String,
    pub website: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Mention {
    pub id: String,
    pub username: String,
    pub url: String,
    pub acct: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Tag {
    pub name: String,
    pub url: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct StatusSource {
    pub id: String,
    pub text: String,
    pub spoiler_text: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct StatusEdit {
    pub content: String,
    pub spoiler_text: String,
    pub sensitive: bool,
    pub created_at: String,
    pub account: Account,
    pub media_attachments: [(); 0],
    pub emojis: [(); 0],
    pub poll: Option<()>,
}

/// What Mastodon calls a visibility.
#[must_use]
pub const fn visibility_name(visibility: posting::Visibility) -> &'static str {
    match visibility {
        posting::Visibility::Public => "public",
        posting::Visibility::Unlisted => "unlisted",
        posting::Visibility::Followers => "private",
        // What says nothing is shown as the narrowest.
        posting::Visibility::Direct | posting::Visibility::Unspecified => "direct",
    }
}

/// The visibility of that name.
#[must_use]
pub fn visibility_of(name: &str) -> Option<posting::Visibility> {
    match name {
        "public" => Some(posting::Visibility::Public),
        "unlisted" => Some(posting::Visibility::Unlisted),
        "private" => Some(posting::Visibility::Followers),
        "direct" => Some(posting::Visibility::Direct),
        _ => None,
    }
}

/// A post or boost, with everybody and everything that it names taken from the cast. `None` if its author or, for a
/// boost, the boosted one is not to be seen any more.
#[must_use]
pub fn status(post: &posting::Post, cast: &Cast) -> Option<Status> {
    let account = cast.account(post.author_id)?;
    let boosted = match &post.boosted {
        Some(inner) => Some(Box::new(status(inner, cast)?)),
        None => None,
    };
    let counts = post.counts.unwrap_or_default();
    let marks = post.marks.unwrap_or_default();
    let mut viewer = (cast.viewer_id != 0).then(|| Marks {
        pinned: (post.author_id == cast.viewer_id).then_some(marks.pinned || post.pinned),
        ..Marks::from(&marks)
    });
    let mut numbers = (counts.replies, counts.boosts, counts.likes);
    if let Some(inner) = &boosted {
        // What was done to a boost was done to the post that it wraps.
        viewer = inner.viewer.clone().map(|marks| Marks { pinned: None, ..marks });
        numbers = (inner.replies_count, inner.reblogs_count, inner.favourites_count);
    }
    let home = account.domain.as_str();
    Some(Status {
        id: post.id.to_string(),
        created_at: Millis(post.created_ms).iso8601(),
        in_reply_to_id: some_id(post.in_reply_to_id),
        in_reply_to_account_id: some_id(post.in_reply_to_author_id),
        sensitive: post.sensitive,
        spoiler_text: post.content_warning.clone(),
        visibility: visibility_name(post.visibility()),
        language: some(&post.language),
        uri: post.object_id.clone(),
        url: some(&post.url).or_else(|| boosted.as_ref().and_then(|inner| inner.url.clone())),
        replies_count: numbers.0,
        reblogs_count: numbers.1,
        favourites_count: numbers.2,
        edited_at: moment(post.edited_ms),
        content: post.html.clone(),
        reblog: boosted,
        application: cast.application(post.app_id),
        mentions: post.mentions.iter().map(|one| mention(one, home, cast)).collect(),
        tags: post.tags.iter().map(|tag| Tag { name: tag.name.clone(), url: tag.url.clone() }).collect(),
        account: cast.shown(account),
        media_attachments: [],
        emojis: [],
        card: None,
        poll: None,
        viewer,
        text: None,
    })
}

/// Handles in a post are as its author's server writes them; here they are as the viewer's does.
fn mention(one: &posting::Mention, home: &str, cast: &Cast) -> Mention {
    let (username, domain) = one.handle.split_once('@').unwrap_or((&one.handle, home));
    let here = cast.server.domain == domain;
    Mention {
        id: one.account_id.to_string(),
        username: username.to_owned(),
        url: one.url.clone(),
        acct: if here { username.to_owned() } else { format!("{username}@{domain}") },
    }
}

/// One state of a post.
#[must_use]
pub fn edit(revision: &posting::Revision, cast: &Cast) -> Option<StatusEdit> {
    Some(StatusEdit {
        content: revision.html.clone(),
        spoiler_text: revision.content_warning.clone(),
        sensitive: revision.sensitive,
        created_at: Millis(revision.created_ms).iso8601(),
        account: cast.shown(cast.account(revision.author_id)?),
        media_attachments: [],
        emojis: [],
        poll: None,
    })
}
