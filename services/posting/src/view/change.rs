//! Events as views see them: the messages of the log, told apart once.

use p92_eventlog::{Poison, Recorded};
use p92_proto::posting::v1;

/// What stands before the names of posting's events.
pub const PACKAGE: &str = "p92.posting.v1.";

/// Something that posting's log says.
#[derive(Clone, Debug)]
pub enum Change {
    Published(v1::PostPublished),
    Edited(v1::PostEdited),
    Deleted(v1::PostDeleted),
    Pinned(v1::PostPinned),
    Unpinned(v1::PostUnpinned),
    Liked(v1::PostLiked),
    Unliked(v1::PostUnliked),
    Boosted(v1::PostBoosted),
    Unboosted(v1::PostUnboosted),
    Bookmarked(v1::PostBookmarked),
    Unbookmarked(v1::PostUnbookmarked),
}

impl Change {
    /// What the event says; `None` for one that views have no word for.
    pub fn read(event: &Recorded) -> Result<Option<Self>, Poison> {
        let Some(name) = event.event_type().strip_prefix(PACKAGE) else { return Ok(None) };
        Ok(Some(match name {
            "PostPublished" => Self::Published(event.decode()?),
            "PostEdited" => Self::Edited(event.decode()?),
            "PostDeleted" => Self::Deleted(event.decode()?),
            "PostPinned" => Self::Pinned(event.decode()?),
            "PostUnpinned" => Self::Unpinned(event.decode()?),
            "PostLiked" => Self::Liked(event.decode()?),
            "PostUnliked" => Self::Unliked(event.decode()?),
            "PostBoosted" => Self::Boosted(event.decode()?),
            "PostUnboosted" => Self::Unboosted(event.decode()?),
            "PostBookmarked" => Self::Bookmarked(event.decode()?),
            "PostUnbookmarked" => Self::Unbookmarked(event.decode()?),
            _ => return Ok(None),
        }))
    }
}

/// Whether everybody may see it, so that it may be counted.
#[must_use]
pub fn is_open(visibility: v1::Visibility) -> bool {
    matches!(visibility, v1::Visibility::Public | v1::Visibility::Unlisted)
}
