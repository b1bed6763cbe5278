//! Views of identity: events to rows. Functions of events alone; each row has one writing shard.
//!
//! How rows become answers stands in `app`, which also knows the time and may open what is sealed.

pub mod accounts;
pub mod members;
pub mod relationships;
pub mod servers;

use p92_eventlog::View;
use std::sync::Arc;

/// Every view of identity.
#[must_use]
pub fn all() -> Vec<Arc<dyn View>> {
    vec![
        Arc::new(servers::Servers),
        Arc::new(servers::Unfinished),
        Arc::new(accounts::Accounts),
        Arc::new(accounts::Handles),
        Arc::new(accounts::Beginnings),
        Arc::new(accounts::ActivityPubIds),
        Arc::new(accounts::Members),
        Arc::new(members::MemberCounts),
        Arc::new(relationships::Relationships),
        Arc::new(relationships::Edges),
        Arc::new(relationships::Counts),
    ]
}

/// What every view of identity says alike: its table, and that it is a function of identity's own log.
macro_rules! own_view {
    ($table:ident, $wants:expr) => {
        fn table(&self) -> &'static p92_storage::Table {
            &crate::tables::$table
        }

        fn source(&self) -> p92_kernel::Service {
            p92_kernel::Service::Identity
        }

        fn wants(&self, event_type: &str) -> bool {
            $wants(event_type)
        }
    };
}
pub(crate) use own_view;

/// A row that says what no version of this build writes.
pub(crate) fn bad_row(
    table: &'static p92_storage::Table,
    why: crate::wire::Unreadable,
) -> p92_eventlog::ProjectionError {
    p92_eventlog::ProjectionError::Row { table: table.name, problem: why.to_string() }
}
