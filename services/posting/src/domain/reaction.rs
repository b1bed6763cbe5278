//! What one account does with one post: a like, a boost and a bookmark, each there or not.
//!
//! Doing a thing twice and undoing what was not done change nothing. Undoing is never refused.

use super::{Actor, EndReason, ReplyTo, Visibility, post};
use p92_kernel::{AccountId, Id, Millis, PostId, ServerId};

/// The post that is reacted to, as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub post: PostId,
    pub author: AccountId,
    pub home: Option<ServerId>,
    pub visibility: Visibility,
    pub object_id: String,
    pub reply: Option<ReplyTo>,
    pub is_reply: bool,
    pub mentioned: Vec<AccountId>,
    pub language: String,
}

impl From<&post::Standing> for Target {
    fn from(post: &post::Standing) -> Self {
        Self {
            post: post.post,
            author: post.author,
            home: post.home,
            visibility: post.visibility,
            object_id: post.object_id.clone(),
            reply: post.reply,
            is_reply: post.is_reply,
            mentioned: post.mentioned.clone(),
            language: post.language.clone(),
        }
    }
}

/// Whose reaction to whose post: what an end must still say.
#[derive(Clone, Debug, PartialEq)]
pub struct Between {
    pub post: PostId,
    pub object_id: String,
    pub author: AccountId,
    pub author_home: Option<ServerId>,
    pub actor: AccountId,
    pub actor_home: Option<ServerId>,
}

impl Between {
    /// Between this actor and this post.
    #[must_use]
    pub fn of(actor: &Actor, target: &Target) -> Self {
        Self {
            post: target.post,
            object_id: target.object_id.clone(),
            author: target.author,
            author_home: target.home,
            actor: actor.id,
            actor_home: actor.home,
        }
    }
}

/// A like, as long as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Like {
    pub id: Id,
    pub between: Between,
    pub activity_id: String,
}

/// A boost, as long as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Boost {
    pub id: Id,
    pub between: Between,
    pub activity_id: String,
    pub visibility: Visibility,
}

/// A bookmark, as long as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Bookmark {
    pub id: Id,
    pub post: PostId,
    pub actor: AccountId,
}

/// What happens between an account and a post.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Liked { like: Like, visibility: Visibility },
    Unliked { like: Like, reason: EndReason },
    Boosted(Box<Boosted>),
    Unboosted { boost: Boost, reason: EndReason },
    Bookmarked(Bookmark),
    Unbookmarked { bookmark: Bookmark, reason: EndReason },
}

/// A boost began.
#[derive(Clone, Debug, PartialEq)]
pub struct Boosted {
    pub boost: Boost,
    pub actor: Actor,
    pub target: Target,
    pub at: Millis,
}

/// All that stands between an account and a post.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reaction {
    pub like: Option<Like>,
    pub boost: Option<Boost>,
    pub bookmark: Option<Bookmark>,
}

/// What an account may ask.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Like {
        id: Id,
        actor: Actor,
        target: Target,
        activity_id: String,
    },
    Unlike {
        reason: EndReason,
    },
    Boost {
        id: Id,
        actor: Actor,
        target: Target,
        activity_id: String,
        visibility: Visibility,
        at: Millis,
    },
    Unboost {
        reason: EndReason,
    },
    Bookmark {
        id: Id,
        actor: AccountId,
        post: PostId,
    },
    Unbookmark {
        reason: EndReason,
    },
    /// Everything ends.
    End {
        reason: EndReason,
    },
}

/// What follows from a command. What stands between two is never a reason to refuse, so there is no rejection.
#[must_use]
pub fn decide(reaction: &Reaction, command: Command) -> Vec<Event> {
    match command {
        Command::Like { id, actor, target, activity_id } => {
            let like = Like { id, between: Between::of(&actor, &target), activity_id };
            let liked = Event::Liked { like, visibility: target.visibility };
            unless(reaction.like.is_some(), liked)
        }
        Command::Boost { id, actor, target, activity_id, visibility, at } => {
            let boost = Boost { id, between: Between::of(&actor, &target), activity_id, visibility };
            let boosted = Event::Boosted(Box::new(Boosted { boost, actor, target, at }));
            unless(reaction.boost.is_some(), boosted)
        }
        Command::Bookmark { id, actor, post } => {
            unless(reaction.bookmark.is_some(), Event::Bookmarked(Bookmark { id, post, actor }))
        }
        Command::Unlike { reason } => unliked(reaction, reason).into_iter().collect(),
        Command::Unboost { reason } => unboosted(reaction, reason).into_iter().collect(),
        Command::Unbookmark { reason } => unbookmarked(reaction, reason).into_iter().collect(),
        Command::End { reason } => {
            let ends =
                [unliked(reaction, reason), unboosted(reaction, reason), unbookmarked(reaction, reason)];
            ends.into_iter().flatten().collect()
        }
    }
}

