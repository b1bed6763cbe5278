//! The shapes that Mastodon apps read, and how messages of the services become them.
//!
//! Ids are texts, moments ISO 8601, absent values null. Nothing is asked for here: what is needed is handed in.

pub mod account;
pub mod instance;
pub mod notification;
pub mod relationship;
pub mod status;

use p92_kernel::Millis;

/// A moment; `None` for 0.
#[must_use]
pub fn moment(ms: u64) -> Option<String> {
    (ms != 0).then(|| Millis(ms).iso8601())
}

/// A text; `None` if it is empty.
#[must_use]
pub fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// An id; `None` for 0.
#[must_use]
pub fn some_id(id: u64) -> Option<String> {
    (id != 0).then(|| id.to_string())
}
