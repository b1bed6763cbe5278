//! Every table of posting: key, order, row, and the question that it answers. All are views of posting's own events.
//!
//! Lists without an end (outboxes, tags, likes) are cut into years, so that no partition grows for ever; a directory
//! partition beside them names the years that have rows, one row per writing shard.

use bytes::Bytes;
use p92_kernel::{Id, Shard};
use p92_storage::{Class, Key, KeyReader, Range, Table};

macro_rules! view {
    ($(#[$doc:meta])* $constant:ident, $name:literal, $row:literal, $serves:literal) => {
        $(#[$doc])*
        pub static $constant: Table =
            Table { name: $name, class: Class::View, row: $row, serves: $serves };
    };
}

view!(
    /// Posts, boosts and tombstones by id.
    ENTRIES, "posting_entries", "p92.posting.v1.EntryRow",
    "id | → entry: hydrates whatever an id names"
);
view!(
    /// Counts, one row for each writing shard.
    COUNTS, "posting_counts", "p92.posting.v1.CountsRow",
    "post | shard → likes, boosts, replies: summed on reading"
);
view!(
    /// Replies below their parents.
    REPLIES, "posting_replies", "p92.posting.v1.ReplyRow",
    "parent | reply → author: descendants of a post"
);
view!(
    /// All states of a post.
    HISTORY, "posting_history", "p92.posting.v1.RevisionRow",
    "post | revision → content: edit history"
);
view!(
    /// What an account published.
    OUTBOX, "posting_outbox", "p92.posting.v1.OutboxEntry",
    "author, year | falling id → entry: profiles, and homes by merge"
);
view!(
    /// Posts by tag, of everybody and of one author.
    TAGS, "posting_tags", "p92.posting.v1.OutboxEntry",
    "tag key or author and tag key, year | falling id → entry: tag pages"
);
view!(
    /// Pinned posts.
    PINS, "posting_pins", "p92.posting.v1.PinRow",
    "author | post → when: the top of a profile"
);
view!(
    /// What accounts do with a post.
    REACTIONS, "posting_reactions", "p92.posting.v1.ReactionRow",
    "post | actor → like, boost, bookmark: a viewer's marks; all reactions to a post that goes"
);
view!(
    /// What an account likes and has bookmarked.
    REACTED, "posting_reacted", "p92.posting.v1.ReactedRow",
    "kind, actor, year | falling id → post: lists of likes and bookmarks"
);
view!(
    /// Who likes a post and who boosted it.
    REACTORS, "posting_reactors", "p92.posting.v1.ReactorRow",
    "kind, post, year | falling id → actor: lists of accounts"
);
view!(
    /// Posts from elsewhere by ActivityPub id and by page; those made here are named by theirs.
    URIS, "posting_uris", "p92.posting.v1.UriRow",
    "SHA-256 of an ActivityPub id, or HMAC of a URL | → post: search by address, and one post per object"
);
view!(
    /// How much was published, one row for each writing shard.
    STATS, "posting_stats", "p92.posting.v1.StatsRow",
    "author or server | shard → posts: summed on reading"
);

/// All tables, for tools.
#[must_use]
pub fn all() -> [&'static Table; 12] {
    [
        &ENTRIES, &COUNTS, &REPLIES, &HISTORY, &OUTBOX, &TAGS, &PINS, &REACTIONS, &REACTED, &REACTORS, &URIS,
        &STATS,
    ]
}

/// A key that is one id.
#[must_use]
pub fn id(id: u64) -> Bytes {
    Key::new().num(id).build()
}

/// A row of a shard's own within a partition that several shards write.
#[must_use]
pub fn shard(shard: Shard) -> Bytes {
    Key::new().small(shard.0).build()
}

/// Which list of posts an account keeps, or of accounts a post has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Mark {
    Like = 1,
    Boost = 2,
    Bookmark = 3,
}

/// Whose statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    Author(u64),
    Server(u64),
}

/// Partition of statistics.
#[must_use]
pub fn stats(of: Counted) -> Bytes {
    match of {
        Counted::Author(id) => Key::new().small(1).num(id).build(),
        Counted::Server(id) => Key::new().small(2).num(id).build(),
    }
}

/// A list that is cut into years.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    pub table: &'static Table,
    name: Key,
}

