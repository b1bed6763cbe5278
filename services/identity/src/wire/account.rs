//! Accounts: their events, and the texts that a profile seals.

use super::enums::{
    kind_in, kind_out, role_in, role_out, standing_in, standing_out, taken_in, taken_out, visibility_in,
    visibility_out,
};
use super::{Unreadable, key_in, key_out, needed, sealed_out, some_in, some_out};
use crate::domain::Account;
use crate::domain::account::{Beginnings, Born, Event};
use crate::domain::profile::{Change, Field, Preferences};
use crate::domain::sealed::BlindKey;
use p92_eventlog::{Aggregate, NewEvent, Poison, Recorded};
use p92_proto::identity::v1;
use prost::Name;

impl Aggregate for Account {
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

/// Whether the type is one of an account's events.
#[must_use]
pub fn is_account_event(event_type: &str) -> bool {
    event_type.strip_prefix("p92.identity.v1.").is_some_and(|name| NAMES.contains(&name))
}

const NAMES: [&str; 17] = [
    v1::AccountCreated::NAME,
    v1::HandleGranted::NAME,
    v1::HandleRefused::NAME,
    v1::AddressesChanged::NAME,
    v1::EmailConfirmed::NAME,
    v1::AccountApproved::NAME,
    v1::AccountLimited::NAME,
    v1::AccountSuspended::NAME,
    v1::AccountRestored::NAME,
    v1::AccountErased::NAME,
    v1::RoleChanged::NAME,
    v1::AccountKindChanged::NAME,
    v1::ProfileUpdated::NAME,
    v1::AccountLocked::NAME,
    v1::AccountUnlocked::NAME,
    v1::PreferencesChanged::NAME,
    v1::PasswordChanged::NAME,
];

fn encode(event: &Event) -> NewEvent {
    match event.clone() {
        Event::Created(born) => NewEvent::of(&born_out(&born)),
        Event::HandleGranted { account, home, handle, handle_key, beginnings, host, kind, standing } => {
            NewEvent::of(&v1::HandleGranted {
                account_id: account,
                server_id: home,
                handle: Some(sealed_out(&handle)),
                handle_key: key_out(&handle_key),
                prefix_keys: keys_out(&beginnings.keys),
                handle_characters: beginnings.characters,
                host,
                kind: kind_out(kind),
                state: standing_out(standing),
            })
        }
        Event::HandleRefused { account: account_id, home: server_id, taken } => {
            NewEvent::of(&v1::HandleRefused { account_id, server_id, taken: taken_out(taken) })
        }
        Event::AddressesChanged { account: account_id, activity_pub } => {
            let activity_pub = Some(sealed_out(&activity_pub));
            NewEvent::of(&v1::AddressesChanged { account_id, activity_pub })
        }
        Event::EmailConfirmed { account: account_id, home: server_id, standing } => {
            NewEvent::of(&v1::EmailConfirmed { account_id, server_id, state: standing_out(standing) })
        }
        Event::Approved { account: account_id, home: server_id } => {
            NewEvent::of(&v1::AccountApproved { account_id, server_id })
        }
        Event::Limited { account: account_id, home: server_id, scope: scope_server_id } => {
            NewEvent::of(&v1::AccountLimited { account_id, server_id, scope_server_id })
        }
        Event::Suspended { account: account_id, home: server_id, scope: scope_server_id } => {
            NewEvent::of(&v1::AccountSuspended { account_id, server_id, scope_server_id })
        }
        Event::Restored { account: account_id, home: server_id, scope: scope_server_id } => {
            NewEvent::of(&v1::AccountRestored { account_id, server_id, scope_server_id })
        }
        Event::Erased { account, home, handle_key, activity_pub_key, beginnings } => {
            let names = (key_out(&handle_key), key_out(&activity_pub_key));
            NewEvent::of(&erased_out((account, home), names, &beginnings))
        }
        Event::RoleChanged { account: account_id, home: server_id, role } => {
            NewEvent::of(&v1::RoleChanged { account_id, server_id, role: role_out(role) })
        }
        Event::KindChanged { account: account_id, home: server_id, kind } => {
            NewEvent::of(&v1::AccountKindChanged { account_id, server_id, kind: kind_out(kind) })
        }
        Event::ProfileUpdated { account: account_id, home: server_id, change } => {
            let change = Some(change_out(&change));
            NewEvent::of(&v1::ProfileUpdated { account_id, server_id, change })
        }
        Event::Locked { account: account_id, home: server_id } => {
            NewEvent::of(&v1::AccountLocked { account_id, server_id })
        }
        Event::Unlocked { account: account_id, home: server_id } => {
            NewEvent::of(&v1::AccountUnlocked { account_id, server_id })
        }
        Event::PreferencesChanged { account: account_id, preferences } => {
            let preferences = Some(preferences_out(&preferences));
            NewEvent::of(&v1::PreferencesChanged { account_id, preferences })
        }
        Event::PasswordChanged { account, home, kept_session, credential } => {
            NewEvent::of(&v1::PasswordChanged {
                account_id: account,
                server_id: home,
                kept_session_id: kept_session,
                credential_id: credential,
            })
        }
    }
}

fn erased_out(
    (account_id, server_id): (u64, u64),
    (handle_key, activity_pub_key): (bytes::Bytes, bytes::Bytes),
    beginnings: &Beginnings,
) -> v1::AccountErased {
    v1::AccountErased {
        account_id,
        server_id,
        handle_key,
        activity_pub_key,
        prefix_keys: keys_out(&beginnings.keys),
        handle_characters: beginnings.characters,
    }
}

type Read = Result<Event, Unreadable>;

fn decode(event: &Recorded) -> Result<Read, Poison> {
    let name = event.event_type().strip_prefix("p92.identity.v1.").unwrap_or_default();
    Ok(match name {
        v1::AccountCreated::NAME => born_in(event.decode()?).map(|born| Event::Created(Box::new(born))),
        v1::HandleGranted::NAME => granted_in(event.decode()?),
        v1::HandleRefused::NAME => {
            let v1::HandleRefused { account_id: account, server_id: home, taken } = event.decode()?;
            taken_in(taken).ok_or(Unreadable("taken")).map(|taken| Event::HandleRefused {
                account,
                home,
                taken,
            })
        }
        v1::AddressesChanged::NAME => {
            let v1::AddressesChanged { account_id: account, activity_pub } = event.decode()?;
            needed(activity_pub, "activity_pub")
                .map(|activity_pub| Event::AddressesChanged { account, activity_pub })
        }
        v1::EmailConfirmed::NAME => {
            let v1::EmailConfirmed { account_id: account, server_id: home, state } = event.decode()?;
            standing_in(state).ok_or(Unreadable("state")).map(|standing| Event::EmailConfirmed {
                account,
                home,
                standing,
            })
        }
        v1::AccountErased::NAME => erased_in(&event.decode()?),
        v1::ProfileUpdated::NAME => {
            let v1::ProfileUpdated { account_id: account, server_id: home, change } = event.decode()?;
            let change = Box::new(change_in(change.unwrap_or_default()));
            Ok(Event::ProfileUpdated { account, home, change })
        }
        v1::PreferencesChanged::NAME => {
            let v1::PreferencesChanged { account_id: account, preferences } = event.decode()?;
            preferences_in(preferences.unwrap_or_default())
                .map(|preferences| Event::PreferencesChanged { account, preferences })
        }
        _ => return decode_change(event, name),
    })
}

fn decode_change(event: &Recorded, name: &str) -> Result<Read, Poison> {
    Ok(match name {
        v1::AccountApproved::NAME => {
            let v1::AccountApproved { account_id: account, server_id: home } = event.decode()?;
            Ok(Event::Approved { account, home })
        }
        v1::AccountLimited::NAME => {
            let v1::AccountLimited { account_id: account, server_id: home, scope_server_id: scope } =
                event.decode()?;
            Ok(Event::Limited { account, home, scope })
        }
        v1::AccountSuspended::NAME => {
            let v1::AccountSuspended { account_id: account, server_id: home, scope_server_id: scope } =
                event.decode()?;
            Ok(Event::Suspended { account, home, scope })
        }
        v1::AccountRestored::NAME => {
            let v1::AccountRestored { account_id: account, server_id: home, scope_server_id: scope } =
                event.decode()?;
            Ok(Event::Restored { account, home, scope })
        }
        v1::RoleChanged::NAME => {
            let v1::RoleChanged { account_id: account, server_id: home, role } = event.decode()?;
            role_in(role).ok_or(Unreadable("role")).map(|role| Event::RoleChanged { account, home, role })
        }
        v1::AccountKindChanged::NAME => {
            let v1::AccountKindChanged { account_id: account, server_id: home, kind } = event.decode()?;
            kind_in(kind).ok_or(Unreadable("kind")).map(|kind| Event::KindChanged { account, home, kind })
        }
        v1::AccountLocked::NAME => {
            let v1::AccountLocked { account_id: account, server_id: home } = event.decode()?;
            Ok(Event::Locked { account, home })
        }
        v1::AccountUnlocked::NAME => {
            let v1::AccountUnlocked { account_id: account, server_id: home } = event.decode()?;
            Ok(Event::Unlocked { account, home })
        }
        v1::PasswordChanged::NAME => {
            let changed: v1::PasswordChanged = event.decode()?;
            Ok(Event::PasswordChanged {
                account: changed.account_id,
                home: changed.server_id,
                kept_session: changed.kept_session_id,
                credential: changed.credential_id,
            })
        }
        _ => Err(Unreadable("an event of an account")),
    })
}

fn granted_in(granted: v1::HandleGranted) -> Read {
    Ok(Event::HandleGranted {
        account: granted.account_id,
        home: granted.server_id,
        handle: needed(granted.handle, "handle")?,
        handle_key: key_in(&granted.handle_key, "handle_key")?,
        beginnings: Beginnings {
            keys: keys_in(&granted.prefix_keys)?,
            characters: granted.handle_characters,
        },
        host: granted.host,
        kind: kind_in(granted.kind).ok_or(Unreadable("kind"))?,
        standing: standing_in(granted.state).ok_or(Unreadable("state"))?,
    })
}

fn erased_in(erased: &v1::AccountErased) -> Read {
    Ok(Event::Erased {
        account: erased.account_id,
        home: erased.server_id,
        handle_key: key_in(&erased.handle_key, "handle_key")?,
        activity_pub_key: key_in(&erased.activity_pub_key, "activity_pub_key")?,
        beginnings: Beginnings { keys: keys_in(&erased.prefix_keys)?, characters: erased.handle_characters },
    })
}

pub(super) fn keys_out(keys: &[BlindKey]) -> Vec<bytes::Bytes> {
    keys.iter().map(key_out).collect()
}

pub(super) fn keys_in(keys: &[bytes::Bytes]) -> Result<Vec<BlindKey>, Unreadable> {
    keys.iter().map(|key| key_in(key, "prefix_keys")).collect()
}

/// What an account is born with, for the wire.
#[must_use]
pub fn born_out(born: &Born) -> v1::AccountCreated {
    v1::AccountCreated {
        account_id: born.id,
        server_id: born.home,
        kind: kind_out(born.kind),
        state: standing_out(born.standing),
        role: role_out(born.role),
        handle: Some(sealed_out(&born.handle)),
        handle_key: key_out(&born.handle_key),
        host: born.host.clone(),
        email: some_out(born.email.as_ref()),
        reason: some_out(born.reason.as_ref()),
        activity_pub: Some(sealed_out(&born.activity_pub)),
        activity_pub_key: key_out(&born.activity_pub_key),
        profile: Some(change_out(&born.profile)),
        locked: born.locked,
        preferences: Some(preferences_out(&born.preferences)),
        app_id: born.app,
        published_ms: born.published_ms,
        email_confirmed: born.email_confirmed,
        credential_id: born.credential,
    }
}

/// What an account is born with, from the wire.
pub fn born_in(created: v1::AccountCreated) -> Result<Born, Unreadable> {
    Ok(Born {
        id: created.account_id,
        home: created.server_id,
        kind: kind_in(created.kind).ok_or(Unreadable("kind"))?,
        standing: standing_in(created.state).ok_or(Unreadable("state"))?,
        role: role_in(created.role).ok_or(Unreadable("role"))?,
        handle: needed(created.handle, "handle")?,
        handle_key: key_in(&created.handle_key, "handle_key")?,
        host: created.host,
        email: some_in(created.email),
        reason: some_in(created.reason),
        activity_pub: needed(created.activity_pub, "activity_pub")?,
        activity_pub_key: key_in(&created.activity_pub_key, "activity_pub_key")?,
        profile: change_in(created.profile.unwrap_or_default()),
        locked: created.locked,
        preferences: preferences_in(created.preferences.unwrap_or_default())?,
        app: created.app_id,
        published_ms: created.published_ms,
        email_confirmed: created.email_confirmed,
        credential: created.credential_id,
    })
}

/// A change of a profile, for the wire.
#[must_use]
pub fn change_out(change: &Change) -> v1::ProfileChange {
    v1::ProfileChange {
        display_name: some_out(change.display_name.as_ref()),
        note: some_out(change.note.as_ref()),
        fields: some_out(change.fields.as_ref()),
        avatar_url: some_out(change.avatar_url.as_ref()),
        header_url: some_out(change.header_url.as_ref()),
        bot: change.bot,
        discoverable: change.discoverable,
        indexable: change.indexable,
        hide_follows: change.hide_follows,
        public_key_pem: change.public_key_pem.clone(),
    }
}

/// A change of a profile, from the wire.
#[must_use]
pub fn change_in(change: v1::ProfileChange) -> Change {
    Change {
        display_name: some_in(change.display_name),
        note: some_in(change.note),
        fields: some_in(change.fields),
        avatar_url: some_in(change.avatar_url),
        header_url: some_in(change.header_url),
        bot: change.bot,
        discoverable: change.discoverable,
        indexable: change.indexable,
        hide_follows: change.hide_follows,
        public_key_pem: change.public_key_pem,
    }
}

/// Preferences, for the wire.
#[must_use]
pub fn preferences_out(preferences: &Preferences) -> v1::Preferences {
    v1::Preferences {
        visibility: preferences.visibility.map_or(0, visibility_out),
        language: preferences.language.clone(),
        sensitive: preferences.sensitive,
        locale: preferences.locale.clone(),
    }
}

/// Preferences, from the wire.
pub fn preferences_in(preferences: v1::Preferences) -> Result<Preferences, Unreadable> {
    let visibility = match preferences.visibility {
        0 => None,
        number => Some(visibility_in(number).ok_or(Unreadable("visibility"))?),
    };
    Ok(Preferences {
        visibility,
        language: preferences.language,
        sensitive: preferences.sensitive,
        locale: preferences.locale,
    })
}

/// Fields of a profile as they are sealed.
#[must_use]
pub fn fields_out(fields: &[Field]) -> v1::ProfileFields {
    let fields =
        fields.iter().map(|field| v1::ProfileField { name: field.name.clone(), value: field.value.clone() });
    v1::ProfileFields { fields: fields.collect() }
}

/// Fields of a profile as a call brings them.
#[must_use]
pub fn fields_in(fields: Vec<v1::ProfileField>) -> Vec<Field> {
    fields.into_iter().map(|field| Field { name: field.name, value: field.value }).collect()
}
