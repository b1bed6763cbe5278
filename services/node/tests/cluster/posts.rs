//! One post's way through processes, whichever replica is asked.

use crate::world::{Installation, shard_of, spread, within};
use p92_kernel::Service;
use p92_node::role::Role;
use p92_proto::timelines::v1::TimelineSource;

#[tokio::test(flavor = "multi_thread")]
async fn a_post_comes_home_through_six_processes() {
    let mut all = Installation::new().await;
    let identity = all.start(Role::Identity).await;
    all.found_at(&[&identity]);
    let posting = all.start(Role::Posting).await;
    all.found_at(&[&posting]);
    let timelines = all.start(Role::Timelines).await;
    let delivery = all.start(Role::FederationDelivery).await;
    let ranking = all.start(Role::Ranking).await;
    all.found_at(&[&timelines, &delivery, &ranking]);
    for replica in [&identity, &posting, &timelines, &delivery, &ranking] {
        within(replica.runtime.ready()).await;
    }
    // The sixth is the door, which knows nothing but the ways.
    let ways = all.ways();
    all.make_server(&identity).await;
    let (alice, bob) = (all.account(&identity, "alice").await, all.account(&identity, "bob").await);
    let followed = all.follow(&identity, bob, alice).await;
    all.note(ways.to(Service::Timelines).unwrap(), bob, &followed).await;
    let (post, _) = all.publish(ways.to(Service::Posting).unwrap(), alice, "hello").await.unwrap();
    let (home, _) = all.home(ways.to(Service::Timelines).unwrap(), bob).await;
    assert_eq!(home, [post]);
    for replica in [ranking, delivery, timelines, posting, identity] {
        replica.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_may_go_to_either_replica_and_every_read_shows_it() {
    let mut all = Installation::new().await;
    let identity = [all.start(Role::Identity).await, all.start(Role::Identity).await];
    spread(&identity.each_ref()).await;
    all.found_at(&identity.each_ref());
    let posting = [all.start(Role::Posting).await, all.start(Role::Posting).await];
    spread(&posting.each_ref()).await;
    all.found_at(&posting.each_ref());
    let timelines = [all.start(Role::Timelines).await, all.start(Role::Timelines).await];
    spread(&timelines.each_ref()).await;
    all.make_server(&identity[0]).await;
    let alice = all.account(&identity[0], "alice").await;
    let bob = all.account(&identity[1], "bob").await;
    let mut posts = Vec::new();
    for turn in 0..6 {
        let followed = all.follow(&identity[turn % 2], bob, alice).await;
        all.note(timelines[turn % 2].transport(), bob, &followed).await;
        let (post, receipt) =
            all.publish(posting[turn % 2].transport(), alice, &format!("post {turn}")).await.unwrap();
        posts.insert(0, post);
        // What bob is told, the other replica of timelines shows.
        all.note(timelines[turn % 2].transport(), bob, &receipt).await;
        let (home, _) = all.home(timelines[(turn + 1) % 2].transport(), bob).await;
        assert_eq!(home, posts, "turn {turn}");
    }
    // Both answer out of the memory of whoever holds bob's slot.
    let by_memory = async {
        loop {
            let mut sources = Vec::new();
            for replica in &timelines {
                sources.push(all.home(replica.transport(), bob).await.1);
            }
            if sources == [TimelineSource::Memory; 2] {
                return;
            }
        }
    };
    within(by_memory).await;
    let holders = timelines.iter().filter(|replica| replica.holds().contains(&shard_of(bob)));
    assert_eq!(holders.count(), 1);
}
