//! Who lives, and who holds which slot (ARCHITECTURE §3.8).
//!
//! Each member beats one row every two seconds, under an id that is new at every start. A slot changes hands only by a
//! conditional write of its ownership row: handed over by its holder, or taken by a member that itself, by reads that
//! succeeded, saw no beat of the holder for six seconds of its own monotonic clock. Where opening the store proves that
//! nobody else lives, a start takes all slots at once.
//!
//! A member that meets an event newer than its build gives the slot back for a while (§3.5): another one, of a newer
//! build, may know the event. Its row says so, that nobody waits for it to take the slot.

use crate::tables;
use bytes::Bytes;
use p92_kernel::{Clock, Service, Shard, ShardCount, digest};
use p92_proto::event::v1;
use p92_storage::{
    Conditional, Direction, Engine, Key, KeyReader, LogKey, Range, Row, RowKey, Scan, StoreError,
};
use parking_lot::Mutex;
use prost::Message;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often a member beats.
pub const BEAT_EVERY: Duration = Duration::from_secs(2);
/// After how long without a beat a member counts as dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(6);

/// For how long a slot is given back at first; twice as long whenever it must be given back again soon.
pub const AWAY_FIRST: Duration = Duration::from_secs(2);
/// For how long at most.
pub const AWAY_MOST: Duration = Duration::from_mins(5);

/// A slot that was given back: until when, and for how long that was.
#[derive(Clone, Copy, Debug)]
struct Away {
    until: Duration,
    pause: Duration,
}

impl Away {
    /// Given back now. It grows if the time before ended so lately that taking the slot again did not help.
    fn after(before: Option<Self>, now: Duration) -> Self {
        let pause = match before {
            Some(before) if now < before.until => return before,
            Some(before) if now - before.until <= AWAY_MOST => (before.pause * 2).min(AWAY_MOST),
            _ => AWAY_FIRST,
        };
        Self { until: now + pause, pause }
    }
}

/// After how long without a beat a member's row is removed: nobody waits for it any more, and a process that was only
/// paused makes it anew.
pub const FORGET_AFTER: Duration = Duration::from_mins(10);

/// What a member saw of another: the last beat, and when it saw it change.
#[derive(Clone, Copy, Debug)]
struct Seen {
    beat: u64,
    changed: Duration,
}

/// This process among the members.
#[derive(Debug)]
pub struct Membership {
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    member: String,
    shards: ShardCount,
    services: Mutex<Vec<Service>>,
    slots: watch::Sender<BTreeMap<(Service, Shard), u64>>,
    seen: Mutex<HashMap<String, Seen>>,
    beat: Mutex<u64>,
    away: Mutex<BTreeMap<(Service, Shard), Away>>,
    /// One step at a time: one that began before a slot was given back would take it again. Holds the version of the
    /// own row.
    stepping: tokio::sync::Mutex<Option<u64>>,
}

