//! The binary itself, run as people run it: its settings, its end, and what it tells a trace collector.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends at the first surprise"
)]

mod doctor;
mod ending;
mod looks;
mod operators;
mod running;
mod settings;
mod sharing;
mod traces;
