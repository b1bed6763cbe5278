//! Settings of posting.

use serde::{Deserialize, Serialize};

/// Settings of posting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many posts or reactions one command ends when an account is erased or a post deleted. Smaller steps let
    /// other commands of the shard through sooner.
    pub cleanup_step: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { cleanup_step: 25 }
    }
}
