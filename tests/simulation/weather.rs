//! What goes wrong at the store, by seed: answers that come late, get lost before or after the effect, requests that
//! land long after their caller gave up, projections that stop half way.

use crate::time::chance;
use crate::world::Noted;
use p92_storage::memory::{Answer, Fault, Faults, Request};
use parking_lot::Mutex;
use rand::RngExt as _;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The store's faults in one history.
#[derive(Debug)]
pub struct Weather {
    random: Mutex<StdRng>,
    calm: Arc<AtomicBool>,
    noted: Arc<Mutex<Noted>>,
    /// Whether projections stop half way, and are not repeated by whoever asked.
    tears: bool,
}

impl Weather {
    pub fn new(seed: u64, tears: bool, calm: Arc<AtomicBool>, noted: Arc<Mutex<Noted>>) -> Self {
        Self { random: Mutex::new(chance(seed, 1)), calm, noted, tears }
    }
}

fn millis(random: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(random.random_range(range))
}

impl Faults for Weather {
    fn next(&self, request: &Request) -> Fault {
        if self.calm.load(Ordering::SeqCst) {
            return Fault::Sound;
        }
        let random = &mut *self.random.lock();
        let roll = random.random_range(0..100);
        let told = millis(random, 5..400);
        match request {
            Request::Append { .. } => match roll {
                0..3 => Fault::Lost { told },
                3..8 => Fault::Unanswered { told },
                8..13 => Fault::Lands { told, after: millis(random, 300..9_000) },
                13..15 => Fault::Torn { steps: random.random_range(0..2) },
                15..17 => Fault::Refused,
                17..25 => Fault::Late { before: told, after: told / 4 },
                _ => Fault::Sound,
            },
            Request::Project(batch) => match roll {
                0..3 => Fault::Lost { told },
                3..6 => Fault::Unanswered { told },
                6..9 => Fault::Lands { told, after: millis(random, 300..9_000) },
                9..14 if self.tears => Fault::Torn { steps: random.random_range(0..batch.writes.len() + 3) },
                // Long enough for another round to be decided on what is laid over.
                14..50 => Fault::Late { before: told / 2, after: told / 8 },
                _ => Fault::Sound,
            },
            Request::Write(_)
            | Request::Destroy(_)
            | Request::Insert { .. }
            | Request::Set { .. }
            | Request::Delete { .. }
            | Request::Clear(_) => match roll {
                0..2 => Fault::Lost { told },
                2..4 => Fault::Unanswered { told },
                4..5 => Fault::Refused,
                5..8 => Fault::Late { before: told, after: told },
                _ => Fault::Sound,
            },
            _ => match roll {
                0..1 => Fault::Refused,
                1..4 => Fault::Late { before: told / 2, after: told / 2 },
                _ => Fault::Sound,
            },
        }
    }

    fn happened(&self, request: &Request, answer: &Answer) {
        let at = turmoil::sim_elapsed().unwrap_or_default();
        self.noted.lock().happened(at, request, answer);
    }
}
