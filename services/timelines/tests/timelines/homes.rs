//! Homes: what stands in them, and that memory and merge agree.

use crate::double::Double;
use crate::world::{Like, SERVER, World};
use p92_proto::event::v1::IdWindow;
use p92_proto::identity::v1::FollowOptions;
use p92_proto::posting::v1::Visibility;
use p92_proto::timelines::v1 as proto;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

#[tokio::test]
async fn a_post_stands_in_the_home_of_a_follower_and_of_its_author() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), Double::default()).await;
    let (alice, bob, carol) = (world.account(), world.account(), world.account());
    world.follow(bob, alice).await;
    let post = world.post(alice, Like::default()).await;
    assert_eq!(world.home(bob).await, [post]);
    assert_eq!(world.home(alice).await, [post]);
    assert_eq!(world.home(carol).await, [] as [u64; 0]);
    let followers_only = Like { visibility: Some(Visibility::Followers), ..Like::default() };
    let second = world.post(alice, followers_only).await;
    let third = world
        .post(alice, Like { visibility: Some(Visibility::Direct), names: vec![carol], ..Like::default() })
        .await;
    assert_eq!(world.home(bob).await, [second, post]);
    assert_eq!(world.home(alice).await, [third, second, post]);
    world.platform.stop().await;
}

#[tokio::test]
async fn a_follow_brings_the_past_and_an_unfollow_takes_it_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), Double::default()).await;
    let (alice, bob, carol) = (world.account(), world.account(), world.account());
    let old = world.post(alice, Like::default()).await;
    let other = world.post(carol, Like::default()).await;
    world.follow(bob, carol).await;
    assert_eq!(world.home(bob).await, [other]);
    world.follow(bob, alice).await;
    assert_eq!(world.home(bob).await, [other, old]);
    world.unfollow(bob, alice).await;
    assert_eq!(world.home(bob).await, [other]);
    world.follow(bob, alice).await;
    assert_eq!(world.home(bob).await, [other, old]);
    world.platform.stop().await;
}

#[tokio::test]
async fn a_follow_may_want_some_languages_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), Double::default()).await;
    let (alice, bob) = (world.account(), world.account());
    let wanted = |languages: &[&str]| FollowOptions {
        show_boosts: true,
        languages: languages.iter().map(|tag| (*tag).to_owned()).collect(),
        ..FollowOptions::default()
    };
    world.follow_as(bob, alice, wanted(&["pt-BR", "en"])).await;
    let mut posts = Vec::new();
    for language in ["en", "de", "pt", ""] {
        posts.push(world.post(alice, Like { language, ..Like::default() }).await);
    }
    assert_eq!(world.home(bob).await, [posts[3], posts[2], posts[0]]);
    world.follow_as(bob, alice, wanted(&[])).await;
    assert_eq!(world.home(bob).await, [posts[3], posts[2], posts[1], posts[0]]);
    world.platform.stop().await;
}

#[tokio::test]
async fn blocks_mutes_suspensions_and_deletions_bind() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), Double::default()).await;
    let (alice, bob, carol) = (world.account(), world.account(), world.account());
    world.follow(bob, alice).await;
    world.follow(bob, carol).await;
    let one = world.post(alice, Like::default()).await;
    let two = world.post(carol, Like::default()).await;
    assert_eq!(world.home(bob).await, [two, one]);
    world.block(alice, bob).await;
    assert_eq!(world.home(bob).await, [two]);
    world.unblock(alice, bob).await;
    assert_eq!(world.home(bob).await, [two, one]);
    let now = world.double.history().now;
    world.mute(bob, alice, now - 1_000).await;
    assert_eq!(world.home(bob).await, [two, one], "that mute has run out");
    world.mute(bob, alice, 0).await;
    assert_eq!(world.home(bob).await, [two]);
    world.mute(bob, alice, now - 1_000).await;
    world.delete(two).await;
    assert_eq!(world.home(bob).await, [one]);
    world.suspend(alice).await;
    assert_eq!(world.home(bob).await, [] as [u64; 0]);
    world.platform.stop().await;
}

#[tokio::test]
async fn a_post_that_several_boost_stands_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), Double::default()).await;
    let (alice, bob, carol, dave) = (world.account(), world.account(), world.account(), world.account());
    world.follow(bob, carol).await;
    world.follow(bob, dave).await;
    let post = world.post(alice, Like::default()).await;
    let first = world.boost(carol, post).await;
    let second = world.boost(dave, post).await;
    assert_eq!(world.home(bob).await, [first]);
    world.unboost(first).await;
    assert_eq!(world.home(bob).await, [second]);
    world.follow_with(bob, dave, false).await;
    assert_eq!(world.home(bob).await, [] as [u64; 0]);
    world.follow_with(bob, dave, true).await;
    world.follow(bob, alice).await;
    assert_eq!(world.home(bob).await, [post], "it stands for itself");
    world.unfollow(bob, alice).await;
    world.block(bob, alice).await;
    assert_eq!(world.home(bob).await, [] as [u64; 0], "boosts of blocked authors are hidden too");
    world.platform.stop().await;
}

