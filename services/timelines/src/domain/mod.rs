//! Timelines as pure functions and plain structures: no I/O, no clock, no randomness, no asynchrony.
//!
//! `home` says once what stands in a home. `memory` and `merge` are the two ways to compute it; `equality` (tests only)
//! holds them against each other and against the definition read word by word.

pub mod entry;
pub mod home;
pub mod marker;
pub mod memory;
pub mod merge;
pub mod notification;
pub mod window;

#[cfg(test)]
mod equality;
