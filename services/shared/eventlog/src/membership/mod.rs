//! Who lives, and who holds which slot (ARCHITECTURE §3.8).
//!
//! Each member beats one row every two seconds, under an id that is new at every start. A slot changes hands only by a
//! conditional write of its ownership row: handed over by its holder, or taken by a member that itself, by reads that
//! succeeded, saw no beat of the holder for six seconds of its own monotonic clock, of which no look proves more than
//! three. Where opening the store proves that
//! nobody else lives, a start takes all slots at once.
//!
//! A member that meets an event newer than its build gives the slot back for a while (§3.5): another one, of a newer
//! build, may know the event. Its row says so, that nobody waits for it to take the slot.

mod holders;
mod rows;
mod silence;

pub use holders::Holder;
pub use rows::{is_held, take_slot};
pub use silence::DEAD_AFTER;

use crate::tasks::Tasks;
use bytes::Bytes;
use holders::Holders;
use p92_kernel::{Clock, Service, Shard, ShardCount};
use p92_proto::event::v1;
use p92_storage::{Conditional, Engine, StoreError};
use parking_lot::Mutex;
use prost::Message;
use rows::{member_key, put_owner, slot_name, weight};
use silence::Seen;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often a member beats.
pub const BEAT_EVERY: Duration = Duration::from_secs(2);
/// How often a member looks at the slots: one that was handed to it is taken up within this time. At members it looks when
/// it beats, so that one that comes gets its slots within two seconds, and one that is gone is noticed six to eight after
/// its last beat.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

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

/// What is looked at. Both are small reads, but each member makes them for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Who holds which slot.
    AtSlots,
    /// Who lives as well.
    AtMembersToo,
}

/// This process among the members.
#[derive(Debug)]
pub struct Membership {
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    member: String,
    /// Where other members reach this one; empty if they do not.
    address: String,
    shards: ShardCount,
    services: Mutex<Vec<Service>>,
    slots: watch::Sender<BTreeMap<(Service, Shard), u64>>,
    seen: Mutex<HashMap<String, Seen>>,
    beat: Mutex<u64>,
    away: Mutex<BTreeMap<(Service, Shard), Away>>,
    /// Who holds what, as the last look found it.
    holders: Holders,
    /// On its way out: whatever another can hold, another shall hold.
    retiring: AtomicBool,
    /// One step at a time: one that began before a slot was given back would take it again. Holds the version of the
    /// own row.
    stepping: tokio::sync::Mutex<Option<u64>>,
}

impl Membership {
    /// Begins to beat, to watch, and to hold what this member should hold. Nobody reaches it.
    pub fn start(
        engine: Arc<dyn Engine>,
        clock: Arc<dyn Clock>,
        member: String,
        shards: ShardCount,
        tasks: &Tasks,
        stopping: &CancellationToken,
    ) -> Arc<Self> {
        Self::start_at(String::new(), engine, clock, member, shards, tasks, stopping)
    }

    /// The same where others reach this member at an address, `host:port`.
    pub fn start_at(
        address: String,
        engine: Arc<dyn Engine>,
        clock: Arc<dyn Clock>,
        member: String,
        shards: ShardCount,
        tasks: &Tasks,
        stopping: &CancellationToken,
    ) -> Arc<Self> {
        let membership = Arc::new(Self {
            engine,
            clock,
            member,
            address,
            shards,
            services: Mutex::default(),
            slots: watch::Sender::default(),
            seen: Mutex::default(),
            beat: Mutex::new(0),
            away: Mutex::default(),
            holders: Holders::default(),
            retiring: AtomicBool::new(false),
            stepping: tokio::sync::Mutex::default(),
        });
        tasks.spawn(Arc::clone(&membership).run(stopping.clone()));
        membership
    }

    async fn run(self: Arc<Self>, stopping: CancellationToken) {
        let mut beats = tokio::time::interval(BEAT_EVERY);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        for tick in [&mut beats, &mut looks] {
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        // Where nobody else lives, nothing changes between two beats.
        let alone = self.engine.capabilities().exclusive;
        loop {
            let stepped = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                _ = beats.tick() => self.step().await,
                _ = looks.tick(), if !alone => self.look_again().await,
            };
            if let Err(error) = stepped {
                tracing::warn!(%error, "the membership cannot be read; slots stay as they are");
            }
        }
    }

