//! The cause of a failure that another replica would not have: it holds what was asked for.
//!
//! It travels as the source of a [`crate::Failure`], so that no method of a service has to know of it. Whoever stands
//! before the service finds it there and passes the call on; the public never sees it.

use crate::{Service, Shard};
use std::fmt;

/// A slot is held by another replica, or is on its way to one. Nothing was done here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    pub service: Service,
    pub shard: Shard,
    /// Where its holder is reached (`host:port`); `None` while that is not known.
    pub address: Option<String>,
    /// Whether the call can be answered here all the same, at a higher price, if the holder cannot be asked.
    pub here_too: bool,
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Some(address) => write!(f, "{}/{} is held at {address}", self.service, self.shard),
            None => write!(f, "{}/{} is on its way", self.service, self.shard),
        }
    }
}

impl std::error::Error for Elsewhere {}
