//! Whether the logs, the views and what clients were told agree (I1–I4, I8, I14, I15, and nothing answered from the past).

use crate::calls::{Act, Told};
use crate::clients::{Call, Outcome};
use crate::world::{Noted, Process, Took};
use p92_eventlog::owner::read_groups;
use p92_eventlog::{Group, Platform, Recorded};
use p92_kernel::{Id, Seq, Service};
use p92_proto::event::v1::Barrier;
use p92_proto::identity::v1::{FollowEnded, FollowStarted};
use p92_proto::posting::v1::{PostDeleted, PostLiked, PostUnliked};
use p92_storage::LogKey;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The logs of the services that run here.
pub fn logs() -> Vec<LogKey> {
    let services = [Service::Identity, Service::Posting, Service::Timelines];
    let of = |service| crate::origin::shards().all().map(move |shard| LogKey { service, shard });
    services.into_iter().flat_map(of).collect()
}

/// What is wrong, by name, with the first instance of each.
pub type Wrong = BTreeMap<&'static str, String>;

/// Every log, as it stands in the end.
pub struct Logs {
    groups: BTreeMap<LogKey, Vec<Group>>,
    noted: Noted,
    /// When each group landed that landed in this history.
    landed: BTreeMap<LogKey, Vec<(Duration, Seq)>>,
}

/// What is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Follow(u64, u64),
    Like(u64, u64),
}

impl Of {
    /// The log that it stands in.
    fn log(self) -> Option<LogKey> {
        Some(match self {
            Self::Follow(one, other) => {
                let (low, high) = (one.min(other).to_be_bytes(), one.max(other).to_be_bytes());
                LogKey { service: Service::Identity, shard: crate::origin::shards().of_parts(&[&low, &high]) }
            }
            Self::Like(_, post) => LogKey { service: Service::Posting, shard: Id::new(post)?.shard() },
        })
    }
}

/// Where it was turned on or off.
type Steps = Vec<(Seq, bool)>;

impl Logs {
    /// Reads all of them.
    pub async fn read(platform: &Platform, noted: Noted) -> Result<Self, p92_storage::StoreError> {
        let mut groups = BTreeMap::new();
        for log in logs() {
            groups.insert(log, read_groups(platform, log, Seq(0), None).await?);
        }
        let mut landed: BTreeMap<LogKey, Vec<(Duration, Seq)>> = BTreeMap::new();
        for group in noted.landed.values() {
            landed.entry(group.log).or_default().push((group.at, group.last_seq));
        }
        Ok(Self { groups, noted, landed })
    }

    fn events(&self, log: LogKey) -> impl Iterator<Item = &Recorded> {
        self.groups.get(&log).into_iter().flatten().flat_map(|group| &group.events)
    }

    fn all(&self) -> impl Iterator<Item = &Recorded> {
        self.groups.keys().flat_map(|log| self.events(*log))
    }

    /// Everything that the logs alone, and the logs beside what clients were told, can show.
    pub fn check(&self, calls: &[Call]) -> Wrong {
        let mut wrong = Wrong::new();
        self.order(&mut wrong);
        self.keys(&mut wrong);
        self.owners(&mut wrong);
        self.acknowledged(calls, &mut wrong);
        self.states(calls, &mut wrong);
        self.answerers(calls, &mut wrong);
        self.posts(calls, &mut wrong);
        wrong
    }

    /// I3, I4.
    fn order(&self, wrong: &mut Wrong) {
        let mut ids = BTreeSet::new();
        let mut versions: BTreeMap<(Service, &str), u64> = BTreeMap::new();
        for log in self.groups.keys() {
            for (place, event) in self.events(*log).enumerate() {
                if event.position.seq.0 != place as u64 + 1
                    || !ids.insert((log.service, event.event.event_id))
                {
                    note(wrong, "I4: a log is not gapless and unique", || format!("{:?}", event.position));
                }
                if event.event.stream.is_empty() {
                    continue;
                }
                let version = versions.entry((log.service, &event.event.stream)).or_default();
                *version += 1;
                if event.event.version != *version {
                    note(wrong, "I3: versions of a stream are not gapless and unique", || {
                        format!("{} at {:?}", event.event.stream, event.position)
                    });
                }
            }
        }
    }

    /// I2. The events of one command have one correlation.
    fn keys(&self, wrong: &mut Wrong) {
        let mut commands: BTreeMap<(Service, &str, &str), u64> = BTreeMap::new();
        for event in self.all().filter(|event| !event.event.idempotency_key.is_empty()) {
            let key =
                (event.position.service, &*event.event.idempotency_scope, &*event.event.idempotency_key);
            let first = *commands.entry(key).or_insert(event.event.correlation_id);
            if first != event.event.correlation_id {
                note(wrong, "I2: one key, two commands", || format!("{key:?} at {:?}", event.position));
            }
        }
    }

