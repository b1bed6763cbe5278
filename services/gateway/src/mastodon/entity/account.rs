//! Accounts, as everybody and as their owners see them.

use super::some;
use crate::mastodon::text;
use p92_kernel::Millis;
use p92_proto::identity::v1 as identity;
use p92_proto::posting::v1::AuthorStats;
use serde::Serialize;

const DAY: u64 = 86_400_000;

#[derive(Clone, Debug, Serialize)]
pub struct Account {
    pub id: String,
    pub username: String,
    pub acct: String,
    pub display_name: String,
    pub locked: bool,
    pub bot: bool,
    pub discoverable: bool,
    pub indexable: bool,
    pub group: bool,
    pub created_at: String,
    pub note: String,
    pub url: String,
    pub uri: String,
    pub avatar: String,
    pub avatar_static: String,
    pub avatar_description: String,
    pub header: String,
    pub header_static: String,
    pub header_description: String,
    pub followers_count: u64,
    pub following_count: u64,
    pub statuses_count: u64,
    pub last_status_at: Option<String>,
    pub hide_collections: bool,
    pub noindex: bool,
    pub emojis: [(); 0],
    pub roles: Vec<RoleName>,
    pub fields: Vec<Field>,
    pub moved: Option<()>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub limited: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Field {
    pub name: String,
    pub value: String,
    pub verified_at: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct RoleName {
    pub id: String,
    pub name: &'static str,
    pub color: &'static str,
}

/// An account with what only its owner sees.
#[derive(Clone, Debug, Serialize)]
pub struct CredentialAccount {
    #[serde(flatten)]
    pub account: Account,
    pub source: Source,
    pub role: Role,
}

#[derive(Clone, Debug, Serialize)]
pub struct Source {
    pub privacy: &'static str,
    pub sensitive: bool,
    pub language: Option<String>,
    pub note: String,
    pub fields: Vec<Field>,
    pub follow_requests_count: u64,
    pub hide_collections: bool,
    pub discoverable: bool,
    pub indexable: bool,
    pub attribution_domains: [(); 0],
}

#[derive(Clone, Debug, Serialize)]
pub struct Role {
    pub id: String,
    pub name: &'static str,
    pub color: &'static str,
    pub permissions: &'static str,
    pub highlighted: bool,
}

/// The handle as members of this server write it.
#[must_use]
pub fn acct(account: &identity::Account, server: &identity::Server) -> String {
    if account.server_id == server.id {
        account.handle.clone()
    } else {
        format!("{}@{}", account.handle, account.domain)
    }
}

/// An account as a member of this server sees it.
#[must_use]
pub fn account(one: &identity::Account, stats: Option<&AuthorStats>, server: &identity::Server) -> Account {
    let is_local = one.server_id != 0;
    let ids = one.activity_pub.clone().unwrap_or_default();
    let picture = |url: &str, file: &str| {
        if url.is_empty() { format!("{}/assets/{file}", server.public_url) } else { url.to_owned() }
    };
    let avatar = picture(&one.avatar_url, "avatar.png");
    let header = picture(&one.header_url, "header.png");
    let fields = one.fields.iter().map(|field| Field {
        name: field.name.clone(),
        value: if is_local { text::linked(&field.value) } else { text::cleaned(&field.value) },
        verified_at: None,
    });
    let last_post_ms = stats.map_or(0, |stats| stats.last_post_ms);
    let day = |ms: u64| Millis(ms - ms % DAY).iso8601();
    let role = (is_local && one.role() as i32 > identity::Role::Member as i32).then(|| RoleName {
        id: (one.role() as i32).to_string(),
        name: role_name(one.role()),
        color: "",
    });
    Account {
        id: one.id.to_string(),
        username: one.handle.clone(),
        acct: acct(one, server),
        display_name: if one.display_name.is_empty() { one.handle.clone() } else { one.display_name.clone() },
        locked: one.locked,
        bot: one.bot,
        discoverable: one.discoverable,
        indexable: one.indexable,
        group: false,
        created_at: day(one.created_ms),
        note: if is_local { text::paragraphs(&one.note) } else { text::cleaned(&one.note) },
        url: if ids.url.is_empty() { ids.id.clone() } else { ids.url },
        uri: ids.id,
        avatar_static: avatar.clone(),
        avatar,
        avatar_description: String::new(),
        header_static: header.clone(),
        header,
        header_description: String::new(),
        followers_count: one.followers_count,
        following_count: one.following_count,
        statuses_count: stats.map_or(0, |stats| stats.posts),
        last_status_at: (last_post_ms != 0).then(|| day(last_post_ms).chars().take(10).collect()),
        hide_collections: one.hide_follows,
        noindex: !one.indexable,
        emojis: [],
        roles: role.into_iter().collect(),
        fields: fields.collect(),
        moved: None,
        limited: one.state() == identity::AccountState::Limited,
    }
}

/// An account with what only its owner sees.
#[must_use]
pub fn own(
    one: &identity::Account,
    stats: Option<&AuthorStats>,
    server: &identity::Server,
) -> CredentialAccount {
    let preferences = one.preferences.clone().unwrap_or_default();
    let plain = |field: &identity::ProfileField| Field {
        name: field.name.clone(),
        value: field.value.clone(),
        verified_at: None,
    };
    CredentialAccount {
        account: account(one, stats, server),
        source: Source {
            privacy: default_visibility(one),
            sensitive: preferences.sensitive,
            language: some(&preferences.language),
            note: one.note.clone(),
            fields: one.fields.iter().map(plain).collect(),
            follow_requests_count: one.follow_requests_count,
            hide_collections: one.hide_follows,
            discoverable: one.discoverable,
            indexable: one.indexable,
            attribution_domains: [],
        },
        role: Role {
            id: (one.role() as i32).to_string(),
            name: if one.role() as i32 > identity::Role::Member as i32 { role_name(one.role()) } else { "" },
            color: "",
            // Apps read administration from bits of Mastodon's own; its admin API is not here, so nobody has any.
            permissions: "0",
            highlighted: one.role() as i32 > identity::Role::Member as i32,
        },
    }
}

const fn role_name(role: identity::Role) -> &'static str {
    match role {
        identity::Role::Owner => "Owner",
        identity::Role::Admin => "Admin",
        identity::Role::Moderator => "Moderator",
        identity::Role::Member | identity::Role::Unspecified => "Member",
    }
}

/// The visibility of posts that state none.
#[must_use]
pub fn default_visibility(one: &identity::Account) -> &'static str {
    match one.preferences.as_ref().map(identity::Preferences::visibility) {
        Some(identity::Visibility::Public) => "public",
        Some(identity::Visibility::Unlisted) => "unlisted",
        Some(identity::Visibility::Followers) => "private",
        Some(identity::Visibility::Direct) => "direct",
        _ if one.locked => "private",
        _ => "public",
    }
}
