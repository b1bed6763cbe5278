//! Relationships: their events.

use super::enums::{follow_end_in, follow_end_out};
use super::{Unreadable, some_in, some_out};
use crate::domain::Relationship;
use crate::domain::relationship::{Edge, Event, Mute, Options, Pair};
use p92_eventlog::{Aggregate, NewEvent, Poison, Recorded};
use p92_proto::identity::v1;
use prost::Name;

impl Aggregate for Relationship {
    type Event = Event;

    fn decode(event: &Recorded) -> Result<Event, Poison> {
        decode(event)?.map_err(|problem| event.unreadable(problem.to_string()))
    }

    fn encode(event: &Event) -> NewEvent {
        encode(event)
    }

    fn evolve(self, event: &Event) -> Self {
        Self::evolve(self, event)
    }
}

/// Whether the type is one of a relationship's events.
#[must_use]
pub fn is_relationship_event(event_type: &str) -> bool {
    event_type.strip_prefix("p92.identity.v1.").is_some_and(|name| NAMES.contains(&name))
}

const NAMES: [&str; 10] = [
    v1::FollowRequested::NAME,
    v1::FollowStarted::NAME,
    v1::FollowAccepted::NAME,
    v1::FollowRequestEnded::NAME,
    v1::FollowChanged::NAME,
    v1::FollowEnded::NAME,
    v1::BlockStarted::NAME,
    v1::BlockEnded::NAME,
    v1::MuteStarted::NAME,
    v1::MuteEnded::NAME,
];

fn encode(event: &Event) -> NewEvent {
    match event.clone() {
        Event::FollowRequested { edge, options, activity_id } => NewEvent::of(&v1::FollowRequested {
            follow_id: edge.id,
            follower_id: edge.pair.from,
            followed_id: edge.pair.to,
            follower_server_id: edge.from_home,
            followed_server_id: edge.to_home,
            options: Some(options_out(&options)),
            activity_id: some_out(activity_id.as_ref()),
        }),
        Event::FollowStarted { edge, options, activity_id } => NewEvent::of(&v1::FollowStarted {
            follow_id: edge.id,
            follower_id: edge.pair.from,
            followed_id: edge.pair.to,
            follower_server_id: edge.from_home,
            followed_server_id: edge.to_home,
            options: Some(options_out(&options)),
            activity_id: some_out(activity_id.as_ref()),
        }),
        Event::FollowAccepted { edge, options } => NewEvent::of(&v1::FollowAccepted {
            follow_id: edge.id,
            follower_id: edge.pair.from,
            followed_id: edge.pair.to,
            follower_server_id: edge.from_home,
            followed_server_id: edge.to_home,
            options: Some(options_out(&options)),
        }),
        Event::FollowRequestEnded { id, pair, reason } => NewEvent::of(&v1::FollowRequestEnded {
            follow_id: id,
            follower_id: pair.from,
            followed_id: pair.to,
            reason: follow_end_out(reason),
        }),
        Event::FollowChanged { id, pair, options, requested } => NewEvent::of(&v1::FollowChanged {
            follow_id: id,
            follower_id: pair.from,
            followed_id: pair.to,
            options: Some(options_out(&options)),
            requested,
        }),
        Event::FollowEnded { id, pair, reason } => NewEvent::of(&v1::FollowEnded {
            follow_id: id,
            follower_id: pair.from,
            followed_id: pair.to,
            reason: follow_end_out(reason),
        }),
        Event::BlockStarted { id, pair, activity_id } => NewEvent::of(&v1::BlockStarted {
            block_id: id,
            blocker_id: pair.from,
            blocked_id: pair.to,
            activity_id: some_out(activity_id.as_ref()),
        }),
        Event::BlockEnded { id, pair } => {
            NewEvent::of(&v1::BlockEnded { block_id: id, blocker_id: pair.from, blocked_id: pair.to })
        }
        Event::MuteStarted { pair, mute } => NewEvent::of(&v1::MuteStarted {
            mute_id: mute.id,
            muter_id: pair.from,
            muted_id: pair.to,
            notifications: mute.notifications,
            expires_ms: mute.expires_ms,
        }),
        Event::MuteEnded { id, pair } => {
            NewEvent::of(&v1::MuteEnded { mute_id: id, muter_id: pair.from, muted_id: pair.to })
        }
    }
}

