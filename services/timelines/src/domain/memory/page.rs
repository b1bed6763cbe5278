//! A page of home out of memory, or why memory cannot give it.

use super::Memory;
use super::partition::{LocalSight, Moment};
use super::people::{People, Person};
use super::recent::{Known, Recent};
use super::ring::Ring;
use crate::domain::entry::{Entry, Key};
use crate::domain::home::{boost_has_place, has_place};
use crate::domain::window::Window;

/// What memory says to a question for a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The page, newest first.
    Page(Vec<Entry<u64>>),
    /// There is no ring, or it knows too little of what it holds: it is to be filled.
    Unfilled,
    /// Something is still being merged into the ring.
    Busy,
    /// The page goes past what the ring knows.
    Past,
    /// Boosts of these posts must be learnt first.
    Lacks(Vec<u64>),
}

/// What one candidate turns out to be.
enum Judged {
    Shown(Entry<u64>),
    Hidden,
    /// Nothing is known of it any more.
    Forgotten,
    /// The boosts of this post are not all known.
    Lacks(u64),
}

/// What is needed to judge.
struct Judge<'a> {
    sight: LocalSight<'a>,
    recent: &'a Recent,
    people: &'a People,
}

impl Judge<'_> {
    fn judge(&self, key: Key) -> Judged {
        if key.is_boost() { self.judge_boost(key.id()) } else { self.judge_post(key.id()) }
    }

    fn judge_post(&self, id: u64) -> Judged {
        match self.recent.post(id) {
            Known::Unknown => Judged::Forgotten,
            Known::This(post) if has_place(&self.sight, &post) => {
                Judged::Shown(Entry { id, post: id, author: self.people.account(post.author), booster: None })
            }
            Known::This(_) | Known::Gone => Judged::Hidden,
        }
    }

    fn judge_boost(&self, id: u64) -> Judged {
        let boost = match self.recent.boost(id) {
            Known::Unknown => return Judged::Forgotten,
            Known::Gone => return Judged::Hidden,
            Known::This(boost) => boost,
        };
        let post = match self.recent.post(boost.post) {
            Known::Unknown => return Judged::Forgotten,
            Known::Gone => return Judged::Hidden,
            Known::This(post) => post,
        };
        let none = std::iter::empty::<Person>();
        if !boost_has_place(&self.sight, boost.booster, &post, none) {
            return Judged::Hidden;
        }
        let Some(older) = self.recent.older_boosts(boost.post, id) else { return Judged::Lacks(boost.post) };
        if !boost_has_place(&self.sight, boost.booster, &post, older) {
            return Judged::Hidden;
        }
        Judged::Shown(Entry {
            id,
            post: boost.post,
            author: self.people.account(post.author),
            booster: Some(self.people.account(boost.booster)),
        })
    }
}

impl Memory {
    /// A page of a user's home at a moment, if memory can give it. Whether memory is fresh enough to be asked is for the
    /// caller to know.
    #[must_use]
    pub fn page(&self, viewer: u64, window: &Window, at: Moment) -> Answer {
        let Some(partition) = self.partition_of(viewer) else { return Answer::Unfilled };
        let partition = partition.read();
        let Some(local) = partition.find(viewer) else { return Answer::Unfilled };
        let Some(ring) = partition.ring(local) else { return Answer::Unfilled };
        ring.see(minute_of(at.now));
        if ring.is_busy() {
            return Answer::Busy;
        }
        let (recent, people) = (self.recent.read(), self.people.read());
        let judge = Judge { sight: partition.sight(local, &people, at), recent: &recent, people: &people };
        if window.nearest { upwards(&judge, ring, window) } else { downwards(&judge, ring, window) }
    }

    /// What a candidate is to a user who watches, if memory knows.
    #[must_use]
    pub fn judge(&self, viewer: u64, key: Key, at: Moment) -> Watched {
        let Some(partition) = self.partition_of(viewer) else { return Watched::Hidden };
        let partition = partition.read();
        let Some(local) = partition.find(viewer) else { return Watched::Hidden };
        let (recent, people) = (self.recent.read(), self.people.read());
        let judge = Judge { sight: partition.sight(local, &people, at), recent: &recent, people: &people };
        match judge.judge(key) {
            Judged::Shown(entry) => Watched::Shown(entry),
            Judged::Hidden => Watched::Hidden,
            Judged::Forgotten => Watched::Forgotten,
            Judged::Lacks(post) => Watched::Lacks(post),
        }
    }

    /// Whether a user follows an account.
    #[must_use]
    pub fn follows(&self, viewer: u64, account: u64) -> bool {
        let Some(person) = self.people.read().find(account) else { return false };
        let Some(partition) = self.partition_of(viewer) else { return false };
        let partition = partition.read();
        partition.find(viewer).is_some_and(|local| partition.follows(local, person))
    }
}

/// A moment in minutes, wrapping, as rings keep it.
#[must_use]
pub const fn minute_of(now: u64) -> u16 {
    (now / 60_000) as u16
}

/// What a candidate is to somebody who watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    Shown(Entry<u64>),
    Hidden,
    /// The boosts of this post must be learnt first.
    Lacks(u64),
    /// Nothing is known of it: it is from before this memory, or too long ago.
    Forgotten,
}

fn downwards(judge: &Judge<'_>, ring: &Ring, window: &Window) -> Answer {
    let mut page = Page::new(window.limit);
    let end = if window.below > u64::MAX >> 1 { ring.len() } else { ring.below(Key::post(window.below)) };
    for index in (0..end).rev() {
        let Some(key) = ring.at(index) else { break };
        if key.id() <= window.above || page.is_full() {
            break;
        }
        if let Err(answer) = page.add(judge.judge(key)) {
            return answer;
        }
    }
    if !page.is_full() && !ring.covers_above(window.above) {
        return Answer::Past;
    }
    page.done(false)
}

fn upwards(judge: &Judge<'_>, ring: &Ring, window: &Window) -> Answer {
    if !ring.covers_above(window.above) {
        return Answer::Past;
    }
    let mut page = Page::new(window.limit);
    // A boost's key lies right behind a post's of the same id, and ids of the two differ.
    let begin = ring.below(Key::post(window.above.saturating_add(1)));
    for index in begin..ring.len() {
        let Some(key) = ring.at(index) else { break };
        if key.id() >= window.below || page.is_full() {
            break;
        }
        if let Err(answer) = page.add(judge.judge(key)) {
            return answer;
        }
    }
    page.done(true)
}

struct Page {
    entries: Vec<Entry<u64>>,
    lacks: Vec<u64>,
    limit: usize,
}

impl Page {
    fn new(limit: usize) -> Self {
        Self { entries: Vec::with_capacity(limit), lacks: Vec::new(), limit }
    }

    /// Enough is known to stop: if something is lacking, that may make the page longer than needed, never shorter.
    fn is_full(&self) -> bool {
        self.entries.len() >= self.limit
    }

    fn add(&mut self, judged: Judged) -> Result<(), Answer> {
        match judged {
            Judged::Shown(entry) => self.entries.push(entry),
            Judged::Hidden => {}
            Judged::Lacks(post) => self.lacks.push(post),
            Judged::Forgotten => return Err(Answer::Unfilled),
        }
        Ok(())
    }

    fn done(mut self, reverse: bool) -> Answer {
        if !self.lacks.is_empty() {
            return Answer::Lacks(self.lacks);
        }
        if reverse {
            self.entries.reverse();
        }
        Answer::Page(self.entries)
    }
}
