//! Ids in paths. What is no id names nothing: 404, like everything that does not exist.

use crate::error::Problem;
use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use p92_kernel::Id;

/// The one id of a path.
#[derive(Clone, Copy, Debug)]
pub struct PathId(pub u64);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) =
            Path::<String>::from_request_parts(parts, state).await.map_err(|_| Problem::not_found())?;
        text.parse::<Id>().map(|id| Self(id.get())).map_err(|_| Problem::not_found())
    }
}

/// The one word of a path.
#[derive(Clone, Debug)]
pub struct PathWord(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathWord {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let word = Path::<String>::from_request_parts(parts, state).await;
        word.map(|Path(word)| Self(word)).map_err(|_| Problem::not_found())
    }
}
