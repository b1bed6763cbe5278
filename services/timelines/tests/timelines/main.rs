//! Timelines through the generated clients, on either ground (`p92_eventlog::ground`), with real logs of identity and
//! posting beside it.

// A test says by a panic what it expected.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod away;
mod double;
mod golden;
mod homes;
mod lists;
mod live;
mod slots;
mod world;
