//! Posts, reactions, and what is counted and listed of them.

pub mod domain;
