//! What a store can answer besides rows.

use std::time::Duration;

/// Whether a write that failed may still have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did not happen and never will.
    NoEffect,
    /// It may have happened, or may still: repeat the identical write until the answer is certain.
    Unknown,
}

/// A store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not reachable, timed out, or its sync failed.
    #[error("the store did not answer: {reason}")]
    Unavailable { reason: String, outcome: Outcome },
    /// The free-space guard refused the write before the engine saw it.
    #[error("only {free_mib} MiB are free in the data directory; writes are refused below {floor_mib} MiB")]
    Full { free_mib: u64, floor_mib: u64 },
    /// What is stored cannot be read as what it should be.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// The directory cannot be opened, with what to do about it.
    #[error("{problem}\n  what to do: {advice}")]
    Refused { problem: String, advice: String },
}

impl StoreError {
    /// Whether a write that got this answer may have happened.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Unavailable { outcome, .. } => *outcome,
            Self::Full { .. } | Self::Damaged(_) | Self::Refused { .. } => Outcome::NoEffect,
        }
    }

    /// When it makes sense to ask again.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { .. } => Some(Duration::from_secs(1)),
            Self::Full { .. } => Some(Duration::from_secs(30)),
            Self::Damaged(_) | Self::Refused { .. } => None,
        }
    }
}
