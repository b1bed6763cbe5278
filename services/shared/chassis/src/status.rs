//! The one mapping between failures and gRPC status, with the details of google.rpc, both ways.
//!
//! It exists so that a code, a reason and a retry hint mean the same at every service and at the gateway. What only the
//! log may know stays here: it refuses to know who may see more than the public text, since nobody may.

use crate::telemetry::fields;
use p92_kernel::{Elsewhere, ErrorCode, Failure};
use std::error::Error as _;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of every reason.
pub const DOMAIN: &str = "p92";

const fn to_code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::InvalidArgument => Code::InvalidArgument,
        ErrorCode::Unauthenticated => Code::Unauthenticated,
        ErrorCode::PermissionDenied => Code::PermissionDenied,
        ErrorCode::NotFound => Code::NotFound,
        ErrorCode::AlreadyExists => Code::AlreadyExists,
        ErrorCode::FailedPrecondition => Code::FailedPrecondition,
        ErrorCode::ResourceExhausted => Code::ResourceExhausted,
        ErrorCode::Unavailable => Code::Unavailable,
        ErrorCode::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorCode::Unimplemented => Code::Unimplemented,
        ErrorCode::Internal => Code::Internal,
    }
}

const fn from_code(code: Code) -> ErrorCode {
    match code {
        Code::InvalidArgument | Code::OutOfRange => ErrorCode::InvalidArgument,
        Code::Unauthenticated => ErrorCode::Unauthenticated,
        Code::PermissionDenied => ErrorCode::PermissionDenied,
        Code::NotFound => ErrorCode::NotFound,
        Code::AlreadyExists => ErrorCode::AlreadyExists,
        Code::FailedPrecondition | Code::Aborted => ErrorCode::FailedPrecondition,
        Code::ResourceExhausted => ErrorCode::ResourceExhausted,
        Code::Unavailable => ErrorCode::Unavailable,
        Code::DeadlineExceeded | Code::Cancelled => ErrorCode::DeadlineExceeded,
        Code::Unimplemented => ErrorCode::Unimplemented,
        Code::Internal | Code::Unknown | Code::DataLoss | Code::Ok => ErrorCode::Internal,
    }
}

/// An error and all its causes, for the log.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Many libraries print their cause themselves; twice says no more than once.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// Names the slot that another replica holds: `service/shard`.
pub(crate) const SLOT: &str = "p92-slot";
/// Names where the holder of that slot is reached: `host:port`.
pub(crate) const OWNER: &str = "p92-owner";
/// The call can be answered here too, if the holder cannot be asked.
pub(crate) const HERE_TOO: &str = "p92-here-too";

/// What a failure says of who can answer, as metadata of its status.
fn tell_where(status: &mut Status, elsewhere: &Elsewhere) {
    let slot = format!("{}/{}", elsewhere.service, elsewhere.shard);
    let mut tell = |name: &'static str, text: &str| {
        // Addresses are checked when they are configured; one that is no header value is not told.
        if let Ok(value) = text.parse() {
            status.metadata_mut().insert(name, value);
        }
    };
    tell(SLOT, &slot);
    if let Some(address) = &elsewhere.address {
        tell(OWNER, address);
    }
    if elsewhere.here_too {
        tell(HERE_TOO, "1");
    }
}

/// A failure as a status. What only the log may know is logged here, once: a failure that came from another service
/// has no cause any more, since that service has logged it.
#[must_use]
pub fn to_status(failure: Failure) -> Status {
    let elsewhere = failure.source.as_ref().and_then(|source| source.downcast_ref::<Elsewhere>()).cloned();
    // That somebody else holds a slot is no trouble, and will be settled on the way.
    if let Some(cause) = failure.source().filter(|_| elsewhere.is_none()) {
        let causes = chain(cause);
        let reason = &failure.reason;
        match failure.code {
            ErrorCode::Internal => {
                tracing::error!({ fields::REASON } = %reason, { fields::CAUSES } = causes, "a bug of ours");
            }
            ErrorCode::Unavailable | ErrorCode::DeadlineExceeded => {
                tracing::warn!({ fields::REASON } = %reason, { fields::CAUSES } = causes, "a call failed");
            }
            // A rule said no: whoever asked is told, and nobody else needs to know.
            _ => {
                tracing::debug!({ fields::REASON } = %reason, { fields::CAUSES } = causes, "a call was refused")
            }
        }
    }
    let mut details = ErrorDetails::new();
    details.set_error_info(failure.reason, DOMAIN, std::collections::HashMap::new());
    if let Some(field) = failure.field {
        details.add_bad_request_violation(field, failure.public.clone());
    }
    if failure.retry_after.is_some() {
        details.set_retry_info(failure.retry_after);
    }
    let mut status = Status::with_error_details(to_code(failure.code), failure.public, details);
    if let Some(elsewhere) = &elsewhere {
        tell_where(&mut status, elsewhere);
    }
    status
}