type Read = Result<Event, Unreadable>;

fn decode(event: &Recorded) -> Result<Read, Poison> {
    let name = event.event_type().strip_prefix("p92.identity.v1.").unwrap_or_default();
    Ok(match name {
        v1::FollowRequested::NAME => {
            let read: v1::FollowRequested = event.decode()?;
            let edge = Edge {
                id: read.follow_id,
                pair: Pair { from: read.follower_id, to: read.followed_id },
                from_home: read.follower_server_id,
                to_home: read.followed_server_id,
            };
            let activity_id = some_in(read.activity_id);
            Ok(Event::FollowRequested { edge, options: options_in(read.options), activity_id })
        }
        v1::FollowStarted::NAME => {
            let read: v1::FollowStarted = event.decode()?;
            let edge = Edge {
                id: read.follow_id,
                pair: Pair { from: read.follower_id, to: read.followed_id },
                from_home: read.follower_server_id,
                to_home: read.followed_server_id,
            };
            let activity_id = some_in(read.activity_id);
            Ok(Event::FollowStarted { edge, options: options_in(read.options), activity_id })
        }
        v1::FollowAccepted::NAME => {
            let read: v1::FollowAccepted = event.decode()?;
            let edge = Edge {
                id: read.follow_id,
                pair: Pair { from: read.follower_id, to: read.followed_id },
                from_home: read.follower_server_id,
                to_home: read.followed_server_id,
            };
            Ok(Event::FollowAccepted { edge, options: options_in(read.options) })
        }
        _ => return decode_other(event, name),
    })
}

fn decode_other(event: &Recorded, name: &str) -> Result<Read, Poison> {
    let reason = |number| follow_end_in(number).ok_or(Unreadable("reason"));
    Ok(match name {
        v1::FollowRequestEnded::NAME => {
            let read: v1::FollowRequestEnded = event.decode()?;
            let pair = Pair { from: read.follower_id, to: read.followed_id };
            reason(read.reason).map(|reason| Event::FollowRequestEnded { id: read.follow_id, pair, reason })
        }
        v1::FollowChanged::NAME => {
            let read: v1::FollowChanged = event.decode()?;
            let pair = Pair { from: read.follower_id, to: read.followed_id };
            let options = options_in(read.options);
            Ok(Event::FollowChanged { id: read.follow_id, pair, options, requested: read.requested })
        }
        v1::FollowEnded::NAME => {
            let read: v1::FollowEnded = event.decode()?;
            let pair = Pair { from: read.follower_id, to: read.followed_id };
            reason(read.reason).map(|reason| Event::FollowEnded { id: read.follow_id, pair, reason })
        }
        v1::BlockStarted::NAME => {
            let read: v1::BlockStarted = event.decode()?;
            let pair = Pair { from: read.blocker_id, to: read.blocked_id };
            Ok(Event::BlockStarted { id: read.block_id, pair, activity_id: some_in(read.activity_id) })
        }
        v1::BlockEnded::NAME => {
            let read: v1::BlockEnded = event.decode()?;
            let pair = Pair { from: read.blocker_id, to: read.blocked_id };
            Ok(Event::BlockEnded { id: read.block_id, pair })
        }
        v1::MuteStarted::NAME => {
            let read: v1::MuteStarted = event.decode()?;
            let pair = Pair { from: read.muter_id, to: read.muted_id };
            let mute =
                Mute { id: read.mute_id, notifications: read.notifications, expires_ms: read.expires_ms };
            Ok(Event::MuteStarted { pair, mute })
        }
        v1::MuteEnded::NAME => {
            let read: v1::MuteEnded = event.decode()?;
            let pair = Pair { from: read.muter_id, to: read.muted_id };
            Ok(Event::MuteEnded { id: read.mute_id, pair })
        }
        _ => Err(Unreadable("an event of a relationship")),
    })
}

/// How a follow is, for the wire.
#[must_use]
pub fn options_out(options: &Options) -> v1::FollowOptions {
    v1::FollowOptions {
        show_boosts: options.show_boosts,
        notify: options.notify,
        languages: options.languages.clone(),
    }
}

/// How a follow is, from the wire.
#[must_use]
pub fn options_in(options: Option<v1::FollowOptions>) -> Options {
    let options = options.unwrap_or_default();
    Options { show_boosts: options.show_boosts, notify: options.notify, languages: options.languages }
}
