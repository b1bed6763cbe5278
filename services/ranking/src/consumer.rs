//! Events of posting as uses of tags that come and go.

use bytes::Bytes;
use p92_eventlog::{Poison, Recorded};
use p92_proto::event::v1::Sealed;
use p92_proto::posting::v1::{self as posting, Visibility};

/// Events that concern tags.
#[must_use]
pub fn concerns_tags(event_type: &str) -> bool {
    matches!(
        event_type,
        "p92.posting.v1.PostPublished" | "p92.posting.v1.PostEdited" | "p92.posting.v1.PostDeleted"
    )
}

/// What happens to the tags of one public post of a member.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    pub server: u64,
    pub author: u64,
    pub post: u64,
    /// Keys of tags that it has no more.
    pub gone: Vec<Bytes>,
    /// Tags that it has now, with their sealed names.
    pub has: Vec<(Bytes, Option<Sealed>)>,
}

/// What an event does to tags. `None`: nothing, since the post is not public or from elsewhere.
pub fn change_of(event: &Recorded) -> Result<Option<Change>, Poison> {
    let named = |tags: Vec<posting::SealedTag>| tags.into_iter().map(|tag| (tag.key, tag.name)).collect();
    let (visibility, change) = if event.is::<posting::PostPublished>() {
        let post: posting::PostPublished = event.decode()?;
        let (server, author, visibility) = (post.author_home_id, post.author_id, post.visibility());
        (visibility, Change { server, author, post: post.post_id, gone: Vec::new(), has: named(post.tags) })
    } else if event.is::<posting::PostEdited>() {
        let post: posting::PostEdited = event.decode()?;
        let (server, author, visibility) = (post.author_home_id, post.author_id, post.visibility());
        let gone = post.previous_tag_keys;
        (visibility, Change { server, author, post: post.post_id, gone, has: named(post.tags) })
    } else if event.is::<posting::PostDeleted>() {
        let post: posting::PostDeleted = event.decode()?;
        let (server, author, visibility) = (post.author_home_id, post.author_id, post.visibility());
        (visibility, Change { server, author, post: post.post_id, gone: post.tag_keys, has: Vec::new() })
    } else {
        return Ok(None);
    };
    Ok((visibility == Visibility::Public && change.server != 0).then_some(change))
}
