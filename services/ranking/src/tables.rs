//! The table of ranking, and the queries that it serves.

use bytes::Bytes;
use p92_kernel::Shard;
use p92_storage::{Class, Key, Table};

/// Uses of tags by members of a server.
pub static TAG_USES: Table = Table {
    name: "ranking_tag_uses",
    class: Class::View,
    row: "p92.ranking.v1.TagUseRow",
    serves: "server, day, shard | tag key → uses and authors: ListTrendingTags; server, day, shard, tag key | author, post \
             → its sealed name: whether an author is new, and how the tag is spelt",
};

/// Every table.
pub static ALL: [&Table; 1] = [&TAG_USES];

fn of(kind: &str, server: u64, day: u64, shard: Shard) -> Key {
    Key::new().text(kind).num(server).num(day).small(shard.0)
}

/// Partition of the tags that members whose accounts have this shard used on a day.
#[must_use]
pub fn day(server: u64, day: u64, shard: Shard) -> Bytes {
    of("tags", server, day, shard).build()
}

/// Place of a tag in it.
#[must_use]
pub fn tag(key: &[u8]) -> Bytes {
    Bytes::copy_from_slice(key)
}

/// Partition of the posts with a tag.
#[must_use]
pub fn posts(server: u64, day: u64, shard: Shard, key: &[u8]) -> Bytes {
    of("posts", server, day, shard).bytes(key).build()
}

/// Beginning of the places of one author's posts.
#[must_use]
pub fn author(author: u64) -> Bytes {
    Key::new().num(author).build()
}

/// Place of a post.
#[must_use]
pub fn post(author: u64, post: u64) -> Bytes {
    Key::new().num(author).num(post).build()
}
