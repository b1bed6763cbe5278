//! What happens to hosts and links in one history: crashes, pauses, partitions, links that hold everything back, and a
//! host that goes on while all others think that it is dead. All of it follows from the seed.

use crate::world::{HOSTS, STORE, World};
use rand::RngExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Faults begin after this.
const QUIET: u64 = 2_000;
/// All faults end here.
pub const CALM_AT: Duration = Duration::from_secs(30);
/// From one fault to the next.
const EVERY: u64 = 7_000;

/// What happens to a host, or to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The process is gone; later it is started again.
    Crash(usize),
    /// Nothing of the process runs.
    Pause(usize),
    /// Nothing comes through between the host and the store.
    Partition(usize),
    /// Everything between the host and the store is held back, and comes through later.
    Hold(usize),
    /// The host is cut off from everybody.
    Alone(usize),
    /// The store does not hear its beats.
    Unheard(usize),
    /// Two replicas do not hear each other.
    Deaf(usize, usize),
}

/// Something begins or ends.
#[derive(Clone, Copy, Debug)]
struct Change {
    at: Duration,
    begins: bool,
    kind: Kind,
}

/// Everything that happens in one history.
#[derive(Debug)]
pub struct Plan {
    changes: Vec<Change>,
    next: usize,
}

impl Plan {
    pub fn of(world: &World) -> Self {
        let mut random = world.chance(2);
        let mut changes = Vec::new();
        let mut at = QUIET;
        loop {
            at += random.random_range(0..EVERY);
            let host = random.random_range(0..HOSTS.len());
            let (kind, lasts) = match random.random_range(0..9) {
                0 | 1 => (Kind::Crash(host), 300..9_000),
                2 => (Kind::Pause(host), 1_000..11_000),
                3 => (Kind::Partition(host), 1_000..10_000),
                4 => (Kind::Hold(host), 1_000..10_000),
                5 => (Kind::Alone(host), 1_000..10_000),
                6 | 7 => (Kind::Unheard(host), 8_000..15_000),
                _ => (Kind::Deaf(host, (host + 1) % HOSTS.len()), 1_000..10_000),
            };
            let ends = at + random.random_range(lasts);
            if Duration::from_millis(ends) >= CALM_AT {
                break;
            }
            for (at, begins) in [(at, true), (ends, false)] {
                changes.push(Change { at: Duration::from_millis(at), begins, kind });
            }
        }
        changes.sort_by_key(|change| change.at);
        Self { changes, next: 0 }
    }

    /// How often something happens.
    pub fn faults(&self) -> usize {
        self.changes.iter().filter(|change| change.begins).count()
    }

    /// Does what is due.
    pub fn step(&mut self, sim: &mut turmoil::Sim<'_>, world: &Arc<World>) {
        while let Some(change) = self.changes.get(self.next).filter(|change| change.at <= sim.elapsed()) {
            world.line(&format_args!("{change:?}"), &String::new);
            apply(*change, sim, world);
            self.next += 1;
        }
        if sim.elapsed() >= CALM_AT && !world.calm.swap(true, Ordering::SeqCst) {
            world.line(&format_args!("calm"), &String::new);
        }
    }
}

fn apply(Change { begins, kind, .. }: Change, sim: &mut turmoil::Sim<'_>, world: &World) {
    let others = |host: usize| HOSTS.into_iter().enumerate().filter(move |(other, _)| *other != host);
    match (kind, begins) {
        (Kind::Crash(host), true) => sim.crash(HOSTS[host]),
        // Two crashes of one host may overlap.
        (Kind::Crash(host), false) if !sim.is_host_running(HOSTS[host]) => sim.bounce(HOSTS[host]),
        (Kind::Crash(_), false) => {}
        (Kind::Pause(host), paused) => world.trouble[host].paused.store(paused, Ordering::SeqCst),
        (Kind::Unheard(host), unheard) => world.trouble[host].unheard.store(unheard, Ordering::SeqCst),
        (Kind::Partition(host), true) => sim.partition(HOSTS[host], STORE),
        (Kind::Partition(host), false) => sim.repair(HOSTS[host], STORE),
        (Kind::Hold(host), true) => sim.hold(HOSTS[host], STORE),
        (Kind::Hold(host), false) => sim.release(HOSTS[host], STORE),
        (Kind::Alone(host), true) => {
            sim.partition(HOSTS[host], STORE);
            others(host).for_each(|(_, other)| sim.partition(HOSTS[host], other));
        }
        (Kind::Alone(host), false) => {
            sim.repair(HOSTS[host], STORE);
            others(host).for_each(|(_, other)| sim.repair(HOSTS[host], other));
        }
        (Kind::Deaf(one, other), true) => sim.partition(HOSTS[one], HOSTS[other]),
        (Kind::Deaf(one, other), false) => sim.repair(HOSTS[one], HOSTS[other]),
    }
}
