//! One suite for every engine: the words of [`crate::engine`] as things that are tried.
//!
//! In: an engine, fresh and empty, per case. Out: nothing, or the first thing that broke its word. It must not know which
//! engine it tries: what engines may differ in it asks of [`crate::Capabilities`]. What belongs to one engine alone (a
//! directory, a quorum) is tested beside that engine.
//!
//! A test file has one line per engine, `p92_storage::conformance_tests!(make)`; see there.

mod conditional;
mod logs;
mod projections;
mod rows;
mod scans;

use crate::{Class, Engine, RowKey, Side, StoreError, Table, TableRef, Write};
use bytes::Bytes;
use std::fmt::Debug;
use std::panic::Location;
use std::sync::Arc;

/// State rows of the cases.
pub static STATE: Table = table("conformance_state", Class::State);
/// Rows of a view, on two sides.
pub static VIEW: Table = table("conformance_view", Class::View);
/// A table whose name begins with another's: neither may show in the other.
pub static VIEW_MORE: Table = table("conformance_view_more", Class::View);
/// Stream rows.
pub static STREAMS: Table = table("conformance_streams", Class::Log);

/// The tables that an engine must have before it can be tried.
pub static TABLES: [&Table; 4] = [&STATE, &VIEW, &VIEW_MORE, &STREAMS];

const fn table(name: &'static str, class: Class) -> Table {
    Table { name, class, row: "", serves: "the conformance suite" }
}

/// What a case found.
pub type Verdict = Result<(), Broken>;

/// An engine broke its word.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// It answered what the port does not allow.
    #[error("{0}")]
    Word(String),
    /// It did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A task of the case ended early.
    #[error("a task ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

#[track_caller]
fn same<T: PartialEq + Debug + ?Sized>(what: &str, found: &T, expected: &T) -> Verdict {
    holds(found == expected, || format!("{what}: found {found:?}, expected {expected:?}"))
}

#[track_caller]
fn holds(true_is: bool, words: impl FnOnce() -> String) -> Verdict {
    let place = Location::caller();
    if true_is {
        Ok(())
    } else {
        Err(Broken::Word(format!("{}:{}: {}", place.file(), place.line(), words())))
    }
}

/// Every case in turn, each on an engine of its own; stops at the first that fails and names it.
pub async fn run_all<M, F>(make: M) -> Verdict
where
    M: Fn() -> F,
    F: Future<Output = Arc<dyn Engine>>,
{
    macro_rules! run {
        ($($case:ident)*) => { $(
            if let Err(broken) = $case(make().await).await {
                return Err(Broken::Word(format!("{}: {broken}", stringify!($case))));
            }
        )* };
    }
    crate::conformance_cases!([run]);
    Ok(())
}

/// Hands the names of all cases to a macro, behind its arguments.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_cases {
    ([$($with:tt)+] $($argument:tt)*) => {
        $($with)+! { $($argument)*
            rows_come_back_as_they_were_written
            many_rows_are_answered_in_the_order_asked
            any_bytes_are_a_key
            a_batch_is_seen_whole
            scans_keep_to_their_range
            scans_go_both_ways_in_pages
            a_page_has_at_most_a_thousand_rows
            scans_stay_in_their_partition_and_table
            a_table_is_scanned_whole_and_in_one_order
            a_table_scan_survives_changes
            clearing_takes_one_side_only
            what_is_destroyed_is_gone
            an_insert_happens_once
            one_of_many_inserts_wins
            versions_rise_by_one
            no_update_is_lost
            a_deletion_meets_its_version_only
            one_of_many_who_change_or_delete_wins
            an_append_is_exact
            a_lost_slot_shows_who_stands
            one_of_many_appends_wins
            logs_run_over_the_border_of_a_bucket
            log_reads_keep_to_their_size
            writes_before_an_append_are_there_with_it
            many_appenders_leave_no_gap
            rows_carry_their_position
            a_projection_goes_on_from_its_checkpoint
            an_older_position_never_overwrites_a_newer_one
            projections_are_seen_in_order
            a_note_stands_where_a_batch_may_end_half_done
        }
    };
}

/// One test per case. The argument names an async function without parameters that makes a fresh engine, and something
/// that is dropped when the case is over: `async fn make() -> (Arc<dyn Engine>, TempDir)`.
#[macro_export]
macro_rules! conformance_tests {
    ($make:ident) => {
        $crate::conformance_cases! { [$crate::conformance_test_each] $make }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_test_each {
    ($make:ident $($case:ident)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let (engine, _kept) = $make().await;
            let verdict = $crate::conformance::$case(engine).await;
            assert!(verdict.is_ok(), "{}", verdict.err().map(|broken| broken.to_string()).unwrap_or_default());
        }
    )* };
}

pub use conditional::{
    a_deletion_meets_its_version_only, an_insert_happens_once, no_update_is_lost, one_of_many_inserts_wins,
    one_of_many_who_change_or_delete_wins, versions_rise_by_one,
};
pub use logs::{
    a_lost_slot_shows_who_stands, an_append_is_exact, log_reads_keep_to_their_size,
    logs_run_over_the_border_of_a_bucket, many_appenders_leave_no_gap, one_of_many_appends_wins,
    writes_before_an_append_are_there_with_it,
};
pub use projections::{
    a_note_stands_where_a_batch_may_end_half_done, a_projection_goes_on_from_its_checkpoint,
    an_older_position_never_overwrites_a_newer_one, projections_are_seen_in_order, rows_carry_their_position,
};
pub use rows::{
    a_batch_is_seen_whole, any_bytes_are_a_key, many_rows_are_answered_in_the_order_asked,
    rows_come_back_as_they_were_written, what_is_destroyed_is_gone,
};
pub use scans::{
    a_page_has_at_most_a_thousand_rows, a_table_is_scanned_whole_and_in_one_order,
    a_table_scan_survives_changes, clearing_takes_one_side_only, scans_go_both_ways_in_pages,
    scans_keep_to_their_range, scans_stay_in_their_partition_and_table,
};

fn key(table: TableRef, partition: &[u8], clustering: &[u8]) -> RowKey {
    RowKey::new(table, Bytes::copy_from_slice(partition), Bytes::copy_from_slice(clustering))
}

fn put(table: TableRef, partition: &[u8], clustering: &[u8], value: &[u8]) -> Write {
    Write { key: key(table, partition, clustering), value: Some(Bytes::copy_from_slice(value)) }
}

fn delete(table: TableRef, partition: &[u8], clustering: &[u8]) -> Write {
    Write { key: key(table, partition, clustering), value: None }
}

const fn sides() -> [TableRef; 2] {
    [VIEW.side(Side::A), VIEW.side(Side::B)]
}
