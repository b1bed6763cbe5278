//! What an operator may choose about ranking.

p92_chassis::config! {
    /// Trends.
    pub struct Config {
        /// A tag is shown only if at least so many members used it on one of the last two days, so that nobody is pointed
        /// at by a tag of his own.
        pub accounts: u64 = 3,
    }
}
