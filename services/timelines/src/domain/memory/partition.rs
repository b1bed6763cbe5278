//! One part of the users of this process: whom they follow, whom they avoid, and the rings of those who read lately.
//!
//! Parts have locks of their own (in `memory`), so that readers and the fan-out meet seldom. A user of a part has a number
//! in it; authors, who may be anybody, have one in the process ([`Person`]).

mod sight;

pub use sight::LocalSight;

use super::members::Members;
use super::people::Person;
use super::ring::Ring;
use crate::domain::entry::{Key, Language};
use std::collections::{HashMap, HashSet};

/// A user by his number in his part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Local(pub u32);

/// When, and as member of which server, somebody looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since the Unix epoch.
    pub now: u64,
    pub server: u64,
}

/// What stands between a user and somebody else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restriction {
    /// The user blocks the other.
    pub blocks: bool,
    /// The other blocks the user.
    pub blocked: bool,
    /// The user mutes the other until then; 0 for not at all, `u64::MAX` for ever.
    pub muted_until: u64,
}

/// Marks the slot of a user who watches his home.
const WATCHED: u32 = 1 << 31;
/// The slot of a user without a ring.
const NONE: u32 = WATCHED - 1;

/// What is still to be merged into a busy ring.
#[derive(Clone, Copy, Debug, Default)]
struct Awaited {
    ticket: u64,
    filling: bool,
    patches: u32,
}

/// Allows to bring what a ring waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// A part of the users.
#[derive(Debug)]
pub struct Partition {
    locals: HashMap<u64, Local, ahash::RandomState>,
    persons: Vec<Person>,
    following: Vec<Members>,
    /// Which of `followers` belongs to a person; by his number, `u32::MAX` for none.
    followers_of: Vec<u32>,
    followers: Vec<Members>,
    /// Follows without boosts, as user and person in one number.
    quiet: HashSet<u64, ahash::RandomState>,
    /// Follows that want some languages only, likewise.
    languages: HashMap<u64, Box<[Language]>, ahash::RandomState>,
    restrictions: HashMap<u32, Vec<(Person, Restriction)>, ahash::RandomState>,
    slots: Vec<u32>,
    rings: Vec<Ring>,
    owners: Vec<Local>,
    free: Vec<u32>,
    awaited: HashMap<u32, Awaited, ahash::RandomState>,
    tickets: u64,
    delivered: u64,
    hand: usize,
    ring_most: u8,
    rings_most: usize,
}

impl Partition {
    /// At most `rings_most` rings of at most `2^ring_most` keys.
    #[must_use]
    pub fn new(rings_most: usize, ring_most: u8) -> Self {
        Self {
            locals: HashMap::default(),
            persons: Vec::new(),
            following: Vec::new(),
            followers_of: Vec::new(),
            followers: Vec::new(),
            quiet: HashSet::default(),
            languages: HashMap::default(),
            restrictions: HashMap::default(),
            slots: Vec::new(),
            rings: Vec::new(),
            owners: Vec::new(),
            free: Vec::new(),
            awaited: HashMap::default(),
            tickets: 0,
            delivered: 0,
            hand: 0,
            ring_most,
            rings_most: rings_most.max(1),
        }
    }

    /// The number of a user, if he has one.
    #[must_use]
    pub fn find(&self, account: u64) -> Option<Local> {
        self.locals.get(&account).copied()
    }

    /// The number of a user, a new one if needed.
    pub fn number(&mut self, account: u64, person: Person) -> Local {
        if let Some(found) = self.find(account) {
            return found;
        }
        let local = Local(u32::try_from(self.persons.len()).unwrap_or(u32::MAX));
        push_lean(&mut self.persons, person);
        push_lean(&mut self.following, Members::default());
        push_lean(&mut self.slots, NONE);
        self.locals.insert(account, local);
        local
    }

    /// The person that a user is.
    #[must_use]
    pub fn person(&self, local: Local) -> Person {
        self.persons.get(local.0 as usize).copied().unwrap_or(Person(u32::MAX))
    }

    /// A user follows somebody. True if he did not before.
    pub fn follow(&mut self, local: Local, person: Person, boosts: bool, languages: &[Language]) -> bool {
        let pair = pair(local, person);
        if languages.is_empty() {
            self.languages.remove(&pair);
        } else {
            self.languages.insert(pair, languages.into());
        }
        if boosts {
            self.quiet.remove(&pair)
        } else {
            self.quiet.insert(pair)
        };
        let Some(following) = self.following.get_mut(local.0 as usize) else { return false };
        if !following.insert(person.0) {
            return false;
        }
        let at = person.0 as usize;
        if self.followers_of.len() <= at {
            self.followers_of.reserve_exact((at + 1 - self.followers_of.len()).max(at / 8));
            self.followers_of.resize(at + 1, u32::MAX);
        }
        let next = u32::try_from(self.followers.len()).unwrap_or(u32::MAX);
        let Some(list) = self.followers_of.get_mut(at) else { return true };
        if *list == u32::MAX {
            *list = next;
            push_lean(&mut self.followers, Members::default());
        }
        if let Some(followers) = self.followers.get_mut(*list as usize) {
            followers.insert(local.0);
        }
        true
    }

