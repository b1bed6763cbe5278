//! The engine of simulations under the suite that every engine passes, in each of its manners, and what its faults do.
//!
//! `cargo test -p p92-storage --features memory --test memory`

#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene ends")]
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "likewise")]

mod faults;
mod plain;

use p92_storage::Engine;
use p92_storage::memory::{Asked, Fault, Faults, Memory, MemoryConfig, Request};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn engine(config: MemoryConfig) -> (Arc<dyn Engine>, ()) {
    (Arc::new(Asked(Arc::new(Memory::new(config)))), ())
}

/// Each row of a projection guarded on its own, as on CQL.
mod row_by_row {
    use super::*;

    async fn fresh() -> (Arc<dyn Engine>, ()) {
        engine(MemoryConfig::default())
    }

    p92_storage::conformance_tests!(fresh);
}

/// A projection as one write, as embedded.
mod at_once {
    use super::*;

    async fn fresh() -> (Arc<dyn Engine>, ()) {
        engine(MemoryConfig { atomic: true, faults: None })
    }

    p92_storage::conformance_tests!(fresh);
}

/// With answers that come late and overtake each other.
mod late {
    use super::*;

    /// One request in eight waits before its effect, one after it, one both.
    #[derive(Debug, Default)]
    struct Dawdling(AtomicU64);

    impl Faults for Dawdling {
        fn next(&self, _: &Request) -> Fault {
            let [no, some] = [Duration::ZERO, Duration::from_millis(1)];
            match self.0.fetch_add(1, Ordering::Relaxed) % 8 {
                1 => Fault::Late { before: some, after: no },
                4 => Fault::Late { before: no, after: some },
                6 => Fault::Late { before: some, after: some },
                _ => Fault::Sound,
            }
        }
    }

    async fn fresh() -> (Arc<dyn Engine>, ()) {
        engine(MemoryConfig { atomic: false, faults: Some(Arc::new(Dawdling::default())) })
    }

    p92_storage::conformance_tests!(fresh);
}
