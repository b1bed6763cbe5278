//! What an operator can set about the door. Defaults fit a laptop.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The door's settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Scheme, host and port of the default server. If its host is a loopback name, every loopback name leads there.
    pub public_url: String,
    /// Largest body of a request, in bytes. More is refused before it is read.
    pub body_limit: usize,
    /// How long a token, a server or its counts may be taken from memory, in milliseconds. At most 1,000, since a
    /// revoked token must be refused within a second.
    pub cache_ms: u64,
    /// Addresses of proxies whose `X-Forwarded-For` is believed. From anybody else it is ignored.
    pub trusted_proxies: Vec<IpAddr>,
    /// How often callers may knock.
    pub rates: Rates,
    /// A streaming socket is told something at least this often, in milliseconds.
    pub heartbeat_ms: u64,
    /// Where the source of this installation can be had; shown in the instance document. May be empty.
    pub source_url: String,
    /// Streaming sockets that one account may hold open.
    pub sockets_per_account: usize,
}

/// How often callers may knock. Each is a number of requests in five minutes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// Per account with a token, over all its tokens.
    pub account: u32,
    /// Per address (IPv6: per /64) without a token.
    pub address: u32,
    /// Sign-ups, per address.
    pub sign_ups: u32,
    /// Passwords and codes tried, per address.
    pub passwords: u32,
    /// Passwords tried for one login, from wherever.
    pub passwords_per_login: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { account: 1_500, address: 600, sign_ups: 50, passwords: 50, passwords_per_login: 25 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            public_url: "http://127.0.0.1:8092".to_owned(),
            body_limit: 64 * 1024,
            cache_ms: 1_000,
            trusted_proxies: Vec::new(),
            rates: Rates::default(),
            heartbeat_ms: 15_000,
            source_url: String::new(),
            sockets_per_account: 50,
        }
    }
}
