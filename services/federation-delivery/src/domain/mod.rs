//! Who must get what, as functions of what happened and when. Pure.

pub mod plan;
pub mod span;

pub use plan::{Activity, Kind, Reason, Remote, Visibility, World, plan};
pub use span::Spans;
