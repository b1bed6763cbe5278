//! What an operator may choose about timelines. Defaults fit a laptop.

p92_chassis::config! {
    /// Timelines: homes, public and hashtag timelines, notifications.
    pub struct Config {
        /// Users whose homes are kept in memory, those who read last. Each costs at most 8 bytes an entry and 32 bytes.
        pub active_users: usize = 20_000,
        /// A home in memory has at most two to this power entries, at most 9, which is 512.
        pub entries_power: u8 = 9,
        /// Posts and boosts of which is kept in memory what the rules need; about 80 bytes each.
        pub recent_posts: usize = 100_000,
        /// Parts of the memory with locks of their own.
        pub partitions: usize = 4,
        /// Homes that are put together from outboxes at a time.
        pub merges_at_once: usize = 16,
        /// Homes that may wait for that; more are turned away.
        pub merges_waiting: usize = 256,
    }
}
