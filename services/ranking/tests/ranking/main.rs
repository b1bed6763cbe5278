//! Ranking through its generated client, on either ground (`p92_eventlog::ground`), beside a log of posting that the tests
//! write as posting would.

// A test says by a panic what it expected.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod trends;
mod world;