    /// From now on this member wants slots of that service; answers when it has looked for them once. Where members share
    /// a store, one that does not answer for a moment ends no start: all of them look at once then, and every beat looks
    /// again.
    pub async fn join(&self, service: Service) -> Result<(), StoreError> {
        {
            let mut services = self.services.lock();
            if !services.contains(&service) {
                services.push(service);
            }
        }
        match self.step().await {
            Err(error @ StoreError::Unavailable { .. }) if !self.engine.capabilities().exclusive => {
                tracing::warn!(%service, %error, "slots could not be looked for yet; the next beat does it again");
                Ok(())
            }
            stepped => stepped,
        }
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

    /// Who holds a slot, as far as this member knows. It asks the store only if it knows nobody else.
    pub async fn holder(&self, service: Service, shard: Shard) -> Result<Option<Holder>, StoreError> {
        match self.holders.get(service, shard) {
            Some(known) if known.member != self.member => Ok(Some(known)),
            _ => {
                let (_, row) = rows::owner(&*self.engine, service, shard).await?;
                Ok(self.holders.of(&row))
            }
        }
    }

    /// Whether it is this member that a slot's holder is.
    #[must_use]
    pub fn is_self(&self, holder: &Holder) -> bool {
        holder.member == self.member
    }

    /// Who holds what, as the last look found it; told anew whenever it changes.
    #[must_use]
    pub fn holders(&self) -> watch::Receiver<BTreeMap<(Service, Shard), Holder>> {
        self.holders.subscribe()
    }

    /// Hands over whatever another living member can hold, and takes nothing any more. For a process that is about to
    /// stop, while it can still pass calls on.
    pub async fn retire(&self) -> Result<(), StoreError> {
        self.retiring.store(true, Ordering::Release);
        self.step().await
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

    /// One beat and one look at the others.
    async fn step(&self) -> Result<(), StoreError> {
        let mut version = self.stepping.lock().await;
        let services = self.services.lock().clone();
        let beat = {
            let mut beat = self.beat.lock();
            *beat += 1;
            *beat
        };
        // Whoever retires wants nothing, so that the others know whose the slots will be.
        let wanted = if self.retiring.load(Ordering::Acquire) { &[] } else { services.as_slice() };
        let row = v1::MemberRow {
            beat,
            services: wanted.iter().map(|service| service.name().to_owned()).collect(),
            address: self.address.clone(),
            away: self.away(),
            serves: services.iter().map(|service| service.name().to_owned()).collect(),
        };
        self.beat(&row, &mut version).await?;
        self.settle_all(&services, Look::AtMembersToo).await
    }

    /// The members that run a service, as a look at this moment finds them.
    pub async fn serving(&self, service: Service) -> Result<Vec<String>, StoreError> {
        let runs = |row: &v1::MemberRow| {
            // Builds that do not say what they run say at least whose slots they want.
            row.serves.iter().chain(&row.services).any(|name| name == service.name())
        };
        let living = self.look().await?;
        Ok(living.into_iter().filter(|(_, row)| runs(row)).map(|(member, _)| member).collect())
    }

    /// Whether a member lives, as far as this one can tell at this moment.
    pub async fn lives(&self, member: &str) -> Result<bool, StoreError> {
        Ok(self.look().await?.contains_key(member))
    }

    /// The ownership row of a slot as it stands: its member and epoch.
    pub async fn owner(&self, service: Service, shard: Shard) -> Result<(String, u64), StoreError> {
        let (_, row) = rows::owner(&*self.engine, service, shard).await?;
        Ok((row.member, row.epoch))
    }

    /// The epoch under which this member holds a slot.
    #[must_use]
    pub fn epoch(&self, service: Service, shard: Shard) -> Option<u64> {
        self.slots.borrow().get(&(service, shard)).copied()
    }

    /// A look at the slots without a beat.
    async fn look_again(&self) -> Result<(), StoreError> {
        let version = self.stepping.lock().await;
        if version.is_none() {
            return Ok(());
        }
        let services = self.services.lock().clone();
        self.settle_all(&services, Look::AtSlots).await
    }

    async fn settle_all(&self, services: &[Service], look: Look) -> Result<(), StoreError> {
        let mut standing = BTreeMap::new();
        for service in services {
            standing.insert(*service, rows::owned(&*self.engine, *service).await?);
        }
        let mut living = self.holders.living();
        let mut named = standing.values().flat_map(BTreeMap::values).map(|(_, row)| &row.member);
        // Whoever beats is looked at as often as it beats, and at once if a slot names somebody who is new or silent.
        if look == Look::AtMembersToo
            || named.any(|member| !member.is_empty() && !living.contains_key(member))
        {
            living = self.look().await?;
        }
        let mut found = BTreeMap::new();
        for (service, owned) in &standing {
            let wanting: Vec<(&String, &v1::MemberRow)> = living
                .iter()
                .filter(|(_, row)| row.services.iter().any(|name| name == service.name()))
                .collect();
            // All at once: their conditional writes share few syncs.
            let slots = self.shards.all().map(|shard| {
                let standing = owned.get(&shard).cloned().unwrap_or_default();
                let (wanting, living) = (&wanting, &living);
                async move {
                    let row = self.settle(*service, shard, standing, wanting, living).await?;
                    Ok::<_, StoreError>(((*service, shard), row))
                }
            });
            found.extend(futures::future::try_join_all(slots).await?);
        }
        self.holders.note(living, &found);
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
        let rows = rows::members(&*self.engine).await?;
        {
            let mut seen = self.seen.lock();
            seen.retain(|member, _| rows.iter().any(|(there, ..)| there == member));
            for (member, stamp, row) in rows {
                let entry = seen.entry(member.clone()).or_insert_with(|| Seen::first(row.beat, asked));
                entry.again(row.beat, asked);
                if member == self.member || !(exclusive || entry.is_dead()) {
                    living.insert(member, row);
                } else if entry.unchanged(asked) >= FORGET_AFTER {
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

    /// For how long each member was silent as this one saw it, for operators. Those that were not looked at are missing.
    #[must_use]
    pub fn silences(&self) -> BTreeMap<String, Duration> {
        let now = self.clock.monotonic();
        let seen = self.seen.lock();
        seen.iter().map(|(member, seen)| (member.clone(), seen.unchanged(now))).collect()
    }

    /// Takes, keeps or hands over one slot. Answers what its row says then, as far as this member knows.
    async fn settle(
        &self,
        service: Service,
        shard: Shard,
        (version, row): rows::Owned,
        wanting: &[(&String, &v1::MemberRow)],
        living: &BTreeMap<String, v1::MemberRow>,
    ) -> Result<v1::OwnershipRow, StoreError> {
        let slot = slot_name(service, shard);
        let able = wanting.iter().filter(|(_, row)| !row.away.contains(&slot)).map(|(member, _)| *member);
        // Nobody takes what everybody has given back.
        let nobody = String::new();
        let heir = able.max_by_key(|member| weight(member, service, shard)).unwrap_or(&nobody);
        let held = row.member == self.member;
        let mine = *heir == self.member;
        // Whoever retires and has no heir goes on until the end.
        let stays = heir.is_empty() && self.retiring.load(Ordering::Acquire);
        if held && (mine || stays) {
            self.note(service, shard, Some(row.epoch));
        } else if held {
            // The worker stops deciding first; whoever takes over closes the log behind it in any case.
            self.note(service, shard, None);
            let next = v1::OwnershipRow { member: heir.clone(), epoch: row.epoch + 1 };
            if put_owner(&*self.engine, service, shard, version, &next).await? {
                return Ok(next);
            }
        } else if mine && !living.contains_key(&row.member) {
            let next = v1::OwnershipRow { member: self.member.clone(), epoch: row.epoch + 1 };
            if put_owner(&*self.engine, service, shard, version, &next).await? {
                self.note(service, shard, Some(next.epoch));
                return Ok(next);
            }
        } else {
            self.note(service, shard, None);
        }
        Ok(row)
    }

    async fn hand_over(
        &self,
        service: Service,
        shard: Shard,
        epoch: u64,
        next: &v1::OwnershipRow,
    ) -> Result<(), StoreError> {
        let (version, row) = rows::owner(&*self.engine, service, shard).await?;
        if row.member == self.member && row.epoch == epoch {
            put_owner(&*self.engine, service, shard, version, next).await?;
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
