//! How many members a server has: those that its home and the installation leave active or limited.
//!
//! It keeps of each account what decides that, since a view reads no other view, and nothing else of it.

use super::{bad_row, own_view};
use crate::domain::Account;
use crate::domain::account::{Born, Life, State};
use crate::tables::{self, MEMBER_COUNTS};
use crate::wire::rows::{account_in, account_out};
use async_trait::async_trait;
use bytes::Bytes;
use p92_eventlog::{Aggregate, ProjectionError, Recorded, Rows, View};
use p92_proto::identity::v1;
use p92_storage::Key;

/// Members by server.
#[derive(Clone, Copy, Debug)]
pub struct MemberCounts;

fn decides(event_type: &str) -> bool {
    matches!(
        event_type.strip_prefix("p92.identity.v1."),
        Some(
            "AccountCreated"
                | "HandleGranted"
                | "EmailConfirmed"
                | "AccountApproved"
                | "AccountLimited"
                | "AccountSuspended"
                | "AccountRestored"
                | "AccountErased"
        )
    )
}

fn counts(account: &Account) -> bool {
    matches!(account.state_for(account.born.home), Some(State::Active | State::Limited))
}

/// What decides whether an account counts.
fn essence(account: &Account) -> Account {
    Account {
        life: account.life,
        standing: account.standing,
        measures: account.measures.clone(),
        born: Born { id: account.born.id, home: account.born.home, ..Born::default() },
        ..Account::default()
    }
}

#[async_trait]
impl View for MemberCounts {
    own_view!(MEMBER_COUNTS, decides);

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        let Some(id) = event.stream().and_then(|stream| stream.id()) else { return Ok(()) };
        let partition = tables::counted(id.get());
        let row = rows.get_message::<v1::MemberCountRow>(partition.clone(), Bytes::new()).await?;
        let before = match row.and_then(|row| row.account) {
            Some(row) => account_in(row).map_err(|why| bad_row(&MEMBER_COUNTS, why))?,
            None => Account::default(),
        };
        let counted = counts(&before);
        let after = Aggregate::evolve(before, &<Account as Aggregate>::decode(event)?);
        // Who has his home elsewhere is nobody's member.
        if after.is_remote() {
            return Ok(());
        }
        if after.life == Life::Erased {
            rows.delete(partition, Bytes::new());
        } else {
            let account = Some(account_out(&essence(&after)));
            rows.put_message(partition, Bytes::new(), &v1::MemberCountRow { account, members: 0 });
        }
        let change = i64::from(counts(&after)) - i64::from(counted);
        if change == 0 {
            return Ok(());
        }
        let partition = tables::counts_of_members(after.born.home);
        let place = Key::new().small(event.position.shard.0).build();
        let row = rows.get_message::<v1::MemberCountRow>(partition.clone(), place.clone()).await?;
        let members = row.unwrap_or_default().members.saturating_add_signed(change);
        if members == 0 {
            rows.delete(partition, place);
        } else {
            rows.put_message(partition, place, &v1::MemberCountRow { account: None, members });
        }
        Ok(())
    }
}
