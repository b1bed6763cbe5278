//! Slots that go and come back: merges answer meanwhile, and memory afterwards has missed nothing.

use crate::double::Double;
use crate::world::{Like, World};
use p92_eventlog::NewEvent;
use p92_kernel::{Service, Shard};
use p92_proto::event::v1::IdWindow;
use p92_proto::posting::v1 as posting;
use p92_proto::timelines::v1::TimelineSource;
use std::time::Duration;

/// Long enough for a busy machine, and no more than a test may hang.
const LONG: Duration = Duration::from_secs(60);

fn held(world: &World, shard: Shard) -> bool {
    world.platform.membership.slots().borrow().contains_key(&(Service::Timelines, shard))
}

async fn until_slots(world: &World, held: bool) {
    let mut slots = world.platform.membership.slots();
    let all = [Shard(0), Shard(1)];
    let as_asked = slots
        .wait_for(|slots| all.iter().all(|shard| slots.contains_key(&(Service::Timelines, *shard)) == held));
    tokio::time::timeout(LONG, as_asked).await.expect("the slots do not move").unwrap();
}

/// Gives the slots back, and reads a home while nobody holds them: it is merged.
async fn merged_without_slots(world: &World, viewer: u64) -> Vec<u64> {
    let shard = p92_kernel::Id::new(viewer).unwrap().shard();
    // On a busy machine they may be back before anybody has read: the next time they are away for longer.
    loop {
        while world.newest(viewer).await.unwrap().1 != TimelineSource::Memory {}
        world.platform.membership.give_back(Service::Timelines, &[Shard(0), Shard(1)]).await.unwrap();
        until_slots(world, false).await;
        // Homes go as soon as it is known that the slots are gone; for a moment before, nobody else answers either.
        while world.timelines.memory_sizes().rings > 0 && !held(world, shard) {
            tokio::task::yield_now().await;
        }
        let mut merged = None;
        for _ in 0..10 {
            let (page, source) = world.newest(viewer).await.unwrap();
            if held(world, shard) {
                break;
            }
            assert_eq!(source, TimelineSource::Merge, "memory answers without its slots");
            merged = Some(page);
        }
        if let Some(page) = merged {
            return page;
        }
    }
}

#[tokio::test]
async fn memory_comes_back_with_its_slots() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), Double::default()).await;
    let (alice, bob) = (world.account(), world.account());
    world.follow(bob, alice).await;
    let before = world.post(alice, Like::default()).await;
    assert_eq!(world.home(bob).await, [before], "by memory and by merge");
    let meanwhile = world.post(alice, Like::default()).await;
    let merged = tokio::time::timeout(LONG, merged_without_slots(&world, bob)).await.expect("in time");
    assert_eq!(merged, [meanwhile, before]);
    until_slots(&world, true).await;
    // Asked for by name, memory is waited for until it has settled; both ways are compared.
    assert_eq!(world.home(bob).await, [meanwhile, before]);
    let after = world.post(alice, Like::default()).await;
    assert_eq!(world.home(bob).await, [after, meanwhile, before]);
    world.platform.stop().await;
}

#[tokio::test]
async fn before_a_newer_event_memory_gives_its_slots_back_and_merges_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), Double::default()).await;
    let (alice, bob) = (world.account(), world.account());
    world.follow(bob, alice).await;
    let post = world.post(alice, Like::default()).await;
    assert_eq!(world.home(bob).await, [post]);
    assert_eq!(world.timelines.memory_sizes().rings, 1);
    let gone = posting::PostDeleted { post_id: post, author_id: alice, ..Default::default() };
    world.append_event(Service::Posting, Shard(0), NewEvent::of(&gone).version(99)).await;
    until_slots(&world, false).await;
    let behind = world.platform.progress.behind();
    let memory = behind.iter().find(|one| {
        let log = (one.mark.log.service, one.mark.log.shard);
        (one.service, log) == (Service::Timelines, (Service::Posting, Shard(0)))
            && &*one.mark.reader == "timelines.memory"
    });
    assert_eq!(memory.map(|one| one.events), Some(1), "operators see that it waits");
    let merged = async {
        loop {
            let (page, source) = world.newest(bob).await.unwrap();
            assert_eq!(page, [post]);
            if source == TimelineSource::Merge {
                return;
            }
        }
    };
    tokio::time::timeout(LONG, merged).await.expect("memory answers though it waits");
    let window = IdWindow { limit: 8, ..Default::default() };
    let refused = world.page(bob, window, TimelineSource::Memory).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "memory may not answer");
    // Homes go with their slots, and nobody brings them back meanwhile.
    let gone = async {
        while world.timelines.memory_sizes().rings > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, gone).await.expect("the home is kept without its slot");
    // Nobody else takes them: they are taken up again, to look whether the event can be read by now.
    until_slots(&world, true).await;
    until_slots(&world, false).await;
    world.platform.stop().await;
}
