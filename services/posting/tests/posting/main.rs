//! Posting through its generated clients, on either ground (`p92_eventlog::ground`), with nothing else running.

// A test says by a panic what it expected.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod counts;
mod directory;
mod endings;
mod installation;
mod lists;
mod posts;
mod reactions;
mod remote;
mod rights;
mod threads;
