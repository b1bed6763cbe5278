//! A model of a shard's log: append, collision, barrier, take-over, overlay and reader, in every order in which they can happen.
//!
//! It exists because the mechanism's mistakes are orders of steps that no test would think of. Three processes share one shard of
//! five slots with a bucket border; one may crash, one may be paused for so long that another takes over, one append may land
//! late. Every state is visited. Then each rule is left out in turn, and what it protects must break: otherwise either
//! the rule is idle or the model is blind.
//!
//! It refuses to know the code, the clock, and how long anything takes.

#![allow(
    clippy::indexing_slicing,
    reason = "the lists of the model have fixed lengths; a step past them is a mistake in it"
)]

mod owner;
mod properties;
mod state;
mod steps;

use stateright::{Checker, HasDiscoveries, Model};
use steps::{Mechanism, Mutant};

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[test]
fn the_mechanism_is_exhausted_without_a_violation() {
    let started = std::time::Instant::now();
    let checker = Mechanism::new(None).checker().threads(threads()).spawn_bfs().join();
    println!(
        "{} states, {} unique, depth {}, {:?}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        started.elapsed()
    );
    assert!(checker.is_done());
    checker.assert_properties();
}

#[test]
fn every_fault_and_every_rule_is_met() {
    let mechanism = Mechanism { properties: properties::reached, ..Mechanism::new(None) };
    let checker = mechanism.checker().finish_when(HasDiscoveries::All).spawn_bfs().join();
    println!("all met within {} states, {} unique", checker.state_count(), checker.unique_state_count());
    checker.assert_properties();
}

/// Leaves the rule out, and expects that this property breaks.
#[track_caller]
fn breaks(mutant: Mutant, property: &'static str) {
    breaks_within(Mechanism::new(Some(mutant)), property);
}

/// The same within given bounds. One thread, so that the same way there is found each time.
#[track_caller]
fn breaks_within(mechanism: Mechanism, property: &'static str) {
    let found = HasDiscoveries::AllOf([property].into());
    let checker = mechanism.checker().finish_when(found).spawn_bfs().join();
    let path = checker.assert_any_discovery(property);
    println!("{:?} breaks in {} states: {property}", mechanism.mutant, checker.unique_state_count());
    let holds = mechanism.property(property).condition;
    // The checker goes on for a while after it has found one.
    let steps = path.into_vec().into_iter().take_while(|(state, _)| holds(&mechanism, state));
    for step in steps.filter_map(|(_, step)| step) {
        println!("  {step:?}");
    }
}

#[test]
fn without_collision_check_an_acknowledged_write_is_lost() {
    breaks(Mutant::NoCollisionCheck, properties::STAYS);
}

#[test]
fn without_barrier_a_refused_command_appears_later() {
    breaks(Mutant::NoBarrier, properties::NEVER_APPEARS);
}

#[test]
fn going_on_after_a_lost_slot_appends_what_the_log_forbids() {
    breaks(Mutant::NoTakeOverAfterLoss, properties::ALLOWED);
}

#[test]
fn loading_without_overlay_decides_on_an_old_state() {
    breaks(Mutant::NoOverlay, properties::ALLOWED);
}

#[test]
fn a_rejection_before_its_group_may_never_have_been_true() {
    breaks(Mutant::EarlyRejection, properties::TRUE);
}

#[test]
fn a_zombie_that_does_not_look_answers_from_the_past() {
    breaks(Mutant::NoLook, properties::TRUE);
}

#[test]
fn a_timeout_taken_for_a_failure_refuses_what_then_appears() {
    breaks(Mutant::UnknownIsFailure, properties::NEVER_APPEARS);
}

#[test]
fn answers_before_rows_cannot_be_read_back() {
    breaks(Mutant::AnswersBeforeRows, properties::READ_BACK);
}

#[test]
fn a_rejection_that_overtakes_its_reason_cannot_be_read_back() {
    breaks(Mutant::AnswersOvertake, properties::READ_BACK);
}

#[test]
fn applied_before_rows_promises_rows_that_lack() {
    breaks(Mutant::AppliedBeforeRows, properties::ROWS);
}

#[test]
fn an_older_row_over_a_newer_one_turns_a_view_back() {
    breaks(Mutant::OlderRowsOverwrite, properties::ROWS);
}

#[test]
fn a_new_owner_that_does_not_see_rows_ahead_counts_twice() {
    breaks(Mutant::CountsTwice, properties::ROWS);
}

#[test]
fn a_reader_that_skips_a_gap_remembers_less_than_the_log() {
    breaks(Mutant::ReaderSkipsGaps, properties::READER);
}

#[test]
fn a_command_that_nobody_waits_for_appears_after_its_refusal() {
    let mut mechanism = Mechanism::new(Some(Mutant::DecidesForNobody));
    mechanism.left.forbidden = 0;
    breaks_within(mechanism, properties::NEVER_APPEARS);
}
