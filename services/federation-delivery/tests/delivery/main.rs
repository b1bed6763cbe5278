//! Federation-delivery through its generated client, on either ground (`p92_eventlog::ground`), beside logs of identity
//! and posting that the tests write as those services would.

// A test says by a panic what it expected.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod hosts;
mod plans;
mod views;
mod world;