#[tokio::test]
async fn an_own_write_is_read_whatever_the_reader_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), Double::default()).await;
    let (alice, bob) = (world.account(), world.account());
    for _ in 0..20 {
        let post = world.post(alice, Like::default()).await;
        let note = proto::NoteOwnWriteRequest { viewer_id: alice, positions: world.positions() };
        world.timelines_client().note_own_write(note).await.unwrap();
        let options =
            p92_proto::event::v1::ReadOptions { viewer_id: alice, server_id: SERVER, ..Default::default() };
        let request = proto::ListHomeRequest { options: Some(options), ..Default::default() };
        let page = world.timelines_client().list_home(request).await.unwrap().into_inner();
        assert_eq!(page.entries[0].id, post);
    }
    let nobody = proto::ListHomeRequest::default();
    let refused = world.timelines_client().list_home(nobody).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    world.follow(bob, alice).await;
    world.double.history().down = true;
    let window = IdWindow::default();
    let refused = world.page(bob, window, proto::TimelineSource::Merge).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "what cannot be judged is not shown");
    world.platform.stop().await;
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let double = Double::default();
    let (bob, expected) = {
        let mut world = World::open(dir.path(), double.clone()).await;
        let (alice, bob) = (world.account(), world.account());
        world.follow(bob, alice).await;
        for _ in 0..30 {
            world.post(alice, Like { names: vec![bob], ..Like::default() }).await;
        }
        let home = world.home(bob).await;
        let notes = world.notifications(bob).await;
        assert_eq!((home.len(), notes.len()), (8, 30));
        world.platform.stop().await;
        (bob, (home, notes))
    };
    let world = World::open(dir.path(), double).await;
    assert_eq!((world.home(bob).await, world.notifications(bob).await), expected);
    assert_eq!(world.timelines.memory_sizes().rings, 1);
    world.platform.stop().await;
}

/// What random people do.
async fn live(world: &mut World, people: &[u64], random: &mut StdRng) {
    let one = people[random.random_range(0..people.len())];
    let other = people[random.random_range(0..people.len())];
    let posts: Vec<u64> = world.double.history().posts.keys().copied().collect();
    let post = posts.get(random.random_range(0..posts.len().max(1))).copied();
    match (random.random_range(0..100), post) {
        (0..14, _) if one != other => {
            let boosts = random.random_bool(0.8);
            world.follow_with(one, other, boosts).await;
        }
        (14..18, _) => world.unfollow(one, other).await,
        (18..20, _) if one != other => world.block(one, other).await,
        (20..23, _) => world.unblock(one, other).await,
        (23..26, _) if one != other => {
            let now = world.double.history().now;
            world.mute(one, other, if random.random_bool(0.5) { 0 } else { now - 1 }).await;
        }
        (26..30, Some(post)) => world.delete(post).await,
        (30..50, Some(post)) => {
            let visible = world.double.history().posts[&post].entry.visibility <= 2;
            let again = world.double.history().boosts.values().any(|boost| *boost == (post, one));
            if visible && !again {
                world.boost(one, post).await;
            }
        }
        (50..53, _) => {
            let boost = world.double.history().boosts.keys().next().copied();
            if let Some(boost) = boost {
                world.unboost(boost).await;
            }
        }
        (_, post) => {
            let visibility =
                [Visibility::Public, Visibility::Unlisted, Visibility::Followers, Visibility::Direct]
                    [random.random_range(0..4)];
            let answers = post.filter(|_| random.random_bool(0.3)).unwrap_or_default();
            let names = if random.random_bool(0.3) { vec![other] } else { vec![] };
            world.post(one, Like { visibility: Some(visibility), answers, names, ..Like::default() }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_merge_agree_page_for_page() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), Double::default()).await;
    let people: Vec<u64> = (0..6).map(|_| world.account()).collect();
    let mut random = StdRng::seed_from_u64(92);
    let (mut pages, mut remembered) = (0, 0);
    for step in 0..400 {
        live(&mut world, &people, &mut random).await;
        if step % 8 != 7 {
            continue;
        }
        let viewer = people[random.random_range(0..people.len())];
        let ids: Vec<u64> = world.double.history().posts.keys().rev().step_by(3).take(12).copied().collect();
        for id in [0].into_iter().chain(ids) {
            for window in [
                IdWindow { max_id: id, limit: 5, ..Default::default() },
                IdWindow { min_id: id, limit: 4, ..Default::default() },
                IdWindow { since_id: id, limit: 3, ..Default::default() },
            ] {
                let merged = world.page(viewer, window, proto::TimelineSource::Merge).await.unwrap();
                pages += 1;
                match world.page(viewer, window, proto::TimelineSource::Memory).await {
                    Ok(page) => {
                        assert_eq!(page, merged, "step {step} viewer {viewer} {window:?}");
                        remembered += 1;
                    }
                    Err(status) => assert_eq!(status.code(), tonic::Code::FailedPrecondition),
                }
            }
        }
    }
    assert!(remembered * 4 > pages, "{remembered} of {pages} pages came from memory");
    world.platform.stop().await;
}
