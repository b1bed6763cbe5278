//! What can be read: rows as functions of events, and answers made of rows.
//!
//! | room | noun |
//! |---|---|
//! | `change` | events as views see them |
//! | `entries`, `listings`, `marks` | rows: posts and what stands by them; lists; reactions |
//! | `standings` | how accounts stand, asked of identity at the moment of reading |
//! | `lists` | pages of lists that are cut into years |
//! | `posts` | rows, rights, counts and contents made into posts |
//! | `thread` | what a post answers, and what answers it |
//! | `queries` | one method per read |

pub mod change;
pub mod entries;
mod listings;
pub mod lists;
mod marks;
pub mod posts;
pub mod queries;
pub mod standings;
pub mod thread;

use change::Change;
use p92_eventlog::{ProjectionError, Recorded, Rows, View};
use p92_kernel::Service;
use p92_storage::Table;
use std::sync::Arc;

macro_rules! views {
    ($($(#[$doc:meta])* $name:ident: $table:ident, $project:path, [$($event:ident),+];)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            struct $name;

            #[async_trait::async_trait]
            impl View for $name {
                fn table(&self) -> &'static Table {
                    &crate::tables::$table
                }

                fn source(&self) -> Service {
                    Service::Posting
                }

                fn wants(&self, event_type: &str) -> bool {
                    matches!(
                        event_type.strip_prefix(change::PACKAGE),
                        Some($(stringify!($event))|+)
                    )
                }

                async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
                    match Change::read(event)? {
                        Some(change) => $project(&change, event, rows).await,
                        None => Ok(()),
                    }
                }
            }
        )+

        /// Every view of posting.
        #[must_use]
        pub fn all() -> Vec<Arc<dyn View>> {
            vec![$(Arc::new($name)),+]
        }
    };
}

views! {
    Entries: ENTRIES, entries::entries,
        [PostPublished, PostEdited, PostDeleted, PostPinned, PostUnpinned, PostBoosted, PostUnboosted];
    Counts: COUNTS, entries::counts,
        [PostPublished, PostDeleted, PostLiked, PostUnliked, PostBoosted, PostUnboosted];
    Replies: REPLIES, entries::replies, [PostPublished];
    History: HISTORY, entries::history, [PostPublished, PostEdited, PostDeleted];
    Uris: URIS, entries::uris, [PostPublished, PostDeleted];
    Outbox: OUTBOX, listings::outbox,
        [PostPublished, PostEdited, PostDeleted, PostBoosted, PostUnboosted];
    Tags: TAGS, listings::tags, [PostPublished, PostEdited, PostDeleted];
    Pins: PINS, listings::pins, [PostPinned, PostUnpinned, PostDeleted];
    Stats: STATS, listings::stats, [PostPublished, PostDeleted, PostBoosted, PostUnboosted];
    Reactions: REACTIONS, marks::reactions,
        [PostLiked, PostUnliked, PostBoosted, PostUnboosted, PostBookmarked, PostUnbookmarked];
    Reacted: REACTED, marks::reacted, [PostLiked, PostUnliked, PostBookmarked, PostUnbookmarked];
    Reactors: REACTORS, marks::reactors, [PostLiked, PostUnliked, PostBoosted, PostUnboosted];
}