impl Membership {
    /// Begins to beat, to watch, and to hold what this member should hold.
    pub fn start(
        engine: Arc<dyn Engine>,
        clock: Arc<dyn Clock>,
        member: String,
        shards: ShardCount,
        tasks: &TaskTracker,
        stopping: &CancellationToken,
    ) -> Arc<Self> {
        let membership = Arc::new(Self {
            engine,
            clock,
            member,
            shards,
            services: Mutex::default(),
            slots: watch::Sender::default(),
            seen: Mutex::default(),
            beat: Mutex::new(0),
            away: Mutex::default(),
            stepping: tokio::sync::Mutex::default(),
        });
        let (running, stopping) = (Arc::clone(&membership), stopping.clone());
        tasks.spawn(async move {
            let mut tick = tokio::time::interval(BEAT_EVERY);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    _ = tick.tick() => running.step_or_log().await,
                }
            }
        });
        membership
    }

    /// From now on this member wants slots of that service; answers when it has looked for them once.
    pub async fn join(&self, service: Service) -> Result<(), StoreError> {
        {
            let mut services = self.services.lock();
            if !services.contains(&service) {
                services.push(service);
            }
        }
        self.step().await
    }

    /// Gives slots back for a while, since this build cannot read what comes next there. Whoever can may take them; if
    /// nobody does, this member takes them up again and tries anew.
    pub async fn give_back(&self, service: Service, shards: &[Shard]) -> Result<(), StoreError> {
        let now = self.clock.monotonic();
        {
            let mut away = self.away.lock();
            for shard in shards {
                let before = away.get(&(service, *shard)).copied();
                away.insert((service, *shard), Away::after(before, now));
            }
        }
        self.step().await
    }

    /// The slots that are given back at this moment.
    fn away(&self) -> Vec<v1::SlotName> {
        let now = self.clock.monotonic();
        let away = self.away.lock();
        let now_away = away.iter().filter(|(_, away)| now < away.until);
        now_away.map(|((service, shard), _)| slot_name(*service, *shard)).collect()
    }

    /// The slots held, with their epochs.
    #[must_use]
    pub fn slots(&self) -> watch::Receiver<BTreeMap<(Service, Shard), u64>> {
        self.slots.subscribe()
    }

    /// Gives every slot back, and the member row with them.
    pub async fn leave(&self) {
        let version = self.stepping.lock().await;
        let held: Vec<_> = self.slots.borrow().iter().map(|(slot, epoch)| (*slot, *epoch)).collect();
        self.slots.send_replace(BTreeMap::new());
        for ((service, shard), epoch) in held {
            let nobody = v1::OwnershipRow { member: String::new(), epoch };
            if let Err(error) = self.hand_over(service, shard, epoch, &nobody).await {
                tracing::warn!(%service, %shard, %error, "a slot could not be given back; it will be taken");
            }
        }
        let Some(version) = *version else { return };
        // If it is another version, an earlier beat came late; the row will be seen as dead.
        if let Err(error) = self.engine.compare_and_delete(&member_key(&self.member), version).await {
            tracing::warn!(%error, "the member row could not be removed; it will be seen as dead");
        }
    }

    async fn step_or_log(&self) {
        if let Err(error) = self.step().await {
            tracing::warn!(%error, "the membership cannot be read; slots stay as they are");
        }
    }

    /// One beat and one look at the others.
    async fn step(&self) -> Result<(), StoreError> {
        let mut version = self.stepping.lock().await;
        let services = self.services.lock().clone();
        let beat = {
            let mut beat = self.beat.lock();
            *beat += 1;
            *beat
        };
        let row = v1::MemberRow {
            beat,
            services: services.iter().map(|service| service.name().to_owned()).collect(),
            address: String::new(),
            away: self.away(),
        };
        self.beat(&row, &mut version).await?;
        let living = self.look().await?;
        for service in services {
            let wanting: Vec<(&String, &v1::MemberRow)> = living
                .iter()
                .filter(|(_, row)| row.services.iter().any(|name| name == service.name()))
                .collect();
            // All at once: their conditional writes share few syncs.
            let slots = self.shards.all().map(|shard| self.settle(service, shard, &wanting, &living));
            futures::future::try_join_all(slots).await?;
        }
        Ok(())
    }

    /// Writes the own row. Conditionally, since others remove rows so; nobody else ever changes it.
    async fn beat(&self, row: &v1::MemberRow, version: &mut Option<u64>) -> Result<(), StoreError> {
        let (key, value) = (member_key(&self.member), Bytes::from(row.encode_to_vec()));
        loop {
            match self.engine.compare_and_set(&key, *version, value.clone()).await? {
                Conditional::Applied => {
                    *version = Some(version.unwrap_or(0) + 1);
                    return Ok(());
                }
                // A beat before came through without its answer, or somebody took this process for dead.
                Conditional::Stands(stands) => *version = stands.map(|row| row.stamp),
            }
        }
    }

    /// Those that live, as far as this member can tell. Rows that were silent for very long are removed.
    async fn look(&self) -> Result<BTreeMap<String, v1::MemberRow>, StoreError> {
        let asked = self.clock.monotonic();
        let exclusive = self.engine.capabilities().exclusive;
        let (mut living, mut forgotten) = (BTreeMap::new(), Vec::new());
        let rows = self.members().await?;
        {
            let mut seen = self.seen.lock();
            seen.retain(|member, _| rows.iter().any(|(there, ..)| there == member));
            for (member, stamp, row) in rows {
                let entry = seen.entry(member.clone()).or_insert(Seen { beat: row.beat, changed: asked });
                if entry.beat != row.beat {
                    *entry = Seen { beat: row.beat, changed: asked };
                }
                let silent = asked.saturating_sub(entry.changed);
                if member == self.member || !(exclusive || silent >= DEAD_AFTER) {
                    living.insert(member, row);
                } else if silent >= FORGET_AFTER {
                    forgotten.push((member, stamp));
                }
            }
        }
        for (member, stamp) in forgotten {
            // If it beats at this moment, the version is another and it stays.
            if let Err(error) = self.engine.compare_and_delete(&member_key(&member), stamp).await {
                tracing::warn!(member, %error, "the row of a dead member could not be removed yet");
            }
        }
        Ok(living)
    }

    /// Every member row, with its version.
    async fn members(&self) -> Result<Vec<(String, u64, v1::MemberRow)>, StoreError> {
        let mut scan = Scan {
            table: tables::MEMBERS.only(),
            partition: members_partition(),
            range: Range::all(),
            direction: Direction::Forward,
            limit: 1_000,
            after: None,
        };
        let damaged = |problem: String| StoreError::Damaged(format!("a member row: {problem}"));
        let mut rows = Vec::new();
        loop {
            let page = self.engine.scan(&scan).await?;
            for (clustering, row) in page.rows {
                let member = KeyReader::new(&clustering).text();
                let member = member.map_err(|error| damaged(error.to_string()))?;
                let decoded = v1::MemberRow::decode(row.value).map_err(|error| damaged(error.to_string()))?;
                rows.push((member, row.stamp, decoded));
            }
            match page.next {
                Some(next) => scan.after = Some(next),
                None => return Ok(rows),
            }
        }
    }

    /// Takes, keeps or hands over one slot.
    async fn settle(
        &self,
        service: Service,
        shard: Shard,
        wanting: &[(&String, &v1::MemberRow)],
        living: &BTreeMap<String, v1::MemberRow>,
    ) -> Result<(), StoreError> {
        let slot = slot_name(service, shard);
        let able = wanting.iter().filter(|(_, row)| !row.away.contains(&slot)).map(|(member, _)| *member);
        // Nobody takes what everybody has given back.
        let nobody = String::new();
        let heir = able.max_by_key(|member| weight(member, service, shard)).unwrap_or(&nobody);
        let standing = self.engine.get(&tables::ownership_key(service, shard)).await?;
        let (version, row) = read_ownership(standing)?;
        let held = row.member == self.member;
        let mine = *heir == self.member;
        if held && mine {
            self.note(service, shard, Some(row.epoch));
        } else if held {
            // The worker stops deciding first; whoever takes over closes the log behind it in any case.
            self.note(service, shard, None);
            let next = v1::OwnershipRow { member: heir.clone(), epoch: row.epoch + 1 };
            self.hand_over(service, shard, row.epoch, &next).await?;
        } else if mine && !living.contains_key(&row.member) {
            let next = v1::OwnershipRow { member: self.member.clone(), epoch: row.epoch + 1 };
            let key = tables::ownership_key(service, shard);
            let written = self.engine.compare_and_set(&key, version, next.encode_to_vec().into()).await?;
            if written == Conditional::Applied {
                self.note(service, shard, Some(next.epoch));
            }
        } else {
            self.note(service, shard, None);
        }
        Ok(())
    }

    async fn hand_over(
        &self,
        service: Service,
        shard: Shard,
        epoch: u64,
        next: &v1::OwnershipRow,
    ) -> Result<(), StoreError> {
        let key = tables::ownership_key(service, shard);
        let (version, row) = read_ownership(self.engine.get(&key).await?)?;
        if row.member == self.member && row.epoch == epoch {
            self.engine.compare_and_set(&key, version, Bytes::from(next.encode_to_vec())).await?;
        }
        Ok(())
    }

    fn note(&self, service: Service, shard: Shard, epoch: Option<u64>) {
        self.slots.send_if_modified(|slots| match epoch {
            Some(epoch) => slots.insert((service, shard), epoch) != Some(epoch),
            None => slots.remove(&(service, shard)).is_some(),
        });
    }
}