    /// Behind a take-over no group of an older owner lands. Its barrier may: whoever tries again to close a log that
    /// another one has closed takes it over from him, and either is told by the next slot that he loses.
    fn owners(&self, wrong: &mut Wrong) {
        let mut took = self.noted.took.clone();
        let mut closings = BTreeSet::new();
        for event in self.all() {
            let log = LogKey { service: event.position.service, shard: event.position.shard };
            if let Ok(barrier) = event.decode::<Barrier>() {
                took.push(Took { log, epoch: barrier.epoch, head: event.position.seq });
                closings.insert((log, event.position.seq));
            }
        }
        for group in self.noted.landed.values() {
            let before = took.iter().filter(|took| took.log == group.log && took.head < group.last_seq);
            let last = before.max_by_key(|took| (took.head, took.epoch));
            if let Some(took) = last.filter(|took| group.epoch < took.epoch)
                && !closings.contains(&(group.log, group.last_seq))
            {
                note(wrong, "a group of an older owner landed behind a take-over", || {
                    format!("{group:?} behind {took:?}")
                });
            }
        }
    }

    fn find(&self, service: &str, shard: u32, seq: u64) -> Option<&Recorded> {
        let log = logs()
            .into_iter()
            .find(|log| log.service.name() == service && u32::from(log.shard.0) == shard)?;
        self.events(log).nth(usize::try_from(seq).ok()?.checked_sub(1)?)
    }

    /// I1, I15.
    fn acknowledged(&self, calls: &[Call], wrong: &mut Wrong) {
        let keys: BTreeSet<(&str, u64)> =
            self.all().map(|event| (&*event.event.idempotency_key, event.event.actor_id)).collect();
        for call in calls.iter().filter(|call| !call.key.is_empty()) {
            let stands = keys.contains(&(&call.key, call.actor));
            match &call.outcome {
                Outcome::Done(Told { positions, .. }) => {
                    for position in positions {
                        let event = self.find(&position.service, position.shard, position.seq);
                        if event.is_none_or(|event| event.event.idempotency_key != call.key) {
                            note(wrong, "I1: an acknowledged command does not stand", || format!("{call:?}"));
                        }
                    }
                }
                Outcome::Rejected(_) | Outcome::NotDone => {
                    // A later call under the same key, in the end, may have done it.
                    let again =
                        calls.iter().filter(|again| again.key == call.key && again.actor == call.actor);
                    if stands && again.count() == 1 {
                        note(wrong, "I15: what definitely failed stands", || format!("{call:?}"));
                    }
                }
                Outcome::Unknown if call.began > crate::trouble::CALM_AT && stands => {
                    note(wrong, "a known key was not recognised", || format!("{call:?}"));
                }
                Outcome::Unknown => {}
            }
        }
        let open = |call: &&Call| call.outcome == Outcome::Unknown && call.began < crate::trouble::CALM_AT;
        for call in calls.iter().filter(|call| !call.key.is_empty()).filter(open) {
            let settled = calls.iter().any(|again| {
                // A repeat may begin in the very instant in which the call before was given up.
                let later = again.began >= call.ended && !std::ptr::eq(again, call);
                again.key == call.key && later && again.outcome != Outcome::NotDone
            });
            if !settled {
                note(wrong, "what was unknown could not be settled", || format!("{call:?}"));
            }
        }
    }

    /// Between which places of its log a call was answered: behind everything that was acknowledged before it began, not
    /// behind what landed after it ended.
    fn span(&self, calls: &[Call], call: &Call, log: LogKey) -> (Seq, Seq) {
        let told = calls.iter().filter(|before| before.ended < call.began).filter_map(|before| {
            let Outcome::Done(told) = &before.outcome else { return None };
            let here = told.positions.iter().filter(|position| {
                position.service == log.service.name() && position.shard == u32::from(log.shard.0)
            });
            here.map(|position| position.seq).max()
        });
        let landed = self.landed.get(&log).into_iter().flatten().filter(|(at, _)| *at <= call.ended);
        let low = told.max().unwrap_or(0);
        let high = landed.map(|(_, seq)| *seq).max().unwrap_or_default();
        (Seq(low), Seq(high.0.max(low)))
    }

