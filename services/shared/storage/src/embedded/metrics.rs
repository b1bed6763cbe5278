//! What the committer counts, for whoever exports it. It must not know any exporter.

use parking_lot::Mutex;
use std::time::Duration;

/// Upper bounds of [`Commits::by_time`], in microseconds; one more place takes the rest.
pub const COMMIT_BOUNDS_MICROS: [u64; 10] =
    [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_500_000];

/// What the committer has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// Batches that were synced.
    pub synced: u64,
    /// Batches that held projections only and were not.
    pub unsynced: u64,
    /// Requests in all of them: divided by the batches, how many share a sync.
    pub requests: u64,
    /// Time spent in synced commits.
    pub syncing: Duration,
    /// Synced commits by the time that they took, see [`COMMIT_BOUNDS_MICROS`].
    pub by_time: [u64; 11],
    /// Appends whose slot was taken by another group.
    pub slots_lost: u64,
    /// Requests refused because too little space was free.
    pub refused_full: u64,
    /// Batches that failed.
    pub failed: u64,
    /// Times that the store was opened anew after one.
    pub reopened: u64,
    /// Requests that wait now.
    pub waiting: u64,
}

/// The counters themselves.
#[derive(Debug, Default)]
pub struct Counters(Mutex<Commits>);

impl Counters {
    pub fn read(&self, waiting: usize) -> Commits {
        Commits { waiting: waiting as u64, ..*self.0.lock() }
    }

    pub fn committed(&self, requests: usize, synced: bool, took: Duration) {
        let mut commits = self.0.lock();
        commits.requests += requests as u64;
        if !synced {
            commits.unsynced += 1;
            return;
        }
        commits.synced += 1;
        commits.syncing += took;
        let place = COMMIT_BOUNDS_MICROS.partition_point(|bound| u128::from(*bound) < took.as_micros());
        if let Some(count) = commits.by_time.get_mut(place) {
            *count += 1;
        }
    }

    pub fn slot_lost(&self) {
        self.0.lock().slots_lost += 1;
    }

    pub fn refused_full(&self) {
        self.0.lock().refused_full += 1;
    }

    pub fn failed(&self) {
        self.0.lock().failed += 1;
    }

    pub fn reopened(&self) {
        self.0.lock().reopened += 1;
    }
}
