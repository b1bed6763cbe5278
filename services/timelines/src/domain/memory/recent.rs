//! What the rules need to know of recent posts and boosts, once per post and not once per ring.
//!
//! Bounded: the longest known ones are forgotten first. Whoever misses one asks posting for it, so forgetting costs time
//! but never changes a page. What ends or is edited leaves a mark with a rising number, so that an answer of posting that
//! was asked for before cannot bring the old state back; if such a mark is forgotten too, that answer is not believed.

use super::people::Person;
use crate::domain::entry::{Key, Language, Post, Reply, Visibility};
use std::collections::{HashMap, VecDeque};

/// A post as its author made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts<A> {
    pub author: A,
    pub visibility: Visibility,
    pub reply: Reply<A>,
    pub mentions: Vec<A>,
    pub language: Language,
}

impl<A: Copy> Facts<A> {
    /// As the rules take it.
    #[must_use]
    pub fn as_post(&self) -> Post<'_, A> {
        Post {
            author: self.author,
            visibility: self.visibility,
            reply: self.reply,
            mentions: &self.mentions,
            language: self.language,
        }
    }

    /// The same with accounts named otherwise.
    pub fn map<B>(&self, mut name: impl FnMut(A) -> B) -> Facts<B> {
        Facts {
            author: name(self.author),
            visibility: self.visibility,
            reply: match self.reply {
                Reply::No => Reply::No,
                Reply::ToUnknown => Reply::ToUnknown,
                Reply::To(answered) => Reply::To(name(answered)),
            },
            mentions: self.mentions.iter().map(|named| name(*named)).collect(),
            language: self.language,
        }
    }
}

/// Sixteen bytes of a post.
#[derive(Clone, Copy, Debug)]
struct Compact {
    author: Person,
    /// Whom it answers, if `ANSWERS` is set.
    answered: Person,
    language: Language,
    visibility: Visibility,
    flags: u8,
}

const ANSWERS: u8 = 2;
const ANSWERS_UNKNOWN: u8 = 4;
const NAMES: u8 = 8;
/// Every boost of it that stands is known.
const BOOSTS_KNOWN: u8 = 16;

const NOBODY: Person = Person(u32::MAX);

/// A boost: which post, by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boost {
    pub post: u64,
    pub booster: Person,
}

/// That something ended, or was edited.
#[derive(Clone, Copy, Debug)]
struct Mark {
    number: u64,
    gone: bool,
}

/// How many marks there were when something was asked of posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked(u64);

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<T> {
    This(T),
    /// It is not there any more.
    Gone,
    /// Never heard of, or forgotten.
    Unknown,
}

/// Recent posts and boosts.
#[derive(Debug)]
pub struct Recent {
    posts: HashMap<u64, Compact, ahash::RandomState>,
    boosts: HashMap<u64, Boost, ahash::RandomState>,
    mentions: HashMap<u64, Box<[Person]>, ahash::RandomState>,
    boosts_of: HashMap<u64, Vec<(u64, Person)>, ahash::RandomState>,
    order: VecDeque<Key>,
    marks: HashMap<Key, Mark, ahash::RandomState>,
    marked: VecDeque<(Key, u64)>,
    marks_made: u64,
    marks_forgotten: u64,
    most: usize,
}

