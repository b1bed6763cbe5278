//! Servers, accounts, relationships, credentials and tokens.

pub mod domain;
pub mod wire;
