//! Rows of reactions: by post and actor, by actor, by post.

use super::change::Change;
use super::listings::{put_into, take_from};
use crate::tables::{self, List, Mark};
use p92_eventlog::{ProjectionError, Recorded, Rows};
use p92_proto::posting::v1;

type Projected = Result<(), ProjectionError>;

/// What changes between an account and a post.
struct Marked {
    mark: Mark,
    id: u64,
    post: u64,
    actor: u64,
    stands: bool,
}

fn marked(change: &Change) -> Option<Marked> {
    let (mark, id, post, actor, stands) = match change {
        Change::Liked(like) => (Mark::Like, like.like_id, like.post_id, like.actor_id, true),
        Change::Unliked(like) => (Mark::Like, like.like_id, like.post_id, like.actor_id, false),
        Change::Boosted(boost) => (Mark::Boost, boost.boost_id, boost.post_id, boost.actor_id, true),
        Change::Unboosted(boost) => (Mark::Boost, boost.boost_id, boost.post_id, boost.actor_id, false),
        Change::Bookmarked(mark) => (Mark::Bookmark, mark.bookmark_id, mark.post_id, mark.actor_id, true),
        Change::Unbookmarked(mark) => (Mark::Bookmark, mark.bookmark_id, mark.post_id, mark.actor_id, false),
        _ => return None,
    };
    Some(Marked { mark, id, post, actor, stands })
}

/// What accounts do with a post. A row without any mark is no row.
pub async fn reactions(change: &Change, _: &Recorded, rows: &mut Rows<'_>) -> Projected {
    let Some(Marked { mark, id, post, actor, stands }) = marked(change) else { return Ok(()) };
    let place = (tables::id(post), tables::id(actor));
    let row: Option<v1::ReactionRow> = rows.get_message(place.0.clone(), place.1.clone()).await?;
    let mut row = row.unwrap_or_default();
    let id = if stands { id } else { 0 };
    match mark {
        Mark::Like => row.like_id = id,
        Mark::Boost => row.boost_id = id,
        Mark::Bookmark => row.bookmark_id = id,
    }
    if row == v1::ReactionRow::default() {
        rows.delete(place.0, place.1);
    } else {
        rows.put_message(place.0, place.1, &row);
    }
    Ok(())
}

/// What an account likes and has bookmarked. Its boosts stand in its outbox.
pub async fn reacted(change: &Change, event: &Recorded, rows: &mut Rows<'_>) -> Projected {
    if let Some(Marked { mark, id, post, actor, stands }) = marked(change) {
        let list = List::reacted(mark, actor);
        if stands {
            put_into(rows, &list, id, event.position.shard, &v1::ReactedRow { post_id: post });
        } else {
            take_from(rows, &list, id);
        }
    }
    Ok(())
}

/// Who likes a post and who boosted it. Bookmarks are nobody's business.
pub async fn reactors(change: &Change, event: &Recorded, rows: &mut Rows<'_>) -> Projected {
    if let Some(Marked { mark, id, post, actor, stands }) = marked(change) {
        let list = List::reactors(mark, post);
        if stands {
            put_into(rows, &list, id, event.position.shard, &v1::ReactorRow { account_id: actor });
        } else {
            take_from(rows, &list, id);
        }
    }
    Ok(())
}