/// A status, as a client gets it, as a failure again.
#[must_use]
pub fn from_status(status: Status) -> Failure {
    let details = status.get_error_details();
    let code = from_code(status.code());
    let Some(info) = details.error_info().filter(|info| info.domain == DOMAIN) else {
        return foreign(code, status);
    };
    let field =
        details.bad_request().and_then(|bad| bad.field_violations.first()).map(|one| one.field.clone());
    Failure {
        field: field.map(Into::into),
        retry_after: details.retry_info().and_then(|info| info.retry_delay),
        ..Failure::new(code, info.reason.clone(), status.message())
    }
}

/// A status without words of ours: a library speaks, and its words are for the log, not for the public.
fn foreign(code: ErrorCode, status: Status) -> Failure {
    let (reason, public) = match code {
        ErrorCode::Internal => return Failure::internal(status),
        ErrorCode::Unavailable => {
            ("SERVICE_UNAVAILABLE", "A part of the service does not answer. Please try again.")
        }
        ErrorCode::DeadlineExceeded => ("DEADLINE_EXCEEDED", "It took too long."),
        ErrorCode::ResourceExhausted => ("RESOURCE_EXHAUSTED", "That is too much at once."),
        ErrorCode::InvalidArgument => ("MALFORMED", "The request could not be read."),
        ErrorCode::Unimplemented => ("UNIMPLEMENTED", "This version does not do that."),
        ErrorCode::Unauthenticated
        | ErrorCode::PermissionDenied
        | ErrorCode::NotFound
        | ErrorCode::AlreadyExists
        | ErrorCode::FailedPrecondition => ("REFUSED", "The service refused."),
    };
    let retry = matches!(code, ErrorCode::Unavailable | ErrorCode::DeadlineExceeded);
    Failure { retry_after: retry.then_some(Duration::from_secs(1)), ..Failure::new(code, reason, public) }
        .because(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_wire() {
        let failure = Failure::invalid("content.text", "TEXT_TOO_LONG", "At most 500 characters.");
        let back = from_status(to_status(failure));
        assert_eq!(back.code, ErrorCode::InvalidArgument);
        assert_eq!(back.reason, "TEXT_TOO_LONG");
        assert_eq!(back.field.as_deref(), Some("content.text"));
        assert_eq!(back.public, "At most 500 characters.");
    }

    #[test]
    fn the_cause_stays_here() {
        let status = to_status(Failure::internal("the secret path /var/x"));
        assert!(!format!("{status:?}").contains("secret"));
    }

    #[test]
    fn a_retry_hint_survives() {
        let failure = Failure::unavailable("OVERLOADED", "Later.", Duration::from_secs(2));
        assert_eq!(from_status(to_status(failure)).retry_after, Some(Duration::from_secs(2)));
    }

    #[test]
    fn every_code_survives() {
        for code in [
            ErrorCode::InvalidArgument,
            ErrorCode::Unauthenticated,
            ErrorCode::PermissionDenied,
            ErrorCode::NotFound,
            ErrorCode::AlreadyExists,
            ErrorCode::FailedPrecondition,
            ErrorCode::ResourceExhausted,
            ErrorCode::Unavailable,
            ErrorCode::DeadlineExceeded,
            ErrorCode::Unimplemented,
            ErrorCode::Internal,
        ] {
            assert_eq!(from_status(to_status(Failure::new(code, "R", "t"))).code, code);
            let foreign = from_status(Status::new(to_code(code), "their /secret/path"));
            assert_eq!(foreign.code, code);
            assert!(!foreign.public.contains("secret"));
        }
    }

    #[test]
    fn a_chain_says_nothing_twice() {
        let inner = std::io::Error::other("the disk is full");
        let failure = Failure::internal(std::io::Error::other(inner));
        assert_eq!(
            chain(&failure),
            "INTERNAL: Something went wrong here. It has been logged.: the disk is full"
        );
    }
}
