//! Rows of posts and of what stands by them: entries, counts, replies, history, addresses.

use super::change::{Change, is_open};
use crate::tables;
use bytes::Bytes;
use p92_eventlog::{ProjectionError, Recorded, Rows};
use p92_kernel::{Id, digest};
use p92_proto::posting::v1;
use p92_proto::posting::v1::entry_row::Entry;
use p92_storage::{Direction, Key, Range};

type Projected = Result<(), ProjectionError>;

/// Posts, boosts and tombstones by id.
pub async fn entries(change: &Change, event: &Recorded, rows: &mut Rows<'_>) -> Projected {
    match change {
        Change::Published(post) => {
            let entry = Entry::Post(post_row(post));
            put_entry(rows, post.post_id, entry);
        }
        Change::Edited(edit) => {
            change_post(rows, edit.post_id, |row| {
                row.content.clone_from(&edit.content);
                row.sensitive = edit.sensitive;
                row.language.clone_from(&edit.language);
                row.mentioned_ids.clone_from(&edit.mentioned_ids);
                row.tag_keys = edit.tags.iter().map(|tag| tag.key.clone()).collect();
                row.edited_ms = edit.edited_ms;
                row.revision = edit.revision;
            })
            .await?;
        }
        Change::Deleted(post) => {
            let tombstone = v1::TombstoneRow {
                author_id: post.author_id,
                visibility: post.visibility,
                in_reply_to_id: post.in_reply_to_id,
                deleted_ms: event.time().0,
                object_id: post.object_id.clone(),
            };
            put_entry(rows, post.post_id, Entry::Tombstone(tombstone));
        }
        Change::Pinned(pin) => change_post(rows, pin.post_id, |row| row.pinned = true).await?,
        Change::Unpinned(pin) => change_post(rows, pin.post_id, |row| row.pinned = false).await?,
        Change::Boosted(boost) => {
            let row = v1::BoostRow {
                actor_id: boost.actor_id,
                actor_home_id: boost.actor_home_id,
                post_id: boost.post_id,
                post_author_id: boost.author_id,
                visibility: boost.visibility,
                activity_id: boost.activity_id.clone(),
                created_ms: boost.boosted_ms,
            };
            put_entry(rows, boost.boost_id, Entry::Boost(row));
        }
        Change::Unboosted(boost) => rows.delete(tables::id(boost.boost_id), Bytes::new()),
        _ => {}
    }
    Ok(())
}

fn put_entry(rows: &mut Rows<'_>, id: u64, entry: Entry) {
    rows.put_message(tables::id(id), Bytes::new(), &v1::EntryRow { entry: Some(entry) });
}

async fn change_post(rows: &mut Rows<'_>, id: u64, change: impl FnOnce(&mut v1::PostRow)) -> Projected {
    let row: Option<v1::EntryRow> = rows.get_message(tables::id(id), Bytes::new()).await?;
    if let Some(Entry::Post(mut post)) = row.and_then(|row| row.entry) {
        change(&mut post);
        put_entry(rows, id, Entry::Post(post));
    }
    Ok(())
}

/// The row of a post at its beginning.
pub fn post_row(post: &v1::PostPublished) -> v1::PostRow {
    v1::PostRow {
        author_id: post.author_id,
        author_home_id: post.author_home_id,
        object_id: post.object_id.clone(),
        visibility: post.visibility,
        content: post.content.clone(),
        sensitive: post.sensitive,
        language: post.language.clone(),
        created_ms: post.published_ms,
        edited_ms: 0,
        in_reply_to_id: post.in_reply_to_id,
        in_reply_to_author_id: post.in_reply_to_author_id,
        in_reply_to_object_id: post.in_reply_to_object_id.clone(),
        conversation_id: post.conversation_id,
        mentioned_ids: post.mentioned_ids.clone(),
        tag_keys: post.tags.iter().map(|tag| tag.key.clone()).collect(),
        app_id: post.app_id,
        revision: 1,
        pinned: false,
    }
}

