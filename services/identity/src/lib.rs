//! Servers, accounts, relationships, credentials and tokens.
