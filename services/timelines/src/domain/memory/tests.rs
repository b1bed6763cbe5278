//! What memory does as a whole: what comes into rings, and which rings stay.

use super::super::entry::Reply;
use super::super::window::Window;
use super::page::Answer;
use super::partition::Moment;
use super::*;

const AUTHOR: u64 = 1_000;

/// Nine who follow the author, of whom the first five have rings.
fn followed() -> Memory {
    let memory = Memory::new(Bounds { partitions: 3, rings: 100, ring_power: 4, recent: 100 });
    for follower in 1..=9 {
        let follows = Change::Followed { follower, followed: AUTHOR, boosts: true, languages: Vec::new() };
        memory.apply(&follows);
    }
    for reader in 1..=5 {
        let ticket = memory.begin_fill(reader, 0).unwrap();
        memory.end_fill(reader, ticket, &[], true);
    }
    memory
}

#[test]
fn rings_that_went_get_nothing_and_the_others_do() {
    let memory = followed();
    memory.drop_rings(|account| account == 2 || account > 3);
    assert_eq!(memory.sizes().rings, 2);
    memory.deliver(memory.apply(&Change::Posted { id: 1 << 20, facts: public() }).delivery.unwrap());
    assert_eq!(memory.delivered(), 2, "1 and 3");
    let (at, window) = (Moment { now: 0, server: 0 }, Window::newest(4));
    for (viewer, kept) in [(1, true), (2, false), (3, true), (4, false)] {
        let answer = memory.page(viewer, &window, at);
        assert_eq!(answer != Answer::Unfilled, kept, "{viewer}: {answer:?}");
    }
}

#[test]
fn what_comes_into_a_ring_is_counted_and_what_was_before_is_not() {
    let (memory, author, mut id) = (followed(), AUTHOR, 1 << 20);
    let mut post = |visibility, mentions| {
        id += 1;
        let facts = Facts { author, visibility, reply: Reply::No, mentions, language: Language::default() };
        memory.deliver(memory.apply(&Change::Posted { id, facts }).delivery.unwrap());
        memory.delivered()
    };
    assert_eq!(post(Visibility::Public, Vec::new()), 5);
    assert_eq!(post(Visibility::Public, Vec::new()), 10);
    assert_eq!(post(Visibility::Direct, vec![2, 8]), 11, "of those named one has a ring");
}

fn public() -> Facts<u64> {
    Facts {
        author: AUTHOR,
        visibility: Visibility::Public,
        reply: Reply::No,
        mentions: Vec::new(),
        language: Language::default(),
    }
}

/// What an empty home of a ring's size answers below the last of so many posts of somebody newly followed.
fn below_the_patched(count: u64) -> Answer {
    let memory = Memory::new(Bounds { partitions: 1, rings: 10, ring_power: 4, recent: 100 });
    let ticket = memory.begin_fill(1, 0).unwrap();
    memory.end_fill(1, ticket, &[], true);
    let follows = Change::Followed { follower: 1, followed: AUTHOR, boosts: true, languages: Vec::new() };
    let patch = memory.apply(&follows).patch.unwrap();
    let ids = (100..100 + count).rev();
    let past: Vec<Candidate> =
        ids.map(|id| Candidate { key: Key::post(id), post: id, by: AUTHOR, facts: public() }).collect();
    let last = past.last().unwrap().key;
    memory.end_patch(&patch, &past, Some(last).filter(|_| past.len() == memory.ring_size()));
    let window = Window { below: last.id(), ..Window::newest(4) };
    memory.page(1, &window, Moment { now: 0, server: 0 })
}

#[test]
fn a_ring_filled_to_the_brim_by_a_follow_knows_that_there_may_be_more() {
    assert_eq!(below_the_patched(15), Answer::Page(Vec::new()), "these are all");
    assert_eq!(below_the_patched(16), Answer::Past, "there may be more");
}
