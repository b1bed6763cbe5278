//! What goes wrong, as HTTP says it: the one mapping from the kernel's codes, and the JSON that Mastodon apps read.
//!
//! What one may not see and what does not exist are the same answer, to the byte.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use p92_kernel::{ErrorCode, Failure};
use serde::Serialize;
use serde_json::{Value, json};
use std::error::Error as _;
use std::time::Duration;

/// A failure on its way out.
#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    /// Stable, for the door's own decisions.
    pub reason: Box<str>,
    /// One sentence for people, or the word that OAuth gives it.
    pub error: String,
    /// A sentence for people, where `error` is a word.
    pub description: Option<Box<str>>,
    /// What is wrong with which field.
    pub details: Option<Box<Value>>,
    /// When a repeat makes sense.
    pub retry_after: Option<Duration>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Value>,
}

/// The status of each code. The only place that knows.
#[must_use]
pub const fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::InvalidArgument | ErrorCode::AlreadyExists | ErrorCode::FailedPrecondition => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        ErrorCode::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Unavailable | ErrorCode::DeadlineExceeded => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl Problem {
    pub fn new(status: StatusCode, reason: &str, error: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
            error: error.into(),
            description: None,
            details: None,
            retry_after: None,
        }
    }

    /// A request that cannot be read.
    pub fn malformed(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MALFORMED", error)
    }

    /// What does not exist, or must look so.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "Record not found")
    }

    /// No valid token came with it.
    #[must_use]
    pub fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "INVALID_TOKEN", "The access token is invalid")
    }

    /// The token may not do this.
    #[must_use]
    pub fn out_of_scope() -> Self {
        let words = "This action is outside the authorized scopes";
        Self::new(StatusCode::FORBIDDEN, "INSUFFICIENT_SCOPE", words)
    }

    /// A field is wrong.
    pub fn invalid(field: &str, reason: &str, words: &str) -> Self {
        let mut problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            reason,
            format!("Validation failed: {} {words}", capital(field)),
        );
        let named = json!({ field: [{ "error": error_name(reason), "description": words }] });
        problem.details = Some(Box::new(named));
        problem
    }

    /// Asked for is something that this server does not have.
    #[must_use]
    pub fn absent(what: &str) -> Self {
        let words = format!("Validation failed: this server has no {what}");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "NOT_SUPPORTED", words)
    }

    /// The same, as OAuth says it.
    #[must_use]
    pub fn into_oauth(mut self) -> Self {
        const NAMES: [&str; 8] = [
            "INVALID_CLIENT",
            "INVALID_GRANT",
            "INVALID_SCOPE",
            "UNAUTHORIZED_CLIENT",
            "UNSUPPORTED_GRANT_TYPE",
            "INVALID_REQUEST",
            "INVALID_REDIRECT_URI",
            "INVALID_TOKEN",
        ];
        let name = match self.reason.as_ref() {
            reason if NAMES.contains(&reason) => reason.to_ascii_lowercase(),
            "BAD_CREDENTIALS" => "invalid_grant".to_owned(),
            _ if self.status == StatusCode::UNPROCESSABLE_ENTITY => "invalid_request".to_owned(),
            _ => return self,
        };
        self.status =
            if name == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
        self.description = Some(std::mem::replace(&mut self.error, name).into_boxed_str());
        self.details = None;
        self
    }
}

fn capital(field: &str) -> String {
    let mut chars = field.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
        .replace('_', " ")
}

/// The name that Mastodon has for what is wrong with a field.
fn error_name(reason: &str) -> &'static str {
    const NAMES: [(&str, &str); 11] = [
        ("AGREE", "ERR_ACCEPTED"),
        ("TAKEN", "ERR_TAKEN"),
        ("LONG", "ERR_TOO_LONG"),
        ("SHORT", "ERR_TOO_SHORT"),
        ("MANY", "ERR_TOO_MANY"),
        ("EMPTY", "ERR_BLANK"),
        ("MISSING", "ERR_BLANK"),
        ("BLANK", "ERR_BLANK"),
        ("REQUIRED", "ERR_BLANK"),
        ("RESERVED", "ERR_RESERVED"),
        ("NEEDED", "ERR_BLANK"),
    ];
    NAMES.iter().find(|(part, _)| reason.contains(part)).map_or("ERR_INVALID", |(_, name)| name)
}

/// The field as the Mastodon API calls it.
fn field_name(field: &str) -> &str {
    match field {
        "handle" => "username",
        "name" | "app.name" => "client_name",
        "text" | "content.text" => "status",
        "content_warning" => "spoiler_text",
        other => other.rsplit('.').next().unwrap_or(other),
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        if failure.code == ErrorCode::NotFound {
            return Self::not_found();
        }
        if let Some(cause) = failure.source() {
            tracing::warn!(reason = %failure.reason, %cause, "a call failed");
        }
        let taken = failure.code == ErrorCode::AlreadyExists && failure.reason.ends_with("_TAKEN");
        let field = failure.field.as_deref().or_else(|| match failure.reason.as_ref() {
            "HANDLE_TAKEN" if taken => Some("username"),
            "EMAIL_TAKEN" if taken => Some("email"),
            _ => None,
        });
        let mut problem = Self::new(status_of(failure.code), &failure.reason, failure.public.clone());
        if let Some(field) = field.map(field_name) {
            problem.error = format!("Validation failed: {}", failure.public);
            let name = error_name(&failure.reason);
            let named = json!({ field: [{ "error": name, "description": failure.public }] });
            problem.details = Some(Box::new(named));
        }
        problem.retry_after = failure.retry_after;
        problem
    }
}

impl From<tonic::Status> for Problem {
    fn from(status: tonic::Status) -> Self {
        p92_chassis::status::from_status(status).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            error: &self.error,
            error_description: self.description.as_deref(),
            details: self.details.as_deref(),
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"P92\""));
        }
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_seen_says_nothing() {
        let hidden: Problem = Failure::new(ErrorCode::NotFound, "BLOCKED", "secret").into();
        assert_eq!((hidden.status, hidden.error.as_str()), (StatusCode::NOT_FOUND, "Record not found"));
    }

    #[test]
    fn fields_have_the_names_of_the_client_api() {
        let problem: Problem = Failure {
            field: Some("handle".into()),
            ..Failure::new(ErrorCode::AlreadyExists, "HANDLE_TAKEN", "It is taken.")
        }
        .into();
        assert_eq!(problem.details.unwrap()["username"][0]["error"], "ERR_TAKEN");
    }

    #[test]
    fn oauth_has_its_own_words() {
        let problem =
            Problem::from(Failure::new(ErrorCode::InvalidArgument, "INVALID_GRANT", "Used.")).into_oauth();
        assert_eq!((problem.status, problem.error.as_str()), (StatusCode::BAD_REQUEST, "invalid_grant"));
        let problem =
            Problem::from(Failure::new(ErrorCode::Unauthenticated, "INVALID_CLIENT", "No.")).into_oauth();
        assert_eq!(problem.status, StatusCode::UNAUTHORIZED);
    }
}
