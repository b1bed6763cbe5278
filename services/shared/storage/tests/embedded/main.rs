//! The embedded engine as its callers and its operators meet it: the suite of all engines, the directory, damage,
//! commits, a disk that fails, and random histories against a model.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene ends")]
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "likewise")]

mod commits;
mod conformance;
mod damage;
mod directory;
mod failing;
mod model;
mod scene;
