//! The Idempotency-Key header: the command's key, as the client chose it.

use crate::error::Problem;
use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;

/// Longest key that commands take.
const LONGEST: usize = 255;

/// The key, if there is one.
#[derive(Clone, Debug)]
pub struct Key(pub Option<String>);

impl Key {
    #[must_use]
    pub fn as_deref(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(Self(None)) };
        let text = value.to_str().map_err(|_| Problem::malformed("The Idempotency-Key cannot be read."))?;
        if text.len() > LONGEST {
            let words = "The Idempotency-Key must not be longer than 255 bytes.";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "KEY_TOO_LONG", words));
        }
        Ok(Self((!text.is_empty()).then(|| text.to_owned())))
    }
}
