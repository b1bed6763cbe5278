//! Rows of lists: outboxes, tags, pins, statistics.

use super::change::Change;
use crate::tables::{self, Counted, List};
use bytes::Bytes;
use p92_eventlog::{ProjectionError, Recorded, Rows};
use p92_kernel::Shard;
use p92_proto::posting::v1;

type Projected = Result<(), ProjectionError>;

/// Puts a row into a list, and says in its directory that there is one.
pub fn put_into<M: prost::Message>(rows: &mut Rows<'_>, list: &List, id: u64, shard: Shard, row: &M) {
    let (partition, clustering) = list.place(id);
    rows.put_message(partition, clustering, row);
    let (partition, clustering) = list.directory_place(id, shard);
    rows.put_message(partition, clustering, &v1::PresenceRow {});
}

/// The same where a list gets many rows: what the directory says already is not said again. An owner knows that without
/// asking the store, and saves a write for each post.
async fn put_among_many<M: prost::Message>(
    rows: &mut Rows<'_>,
    list: &List,
    id: u64,
    shard: Shard,
    row: &M,
) -> Projected {
    let (partition, clustering) = list.directory_place(id, shard);
    if rows.get(partition, clustering).await?.is_none() {
        put_into(rows, list, id, shard, row);
        return Ok(());
    }
    let (partition, clustering) = list.place(id);
    rows.put_message(partition, clustering, row);
    Ok(())
}

/// Takes a row out of a list.
pub fn take_from(rows: &mut Rows<'_>, list: &List, id: u64) {
    let (partition, clustering) = list.place(id);
    rows.delete(partition, clustering);
}

fn post_entry(post: &v1::PostPublished) -> v1::OutboxEntry {
    v1::OutboxEntry {
        id: post.post_id,
        author_id: post.author_id,
        author_home_id: post.author_home_id,
        post_id: post.post_id,
        post_author_id: post.author_id,
        visibility: post.visibility,
        in_reply_to_id: post.in_reply_to_id,
        in_reply_to_author_id: post.in_reply_to_author_id,
        mentioned_ids: post.mentioned_ids.clone(),
        tag_keys: post.tags.iter().map(|tag| tag.key.clone()).collect(),
        post_visibility: post.visibility,
        language: post.language.clone(),
        is_reply: post.in_reply_to_id != 0 || !post.in_reply_to_object_id.is_empty(),
    }
}

fn boost_entry(boost: &v1::PostBoosted) -> v1::OutboxEntry {
    v1::OutboxEntry {
        id: boost.boost_id,
        author_id: boost.actor_id,
        author_home_id: boost.actor_home_id,
        post_id: boost.post_id,
        post_author_id: boost.author_id,
        visibility: boost.visibility,
        in_reply_to_id: boost.in_reply_to_id,
        in_reply_to_author_id: boost.in_reply_to_author_id,
        mentioned_ids: boost.mentioned_ids.clone(),
        tag_keys: Vec::new(),
        post_visibility: boost.post_visibility,
        language: boost.language.clone(),
        is_reply: boost.is_reply,
    }
}

/// What an edit changes in an entry.
fn edit_entry(entry: &mut v1::OutboxEntry, edit: &v1::PostEdited) {
    entry.mentioned_ids.clone_from(&edit.mentioned_ids);
    entry.tag_keys = edit.tags.iter().map(|tag| tag.key.clone()).collect();
    entry.language.clone_from(&edit.language);
}

fn edited_entry(edit: &v1::PostEdited) -> v1::OutboxEntry {
    let mut entry = v1::OutboxEntry {
        id: edit.post_id,
        author_id: edit.author_id,
        author_home_id: edit.author_home_id,
        post_id: edit.post_id,
        post_author_id: edit.author_id,
        visibility: edit.visibility,
        in_reply_to_id: edit.in_reply_to_id,
        in_reply_to_author_id: edit.in_reply_to_author_id,
        post_visibility: edit.visibility,
        is_reply: edit.is_reply,
        ..v1::OutboxEntry::default()
    };
    edit_entry(&mut entry, edit);
    entry
}

