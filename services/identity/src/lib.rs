//! Servers, accounts, relationships, credentials and tokens.

pub mod domain;
