//! How far this memory has applied each log it reads, with deliveries to very many followers still under way.

use p92_eventlog::progress::{Mark, Progress, Running};
use p92_kernel::{Position, Seq, Service};
use p92_storage::LogKey;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// One log.
#[derive(Debug, Default)]
struct Place {
    /// The last event whose application has begun.
    begun: u64,
    /// The last event that was applied, but for deliveries.
    last: u64,
    /// Events whose deliveries are under way.
    pending: BTreeSet<u64>,
    /// Ends of groups that are not wholly applied yet.
    ends: VecDeque<u64>,
    /// The last end of a group up to which everything is applied.
    end: u64,
}

impl Place {
    fn applied(&self) -> u64 {
        self.pending.first().map_or(self.last, |first| first.saturating_sub(1).min(self.last))
    }
}

/// Every log that the memory reads.
#[derive(Debug)]
pub struct Marks {
    name: Arc<str>,
    progress: Arc<Progress>,
    places: Mutex<HashMap<LogKey, Place>>,
}

impl Marks {
    /// Marks on the board of the process, under this name.
    #[must_use]
    pub fn new(name: &str, progress: Arc<Progress>) -> Self {
        Self { name: name.into(), progress, places: Mutex::default() }
    }

    fn at<T>(&self, log: LogKey, change: impl FnOnce(&mut Place) -> T) -> T {
        let mut places = self.places.lock();
        let place = places.entry(log).or_default();
        let done = change(place);
        let applied = place.applied();
        while place.ends.front().is_some_and(|end| *end <= applied) {
            place.end = place.ends.pop_front().unwrap_or(place.end);
        }
        drop(places);
        self.progress.reached(&Mark::reader(&self.name, log), Seq(applied));
        done
    }

    /// The log is read from behind this place, the end of a group.
    pub fn begin(&self, log: LogKey, from: Seq) {
        self.at(log, |place| *place = Place { begun: from.0, last: from.0, end: from.0, ..Place::default() });
    }

    /// The log is read, until what is returned is dropped.
    #[must_use]
    pub fn run(&self, log: LogKey) -> Running {
        self.progress.run(Service::Timelines, Mark::reader(&self.name, log))
    }

    /// A group comes.
    pub fn group(&self, log: LogKey, end: Seq) {
        self.at(log, |place| place.ends.push_back(end.0));
    }

    /// An event is being applied.
    pub fn begun(&self, log: LogKey, seq: Seq) {
        self.at(log, |place| place.begun = seq.0);
    }

    /// An event is applied, though its delivery may go on.
    pub fn applied(&self, log: LogKey, seq: Seq, delivering: bool) {
        self.at(log, |place| {
            if delivering {
                place.pending.insert(seq.0);
            }
            place.last = seq.0;
        });
    }

    /// A delivery has ended.
    pub fn delivered(&self, log: LogKey, seq: Seq) {
        self.at(log, |place| place.pending.remove(&seq.0));
    }

    /// Waits until a position is applied; for a log that is not read, not at all.
    pub async fn wait(&self, position: Position) {
        if matches!(position.service, Service::Identity | Service::Posting) {
            let log = p92_eventlog::progress::log_of(position);
            self.progress.wait(&Mark::reader(&self.name, log), position.seq).await;
        }
    }

    /// Up to where each log is applied.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        let places = self.places.lock();
        let position = |(log, place): (&LogKey, &Place)| Position {
            service: log.service,
            shard: log.shard,
            seq: Seq(place.applied()),
        };
        places.iter().map(position).collect()
    }

    /// The last event begun in each log.
    #[must_use]
    pub fn all_begun(&self) -> BTreeMap<LogKey, Seq> {
        self.places.lock().iter().map(|(log, place)| (*log, Seq(place.begun))).collect()
    }

    /// The ends of groups up to which each log is applied.
    #[must_use]
    pub fn ends(&self) -> BTreeMap<LogKey, Seq> {
        self.places.lock().iter().map(|(log, place)| (*log, Seq(place.end))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p92_kernel::Shard;

    #[test]
    fn what_is_still_being_delivered_is_not_applied() {
        let log = LogKey { service: Service::Posting, shard: Shard(0) };
        let marks = Marks::new("test", Arc::default());
        let applied = || marks.positions().first().map(|position| position.seq.0);
        marks.begin(log, Seq(10));
        marks.group(log, Seq(12));
        marks.applied(log, Seq(11), true);
        marks.applied(log, Seq(12), false);
        assert_eq!((applied(), marks.ends()[&log]), (Some(10), Seq(10)));
        marks.delivered(log, Seq(11));
        assert_eq!((applied(), marks.ends()[&log]), (Some(12), Seq(12)));
    }
}
