//! The bus between processes on a real NATS server, which is killed, wiped and stripped under it.
//!
//! Each test has a server of its own, on a port that is free; `P92_TEST_NATS_SERVER` says which program it is.

// A test says by a panic what it expected.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod access;
mod faults;
mod flow;
mod proof;
mod queue;
mod readers;
mod rights;
mod server;
mod streams;
#[allow(dead_code, reason = "the world of the log's own tests, of which the readers need a part")]
#[path = "../log/world.rs"]
mod world;

use p92_eventlog::bus::conformance::Ends;
use server::{Server, bus};

/// What is published by one process and heard by another.
async fn nats() -> (Ends, Server) {
    let server = Server::start().await;
    let publishes = bus(&server).await;
    let listens = bus(&server).await;
    (Ends { publishes, listens }, server)
}

p92_eventlog::bus_conformance_tests!(nats);
