//! How fast posts reach homes in memory, beside the bare work, and how much memory that takes.
//!
//! One thread, so every figure is per core. `cargo bench -p p92-timelines`; sizes are read from `/proc/self/statm`.

use p92_timelines::domain::entry::{Language, Reply, Visibility};
use p92_timelines::domain::memory::page::Answer;
use p92_timelines::domain::memory::partition::Moment;
use p92_timelines::domain::memory::recent::Facts;
use p92_timelines::domain::memory::{Bounds, Change, Memory};
use p92_timelines::domain::window::Window;
use std::hint::black_box;
use std::time::{Duration, Instant};

const USERS: u64 = 20_000;
const AUTHORS: u64 = 10_000;
const FOLLOWS_EACH: u64 = 200;
const POSTS: u64 = 20_000;
const GIANT: u64 = 900_000;
/// Ids of users and authors begin here, apart from one another.
const FIRST_USER: u64 = 1 << 40;
const FIRST_AUTHOR: u64 = 1 << 41;

/// Numbers without a pattern (xorshift64).
struct Numbers(u64);

impl Numbers {
    const fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// Bytes that this process holds; 0 where the kernel does not say.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

fn per_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64() / 1e6
}

fn post(id: u64, author: u64) -> Change {
    let facts = Facts {
        author,
        visibility: Visibility::Public,
        reply: Reply::No,
        mentions: Vec::new(),
        language: Language::default(),
    };
    Change::Posted { id, facts }
}

fn follow(memory: &Memory, follower: u64, followed: u64) {
    memory.apply(&Change::Followed { follower, followed, boosts: true, languages: Vec::new() });
}

fn main() {
    let bounds = Bounds { partitions: 4, rings: 30_000, ring_power: 9, recent: 200_000 };
    let (memory, mut numbers) = (Memory::new(bounds), Numbers(92));

    let before = resident();
    for user in 0..USERS {
        for _ in 0..FOLLOWS_EACH {
            follow(&memory, FIRST_USER + user, FIRST_AUTHOR + numbers.below(AUTHORS));
        }
    }
    let follows: u64 = (0..AUTHORS).map(|author| memory.count_followers(FIRST_AUTHOR + author) as u64).sum();
    let graph = resident().saturating_sub(before) as f64 / follows as f64;
    println!("follow graph: {follows} follows, {graph:.2} bytes each, both ways (limit 10)");

    for user in 0..USERS {
        if let Some(ticket) = memory.begin_fill(FIRST_USER + user, 0) {
            memory.end_fill(FIRST_USER + user, ticket, &[], true);
        }
    }
    let (mut deliveries, mut id) = (0_u64, 1_u64 << 50);
    let began = Instant::now();
    for _ in 0..POSTS {
        let author = FIRST_AUTHOR + numbers.below(AUTHORS);
        deliveries += memory.count_followers(author) as u64;
        id += 1;
        if let Some(delivery) = memory.apply(&post(id, author)).delivery {
            memory.deliver(delivery);
        }
    }
    let fan_out = per_second(deliveries, began.elapsed());
    let raw = raw_appends(deliveries, &mut numbers);
    println!(
        "fan-out: {fan_out:.1} M deliveries/s per core; bare ring appends {raw:.1} M/s: {:.0} %",
        fan_out / raw * 100.0
    );

    let sizes = memory.sizes();
    let entries = sizes.rings * 512;
    let beside = (sizes.ring_bytes - entries * 8) as f64 / sizes.rings as f64;
    println!(
        "rings: {} of 512 entries, 8 bytes an entry and {beside:.1} bytes a user (limit 32)",
        sizes.rings
    );
    pages(&memory, &mut numbers);
    giant(&memory, id);
}

/// The bare work: a number into the ring of a user picked at random.
fn raw_appends(count: u64, numbers: &mut Numbers) -> f64 {
    let mut rings: Vec<(u16, Box<[u64]>)> =
        (0..USERS).map(|_| (0, vec![0; 512].into_boxed_slice())).collect();
    let picks: Vec<u32> = (0..count).map(|_| numbers.below(USERS) as u32).collect();
    let began = Instant::now();
    for (number, pick) in picks.iter().enumerate() {
        if let Some((head, ring)) = rings.get_mut(*pick as usize) {
            if let Some(slot) = ring.get_mut(usize::from(*head)) {
                *slot = number as u64;
            }
            *head = (*head + 1) & 511;
        }
    }
    black_box(&rings);
    per_second(count, began.elapsed())
}

fn pages(memory: &Memory, numbers: &mut Numbers) {
    const PAGES: u64 = 50_000;
    let (window, mut entries) = (Window::newest(40), 0);
    let began = Instant::now();
    for _ in 0..PAGES {
        let viewer = FIRST_USER + numbers.below(USERS);
        if let Answer::Page(page) = memory.page(viewer, &window, Moment::default()) {
            entries += page.len();
        }
    }
    let rate = per_second(PAGES, began.elapsed()) * 1e3;
    println!(
        "pages of 40 judged by every rule: {rate:.0} k/s per core, {} entries each",
        entries as u64 / PAGES
    );
}

/// What somebody with very many followers does to others: nobody waits longer than one step.
fn giant(memory: &Memory, id: u64) {
    let author = FIRST_AUTHOR - 1;
    for user in 0..GIANT {
        follow(memory, FIRST_USER + user, author);
    }
    let mut steps = Vec::new();
    if let Some(mut delivery) = memory.apply(&post(id + 1, author)).delivery {
        let mut watched = Vec::new();
        loop {
            let began = Instant::now();
            let more = memory.step(&mut delivery, &mut watched);
            steps.push(began.elapsed());
            if !more {
                break;
            }
        }
    }
    let whole: Duration = steps.iter().sum();
    steps.sort();
    let p99 = steps.get(steps.len() * 99 / 100).copied().unwrap_or_default();
    println!("a giant of {GIANT} followers: {whole:.1?} in {} steps, p99 of a step {p99:.1?}", steps.len());
}