/// What accounts published.
pub async fn outbox(change: &Change, event: &Recorded, rows: &mut Rows<'_>) -> Projected {
    let shard = event.position.shard;
    match change {
        Change::Published(post) => {
            let list = List::outbox(post.author_id);
            put_among_many(rows, &list, post.post_id, shard, &post_entry(post)).await?;
        }
        Change::Edited(edit) => {
            let list = List::outbox(edit.author_id);
            put_among_many(rows, &list, edit.post_id, shard, &edited_entry(edit)).await?;
        }
        Change::Deleted(post) => take_from(rows, &List::outbox(post.author_id), post.post_id),
        Change::Boosted(boost) => {
            let list = List::outbox(boost.actor_id);
            put_among_many(rows, &list, boost.boost_id, shard, &boost_entry(boost)).await?;
        }
        Change::Unboosted(boost) => take_from(rows, &List::outbox(boost.actor_id), boost.boost_id),
        _ => {}
    }
    Ok(())
}

/// Posts by tag. What is not for everybody stands under its author's tags only, where each reader is judged.
pub async fn tags(change: &Change, event: &Recorded, rows: &mut Rows<'_>) -> Projected {
    let shard = event.position.shard;
    match change {
        Change::Published(post) => {
            let entry = post_entry(post);
            for tag in &post.tags {
                put_tag(rows, &tag.key, &entry, shard);
            }
        }
        Change::Edited(edit) => {
            let entry = edited_entry(edit);
            for key in edit.previous_tag_keys.iter().filter(|key| !entry.tag_keys.contains(key)) {
                take_tag(rows, key, edit.author_id, edit.post_id);
            }
            for key in &entry.tag_keys {
                put_tag(rows, key, &entry, shard);
            }
        }
        Change::Deleted(post) => {
            for key in &post.tag_keys {
                take_tag(rows, key, post.author_id, post.post_id);
            }
        }
        _ => {}
    }
    Ok(())
}

fn put_tag(rows: &mut Rows<'_>, key: &[u8], entry: &v1::OutboxEntry, shard: Shard) {
    put_into(rows, &List::tag_of_author(key, entry.author_id), entry.id, shard, entry);
    if entry.visibility() == v1::Visibility::Public {
        put_into(rows, &List::tag(key), entry.id, shard, entry);
    }
}

fn take_tag(rows: &mut Rows<'_>, key: &[u8], author: u64, post: u64) {
    take_from(rows, &List::tag_of_author(key, author), post);
    take_from(rows, &List::tag(key), post);
}

/// Pinned posts.
pub async fn pins(change: &Change, event: &Recorded, rows: &mut Rows<'_>) -> Projected {
    match change {
        Change::Pinned(pin) => {
            let row = v1::PinRow { pinned_ms: event.time().0 };
            rows.put_message(tables::id(pin.author_id), tables::id(pin.post_id), &row);
        }
        Change::Unpinned(pin) => rows.delete(tables::id(pin.author_id), tables::id(pin.post_id)),
        Change::Deleted(post) if post.was_pinned => {
            rows.delete(tables::id(post.author_id), tables::id(post.post_id));
        }
        _ => {}
    }
    Ok(())
}

/// How much was published: what this log's shard contributes.
pub async fn stats(change: &Change, event: &Recorded, rows: &mut Rows<'_>) -> Projected {
    let (author, home, visibility, published) = match change {
        Change::Published(post) => {
            (post.author_id, post.author_home_id, post.visibility(), Some(post.published_ms))
        }
        Change::Deleted(post) => (post.author_id, post.author_home_id, post.visibility(), None),
        Change::Boosted(boost) => {
            (boost.actor_id, boost.actor_home_id, boost.visibility(), Some(boost.boosted_ms))
        }
        Change::Unboosted(boost) => (boost.actor_id, boost.actor_home_id, boost.visibility(), None),
        _ => return Ok(()),
    };
    if visibility == v1::Visibility::Direct {
        return Ok(());
    }
    let shard = tables::shard(event.position.shard);
    let of_server = (home != 0).then_some(Counted::Server(home));
    for counted in [Some(Counted::Author(author)), of_server].into_iter().flatten() {
        count(rows, tables::stats(counted), shard.clone(), published).await?;
    }
    Ok(())
}

async fn count(rows: &mut Rows<'_>, partition: Bytes, shard: Bytes, published: Option<u64>) -> Projected {
    let row: Option<v1::StatsRow> = rows.get_message(partition.clone(), shard.clone()).await?;
    let mut row = row.unwrap_or_default();
    match published {
        Some(at) => {
            row.posts += 1;
            row.last_post_ms = row.last_post_ms.max(at);
        }
        None => row.posts = row.posts.saturating_sub(1),
    }
    rows.put_message(partition, shard, &row);
    Ok(())
}
