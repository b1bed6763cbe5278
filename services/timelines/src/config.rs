//! What an operator may set of timelines.

use serde::{Deserialize, Serialize};

/// Timelines. The defaults suit a laptop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Users whose homes are kept in memory, those who read last. Each costs at most 8 bytes an entry and 32 bytes.
    pub active_users: usize,
    /// A home in memory has at most two to this power entries, at most 9, which is 512.
    pub entries_power: u8,
    /// Posts and boosts of which is kept in memory what the rules need; about 80 bytes each.
    pub recent_posts: usize,
    /// Parts of the memory with locks of their own.
    pub partitions: usize,
    /// Homes that are put together from outboxes at a time.
    pub merges_at_once: usize,
    /// Homes that may wait for that; more are turned away.
    pub merges_waiting: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            active_users: 20_000,
            entries_power: 9,
            recent_posts: 100_000,
            partitions: 4,
            merges_at_once: 16,
            merges_waiting: 256,
        }
    }
}
