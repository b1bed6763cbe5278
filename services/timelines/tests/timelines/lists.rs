//! Public and tag timelines, notifications, markers.

use crate::double::Double;
use crate::world::{Like, World};
use p92_proto::posting::v1::Visibility;
use p92_proto::timelines::v1 as proto;
use proto::NotificationType as Type;

async fn public(world: &World, viewer: u64, local: bool, remote: bool) -> Vec<u64> {
    let request =
        proto::ListPublicRequest { options: world.options(viewer), local, remote, ..Default::default() };
    let page = world.timelines_client().list_public(request).await.unwrap().into_inner();
    page.entries.iter().map(|entry| entry.id).collect()
}

#[tokio::test]
async fn public_timelines_hold_public_posts_by_origin() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), Double::default()).await;
    let (alice, bob, far) = (world.account(), world.account(), world.account_at(0));
    let one = world.post(alice, Like::default()).await;
    let two = world.post(far, Like { home: Some(0), ..Like::default() }).await;
    world.post(alice, Like { visibility: Some(Visibility::Unlisted), ..Like::default() }).await;
    world.post(bob, Like { answers: one, ..Like::default() }).await;
    let own_thread = world.post(alice, Like { answers: one, ..Like::default() }).await;
    assert_eq!(public(&world, 0, false, false).await, [own_thread, two, one]);
    assert_eq!(public(&world, 0, true, false).await, [own_thread, one]);
    assert_eq!(public(&world, 0, false, true).await, [two]);
    world.block(bob, alice).await;
    assert_eq!(public(&world, bob, false, false).await, [two]);
    assert_eq!(public(&world, alice, false, false).await, [own_thread, two, one]);
    world.delete(two).await;
    assert_eq!(public(&world, 0, false, false).await, [own_thread, one]);
    world.suspend(alice).await;
    assert_eq!(public(&world, 0, false, false).await, [] as [u64; 0]);
    world.platform.stop().await;
}

#[tokio::test]
async fn public_timelines_are_cut_into_pages_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), Double::default()).await;
    let people = [world.account(), world.account(), world.account()];
    let mut posts = Vec::new();
    for step in 0..70 {
        posts.push(world.post(people[step % 3], Like::default()).await);
    }
    posts.sort_unstable();
    let ask = |max_id: u64, min_id: u64| {
        let window = p92_proto::event::v1::IdWindow { max_id, min_id, limit: 9, ..Default::default() };
        let request = proto::ListPublicRequest {
            options: world.options(0),
            window: Some(window),
            local: true,
            ..Default::default()
        };
        let mut client = world.timelines_client();
        async move {
            let page = client.list_public(request).await.unwrap().into_inner();
            page.entries.iter().map(|entry| entry.id).collect::<Vec<u64>>()
        }
    };
    let (mut down, mut up) = (Vec::new(), Vec::new());
    loop {
        let page = ask(down.last().copied().unwrap_or(0), 0).await;
        if page.is_empty() {
            break;
        }
        down.extend(page);
    }
    loop {
        let page = ask(0, up.last().copied().unwrap_or(1)).await;
        if page.is_empty() {
            break;
        }
        up.extend(page.into_iter().rev());
    }
    assert_eq!(up, posts);
    down.reverse();
    assert_eq!(down, posts);
    world.platform.stop().await;
}

#[tokio::test]
async fn tag_timelines_know_any_all_and_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), Double::default()).await;
    let alice = world.account();
    let cats = world.post(alice, Like { tags: vec!["cats"], ..Like::default() }).await;
    let both = world.post(alice, Like { tags: vec!["cats", "dogs"], ..Like::default() }).await;
    let dogs = world.post(alice, Like { tags: vec!["dogs"], ..Like::default() }).await;
    let ask = |any: &[&str], all: &[&str], none: &[&str]| {
        let own = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<String>>();
        let request = proto::ListTagRequest {
            options: world.options(0),
            any: own(any),
            all: own(all),
            none: own(none),
            ..Default::default()
        };
        let mut client = world.timelines_client();
        async move {
            let page = client.list_tag(request).await?.into_inner();
            Ok::<_, tonic::Status>(page.entries.iter().map(|entry| entry.id).collect::<Vec<u64>>())
        }
    };
    assert_eq!(ask(&["Cats"], &[], &[]).await.unwrap(), [both, cats]);
    assert_eq!(ask(&["cats", "dogs"], &[], &[]).await.unwrap(), [dogs, both, cats]);
    assert_eq!(ask(&["cats"], &["dogs"], &[]).await.unwrap(), [both]);
    assert_eq!(ask(&["cats"], &[], &["dogs"]).await.unwrap(), [cats]);
    assert_eq!(ask(&[], &[], &[]).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    world.platform.stop().await;
}

