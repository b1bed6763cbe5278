//! Foreign events as what they mean here: what posting says others may have to be told, and what identity says of
//! accounts elsewhere and of who follows whom.

use p92_eventlog::{Poison, Recorded};
use p92_proto::event::v1::Sealed;
use p92_proto::federation_delivery::v1::{ActivityKind, ActivityRow};
use p92_proto::identity::v1 as identity;
use p92_proto::posting::v1::{self as posting, EndReason};

/// Events of posting that make activities.
#[must_use]
pub fn makes_activity(event_type: &str) -> bool {
    matches!(
        event_type,
        "p92.posting.v1.PostPublished"
            | "p92.posting.v1.PostEdited"
            | "p92.posting.v1.PostDeleted"
            | "p92.posting.v1.PostLiked"
            | "p92.posting.v1.PostUnliked"
            | "p92.posting.v1.PostBoosted"
            | "p92.posting.v1.PostUnboosted"
    )
}

/// What an event of posting is to peers. `None`: nobody here did it, or nobody elsewhere can be concerned.
pub fn activity_of(event: &Recorded) -> Result<Option<ActivityRow>, Poison> {
    let row = if event.is::<posting::PostPublished>() {
        published(event.decode()?)
    } else if event.is::<posting::PostEdited>() {
        edited(event.decode()?)
    } else if event.is::<posting::PostDeleted>() {
        deleted(event.decode()?)
    } else {
        return reaction_of(event);
    };
    Ok(stamped(event, row))
}

fn reaction_of(event: &Recorded) -> Result<Option<ActivityRow>, Poison> {
    let row = if event.is::<posting::PostLiked>() {
        let like: posting::PostLiked = event.decode()?;
        // A like of a post from here stays here.
        if like.author_home_id != 0 {
            return Ok(None);
        }
        liked(like)
    } else if event.is::<posting::PostUnliked>() {
        let like: posting::PostUnliked = event.decode()?;
        // The author's host knows that its post is gone.
        if like.author_home_id != 0 || like.reason() == EndReason::PostDeleted {
            return Ok(None);
        }
        unliked(like)
    } else if event.is::<posting::PostBoosted>() {
        boosted(event.decode()?)
    } else if event.is::<posting::PostUnboosted>() {
        let boost: posting::PostUnboosted = event.decode()?;
        // The deletion goes wherever the boost went.
        if boost.author_home_id != 0 && boost.reason() == EndReason::PostDeleted {
            return Ok(None);
        }
        unboosted(boost)
    } else {
        return Ok(None);
    };
    Ok(stamped(event, row))
}

/// Only what members did is told from here: others are told by the home of who did it.
fn stamped(event: &Recorded, row: ActivityRow) -> Option<ActivityRow> {
    let row = ActivityRow { activity_id: event.event.event_id, time_ms: event.event.time_ms, ..row };
    (row.actor_home_id != 0).then_some(row)
}

fn published(post: posting::PostPublished) -> ActivityRow {
    ActivityRow {
        kind: ActivityKind::Create.into(),
        post_id: post.post_id,
        actor_id: post.author_id,
        actor_home_id: post.author_home_id,
        visibility: post.visibility,
        mentioned_ids: post.mentioned_ids,
        toward_id: post.in_reply_to_author_id,
        object_id: post.object_id,
        ..ActivityRow::default()
    }
}

fn edited(post: posting::PostEdited) -> ActivityRow {
    ActivityRow {
        kind: ActivityKind::Update.into(),
        post_id: post.post_id,
        actor_id: post.author_id,
        actor_home_id: post.author_home_id,
        visibility: post.visibility,
        mentioned_ids: post.mentioned_ids,
        toward_id: post.in_reply_to_author_id,
        object_id: post.object_id,
        ..ActivityRow::default()
    }
}

fn deleted(post: posting::PostDeleted) -> ActivityRow {
    ActivityRow {
        kind: ActivityKind::Delete.into(),
        post_id: post.post_id,
        actor_id: post.author_id,
        actor_home_id: post.author_home_id,
        visibility: post.visibility,
        object_id: post.object_id,
        ..ActivityRow::default()
    }
}

fn liked(like: posting::PostLiked) -> ActivityRow {
    ActivityRow {
        kind: ActivityKind::Like.into(),
        post_id: like.post_id,
        actor_id: like.actor_id,
        actor_home_id: like.actor_home_id,
        visibility: like.visibility,
        toward_id: like.author_id,
        reaction_id: like.like_id,
        object_id: like.object_id,
        ..ActivityRow::default()
    }
}

