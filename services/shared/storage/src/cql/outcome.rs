//! What an error of the driver means: whether the write may have happened.
//!
//! In: the driver's errors. Out: ours. The table of answers to an append stands in `engines.md`: what is not named there
//! as certain is unknown. It must not know what was written.

use crate::{Outcome, StoreError};
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError,
    MetadataError, NewSessionError, PrepareError, RequestAttemptError,
};
use scylla::statement::Consistency;

/// A read that failed changed nothing.
pub fn read(error: &ExecutionError) -> StoreError {
    unavailable(error, Outcome::NoEffect)
}

/// A plain or positioned write: the driver may have tried it on several nodes, and tells the last answer only.
pub fn write(error: &ExecutionError) -> StoreError {
    match error {
        ExecutionError::BadQuery(bad) => {
            StoreError::Damaged(format!("a statement that cannot be sent: {bad}"))
        }
        _ => unavailable(error, Outcome::Unknown),
    }
}

/// A conditional write, which is sent at most once.
pub fn conditional(error: &ExecutionError) -> StoreError {
    let outcome =
        if never_sent(error) || refused_by_quorum(error) { Outcome::NoEffect } else { Outcome::Unknown };
    match error {
        ExecutionError::BadQuery(bad) => {
            StoreError::Damaged(format!("a statement that cannot be sent: {bad}"))
        }
        _ => unavailable(error, outcome),
    }
}

/// No node was there to be asked.
const fn never_sent(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::EmptyPlan
            | ExecutionError::ConnectionPoolError(_)
            | ExecutionError::PrepareError(_)
            | ExecutionError::LastAttemptError(
                RequestAttemptError::SerializationError(_)
                    | RequestAttemptError::CqlRequestSerialization(_)
                    | RequestAttemptError::UnableToAllocStreamId
            )
    )
}

/// Too few replicas live to agree on anything; told before the first of them is asked. The same word at the normal level
/// comes from the commit, when the write may be decided already.
const fn refused_by_quorum(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(
            DbError::Unavailable { consistency: Consistency::Serial | Consistency::LocalSerial, .. },
            _
        ))
    )
}

/// A statement that could not be prepared was not executed.
pub fn prepare(error: &PrepareError) -> StoreError {
    StoreError::Unavailable { reason: chain(error), outcome: Outcome::NoEffect }
}

fn unavailable(error: &ExecutionError, outcome: Outcome) -> StoreError {
    StoreError::Unavailable { reason: chain(error), outcome }
}

/// What is stored does not have the columns that we wrote.
pub fn damaged(what: &str, error: &dyn std::error::Error) -> StoreError {
    StoreError::Damaged(format!("{what}: {error}"))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // Many errors of the driver repeat their cause.
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

/// A session that did not come about: what waiting cures, and what only an operator does.
pub fn connect(nodes: &[String], error: &NewSessionError) -> StoreError {
    if let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(ConnectionPoolError::Broken {
        last_connection_error,
    })) = error
        && let Some(problem) = refusal(last_connection_error)
    {
        return StoreError::Refused {
            problem,
            advice: "name a user that the store knows, with its password (in a file, not on a command line)"
                .to_owned(),
        };
    }
    StoreError::Unavailable {
        reason: format!("{}: {}", nodes.join(", "), chain(error)),
        outcome: Outcome::NoEffect,
    }
}

fn refusal(error: &ConnectionError) -> Option<String> {
    let ConnectionError::ConnectionSetupRequestError(setup) = error else { return None };
    match setup.get_error() {
        ConnectionSetupRequestErrorKind::DbError(
            DbError::AuthenticationError | DbError::Unauthorized,
            text,
        ) => Some(format!("the store refused the user: {text}")),
        ConnectionSetupRequestErrorKind::MissingAuthentication => {
            Some("the store asks for a user and none is named".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scylla::errors::WriteType;
    use std::time::Duration;

    fn answer(error: DbError) -> ExecutionError {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, "as told".to_owned()))
    }

    fn timeout(write_type: WriteType) -> ExecutionError {
        answer(DbError::WriteTimeout {
            consistency: Consistency::Serial,
            received: 1,
            required: 2,
            write_type,
        })
    }

    const fn unavailable_at(consistency: Consistency) -> DbError {
        DbError::Unavailable { consistency, required: 2, alive: 1 }
    }

    /// The table of engines.md, line by line.
    #[test]
    fn only_what_is_named_is_certain() {
        let certain = [
            answer(unavailable_at(Consistency::Serial)),
            answer(unavailable_at(Consistency::LocalSerial)),
            ExecutionError::EmptyPlan,
            ExecutionError::ConnectionPoolError(ConnectionPoolError::Initializing),
            ExecutionError::LastAttemptError(RequestAttemptError::UnableToAllocStreamId),
        ];
        for error in certain {
            assert_eq!(conditional(&error).outcome(), Outcome::NoEffect, "{error}");
        }
        let unknown = [
            answer(unavailable_at(Consistency::LocalQuorum)),
            answer(unavailable_at(Consistency::Quorum)),
            timeout(WriteType::Cas),
            timeout(WriteType::Simple),
            answer(DbError::WriteFailure {
                consistency: Consistency::Serial,
                received: 0,
                required: 2,
                numfailures: 2,
                write_type: WriteType::Cas,
            }),
            answer(DbError::ReadTimeout {
                consistency: Consistency::Serial,
                received: 0,
                required: 1,
                data_present: false,
            }),
            answer(DbError::Overloaded),
            answer(DbError::IsBootstrapping),
            answer(DbError::ServerError),
            answer(DbError::Invalid),
            answer(DbError::Other(0x1700)),
            ExecutionError::RequestTimeout(Duration::from_secs(1)),
        ];
        for error in unknown {
            assert_eq!(conditional(&error).outcome(), Outcome::Unknown, "{error}");
        }
    }

    #[test]
    fn reads_have_no_effect_and_writes_are_never_certain() {
        let error = answer(unavailable_at(Consistency::LocalQuorum));
        assert_eq!(read(&error).outcome(), Outcome::NoEffect);
        assert_eq!(write(&error).outcome(), Outcome::Unknown);
        assert_eq!(write(&ExecutionError::EmptyPlan).outcome(), Outcome::Unknown);
    }
}
