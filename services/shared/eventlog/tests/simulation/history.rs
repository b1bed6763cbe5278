//! What clients saw, and whether the log agrees (I2, I3, I4, I14, and that nothing is answered from the past).

use p92_eventlog::owner::read_groups;
use p92_eventlog::{Platform, Recorded};
use p92_kernel::Seq;
use p92_proto::event::v1;
use p92_storage::LogKey;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What a client asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Claim the register; rejected if it is claimed.
    Claim,
    /// Change nothing: accepted if the register is claimed, rejected if it is free.
    Probe,
}

/// What it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Rejected,
    /// Neither success nor failure is known.
    Unknown,
    /// Nothing was done.
    NotHere,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    pub asked: Asked,
    pub register: u64,
    pub who: u64,
    pub began: u64,
    pub ended: u64,
    pub answer: Answer,
    pub seq: Option<u64>,
}

/// A worker took over: from then on, and until another one does, no other's group may land.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    pub worker: u64,
    /// The head behind its barrier.
    pub head: u64,
}

/// Everything of one history.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub calls: Vec<Call>,
    pub counted: u64,
    pub read: Vec<u64>,
    pub took: Vec<Took>,
}

/// The worker whose call an event comes from: `who` = worker · 1,000,000 + number.
pub const WHO: u64 = 1_000_000;

fn claim_of(event: &Recorded) -> Option<(u64, u64)> {
    let register = event.stream()?.key().parse().ok()?;
    Some((register, event.decode::<v1::Position>().ok()?.seq))
}

/// Names what is violated, or nothing.
pub async fn check(platform: &Platform, log: LogKey, history: &History) -> Vec<&'static str> {
    let groups = read_groups(platform, log, Seq(0), None).await.expect("the log is readable");
    let events: Vec<&Recorded> = groups.iter().flat_map(|group| &group.events).collect();
    let mut wrong = Vec::new();
    let mut versions: HashMap<String, u64> = HashMap::new();
    let mut ids = HashSet::new();
    let mut keys: HashMap<&str, usize> = HashMap::new();
    let mut claims: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        if event.position.seq.0 != place as u64 + 1 || !ids.insert(event.event.event_id) {
            wrong.push("I4: the log is not gapless and unique");
        }
        let Some((register, who)) = claim_of(event) else { continue };
        let version = versions.entry(event.event.stream.clone()).or_default();
        *version += 1;
        if event.event.version != *version {
            wrong.push("I3: versions of a stream are not gapless and unique");
        }
        *keys.entry(&event.event.idempotency_key).or_default() += 1;
        claims.entry(register).or_default().push((event.position.seq.0, who));
    }
    if claims.values().any(|of_register| of_register.len() > 1) {
        wrong.push("a register was claimed twice");
    }
    if keys.values().any(|events| *events > 1) {
        wrong.push("I2: one key, two commands");
    }
    if history.counted != claims.len() as u64 {
        wrong.push("I14: the live view is not what the log says");
    }
    if history.read != (1..=events.len() as u64).collect::<Vec<_>>() {
        wrong.push("a reader did not get each event once and in order");
    }
    wrong.extend(answers(history, &claims));
    wrong.extend(landed_late(history, &claims));
    wrong.sort_unstable();
    wrong.dedup();
    wrong
}

fn answers(history: &History, claims: &BTreeMap<u64, Vec<(u64, u64)>>) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    for call in &history.calls {
        let claimed = claims.get(&call.register).and_then(|of_register| of_register.first());
        match (call.asked, call.answer) {
            (Asked::Claim, Answer::Done) if claimed.map(|(seq, _)| *seq) != call.seq => {
                wrong.push("I1: an acknowledged claim does not stand");
            }
            (Asked::Claim, Answer::Rejected) | (Asked::Probe, Answer::Done) if claimed.is_none() => {
                wrong.push("an answer told of a claim that does not stand");
            }
            (Asked::Probe, Answer::Rejected) => {
                let acknowledged = history.calls.iter().any(|other| {
                    other.asked == Asked::Claim
                        && other.answer == Answer::Done
                        && other.register == call.register
                        && other.ended < call.began
                });
                if acknowledged {
                    wrong.push("an answer came from the past");
                }
            }
            _ => {}
        }
    }
    wrong
}

fn landed_late(history: &History, claims: &BTreeMap<u64, Vec<(u64, u64)>>) -> Option<&'static str> {
    let mut took = history.took.clone();
    took.sort_by_key(|took| took.head);
    let landed = claims.values().flatten().any(|(seq, who)| {
        let last = took.iter().rfind(|took| took.head < *seq);
        last.is_some_and(|took| took.worker != who / WHO)
    });
    landed.then_some("a group of an older owner landed behind a take-over")
}