fn unliked(like: posting::PostUnliked) -> ActivityRow {
    ActivityRow {
        kind: ActivityKind::UndoLike.into(),
        post_id: like.post_id,
        actor_id: like.actor_id,
        actor_home_id: like.actor_home_id,
        // The event does not say it; who is told follows from the like.
        visibility: posting::Visibility::Direct.into(),
        reaction_id: like.like_id,
        object_id: like.object_id,
        ..ActivityRow::default()
    }
}

fn boosted(boost: posting::PostBoosted) -> ActivityRow {
    ActivityRow {
        kind: ActivityKind::Announce.into(),
        post_id: boost.post_id,
        actor_id: boost.actor_id,
        actor_home_id: boost.actor_home_id,
        visibility: boost.visibility,
        toward_id: boost.author_id,
        reaction_id: boost.boost_id,
        object_id: boost.object_id,
        ..ActivityRow::default()
    }
}

fn unboosted(boost: posting::PostUnboosted) -> ActivityRow {
    ActivityRow {
        kind: ActivityKind::UndoAnnounce.into(),
        post_id: boost.post_id,
        actor_id: boost.actor_id,
        actor_home_id: boost.actor_home_id,
        visibility: boost.visibility,
        reaction_id: boost.boost_id,
        object_id: boost.object_id,
        ..ActivityRow::default()
    }
}

/// A follow of somebody here by somebody elsewhere begins, or a follow of anybody ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    pub follower: u64,
    pub followed: u64,
    pub begins: bool,
}

/// Events of identity that move followers. A block ends follows by events of their own, in the same append.
#[must_use]
pub fn moves_followers(event_type: &str) -> bool {
    matches!(
        event_type,
        "p92.identity.v1.FollowStarted" | "p92.identity.v1.FollowAccepted" | "p92.identity.v1.FollowEnded"
    )
}

/// What an event of identity does to remote followers.
pub fn edge_of(event: &Recorded) -> Result<Option<Edge>, Poison> {
    let (edge, inbound) = if event.is::<identity::FollowStarted>() {
        let follow: identity::FollowStarted = event.decode()?;
        let inbound = follow.follower_server_id == 0 && follow.followed_server_id != 0;
        (Edge { follower: follow.follower_id, followed: follow.followed_id, begins: true }, inbound)
    } else if event.is::<identity::FollowAccepted>() {
        let follow: identity::FollowAccepted = event.decode()?;
        let inbound = follow.follower_server_id == 0 && follow.followed_server_id != 0;
        (Edge { follower: follow.follower_id, followed: follow.followed_id, begins: true }, inbound)
    } else if event.is::<identity::FollowEnded>() {
        let follow: identity::FollowEnded = event.decode()?;
        // It does not say where they are at home; the row does, by being there.
        (Edge { follower: follow.follower_id, followed: follow.followed_id, begins: false }, true)
    } else {
        return Ok(None);
    };
    Ok(inbound.then_some(edge))
}

/// What happens to an account elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    Known { host: String, addresses: Option<Sealed> },
    Moved { addresses: Option<Sealed> },
    Suspended { scope: u64 },
    Restored { scope: u64 },
    Erased,
}

/// Events of identity that say something of accounts elsewhere.
#[must_use]
pub fn concerns_remotes(event_type: &str) -> bool {
    matches!(
        event_type,
        "p92.identity.v1.AccountCreated"
            | "p92.identity.v1.AddressesChanged"
            | "p92.identity.v1.AccountSuspended"
            | "p92.identity.v1.AccountRestored"
            | "p92.identity.v1.AccountErased"
    )
}

/// What an event of identity says of an account elsewhere.
pub fn fate_of(event: &Recorded) -> Result<Option<(u64, Fate)>, Poison> {
    let (account, home, fate) = if event.is::<identity::AccountCreated>() {
        let born: identity::AccountCreated = event.decode()?;
        let fate = Fate::Known { host: born.host, addresses: born.activity_pub };
        (born.account_id, born.server_id, fate)
    } else if event.is::<identity::AddressesChanged>() {
        let moved: identity::AddressesChanged = event.decode()?;
        (moved.account_id, 0, Fate::Moved { addresses: moved.activity_pub })
    } else if event.is::<identity::AccountSuspended>() {
        let gone: identity::AccountSuspended = event.decode()?;
        (gone.account_id, gone.server_id, Fate::Suspended { scope: gone.scope_server_id })
    } else if event.is::<identity::AccountRestored>() {
        let back: identity::AccountRestored = event.decode()?;
        (back.account_id, back.server_id, Fate::Restored { scope: back.scope_server_id })
    } else if event.is::<identity::AccountErased>() {
        let gone: identity::AccountErased = event.decode()?;
        (gone.account_id, gone.server_id, Fate::Erased)
    } else {
        return Ok(None);
    };
    Ok((home == 0).then_some((account, fate)))
}