    /// A user follows somebody no longer.
    pub fn unfollow(&mut self, local: Local, person: Person) {
        self.quiet.remove(&pair(local, person));
        self.languages.remove(&pair(local, person));
        if let Some(following) = self.following.get_mut(local.0 as usize) {
            following.remove(person.0);
        }
        if let Some(list) = self.list_of(person)
            && let Some(followers) = self.followers.get_mut(list)
        {
            followers.remove(local.0);
        }
    }

    fn list_of(&self, person: Person) -> Option<usize> {
        self.followers_of.get(person.0 as usize).filter(|list| **list != u32::MAX).map(|list| *list as usize)
    }

    /// How many users follow somebody.
    #[must_use]
    pub fn count_followers(&self, person: Person) -> usize {
        self.list_of(person).and_then(|list| self.followers.get(list)).map_or(0, Members::len)
    }

    /// Changes what stands between a user and somebody.
    pub fn restrict(&mut self, local: Local, person: Person, change: impl FnOnce(&mut Restriction)) {
        let list = self.restrictions.entry(local.0).or_default();
        let place = match list.binary_search_by_key(&person, |(other, _)| *other) {
            Ok(place) => place,
            Err(place) => {
                list.insert(place, (person, Restriction::default()));
                place
            }
        };
        if let Some((_, restriction)) = list.get_mut(place) {
            change(restriction);
            if *restriction == Restriction::default() {
                list.remove(place);
            }
        }
        if list.is_empty() {
            self.restrictions.remove(&local.0);
        }
    }

    fn slot(&self, local: Local) -> u32 {
        self.slots.get(local.0 as usize).copied().unwrap_or(NONE)
    }

    fn set_slot(&mut self, local: Local, ring: u32) {
        if let Some(slot) = self.slots.get_mut(local.0 as usize) {
            *slot = *slot & WATCHED | ring;
        }
    }

    /// From now on, or no longer, it is said when something comes for this user.
    pub fn watch(&mut self, local: Local, watched: bool) {
        if let Some(slot) = self.slots.get_mut(local.0 as usize) {
            *slot = if watched { *slot | WATCHED } else { *slot & !WATCHED };
        }
    }

    /// The ring of a user.
    #[must_use]
    pub fn ring(&self, local: Local) -> Option<&Ring> {
        self.rings.get((self.slot(local) & !WATCHED) as usize)
    }

    fn ring_mut(&mut self, local: Local) -> Option<&mut Ring> {
        let slot = self.slot(local) & !WATCHED;
        self.rings.get_mut(slot as usize)
    }

    /// How many rings there are.
    #[must_use]
    pub const fn count_rings(&self) -> usize {
        self.rings.len() - self.free.len()
    }

    /// Bytes of rings: entries, and everything beside them that exists for each ring.
    #[must_use]
    pub fn ring_bytes(&self) -> usize {
        let rings: usize = self.rings.iter().map(Ring::bytes).sum();
        rings + self.owners.len() * size_of::<Local>() + self.slots.len() * size_of::<u32>()
    }

    /// Brings a key to the followers of somebody from the user `from` on, to about `chunk` of them. Returns where to go
    /// on, and tells `watched` of those who watch.
    pub fn deliver(
        &mut self,
        author: Person,
        key: Key,
        from: u32,
        chunk: usize,
        watched: &mut Vec<Local>,
    ) -> Option<u32> {
        let list = self.list_of(author)?;
        let followers = self.followers.get(list)?;
        let (mut next, mut delivered) = (None, 0);
        for (count, local) in followers.iter_from(from).enumerate() {
            if count == chunk {
                next = Some(local);
                break;
            }
            let Some(slot) = self.slots.get(local as usize).copied() else { continue };
            if let Some(ring) = self.rings.get_mut((slot & !WATCHED) as usize) {
                ring.push(key);
                delivered += 1;
            }
            if slot & WATCHED != 0 {
                watched.push(Local(local));
            }
        }
        self.delivered += delivered;
        next
    }

    /// How often something that came was put into a ring; what was before a ring and is merged in does not count.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Brings a key to one user, if it concerns him.
    pub fn deliver_to(&mut self, local: Local, key: Key, watched: &mut Vec<Local>) {
        if let Some(ring) = self.ring_mut(local) {
            ring.push(key);
            self.delivered += 1;
        }
        if self.slot(local) & WATCHED != 0 {
            watched.push(local);
        }
    }

    /// Whether a user follows somebody.
    #[must_use]
    pub fn follows(&self, local: Local, person: Person) -> bool {
        self.following.get(local.0 as usize).is_some_and(|following| following.contains(person.0))
    }

