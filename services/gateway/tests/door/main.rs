//! The door from outside: requests into the router, answers out of it; the services behind are doubles of their
//! contracts.

// What a test unwraps is what it asserts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod api;
mod bad_input;
mod client;
mod fragments;
mod identity;
mod lists;
mod live;
mod oauth;
mod pages;
mod posting;
mod public_grpc;
mod public_grpc_nouns;
mod public_grpc_watch;
mod timelines;
mod trends;
mod world;
