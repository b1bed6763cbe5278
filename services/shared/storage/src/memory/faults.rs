//! What may go wrong on the way to a store and back. Whoever plans faults implements [`Faults`]; the engine obeys.
//!
//! The engine draws nothing itself: the same plan gives the same faults. It refuses to know why a fault happens.

use super::request::{Answer, Request};
use std::time::Duration;

/// What becomes of one request. Times are those of the runtime that it is asked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it is done and answered.
    Sound,
    /// It waits so long for its effect, and then so long for its answer.
    Late { before: Duration, after: Duration },
    /// The store refuses it, and it will never happen.
    Refused,
    /// The request is lost: it never happens, and nobody knows.
    Lost { told: Duration },
    /// It happens, and the answer is lost.
    Unanswered { told: Duration },
    /// The caller is told that nobody knows; it happens later, from the moment of asking.
    Lands { told: Duration, after: Duration },
    /// Only this many of its separate steps happen, and nobody knows: the note and rows of a projection without the checkpoint, or
    /// writes before an append without the append. What is one step happens whole.
    Torn { steps: usize },
}

/// A plan of faults.
pub trait Faults: Send + Sync + std::fmt::Debug + 'static {
    /// What becomes of this request.
    fn next(&self, request: &Request) -> Fault;

    /// At this moment it has happened, whether or not anybody is told. For those who keep a record.
    fn happened(&self, _request: &Request, _answer: &Answer) {}
}
