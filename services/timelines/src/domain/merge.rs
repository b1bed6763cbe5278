//! Home computed by merging outboxes: the candidates come as posting merged them, the rules are those of `home`.
//!
//! Pure: whoever asks posting feeds what it answers into [`Merge`], which says what to ask next.

use super::entry::{Entry, Key, Language, Reply, Visibility};
use super::home::{Follow, Sight, boost_has_place, has_place};
use super::memory::Candidate;
use super::window::Window;
use std::collections::{HashMap, HashSet};

/// A viewer's relations as identity tells them.
#[derive(Clone, Debug, Default)]
pub struct Relations {
    pub viewer: u64,
    /// Whom the viewer follows.
    pub follows: HashMap<u64, Follow>,
    /// Languages that are wanted of somebody followed; not in it: all.
    pub languages: HashMap<u64, Vec<Language>>,
    /// Blocks either way, mutes that hold, accounts that are suspended or gone.
    pub barred: HashSet<u64>,
    /// Whom the viewer himself blocks or mutes.
    pub avoided: HashSet<u64>,
}

impl Sight for Relations {
    type Account = u64;

    fn viewer(&self) -> u64 {
        self.viewer
    }

    fn follow(&self, account: u64) -> Option<Follow> {
        self.follows.get(&account).copied()
    }

    fn wants_language(&self, account: u64, language: Language) -> bool {
        self.languages.get(&account).is_none_or(|wanted| wanted.contains(&language))
    }

    fn bars(&self, account: u64) -> bool {
        self.barred.contains(&account)
    }

    fn avoids(&self, account: u64) -> bool {
        self.avoided.contains(&account)
    }
}

/// What a merge needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Candidates within this window, of the outboxes of everybody followed and of the viewer.
    Candidates(Window),
    /// Nothing: the page is there, newest first.
    Done(Vec<Entry<u64>>),
}

/// A page in the making.
#[derive(Debug)]
pub struct Merge {
    window: Window,
    left: Window,
    page: Vec<Entry<u64>>,
    exhausted: bool,
}

/// Candidates asked for at a time at most.
const MOST: usize = 400;

impl Merge {
    /// Begins a page.
    #[must_use]
    pub fn new(window: Window) -> Self {
        let left = Window { limit: (window.limit * 2).clamp(1, MOST), ..window };
        Self { window, left, page: Vec::with_capacity(window.limit), exhausted: false }
    }

    /// What is needed next.
    #[must_use]
    pub fn need(&self) -> Need {
        if self.exhausted || self.page.len() >= self.window.limit {
            let mut page = self.page.clone();
            if self.window.nearest {
                page.reverse();
            }
            return Need::Done(page);
        }
        Need::Candidates(self.left)
    }

    /// Those of the candidates whose post's older boosts decide, by boost and post.
    #[must_use]
    pub fn doubtful(sight: &Relations, candidates: &[Candidate]) -> Vec<(u64, u64)> {
        candidates
            .iter()
            .filter(|candidate| candidate.key.is_boost())
            .filter(|candidate| boost_has_place(sight, candidate.by, &candidate.facts.as_post(), []))
            .map(|candidate| (candidate.key.id(), candidate.post))
            .collect()
    }

    /// Takes what was asked for: candidates, newest first, and who boosted before each doubtful boost.
    pub fn feed(&mut self, sight: &Relations, candidates: &[Candidate], older: &HashMap<u64, Vec<u64>>) {
        self.exhausted = candidates.len() < self.left.limit;
        let mut ordered: Vec<&Candidate> = candidates.iter().collect();
        if self.window.nearest {
            ordered.reverse();
        }
        for candidate in ordered {
            let id = candidate.key.id();
            if self.window.nearest {
                self.left.above = id
            } else {
                self.left.below = id
            }
            if self.page.len() < self.window.limit
                && let Some(entry) = judge(sight, candidate, older)
            {
                self.page.push(entry);
            }
        }
        self.left.limit = (self.left.limit * 2).min(MOST);
    }
}

/// The entry that a candidate is to the viewer, if it is one.
fn judge(sight: &Relations, candidate: &Candidate, older: &HashMap<u64, Vec<u64>>) -> Option<Entry<u64>> {
    let post = candidate.facts.as_post();
    let id = candidate.key.id();
    let entry = Entry { id, post: candidate.post, author: post.author, booster: None };
    if !candidate.key.is_boost() {
        return has_place(sight, &post).then_some(entry);
    }
    let older = older.get(&id).into_iter().flatten().copied();
    let shown = boost_has_place(sight, candidate.by, &post, older);
    shown.then_some(Entry { booster: Some(candidate.by), ..entry })
}

/// Builds what the rules take out of what messages carry. 0 is nobody.
#[must_use]
pub const fn reply_of(is_reply: bool, answered: u64) -> Reply<u64> {
    match (is_reply, answered) {
        (_, 1..) => Reply::To(answered),
        (true, 0) => Reply::ToUnknown,
        (false, 0) => Reply::No,
    }
}

/// Whether a candidate belongs into a ring: a direct post concerns only its author and those whom it names.
#[must_use]
pub fn concerns(viewer: u64, candidate: &Candidate) -> bool {
    candidate.facts.visibility != Visibility::Direct
        || candidate.by == viewer
        || candidate.facts.mentions.contains(&viewer)
}

/// The key of what an outbox lists.
#[must_use]
pub const fn key_of(id: u64, post: u64) -> Key {
    if id == post { Key::post(id) } else { Key::boost(id) }
}
