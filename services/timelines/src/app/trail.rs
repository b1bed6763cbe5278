//! How far a live stream has told the logs, and the cursor by which it goes on elsewhere.
//!
//! A cursor says up to which ends of groups everything was sent, and what was sent beyond. Whoever goes on reads the logs
//! from those ends, leaves out what was sent, and takes up the fan-out where the logs end: no gap, no double. It refuses to
//! know what a stream shows.

use super::marks::Marks;
use bytes::Bytes;
use p92_eventlog::owner::read_groups;
use p92_eventlog::{Group, Platform};
use p92_kernel::{Failure, Position, Seq, Service, ShardCount};
use p92_proto::timelines::v1 as proto;
use p92_storage::LogKey;
use prost::Message as _;
use std::collections::{BTreeMap, VecDeque};

/// Events that a cursor may lie behind; farther back a stream begins anew.
const BEHIND: u64 = 20_000;
/// Ids in a cursor at most, of each kind.
const IDS: usize = 48;

/// Where one stream stands.
#[derive(Debug)]
pub struct Trail {
    shards: ShardCount,
    /// Everything up to these ends was sent.
    ends: BTreeMap<LogKey, Seq>,
    /// The ends of the cursor by which the stream goes on; none if it begins.
    begun_at: BTreeMap<LogKey, Seq>,
    /// Sent beyond the ends, in order.
    sent: VecDeque<u64>,
    /// Posts that were shown last, if the stream keeps them.
    shown: VecDeque<u64>,
    /// Events up to here are not heeded when the fan-out brings them: they were looked up.
    replayed: BTreeMap<LogKey, Seq>,
}

impl Trail {
    /// A stream that begins where memory stands.
    #[must_use]
    pub fn begin(marks: &Marks, shards: ShardCount) -> Self {
        let (begun_at, replayed) = (BTreeMap::new(), BTreeMap::new());
        let ends = marks.ends();
        Self { shards, ends, begun_at, sent: VecDeque::new(), shown: VecDeque::new(), replayed }
    }

    /// Goes on where a cursor says; nothing of what it lies behind was told yet.
    pub fn take_up(&mut self, cursor: &Bytes) -> Result<(), Failure> {
        let cursor = proto::WatchCursor::decode(cursor.clone())
            .map_err(|_| Failure::invalid("cursor", "BAD_CURSOR", "This is not a cursor of this stream."))?;
        let shards = self.shards;
        let of = |service: Service, ends: &[u64]| -> Vec<(LogKey, Seq)> {
            shards.all().zip(ends).map(|(shard, end)| (LogKey { service, shard }, Seq(*end))).collect()
        };
        // All of them before the first message, whose cursor must not say that the other logs were sent too.
        let posting = of(Service::Posting, &cursor.posting);
        self.ends = of(Service::Identity, &cursor.identity).into_iter().chain(posting).collect();
        self.begun_at = self.ends.clone();
        self.sent = cursor.sent.into_iter().take(IDS).collect();
        self.shown = cursor.shown.into_iter().take(IDS).collect();
        Ok(())
    }

    /// Waits until everything is applied whose application began before the fan-out came here, since that must be looked
    /// up: all later things come by it. Up to where that is.
    pub async fn settled(marks: &Marks) -> BTreeMap<LogKey, Seq> {
        let begun = marks.all_begun();
        for (log, seq) in &begun {
            marks.wait(Position { service: log.service, shard: log.shard, seq: *seq }).await;
        }
        begun
    }

    /// The logs that the cursor lies behind: each with the end where it stands, and the place up to which it must be read.
    pub fn behind(&self, upto: &BTreeMap<LogKey, Seq>) -> Result<Vec<(LogKey, Seq, Seq)>, Failure> {
        let mut behind = Vec::new();
        for (log, from) in &self.begun_at {
            let upto = upto.get(log).copied().unwrap_or_default();
            if upto.0.saturating_sub(from.0) > BEHIND {
                return Err(Failure::invalid("cursor", "CURSOR_TOO_OLD", "Open the stream anew."));
            }
            if *from < upto {
                behind.push((*log, *from, upto));
            }
        }
        Ok(behind)
    }

    /// The groups behind a place, of which the last may go on past what must be read.
    pub async fn missed(platform: &Platform, log: LogKey, from: Seq) -> Result<Vec<Group>, Failure> {
        read_groups(platform, log, from, None).await.map_err(p92_eventlog::error::store_failure)
    }

    /// A group was told whole.
    pub fn told(&mut self, log: LogKey, end: Seq) {
        self.ends.insert(log, end);
    }

    /// From here on the fan-out tells.
    pub fn replayed(&mut self, upto: BTreeMap<LogKey, Seq>) {
        self.replayed = upto;
        // What the client had already may still be on its way to this process.
        raise(&mut self.replayed, &self.begun_at);
    }

    /// Whether an event was looked up, and is not to be heeded again.
    #[must_use]
    pub fn is_replayed(&self, log: LogKey, seq: Seq) -> bool {
        self.replayed.get(&log).is_some_and(|upto| seq <= *upto)
    }

    /// Nothing waits to be sent: everything applied up to these ends was.
    pub fn all_sent(&mut self, mut ends: BTreeMap<LogKey, Seq>) {
        raise(&mut ends, &self.begun_at);
        self.ends = ends;
        self.sent.clear();
    }

    /// Whether something was sent beyond the ends.
    #[must_use]
    pub fn is_sent(&self, id: u64) -> bool {
        self.sent.contains(&id)
    }

    /// Something is sent.
    pub fn send(&mut self, id: u64) {
        push(&mut self.sent, id);
    }

    /// A post is shown, and the next process shall know it.
    pub fn show(&mut self, post: u64) {
        push(&mut self.shown, post);
    }

    /// The posts that were shown last.
    pub fn shown(&self) -> impl Iterator<Item = u64> {
        self.shown.iter().copied()
    }

    /// Where the stream goes on behind what was sent until now.
    #[must_use]
    pub fn cursor(&self) -> Bytes {
        let of = |service: Service| -> Vec<u64> {
            let end = |shard| self.ends.get(&LogKey { service, shard }).map_or(0, |end| end.0);
            self.shards.all().map(end).collect()
        };
        let cursor = proto::WatchCursor {
            identity: of(Service::Identity),
            posting: of(Service::Posting),
            sent: self.sent.iter().copied().collect(),
            shown: self.shown.iter().copied().collect(),
        };
        cursor.encode_to_vec().into()
    }
}

fn push(ids: &mut VecDeque<u64>, id: u64) {
    ids.push_back(id);
    if ids.len() > IDS {
        ids.pop_front();
    }
}

/// Brings ends of logs up to others where they are lower.
fn raise(ends: &mut BTreeMap<LogKey, Seq>, to: &BTreeMap<LogKey, Seq>) {
    for (log, least) in to {
        let end = ends.entry(*log).or_default();
        *end = (*end).max(*least);
    }
}
