//! Services in processes of their own, in several replicas, over one store: what one knows, every other finds.

// A test says by a panic what it expected.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod aside;
mod ground;
mod homes;
mod moves;
mod posts;
mod public;
mod real;
mod rebuilds;
mod shared;
mod world;
