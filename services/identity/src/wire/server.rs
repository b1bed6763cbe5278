//! Servers: their events, and the resource.

use super::Unreadable;
use super::enums::{
    kind_in, kind_out, messages_in, messages_out, registration_in, registration_out, replies_in, replies_out,
};
use crate::domain::Server;
use crate::domain::server::{
    Addresses, Born, Event, Face, Life, Messages, POST_CHARACTERS, Policies, Registration, Replies, Rule,
};
use p92_eventlog::{Aggregate, NewEvent, Poison, Recorded};
use p92_proto::identity::v1;
use prost::Name;

impl Aggregate for Server {
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

/// Whether the type is one of a server's events.
#[must_use]
pub fn is_server_event(event_type: &str) -> bool {
    event_type.strip_prefix("p92.identity.v1.").is_some_and(|name| NAMES.contains(&name))
}

const NAMES: [&str; 5] = [
    v1::ServerCreated::NAME,
    v1::ServerNamesGranted::NAME,
    v1::ServerNamesRefused::NAME,
    v1::ServerUpdated::NAME,
    v1::ServerClosed::NAME,
];

fn encode(event: &Event) -> NewEvent {
    match event.clone() {
        Event::Created { born, face } => NewEvent::of(&created_out(&born, &face)),
        Event::NamesGranted { server, domain, web_host } => {
            NewEvent::of(&v1::ServerNamesGranted { server_id: server, domain, web_host })
        }
        Event::NamesRefused { server, taken } => {
            NewEvent::of(&v1::ServerNamesRefused { server_id: server, taken })
        }
        Event::Updated { server, face } => NewEvent::of(&v1::ServerUpdated {
            server_id: server,
            name: face.name,
            description: face.description,
            rules: rules_out(&face.rules),
            registration: registration_out(face.registration),
            policies: Some(policies_out(&face.policies)),
            contact_email: face.contact_email,
            languages: face.languages,
        }),
        Event::Closed { server } => NewEvent::of(&v1::ServerClosed { server_id: server }),
    }
}

fn decode(event: &Recorded) -> Result<Result<Event, Unreadable>, Poison> {
    let name = event.event_type().strip_prefix("p92.identity.v1.").unwrap_or_default();
    Ok(match name {
        v1::ServerCreated::NAME => created_in(event.decode()?)
            .map(|(born, face)| Event::Created { born: Box::new(born), face: Box::new(face) }),
        v1::ServerNamesGranted::NAME => {
            let v1::ServerNamesGranted { server_id: server, domain, web_host } = event.decode()?;
            Ok(Event::NamesGranted { server, domain, web_host })
        }
        v1::ServerNamesRefused::NAME => {
            let v1::ServerNamesRefused { server_id: server, taken } = event.decode()?;
            Ok(Event::NamesRefused { server, taken })
        }
        v1::ServerUpdated::NAME => updated_in(event.decode()?),
        v1::ServerClosed::NAME => {
            let v1::ServerClosed { server_id: server } = event.decode()?;
            Ok(Event::Closed { server })
        }
        _ => Err(Unreadable("an event of a server")),
    })
}

fn updated_in(updated: v1::ServerUpdated) -> Result<Event, Unreadable> {
    let face = Face {
        name: updated.name,
        description: updated.description,
        rules: rules_in(updated.rules),
        registration: registration_in(updated.registration).ok_or(Unreadable("registration"))?,
        policies: policies_in(updated.policies.unwrap_or_default())?,
        contact_email: updated.contact_email,
        languages: updated.languages,
    };
    Ok(Event::Updated { server: updated.server_id, face: Box::new(face) })
}

/// What a server is born with, for the wire.
#[must_use]
pub fn created_out(born: &Born, face: &Face) -> v1::ServerCreated {
    v1::ServerCreated {
        server_id: born.id,
        domain: born.domain.clone(),
        web_host: born.web_host.clone(),
        public_url: born.public_url.clone(),
        name: face.name.clone(),
        description: face.description.clone(),
        rules: rules_out(&face.rules),
        registration: registration_out(face.registration),
        policies: Some(policies_out(&face.policies)),
        contact_email: face.contact_email.clone(),
        languages: face.languages.clone(),
        instance_actor: Some(addresses_out(&born.instance_actor)),
    }
}

/// What a server is born with, from the wire.
pub fn created_in(created: v1::ServerCreated) -> Result<(Born, Face), Unreadable> {
    let born = Born {
        id: created.server_id,
        domain: created.domain,
        web_host: created.web_host,
        public_url: created.public_url,
        instance_actor: addresses_in(created.instance_actor.unwrap_or_default()),
    };
    let face = Face {
        name: created.name,
        description: created.description,
        rules: rules_in(created.rules),
        registration: registration_in(created.registration).ok_or(Unreadable("registration"))?,
        policies: policies_in(created.policies.unwrap_or_default())?,
        contact_email: created.contact_email,
        languages: created.languages,
    };
    Ok((born, face))
}

/// A server as callers see it; `None` before it lives.
#[must_use]
pub fn resource(server: &Server) -> Option<v1::Server> {
    if !server.is_known() {
        return None;
    }
    let (born, face) = (&server.born, &server.face);
    let state = if server.life == Life::Closed { v1::ServerState::Closed } else { v1::ServerState::Active };
    Some(v1::Server {
        id: born.id,
        domain: born.domain.clone(),
        web_host: born.web_host.clone(),
        public_url: born.public_url.clone(),
        name: face.name.clone(),
        description: face.description.clone(),
        rules: rules_out(&face.rules),
        registration: registration_out(face.registration),
        policies: Some(policies_out(&face.policies)),
        contact_email: face.contact_email.clone(),
        languages: face.languages.clone(),
        state: state as i32,
        created_ms: p92_kernel::Id::new(born.id).map_or(0, |id| id.millis().0),
        instance_actor: Some(addresses_out(&born.instance_actor)),
    })
}

/// Policies, for the wire.
#[must_use]
pub fn policies_out(policies: &Policies) -> v1::ServerPolicies {
    v1::ServerPolicies {
        replies: replies_out(policies.replies),
        messages: messages_out(policies.messages),
        boost_kinds: policies.boost_kinds.iter().map(|kind| kind_out(*kind)).collect(),
        post_characters: policies.post_characters,
        confirm_email: policies.confirm_email,
    }
}

/// Policies, from the wire. What is not said is the default.
pub fn policies_in(policies: v1::ServerPolicies) -> Result<Policies, Unreadable> {
    let kinds = policies.boost_kinds.iter().map(|kind| kind_in(*kind).ok_or(Unreadable("boost_kinds")));
    Ok(Policies {
        replies: or_default(policies.replies, Replies::Everyone, replies_in, "replies")?,
        messages: or_default(policies.messages, Messages::Everyone, messages_in, "messages")?,
        boost_kinds: kinds.collect::<Result<_, _>>()?,
        post_characters: match policies.post_characters {
            0 => POST_CHARACTERS,
            asked => asked,
        },
        confirm_email: policies.confirm_email,
    })
}

/// Who gets an account, as a call says it: closed if it does not.
pub fn registration_asked(number: i32) -> Result<Registration, Unreadable> {
    or_default(number, Registration::Closed, registration_in, "registration")
}

fn or_default<T>(
    number: i32,
    default: T,
    read: fn(i32) -> Option<T>,
    what: &'static str,
) -> Result<T, Unreadable> {
    if number == 0 { Ok(default) } else { read(number).ok_or(Unreadable(what)) }
}

fn rules_out(rules: &[Rule]) -> Vec<v1::Rule> {
    let rule = |rule: &Rule| v1::Rule { id: rule.id, text: rule.text.clone(), hint: rule.hint.clone() };
    rules.iter().map(rule).collect()
}

/// Rules, from the wire.
#[must_use]
pub fn rules_in(rules: Vec<v1::Rule>) -> Vec<Rule> {
    rules.into_iter().map(|rule| Rule { id: rule.id, text: rule.text, hint: rule.hint }).collect()
}

/// ActivityPub ids, for the wire.
#[must_use]
pub fn addresses_out(addresses: &Addresses) -> v1::ActivityPubIds {
    let Addresses { id, inbox, shared_inbox, outbox, followers, following, url, key_id, featured } =
        addresses.clone();
    v1::ActivityPubIds { id, inbox, shared_inbox, outbox, followers, following, url, key_id, featured }
}

/// ActivityPub ids, from the wire.
#[must_use]
pub fn addresses_in(addresses: v1::ActivityPubIds) -> Addresses {
    let v1::ActivityPubIds { id, inbox, shared_inbox, outbox, followers, following, url, key_id, featured } =
        addresses;
    Addresses { id, inbox, shared_inbox, outbox, followers, following, url, key_id, featured }
}
