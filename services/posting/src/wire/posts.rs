//! Events of posts.

use super::{
    Fields, home_to_wire, ids_to_wire, kind_from_wire, kind_to_wire, reason_to_wire, reply_to_wire,
    visibility_to_wire,
};
use crate::domain::post::{self, Deleted, Edited, Event, PinChange, Post, Published, SealedTag};
use p92_eventlog::{Aggregate, NewEvent, Poison, Recorded};
use p92_kernel::{Millis, ServerId};
use p92_proto::posting::v1;

impl Aggregate for Post {
    type Event = Event;

    fn decode(event: &Recorded) -> Result<Event, Poison> {
        if event.is::<v1::PostPublished>() {
            published_from_wire(event).map(Box::new).map(Event::Published)
        } else if event.is::<v1::PostEdited>() {
            edited_from_wire(event).map(Box::new).map(Event::Edited)
        } else if event.is::<v1::PostDeleted>() {
            deleted_from_wire(event).map(Box::new).map(Event::Deleted)
        } else if event.is::<v1::PostPinned>() {
            let v1::PostPinned { post_id, author_id, object_id } = event.decode()?;
            Ok(Event::Pinned(pin_from_wire(&Fields(event), post_id, author_id, object_id)?))
        } else if event.is::<v1::PostUnpinned>() {
            let v1::PostUnpinned { post_id, author_id, object_id } = event.decode()?;
            Ok(Event::Unpinned(pin_from_wire(&Fields(event), post_id, author_id, object_id)?))
        } else {
            Err(event.unreadable("it is no event of a post"))
        }
    }

    fn encode(event: &Event) -> NewEvent {
        match event {
            Event::Published(event) => NewEvent::of(&published_to_wire(event)),
            Event::Edited(event) => NewEvent::of(&edited_to_wire(event)),
            Event::Deleted(event) => NewEvent::of(&deleted_to_wire(event)),
            Event::Pinned(PinChange { post, author, object_id }) => NewEvent::of(&v1::PostPinned {
                post_id: post.get(),
                author_id: author.get(),
                object_id: object_id.clone(),
            }),
            Event::Unpinned(PinChange { post, author, object_id }) => NewEvent::of(&v1::PostUnpinned {
                post_id: post.get(),
                author_id: author.get(),
                object_id: object_id.clone(),
            }),
        }
    }

    fn evolve(self, event: &Event) -> Self {
        post::evolve(self, event)
    }
}

fn tags_to_wire(tags: &[SealedTag]) -> Vec<v1::SealedTag> {
    tags.iter().map(|tag| v1::SealedTag { key: tag.key.clone(), name: Some(tag.name.clone()) }).collect()
}

fn tags_from_wire(tags: Vec<v1::SealedTag>) -> Vec<SealedTag> {
    tags.into_iter().map(|tag| SealedTag { key: tag.key, name: tag.name.unwrap_or_default() }).collect()
}

/// The event as the log has it.
pub fn published_to_wire(event: &Published) -> v1::PostPublished {
    let (in_reply_to_id, in_reply_to_author_id) = reply_to_wire(event.reply);
    v1::PostPublished {
        post_id: event.post.get(),
        author_id: event.author.get(),
        author_home_id: home_to_wire(event.home),
        author_kind: kind_to_wire(event.kind).into(),
        object_id: event.object_id.clone(),
        url_key: event.url_key.clone(),
        visibility: visibility_to_wire(event.visibility).into(),
        content: Some(event.content.clone()),
        sensitive: event.sensitive,
        language: event.language.clone(),
        in_reply_to_id,
        in_reply_to_author_id,
        in_reply_to_object_id: event.reply_object_id.clone(),
        conversation_id: event.conversation.get(),
        mentioned_ids: ids_to_wire(&event.mentioned),
        tags: tags_to_wire(&event.tags),
        published_ms: event.published.0,
        app_id: event.app_id,
    }
}

