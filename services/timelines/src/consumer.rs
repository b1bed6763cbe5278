//! What the logs of identity and posting say, as changes of memory, as notifications, and as something to tell watchers.

use crate::app::live::What;
use crate::domain::entry::Language;
use crate::domain::memory::Change;
use crate::domain::memory::recent::Facts;
use crate::domain::merge::reply_of;
use crate::wire::visibility;
use p92_eventlog::{Poison, Recorded};
use p92_proto::identity::v1 as identity;
use p92_proto::posting::v1 as posting;
use p92_proto::timelines::v1::{Notification, NotificationType};

/// Changes of memory that an event of posting makes.
pub fn changes_of_posts(event: &Recorded) -> Result<Option<Change>, Poison> {
    let change = if event.is::<posting::PostPublished>() {
        let post: posting::PostPublished = event.decode()?;
        let is_reply = post.in_reply_to_id != 0 || !post.in_reply_to_object_id.is_empty();
        let facts = Facts {
            author: post.author_id,
            visibility: visibility(post.visibility),
            reply: reply_of(is_reply, post.in_reply_to_author_id),
            mentions: post.mentioned_ids,
            language: Language::of(&post.language),
        };
        Change::Posted { id: post.post_id, facts }
    } else if event.is::<posting::PostEdited>() {
        let post: posting::PostEdited = event.decode()?;
        let newly_named = newly(&post.mentioned_ids, &post.previous_mentioned_ids);
        let facts = Facts {
            author: post.author_id,
            visibility: visibility(post.visibility),
            reply: reply_of(post.is_reply || post.in_reply_to_id != 0, post.in_reply_to_author_id),
            mentions: post.mentioned_ids,
            language: Language::of(&post.language),
        };
        Change::Edited { id: post.post_id, facts, newly_named }
    } else if event.is::<posting::PostDeleted>() {
        Change::PostGone { id: event.decode::<posting::PostDeleted>()?.post_id }
    } else if event.is::<posting::PostBoosted>() {
        let boost: posting::PostBoosted = event.decode()?;
        let facts = Facts {
            author: boost.author_id,
            visibility: visibility(boost.post_visibility),
            reply: reply_of(boost.is_reply || boost.in_reply_to_id != 0, boost.in_reply_to_author_id),
            mentions: boost.mentioned_ids,
            language: Language::of(&boost.language),
        };
        Change::Boosted { id: boost.boost_id, post: boost.post_id, booster: boost.actor_id, facts }
    } else if event.is::<posting::PostUnboosted>() {
        let boost: posting::PostUnboosted = event.decode()?;
        Change::BoostGone { id: boost.boost_id, post: boost.post_id }
    } else {
        return Ok(None);
    };
    Ok(Some(change))
}

/// What watchers of public and tag timelines hear of a post.
pub fn public_signal(event: &Recorded) -> Result<Option<What>, Poison> {
    let post: posting::PostPublished = event.decode()?;
    if post.visibility != i32::from(posting::Visibility::Public) {
        return Ok(None);
    }
    let is_reply = post.in_reply_to_id != 0 || !post.in_reply_to_object_id.is_empty();
    Ok(Some(What::Public {
        post: post.post_id,
        author: post.author_id,
        server: post.author_home_id,
        to_others: is_reply && post.in_reply_to_author_id != post.author_id,
        tagged: !post.tags.is_empty(),
    }))
}

fn newly(now: &[u64], before: &[u64]) -> Vec<u64> {
    now.iter().filter(|id| !before.contains(id)).copied().collect()
}

/// The change of memory that an event of identity makes. `decoded` in order of how often they happen.
pub fn changes_of_accounts(event: &Recorded) -> Result<Option<Change>, Poison> {
    let change = if event.is::<identity::FollowStarted>() {
        let follow: identity::FollowStarted = event.decode()?;
        followed(follow.follower_id, follow.followed_id, follow.options.as_ref())
    } else if event.is::<identity::FollowAccepted>() {
        let follow: identity::FollowAccepted = event.decode()?;
        followed(follow.follower_id, follow.followed_id, follow.options.as_ref())
    } else if event.is::<identity::FollowChanged>() {
        let follow: identity::FollowChanged = event.decode()?;
        if follow.requested {
            return Ok(None);
        }
        followed(follow.follower_id, follow.followed_id, follow.options.as_ref())
    } else if event.is::<identity::FollowEnded>() {
        let follow: identity::FollowEnded = event.decode()?;
        Change::Unfollowed { follower: follow.follower_id, followed: follow.followed_id }
    } else if event.is::<identity::BlockStarted>() {
        let block: identity::BlockStarted = event.decode()?;
        Change::Blocks { blocker: block.blocker_id, blocked: block.blocked_id, holds: true }
    } else if event.is::<identity::BlockEnded>() {
        let block: identity::BlockEnded = event.decode()?;
        Change::Blocks { blocker: block.blocker_id, blocked: block.blocked_id, holds: false }
    } else if event.is::<identity::MuteStarted>() {
        let mute: identity::MuteStarted = event.decode()?;
        let until = if mute.expires_ms == 0 { u64::MAX } else { mute.expires_ms };
        Change::Mutes { muter: mute.muter_id, muted: mute.muted_id, until }
    } else if event.is::<identity::MuteEnded>() {
        let mute: identity::MuteEnded = event.decode()?;
        Change::Mutes { muter: mute.muter_id, muted: mute.muted_id, until: 0 }
    } else {
        return changes_of_states(event);
    };
    Ok(Some(change))
}

fn followed(follower: u64, followed: u64, options: Option<&identity::FollowOptions>) -> Change {
    let boosts = options.is_none_or(|options| options.show_boosts);
    let languages = options.map_or(&[][..], |options| &options.languages);
    let languages = languages.iter().map(|tag| Language::of(tag)).collect();
    Change::Followed { follower, followed, boosts, languages }
}

