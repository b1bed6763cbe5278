//! The CQL engine against a real server: the suite of all engines, and what belongs to this one alone.
//!
//! `P92_TEST_CQL=host:port` names a server whose keyspaces `p92_test_*` may be made and dropped;
//! `deploy/local/cassandra.py start --dir DIR` starts one.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene ends")]
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "likewise")]

mod conformance;
mod migrations;
mod outcomes;
mod proxy;
mod rows;
mod scene;
mod security;