/// Milliseconds of one cut. Ids carry their time, so an id alone says where it stands.
const YEAR: u64 = 365 * 24 * 3_600 * 1_000;
/// Partition of the directory: no year has this number, since years count from 1970.
const DIRECTORY: u16 = u16::MAX;

impl List {
    /// What an account published.
    #[must_use]
    pub fn outbox(author: u64) -> Self {
        Self { table: &OUTBOX, name: Key::new().num(author) }
    }

    /// Public posts with a tag.
    #[must_use]
    pub fn tag(key: &[u8]) -> Self {
        Self { table: &TAGS, name: Key::new().num(0).bytes(key) }
    }

    /// Posts of one author with a tag.
    #[must_use]
    pub fn tag_of_author(key: &[u8], author: u64) -> Self {
        Self { table: &TAGS, name: Key::new().num(author).bytes(key) }
    }

    /// Posts that an account has marked.
    #[must_use]
    pub fn reacted(mark: Mark, actor: u64) -> Self {
        Self { table: &REACTED, name: Key::new().small(mark as u16).num(actor) }
    }

    /// Accounts that have marked a post.
    #[must_use]
    pub fn reactors(mark: Mark, post: u64) -> Self {
        Self { table: &REACTORS, name: Key::new().small(mark as u16).num(post) }
    }

    /// The year that an id stands in.
    #[must_use]
    pub fn year(id: u64) -> u16 {
        let millis = Id::new(id).map_or(0, |id| id.millis().0);
        u16::try_from(millis / YEAR).unwrap_or(DIRECTORY - 1).min(DIRECTORY - 1)
    }

    /// Partition of one year.
    #[must_use]
    pub fn partition(&self, year: u16) -> Bytes {
        self.name.clone().small(year).build()
    }

    /// Where an id stands: partition and clustering key.
    #[must_use]
    pub fn place(&self, id: u64) -> (Bytes, Bytes) {
        (self.partition(Self::year(id)), Key::new().desc(id).build())
    }

    /// Partition of the directory.
    #[must_use]
    pub fn directory(&self) -> Bytes {
        self.partition(DIRECTORY)
    }

    /// The row of the directory that says that a shard wrote into the year of an id.
    #[must_use]
    pub fn directory_place(&self, id: u64, shard: Shard) -> (Bytes, Bytes) {
        (self.directory(), Key::new().small(Self::year(id)).small(shard.0).build())
    }

    /// The year that a row of the directory names.
    #[must_use]
    pub fn directory_year(clustering: &[u8]) -> Option<u16> {
        KeyReader::new(clustering).small().ok()
    }

    /// The id that a clustering key holds.
    #[must_use]
    pub fn id_at(clustering: &[u8]) -> Option<u64> {
        KeyReader::new(clustering).desc().ok()
    }

    /// Ids above `above` and below `below`, both exclusive; 0 is no bound.
    #[must_use]
    pub fn between(above: u64, below: u64) -> Range {
        let from = (below > 0).then(|| Key::new().desc(below - 1).build());
        let to = (above > 0).then(|| Key::new().desc(above).build());
        Range { from, to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn newer_ids_stand_first(a in 1_u64..1 << 63, b in 1_u64..1 << 63) {
            let list = List::outbox(5);
            let (place_a, place_b) = (list.place(a), list.place(b));
            prop_assert_eq!(List::id_at(&place_a.1), Some(a));
            if place_a.0 == place_b.0 {
                prop_assert_eq!(place_a.1.cmp(&place_b.1), b.cmp(&a));
            } else {
                prop_assert_eq!(List::year(a).cmp(&List::year(b)), a.cmp(&b));
            }
            prop_assert_ne!(place_a.0, list.directory());
        }

        #[test]
        fn a_range_holds_what_lies_between(above in 0_u64..50, below in 0_u64..50, id in 1_u64..50) {
            let range = List::between(above, below);
            let key = Key::new().desc(id).build();
            let within = range.from.is_none_or(|from| from <= key) && range.to.is_none_or(|to| key < to);
            prop_assert_eq!(within, id > above && (below == 0 || id < below));
        }
    }

    #[test]
    fn lists_do_not_run_into_each_other() {
        let of_author = List::tag_of_author(b"k", 1).partition(0);
        assert_ne!(List::tag(b"k").partition(0), of_author);
        assert_ne!(List::reacted(Mark::Like, 1).partition(0), List::reacted(Mark::Bookmark, 1).partition(0));
        assert!(all().iter().all(|table| table.name.len() <= 40));
    }
}
