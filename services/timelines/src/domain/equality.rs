//! Memory, merge, and the definition read word by word, held against each other over random histories.

use super::entry::{Entry, Key, Language, Reply, Visibility};
use super::home::{Follow, boost_counts, has_place};
use super::memory::page::Answer;
use super::memory::partition::Moment;
use super::memory::recent::Facts;
use super::memory::{Bounds, Candidate, Change, Delivery, Memory, Patch, Ticket};
use super::merge::{Merge, Need, Relations, concerns};
use super::window::Window;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

const PEOPLE: u64 = 6;

/// What happened, as outboxes and relations keep it.
#[derive(Debug, Default)]
struct World {
    posts: BTreeMap<u64, Facts<u64>>,
    boosts: BTreeMap<u64, (u64, u64)>,
    follows: BTreeMap<(u64, u64), (bool, Vec<Language>)>,
    blocks: Vec<(u64, u64)>,
    mutes: BTreeMap<(u64, u64), u64>,
    hidden: Vec<u64>,
    now: u64,
    last_id: u64,
}

impl World {
    fn relations(&self, viewer: u64) -> Relations {
        let mut relations = Relations { viewer, ..Relations::default() };
        for ((follower, followed), (boosts, languages)) in &self.follows {
            if *follower == viewer {
                relations.follows.insert(*followed, Follow { boosts: *boosts });
                if !languages.is_empty() {
                    relations.languages.insert(*followed, languages.clone());
                }
            }
        }
        for (one, other) in &self.blocks {
            if *one == viewer {
                relations.avoided.insert(*other);
                relations.barred.insert(*other);
            } else if *other == viewer {
                relations.barred.insert(*one);
            }
        }
        for ((muter, muted), until) in &self.mutes {
            if *muter == viewer && *until > self.now {
                relations.avoided.insert(*muted);
                relations.barred.insert(*muted);
            }
        }
        relations.barred.extend(&self.hidden);
        relations
    }

    /// The definition, word by word.
    fn home(&self, viewer: u64) -> Vec<Entry<u64>> {
        let sight = self.relations(viewer);
        let mut home = Vec::new();
        for (id, facts) in &self.posts {
            if has_place(&sight, &facts.as_post()) {
                home.push(Entry { id: *id, post: *id, author: facts.author, booster: None });
                continue;
            }
            let mut boosts = self.boosts.iter().filter(|(_, (post, _))| post == id);
            let first = boosts.find(|(_, (_, by))| boost_counts(&sight, *by, &facts.as_post()));
            home.extend(first.map(|(boost, (_, by))| Entry {
                id: *boost,
                post: *id,
                author: facts.author,
                booster: Some(*by),
            }));
        }
        home
    }

    fn outbox(&self, account: u64) -> Vec<Candidate> {
        let posts = self.posts.iter().filter(|(_, facts)| facts.author == account).map(|(id, facts)| {
            Candidate { key: Key::post(*id), post: *id, by: account, facts: facts.clone() }
        });
        let boosts = self.boosts.iter().filter(|(_, (_, by))| *by == account).map(|(id, (post, by))| {
            Candidate { key: Key::boost(*id), post: *post, by: *by, facts: self.posts[post].clone() }
        });
        posts.chain(boosts).collect()
    }

    fn candidates(&self, viewer: u64, window: &Window) -> Vec<Candidate> {
        let sight = self.relations(viewer);
        let all = sight.follows.keys().chain([&viewer]).flat_map(|account| self.outbox(*account));
        window.cut(all.filter(|found| concerns(viewer, found)).collect(), |candidate| candidate.key.id())
    }

    fn older(&self, boost: u64, post: u64) -> Vec<u64> {
        self.boosts.range(..boost).filter(|(_, (of, _))| *of == post).map(|(_, (_, by))| *by).collect()
    }

    fn merged(&self, viewer: u64, window: Window) -> Vec<Entry<u64>> {
        let sight = self.relations(viewer);
        let mut merge = Merge::new(window);
        loop {
            match merge.need() {
                Need::Done(page) => return page,
                Need::Candidates(window) => {
                    let candidates = self.candidates(viewer, &window);
                    let older: HashMap<u64, Vec<u64>> = Merge::doubtful(&sight, &candidates)
                        .into_iter()
                        .map(|(boost, post)| (boost, self.older(boost, post)))
                        .collect();
                    merge.feed(&sight, &candidates, &older);
                }
            }
        }
    }
}

