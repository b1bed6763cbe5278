//! Domain ↔ messages, both ways and total, for the log of timelines and for what other logs say.

use crate::domain::entry::{Entry, Language, Visibility};
use crate::domain::marker::{List, Markers, Set};
use crate::domain::memory::Candidate;
use crate::domain::memory::recent::Facts;
use crate::domain::merge::{key_of, reply_of};
use crate::domain::notification::{Event, SetAside};
use crate::domain::window::Window;
use p92_eventlog::{Aggregate, NewEvent, Poison, Recorded};
use p92_kernel::PageSize;
use p92_proto::event::v1 as event;
use p92_proto::posting::v1 as posting;
use p92_proto::timelines::v1 as proto;

/// A list by its number; `None` for one that does not exist.
#[must_use]
pub fn list_from_wire(list: i32) -> Option<List> {
    match proto::MarkedTimeline::try_from(list).ok()? {
        proto::MarkedTimeline::Home => Some(List::Home),
        proto::MarkedTimeline::Notifications => Some(List::Notifications),
        proto::MarkedTimeline::Unspecified => None,
    }
}

/// A list's number.
#[must_use]
pub const fn list_to_wire(list: List) -> proto::MarkedTimeline {
    match list {
        List::Home => proto::MarkedTimeline::Home,
        List::Notifications => proto::MarkedTimeline::Notifications,
    }
}

impl Aggregate for Markers {
    type Event = Set;

    fn decode(recorded: &Recorded) -> Result<Set, Poison> {
        let set: proto::MarkerSet = recorded.decode()?;
        let list = list_from_wire(set.timeline).ok_or_else(|| recorded.unreadable("no such list"))?;
        Ok(Set { account: set.account_id, list, last_read: set.last_read_id })
    }

    fn encode(set: &Set) -> NewEvent {
        NewEvent::of(&proto::MarkerSet {
            account_id: set.account,
            timeline: list_to_wire(set.list).into(),
            last_read_id: set.last_read,
        })
    }

    fn evolve(self, set: &Set) -> Self {
        Self::evolve(self, set)
    }
}

impl Aggregate for SetAside {
    type Event = Event;

    fn decode(recorded: &Recorded) -> Result<Event, Poison> {
        if recorded.is::<proto::NotificationsCleared>() {
            let cleared: proto::NotificationsCleared = recorded.decode()?;
            return Ok(Event::Cleared { account: cleared.account_id, up_to: cleared.up_to_id });
        }
        let dismissed: proto::NotificationDismissed = recorded.decode()?;
        Ok(Event::Dismissed { account: dismissed.account_id, notification: dismissed.notification_id })
    }

    fn encode(event: &Event) -> NewEvent {
        match *event {
            Event::Cleared { account, up_to } => {
                NewEvent::of(&proto::NotificationsCleared { account_id: account, up_to_id: up_to })
            }
            Event::Dismissed { account, notification } => NewEvent::of(&proto::NotificationDismissed {
                account_id: account,
                notification_id: notification,
            }),
        }
    }

    fn evolve(self, event: &Event) -> Self {
        Self::evolve(self, event)
    }
}

/// A window as asked for, clamped.
#[must_use]
pub fn window(asked: Option<&event::IdWindow>, default: u32, most: u32) -> Window {
    let asked = asked.copied().unwrap_or_default();
    let limit = PageSize::clamp(asked.limit, default, most).get();
    Window::asked(asked.max_id, asked.since_id, asked.min_id, limit)
}

/// A window as posting takes it.
#[must_use]
pub fn window_to_wire(window: &Window) -> event::IdWindow {
    let (since_id, min_id) = if window.nearest { (0, window.above) } else { (window.above, 0) };
    event::IdWindow {
        max_id: if window.below == u64::MAX { 0 } else { window.below },
        since_id,
        min_id,
        limit: u32::try_from(window.limit).unwrap_or(u32::MAX),
    }
}

/// An entry of an answer.
#[must_use]
pub fn entry_to_wire(entry: &Entry<u64>) -> proto::TimelineEntry {
    proto::TimelineEntry {
        id: entry.id,
        post_id: entry.post,
        boost_id: entry.booster.map_or(0, |_| entry.id),
        author_id: entry.author,
        booster_id: entry.booster.unwrap_or_default(),
    }
}

/// A visibility by its number; what is not known is seen by nobody but those named.
#[must_use]
pub fn visibility(number: i32) -> Visibility {
    match posting::Visibility::try_from(number) {
        Ok(posting::Visibility::Public) => Visibility::Public,
        Ok(posting::Visibility::Unlisted) => Visibility::Unlisted,
        Ok(posting::Visibility::Followers) => Visibility::Followers,
        Ok(posting::Visibility::Direct | posting::Visibility::Unspecified) | Err(_) => Visibility::Direct,
    }
}

/// What an outbox lists, as a candidate.
#[must_use]
pub fn candidate(entry: &posting::OutboxEntry) -> Candidate {
    Candidate {
        key: key_of(entry.id, entry.post_id),
        post: entry.post_id,
        by: entry.author_id,
        facts: Facts {
            author: entry.post_author_id,
            visibility: visibility(entry.post_visibility),
            reply: reply_of(entry.is_reply || entry.in_reply_to_id != 0, entry.in_reply_to_author_id),
            mentions: entry.mentioned_ids.clone(),
            language: Language::of(&entry.language),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use p92_kernel::{Position, Seq, Service, Shard};
    use prost::{Message as _, Name as _};

    fn recorded(name: String, payload: Vec<u8>) -> Recorded {
        let envelope = event::Event {
            r#type: name,
            schema_version: 1,
            payload: payload.into(),
            ..event::Event::default()
        };
        let position = Position { service: Service::Timelines, shard: Shard(0), seq: Seq(1) };
        Recorded::read(position, Bytes::from(envelope.encode_to_vec())).unwrap()
    }

    #[test]
    fn events_come_back_as_they_went() {
        let set = Set { account: 7, list: List::Notifications, last_read: 9 };
        let message = proto::MarkerSet { account_id: 7, timeline: 2, last_read_id: 9 };
        let read = recorded(proto::MarkerSet::full_name(), message.encode_to_vec());
        assert_eq!(Markers::decode(&read).unwrap(), set);
        let message = proto::NotificationDismissed { account_id: 7, notification_id: 5 };
        let read = recorded(proto::NotificationDismissed::full_name(), message.encode_to_vec());
        assert_eq!(SetAside::decode(&read).unwrap(), Event::Dismissed { account: 7, notification: 5 });
    }

    #[test]
    fn a_list_that_does_not_exist_is_poison() {
        let message = proto::MarkerSet { account_id: 7, timeline: 9, last_read_id: 9 };
        assert!(Markers::decode(&recorded(proto::MarkerSet::full_name(), message.encode_to_vec())).is_err());
    }

    #[test]
    fn windows_survive() {
        for asked in [(0, 0, 0), (9, 2, 0), (9, 0, 2)] {
            let window = Window::asked(asked.0, asked.1, asked.2, 20);
            let wire = window_to_wire(&window);
            assert_eq!(
                (wire.max_id, wire.since_id, wire.min_id, wire.limit),
                (asked.0, asked.1, asked.2, 20)
            );
        }
    }
}
