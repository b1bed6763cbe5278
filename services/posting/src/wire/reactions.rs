//! Events of reactions.

use super::{
    Fields, home_to_wire, ids_to_wire, kind_from_wire, kind_to_wire, reason_to_wire, reply_to_wire,
    visibility_to_wire,
};
use crate::domain::Actor;
use crate::domain::reaction::{self, Between, Bookmark, Boost, Boosted, Event, Like, Reaction, Target};
use p92_eventlog::{Aggregate, NewEvent, Poison, Recorded};
use p92_kernel::{Millis, ServerId};
use p92_proto::posting::v1;

impl Aggregate for Reaction {
    type Event = Event;

    fn decode(event: &Recorded) -> Result<Event, Poison> {
        if event.is::<v1::PostLiked>() {
            liked_from_wire(event)
        } else if event.is::<v1::PostUnliked>() {
            unliked_from_wire(event)
        } else if event.is::<v1::PostBoosted>() {
            boosted_from_wire(event)
        } else if event.is::<v1::PostUnboosted>() {
            unboosted_from_wire(event)
        } else if event.is::<v1::PostBookmarked>() {
            let v1::PostBookmarked { bookmark_id, post_id, actor_id } = event.decode()?;
            Ok(Event::Bookmarked(bookmark(&Fields(event), bookmark_id, post_id, actor_id)?))
        } else if event.is::<v1::PostUnbookmarked>() {
            let message: v1::PostUnbookmarked = event.decode()?;
            let fields = Fields(event);
            Ok(Event::Unbookmarked {
                bookmark: bookmark(&fields, message.bookmark_id, message.post_id, message.actor_id)?,
                reason: fields.reason(message.reason())?,
            })
        } else {
            Err(event.unreadable("it is no event of a reaction"))
        }
    }

    fn encode(event: &Event) -> NewEvent {
        match event {
            Event::Liked { like, visibility } => NewEvent::of(&v1::PostLiked {
                like_id: like.id.get(),
                post_id: like.between.post.get(),
                actor_id: like.between.actor.get(),
                actor_home_id: home_to_wire(like.between.actor_home),
                author_id: like.between.author.get(),
                author_home_id: home_to_wire(like.between.author_home),
                visibility: visibility_to_wire(*visibility).into(),
                activity_id: like.activity_id.clone(),
                object_id: like.between.object_id.clone(),
            }),
            Event::Unliked { like, reason } => NewEvent::of(&v1::PostUnliked {
                like_id: like.id.get(),
                post_id: like.between.post.get(),
                actor_id: like.between.actor.get(),
                actor_home_id: home_to_wire(like.between.actor_home),
                author_id: like.between.author.get(),
                author_home_id: home_to_wire(like.between.author_home),
                activity_id: like.activity_id.clone(),
                object_id: like.between.object_id.clone(),
                reason: reason_to_wire(*reason).into(),
            }),
            Event::Boosted(boosted) => NewEvent::of(&boosted_to_wire(boosted)),
            Event::Unboosted { boost, reason } => NewEvent::of(&v1::PostUnboosted {
                boost_id: boost.id.get(),
                post_id: boost.between.post.get(),
                actor_id: boost.between.actor.get(),
                actor_home_id: home_to_wire(boost.between.actor_home),
                author_id: boost.between.author.get(),
                author_home_id: home_to_wire(boost.between.author_home),
                visibility: visibility_to_wire(boost.visibility).into(),
                activity_id: boost.activity_id.clone(),
                object_id: boost.between.object_id.clone(),
                reason: reason_to_wire(*reason).into(),
            }),
            Event::Bookmarked(bookmark) => NewEvent::of(&v1::PostBookmarked {
                bookmark_id: bookmark.id.get(),
                post_id: bookmark.post.get(),
                actor_id: bookmark.actor.get(),
            }),
            Event::Unbookmarked { bookmark, reason } => NewEvent::of(&v1::PostUnbookmarked {
                bookmark_id: bookmark.id.get(),
                post_id: bookmark.post.get(),
                actor_id: bookmark.actor.get(),
                reason: reason_to_wire(*reason).into(),
            }),
        }
    }

    fn evolve(self, event: &Event) -> Self {
        reaction::evolve(self, event)
    }
}

