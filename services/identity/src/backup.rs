//! What of identity's state is backed up, and what must stand beside each row for it to be kept.
//!
//! A backup reads tables one after the other while people sign up, sign in and sign out. So a secret is kept only
//! together with the row by which it is listed and revoked, and a name only if its owner is in the backup. It reads no
//! table itself.

use crate::state::listed;
use crate::tables::{
    self, APP_REFS, APPS, CODES, CREDENTIALS, EMAIL_CLAIMS, HANDLE_CLAIMS, SERVER_NAMES, SESSIONS,
    SESSIONS_OF, TOKENS, TOKENS_OF, TOKENS_OF_APP,
};
use bytes::Bytes;
use p92_eventlog::Stream;
use p92_eventlog::backup::{Needs, StateTable};
use p92_kernel::Service;
use p92_proto::identity::v1;
use p92_storage::{KeyReader, RowKey, Table, TableRow};
use prost::Message;

/// Every table of identity's state.
#[must_use]
pub fn state() -> Vec<StateTable> {
    let mut all = vec![
        StateTable { table: &HANDLE_CLAIMS, needs: claimed_by_account },
        StateTable { table: &EMAIL_CLAIMS, needs: claimed_by_account },
        StateTable { table: &SERVER_NAMES, needs: claimed_by_server },
        StateTable { table: &CREDENTIALS, needs: of_account },
        StateTable { table: &APPS, needs: referred },
        StateTable { table: &TOKENS, needs: listed_token },
        StateTable { table: &SESSIONS, needs: listed_session },
    ];
    let alone = [&APP_REFS, &CODES, &TOKENS_OF, &TOKENS_OF_APP, &SESSIONS_OF];
    all.extend(alone.map(|table: &'static Table| StateTable::plain(table)));
    all
}

fn claimed(row: &TableRow, kind: &str) -> Needs {
    match v1::ClaimRow::decode(row.row.value.clone()) {
        // A name that was given back has an owner no more.
        Ok(claim) if claim.owner_id != 0 => {
            Needs::Begun(Service::Identity, Stream::new(kind, claim.owner_id))
        }
        _ => Needs::Nothing,
    }
}

fn claimed_by_account(row: &TableRow) -> Needs {
    claimed(row, "account")
}

fn claimed_by_server(row: &TableRow) -> Needs {
    claimed(row, "server")
}

fn of_account(row: &TableRow) -> Needs {
    match KeyReader::new(&row.partition).num() {
        Ok(account) => Needs::Begun(Service::Identity, Stream::new("account", account)),
        Err(_) => Needs::Nothing,
    }
}

fn beside(table: &'static Table, partition: Bytes, clustering: Bytes) -> Needs {
    Needs::Row(RowKey::new(table.only(), partition, clustering))
}

fn referred(row: &TableRow) -> Needs {
    match v1::AppRow::decode(row.row.value.clone()).map(|row| row.app) {
        Ok(Some(app)) => beside(&APP_REFS, tables::app_ref(app.server_id, app.id), Bytes::new()),
        _ => Needs::Nothing,
    }
}

fn listed_token(row: &TableRow) -> Needs {
    let Ok(token) = v1::Token::decode(row.row.value.clone()) else { return Needs::Nothing };
    let (list, of) = listed(&token);
    beside(list, tables::id(of), tables::falling(token.id))
}

fn listed_session(row: &TableRow) -> Needs {
    match v1::SessionRow::decode(row.row.value.clone()).map(|row| row.session) {
        Ok(Some(session)) => {
            beside(&SESSIONS_OF, tables::id(session.account_id), tables::falling(session.id))
        }
        _ => Needs::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p92_storage::{Class, Row};
    use std::collections::BTreeSet;

    #[test]
    fn no_table_of_state_is_forgotten() {
        let backed_up: BTreeSet<&str> = state().iter().map(|one| one.table.name).collect();
        let all = tables::all().into_iter().filter(|table| table.class == Class::State);
        assert_eq!(backed_up, all.map(|table| table.name).collect());
    }

    #[test]
    fn a_token_needs_the_list_that_it_is_revoked_by() {
        let row = |token: v1::Token| TableRow {
            partition: Bytes::new(),
            clustering: Bytes::new(),
            row: Row { value: token.encode_to_vec().into(), stamp: 0 },
        };
        let of_account = row(v1::Token { id: 9, account_id: 7, app_id: 3, ..v1::Token::default() });
        let place = RowKey::new(TOKENS_OF.only(), tables::id(7), tables::falling(9));
        assert_eq!(listed_token(&of_account), Needs::Row(place));
        let of_app = row(v1::Token { id: 9, app_id: 3, ..v1::Token::default() });
        let place = RowKey::new(TOKENS_OF_APP.only(), tables::id(3), tables::falling(9));
        assert_eq!(listed_token(&of_app), Needs::Row(place));
    }
}
