//! Every table of identity, and how its keys are made.
//!
//! Views hold what streams fold to and may be rebuilt. State holds secrets (hashed) and names that have one owner.

use crate::domain::relationship::Pair;
use crate::domain::sealed::BlindKey;
use bytes::Bytes;
use p92_kernel::{AccountId, Shard};
use p92_storage::{Class, Key, KeyReader, Malformed, Table};

macro_rules! table {
    ($(#[$doc:meta])* $name:ident, $table:literal, $class:ident, $row:literal, $serves:literal) => {
        $(#[$doc])*
        pub static $name: Table =
            Table { name: concat!("identity_", $table), class: Class::$class, row: $row, serves: $serves };
    };
}

table!(
    /// Servers.
    SERVERS, "servers", View, "p92.identity.v1.ServerRow",
    "one partition | server → its state: a server by id, all servers"
);
table!(
    /// Accounts.
    ACCOUNTS, "accounts", View, "p92.identity.v1.AccountRow", "account | → its state: an account by id"
);
table!(
    /// Handles of accounts that live.
    HANDLES, "handles", View, "", "HMAC of home (or host) and folded handle | account: an account by handle"
);
table!(
    /// Beginnings of handles of accounts that live.
    BEGINNINGS, "handle_beginnings", View, "",
    "HMAC of home and beginning | characters of the handle, account: completion, shorter handles first"
);
table!(
    /// ActivityPub ids of accounts.
    ACTIVITY_PUB, "activity_pub_ids", View, "", "HMAC of the ActivityPub id | account: an account by it"
);
table!(
    /// Members of a server (0: remote accounts), by the time of their ids.
    MEMBERS, "members", View, "", "home, stretch of 30 days | account, falling: a server's members, newest first"
);
table!(
    /// Streams whose names are still to be claimed.
    UNFINISHED, "unfinished_claims", View, "p92.identity.v1.UnfinishedRow",
    "shard | stream: what the shard's owner must finish"
);
table!(
    /// Relationships, once for each of the two.
    RELATIONSHIPS, "relationships", View, "p92.identity.v1.RelationshipRow",
    "account, bucket of the pair | other account → both sides: how one stands to others, and to whom at all"
);
table!(
    /// Lists of follows, requests, blocks and mutes.
    EDGES, "edges", View, "p92.identity.v1.EdgeRow",
    "account, list, bucket | id of the edge, falling → other account: lists, newest first"
);
table!(
    /// Counts of follows, one row per shard that contributes.
    COUNTS, "follow_counts", View, "p92.identity.v1.FollowCountsRow", "account | shard → what the shard adds to its counts"
);

table!(
    /// Who has which handle, for ever.
    HANDLE_CLAIMS, "handle_claims", State, "p92.identity.v1.ClaimRow",
    "HMAC of home and folded handle | → its owner: unique, never given again"
);
table!(
    /// Who has which e-mail address.
    EMAIL_CLAIMS, "email_claims", State, "p92.identity.v1.ClaimRow",
    "HMAC of home and folded address | → its owner: unique; sign-in by e-mail"
);
table!(
    /// Which server has which domain or host.
    SERVER_NAMES, "server_names", State, "p92.identity.v1.ClaimRow",
    "domain or host | → its server: unique; a server by domain or host"
);
table!(
    /// Passwords, hashed.
    CREDENTIALS, "credentials", State, "p92.identity.v1.CredentialRow",
    "account | credential → a password's hash: in force is the one that the account names"
);
table!(
    /// How many members there are.
    MEMBER_COUNTS, "member_counts", View, "p92.identity.v1.MemberCountRow",
    "server | shard → how many members; account | → whether it counts"
);
table!(
    /// OAuth apps.
    APPS, "apps", State, "p92.identity.v1.AppRow", "server, client id | → the app"
);
table!(
    /// Client ids of apps.
    APP_REFS, "app_refs", State, "p92.identity.v1.AppRefRow", "server, app | → its client id"
);
table!(
    /// OAuth codes.
    CODES, "codes", State, "p92.identity.v1.CodeRow", "SHA-256 of server and code | → what was consented to"
);
table!(
    /// OAuth tokens.
    TOKENS, "tokens", State, "p92.identity.v1.Token", "SHA-256 of server and token | → what it may do"
);
table!(
    /// Tokens of an account.
    TOKENS_OF, "tokens_of", State, "p92.identity.v1.SecretRefRow", "account | token, falling → its hash: to list and revoke"
);
table!(
    /// Tokens of an app for no account.
    TOKENS_OF_APP, "tokens_of_app", State, "p92.identity.v1.SecretRefRow", "app | token, falling → its hash: to end the oldest"
);
table!(
    /// Sign-ins to the pages.
    SESSIONS, "sessions", State, "p92.identity.v1.SessionRow", "SHA-256 of server and secret | → whose session it is"
);
table!(
    /// Sign-ins of an account.
    SESSIONS_OF, "sessions_of", State, "p92.identity.v1.SecretRefRow",
    "account | session, falling → its hash: to list and revoke"
);

/// Every table of identity.
#[must_use]
pub fn all() -> Vec<&'static Table> {
    vec![
        &SERVERS,
        &ACCOUNTS,
        &HANDLES,
        &BEGINNINGS,
        &ACTIVITY_PUB,
        &MEMBERS,
        &MEMBER_COUNTS,
        &UNFINISHED,
        &RELATIONSHIPS,
        &EDGES,
        &COUNTS,
        &HANDLE_CLAIMS,
        &EMAIL_CLAIMS,
        &SERVER_NAMES,
        &CREDENTIALS,
        &APPS,
        &APP_REFS,
        &CODES,
        &TOKENS,
        &TOKENS_OF,
        &TOKENS_OF_APP,
        &SESSIONS,
        &SESSIONS_OF,
    ]
}

/// Lists of one account's edges. Their numbers are part of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    Following = 1,
    Followers = 2,
    /// Those who wait for its approval.
    Requests = 3,
    /// Those for whose approval it waits.
    Requested = 4,
    Blocks = 5,
    BlockedBy = 6,
    Mutes = 7,
}