/// Whether nothing of an account may be shown, and to members of which server; 0 for everybody.
fn changes_of_states(event: &Recorded) -> Result<Option<Change>, Poison> {
    // What an account's home says of it holds for everybody.
    let scope = |scope: u64, home: u64| if scope == home { 0 } else { scope };
    let change = if event.is::<identity::AccountSuspended>() {
        let account: identity::AccountSuspended = event.decode()?;
        let scope = scope(account.scope_server_id, account.server_id);
        Change::Hidden { account: account.account_id, scope, hidden: true }
    } else if event.is::<identity::AccountRestored>() {
        let account: identity::AccountRestored = event.decode()?;
        let scope = scope(account.scope_server_id, account.server_id);
        Change::Hidden { account: account.account_id, scope, hidden: false }
    } else if event.is::<identity::AccountErased>() {
        let account: identity::AccountErased = event.decode()?;
        Change::Hidden { account: account.account_id, scope: 0, hidden: true }
    } else {
        return Ok(None);
    };
    Ok(Some(change))
}

/// What an event does to notifications.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// Somebody is told.
    Told(Notification),
    /// Of this post, what this type and account caused; see [`crate::tables::cause`].
    PostCauseGone { post: u64, kind: NotificationType, account: u64 },
    /// Everything that a post caused.
    PostGone { post: u64 },
    /// What a follow or a request for one caused.
    FollowGone { follower: u64, followed: u64 },
}

fn told(event: &Recorded, kind: NotificationType, recipient: u64, account: u64, post: u64) -> Note {
    Note::Told(Notification {
        id: event.event.event_id,
        r#type: kind.into(),
        recipient_id: recipient,
        account_id: account,
        post_id: post,
        created_ms: event.event.time_ms,
    })
}

/// What an event of posting does to notifications.
pub fn notes_of_posts(event: &Recorded) -> Result<Vec<Note>, Poison> {
    use NotificationType::{Boost, Like, Mention};
    let mentions = |ids: &[u64], author: u64, post: u64| -> Vec<Note> {
        let others = ids.iter().filter(|id| **id != author);
        others.map(|id| told(event, Mention, *id, author, post)).collect()
    };
    let notes = if event.is::<posting::PostPublished>() {
        let post: posting::PostPublished = event.decode()?;
        mentions(&post.mentioned_ids, post.author_id, post.post_id)
    } else if event.is::<posting::PostEdited>() {
        let post: posting::PostEdited = event.decode()?;
        let newly_named = newly(&post.mentioned_ids, &post.previous_mentioned_ids);
        let no_longer = newly(&post.previous_mentioned_ids, &post.mentioned_ids);
        let gone = |account: u64| Note::PostCauseGone { post: post.post_id, kind: Mention, account };
        let gone: Vec<Note> = no_longer.into_iter().map(gone).collect();
        gone.into_iter().chain(mentions(&newly_named, post.author_id, post.post_id)).collect()
    } else if event.is::<posting::PostDeleted>() {
        vec![Note::PostGone { post: event.decode::<posting::PostDeleted>()?.post_id }]
    } else if event.is::<posting::PostLiked>() {
        let like: posting::PostLiked = event.decode()?;
        let tell = like.author_id != like.actor_id && like.author_home_id != 0;
        tell.then(|| told(event, Like, like.author_id, like.actor_id, like.post_id)).into_iter().collect()
    } else if event.is::<posting::PostUnliked>() {
        let like: posting::PostUnliked = event.decode()?;
        vec![Note::PostCauseGone { post: like.post_id, kind: Like, account: like.actor_id }]
    } else if event.is::<posting::PostBoosted>() {
        let boost: posting::PostBoosted = event.decode()?;
        let tell = boost.author_id != boost.actor_id && boost.author_home_id != 0;
        tell.then(|| told(event, Boost, boost.author_id, boost.actor_id, boost.post_id)).into_iter().collect()
    } else if event.is::<posting::PostUnboosted>() {
        let boost: posting::PostUnboosted = event.decode()?;
        vec![Note::PostCauseGone { post: boost.post_id, kind: Boost, account: boost.actor_id }]
    } else {
        Vec::new()
    };
    Ok(notes)
}

/// What an event of identity does to notifications. Accepting a request tells nobody: the recipient did it himself.
pub fn notes_of_follows(event: &Recorded) -> Result<Vec<Note>, Poison> {
    let gone = |follower, followed| vec![Note::FollowGone { follower, followed }];
    let notes = if event.is::<identity::FollowStarted>() {
        let follow: identity::FollowStarted = event.decode()?;
        let note = told(event, NotificationType::Follow, follow.followed_id, follow.follower_id, 0);
        if follow.followed_server_id == 0 { Vec::new() } else { vec![note] }
    } else if event.is::<identity::FollowRequested>() {
        let follow: identity::FollowRequested = event.decode()?;
        let note = told(event, NotificationType::FollowRequest, follow.followed_id, follow.follower_id, 0);
        if follow.followed_server_id == 0 { Vec::new() } else { vec![note] }
    } else if event.is::<identity::FollowAccepted>() {
        let follow: identity::FollowAccepted = event.decode()?;
        gone(follow.follower_id, follow.followed_id)
    } else if event.is::<identity::FollowRequestEnded>() {
        let follow: identity::FollowRequestEnded = event.decode()?;
        gone(follow.follower_id, follow.followed_id)
    } else if event.is::<identity::FollowEnded>() {
        let follow: identity::FollowEnded = event.decode()?;
        gone(follow.follower_id, follow.followed_id)
    } else {
        Vec::new()
    };
    Ok(notes)
}
