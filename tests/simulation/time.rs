//! Time and chance of one replica: the simulation's time, a little off on each host, and a source that repeats itself.

use p92_kernel::{Clock, Millis, Random};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::time::Duration;

/// The wall clock of a host is at most this much ahead of that of the others.
pub const SKEW: u64 = 400;

/// What time the world begins at.
pub const EPOCH: Millis = Millis(1_790_000_000_000);
/// How long before the histories begin what stands there was made.
pub const BEFORE: Duration = Duration::from_hours(1);

/// A host's clock.
#[derive(Debug)]
pub struct HostClock {
    pub ahead: Duration,
}

impl Clock for HostClock {
    fn now(&self) -> Millis {
        EPOCH.plus(BEFORE).plus(self.monotonic()).plus(self.ahead)
    }

    fn monotonic(&self) -> Duration {
        turmoil::sim_elapsed().unwrap_or_default()
    }
}

/// The clock of what runs before and after a history, on a paused runtime.
#[derive(Debug)]
pub struct StageClock {
    since: tokio::time::Instant,
    from: Millis,
}

impl StageClock {
    pub fn from(from: Millis) -> Self {
        Self { since: tokio::time::Instant::now(), from }
    }
}

impl Clock for StageClock {
    fn now(&self) -> Millis {
        self.from.plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        self.since.elapsed()
    }
}

/// Randomness that follows from a seed. Never fit for secrets; there are none here.
#[derive(Debug)]
pub struct Seeded(Mutex<StdRng>);

impl Seeded {
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self(Mutex::new(chance(seed, purpose)))
    }
}

impl Random for Seeded {
    fn fill(&self, out: &mut [u8]) {
        self.0.lock().fill_bytes(out);
    }
}

/// A generator of its own for each purpose, so that one of them drawing more moves no other.
pub fn chance(seed: u64, purpose: u64) -> StdRng {
    StdRng::seed_from_u64(seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
