//! Who must get what, post by post.

use crate::world::{HOME, World, reason};
use p92_proto::federation_delivery::v1::{ActivityKind, DeliveryReason, GetDeliveryPlanRequest};
use p92_proto::identity::v1::{self as identity, FollowEnd};
use p92_proto::posting::v1::{self as posting, EndReason, Visibility};

#[tokio::test]
async fn among_local_people_nobody_else_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path()).await;
    let (ann, bob) = (world.id(), world.id());
    let follow = identity::FollowStarted {
        follower_id: bob,
        followed_id: ann,
        follower_server_id: HOME,
        followed_server_id: HOME,
        ..Default::default()
    };
    world.relation(ann, bob, &follow).await;
    for visibility in [Visibility::Public, Visibility::Unlisted, Visibility::Followers, Visibility::Direct] {
        let post = world.publish(ann, visibility, &[bob]).await;
        world.delete(ann, post).await;
        assert_eq!(world.told(post).await, [(ActivityKind::Create, vec![]), (ActivityKind::Delete, vec![])]);
    }
    assert!(world.follower_hosts(ann).await.is_empty());
    world.close().await;
}

#[tokio::test]
async fn each_visibility_reaches_exactly_its_hosts() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path()).await;
    let ann = world.id();
    let (zoe, yan) = (world.remote("a.example").await, world.remote("b.example").await);
    let (named, parent) = (world.remote("c.example").await, world.remote("d.example").await);
    world.remote("nobody.example").await;
    world.follows(zoe, ann).await;
    world.follows(yan, ann).await;
    for (visibility, hosts) in [
        (Visibility::Public, vec!["a.example", "b.example", "c.example", "d.example"]),
        (Visibility::Unlisted, vec!["a.example", "b.example", "c.example", "d.example"]),
        (Visibility::Followers, vec!["a.example", "b.example", "c.example"]),
        (Visibility::Direct, vec!["c.example"]),
    ] {
        let post = posting::PostPublished {
            author_id: ann,
            author_home_id: HOME,
            visibility: visibility.into(),
            mentioned_ids: vec![named],
            in_reply_to_id: 5,
            in_reply_to_author_id: parent,
            ..Default::default()
        };
        let post = world.publish_as(post).await;
        let plans = world.plans(post).await;
        let found: Vec<_> = plans[0].destinations.iter().map(|one| one.host.as_str()).collect();
        assert_eq!(found, hosts, "{visibility:?}");
        let of = |host: &str| plans[0].destinations.iter().find(|one| one.host == host);
        assert_eq!(of("c.example").unwrap().reasons, [i32::from(DeliveryReason::Mentioned)]);
        if let Some(follower) = of("a.example") {
            assert_eq!(follower.reasons, [i32::from(DeliveryReason::Follower)]);
            assert_eq!(follower.inboxes, ["https://a.example/inbox"]);
        }
        if let Some(parent) = of("d.example") {
            assert_eq!(parent.reasons, [i32::from(DeliveryReason::ParentAuthor)]);
        }
    }
    // What comes from elsewhere is told by its own host.
    let remote = posting::PostPublished { author_id: zoe, mentioned_ids: vec![yan], ..Default::default() };
    let remote = world.publish_as(remote).await;
    assert!(world.plans(remote).await.is_empty());
    world.close().await;
}

#[tokio::test]
async fn a_deletion_goes_where_the_post_went() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path()).await;
    let ann = world.id();
    let (zoe, yan) = (world.remote("a.example").await, world.remote("b.example").await);
    world.follows(zoe, ann).await;
    world.follows(yan, ann).await;
    let post = world.publish(ann, Visibility::Public, &[]).await;
    let closed = world.publish(ann, Visibility::Followers, &[]).await;
    world.ends(zoe, ann, FollowEnd::Blocked).await;
    let late = world.remote("late.example").await;
    world.follows(late, ann).await;
    for (id, visibility) in [(post, Visibility::Public), (closed, Visibility::Followers)] {
        let edit = posting::PostEdited {
            post_id: id,
            author_id: ann,
            author_home_id: HOME,
            visibility: visibility.into(),
            ..Default::default()
        };
        world.of_post(id, &edit).await;
        world.delete(ann, id).await;
    }
    let hosts = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>();
    let everywhere = hosts(&["a.example", "b.example", "late.example"]);
    let told = world.told(post).await;
    assert_eq!(told[0], (ActivityKind::Create, hosts(&["a.example", "b.example"])));
    assert_eq!(told[1], (ActivityKind::Update, everywhere.clone()));
    assert_eq!(told[2], (ActivityKind::Delete, everywhere.clone()));
    let told = world.told(closed).await;
    assert_eq!(told[1].1, hosts(&["b.example", "late.example"]), "new words are not for whoever was blocked");
    assert_eq!(told[2].1, everywhere);
    // The next post knows the block from the first.
    let next = world.publish(ann, Visibility::Public, &[]).await;
    assert_eq!(world.told(next).await[0].1, hosts(&["b.example", "late.example"]));
    world.close().await;
}