fn unless(stands: bool, event: Event) -> Vec<Event> {
    if stands { Vec::new() } else { vec![event] }
}

fn unliked(reaction: &Reaction, reason: EndReason) -> Option<Event> {
    reaction.like.clone().map(|like| Event::Unliked { like, reason })
}

fn unboosted(reaction: &Reaction, reason: EndReason) -> Option<Event> {
    reaction.boost.clone().map(|boost| Event::Unboosted { boost, reason })
}

fn unbookmarked(reaction: &Reaction, reason: EndReason) -> Option<Event> {
    reaction.bookmark.clone().map(|bookmark| Event::Unbookmarked { bookmark, reason })
}

/// What stands after the event.
#[must_use]
pub fn evolve(mut reaction: Reaction, event: &Event) -> Reaction {
    match event {
        Event::Liked { like, .. } => reaction.like = Some(like.clone()),
        Event::Unliked { .. } => reaction.like = None,
        Event::Boosted(boosted) => reaction.boost = Some(boosted.boost.clone()),
        Event::Unboosted { .. } => reaction.boost = None,
        Event::Bookmarked(bookmark) => reaction.bookmark = Some(bookmark.clone()),
        Event::Unbookmarked { .. } => reaction.bookmark = None,
    }
    reaction
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::Kind;
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn actor() -> Actor {
        Actor { id: AccountId::new(2).unwrap(), home: ServerId::new(9), kind: Kind::Creator }
    }

    pub(crate) fn target() -> Target {
        Target {
            post: PostId::new(100).unwrap(),
            author: AccountId::new(1).unwrap(),
            home: None,
            visibility: Visibility::Unlisted,
            object_id: "https://b.example/1".into(),
            reply: Some(ReplyTo { post: PostId::new(99).unwrap(), author: AccountId::new(4).unwrap() }),
            is_reply: true,
            mentioned: vec![AccountId::new(5).unwrap()],
            language: "en".into(),
        }
    }

    fn id(n: u64) -> Id {
        Id::new(n).unwrap()
    }

    fn command(step: u8, n: u64) -> Command {
        let reason = EndReason::TakenBack;
        match step {
            0 => Command::Like { id: id(n), actor: actor(), target: target(), activity_id: "like".into() },
            1 => Command::Unlike { reason },
            2 => Command::Boost {
                id: id(n),
                actor: actor(),
                target: target(),
                activity_id: "boost".into(),
                visibility: Visibility::Public,
                at: Millis(n),
            },
            3 => Command::Unboost { reason },
            4 => Command::Bookmark { id: id(n), actor: actor().id, post: target().post },
            5 => Command::Unbookmark { reason },
            _ => Command::End { reason },
        }
    }

    #[test]
    fn twice_is_once() {
        for step in [0, 2, 4] {
            let first = decide(&Reaction::default(), command(step, 1));
            let stands = first.iter().fold(Reaction::default(), evolve);
            assert_eq!(first.len(), 1);
            assert_eq!(decide(&stands, command(step, 2)), vec![], "step {step}");
            let ends = decide(&stands, command(step + 1, 3));
            assert_eq!(ends.iter().fold(stands, evolve), Reaction::default(), "step {step}");
        }
    }

    proptest! {
        #[test]
        fn what_began_ends_once(steps in proptest::collection::vec(0_u8..7, 0..60)) {
            let mut reaction = Reaction::default();
            let (mut began, mut ended) = (0_i32, 0_i32);
            for (n, step) in steps.into_iter().enumerate() {
                for event in decide(&reaction, command(step, n as u64 + 1)) {
                    match event {
                        Event::Liked { .. } | Event::Boosted(_) | Event::Bookmarked(_) => began += 1,
                        _ => ended += 1,
                    }
                    reaction = evolve(reaction, &event);
                }
            }
            let standing = i32::from(reaction.like.is_some())
                + i32::from(reaction.boost.is_some())
                + i32::from(reaction.bookmark.is_some());
            prop_assert_eq!(began - ended, standing);
            let ends = decide(&reaction, command(6, 1_000));
            prop_assert_eq!(ends.iter().fold(reaction, evolve), Reaction::default());
        }
    }
}
