//! Live streams: what happens is told, once, and a stream goes on where another one stopped.

use crate::double::Double;
use crate::world::{Like, World};
use p92_proto::timelines::v1 as proto;
use proto::watch_home_response::Change;
use std::time::Duration;
use tonic::Streaming;

async fn open(world: &World, viewer: u64, cursor: Vec<u8>) -> Streaming<proto::WatchHomeResponse> {
    let request = proto::WatchHomeRequest {
        options: world.options(viewer),
        cursor: cursor.into(),
        ..Default::default()
    };
    world.timelines_client().watch_home(request).await.unwrap().into_inner()
}

/// The next message that is no mere sign of life.
async fn next(stream: &mut Streaming<proto::WatchHomeResponse>) -> (Change, Vec<u8>) {
    let change = async {
        loop {
            let message = stream.message().await.unwrap().unwrap();
            match message.change.unwrap() {
                Change::StillHere(_) => {}
                change => return (change, message.cursor.to_vec()),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), change).await.unwrap()
}

fn entry(change: &Change) -> u64 {
    match change {
        Change::Entry(entry) => entry.id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_watch_sees_posts_boosts_notifications_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), Double::default()).await;
    let (alice, bob, carol) = (world.account(), world.account(), world.account());
    world.follow(bob, alice).await;
    let mut stream = open(&world, bob, vec![]).await;
    assert!(matches!(stream.message().await.unwrap().unwrap().change, Some(Change::StillHere(_))));
    let far = world.post(carol, Like::default()).await;
    let one = world.post(alice, Like::default()).await;
    assert_eq!(entry(&next(&mut stream).await.0), one);
    let boost = world.boost(alice, far).await;
    let (change, _) = next(&mut stream).await;
    let Change::Entry(told) = change else { panic!("{change:?}") };
    assert_eq!((told.id, told.post_id, told.boost_id, told.booster_id), (boost, far, boost, alice));
    let mention = world.post(carol, Like { names: vec![bob], ..Like::default() }).await;
    let (change, _) = next(&mut stream).await;
    let Change::Notification(note) = change else { panic!("{change:?}") };
    assert_eq!((note.r#type(), note.post_id), (proto::NotificationType::Mention, mention));
    world.delete(one).await;
    let (change, _) = next(&mut stream).await;
    assert_eq!(change, Change::Gone(proto::EntryGone { post_id: one, boost_id: 0 }));
    world.block(alice, bob).await;
    world.post(alice, Like::default()).await;
    world.follow(bob, carol).await;
    let seen = world.post(carol, Like::default()).await;
    assert_eq!(entry(&next(&mut stream).await.0), seen, "what a block hid was not told");
    world.suspend(bob).await;
    let ended = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            if let Err(status) = stream.message().await {
                return status;
            }
        }
    });
    assert_eq!(ended.await.unwrap().code(), tonic::Code::Unauthenticated);
    world.platform.stop().await;
}

#[tokio::test]
async fn a_stream_goes_on_where_another_stopped_without_gap_or_double() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), Double::default()).await;
    let (alice, bob) = (world.account(), world.account());
    world.follow(bob, alice).await;
    let (mut made, mut seen, mut cursor) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..6 {
        let mut stream = open(&world, bob, cursor.clone()).await;
        for _ in 0..5 {
            made.push(world.post(alice, Like::default()).await);
        }
        // Three are read, the others come after the stream is opened again.
        for _ in 0..3 {
            let (change, at) = next(&mut stream).await;
            seen.push(entry(&change));
            cursor = at;
        }
        drop(stream);
        made.push(world.post(alice, Like::default()).await);
    }
    let mut stream = open(&world, bob, cursor).await;
    while seen.len() < made.len() {
        seen.push(entry(&next(&mut stream).await.0));
    }
    seen.sort_unstable();
    assert_eq!(seen, made);
    let bad = proto::WatchHomeRequest {
        options: world.options(bob),
        cursor: vec![0xff; 3].into(),
        ..Default::default()
    };
    let refused = world.timelines_client().watch_home(bad).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    world.platform.stop().await;
}

#[tokio::test]
async fn public_and_tag_timelines_are_watched() {
    use proto::watch_public_response::Change;
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), Double::default()).await;
    let (alice, far) = (world.account(), world.account_at(0));
    let open = |tag: &str| {
        let request = proto::WatchPublicRequest {
            options: world.options(0),
            local: true,
            tag: tag.to_owned(),
            ..Default::default()
        };
        let mut client = world.timelines_client();
        async move { client.watch_public(request).await.unwrap().into_inner() }
    };
    let (mut all, mut cats) = (open("").await, open("cats").await);
    for stream in [&mut all, &mut cats] {
        assert!(matches!(stream.message().await.unwrap().unwrap().change, Some(Change::StillHere(_))));
    }
    world.post(far, Like { home: Some(0), tags: vec!["cats"], ..Like::default() }).await;
    let plain = world.post(alice, Like::default()).await;
    let tagged = world.post(alice, Like { tags: vec!["cats"], ..Like::default() }).await;
    world.delete(plain).await;
    let next = async |stream: &mut Streaming<proto::WatchPublicResponse>| loop {
        match stream.message().await.unwrap().unwrap().change.unwrap() {
            Change::StillHere(_) => {}
            Change::Entry(entry) => break ("entry", entry.id),
            Change::DeletedPostId(id) => break ("deleted", id),
            Change::EditedPostId(id) => break ("edited", id),
        }
    };
    assert_eq!(next(&mut all).await, ("entry", plain));
    assert_eq!(next(&mut all).await, ("entry", tagged));
    assert_eq!(next(&mut all).await, ("deleted", plain));
    assert_eq!(next(&mut cats).await, ("entry", tagged));
    world.platform.stop().await;
}
