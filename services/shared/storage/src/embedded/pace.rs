//! Compaction in small steps, so that nobody who waits for an answer waits behind it.
//!
//! The engine underneath compacts as fast as it can: a core is gone for hundreds of milliseconds, and on a machine that is
//! half busy everybody queues meanwhile (p99 of a post's way into a home was twice what it is now, `tests/load`). It asks
//! a filter about each row, which is the one place where it can be held up: ours keeps every row and rests between
//! steps, unless there is a reason to hurry. It must not know what the rows are.

use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Work between two rests.
const STEP: Duration = Duration::from_micros(500);
/// Rows between two looks at the clock.
const LOOK: u32 = 64;
/// A rest is so many times as long as the work before it: compaction has a fifth of a core.
const REST: u32 = 4;
/// A step may have waited for the disk, or for a core; nobody needs to rest from that.
const LONGEST: Duration = Duration::from_millis(20);

/// Whether compaction takes its time. It hurries while writes come faster than it follows, and when the store is closed,
/// which waits for it.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    hurried: Arc<AtomicBool>,
}

impl Pace {
    /// Says whether there is a reason to hurry.
    pub fn hurry(&self, reason: bool) {
        self.hurried.store(reason, Ordering::Relaxed);
    }

    fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Relaxed)
    }
}

impl Factory for Pace {
    fn name(&self) -> &'static str {
        "pace"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Steps { pace: self.clone(), since: Instant::now(), rows: 0 })
    }
}

/// One compaction.
struct Steps {
    pace: Pace,
    since: Instant,
    rows: u32,
}

impl CompactionFilter for Steps {
    fn filter_item(&mut self, _: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        self.rows += 1;
        if self.rows >= LOOK {
            self.rows = 0;
            let worked = self.since.elapsed();
            if worked >= STEP {
                if !self.pace.is_hurried() {
                    std::thread::sleep((worked * REST).min(LONGEST));
                }
                self.since = Instant::now();
            }
        }
        Ok(Verdict::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::EmbeddedConfig;
    use crate::embedded::layout::{Space, Spaces};
    use fjall::Database;

    fn opened(dir: &std::path::Path, pace: &Pace) -> Spaces {
        let factory: Arc<dyn Factory> = Arc::new(pace.clone());
        let database = Database::builder(dir)
            .worker_threads(1)
            .with_compaction_filter_factories(Arc::new(move |_| Some(Arc::clone(&factory))))
            .open()
            .unwrap();
        Spaces::of_database(database, &EmbeddedConfig::at(dir), pace.clone()).unwrap()
    }

    #[test]
    fn what_is_compacted_in_steps_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let pace = Pace::default();
        let spaces = opened(dir.path(), &pace);
        let keyspace = spaces.of(Space::View);
        // Each round writes over a part of the one before it, and removes a part.
        for round in 0_u32..6 {
            for row in 0_u32..4_000 {
                let key = (round * 1_000 + row).to_be_bytes();
                if row % 7 == 0 { keyspace.remove(key) } else { keyspace.insert(key, round.to_be_bytes()) }
                    .unwrap();
            }
            keyspace.rotate_memtable_and_wait().unwrap();
        }
        keyspace.major_compact().unwrap();
        for row in 0_u32..9_000 {
            let round = (row / 1_000).min(5);
            let expected = ((row - round * 1_000) % 7 != 0).then(|| round.to_be_bytes().to_vec());
            let found = keyspace.get(row.to_be_bytes()).unwrap().map(|value| value.to_vec());
            assert_eq!(found, expected, "{row}");
        }
        assert!(!pace.is_hurried());
    }

    #[test]
    fn it_takes_its_time_while_nobody_is_ahead_and_hurries_when_the_store_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let pace = Pace::default();
        let spaces = opened(dir.path(), &pace);
        pace.hurry(true);
        assert!(!spaces.is_behind() && !pace.is_hurried(), "nobody is ahead");
        drop(spaces);
        assert!(pace.is_hurried());
    }
}
