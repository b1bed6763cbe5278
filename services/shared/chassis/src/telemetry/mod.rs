//! What a process tells of itself.

pub mod fields;
pub mod metrics;