    /// Gives a user a ring that takes what comes from now on and waits for what was before.
    pub fn begin_fill(&mut self, local: Local, minute: u16) -> Ticket {
        self.drop_ring(local);
        let mut ring = Ring::new(self.ring_most);
        ring.set_busy(true);
        ring.see(minute);
        let slot = self.place_ring(ring, local, minute);
        self.set_slot(local, slot);
        self.tickets += 1;
        self.awaited.insert(local.0, Awaited { ticket: self.tickets, filling: true, patches: 0 });
        Ticket(self.tickets)
    }

    /// Brings what was before: keys from the newest on, and whether these are all.
    pub fn end_fill(&mut self, local: Local, ticket: Ticket, keys: &[Key], whole: bool) {
        let Some(awaited) = self.awaited.get_mut(&local.0).filter(|awaited| awaited.ticket == ticket.0)
        else {
            return;
        };
        awaited.filling = false;
        let ready = awaited.patches == 0;
        if let Some(ring) = self.ring_mut(local) {
            for key in keys.iter().rev() {
                ring.push(*key);
            }
            if let Some(oldest) = keys.last().filter(|_| !whole) {
                ring.forget_below(*oldest);
            }
            ring.set_busy(!ready);
        }
        if ready {
            self.awaited.remove(&local.0);
        }
    }

    /// The ring waits for the past of somebody newly followed, whose keys are wanted down to the id that is returned.
    pub fn begin_patch(&mut self, local: Local) -> Option<(Ticket, u64)> {
        let ring = self.ring_mut(local)?;
        let floor = if ring.is_whole() { 0 } else { ring.at(0).map_or(0, Key::id) };
        ring.set_busy(true);
        if let Some(awaited) = self.awaited.get_mut(&local.0) {
            awaited.patches += 1;
            return Some((Ticket(awaited.ticket), floor));
        }
        self.tickets += 1;
        self.awaited.insert(local.0, Awaited { ticket: self.tickets, filling: false, patches: 1 });
        Some((Ticket(self.tickets), floor))
    }

    /// Brings the past of somebody newly followed: all keys down to the floor, or to the `last` that was brought.
    pub fn end_patch(&mut self, local: Local, ticket: Ticket, keys: &[Key], last: Option<Key>) {
        let Some(awaited) = self.awaited.get_mut(&local.0).filter(|awaited| awaited.ticket == ticket.0)
        else {
            return;
        };
        awaited.patches = awaited.patches.saturating_sub(1);
        let ready = awaited.patches == 0 && !awaited.filling;
        if let Some(ring) = self.ring_mut(local) {
            for key in keys {
                ring.push(*key);
            }
            if let Some(last) = last {
                ring.forget_below(last);
            }
            ring.set_busy(!ready);
        }
        if ready {
            self.awaited.remove(&local.0);
        }
    }

    /// Takes a user's ring away: the next read merges.
    pub fn drop_ring(&mut self, local: Local) {
        let slot = self.slot(local) & !WATCHED;
        let Some(ring) = self.rings.get_mut(slot as usize) else { return };
        *ring = Ring::default();
        self.free.push(slot);
        self.set_slot(local, NONE);
        self.awaited.remove(&local.0);
    }

    /// Takes away the rings of all users of whom this says so.
    pub fn drop_rings(&mut self, goes: impl Fn(Person) -> bool) {
        let owners: Vec<Local> =
            self.owners.iter().copied().filter(|local| goes(self.person(*local))).collect();
        for owner in owners {
            self.drop_ring(owner);
        }
    }

    /// Finds a place for a ring, if need be that of a ring that was not read for long.
    fn place_ring(&mut self, ring: Ring, local: Local, minute: u16) -> u32 {
        if self.free.is_empty() && self.rings.len() >= self.rings_most {
            self.drop_longest_unread(minute);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            push_lean(&mut self.rings, Ring::default());
            push_lean(&mut self.owners, local);
            u32::try_from(self.rings.len() - 1).unwrap_or(NONE)
        });
        if let (Some(place), Some(owner)) =
            (self.rings.get_mut(slot as usize), self.owners.get_mut(slot as usize))
        {
            (*place, *owner) = (ring, local);
        }
        slot
    }

    /// Of the next few rings under the hand, the one unread for longest goes. Looking at all would stop the others.
    fn drop_longest_unread(&mut self, minute: u16) {
        const LOOKED_AT: usize = 64;
        let count = self.rings.len();
        let looked = (self.hand..self.hand + LOOKED_AT.min(count)).map(|index| index % count);
        let victim = looked
            .max_by_key(|index| self.rings.get(*index).map_or(0, |ring| minute.wrapping_sub(ring.seen())));
        self.hand = (self.hand + LOOKED_AT) % count.max(1);
        if let Some(owner) = victim.and_then(|victim| self.owners.get(victim)).copied() {
            self.drop_ring(owner);
        }
    }
}

/// Grows by an eighth: these arrays are long, and doubling would leave half of them empty.
fn push_lean<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 8).max(16));
    }
    list.push(item);
}

const fn pair(local: Local, person: Person) -> u64 {
    (local.0 as u64) << 32 | person.0 as u64
}