/// One of three, or none.
fn language(id: u64) -> Language {
    let tag = ["en", "de", "eo", ""].into_iter().cycle().nth(usize::try_from(id / 10 % 4).unwrap());
    Language::of(tag.unwrap())
}

#[derive(Clone, Debug)]
enum Step {
    Follow(u64, u64, bool),
    Unfollow(u64, u64),
    Post { by: u64, visibility: u8, answers: usize, names: Option<u64>, late: bool },
    Edit { post: usize, names: Option<u64> },
    Delete(usize),
    Boost(u64, usize),
    Unboost(usize),
    Block(u64, u64, bool),
    Mute(u64, u64, u64),
    Hide(u64, bool),
    Time(u64),
    Read(u64),
    Bring,
    Carry,
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 1..=PEOPLE;
    prop_oneof![
        6 => (who(), who(), any::<bool>()).prop_map(|(a, b, boosts)| Step::Follow(a, b, boosts)),
        2 => (who(), who()).prop_map(|(a, b)| Step::Unfollow(a, b)),
        9 => (who(), 0_u8..8, 0_usize..40, proptest::option::weighted(0.3, who()), proptest::bool::weighted(0.1))
            .prop_map(|(by, visibility, answers, names, late)| Step::Post { by, visibility, answers, names, late }),
        2 => (0_usize..40, proptest::option::of(who())).prop_map(|(post, names)| Step::Edit { post, names }),
        1 => (0_usize..40).prop_map(Step::Delete),
        5 => (who(), 0_usize..40).prop_map(|(by, post)| Step::Boost(by, post)),
        1 => (0_usize..20).prop_map(Step::Unboost),
        2 => (who(), who(), any::<bool>()).prop_map(|(a, b, holds)| Step::Block(a, b, holds)),
        2 => (who(), who(), 0_u64..30).prop_map(|(a, b, time)| Step::Mute(a, b, time)),
        1 => (who(), any::<bool>()).prop_map(|(a, hidden)| Step::Hide(a, hidden)),
        1 => (1_u64..10).prop_map(Step::Time),
        3 => who().prop_map(Step::Read),
        4 => Just(Step::Bring),
        4 => Just(Step::Carry),
    ]
}

/// What is under way to memory: fills and patches that were read from the world at some earlier moment.
enum Coming {
    Fill(u64, Ticket, Vec<Candidate>, bool),
    Patch(Patch, Vec<Candidate>, Option<Key>),
}

struct Run {
    world: World,
    memory: Memory,
    coming: Vec<Coming>,
    carried: Vec<Delivery>,
}

impl Run {
    fn new(recent: usize) -> Self {
        let bounds = Bounds { partitions: 2, rings: 5, ring_power: 3, recent };
        Self { world: World::default(), memory: Memory::new(bounds), coming: Vec::new(), carried: Vec::new() }
    }

    fn apply(&mut self, change: &Change) {
        let todo = self.memory.apply(change);
        self.carried.extend(todo.delivery);
        if let Some(patch) = todo.patch {
            let window =
                Window { above: patch.floor.saturating_sub(1), ..Window::newest(self.memory.ring_size()) };
            let outbox = self.world.outbox(patch.followed);
            let past = window.cut(outbox, |candidate| candidate.key.id());
            let last = past.last().map(|candidate| candidate.key).filter(|_| past.len() == window.limit);
            self.coming.push(Coming::Patch(patch, past, last));
        }
    }

    const fn at(&self) -> Moment {
        Moment { now: self.world.now, server: 0 }
    }

    fn pick(&self, index: usize) -> Option<u64> {
        self.world.posts.keys().rev().nth(index).copied()
    }