    /// I8 and answers from the past, by follows and likes: what was told of one was so at some place of its span.
    fn states(&self, calls: &[Call], wrong: &mut Wrong) {
        let steps = self.steps();
        for call in calls {
            let Outcome::Done(told) = &call.outcome else { continue };
            let nothing = told.positions.is_empty();
            let (of, state) = match call.act {
                Act::Follow { other } if nothing => (Of::Follow(call.actor, other), true),
                Act::Unfollow { other } if nothing => (Of::Follow(call.actor, other), false),
                Act::Follows { other } => (Of::Follow(call.actor, other), told.there),
                Act::Like { post } if nothing => (Of::Like(call.actor, post), true),
                Act::Unlike { post } if nothing => (Of::Like(call.actor, post), false),
                _ => continue,
            };
            let Some(log) = of.log() else { continue };
            let (from, to) = self.span(calls, call, log);
            let none = Vec::new();
            let steps = steps.get(&of).unwrap_or(&none);
            let first = steps.iter().rfind(|(seq, _)| *seq <= from).is_some_and(|(_, state)| *state);
            let within = steps.iter().filter(|(seq, _)| *seq > from && *seq <= to).map(|(_, state)| *state);
            if !std::iter::once(first).chain(within).any(|was| was == state) {
                note(wrong, "an answer came from the past", || {
                    format!("{call:?} between {from} and {to}: {steps:?}")
                });
            }
        }
    }

    /// An answer that nothing had to change comes from whoever had closed the log last when it was asked, or closed it
    /// before it was answered: everybody else must have noticed that a row stands in the next slot.
    fn answerers(&self, calls: &[Call], wrong: &mut Wrong) {
        let mut closings: BTreeMap<LogKey, Vec<(Duration, Process)>> = BTreeMap::new();
        let times: BTreeMap<(LogKey, Seq), Duration> =
            self.noted.landed.values().map(|group| ((group.log, group.last_seq), group.at)).collect();
        for event in self.all() {
            let log = LogKey { service: event.position.service, shard: event.position.shard };
            let Ok(barrier) = event.decode::<Barrier>() else { continue };
            // Barriers of before this history have no time.
            let Some(at) = times.get(&(log, event.position.seq)) else { continue };
            if let Some(process) = self.noted.process(&barrier.member) {
                closings.entry(log).or_default().push((*at, process));
            }
        }
        for call in calls {
            let (Outcome::Done(told), Some(by)) = (&call.outcome, call.by) else { continue };
            let log = match call.act {
                Act::Follow { other } | Act::Unfollow { other } => Of::Follow(call.actor, other).log(),
                Act::Like { post } | Act::Unlike { post } => Of::Like(call.actor, post).log(),
                _ => continue,
            };
            let Some(closings) = log.and_then(|log| closings.get(&log)) else { continue };
            let Some(last) = closings.iter().rposition(|(at, _)| *at < call.began) else { continue };
            let mut may = closings[last..].iter().filter(|(at, _)| *at <= call.ended);
            if told.positions.is_empty() && !may.any(|(_, process)| *process == by) {
                note(wrong, "an answer came from the past", || {
                    format!("{call:?} though the log was closed by {closings:?}")
                });
            }
        }
    }

    fn steps(&self) -> BTreeMap<Of, Steps> {
        let mut steps: BTreeMap<Of, Steps> = BTreeMap::new();
        for event in self.all() {
            let step = if let Ok(started) = event.decode::<FollowStarted>() {
                (Of::Follow(started.follower_id, started.followed_id), true)
            } else if let Ok(ended) = event.decode::<FollowEnded>() {
                (Of::Follow(ended.follower_id, ended.followed_id), false)
            } else if let Ok(liked) = event.decode::<PostLiked>() {
                (Of::Like(liked.actor_id, liked.post_id), true)
            } else if let Ok(unliked) = event.decode::<PostUnliked>() {
                (Of::Like(unliked.actor_id, unliked.post_id), false)
            } else {
                continue;
            };
            steps.entry(step.0).or_default().push((event.position.seq, step.1));
        }
        steps
    }

    /// I8 by the posts: what was acknowledged before is there, unless somebody deleted it.
    fn posts(&self, calls: &[Call], wrong: &mut Wrong) {
        let deleted: BTreeSet<u64> =
            self.all().filter_map(|event| Some(event.decode::<PostDeleted>().ok()?.post_id)).collect();
        for call in calls {
            let (Act::Post { post }, Outcome::Done(told)) = (&call.act, &call.outcome) else { continue };
            if !told.there && !deleted.contains(post) {
                note(wrong, "I8: an acknowledged post is not there", || format!("{call:?}"));
            }
        }
    }
}

fn note(wrong: &mut Wrong, name: &'static str, instance: impl FnOnce() -> String) {
    wrong.entry(name).or_insert_with(instance);
}