/// What others decide may grow without bound, so it lies in this many partitions.
pub const BUCKETS: u16 = 16;

impl List {
    /// The buckets that the list lies in. What the account itself decides is one.
    pub fn buckets(self) -> std::ops::Range<u16> {
        match self {
            Self::Followers | Self::Requests | Self::BlockedBy => 0..BUCKETS,
            Self::Following | Self::Requested | Self::Blocks | Self::Mutes => 0..1,
        }
    }

    fn bucket(self, id: u64) -> u16 {
        if self.buckets().end == 1 { 0 } else { spread(id) }
    }
}

/// Fibonacci hashing: the upper bits of a product with 2^64 divided by the golden ratio.
fn spread(number: u64) -> u16 {
    u16::try_from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60).unwrap_or(0) % BUCKETS
}

/// The one partition of all servers.
#[must_use]
pub fn servers() -> Bytes {
    Key::new().text("servers").build()
}

/// A partition, or a clustering key, that is one id.
#[must_use]
pub fn id(id: u64) -> Bytes {
    Key::new().num(id).build()
}

/// The clustering key of a credential; that of an account's birth stood alone once, under none.
#[must_use]
pub fn credential(credential: u64) -> Bytes {
    if credential == 0 { Bytes::new() } else { id(credential) }
}

/// The credential that a clustering key names.
pub fn credential_of(clustering: &[u8]) -> Result<u64, Malformed> {
    if clustering.is_empty() { Ok(0) } else { KeyReader::new(clustering).num() }
}

/// A clustering key that is one id, newest first.
#[must_use]
pub fn falling(id: u64) -> Bytes {
    Key::new().desc(id).build()
}

/// A partition that is a name made of content, or the hash of a secret.
#[must_use]
pub fn blind(key: &BlindKey) -> Bytes {
    Key::new().raw(key).build()
}

/// Under a beginning: shorter handles first.
#[must_use]
pub fn by_length(characters: u32, account: u64) -> Bytes {
    Key::new().small(u16::try_from(characters).unwrap_or(u16::MAX)).num(account).build()
}

/// How long a stretch of members is.
const STRETCH_MS: u64 = 30 * 24 * 3_600 * 1_000;

/// The stretch of time that an account's id falls into.
#[must_use]
pub fn stretch(account: AccountId) -> u64 {
    account.0.millis().0 / STRETCH_MS
}

/// The smallest id of a stretch.
#[must_use]
pub fn stretch_floor(stretch: u64) -> u64 {
    p92_kernel::Id::floor_of(p92_kernel::Millis(stretch.saturating_mul(STRETCH_MS))).get()
}

/// Members of a server in a stretch of time.
#[must_use]
pub fn members(home: u64, stretch: u64) -> Bytes {
    Key::new().num(home).num(stretch).build()
}

/// How many members of a server each shard counts.
#[must_use]
pub fn counts_of_members(server: u64) -> Bytes {
    Key::new().text("server").num(server).build()
}

/// Whether an account is counted as a member.
#[must_use]
pub fn counted(account: u64) -> Bytes {
    Key::new().text("account").num(account).build()
}

/// What the owner of a shard must finish.
#[must_use]
pub fn unfinished(shard: Shard) -> Bytes {
    Key::new().small(shard.0).build()
}

/// Where the relationship of two accounts stands for `pair.from`.
#[must_use]
pub fn relationship(pair: Pair) -> (Bytes, Bytes) {
    (relationships(pair.from, spread(pair.from ^ pair.to)), id(pair.to))
}

/// One bucket of the relationships of an account.
#[must_use]
pub fn relationships(account: u64, bucket: u16) -> Bytes {
    Key::new().num(account).small(bucket).build()
}

/// One bucket of a list.
#[must_use]
pub fn edges(account: u64, list: List, bucket: u16) -> Bytes {
    Key::new().num(account).small(list as u16).small(bucket).build()
}

/// Where an edge stands in a list.
#[must_use]
pub fn edge(account: u64, list: List, edge: u64) -> (Bytes, Bytes) {
    (edges(account, list, list.bucket(edge)), falling(edge))
}

/// A domain or host.
#[must_use]
pub fn name(name: &str) -> Bytes {
    Key::new().text(name).build()
}

/// An app by client id.
#[must_use]
pub fn app(server: u64, client_id: &str) -> Bytes {
    Key::new().num(server).text(client_id).build()
}

/// An app by id.
#[must_use]
pub fn app_ref(server: u64, app: u64) -> Bytes {
    Key::new().num(server).num(app).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_short() {
        let mut names: Vec<_> = all().iter().map(|table| table.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(names.iter().all(|name| name.len() <= 40));
    }

    #[test]
    fn buckets_are_all_used() {
        let used: std::collections::BTreeSet<u16> = (0..1_000_u64).map(|n| spread(n << 21)).collect();
        assert_eq!(used.into_iter().collect::<Vec<_>>(), (0..BUCKETS).collect::<Vec<_>>());
    }

    #[test]
    fn a_stretch_begins_at_its_floor() {
        let account = AccountId::new(1_790_000_000_000_u64 << 21 | 5).unwrap();
        let floor = stretch_floor(stretch(account));
        assert!(floor <= account.get());
        assert_eq!(AccountId::new(floor).map(stretch), Some(stretch(account)));
        assert_eq!(AccountId::new(floor - 2).map(stretch), Some(stretch(account) - 1));
    }
}
