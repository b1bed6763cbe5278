//! How long the end of a process may take, and how an operator says so.
//!
//! It refuses to know what the time is for.

use crate::config::HumanDuration;
use std::time::Duration;

/// How long each part of the end may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Serving on while nobody is sent here any more.
    pub drain: Duration,
    /// What is under way ends.
    pub work: Duration,
    /// Each of the last steps.
    pub step: Duration,
}

impl Times {
    /// Behind a load balancer: endpoints are told with a delay.
    pub const CLUSTER: Self =
        Self { drain: Duration::from_secs(5), work: Duration::from_secs(20), step: Duration::from_secs(5) };
    /// Alone: whoever pressed Ctrl-C waits.
    pub const ALONE: Self = Self { drain: Duration::ZERO, ..Self::CLUSTER };
}

crate::config! {
    /// How long each part of the process's end may take. An orchestrator's own patience must be longer than all.
    pub struct ShutdownConfig {
        /// How long to serve on after the signal, while whoever sends traffic learns of it. Not given: 5s in a
        /// cluster, nothing where the process stands alone.
        pub drain_delay: Option<HumanDuration> = None,
        /// How long calls that are under way may take to end.
        pub work_limit: HumanDuration = HumanDuration(Times::CLUSTER.work),
        /// How long each last step may take: handing slots over, closing the store, sending telemetry.
        pub step_limit: HumanDuration = HumanDuration(Times::CLUSTER.step),
    }
}

impl ShutdownConfig {
    /// The times for a process that stands alone, or for one of a cluster.
    #[must_use]
    pub fn times(&self, alone: bool) -> Times {
        let drain = if alone { Times::ALONE.drain } else { Times::CLUSTER.drain };
        Times {
            drain: self.drain_delay.map_or(drain, Duration::from),
            work: self.work_limit.into(),
            step: self.step_limit.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_depends_on_who_is_near() {
        let mut config = ShutdownConfig::default();
        assert_eq!(
            (config.times(true).drain, config.times(false).drain),
            (Duration::ZERO, Times::CLUSTER.drain)
        );
        config.drain_delay = Some(HumanDuration::secs(1));
        assert_eq!(
            (config.times(true).drain, config.times(false).drain),
            (Duration::from_secs(1), Duration::from_secs(1))
        );
    }
}
