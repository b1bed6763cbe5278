//! The one mapping between failures and gRPC status, with the details of google.rpc, both ways.

use p92_kernel::{ErrorCode, Failure};
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

/// A failure as a status. What only the log may know is logged here and goes no further.
#[must_use]
pub fn to_status(failure: Failure) -> Status {
    let mut chain = String::new();
    let mut cause = failure.source();
    while let Some(error) = cause {
        chain.push_str(": ");
        chain.push_str(&error.to_string());
        cause = error.source();
    }
    if failure.code == ErrorCode::Internal {
        tracing::error!(reason = %failure.reason, chain, "an error of ours");
    } else if !chain.is_empty() {
        tracing::warn!(reason = %failure.reason, chain, "a call failed");
    }
    let mut details = ErrorDetails::new();
    details.set_error_info(failure.reason, DOMAIN, std::collections::HashMap::new());
    if let Some(field) = failure.field {
        details.add_bad_request_violation(field, failure.public.clone());
    }
    if failure.retry_after.is_some() {
        details.set_retry_info(failure.retry_after);
    }
    Status::with_error_details(to_code(failure.code), failure.public, details)
}

/// A status, as a client gets it, as a failure again.
#[must_use]
pub fn from_status(status: Status) -> Failure {
    let details = status.get_error_details();
    let code = from_code(status.code());
    let info = details.error_info().filter(|info| info.domain == DOMAIN);
    let field =
        details.bad_request().and_then(|bad| bad.field_violations.first()).map(|one| one.field.clone());
    let retry_after = details.retry_info().and_then(|info| info.retry_delay);
    match info {
        Some(info) => Failure {
            field: field.map(Into::into),
            retry_after,
            ..Failure::new(code, info.reason.clone(), status.message())
        },
        // No words of ours: the transport speaks, and its words are for the log.
        None if matches!(
            code,
            ErrorCode::Unavailable | ErrorCode::DeadlineExceeded | ErrorCode::Internal
        ) =>
        {
            let failure = Failure::new(
                if code == ErrorCode::Internal { ErrorCode::Internal } else { ErrorCode::Unavailable },
                "SERVICE_UNAVAILABLE",
                "A part of the service does not answer. Please try again.",
            );
            Failure { retry_after: Some(Duration::from_secs(1)), ..failure }.because(status)
        }
        None => Failure::new(code, "UPSTREAM", status.message().to_owned()),
    }
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
}
