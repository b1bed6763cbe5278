//! Home computed from memory: who follows whom, what is recent, and a ring of candidates for everybody who read lately.
//!
//! It is told of changes in the order of the logs, and answers pages or says why it may not. It does not know where
//! changes come from, whether they are complete, or how the missing is fetched: its holder does.

pub mod members;
pub mod page;
pub mod partition;
pub mod people;
pub mod recent;
pub mod ring;

use super::entry::{Key, Language, Visibility};
use parking_lot::RwLock;
use partition::{Local, Partition};
use people::{People, Person};
use recent::{Asked, Facts, Recent};

/// Followers served before somebody else gets a turn.
pub const CHUNK: usize = 1_000;

/// How large a memory may become.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Parts with locks of their own.
    pub partitions: usize,
    /// Rings at most: users who read lately.
    pub rings: usize,
    /// A ring has at most `2^ring_power` entries.
    pub ring_power: u8,
    /// Posts and boosts of which is known what the rules need.
    pub recent: usize,
}

/// Something that changes homes. Accounts are named by their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Posted {
        id: u64,
        facts: Facts<u64>,
    },
    /// The facts as they are after the edit, and whom it names that it did not name before.
    Edited {
        id: u64,
        facts: Facts<u64>,
        newly_named: Vec<u64>,
    },
    PostGone {
        id: u64,
    },
    Boosted {
        id: u64,
        post: u64,
        booster: u64,
        facts: Facts<u64>,
    },
    BoostGone {
        id: u64,
        post: u64,
    },
    Followed {
        follower: u64,
        followed: u64,
        boosts: bool,
        languages: Vec<Language>,
    },
    Unfollowed {
        follower: u64,
        followed: u64,
    },
    Blocks {
        blocker: u64,
        blocked: u64,
        holds: bool,
    },
    /// `until` 0 ends the mute, `u64::MAX` is for ever.
    Mutes {
        muter: u64,
        muted: u64,
        until: u64,
    },
    /// To members of the server `scope`, 0 for everybody.
    Hidden {
        account: u64,
        scope: u64,
        hidden: bool,
    },
}

/// A candidate for a home, as an outbox tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub key: Key,
    pub post: u64,
    /// Who boosted; the author if it is no boost.
    pub by: u64,
    /// Of the post.
    pub facts: Facts<u64>,
}

/// Who gets a key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Audience {
    FollowersOf(Person),
    /// Only these accounts.
    These(Vec<u64>),
}

/// A key on its way to those whom it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    key: Key,
    author: u64,
    audience: Audience,
    partition: usize,
    from: u32,
}

impl Delivery {
    /// What is delivered.
    #[must_use]
    pub const fn key(&self) -> Key {
        self.key
    }
}

/// A ring that waits for the past of somebody newly followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    pub viewer: u64,
    pub followed: u64,
    /// Nothing below this id is needed.
    pub floor: u64,
    ticket: partition::Ticket,
    asked: Asked,
}

/// A ring that waits for what was before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    ring: partition::Ticket,
    asked: Asked,
}

/// What a change leaves to be done.
#[derive(Debug, Default)]
pub struct Todo {
    pub delivery: Option<Delivery>,
    pub patch: Option<Patch>,
}

/// The memory of one process.
#[derive(Debug)]
pub struct Memory {
    people: RwLock<People>,
    recent: RwLock<Recent>,
    partitions: Box<[RwLock<Partition>]>,
    bounds: Bounds,
}

