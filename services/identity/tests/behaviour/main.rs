//! Identity as its callers see it: through the generated clients, over the in-process transport, on either ground
//! (`p92_eventlog::ground`).

// A test says by a panic what it expected.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod erasure;
mod find;
mod moderation;
mod oauth;
mod relationships;
mod remote;
mod restart;
mod servers;
mod sign_in;
mod sign_up;
mod world;
