//! What federation-delivery refuses, and how that looks to a caller.

use p92_kernel::Failure;

/// A request that names nobody and nothing.
#[must_use]
pub fn nothing_named(field: &'static str) -> Failure {
    Failure::invalid(field, "BAD_ID", "This is no id.")
}

/// A page token that no page gave.
#[must_use]
pub fn bad_token() -> Failure {
    Failure::invalid("page_token", "BAD_PAGE_TOKEN", "This token is not from a page of peers.")
}

/// More happened to a post than one answer takes.
#[must_use]
pub fn too_much() -> Failure {
    Failure::new(
        p92_kernel::ErrorCode::ResourceExhausted,
        "TOO_MUCH_HAPPENED",
        "More happened to this post than one answer takes.",
    )
}