#[tokio::test]
async fn boosts_and_likes_go_to_the_author_and_are_undone_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path()).await;
    let ann = world.id();
    let (zoe, fan) = (world.remote("a.example").await, world.remote("b.example").await);
    world.follows(fan, ann).await;
    let remote = posting::PostPublished { author_id: zoe, visibility: 1, ..Default::default() };
    let post = world.publish_as(remote).await;
    let like = posting::PostLiked {
        like_id: 31,
        post_id: post,
        actor_id: ann,
        actor_home_id: HOME,
        author_id: zoe,
        visibility: 1,
        ..Default::default()
    };
    world.of_post(post, &like).await;
    let boost = posting::PostBoosted {
        boost_id: 32,
        post_id: post,
        actor_id: ann,
        actor_home_id: HOME,
        author_id: zoe,
        visibility: 1,
        ..Default::default()
    };
    world.of_post(post, &boost).await;
    let unlike = posting::PostUnliked {
        like_id: 31,
        post_id: post,
        actor_id: ann,
        actor_home_id: HOME,
        author_id: zoe,
        reason: EndReason::TakenBack.into(),
        ..Default::default()
    };
    world.of_post(post, &unlike).await;
    world.ends(fan, ann, FollowEnd::Unfollowed).await;
    let unboost = posting::PostUnboosted {
        boost_id: 32,
        post_id: post,
        actor_id: ann,
        actor_home_id: HOME,
        author_id: zoe,
        visibility: 1,
        reason: EndReason::TakenBack.into(),
        ..Default::default()
    };
    world.of_post(post, &unboost).await;
    let (author, both) = (vec!["a.example".to_owned()], vec!["a.example".to_owned(), "b.example".to_owned()]);
    let expected = [
        (ActivityKind::Like, author.clone()),
        (ActivityKind::Announce, both.clone()),
        (ActivityKind::UndoLike, author),
        (ActivityKind::UndoAnnounce, both),
    ];
    assert_eq!(world.told(post).await, expected);
    // A like of a post from here stays here.
    let own = world.publish(ann, Visibility::Public, &[]).await;
    let like = posting::PostLiked { post_id: own, author_id: ann, author_home_id: HOME, ..like };
    world.of_post(own, &like).await;
    assert_eq!(world.told(own).await.len(), 1);
    world.close().await;
}

#[tokio::test]
async fn what_is_not_there_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path()).await;
    let ann = world.id();
    let post = world.publish(ann, Visibility::Public, &[]).await;
    let all = GetDeliveryPlanRequest { options: world.options(), post_id: post, activity_id: 0 };
    let activity_id = world.ask(all.clone()).await.unwrap().plans[0].activity_id;
    assert_eq!(
        world.ask(GetDeliveryPlanRequest { activity_id, ..all.clone() }).await.unwrap().plans.len(),
        1
    );
    let wrong = GetDeliveryPlanRequest { activity_id: activity_id + 1, ..all.clone() };
    assert_eq!(reason(world.ask(wrong).await), "NOT_FOUND");
    assert_eq!(reason(world.ask(GetDeliveryPlanRequest { post_id: 0, ..all.clone() }).await), "BAD_ID");
    assert_eq!(reason(world.ask_hosts(0).await), "BAD_ID");
    let mut bad = all;
    bad.options.as_mut().unwrap().at_least[0].service = "nobody".to_owned();
    assert_eq!(reason(world.ask(bad).await), "BAD_POSITION");
    assert_eq!(reason(world.peers(1, &"x".repeat(301)).await), "BAD_PAGE_TOKEN");
    world.close().await;
}