fn published_from_wire(event: &Recorded) -> Result<Published, Poison> {
    let fields = Fields(event);
    let message: v1::PostPublished = event.decode()?;
    Ok(Published {
        post: fields.post(message.post_id)?,
        author: fields.account(message.author_id)?,
        home: ServerId::new(message.author_home_id),
        kind: kind_from_wire(message.author_kind()),
        visibility: fields.visibility(message.visibility())?,
        content: message.content.ok_or_else(|| event.unreadable("it has no content"))?,
        sensitive: message.sensitive,
        language: message.language,
        reply: fields.reply(message.in_reply_to_id, message.in_reply_to_author_id)?,
        reply_object_id: message.in_reply_to_object_id,
        conversation: fields.post(message.conversation_id)?,
        mentioned: fields.accounts(&message.mentioned_ids)?,
        tags: tags_from_wire(message.tags),
        published: Millis(message.published_ms),
        object_id: message.object_id,
        url_key: message.url_key,
        app_id: message.app_id,
    })
}

fn edited_to_wire(event: &Edited) -> v1::PostEdited {
    let (in_reply_to_id, in_reply_to_author_id) = reply_to_wire(event.reply);
    v1::PostEdited {
        post_id: event.post.get(),
        author_id: event.author.get(),
        author_home_id: home_to_wire(event.home),
        revision: event.revision,
        content: Some(event.content.clone()),
        sensitive: event.sensitive,
        language: event.language.clone(),
        mentioned_ids: ids_to_wire(&event.mentioned),
        previous_mentioned_ids: ids_to_wire(&event.previous_mentioned),
        tags: tags_to_wire(&event.tags),
        previous_tag_keys: event.previous_tag_keys.clone(),
        edited_ms: event.edited.0,
        visibility: visibility_to_wire(event.visibility).into(),
        object_id: event.object_id.clone(),
        in_reply_to_id,
        in_reply_to_author_id,
        is_reply: event.is_reply,
    }
}

fn edited_from_wire(event: &Recorded) -> Result<Edited, Poison> {
    let fields = Fields(event);
    let message: v1::PostEdited = event.decode()?;
    Ok(Edited {
        post: fields.post(message.post_id)?,
        author: fields.account(message.author_id)?,
        home: ServerId::new(message.author_home_id),
        revision: message.revision,
        visibility: fields.visibility(message.visibility())?,
        content: message.content.ok_or_else(|| event.unreadable("it has no content"))?,
        sensitive: message.sensitive,
        language: message.language,
        mentioned: fields.accounts(&message.mentioned_ids)?,
        previous_mentioned: fields.accounts(&message.previous_mentioned_ids)?,
        tags: tags_from_wire(message.tags),
        previous_tag_keys: message.previous_tag_keys,
        edited: Millis(message.edited_ms),
        object_id: message.object_id,
        reply: fields.reply(message.in_reply_to_id, message.in_reply_to_author_id)?,
        is_reply: message.is_reply,
    })
}

fn deleted_to_wire(event: &Deleted) -> v1::PostDeleted {
    let (in_reply_to_id, in_reply_to_author_id) = reply_to_wire(event.reply);
    v1::PostDeleted {
        post_id: event.post.get(),
        author_id: event.author.get(),
        author_home_id: home_to_wire(event.home),
        object_id: event.object_id.clone(),
        url_key: event.url_key.clone(),
        visibility: visibility_to_wire(event.visibility).into(),
        in_reply_to_id,
        in_reply_to_author_id,
        conversation_id: event.conversation.get(),
        mentioned_ids: ids_to_wire(&event.mentioned),
        tag_keys: event.tag_keys.clone(),
        reason: reason_to_wire(event.reason).into(),
        was_pinned: event.was_pinned,
    }
}

fn deleted_from_wire(event: &Recorded) -> Result<Deleted, Poison> {
    let fields = Fields(event);
    let message: v1::PostDeleted = event.decode()?;
    Ok(Deleted {
        post: fields.post(message.post_id)?,
        author: fields.account(message.author_id)?,
        home: ServerId::new(message.author_home_id),
        visibility: fields.visibility(message.visibility())?,
        reply: fields.reply(message.in_reply_to_id, message.in_reply_to_author_id)?,
        conversation: fields.post(message.conversation_id)?,
        mentioned: fields.accounts(&message.mentioned_ids)?,
        reason: fields.reason(message.reason())?,
        object_id: message.object_id,
        url_key: message.url_key,
        tag_keys: message.tag_keys,
        was_pinned: message.was_pinned,
    })
}

fn pin_from_wire(
    fields: &Fields<'_>,
    post_id: u64,
    author_id: u64,
    object_id: String,
) -> Result<PinChange, Poison> {
    Ok(PinChange { post: fields.post(post_id)?, author: fields.account(author_id)?, object_id })
}
