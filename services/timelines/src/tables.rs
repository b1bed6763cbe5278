//! The tables of timelines, and the query that each serves.

use bytes::Bytes;
use p92_kernel::{Id, Shard};
use p92_storage::{Class, Key, Table};

/// How far accounts have read their lists.
pub static MARKERS: Table = Table {
    name: "timelines_markers",
    class: Class::View,
    row: "p92.timelines.v1.Marker",
    serves: "account | list → marker: GetMarkers, CountUnread",
};

/// What accounts set aside of their notifications.
pub static SET_ASIDE: Table = Table {
    name: "timelines_set_aside",
    class: Class::View,
    row: "p92.timelines.v1.SetAsideRow",
    serves: "account | 0 → up to where all are gone; account | notification → this one is gone",
};

/// Notifications that posts, likes and boosts cause.
pub static NOTES_OF_POSTS: Table = Table {
    name: "timelines_notes_of_posts",
    class: Class::View,
    row: "p92.timelines.v1.Notification",
    serves: "recipient | id → notification: ListNotifications; post | type, account → the same: its end",
};

/// Notifications that follows and follow requests cause.
pub static NOTES_OF_FOLLOWS: Table = Table {
    name: "timelines_notes_of_follows",
    class: Class::View,
    row: "p92.timelines.v1.Notification",
    serves: "recipient | id → notification: ListNotifications; follower, followed | → the same: its end",
};

/// Public posts: of everybody, and of each server.
pub static PUBLIC: Table = Table {
    name: "timelines_public",
    class: Class::View,
    row: "p92.timelines.v1.PublicPostRow",
    serves: "scope, day, shard | id → post: ListPublic; scope | day, shard → where posts stand",
};

/// Every table.
pub static ALL: [&Table; 5] = [&MARKERS, &SET_ASIDE, &NOTES_OF_POSTS, &NOTES_OF_FOLLOWS, &PUBLIC];

/// Partition of what belongs to one account.
#[must_use]
pub fn of_account(account: u64) -> Bytes {
    Key::new().num(account).build()
}

/// Partition of one recipient's notifications.
#[must_use]
pub fn recipient(account: u64) -> Bytes {
    Key::new().text("to").num(account).build()
}

/// Partition of the notifications that one post caused.
#[must_use]
pub fn caused_by_post(post: u64) -> Bytes {
    Key::new().text("post").num(post).build()
}

/// Place in it: the account is the recipient of a mention, else who liked or boosted.
#[must_use]
pub fn cause(kind: u16, account: u64) -> Bytes {
    Key::new().small(kind).num(account).build()
}

/// Partition of the notification that a follow caused.
#[must_use]
pub fn caused_by_follow(follower: u64, followed: u64) -> Bytes {
    Key::new().text("follow").num(follower).num(followed).build()
}

/// Place in a partition that is ordered by ids.
#[must_use]
pub fn at_id(id: u64) -> Bytes {
    Key::new().num(id).build()
}

/// Which public posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Everybody,
    /// Members of this server.
    Members(u64),
}

impl Scope {
    fn key(self) -> Key {
        match self {
            Self::Everybody => Key::new().small(0).num(0),
            Self::Members(server) => Key::new().small(1).num(server),
        }
    }
}

/// The day of an id: public posts are kept in partitions of a day and a shard, so that none grows without bound.
#[must_use]
pub fn day_of(id: u64) -> u64 {
    const DAY: u64 = 86_400_000;
    Id::new(id).map_or(u64::MAX, |id| id.millis().0 / DAY)
}

/// Partition of the public posts of one day and shard.
#[must_use]
pub fn public_day(scope: Scope, day: u64, shard: Shard) -> Bytes {
    scope.key().num(day).small(shard.0).build()
}

/// Partition that lists the days and shards of which there are public posts.
#[must_use]
pub fn public_days(scope: Scope) -> Bytes {
    scope.key().build()
}

/// Place in that list.
#[must_use]
pub fn day_and_shard(day: u64, shard: Shard) -> Bytes {
    Key::new().num(day).small(shard.0).build()
}
