//! What a process hands to each of its services: engine, bus, clock, keys, membership, and the boards they share.

use crate::heads::Heads;
use crate::metrics::{self, Metrics};
use crate::pointers::ViewStates;
use crate::progress::Progress;
use crate::tasks::Tasks;
use crate::view::ViewSet;
use crate::{Bus, Keyring, Membership};
use p92_kernel::{Clock, Random, Service, ShardCount};
use p92_storage::Engine;
use std::sync::Arc;

/// One per process.
#[derive(Debug)]
pub struct Platform {
    pub engine: Arc<dyn Engine>,
    pub bus: Arc<dyn Bus>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub keyring: Arc<Keyring>,
    pub shards: ShardCount,
    /// The id of this process among the members; new at every start.
    pub member: String,
    pub membership: Arc<Membership>,
    pub progress: Arc<Progress>,
    pub heads: Arc<Heads>,
    /// Every task of the log, so that a stop can wait for them.
    pub tasks: Tasks,
    /// Set when the process stops.
    pub stopping: tokio_util::sync::CancellationToken,
}

/// What a platform is made of.
#[derive(Debug)]
pub struct Parts {
    pub engine: Arc<dyn Engine>,
    pub bus: Arc<dyn Bus>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub keyring: Arc<Keyring>,
    pub shards: ShardCount,
}

impl Platform {
    /// Becomes a member of the installation, under a new id, whom no other process reaches.
    pub fn start(parts: Parts) -> Arc<Self> {
        Self::start_at(parts, String::new())
    }

    /// The same where other replicas reach this process at an address, `host:port`.
    pub fn start_at(parts: Parts, address: String) -> Arc<Self> {
        let Parts { engine, bus, clock, random, keyring, shards } = parts;
        let member = hex::encode(p92_kernel::clock::random_bytes::<8>(&*random));
        let progress = Arc::new(Progress::default());
        metrics::tell_progress(&progress);
        let stopping = tokio_util::sync::CancellationToken::new();
        let tasks = Tasks::default();
        let membership = Membership::start_at(
            address,
            Arc::clone(&engine),
            Arc::clone(&clock),
            member.clone(),
            shards,
            &tasks,
            &stopping,
        );
        let heads = Heads::start(
            Arc::clone(&engine),
            Arc::clone(&clock),
            Arc::clone(&progress),
            Arc::clone(&bus),
            &tasks,
            &stopping,
        );
        Arc::new(Self {
            engine,
            bus,
            clock,
            random,
            keyring,
            shards,
            member,
            membership,
            progress,
            heads,
            tasks,
            stopping,
        })
    }

    /// Stops every task of the log: slots are given back, groups under way are finished.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.end().await;
        self.membership.leave().await;
    }
}

/// What the workers and readers of one service share.
#[derive(Debug)]
pub struct Shared {
    pub platform: Arc<Platform>,
    pub service: Service,
    pub own_views: ViewSet,
    pub view_states: Arc<ViewStates>,
    pub metrics: Metrics,
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::owner::Mutant>,
}

impl Shared {
    /// Whether a rule is broken on purpose, which only tests can do.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn mutated(&self, mutant: crate::owner::Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// No rule is broken on purpose.
    #[cfg(not(feature = "mutants"))]
    #[must_use]
    pub const fn mutated(&self, _mutant: crate::owner::Mutant) -> bool {
        false
    }
}