    fn take(&mut self, step: &Step) {
        self.world.last_id += 10;
        let id = self.world.last_id;
        match *step {
            Step::Follow(a, b, boosts) if a != b => {
                // Some want one language only.
                let languages: Vec<Language> =
                    if id.is_multiple_of(70) { vec![language(id)] } else { Vec::new() };
                self.world.follows.insert((a, b), (boosts, languages.clone()));
                self.apply(&Change::Followed { follower: a, followed: b, boosts, languages });
            }
            Step::Unfollow(a, b) => {
                self.world.follows.remove(&(a, b));
                self.apply(&Change::Unfollowed { follower: a, followed: b });
            }
            Step::Post { by, visibility, answers, names, late } => {
                let visibility = match visibility {
                    0 => Visibility::Unlisted,
                    1 => Visibility::Followers,
                    2 => Visibility::Direct,
                    _ => Visibility::Public,
                };
                let reply = match answers {
                    0..20 => {
                        self.pick(answers).map_or(Reply::No, |post| Reply::To(self.world.posts[&post].author))
                    }
                    20 => Reply::ToUnknown,
                    _ => Reply::No,
                };
                let id = if late { (id / 2 / 10 * 10 + 7).max(7) } else { id };
                if self.world.posts.contains_key(&id) {
                    return;
                }
                let mentions = names.into_iter().collect();
                let facts = Facts { author: by, visibility, reply, mentions, language: language(id) };
                self.world.posts.insert(id, facts.clone());
                self.apply(&Change::Posted { id, facts });
            }
            Step::Edit { post, names } => self.edit(post, names),
            Step::Delete(index) => {
                let Some(post) = self.pick(index) else { return };
                let boosts: Vec<u64> =
                    self.world.boosts.iter().filter(|(_, (of, _))| *of == post).map(|(id, _)| *id).collect();
                for id in boosts {
                    self.world.boosts.remove(&id);
                    self.apply(&Change::BoostGone { id, post });
                }
                self.world.posts.remove(&post);
                self.apply(&Change::PostGone { id: post });
            }
            Step::Boost(by, index) => {
                let Some(post) = self.pick(index) else { return };
                let facts = self.world.posts[&post].clone();
                let again = self.world.boosts.values().any(|boost| *boost == (post, by));
                if again || matches!(facts.visibility, Visibility::Direct) {
                    return;
                }
                self.world.boosts.insert(id, (post, by));
                self.apply(&Change::Boosted { id, post, booster: by, facts });
            }
            Step::Unboost(index) => {
                let Some((id, (post, _))) = self.world.boosts.iter().nth(index).map(|(id, of)| (*id, *of))
                else {
                    return;
                };
                self.world.boosts.remove(&id);
                self.apply(&Change::BoostGone { id, post });
            }
            _ => self.relate(step),
        }
    }

    fn edit(&mut self, index: usize, names: Option<u64>) {
        let Some(id) = self.pick(index) else { return };
        let Some(facts) = self.world.posts.get_mut(&id) else { return };
        let newly_named = names.into_iter().filter(|name| !facts.mentions.contains(name)).collect();
        facts.mentions = names.into_iter().collect();
        facts.language = language(self.world.last_id);
        let facts = facts.clone();
        self.apply(&Change::Edited { id, facts, newly_named });
    }

    fn relate(&mut self, step: &Step) {
        match *step {
            Step::Block(a, b, holds) if a != b => {
                self.world.blocks.retain(|pair| *pair != (a, b));
                if holds {
                    self.world.blocks.push((a, b));
                }
                self.apply(&Change::Blocks { blocker: a, blocked: b, holds });
            }
            Step::Mute(a, b, time) if a != b => {
                let until = if time == 0 { 0 } else { self.world.now + time };
                self.world.mutes.insert((a, b), until);
                self.apply(&Change::Mutes { muter: a, muted: b, until });
            }
            Step::Hide(account, hidden) => {
                self.world.hidden.retain(|other| *other != account);
                if hidden {
                    self.world.hidden.push(account);
                }
                self.apply(&Change::Hidden { account, scope: 0, hidden });
            }
            Step::Time(by) => self.world.now += by,
            Step::Read(viewer) => self.read(viewer),
            Step::Bring if !self.coming.is_empty() => match self.coming.remove(0) {
                Coming::Fill(viewer, ticket, candidates, whole) => {
                    self.memory.end_fill(viewer, ticket, &candidates, whole);
                }
                Coming::Patch(patch, candidates, last) => self.memory.end_patch(&patch, &candidates, last),
            },
            Step::Carry if !self.carried.is_empty() => {
                let delivery = self.carried.remove(0);
                self.memory.deliver(delivery);
            }
            _ => {}
        }
    }