fn liked_from_wire(event: &Recorded) -> Result<Event, Poison> {
    let (fields, message) = (Fields(event), event.decode::<v1::PostLiked>()?);
    let visibility = fields.visibility(message.visibility())?;
    let between = Between {
        post: fields.post(message.post_id)?,
        object_id: message.object_id,
        author: fields.account(message.author_id)?,
        author_home: ServerId::new(message.author_home_id),
        actor: fields.account(message.actor_id)?,
        actor_home: ServerId::new(message.actor_home_id),
    };
    let like = Like { id: fields.id(message.like_id)?, between, activity_id: message.activity_id };
    Ok(Event::Liked { like, visibility })
}

fn unliked_from_wire(event: &Recorded) -> Result<Event, Poison> {
    let (fields, message) = (Fields(event), event.decode::<v1::PostUnliked>()?);
    let reason = fields.reason(message.reason())?;
    let between = Between {
        post: fields.post(message.post_id)?,
        object_id: message.object_id,
        author: fields.account(message.author_id)?,
        author_home: ServerId::new(message.author_home_id),
        actor: fields.account(message.actor_id)?,
        actor_home: ServerId::new(message.actor_home_id),
    };
    let like = Like { id: fields.id(message.like_id)?, between, activity_id: message.activity_id };
    Ok(Event::Unliked { like, reason })
}

fn boosted_to_wire(event: &Boosted) -> v1::PostBoosted {
    let Boosted { boost, actor, target, at } = event;
    let (in_reply_to_id, in_reply_to_author_id) = reply_to_wire(target.reply);
    v1::PostBoosted {
        boost_id: boost.id.get(),
        post_id: target.post.get(),
        actor_id: actor.id.get(),
        actor_home_id: home_to_wire(actor.home),
        actor_kind: kind_to_wire(actor.kind).into(),
        author_id: target.author.get(),
        author_home_id: home_to_wire(target.home),
        visibility: visibility_to_wire(boost.visibility).into(),
        post_visibility: visibility_to_wire(target.visibility).into(),
        activity_id: boost.activity_id.clone(),
        object_id: target.object_id.clone(),
        boosted_ms: at.0,
        in_reply_to_id,
        in_reply_to_author_id,
        is_reply: target.is_reply,
        mentioned_ids: ids_to_wire(&target.mentioned),
        language: target.language.clone(),
    }
}

fn boosted_from_wire(event: &Recorded) -> Result<Event, Poison> {
    let (fields, message) = (Fields(event), event.decode::<v1::PostBoosted>()?);
    let visibility = fields.visibility(message.visibility())?;
    let actor = Actor {
        id: fields.account(message.actor_id)?,
        home: ServerId::new(message.actor_home_id),
        kind: kind_from_wire(message.actor_kind()),
    };
    let target = Target {
        post: fields.post(message.post_id)?,
        author: fields.account(message.author_id)?,
        home: ServerId::new(message.author_home_id),
        visibility: fields.visibility(message.post_visibility())?,
        reply: fields.reply(message.in_reply_to_id, message.in_reply_to_author_id)?,
        mentioned: fields.accounts(&message.mentioned_ids)?,
        is_reply: message.is_reply,
        object_id: message.object_id,
        language: message.language,
    };
    let boost = Boost {
        id: fields.id(message.boost_id)?,
        between: Between::of(&actor, &target),
        activity_id: message.activity_id,
        visibility,
    };
    Ok(Event::Boosted(Box::new(Boosted { boost, actor, target, at: Millis(message.boosted_ms) })))
}

fn unboosted_from_wire(event: &Recorded) -> Result<Event, Poison> {
    let (fields, message) = (Fields(event), event.decode::<v1::PostUnboosted>()?);
    let (reason, visibility) = (fields.reason(message.reason())?, fields.visibility(message.visibility())?);
    let between = Between {
        post: fields.post(message.post_id)?,
        object_id: message.object_id,
        author: fields.account(message.author_id)?,
        author_home: ServerId::new(message.author_home_id),
        actor: fields.account(message.actor_id)?,
        actor_home: ServerId::new(message.actor_home_id),
    };
    let id = fields.id(message.boost_id)?;
    Ok(Event::Unboosted {
        boost: Boost { id, between, activity_id: message.activity_id, visibility },
        reason,
    })
}

fn bookmark(fields: &Fields<'_>, id: u64, post: u64, actor: u64) -> Result<Bookmark, Poison> {
    Ok(Bookmark { id: fields.id(id)?, post: fields.post(post)?, actor: fields.account(actor)? })
}
