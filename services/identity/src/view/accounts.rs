//! Views of accounts: their state, and the ways to find one.

use super::{bad_row, own_view};
use crate::domain::Account;
use crate::tables::{self, ACCOUNTS};
use crate::wire::account::is_account_event;
use crate::wire::rows::{account_in, account_out};
use async_trait::async_trait;
use bytes::Bytes;
use p92_eventlog::{Aggregate, Poison, ProjectionError, Recorded, Rows, View};
use p92_kernel::AccountId;
use p92_proto::identity::v1;
use p92_storage::Key;

const CREATED: &str = "p92.identity.v1.AccountCreated";
const GRANTED: &str = "p92.identity.v1.HandleGranted";
const ERASED: &str = "p92.identity.v1.AccountErased";

/// Accounts by id.
#[derive(Clone, Copy, Debug)]
pub struct Accounts;

#[async_trait]
impl View for Accounts {
    own_view!(ACCOUNTS, is_account_event);

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        let Some(id) = event.stream().and_then(|stream| stream.id()) else { return Ok(()) };
        let partition = tables::id(id.get());
        let row = rows.get_message::<v1::AccountRow>(partition.clone(), Bytes::new()).await?;
        let state = match row {
            Some(row) => account_in(row).map_err(|why| bad_row(&ACCOUNTS, why))?,
            None => Account::default(),
        };
        let state = Aggregate::evolve(state, &<Account as Aggregate>::decode(event)?);
        rows.put_message(partition, Bytes::new(), &account_out(&state));
        Ok(())
    }
}

/// A name made of content, as an event carries it.
fn name(event: &Recorded, key: &Bytes) -> Result<Bytes, Poison> {
    if key.len() == 32 {
        Ok(Key::new().raw(key).build())
    } else {
        Err(event.unreadable("a name that is no HMAC"))
    }
}

/// Accounts by handle.
#[derive(Clone, Copy, Debug)]
pub struct Handles;

#[async_trait]
impl View for Handles {
    own_view!(HANDLES, |event_type| matches!(event_type, GRANTED | ERASED));

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        if event.is::<v1::HandleGranted>() {
            let granted: v1::HandleGranted = event.decode()?;
            let partition = name(event, &granted.handle_key)?;
            rows.put(partition, tables::id(granted.account_id), Bytes::new());
        } else {
            let erased: v1::AccountErased = event.decode()?;
            rows.delete(name(event, &erased.handle_key)?, tables::id(erased.account_id));
        }
        Ok(())
    }
}

/// Accounts by the beginning of their handle.
#[derive(Clone, Copy, Debug)]
pub struct Beginnings;

#[async_trait]
impl View for Beginnings {
    own_view!(BEGINNINGS, |event_type| matches!(event_type, GRANTED | ERASED));

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        if event.is::<v1::HandleGranted>() {
            let granted: v1::HandleGranted = event.decode()?;
            let place = tables::by_length(granted.handle_characters, granted.account_id);
            for key in &granted.prefix_keys {
                rows.put(name(event, key)?, place.clone(), Bytes::new());
            }
        } else {
            let erased: v1::AccountErased = event.decode()?;
            let place = tables::by_length(erased.handle_characters, erased.account_id);
            for key in &erased.prefix_keys {
                rows.delete(name(event, key)?, place.clone());
            }
        }
        Ok(())
    }
}

/// Accounts by ActivityPub id.
#[derive(Clone, Copy, Debug)]
pub struct ActivityPubIds;

#[async_trait]
impl View for ActivityPubIds {
    own_view!(ACTIVITY_PUB, |event_type| matches!(event_type, CREATED | ERASED));

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        if event.is::<v1::AccountCreated>() {
            let created: v1::AccountCreated = event.decode()?;
            let partition = name(event, &created.activity_pub_key)?;
            rows.put(partition, tables::id(created.account_id), Bytes::new());
        } else {
            let erased: v1::AccountErased = event.decode()?;
            rows.delete(name(event, &erased.activity_pub_key)?, tables::id(erased.account_id));
        }
        Ok(())
    }
}

/// Members of a server, newest first.
#[derive(Clone, Copy, Debug)]
pub struct Members;

#[async_trait]
impl View for Members {
    own_view!(MEMBERS, |event_type| event_type == GRANTED);

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        let granted: v1::HandleGranted = event.decode()?;
        let id = AccountId::new(granted.account_id).ok_or_else(|| event.unreadable("no id"))?;
        let partition = tables::members(granted.server_id, tables::stretch(id));
        rows.put(partition, tables::falling(id.get()), Bytes::new());
        Ok(())
    }
}