fn slot_name(service: Service, shard: Shard) -> v1::SlotName {
    v1::SlotName { service: service.name().to_owned(), shard: u32::from(shard.0) }
}

/// Rendezvous hashing: the member with the largest weight should hold the slot.
fn weight(member: &str, service: Service, shard: Shard) -> u64 {
    digest::leading_u64(&digest::of_parts(&[
        member.as_bytes(),
        service.name().as_bytes(),
        &shard.0.to_be_bytes(),
    ]))
}

/// Whether the ownership row names this member and epoch.
pub async fn is_held(engine: &dyn Engine, log: LogKey, member: &str, epoch: u64) -> Result<bool, StoreError> {
    let (_, row) = read_ownership(engine.get(&tables::ownership_key(log.service, log.shard)).await?)?;
    Ok(row.member == member && row.epoch == epoch)
}

/// Takes a slot from whoever has it, at the version that stands. For those who decide about slots themselves.
pub async fn take_slot(engine: &dyn Engine, log: LogKey, member: &str) -> Result<Option<u64>, StoreError> {
    let key = tables::ownership_key(log.service, log.shard);
    let (version, row) = read_ownership(engine.get(&key).await?)?;
    let next = v1::OwnershipRow { member: member.to_owned(), epoch: row.epoch + 1 };
    let written = engine.compare_and_set(&key, version, next.encode_to_vec().into()).await?;
    Ok((written == Conditional::Applied).then_some(next.epoch))
}

fn read_ownership(row: Option<Row>) -> Result<(Option<u64>, v1::OwnershipRow), StoreError> {
    let Some(row) = row else { return Ok((None, v1::OwnershipRow::default())) };
    let owner = v1::OwnershipRow::decode(row.value)
        .map_err(|error| StoreError::Damaged(format!("an ownership row: {error}")))?;
    Ok((Some(row.stamp), owner))
}

fn members_partition() -> Bytes {
    Key::new().text("members").build()
}

fn member_key(member: &str) -> RowKey {
    RowKey::new(tables::MEMBERS.only(), members_partition(), Key::new().text(member))
}
