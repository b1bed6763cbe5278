//! One closed set of codes for everything that can go wrong, and the failure that carries one to the edge.
//!
//! Three things are kept apart: a *rejection* (a rule of the domain said no), an *error* (the world did not answer),
//! and a *bug* (`Internal`). `chassis` maps codes to gRPC once, the gateway to HTTP once.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// What kind of failure, by what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is malformed; the same request can never succeed.
    InvalidArgument,
    /// No valid credentials came with it.
    Unauthenticated,
    /// Known who asks, and he may not.
    PermissionDenied,
    /// It does not exist, or the caller may not know that it does.
    NotFound,
    /// The name is taken, or the idempotency key belongs to another command.
    AlreadyExists,
    /// The state of things forbids it now.
    FailedPrecondition,
    /// A limit of rate, size or quota.
    ResourceExhausted,
    /// Not now; nothing was done, or a repeat with the same key settles it.
    Unavailable,
    /// The deadline passed. Whether it was done is unknown; a repeat with the same key settles it.
    DeadlineExceeded,
    /// Asked for is a thing that this version does not do.
    Unimplemented,
    /// A bug of ours.
    Internal,
}

/// A failure on its way to an edge: a code, a stable reason, a text for the public, and the chain for the log.
#[derive(Debug)]
pub struct Failure {
    pub code: ErrorCode,
    /// `UPPER_SNAKE`, stable, for programs.
    pub reason: Cow<'static, str>,
    /// One sentence for people. Holds nothing that the caller may not know.
    pub public: String,
    /// The field of the request that is at fault, as a path (`content.text`).
    pub field: Option<Cow<'static, str>>,
    /// When a repeat makes sense.
    pub retry_after: Option<Duration>,
    /// For the log only.
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Failure {
    /// A failure with a code, a reason and a text for the public.
    pub fn new(code: ErrorCode, reason: impl Into<Cow<'static, str>>, public: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            public: public.into(),
            field: None,
            retry_after: None,
            source: None,
        }
    }

    /// A malformed field.
    pub fn invalid(
        field: &'static str,
        reason: impl Into<Cow<'static, str>>,
        public: impl Into<String>,
    ) -> Self {
        Self { field: Some(Cow::Borrowed(field)), ..Self::new(ErrorCode::InvalidArgument, reason, public) }
    }

    /// Something that does not exist, or must look so.
    #[must_use]
    pub fn not_found(what: &'static str) -> Self {
        Self::new(ErrorCode::NotFound, "NOT_FOUND", format!("There is no such {what}."))
    }

    /// Not now; try again after `retry_after`.
    pub fn unavailable(
        reason: impl Into<Cow<'static, str>>,
        public: impl Into<String>,
        retry_after: Duration,
    ) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(ErrorCode::Unavailable, reason, public) }
    }

    /// A bug: the public learns nothing of it, the log everything.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::new(ErrorCode::Internal, "INTERNAL", "Something went wrong here. It has been logged.")
        }
    }

    /// The same failure with its cause, for the log.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.public)
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