/// Counts: what this log's shard contributes.
pub async fn counts(change: &Change, event: &Recorded, rows: &mut Rows<'_>) -> Projected {
    let (post, counted): (u64, fn(&mut v1::CountsRow)) = match change {
        Change::Published(post) if post.in_reply_to_id != 0 && is_open(post.visibility()) => {
            (post.in_reply_to_id, |row| row.replies += 1)
        }
        Change::Deleted(post) if post.in_reply_to_id != 0 && is_open(post.visibility()) => {
            (post.in_reply_to_id, |row| row.replies = row.replies.saturating_sub(1))
        }
        Change::Liked(like) => (like.post_id, |row| row.likes += 1),
        Change::Unliked(like) => (like.post_id, |row| row.likes = row.likes.saturating_sub(1)),
        Change::Boosted(boost) => (boost.post_id, |row| row.boosts += 1),
        Change::Unboosted(boost) => (boost.post_id, |row| row.boosts = row.boosts.saturating_sub(1)),
        _ => return Ok(()),
    };
    let place = (tables::id(post), tables::shard(event.position.shard));
    let mut row: v1::CountsRow =
        rows.get_message(place.0.clone(), place.1.clone()).await?.unwrap_or_default();
    counted(&mut row);
    rows.put_message(place.0, place.1, &row);
    Ok(())
}

/// Replies below their parents. A deleted one keeps its place, so that what answers it is found.
pub async fn replies(change: &Change, _: &Recorded, rows: &mut Rows<'_>) -> Projected {
    if let Change::Published(post) = change
        && post.in_reply_to_id != 0
    {
        let row = v1::ReplyRow { author_id: post.author_id, visibility: post.visibility };
        rows.put_message(tables::id(post.in_reply_to_id), tables::id(post.post_id), &row);
    }
    Ok(())
}

/// All states of a post.
pub async fn history(change: &Change, _: &Recorded, rows: &mut Rows<'_>) -> Projected {
    let (post, revision, row) = match change {
        Change::Published(post) => {
            let created_ms = post.published_ms;
            let row =
                v1::RevisionRow { content: post.content.clone(), sensitive: post.sensitive, created_ms };
            (post.post_id, 1, row)
        }
        Change::Edited(edit) => {
            let created_ms = edit.edited_ms;
            let row =
                v1::RevisionRow { content: edit.content.clone(), sensitive: edit.sensitive, created_ms };
            (edit.post_id, edit.revision, row)
        }
        Change::Deleted(post) => {
            let partition = tables::id(post.post_id);
            // A post has fewer revisions than one scan hands out.
            let all = rows.scan(partition.clone(), Range::all(), Direction::Forward, 1_000).await?;
            for (clustering, _) in all {
                rows.delete(partition.clone(), clustering);
            }
            return Ok(());
        }
        _ => return Ok(()),
    };
    rows.put_message(tables::id(post), Key::new().num(revision), &row);
    Ok(())
}

fn is_remote(post: u64) -> bool {
    Id::new(post).is_some_and(Id::is_remote_post)
}

/// The row of an ActivityPub id.
#[must_use]
pub fn object_key(object_id: &str) -> Bytes {
    Bytes::copy_from_slice(&digest::sha256(object_id.as_bytes()))
}

/// The post made here that an address can only be of: one that it ends with.
#[must_use]
pub fn named_by(uri: &str) -> Option<u64> {
    let last = uri.rsplit('/').next()?;
    let id = Id::new(last.parse().ok()?).filter(|id| id.get().to_string() == last)?;
    (!id.is_remote_post()).then_some(id.get())
}

/// Posts from elsewhere by address: those made here are named by theirs. The ActivityPub id of a deleted post stays, so
/// that it does not come back.
pub async fn uris(change: &Change, _: &Recorded, rows: &mut Rows<'_>) -> Projected {
    match change {
        Change::Published(post) if is_remote(post.post_id) => {
            let row = v1::UriRow { post_id: post.post_id };
            rows.put_message(object_key(&post.object_id), Bytes::new(), &row);
            if !post.url_key.is_empty() {
                rows.put_message(post.url_key.clone(), Bytes::new(), &row);
            }
        }
        Change::Deleted(post) if is_remote(post.post_id) && !post.url_key.is_empty() => {
            rows.delete(post.url_key.clone(), Bytes::new());
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_the_post_made_here_that_it_ends_with() {
        let (here, elsewhere) = (1_u64 << 21, (1_u64 << 21) + (1 << 10));
        assert!(is_remote(elsewhere) && !is_remote(here));
        assert_eq!(named_by(&format!("https://a.example/posts/{here}")), Some(here));
        assert_eq!(named_by(&format!("https://a.example/posts/{elsewhere}")), None);
        for uri in [
            "",
            "https://a.example/posts/",
            "https://a.example/@ann",
            "https://a.example/posts/-1",
            "0",
            "/+2097152",
        ] {
            assert_eq!(named_by(uri), None, "{uri}");
        }
    }
}
