//! What the engine counts, for whoever exports it. It must not know any exporter.

use crate::engine::Append;
use parking_lot::Mutex;

/// Appends since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appends {
    /// Groups that stand.
    pub appended: u64,
    /// Slots that another group had taken.
    pub slots_lost: u64,
    /// Attempts beyond the first.
    pub repeated: u64,
    /// Appends whose caller was told that the outcome is unknown, or that no quorum was there.
    pub unsettled: u64,
}

/// The counters themselves.
#[derive(Debug, Default)]
pub struct Counters(Mutex<Appends>);

impl Counters {
    pub fn read(&self) -> Appends {
        *self.0.lock()
    }

    pub fn settled(&self, answer: &Append, attempts_before: usize) {
        let mut counts = self.0.lock();
        counts.repeated += attempts_before as u64;
        match answer {
            Append::Appended => counts.appended += 1,
            Append::SlotLost(_) => counts.slots_lost += 1,
        }
    }

    pub fn unsettled(&self, attempts_before: usize) {
        let mut counts = self.0.lock();
        counts.repeated += attempts_before as u64;
        counts.unsettled += 1;
    }
}
