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
    let facts = Facts {
        author: AUTHOR,
        visibility: Visibility::Public,
        reply: Reply::No,
        mentions: Vec::new(),
        language: Language::default(),
    };
    memory.deliver(memory.apply(&Change::Posted { id: 1 << 20, facts }).delivery.unwrap());
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
