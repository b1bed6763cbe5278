//! Two members on an engine that does not prove that nobody else lives: what one gives back, the other takes.

use crate::shim::Shim;
use crate::world::open;
use p92_eventlog::membership::{AWAY_FIRST, Membership};
use p92_eventlog::tasks::Tasks;
use p92_kernel::{Clock, Millis, Service, Shard, ShardCount};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A clock that a test moves.
#[derive(Debug, Default)]
struct Moved(Mutex<Duration>);

impl Clock for Moved {
    fn now(&self) -> Millis {
        Millis(1)
    }

    fn monotonic(&self) -> Duration {
        *self.0.lock()
    }
}

/// What a member holds.
fn held(member: &Membership) -> BTreeSet<Shard> {
    member.slots().borrow().keys().map(|(_, shard)| *shard).collect()
}

#[tokio::test]
async fn what_one_member_gives_back_another_takes_until_it_is_wanted_again() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Shim::new(open(dir.path()), 1);
    engine.calm();
    let (clock, tasks, stop) = (Arc::new(Moved::default()), Tasks::default(), CancellationToken::new());
    let shards = ShardCount::new(16).unwrap();
    let member =
        |name: &str| Membership::start(engine.clone(), clock.clone(), name.to_owned(), shards, &tasks, &stop);
    let (one, other) = (member("one"), member("other"));
    // Each sees the other, hands over what it should not have, and takes what was handed to it.
    let settle = async || {
        for _ in 0..3 {
            one.join(Service::Posting).await.unwrap();
            other.join(Service::Posting).await.unwrap();
        }
    };
    settle().await;
    let all: BTreeSet<Shard> = shards.all().collect();
    let (ours, theirs) = (held(&one), held(&other));
    assert!(!ours.is_empty() && !theirs.is_empty() && ours.is_disjoint(&theirs));
    assert_eq!(&ours | &theirs, all);

    let given: Vec<Shard> = ours.iter().copied().collect();
    for times in 1..=3_u32 {
        one.give_back(Service::Posting, &given).await.unwrap();
        settle().await;
        assert_eq!((held(&one), held(&other)), (BTreeSet::new(), all.clone()), "given back {times} times");
        // Twice as long each time: just before its end nothing has changed.
        let pause = AWAY_FIRST * 2_u32.pow(times - 1);
        *clock.0.lock() += pause - Duration::from_millis(1);
        settle().await;
        assert_eq!(held(&one), BTreeSet::new(), "given back {times} times");
        *clock.0.lock() += Duration::from_millis(1);
        settle().await;
        assert_eq!((held(&one), held(&other)), (ours.clone(), theirs.clone()), "taken up {times} times");
    }
    stop.cancel();
    tasks.end().await;
}

#[tokio::test]
async fn who_retires_hands_over_and_everybody_knows_to_whom() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Shim::new(open(dir.path()), 1);
    engine.calm();
    let (clock, tasks, stop) = (Arc::new(Moved::default()), Tasks::default(), CancellationToken::new());
    let shards = ShardCount::new(16).unwrap();
    let member = |name: &str| {
        let address = format!("{name}:1");
        Membership::start_at(address, engine.clone(), clock.clone(), name.to_owned(), shards, &tasks, &stop)
    };
    let (one, other) = (member("one"), member("other"));
    let settle = async || {
        for _ in 0..3 {
            one.join(Service::Posting).await.unwrap();
            other.join(Service::Posting).await.unwrap();
        }
    };
    settle().await;
    for shard in shards.all() {
        let holder = one.holder(Service::Posting, shard).await.unwrap().unwrap();
        let expected = if held(&one).contains(&shard) { "one:1" } else { "other:1" };
        assert_eq!((holder.address.as_str(), holder.lives), (expected, true), "{shard}");
        assert_eq!(other.holder(Service::Posting, shard).await.unwrap(), Some(holder));
    }
    one.retire().await.unwrap();
    assert!(held(&one).is_empty(), "handed over at once");
    settle().await;
    assert_eq!((held(&one).len(), held(&other).len()), (0, 16));
    let told = one.holders().borrow().values().all(|holder| holder.address == "other:1");
    assert!(told, "and whoever is still asked knows whom to pass a call on to");
    // The last one goes on until its end.
    one.leave().await;
    other.retire().await.unwrap();
    settle().await;
    assert_eq!(held(&other).len(), 16);
    stop.cancel();
    tasks.end().await;
}
