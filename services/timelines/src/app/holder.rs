//! The memory of the slots that this process holds: who feeds it, and when it may answer.
//!
//! It reads all logs of identity (from their beginning: the edges) and of posting (from where they stand: what was before
//! comes by merging). It may answer only while it has applied heads that were asked for at most [`FRESH`] ago, counted
//! from sending the question, and found its slot's ownership row naming this member in the same look.

use super::clients::Question;
use super::live::{Live, Signal, What};
use super::marks::Marks;
use super::merges::Merges;
use crate::config::Config;
use crate::consumer;
use crate::domain::memory::{Bounds, Change, Delivery, Memory, Patch};
use crate::domain::window::Window;
use p92_chassis::transport::route::is_passed_on;
use p92_eventlog::{GroupStream, Platform, Poison, Recorded, tables};
use p92_kernel::{Elsewhere, Failure, Id, Position, Seq, Service, Shard};
use p92_proto::event::v1 as event;
use p92_proto::posting::v1 as posting;
use p92_storage::{Direction, Key, KeyReader, LogKey, Range, Scan, StoreError};
use parking_lot::RwLock;
use prost::Message as _;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tracing::Instrument as _;

/// How old the question about heads may be.
pub const FRESH: Duration = Duration::from_millis(500);
/// How often heads are asked for.
const ASK_EVERY: Duration = Duration::from_millis(150);
/// A new holder merges until so long after it first saw itself in the ownership row: by then whoever held the slot before
/// has no answer left that is fresh.
const SETTLE: Duration = Duration::from_millis(600);
/// How often an event that is newer than this build is tried again.
const NEWER: Duration = Duration::from_secs(5);
/// Steps of a delivery that are done at once; what is longer waits its turn among others that are.
const STEPS_AT_ONCE: usize = 8;

/// A long delivery under way, with the event that it belongs to.
type Long = (Delivery, LogKey, Seq);

/// What becomes of a question if the holder of its slot cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// It is answered here, in the way that needs no memory.
    Here,
    /// It waits for a holder, and is refused in the end.
    Refused,
}

/// The memory of this process, and everything that keeps it true.
#[derive(Debug)]
pub struct Holder {
    pub(super) platform: Arc<Platform>,
    pub(crate) memory: Memory,
    pub(super) merges: Arc<Merges>,
    pub(super) marks: Marks,
    pub(super) live: Live,
    /// Rings were filled or patched.
    pub(super) changed: Notify,
    /// Monotonic milliseconds of the last look whose heads are applied, plus one; 0 before the first.
    fresh_at: AtomicU64,
    slots: RwLock<BTreeMap<Shard, Duration>>,
    /// An event could not be read: memory is not trusted any more, merges answer.
    distrusted: AtomicBool,
    long: mpsc::UnboundedSender<Long>,
}

impl Holder {
    /// Begins to read.
    pub async fn start(
        platform: &Arc<Platform>,
        merges: Arc<Merges>,
        config: &Config,
    ) -> Result<Arc<Self>, StoreError> {
        let bounds = Bounds {
            partitions: config.partitions.max(1),
            rings: config.active_users.max(1),
            ring_power: config.entries_power.min(9),
            recent: config.recent_posts,
        };
        let (long, queue) = mpsc::unbounded_channel();
        let holder = Arc::new(Self {
            platform: Arc::clone(platform),
            memory: Memory::new(bounds),
            merges,
            marks: Marks::new("timelines.memory", Arc::clone(&platform.progress)),
            live: Live::default(),
            changed: Notify::new(),
            fresh_at: AtomicU64::new(0),
            slots: RwLock::default(),
            distrusted: AtomicBool::new(false),
            long,
        });
        let heads = platform.heads.ask(Service::Posting).await?;
        for shard in platform.shards.all() {
            let identity = LogKey { service: Service::Identity, shard };
            let posting = LogKey { service: Service::Posting, shard };
            let from = heads.get(&shard).copied().unwrap_or_default();
            for (log, from) in [(identity, Seq(0)), (posting, from)] {
                holder.marks.begin(log, from);
                platform.tasks.spawn(Arc::clone(&holder).read(log, from));
            }
        }
        platform.tasks.spawn(Arc::clone(&holder).look());
        platform.tasks.spawn(Arc::clone(&holder).deliver_long(queue));
        Ok(holder)
    }

