//! Two owners of one log, on an engine that answers late, unknown or not at all, and a bus that drops and doubles:
//! seeded histories hold I2–I4 and I14, and five rules broken on purpose are each noticed.
//!
//! `cargo test -p p92-eventlog --features mutants --test simulation`

// A test says by a panic what it expected.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod drive;
mod history;
mod members;
mod shim;
#[path = "../log/world.rs"]
#[allow(dead_code)]
mod world;

use drive::Bench;
use p92_eventlog::owner::Mutant;
use std::collections::BTreeMap;

/// How many histories the sound log must survive.
const HISTORIES: u64 = 1_000;
/// Within how many histories a broken rule must be noticed.
const MUTANT_HISTORIES: u64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_histories_hold() {
    let bench = Bench::default();
    let found = bench.run(0..HISTORIES, None).await;
    println!("{} histories, injected: {}", HISTORIES, bench.injected());
    assert!(found.is_empty(), "violations by seed: {found:?}");
    assert!(bench.enough(), "too few faults to mean anything: {}", bench.injected());
}

/// Runs histories until the broken rule is noticed by one of these names.
async fn caught(mutant: Mutant, by: &[&str]) {
    let bench = Bench::default();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut seeds = 0..0;
    while seeds.end < MUTANT_HISTORIES {
        seeds = seeds.end..seeds.end + 16;
        let found = bench.run(seeds.clone(), Some(mutant)).await;
        found.values().flatten().for_each(|wrong| *counts.entry(wrong).or_default() += 1);
        if by.iter().any(|name| counts.contains_key(name)) {
            println!("{mutant:?} within {} histories: {counts:?}", seeds.end);
            return;
        }
    }
    panic!("{mutant:?} was not caught: {counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_collision_check_is_caught() {
    caught(Mutant::NoCollisionCheck, &["I1: an acknowledged claim does not stand"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_barrier_is_caught() {
    caught(Mutant::NoBarrier, &["a group of an older owner landed behind a take-over"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_on_after_a_lost_slot_is_caught() {
    caught(
        Mutant::NoTakeOverAfterLoss,
        &["a register was claimed twice", "I3: versions of a stream are not gapless and unique"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loading_without_the_overlay_is_caught() {
    caught(Mutant::NoOverlay, &["a register was claimed twice", "an answer came from the past"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_rejection_is_caught() {
    caught(
        Mutant::EarlyRejection,
        &["an answer told of a claim that does not stand", "an answer came from the past"],
    )
    .await;
}
