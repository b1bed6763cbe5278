//! What an operator may choose about posting. Defaults fit a laptop.

p92_chassis::config! {
    /// Posting: posts, reactions, what was cleaned up after them.
    pub struct Config {
        /// How many posts or reactions one command ends when an account is erased or a post deleted. Smaller steps let
        /// other commands of the shard through sooner.
        pub cleanup_step: usize = 25,
    }
}