    /// Whether memory may answer for this viewer now.
    #[must_use]
    pub fn may_answer(&self, viewer: u64) -> bool {
        let Some(shard) = Id::new(viewer).map(Id::shard) else { return false };
        let now = self.platform.clock.monotonic();
        let settled = self.slots.read().get(&shard).is_some_and(|since| now.saturating_sub(*since) >= SETTLE);
        settled && self.is_fresh()
    }

    /// Whether memory has applied heads that were asked for lately enough.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        let now = self.platform.clock.monotonic();
        let fresh_at = self.fresh_at.load(Ordering::Acquire);
        fresh_at != 0
            && now.saturating_sub(Duration::from_millis(fresh_at - 1)) <= FRESH
            && !self.distrusted.load(Ordering::Acquire)
    }

    /// Fails if another replica holds the viewer's slot and shall be asked first.
    pub fn is_asked(&self, viewer: u64, otherwise: Otherwise) -> Result<(), Failure> {
        let Some(shard) = Id::new(viewer).map(Id::shard).filter(|_| !is_passed_on()) else { return Ok(()) };
        let membership = &self.platform.membership;
        let holder = membership.holders().borrow().get(&(Service::Timelines, shard)).cloned();
        let other =
            holder.filter(|holder| holder.lives && !holder.address.is_empty() && !membership.is_self(holder));
        let Some(other) = other else { return Ok(()) };
        Err(p92_eventlog::error::not_here().because(Elsewhere {
            service: Service::Timelines,
            shard,
            address: Some(other.address),
            here_too: otherwise == Otherwise::Here,
        }))
    }

    /// Waits until memory may answer for this viewer, at most so long.
    pub async fn wait_until_it_may(&self, viewer: u64, most: Duration) -> bool {
        let asked = async {
            while !self.may_answer(viewer) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(most, asked).await.is_ok()
    }

    /// Looks at heads and ownership rows again and again.
    async fn look(self: Arc<Self>) {
        let mut tick = tokio::time::interval(ASK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.platform.stopping.cancelled() => return,
                _ = tick.tick() => {}
            }
            if let Err(error) = self.look_once().await {
                tracing::warn!(%error, "heads could not be read; homes are merged");
            }
        }
    }

    async fn look_once(&self) -> Result<(), StoreError> {
        let heads = &self.platform.heads;
        let at = self.platform.clock.monotonic();
        let (identity, posting, held) =
            tokio::try_join!(heads.ask(Service::Identity), heads.ask(Service::Posting), self.held())?;
        let mut lost = Vec::new();
        {
            let mut slots = self.slots.write();
            slots.retain(|shard, _| {
                let kept = held.contains(shard);
                if !kept {
                    lost.push(*shard);
                }
                kept
            });
            for shard in held {
                slots.entry(shard).or_insert(at);
            }
        }
        if !lost.is_empty() {
            // Whoever holds them now keeps these homes; here they would only cost.
            let goes = |account| Id::new(account).is_some_and(|id| lost.contains(&id.shard()));
            self.memory.drop_rings(goes);
        }
        let of = |service, heads: BTreeMap<Shard, Seq>| {
            heads.into_iter().map(move |(shard, seq)| Position { service, shard, seq })
        };
        let all = async {
            for head in of(Service::Identity, identity).chain(of(Service::Posting, posting)) {
                self.marks.wait(head).await;
            }
        };
        // If it takes longer, the answer would be of no use; a new one is asked for.
        if tokio::time::timeout(FRESH, all).await.is_ok() {
            let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX - 1);
            self.fresh_at.store(at + 1, Ordering::Release);
        }
        Ok(())
    }

    /// The shards whose ownership rows name this member.
    async fn held(&self) -> Result<Vec<Shard>, StoreError> {
        let scan = Scan {
            table: tables::OWNERSHIP.only(),
            partition: Key::new().text(Service::Timelines.name()).build(),
            range: Range::all(),
            direction: Direction::Forward,
            limit: 1_000,
            after: None,
        };
        let mut held = Vec::new();
        let mut scan = scan;
        loop {
            let page = self.platform.engine.scan(&scan).await?;
            for (clustering, row) in page.rows {
                let damaged = |problem: String| StoreError::Damaged(format!("an ownership row: {problem}"));
                let shard =
                    KeyReader::new(&clustering).small().map_err(|error| damaged(error.to_string()))?;
                let owner =
                    event::OwnershipRow::decode(row.value).map_err(|error| damaged(error.to_string()))?;
                if owner.member == self.platform.member {
                    held.push(Shard(shard));
                }
            }
            match page.next {
                Some(next) => scan.after = Some(next),
                None => return Ok(held),
            }
        }
    }

    /// Reads one log for ever.
    async fn read(self: Arc<Self>, log: LogKey, from: Seq) {
        let _running = self.marks.run(log);
        let mut groups = GroupStream::new(&self.platform, log, from);
        loop {
            let next = tokio::select! {
                () = self.platform.stopping.cancelled() => return,
                next = groups.next() => next,
            };
            match next {
                Ok(group) => {
                    self.marks.group(log, group.last_seq());
                    for event in &group.events {
                        self.marks.begun(log, event.position.seq);
                        let Some(delivering) = self.apply_or_wait(event).await else { return };
                        self.marks.applied(log, event.position.seq, delivering.is_some());
                        if let Some(delivery) = delivering {
                            // The queue ends only with the process.
                            let _ = self.long.send((delivery, log, event.position.seq));
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, service = %log.service, shard = %log.shard, "memory waits for its log");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    /// Applies an event, and returns what is still to be delivered; `None` when the process stops.
    ///
    /// Before one that is newer than this build memory waits, without the slots that it serves: whoever can read it may
    /// have them, and merges answer here. If one cannot be read, restrictions may be missing from now on for good.
    async fn apply_or_wait(self: &Arc<Self>, event: &Recorded) -> Option<Option<Delivery>> {
        loop {
            match self.apply(event).instrument(p92_eventlog::consuming("timelines.memory", event)).await {
                Ok(delivery) => return Some(delivery),
                Err(Poison::Newer { event_type, .. }) => {
                    tracing::warn!(event_type, "memory waits before an event that is newer than this build");
                    self.give_back().await;
                    tokio::select! {
                        () = self.platform.stopping.cancelled() => return None,
                        () = tokio::time::sleep(NEWER) => {}
                    }
                }
                Err(poison) => {
                    tracing::error!(%poison, "memory cannot read an event and answers no more; homes are merged");
                    self.distrusted.store(true, Ordering::Release);
                    return Some(None);
                }
            }
        }
    }

    async fn give_back(&self) {
        let held: Vec<Shard> = self.slots.read().keys().copied().collect();
        if let Err(error) = self.platform.membership.give_back(Service::Timelines, &held).await {
            tracing::warn!(%error, "the slots of timelines could not be given back yet");
        }
    }

    async fn apply(self: &Arc<Self>, event: &Recorded) -> Result<Option<Delivery>, Poison> {
        for position in event.event.after.iter().filter_map(p92_eventlog::event::position_from_wire) {
            // In its own log everything before it is applied already.
            if p92_eventlog::progress::log_of(position) != p92_eventlog::progress::log_of(event.position) {
                self.marks.wait(position).await;
            }
        }
        let change = match event.position.service {
            Service::Posting => consumer::changes_of_posts(event)?,
            _ => consumer::changes_of_accounts(event)?,
        };
        let mut long = None;
        if let Some(change) = &change {
            let todo = self.memory.apply(change);
            if let Some(patch) = todo.patch {
                self.platform.tasks.spawn(Arc::clone(self).patch(patch));
            }
            if let Some(delivery) = todo.delivery {
                long = self.deliver_some(delivery, event);
            }
        }
        self.tell(event, change.as_ref())?;
        Ok(long)
    }

    /// Delivers to a few thousand followers; returns what is left.
    fn deliver_some(&self, mut delivery: Delivery, event: &Recorded) -> Option<Delivery> {
        let log = p92_eventlog::progress::log_of(event.position);
        for _ in 0..STEPS_AT_ONCE {
            if !self.step(&mut delivery, log, event.position.seq) {
                return None;
            }
        }
        Some(delivery)
    }

    fn step(&self, delivery: &mut Delivery, log: LogKey, seq: Seq) -> bool {
        let mut watched = Vec::new();
        let more = self.memory.step(delivery, &mut watched);
        for account in watched {
            self.live.tell(account, &Signal { log, seq, what: What::Came(delivery.key()) });
        }
        more
    }

    /// Long deliveries take turns, so that nobody waits for a giant.
    async fn deliver_long(self: Arc<Self>, mut queue: mpsc::UnboundedReceiver<Long>) {
        let mut turns: VecDeque<Long> = VecDeque::new();
        loop {
            if turns.is_empty() {
                tokio::select! {
                    () = self.platform.stopping.cancelled() => return,
                    next = queue.recv() => match next {
                        Some(next) => turns.push_back(next),
                        None => return,
                    },
                }
            }
            while let Ok(next) = queue.try_recv() {
                turns.push_back(next);
            }
            if let Some((mut delivery, log, seq)) = turns.pop_front() {
                if self.step(&mut delivery, log, seq) {
                    turns.push_back((delivery, log, seq));
                } else {
                    self.marks.delivered(log, seq);
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Brings the past of somebody newly followed into a ring.
    async fn patch(self: Arc<Self>, patch: Patch) {
        let question = self.question(patch.viewer);
        let window =
            Window { above: patch.floor.saturating_sub(1), ..Window::newest(self.memory.ring_size()) };
        let outbox = self.merges.clients().outboxes(&question, &[patch.followed], &window).await;
        match outbox {
            Ok(mut candidates) => {
                let whole = candidates.len() < self.memory.ring_size();
                let last = candidates.last().map(|candidate| candidate.key).filter(|_| !whole);
                candidates.retain(|candidate| crate::domain::merge::concerns(patch.viewer, candidate));
                self.memory.end_patch(&patch, &candidates, last);
            }
            Err(failure) => {
                tracing::warn!(%failure, "the past of somebody newly followed is not here; the ring goes");
                self.memory.drop_ring(patch.viewer);
            }
        }
        self.changed.notify_waiters();
    }

    /// A question about what memory has applied, or more.
    pub(super) fn question(&self, viewer: u64) -> Question {
        let positions = self.marks.positions();
        let at_least = positions.into_iter().filter(|position| position.seq > Seq(0));
        let at_least = at_least.map(p92_eventlog::event::position_to_wire).collect();
        Question { viewer, server: 0, at_least }
    }

    /// Tells those who watch.
    fn tell(&self, event: &Recorded, change: Option<&Change>) -> Result<(), Poison> {
        if !self.live.anybody() {
            return Ok(());
        }
        let signal = |what| Signal {
            log: p92_eventlog::progress::log_of(event.position),
            seq: event.position.seq,
            what,
        };
        for (recipient, what) in told_of(event)? {
            self.live.tell(recipient, &signal(what));
        }
        for what in heard_of(event, change)? {
            self.live.tell_all(signal(what));
        }
        Ok(())
    }
}

/// What single accounts are told by an event.
pub(super) fn told_of(event: &Recorded) -> Result<Vec<(u64, What)>, Poison> {
    let notes = match event.position.service {
        Service::Posting => consumer::notes_of_posts(event)?,
        _ => consumer::notes_of_follows(event)?,
    };
    let told = notes.into_iter().filter_map(|note| match note {
        consumer::Note::Told(note) => Some((note.recipient_id, What::Told(note))),
        _ => None,
    });
    Ok(told.collect())
}

/// What everybody who watches hears of an event.
pub(super) fn heard_of(event: &Recorded, change: Option<&Change>) -> Result<Vec<What>, Poison> {
    let mut heard = Vec::new();
    match change {
        Some(Change::Edited { id, facts, .. }) => {
            heard.push(What::Edited { post: *id, author: facts.author });
        }
        Some(Change::PostGone { id }) => {
            let by = event.decode::<posting::PostDeleted>()?.author_id;
            heard.push(What::Gone { post: *id, boost: 0, by });
        }
        Some(Change::BoostGone { id, post }) => {
            let by = event.decode::<posting::PostUnboosted>()?.actor_id;
            heard.push(What::Gone { post: *post, boost: *id, by });
        }
        Some(Change::Hidden { account, .. }) => heard.push(What::StateChanged { account: *account }),
        Some(Change::Posted { .. }) => heard.extend(consumer::public_signal(event)?),
        _ => {}
    }
    Ok(heard)
}
