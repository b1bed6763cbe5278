//! What an operator may choose about federation-delivery.

p92_chassis::config! {
    /// What other hosts must get.
    pub struct Config {
        /// Inboxes on this machine, over plain http too, count as addresses. For trials only.
        pub loopback: bool = false,
    }
}
