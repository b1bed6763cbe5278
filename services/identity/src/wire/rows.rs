//! Aggregates as rows of views: the whole state, so that a row is what the stream folds to.

use super::account::{
    born_in, born_out, change_in, change_out, keys_in, keys_out, preferences_in, preferences_out,
};
use super::enums::{
    kind_in, kind_out, measure_in, measure_out, role_in, role_out, standing_in, standing_out, taken_in,
    taken_out,
};
use super::relationship::{options_in, options_out};
use super::server::{created_in, created_out};
use super::{Unreadable, needed, sealed_out};
use crate::domain::account::{Life, Measure};
use crate::domain::profile::{Change, Profile};
use crate::domain::relationship::{Follow, Mute, Side};
use crate::domain::{Account, Relationship, Server, server};
use p92_proto::identity::v1;

/// An account as a row.
#[must_use]
pub fn account_out(account: &Account) -> v1::AccountRow {
    let (life, taken) = match account.life {
        Life::Nothing => (v1::Life::Unspecified, 0),
        Life::Claiming => (v1::Life::Claiming, 0),
        Life::Refused(taken) => (v1::Life::Refused, taken_out(taken)),
        Life::Living => (v1::Life::Living, 0),
        Life::Erased => (v1::Life::Ended, 0),
    };
    let measure = |(scope, measure): (&u64, &Measure)| v1::MeasureRow {
        scope_server_id: *scope,
        measure: measure_out(*measure),
    };
    v1::AccountRow {
        life: life as i32,
        born: Some(born_out(&account.born)),
        taken,
        standing: standing_out(account.standing),
        email_confirmed: account.email_confirmed,
        measures: account.measures.iter().map(measure).collect(),
        role: role_out(account.role),
        kind: kind_out(account.kind),
        locked: account.locked,
        profile: Some(profile_out(&account.profile)),
        preferences: Some(preferences_out(&account.preferences)),
        activity_pub: Some(sealed_out(&account.activity_pub)),
        prefix_keys: keys_out(&account.prefix_keys),
        handle_characters: account.handle_characters,
        credential_id: account.credential,
    }
}

/// An account from its row.
pub fn account_in(row: v1::AccountRow) -> Result<Account, Unreadable> {
    let life = match v1::Life::try_from(row.life) {
        Ok(v1::Life::Unspecified) => Life::Nothing,
        Ok(v1::Life::Claiming) => Life::Claiming,
        Ok(v1::Life::Refused) => Life::Refused(taken_in(row.taken).ok_or(Unreadable("taken"))?),
        Ok(v1::Life::Living) => Life::Living,
        Ok(v1::Life::Ended) => Life::Erased,
        Err(_) => return Err(Unreadable("life")),
    };
    let measures = row.measures.iter().map(|measure| {
        let read = measure_in(measure.measure).ok_or(Unreadable("measure"))?;
        Ok((measure.scope_server_id, read))
    });
    Ok(Account {
        life,
        born: born_in(row.born.unwrap_or_default())?,
        standing: standing_in(row.standing).ok_or(Unreadable("standing"))?,
        email_confirmed: row.email_confirmed,
        measures: measures.collect::<Result<_, Unreadable>>()?,
        role: role_in(row.role).ok_or(Unreadable("role"))?,
        kind: kind_in(row.kind).ok_or(Unreadable("kind"))?,
        locked: row.locked,
        profile: Profile::default().after(&change_in(row.profile.unwrap_or_default())),
        preferences: preferences_in(row.preferences.unwrap_or_default())?,
        activity_pub: needed(row.activity_pub, "activity_pub")?,
        prefix_keys: keys_in(&row.prefix_keys)?,
        handle_characters: row.handle_characters,
        credential: row.credential_id,
    })
}

fn profile_out(profile: &Profile) -> v1::ProfileChange {
    change_out(&Change {
        display_name: profile.display_name.clone(),
        note: profile.note.clone(),
        fields: profile.fields.clone(),
        avatar_url: profile.avatar_url.clone(),
        header_url: profile.header_url.clone(),
        bot: Some(profile.bot),
        discoverable: Some(profile.discoverable),
        indexable: Some(profile.indexable),
        hide_follows: Some(profile.hide_follows),
        public_key_pem: Some(profile.public_key_pem.clone()),
    })
}

/// A relationship as a row.
#[must_use]
pub fn relationship_out(relationship: &Relationship) -> v1::RelationshipRow {
    v1::RelationshipRow { low: Some(side_out(&relationship.low)), high: Some(side_out(&relationship.high)) }
}

/// A relationship from its row.
#[must_use]
pub fn relationship_in(row: v1::RelationshipRow) -> Relationship {
    Relationship { low: side_in(row.low.unwrap_or_default()), high: side_in(row.high.unwrap_or_default()) }
}

fn side_out(side: &Side) -> v1::SideRow {
    let (follow_id, requested, options) = match &side.follow {
        Follow::None => (0, false, None),
        Follow::Requested { id, options } => (*id, true, Some(options_out(options))),
        Follow::Following { id, options } => (*id, false, Some(options_out(options))),
    };
    let mute = side.mute.unwrap_or(Mute { id: 0, notifications: false, expires_ms: 0 });
    v1::SideRow {
        follow_id,
        requested,
        options,
        block_id: side.block.unwrap_or(0),
        mute_id: mute.id,
        mute_notifications: mute.notifications,
        mute_expires_ms: mute.expires_ms,
    }
}

fn side_in(row: v1::SideRow) -> Side {
    let options = options_in(row.options);
    let follow = match (row.follow_id, row.requested) {
        (0, _) => Follow::None,
        (id, true) => Follow::Requested { id, options },
        (id, false) => Follow::Following { id, options },
    };
    let mute =
        Mute { id: row.mute_id, notifications: row.mute_notifications, expires_ms: row.mute_expires_ms };
    Side {
        follow,
        block: (row.block_id != 0).then_some(row.block_id),
        mute: (row.mute_id != 0).then_some(mute),
    }
}

/// A server as a row.
#[must_use]
pub fn server_out(server: &Server) -> v1::ServerRow {
    let life = match server.life {
        server::Life::Nothing => v1::Life::Unspecified,
        server::Life::Claiming => v1::Life::Claiming,
        server::Life::Refused => v1::Life::Refused,
        server::Life::Active => v1::Life::Living,
        server::Life::Closed => v1::Life::Ended,
    };
    v1::ServerRow {
        life: life as i32,
        server: Some(created_out(&server.born, &server.face)),
        last_rule: server.last_rule,
        taken: server.taken.clone(),
    }
}

/// A server from its row.
pub fn server_in(row: v1::ServerRow) -> Result<Server, Unreadable> {
    let life = match v1::Life::try_from(row.life) {
        Ok(v1::Life::Unspecified) => server::Life::Nothing,
        Ok(v1::Life::Claiming) => server::Life::Claiming,
        Ok(v1::Life::Refused) => server::Life::Refused,
        Ok(v1::Life::Living) => server::Life::Active,
        Ok(v1::Life::Ended) => server::Life::Closed,
        Err(_) => return Err(Unreadable("life")),
    };
    let (born, face) = created_in(row.server.unwrap_or_default())?;
    Ok(Server { life, born, face, last_rule: row.last_rule, taken: row.taken })
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
