//! How often one may knock: per account with a token, else per address, and less for what guesses or signs up.
//!
//! The headers say what Mastodon says. Nobody is exempt, a proxy on loopback neither.

use super::caller::Caller;
use crate::config::Rates;
use crate::error::Problem;
use governor::middleware::StateInformationMiddleware;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use p92_kernel::Millis;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The time in which a limit is counted.
const WINDOW: Duration = Duration::from_mins(5);
/// After this many requests, callers that have long been quiet are forgotten.
const SWEEP: u64 = 4_096;

type Keyed<K> = DefaultKeyedRateLimiter<K, StateInformationMiddleware>;

/// Whose requests are counted together. Buckets belong to a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Account(u64, u64),
    App(u64, u64),
    Address(u64, Option<IpAddr>),
}

/// Where a caller stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    limit: u32,
    remaining: u32,
}

impl Standing {
    /// Writes the usual headers.
    pub fn write(&self, headers: &mut HeaderMap, now: Millis) {
        let used = u64::from(self.limit.saturating_sub(self.remaining));
        let window = u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX);
        let refill = Duration::from_millis(window.saturating_mul(used) / u64::from(self.limit.max(1)));
        let values = [
            ("x-ratelimit-limit", self.limit.to_string()),
            ("x-ratelimit-remaining", self.remaining.to_string()),
            ("x-ratelimit-reset", now.plus(refill).iso8601()),
        ];
        for (name, value) in values {
            // A handler with a narrower limit of its own has already said so.
            if let (false, Ok(value)) = (headers.contains_key(name), HeaderValue::from_str(&value)) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}

/// The answer to who knocks too often.
#[must_use]
pub fn too_many(standing: &Standing) -> Problem {
    let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", "Too many requests");
    let window = WINDOW.as_secs();
    problem.retry_after = Some(Duration::from_secs((window / u64::from(standing.limit.max(1))).max(1)));
    problem
}

/// Everything that is counted.
pub struct Limits {
    accounts: (Keyed<Key>, u32),
    addresses: (Keyed<Key>, u32),
    sign_ups: (Keyed<Key>, u32),
    passwords: (Keyed<Key>, u32),
    logins: (Keyed<(u64, String)>, u32),
    counted: AtomicU64,
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Limits")
    }
}

fn keyed<K: std::hash::Hash + Eq + Clone>(per_window: u32) -> (Keyed<K>, u32) {
    let burst = NonZeroU32::new(per_window).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::with_period(WINDOW / burst.get())
        .unwrap_or_else(|| Quota::per_second(NonZeroU32::MAX))
        .allow_burst(burst);
    (RateLimiter::keyed(quota).with_middleware(), burst.get())
}

fn check<K: std::hash::Hash + Eq + Clone>(of: &(Keyed<K>, u32), key: &K) -> Result<Standing, Standing> {
    match of.0.check_key(key) {
        Ok(state) => Ok(Standing { limit: of.1, remaining: state.remaining_burst_capacity() }),
        Err(_) => Err(Standing { limit: of.1, remaining: 0 }),
    }
}

/// A whole /64 is one caller: whoever has one address of it has all.
fn coarse(address: Option<IpAddr>) -> Option<IpAddr> {
    address.map(|address| match address {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    })
}

impl Limits {
    #[must_use]
    pub fn new(rates: &Rates) -> Self {
        Self {
            accounts: keyed(rates.account),
            addresses: keyed(rates.address),
            sign_ups: keyed(rates.sign_ups),
            passwords: keyed(rates.passwords),
            logins: keyed(rates.passwords_per_login),
            counted: AtomicU64::new(0),
        }
    }

    /// Counts a request.
    pub fn count(&self, caller: &Caller) -> Result<Standing, Standing> {
        if self.counted.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            self.accounts.0.retain_recent();
            self.addresses.0.retain_recent();
            self.sign_ups.0.retain_recent();
            self.passwords.0.retain_recent();
            self.logins.0.retain_recent();
        }
        let server = caller.server.id;
        match &caller.token {
            Some(verified) if verified.token.account_id != 0 => {
                check(&self.accounts, &Key::Account(server, verified.token.account_id))
            }
            Some(verified) => check(&self.addresses, &Key::App(server, verified.token.id)),
            None => check(&self.addresses, &Key::Address(server, coarse(caller.address))),
        }
    }

    /// Counts a sign-up.
    pub fn sign_up(&self, caller: &Caller) -> Result<(), Problem> {
        let key = Key::Address(caller.server.id, coarse(caller.address));
        check(&self.sign_ups, &key).map(|_| ()).map_err(|standing| too_many(&standing))
    }

    /// Counts a password that is tried, from an address and for a login.
    pub fn password(&self, caller: &Caller, login: &str) -> Result<(), Problem> {
        let key = Key::Address(caller.server.id, coarse(caller.address));
        check(&self.passwords, &key).map_err(|standing| too_many(&standing))?;
        let login: String = login.trim().chars().take(320).collect::<String>().to_lowercase();
        check(&self.logins, &(caller.server.id, login)).map(|_| ()).map_err(|standing| too_many(&standing))
    }
}