    /// What a first read does: the ring begins, and what was before is on its way. The read of the world is no older than
    /// what memory has been told, whatever of that is still being delivered.
    fn read(&mut self, viewer: u64) {
        if self.memory.page(viewer, &Window::newest(2), self.at()) != Answer::Unfilled {
            return;
        }
        let minute = u16::try_from(self.world.last_id / 10).unwrap();
        let ticket = self.memory.begin_fill(viewer, minute).unwrap();
        let size = self.memory.ring_size();
        let candidates = self.world.candidates(viewer, &Window::newest(size));
        let whole = candidates.len() < size;
        self.coming.push(Coming::Fill(viewer, ticket, candidates, whole));
    }

    /// Asks memory as its holder does; `None` where memory leaves the answer to the merge.
    fn remembered(&self, viewer: u64, window: &Window) -> Option<Vec<Entry<u64>>> {
        for _ in 0..50 {
            match self.memory.page(viewer, window, self.at()) {
                Answer::Page(page) => return Some(page),
                Answer::Lacks(posts) => {
                    for post in posts {
                        let boosts = self.world.boosts.iter().filter(|(_, (of, _))| *of == post);
                        let boosts: Vec<(u64, u64)> = boosts.map(|(id, (_, by))| (*id, *by)).collect();
                        self.memory.learn_boosts(post, &boosts, self.memory.ask());
                    }
                }
                Answer::Unfilled | Answer::Busy | Answer::Past => return None,
            }
        }
        panic!("memory goes on asking");
    }

    fn windows(&self) -> Vec<Window> {
        let mut bounds = vec![0, self.world.last_id / 2, self.world.last_id];
        bounds.extend(self.world.posts.keys().chain(self.world.boosts.keys()).copied().step_by(3));
        let mut windows = Vec::new();
        for bound in &bounds {
            for limit in [1, 3, 7] {
                windows.push(Window::asked(*bound, 0, 0, limit));
                windows.push(Window::asked(0, *bound, 0, limit));
                windows.push(Window::asked(0, 0, *bound, limit));
                windows.push(Window::asked(*bound, bound / 2, 0, limit));
                windows.push(Window::asked(*bound, 0, bound / 2, limit));
            }
        }
        windows
    }
}

/// Compares every page of everybody; returns how many came from memory.
fn compare(run: &mut Run) -> Result<usize, TestCaseError> {
    // Readers ask memory only when it has applied what it was told.
    for delivery in std::mem::take(&mut run.carried) {
        run.memory.deliver(delivery);
    }
    let mut from_memory = 0;
    for viewer in 1..=PEOPLE {
        let home = run.world.home(viewer);
        for window in run.windows() {
            let expected = window.cut(home.clone(), |entry| entry.id);
            prop_assert_eq!(&run.world.merged(viewer, window), &expected, "merge {} {:?}", viewer, window);
            if let Some(page) = run.remembered(viewer, &window) {
                prop_assert_eq!(&page, &expected, "memory {} {:?}", viewer, window);
                from_memory += 1;
            }
        }
    }
    Ok(from_memory)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn every_page_of_both_is_the_definition(
        steps in proptest::collection::vec(step(), 1..160),
        recent in prop_oneof![Just(1_000_usize), Just(12)],
        every in 10_usize..60,
    ) {
        let mut run = Run::new(recent);
        for (index, step) in steps.iter().enumerate() {
            run.take(step);
            if index % every == every - 1 {
                compare(&mut run)?;
            }
        }
        compare(&mut run)?;
    }
}

#[test]
fn memory_does_answer() {
    let mut run = Run::new(1_000);
    run.take(&Step::Follow(1, 2, true));
    for _ in 0..20 {
        run.take(&Step::Post { by: 2, visibility: 3, answers: 39, names: None, late: false });
    }
    run.take(&Step::Read(1));
    run.take(&Step::Bring);
    assert!(compare(&mut run).unwrap() > 20, "pages come from memory");
}
