//! Views are functions of events alone: rebuilt they are equal, and a start finds them as they were.

use crate::world::World;
use p92_eventlog::Runtime;
use p92_proto::identity::v1::{self as identity, FollowEnd};
use p92_proto::posting::v1::Visibility;
use std::sync::Arc;

async fn history(world: &mut World) -> (u64, Vec<u64>) {
    let ann = world.id();
    let (one, two) = (world.remote("a.example").await, world.remote("b.example").await);
    let three = world.remote("b.example").await;
    let mut posts = Vec::new();
    for round in 0..3 {
        world.follows(one, ann).await;
        world.follows(two, ann).await;
        posts.push(world.publish(ann, Visibility::Public, &[three]).await);
        world.ends(one, ann, FollowEnd::Unfollowed).await;
        posts.push(world.publish(ann, Visibility::Followers, &[]).await);
        if round == 1 {
            let suspended = identity::AccountSuspended { account_id: two, ..Default::default() };
            world.of_account(two, &suspended).await;
        }
        world.delete(ann, posts[0]).await;
    }
    let erased = identity::AccountErased { account_id: three, ..Default::default() };
    world.of_account(three, &erased).await;
    (ann, posts)
}

async fn rebuilt(runtime: &Runtime, view: &str) -> u64 {
    let report = runtime.rebuild(view, true, Arc::new(|_, _| ())).await.unwrap();
    assert_eq!(report.difference, None, "{view}");
    report.compared
}

#[tokio::test]
async fn rebuilt_and_restarted_everything_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path()).await;
    let (ann, posts) = history(&mut world).await;
    let mut before = Vec::new();
    for post in &posts {
        before.push(world.plans(*post).await);
    }
    assert!(before.iter().flatten().any(|plan| !plan.destinations.is_empty()));
    let (hosts, peers) = (world.follower_hosts(ann).await, world.peers(0, "").await.unwrap());
    for view in p92_federation_delivery::tables::ALL {
        assert!(rebuilt(world.delivery.runtime(), view.name).await > 0, "{} has rows", view.name);
    }
    for again in 0..2 {
        for (post, before) in posts.iter().zip(&before) {
            assert_eq!(&world.plans(*post).await, before, "{again}");
        }
        assert_eq!(world.follower_hosts(ann).await, hosts);
        assert_eq!(world.peers(0, "").await.unwrap(), peers);
        world.close().await;
        world = World::open(dir.path()).await;
    }
    world.close().await;
}
