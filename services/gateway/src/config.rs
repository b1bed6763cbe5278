//! What an operator can set about the door. Defaults fit a laptop.

use p92_chassis::HumanDuration;
use std::net::IpAddr;

p92_chassis::config! {
    /// The door: Mastodon HTTP, streaming, pages.
    pub struct Config {
        /// Largest body of a request, in bytes. More is refused before it is read.
        pub body_limit: usize = 64 * 1024,
        /// How long a body may take to arrive.
        pub body_time: HumanDuration = HumanDuration::secs(20),
        /// How long a token or a server may be taken from memory. At most one second, since a revoked token must be
        /// refused within it.
        pub cache: HumanDuration = HumanDuration::secs(1),
        /// Addresses of proxies whose `X-Forwarded-For` is believed. From anybody else it is ignored.
        pub trusted_proxies: Vec<IpAddr> = Vec::new(),
        /// A stream is told something at least this often.
        pub heartbeat: HumanDuration = HumanDuration::secs(15),
        /// Where the source of this installation can be had; shown in the instance document. May be empty.
        pub source_url: String = String::new(),
        /// Streams that one account may hold open.
        pub sockets_per_account: usize = 50,
        /// How often callers may knock.
        pub rates: Rates,
    }
}

p92_chassis::config! {
    /// How often callers may knock. Each is a number of requests in five minutes.
    pub struct Rates {
        /// Per account with a token, over all its tokens.
        pub account: u32 = 1_500,
        /// Per address (IPv6: per /64) without a token.
        pub address: u32 = 600,
        /// Sign-ups, per address.
        pub sign_ups: u32 = 50,
        /// Passwords tried, per address.
        pub passwords: u32 = 50,
        /// Passwords tried for one login, from wherever.
        pub passwords_per_login: u32 = 25,
    }
}
