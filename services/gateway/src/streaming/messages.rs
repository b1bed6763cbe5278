//! Changes as Mastodon's streams write them: a name and a payload.

use super::channel::Channel;
use super::feed::{Change, Shape, Told, notes_of, posts_of};
use crate::error::Problem;
use crate::mastodon::hydrate::Reader;
use crate::mastodon::notifications::shaped;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;

/// What a client is told.
#[derive(Clone, Debug)]
pub struct Event {
    pub name: &'static str,
    pub payload: String,
    /// Which subscription it belongs to.
    pub label: Arc<Vec<String>>,
}

/// The events of one subscription.
#[derive(Clone, Debug)]
pub struct Messages {
    label: Arc<Vec<String>>,
}

impl Messages {
    #[must_use]
    pub fn of(channel: &Channel) -> Self {
        Self { label: Arc::new(channel.label()) }
    }
}

impl Shape for Messages {
    type Event = Event;

    async fn shape(&self, reader: &Reader<'_>, told: &[Told]) -> Result<Vec<Event>, Problem> {
        let posts = posts_of(reader, told).await?;
        let statuses: HashMap<String, String> =
            reader.statuses(&posts).await?.into_iter().map(|one| (one.id.clone(), json(&one))).collect();
        let notes = shaped(reader, &notes_of(told)).await?;
        let notes: HashMap<String, String> =
            notes.into_iter().map(|one| (one.id.clone(), json(&one))).collect();
        let event = |name, payload| Event { name, payload, label: Arc::clone(&self.label) };
        let known = |payloads: &HashMap<String, String>, name, id: u64| {
            payloads.get(&id.to_string()).map(|text| event(name, text.clone()))
        };
        let events = told.iter().filter_map(|told| match &told.change {
            Change::Entry(id) => known(&statuses, "update", *id),
            Change::Edited(id) => known(&statuses, "status.update", *id),
            Change::Gone(id) => Some(event("delete", id.to_string())),
            Change::Notified(note) => known(&notes, "notification", note.id),
            Change::Nothing => None,
        });
        Ok(events.collect())
    }
}

fn json<T: Serialize>(one: &T) -> String {
    serde_json::to_string(one).unwrap_or_default()
}
