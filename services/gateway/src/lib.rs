//! The one door in: Mastodon HTTP and streaming, public gRPC, web pages.
//!
//! It finds the server by host, knows the caller by token, counts rates, translates, gathers what a page needs with one
//! call per kind, and streams. It owns no data, reads no log and no store: it knows messages of `proto` and the clients
//! that the node hands in. Only here (and in `activitypub`) a post is called a status.

pub mod config;
pub mod door;
pub mod error;
pub mod gate;
pub mod params;

pub use config::Config;
pub use gate::{Deps, Gate};