impl Recent {
    /// At most so many posts and boosts.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            posts: HashMap::default(),
            boosts: HashMap::default(),
            mentions: HashMap::default(),
            boosts_of: HashMap::default(),
            order: VecDeque::new(),
            marks: HashMap::default(),
            marked: VecDeque::new(),
            marks_made: 0,
            marks_forgotten: 0,
            most: most.max(1),
        }
    }

    /// How many posts and boosts are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn remember(&mut self, key: Key) {
        self.order.push_back(key);
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            if oldest.is_boost() {
                self.boosts.remove(&oldest.id());
            } else {
                self.posts.remove(&oldest.id());
                self.mentions.remove(&oldest.id());
                self.boosts_of.remove(&oldest.id());
            }
        }
    }

    /// Something is about to be asked of posting.
    #[must_use]
    pub const fn ask(&self) -> Asked {
        Asked(self.marks_made)
    }

    /// Whether what was asked for then may be learnt now.
    #[must_use]
    pub const fn believes(&self, asked: Asked) -> bool {
        self.marks_forgotten <= asked.0
    }

    fn mark(&mut self, key: Key, gone: bool) {
        self.marks_made += 1;
        let number = self.marks_made;
        self.marks.insert(key, Mark { number, gone });
        self.marked.push_back((key, number));
        if self.marked.len() > self.most
            && let Some((oldest, number)) = self.marked.pop_front()
        {
            self.marks_forgotten = number;
            if self.marks.get(&oldest).is_some_and(|mark| mark.number == number) {
                self.marks.remove(&oldest);
            }
        }
    }

    fn is_gone(&self, key: Key) -> bool {
        self.marks.get(&key).is_some_and(|mark| mark.gone)
    }

    /// Learns a post from the log. `newly` made, no boost of it can be older than this moment.
    pub fn learn_post(&mut self, id: u64, facts: &Facts<Person>, newly: bool) {
        self.learn(id, facts, newly, Asked(u64::MAX));
    }

    /// Learns a post as posting had it when it was asked.
    pub fn learn_asked(&mut self, id: u64, facts: &Facts<Person>, asked: Asked) {
        self.learn(id, facts, false, asked);
    }

    fn learn(&mut self, id: u64, facts: &Facts<Person>, newly: bool, asked: Asked) {
        let outdated = |mark: &Mark| mark.gone || mark.number > asked.0;
        if self.posts.contains_key(&id) || self.marks.get(&Key::post(id)).is_some_and(outdated) {
            return;
        }
        let (answered, mut flags) = match facts.reply {
            Reply::No => (NOBODY, 0),
            Reply::To(answered) => (answered, ANSWERS),
            Reply::ToUnknown => (NOBODY, ANSWERS_UNKNOWN),
        };
        if newly {
            flags |= BOOSTS_KNOWN;
        }
        self.posts.insert(
            id,
            Compact {
                author: facts.author,
                answered,
                language: facts.language,
                visibility: facts.visibility,
                flags,
            },
        );
        self.name(id, &facts.mentions);
        self.remember(Key::post(id));
    }

    /// Learns whom a post names after an edit, and in which language.
    pub fn learn_edit(&mut self, id: u64, mentions: &[Person], language: Language) {
        if let Some(post) = self.posts.get_mut(&id) {
            post.language = language;
        }
        self.name(id, mentions);
        if !self.is_gone(Key::post(id)) {
            self.mark(Key::post(id), false);
        }
    }

    fn name(&mut self, id: u64, mentions: &[Person]) {
        let Some(post) = self.posts.get_mut(&id) else { return };
        if mentions.is_empty() {
            post.flags &= !NAMES;
            self.mentions.remove(&id);
        } else {
            post.flags |= NAMES;
            self.mentions.insert(id, mentions.into());
        }
    }

    /// A post is gone.
    pub fn forget_post(&mut self, id: u64) {
        self.posts.remove(&id);
        self.mentions.remove(&id);
        self.boosts_of.remove(&id);
        self.mark(Key::post(id), true);
    }

    /// Learns a boost.
    pub fn learn_boost(&mut self, id: u64, post: u64, booster: Person) {
        if self.boosts.contains_key(&id) || self.is_gone(Key::boost(id)) {
            return;
        }
        self.boosts.insert(id, Boost { post, booster });
        self.list_boost(id, post, booster);
        self.remember(Key::boost(id));
    }

    /// Lists a boost under its post, but only where the post's end will take the list away again.
    fn list_boost(&mut self, id: u64, post: u64, booster: Person) {
        if !self.posts.contains_key(&post) {
            return;
        }
        let list = self.boosts_of.entry(post).or_default();
        if let Err(place) = list.binary_search_by_key(&id, |(id, _)| *id) {
            list.insert(place, (id, booster));
        }
    }

    /// A boost is gone.
    pub fn forget_boost(&mut self, id: u64, post: u64) {
        self.boosts.remove(&id);
        self.mark(Key::boost(id), true);
        if let Some(list) = self.boosts_of.get_mut(&post) {
            list.retain(|(other, _)| *other != id);
        }
    }

    /// Learns all boosts of a post, as they stood when posting was asked.
    pub fn learn_boosts(&mut self, post: u64, boosts: &[(u64, Person)], asked: Asked) {
        if !self.believes(asked) {
            return;
        }
        for (id, booster) in boosts {
            if !self.is_gone(Key::boost(*id)) {
                self.list_boost(*id, post, *booster);
            }
        }
        if let Some(post) = self.posts.get_mut(&post) {
            post.flags |= BOOSTS_KNOWN;
        }
    }

    /// A post, as the rules take it.
    #[must_use]
    pub fn post(&self, id: u64) -> Known<Post<'_, Person>> {
        let Some(post) = self.posts.get(&id) else { return self.missing(Key::post(id)) };
        let reply = match post.flags & (ANSWERS | ANSWERS_UNKNOWN) {
            0 => Reply::No,
            ANSWERS => Reply::To(post.answered),
            _ => Reply::ToUnknown,
        };
        let mentions = if post.flags & NAMES == 0 {
            &[][..]
        } else {
            self.mentions.get(&id).map_or(&[][..], |named| named)
        };
        Known::This(Post {
            author: post.author,
            visibility: post.visibility,
            reply,
            mentions,
            language: post.language,
        })
    }

    /// A boost.
    #[must_use]
    pub fn boost(&self, id: u64) -> Known<Boost> {
        self.boosts.get(&id).map_or_else(|| self.missing(Key::boost(id)), |boost| Known::This(*boost))
    }

    fn missing<T>(&self, key: Key) -> Known<T> {
        if self.is_gone(key) { Known::Gone } else { Known::Unknown }
    }

    /// Who boosted a post before this boost; `None` if that is not known.
    #[must_use]
    pub fn older_boosts(&self, post: u64, boost: u64) -> Option<impl Iterator<Item = Person> + '_> {
        let known = self.posts.get(&post).is_some_and(|post| post.flags & BOOSTS_KNOWN != 0);
        let list = self.boosts_of.get(&post).map_or(&[][..], Vec::as_slice);
        known.then(|| list.iter().take_while(move |(id, _)| *id < boost).map(|(_, booster)| *booster))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(author: u32) -> Facts<Person> {
        Facts {
            author: Person(author),
            visibility: Visibility::Public,
            reply: Reply::No,
            mentions: vec![],
            language: Language::default(),
        }
    }

    #[test]
    fn what_is_gone_stays_gone() {
        let mut recent = Recent::new(10);
        let asked = recent.ask();
        recent.forget_post(1);
        recent.learn_asked(1, &facts(5), asked);
        assert_eq!(recent.post(1), Known::Gone);
        recent.learn_post(2, &facts(5), true);
        recent.forget_boost(7, 2);
        recent.learn_boosts(2, &[(6, Person(1)), (7, Person(2))], asked);
        recent.learn_boost(7, 2, Person(2));
        assert_eq!(recent.boost(7), Known::Gone);
        assert_eq!(recent.older_boosts(2, 100).unwrap().collect::<Vec<_>>(), [Person(1)]);
    }

    #[test]
    fn an_answer_older_than_an_edit_is_not_learnt_and_one_older_than_forgotten_marks_not_believed() {
        let mut recent = Recent::new(3);
        let before = recent.ask();
        recent.learn_edit(1, &[Person(9)], Language::default());
        recent.learn_asked(1, &facts(5), before);
        assert_eq!(recent.post(1), Known::Unknown);
        let after = recent.ask();
        recent.learn_asked(1, &facts(5), after);
        assert!(matches!(recent.post(1), Known::This(_)));
        (10..13).for_each(|id| recent.forget_post(id));
        assert!(!recent.believes(before) && recent.believes(after));
    }

    #[test]
    fn older_boosts_are_told_only_where_all_are_known() {
        let mut recent = Recent::new(10);
        recent.learn_post(1, &facts(5), false);
        recent.learn_boost(9, 1, Person(3));
        assert!(recent.older_boosts(1, 9).is_none());
        let asked = recent.ask();
        recent.learn_boosts(1, &[(4, Person(2)), (9, Person(3)), (11, Person(4))], asked);
        assert_eq!(recent.older_boosts(1, 9).unwrap().collect::<Vec<_>>(), [Person(2)]);
    }

    #[test]
    fn the_oldest_is_forgotten_with_all_that_hangs_on_it() {
        let mut recent = Recent::new(2);
        recent.learn_post(1, &Facts { mentions: vec![Person(8)], ..facts(5) }, true);
        recent.learn_boost(2, 1, Person(3));
        recent.learn_post(3, &facts(5), true);
        assert_eq!(recent.post(1), Known::Unknown);
        assert!(recent.mentions.is_empty() && recent.boosts_of.is_empty() && recent.len() == 2);
        recent.learn_boost(4, 1, Person(3));
        assert!(recent.boosts_of.is_empty(), "nothing hangs on what was forgotten");
        assert_eq!(recent.boost(2), Known::Unknown);
    }
}
