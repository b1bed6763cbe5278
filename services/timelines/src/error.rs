//! What timelines refuses, and how that looks to a caller.

use crate::domain::marker::Rejection;
use p92_kernel::{ErrorCode, Failure};
use std::time::Duration;

/// How a rejection looks.
#[must_use]
pub fn rejected(rejection: Rejection) -> Failure {
    match rejection {
        Rejection::Twice => Failure::invalid("changes", "MARKER_TWICE", "Each list can be named once."),
    }
}

/// Only an account can ask that.
#[must_use]
pub fn no_viewer() -> Failure {
    Failure::new(ErrorCode::Unauthenticated, "NO_VIEWER", "Sign in to see this.")
}

/// More merges are wanted than can be done at a time.
#[must_use]
pub fn busy() -> Failure {
    Failure::unavailable(
        "TIMELINES_BUSY",
        "Too many timelines are being put together. Please try again.",
        Duration::from_secs(1),
    )
}

/// A test or an operator forced memory, and memory may not answer.
#[must_use]
pub fn memory_may_not() -> Failure {
    Failure::new(
        ErrorCode::FailedPrecondition,
        "MEMORY_MAY_NOT_ANSWER",
        "Memory may not answer this question now.",
    )
}

/// A watch was too slow, or the slot moved.
#[must_use]
pub fn watch_again() -> Failure {
    Failure::unavailable(
        "WATCH_AGAIN",
        "Open the stream again; it goes on where it stopped.",
        Duration::from_millis(100),
    )
}

/// A message says what cannot be.
#[must_use]
pub fn nonsense(what: &'static str) -> Failure {
    Failure::internal(format!("an answer of another service says what cannot be: {what}"))
}
