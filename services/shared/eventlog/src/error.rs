//! Why an event could not be applied, and how errors of the store look to a caller.

use p92_kernel::{Elsewhere, ErrorCode, Failure};
use p92_storage::{LogKey, Outcome, StoreError};
use std::time::Duration;

/// An event that cannot be read, now or ever.
#[derive(Debug, thiserror::Error)]
pub enum Poison {
    /// It does not decode, or says what cannot be.
    #[error("{event_type} cannot be read: {problem}")]
    Unreadable { event_type: String, problem: String },
    /// It is of a newer version than this build knows. Not poison: whoever meets it waits for a newer replica.
    #[error("{event_type} has version {version}, this build knows up to {known}")]
    Newer { event_type: String, version: u32, known: u32 },
}

/// Why a view's row could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// Counts as a try.
    #[error(transparent)]
    Poison(#[from] Poison),
    /// A row of the view does not decode, or is none that the store takes.
    #[error("a row of {table}: {problem}")]
    Row { table: &'static str, problem: String },
    /// Waits.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an effect was not done.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// Counts as a try; after three the event goes to quarantine.
    #[error(transparent)]
    Poison(#[from] Poison),
    /// Store, bus or peer did not answer: repeated for ever, with backoff.
    #[error("waiting: {0}")]
    Wait(Failure),
}

impl From<Failure> for ConsumeError {
    fn from(failure: Failure) -> Self {
        Self::Wait(failure)
    }
}

impl From<StoreError> for ConsumeError {
    fn from(error: StoreError) -> Self {
        Self::Wait(store_failure(error))
    }
}

/// How an error of the store looks at the edge. It says nothing of what was changed: it may be that of a read by which
/// something is to be shown that was done before, and whoever gets it cannot tell.
#[must_use]
pub fn store_failure(error: StoreError) -> Failure {
    let retry = error.retry_after();
    let mut failure = match &error {
        StoreError::Unavailable { outcome: Outcome::NoEffect, .. } => Failure::new(
            ErrorCode::Unavailable,
            "STORE_UNAVAILABLE",
            "The store does not answer. Please try again.",
        ),
        StoreError::Unavailable { outcome: Outcome::Unknown, .. } => outcome_unknown(),
        StoreError::Full { .. } => Failure::new(
            ErrorCode::Unavailable,
            "STORAGE_FULL",
            "There is no space left to store this. Reading still works; nothing was changed.",
        ),
        StoreError::Damaged(_) | StoreError::Refused { .. } => return Failure::internal(error),
    };
    failure.retry_after = retry;
    failure.because(error)
}

/// How an append that does not stand looks at the edge: here it is certain that nothing was changed.
#[must_use]
pub fn not_appended(error: StoreError) -> Failure {
    let mut failure = store_failure(error);
    if &*failure.reason == "STORE_UNAVAILABLE" {
        failure.public = "The store does not answer. Nothing was changed; please try again.".to_owned();
    }
    failure
}

/// A projection that failed inside a command: a bug, unless the store did not answer.
#[must_use]
pub fn projection_failure(error: ProjectionError) -> Failure {
    match error {
        ProjectionError::Store(error) => store_failure(error),
        ProjectionError::Poison(_) | ProjectionError::Row { .. } => Failure::internal(error),
    }
}

/// Neither success nor failure is known.
#[must_use]
pub fn outcome_unknown() -> Failure {
    Failure {
        retry_after: Some(Duration::from_secs(1)),
        ..Failure::new(
            ErrorCode::DeadlineExceeded,
            "OUTCOME_UNKNOWN",
            "It is not known whether this was done. Repeat it with the same idempotency key to settle it.",
        )
    }
}

/// It was done, but what it left could not be read for the answer. "Nothing was changed" would be wrong; the key settles it.
#[must_use]
pub fn done_but_unread(failure: Failure) -> Failure {
    outcome_unknown().because(failure)
}

/// The shard is elsewhere, or on its way.
#[must_use]
pub fn not_here() -> Failure {
    Failure::unavailable(
        "SHARD_MOVING",
        "This part of the service is moving. Nothing was changed; please try again.",
        Duration::from_secs(1),
    )
}

/// The shard is held elsewhere, at this address if it is known, or on its way.
#[must_use]
pub fn elsewhere(log: LogKey, address: Option<String>) -> Failure {
    not_here().because(Elsewhere { service: log.service, shard: log.shard, address, here_too: false })
}

/// Too many commands wait.
#[must_use]
pub fn overloaded() -> Failure {
    Failure::unavailable(
        "OVERLOADED",
        "Too many requests wait here. Nothing was changed; please try again.",
        Duration::from_secs(2),
    )
}

/// Nothing is sealed for somebody whose key was destroyed: a command that came too late is a rejection, not a bug.
pub fn erased() -> Failure {
    Failure::new(ErrorCode::FailedPrecondition, "ACCOUNT_ERASED", "The account has been erased.")
}