fn told(notes: &[proto::Notification]) -> Vec<(Type, u64, u64)> {
    notes.iter().map(|note| (note.r#type(), note.account_id, note.post_id)).collect()
}

#[tokio::test]
async fn each_cause_tells_once_and_its_end_takes_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), Double::default()).await;
    let (alice, bob, carol) = (world.account(), world.account(), world.account());
    let post = world.post(alice, Like::default()).await;
    world.follow(bob, alice).await;
    world.request_follow(carol, alice).await;
    world.like(bob, post, true).await;
    let boost = world.boost(carol, post).await;
    let mention = world.post(bob, Like { names: vec![alice, bob], ..Like::default() }).await;
    let mut notes = told(&world.notifications(alice).await);
    notes.sort_by_key(|(kind, ..)| *kind as i32);
    assert_eq!(
        notes,
        [
            (Type::Mention, bob, mention),
            (Type::Follow, bob, 0),
            (Type::FollowRequest, carol, 0),
            (Type::Like, bob, post),
            (Type::Boost, carol, post),
        ]
    );
    assert!(world.notifications(bob).await.is_empty(), "nobody is told what he did himself");
    world.like(bob, post, false).await;
    world.like(bob, post, true).await;
    assert_eq!(world.notifications(alice).await.len(), 5, "the same cause again tells once");
    world.block(alice, carol).await;
    assert_eq!(world.notifications(alice).await.len(), 3, "nothing of those whom one blocks");
    world.unblock(alice, carol).await;
    world.like(bob, post, false).await;
    world.unboost(boost).await;
    world.delete(mention).await;
    world.unfollow(bob, alice).await;
    assert_eq!(told(&world.notifications(alice).await), [(Type::FollowRequest, carol, 0)]);
    world.platform.stop().await;
}

#[tokio::test]
async fn notifications_are_dismissed_cleared_counted_and_filtered() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), Double::default()).await;
    let (alice, bob) = (world.account(), world.account());
    for _ in 0..4 {
        world.post(bob, Like { names: vec![alice], ..Like::default() }).await;
    }
    world.follow(bob, alice).await;
    let all = world.notifications(alice).await;
    assert_eq!(all.len(), 5);
    let options = world.options(alice);
    let filter =
        proto::NotificationFilter { exclude_types: vec![Type::Mention.into()], ..Default::default() };
    let request = proto::ListNotificationsRequest {
        options: options.clone(),
        filter: Some(filter),
        ..Default::default()
    };
    let follows = world.notes.list_notifications(request).await.unwrap().into_inner().notifications;
    assert_eq!(told(&follows), [(Type::Follow, bob, 0)]);
    let count = |world: &World| {
        let mut notes = world.notes.clone();
        let request = proto::CountUnreadRequest { options: world.options(alice), ..Default::default() };
        async move { notes.count_unread(request).await.unwrap().into_inner().count }
    };
    assert_eq!(count(&world).await, 5);
    let change = proto::MarkerChange { timeline: 2, last_read_id: all[2].id };
    let set = proto::SetMarkersRequest { context: World::context(alice, "m1"), changes: vec![change] };
    let marker = world.markers.set_markers(set.clone()).await.unwrap().into_inner();
    assert_eq!((marker.markers[0].last_read_id, marker.markers[0].version), (all[2].id, 1));
    let again = world.markers.set_markers(set).await.unwrap().into_inner();
    assert!(again.receipt.unwrap().repeated);
    assert_eq!(count(&world).await, 2);

    let dismiss = proto::DismissNotificationRequest {
        context: World::context(alice, "d1"),
        notification_id: all[1].id,
    };
    world.notes.dismiss_notification(dismiss.clone()).await.unwrap();
    assert!(world.notes.dismiss_notification(dismiss).await.unwrap().into_inner().receipt.unwrap().repeated);
    let get = proto::GetNotificationRequest { options: options.clone(), notification_id: all[1].id };
    assert_eq!(world.notes.get_notification(get.clone()).await.unwrap_err().code(), tonic::Code::NotFound);
    let get = proto::GetNotificationRequest { notification_id: all[0].id, ..get };
    assert_eq!(world.notes.get_notification(get).await.unwrap().into_inner().notification, Some(all[0]));
    assert_eq!(world.notifications(alice).await.len(), 4);
    let clear = proto::ClearNotificationsRequest { context: World::context(alice, "c1") };
    world.notes.clear_notifications(clear).await.unwrap();
    assert!(world.notifications(alice).await.is_empty());
    world.post(bob, Like { names: vec![alice], ..Like::default() }).await;
    assert_eq!(world.notifications(alice).await.len(), 1);
    world.platform.stop().await;
}
