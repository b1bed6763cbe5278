//! What the engine counts, for whoever exports it. It must not know any exporter.

use super::place::Verb;
use crate::engine::Append;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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

/// What the store is asked to do. Each is one statement, or one batch of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Operation {
    /// One row by its key.
    Get,
    /// A page of a partition.
    Scan,
    /// A page of a whole table.
    ScanTable,
    /// Rows of one partition, put or deleted without a condition.
    Write,
    /// A row under a condition.
    Conditional,
    /// A group at its slot of a log.
    Append,
    /// Groups of a log.
    ReadLog,
}

impl Operation {
    pub const ALL: [Self; 7] =
        [Self::Get, Self::Scan, Self::ScanTable, Self::Write, Self::Conditional, Self::Append, Self::ReadLog];

    /// In lower snake case, as metrics name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Scan => "scan",
            Self::ScanTable => "scan_table",
            Self::Write => "write",
            Self::Conditional => "conditional",
            Self::Append => "append",
            Self::ReadLog => "read_log",
        }
    }

    /// What a statement of a table does.
    pub(super) const fn of(verb: Verb) -> Self {
        match verb {
            Verb::Get => Self::Get,
            Verb::Forward | Verb::Backward => Self::Scan,
            Verb::ScanTable => Self::ScanTable,
            Verb::Put | Verb::Delete => Self::Write,
            Verb::Insert | Verb::Update | Verb::Remove => Self::Conditional,
        }
    }
}

/// How often something was asked, and what was sent or came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Requests sent, those included that failed.
    pub requests: u64,
    /// Rows written, or rows that came.
    pub rows: u64,
    /// Bytes of keys and values written, or of the rows that came.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Tally {
    requests: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
}

/// The counters themselves. What is asked all the time takes no lock.
#[derive(Debug, Default)]
pub struct Counters {
    appends: Mutex<Appends>,
    asked: [Tally; Operation::ALL.len()],
}

impl Counters {
    pub fn read(&self) -> Appends {
        *self.appends.lock()
    }

    /// What was asked so far, by operation.
    pub fn asked(&self, operation: Operation) -> Asked {
        let of = |tally: &Tally| Asked {
            requests: tally.requests.load(Relaxed),
            rows: tally.rows.load(Relaxed),
            bytes: tally.bytes.load(Relaxed),
        };
        self.asked.get(operation as usize).map(of).unwrap_or_default()
    }

    /// Rows are sent, which makes one request.
    pub fn sends(&self, operation: Operation, rows: usize, bytes: usize) {
        if let Some(tally) = self.asked.get(operation as usize) {
            tally.requests.fetch_add(1, Relaxed);
        }
        self.carried(operation, rows, bytes);
    }

    /// Rows of an answer came.
    pub fn carried(&self, operation: Operation, rows: usize, bytes: usize) {
        if let Some(tally) = self.asked.get(operation as usize) {
            tally.rows.fetch_add(rows as u64, Relaxed);
            tally.bytes.fetch_add(bytes as u64, Relaxed);
        }
    }

    pub fn settled(&self, answer: &Append, attempts_before: usize) {
        let mut counts = self.appends.lock();
        counts.repeated += attempts_before as u64;
        match answer {
            Append::Appended => counts.appended += 1,
            Append::SlotLost(_) => counts.slots_lost += 1,
        }
    }

    pub fn unsettled(&self, attempts_before: usize) {
        let mut counts = self.appends.lock();
        counts.repeated += attempts_before as u64;
        counts.unsettled += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_has_a_place_and_a_name_of_its_own() {
        let counters = Counters::default();
        for (number, operation) in Operation::ALL.into_iter().enumerate() {
            for _ in 0..=number {
                counters.sends(operation, 2, 10);
            }
        }
        for (number, operation) in (1..).zip(Operation::ALL) {
            let expected = Asked { requests: number, rows: 2 * number, bytes: 10 * number };
            assert_eq!(counters.asked(operation), expected);
        }
        let names: std::collections::BTreeSet<_> = Operation::ALL.iter().map(|one| one.name()).collect();
        assert_eq!(names.len(), Operation::ALL.len());
    }
}