impl Memory {
    /// An empty memory.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let count = bounds.partitions.max(1);
        let rings = bounds.rings.div_ceil(count);
        Self {
            people: RwLock::default(),
            recent: RwLock::new(Recent::new(bounds.recent)),
            partitions: (0..count).map(|_| RwLock::new(Partition::new(rings, bounds.ring_power))).collect(),
            bounds,
        }
    }

    /// How many candidates a ring takes.
    #[must_use]
    pub const fn ring_size(&self) -> usize {
        1 << self.bounds.ring_power
    }

    fn index_of(&self, account: u64) -> usize {
        // Ids of one shard differ in their milliseconds; both sides are mixed so that the parts fill alike.
        let mixed = account.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        usize::try_from(mixed).unwrap_or(0) % self.partitions.len()
    }

    fn partition_of(&self, account: u64) -> Option<&RwLock<Partition>> {
        self.partitions.get(self.index_of(account))
    }

    fn person(&self, account: u64) -> Person {
        if let Some(found) = self.people.read().find(account) {
            return found;
        }
        self.people.write().number(account)
    }

    /// Changes something of one user.
    fn at_user<T>(&self, account: u64, change: impl FnOnce(&mut Partition, Local) -> T) -> Option<T> {
        let person = self.person(account);
        let mut partition = self.partition_of(account)?.write();
        let local = partition.number(account, person);
        Some(change(&mut partition, local))
    }

    /// Applies a change. Deliveries are to be stepped through, patches to be brought.
    pub fn apply(&self, change: &Change) -> Todo {
        match change {
            Change::Posted { id, facts } => {
                self.learn(*id, facts, true);
                Todo { delivery: Some(self.delivery(Key::post(*id), facts.author, facts)), patch: None }
            }
            Change::Edited { id, facts, newly_named } => self.edited(*id, facts, newly_named),
            Change::PostGone { id } => {
                self.recent.write().forget_post(*id);
                Todo::default()
            }
            Change::Boosted { id, post, booster, facts } => {
                self.learn(*post, facts, false);
                let person = self.person(*booster);
                self.recent.write().learn_boost(*id, *post, person);
                Todo { delivery: Some(self.delivery(Key::boost(*id), *booster, facts)), patch: None }
            }
            Change::BoostGone { id, post } => {
                self.recent.write().forget_boost(*id, *post);
                Todo::default()
            }
            Change::Followed { follower, followed, boosts, languages } => {
                Todo { delivery: None, patch: self.followed(*follower, *followed, *boosts, languages) }
            }
            relation => {
                self.relate(relation);
                Todo::default()
            }
        }
    }

    fn relate(&self, change: &Change) {
        match change {
            Change::Unfollowed { follower, followed } => {
                let person = self.person(*followed);
                self.at_user(*follower, |partition, local| partition.unfollow(local, person));
            }
            Change::Blocks { blocker, blocked, holds } => {
                let (one, other) = (self.person(*blocker), self.person(*blocked));
                self.at_user(*blocker, |part, local| part.restrict(local, other, |r| r.blocks = *holds));
                self.at_user(*blocked, |part, local| part.restrict(local, one, |r| r.blocked = *holds));
            }
            Change::Mutes { muter, muted, until } => {
                let person = self.person(*muted);
                self.at_user(*muter, |part, local| part.restrict(local, person, |r| r.muted_until = *until));
            }
            Change::Hidden { account, scope, hidden } => {
                let person = self.person(*account);
                self.people.write().set_hidden(person, *scope, *hidden);
            }
            _ => {}
        }
    }

    fn learn(&self, id: u64, facts: &Facts<u64>, newly: bool) {
        let facts = facts.map(|account| self.person(account));
        self.recent.write().learn_post(id, &facts, newly);
    }

    fn delivery(&self, key: Key, by: u64, facts: &Facts<u64>) -> Delivery {
        // Who may see a direct post never grows but by an edit, so the rings of others need not hold it.
        let audience = if facts.visibility == Visibility::Direct {
            Audience::These(facts.mentions.clone())
        } else {
            Audience::FollowersOf(self.person(by))
        };
        Delivery { key, author: by, audience, partition: 0, from: 0 }
    }

    fn edited(&self, id: u64, facts: &Facts<u64>, newly_named: &[u64]) -> Todo {
        self.learn(id, facts, false);
        let mentions: Vec<Person> = facts.mentions.iter().map(|account| self.person(*account)).collect();
        self.recent.write().learn_edit(id, &mentions, facts.language);
        if facts.visibility != Visibility::Direct || newly_named.is_empty() {
            return Todo::default();
        }
        let audience = Audience::These(newly_named.to_vec());
        let delivery = Delivery { key: Key::post(id), author: facts.author, audience, partition: 0, from: 0 };
        Todo { delivery: Some(delivery), patch: None }
    }

    fn followed(&self, follower: u64, followed: u64, boosts: bool, languages: &[Language]) -> Option<Patch> {
        let (person, asked) = (self.person(followed), self.recent.read().ask());
        let begun = self.at_user(follower, |partition, local| {
            partition.follow(local, person, boosts, languages).then(|| partition.begin_patch(local)).flatten()
        });
        let (ticket, floor) = begun.flatten()?;
        Some(Patch { viewer: follower, followed, floor, ticket, asked })
    }

    /// Brings a delivery on by about [`CHUNK`] followers. True if more is to be done. `watched` learns which watching
    /// users were reached.
    pub fn step(&self, delivery: &mut Delivery, watched: &mut Vec<u64>) -> bool {
        match &delivery.audience {
            Audience::These(accounts) => {
                for account in accounts.iter().chain([&delivery.author]) {
                    self.reach(*account, delivery.key, watched);
                }
                false
            }
            Audience::FollowersOf(author) => {
                if delivery.partition == 0 && delivery.from == 0 {
                    self.reach(delivery.author, delivery.key, watched);
                }
                let Some(partition) = self.partitions.get(delivery.partition) else { return false };
                let mut reached = Vec::new();
                let next =
                    partition.write().deliver(*author, delivery.key, delivery.from, CHUNK, &mut reached);
                if !reached.is_empty() {
                    let (partition, people) = (partition.read(), self.people.read());
                    watched.extend(reached.into_iter().map(|local| people.account(partition.person(local))));
                }
                (delivery.partition, delivery.from) = match next {
                    Some(next) => (delivery.partition, next),
                    None => (delivery.partition + 1, 0),
                };
                delivery.partition < self.partitions.len()
            }
        }
    }

    /// Brings a key to one user, if he is one of this memory.
    fn reach(&self, account: u64, key: Key, watched: &mut Vec<u64>) {
        let Some(partition) = self.partition_of(account) else { return };
        if partition.read().find(account).is_none() {
            return;
        }
        let mut partition = partition.write();
        let Some(local) = partition.find(account) else { return };
        let mut reached = Vec::new();
        partition.deliver_to(local, key, &mut reached);
        if !reached.is_empty() {
            watched.push(account);
        }
    }

    /// Steps through a whole delivery.
    pub fn deliver(&self, mut delivery: Delivery) {
        let mut watched = Vec::new();
        while self.step(&mut delivery, &mut watched) {}
    }

    /// From now on, or no longer, `step` tells when something comes for this user.
    pub fn watch(&self, account: u64, watched: bool) {
        self.at_user(account, |partition, local| partition.watch(local, watched));
    }

    /// Gives a user a ring; what was before is to be brought by [`Memory::end_fill`].
    pub fn begin_fill(&self, viewer: u64, minute: u16) -> Option<Ticket> {
        let asked = self.recent.read().ask();
        let ring = self.at_user(viewer, |partition, local| partition.begin_fill(local, minute))?;
        Some(Ticket { ring, asked })
    }

    /// Brings what was before the ring: candidates, newest first, and whether these are all.
    pub fn end_fill(&self, viewer: u64, ticket: Ticket, candidates: &[Candidate], whole: bool) {
        let Some(keys) = self.learn_all(candidates, ticket.asked) else { return self.drop_ring(viewer) };
        self.at_user(viewer, |partition, local| partition.end_fill(local, ticket.ring, &keys, whole));
    }

    /// Brings the past of somebody newly followed. `last`: the oldest that was brought, if there may be more below it.
    pub fn end_patch(&self, patch: &Patch, candidates: &[Candidate], last: Option<Key>) {
        let Some(keys) = self.learn_all(candidates, patch.asked) else { return self.drop_ring(patch.viewer) };
        self.at_user(patch.viewer, |partition, local| partition.end_patch(local, patch.ticket, &keys, last));
    }

    /// Learns candidates; `None` if so much has happened since they were asked for that they are not believed.
    fn learn_all(&self, candidates: &[Candidate], asked: Asked) -> Option<Vec<Key>> {
        for candidate in candidates {
            let facts = candidate.facts.map(|account| self.person(account));
            let by = self.person(candidate.by);
            let mut recent = self.recent.write();
            if !recent.believes(asked) {
                return None;
            }
            recent.learn_asked(candidate.post, &facts, asked);
            if candidate.key.is_boost() {
                recent.learn_boost(candidate.key.id(), candidate.post, by);
            }
        }
        Some(candidates.iter().map(|candidate| candidate.key).collect())
    }

    /// Posting is about to be asked for boosts.
    #[must_use]
    pub fn ask(&self) -> Asked {
        self.recent.read().ask()
    }

    /// Learns every boost of a post that stood when posting was asked, as ids and boosters.
    pub fn learn_boosts(&self, post: u64, boosts: &[(u64, u64)], asked: Asked) {
        let boosts: Vec<(u64, Person)> =
            boosts.iter().map(|(id, booster)| (*id, self.person(*booster))).collect();
        self.recent.write().learn_boosts(post, &boosts, asked);
    }

    /// Takes a user's ring away.
    pub fn drop_ring(&self, viewer: u64) {
        self.at_user(viewer, |partition, local| partition.drop_ring(local));
    }

    /// Takes away the rings of all users of whom this says so: somebody else holds their homes from now on.
    pub fn drop_rings(&self, goes: impl Fn(u64) -> bool) {
        for partition in &self.partitions {
            let mut partition = partition.write();
            let people = self.people.read();
            partition.drop_rings(|person| goes(people.account(person)));
        }
    }

    /// Users with rings, accounts known, recent posts and boosts known, bytes of rings.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let parts = self.partitions.iter().map(|partition| {
            let partition = partition.read();
            (partition.count_rings(), partition.ring_bytes())
        });
        let (rings, ring_bytes) = parts.fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        Sizes { rings, ring_bytes, accounts: self.people.read().len(), recent: self.recent.read().len() }
    }

    /// How often something that came was put into a ring.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.read().delivered()).sum()
    }

    /// How many users of this memory follow an account.
    #[must_use]
    pub fn count_followers(&self, account: u64) -> usize {
        let Some(person) = self.people.read().find(account) else { return 0 };
        self.partitions.iter().map(|partition| partition.read().count_followers(person)).sum()
    }
}

/// How much a memory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub rings: usize,
    pub ring_bytes: usize,
    pub accounts: usize,
    pub recent: usize,
}

#[cfg(test)]
mod tests;
