//! A timeline watched over the public API.

use super::live::{entry, gone, watched};
use super::public_grpc::{call, door};
use super::world::World;
use api::timeline_service_client::TimelineServiceClient;
use api::watch_timeline_request::Timeline;
use api::watch_timeline_response::Change;
use p92_proto::api::v1 as api;
use p92_proto::posting::v1::Visibility;
use std::time::Duration;
use tonic::Code;

fn home(cursor: &[u8]) -> api::WatchTimelineRequest {
    let timeline = Some(Timeline::Home(api::HomeTimeline {}));
    api::WatchTimelineRequest { timeline, cursor: cursor.to_vec().into() }
}

#[tokio::test]
async fn it_shows_what_may_be_seen_resumes_and_ends_with_the_token() {
    let world = World::new();
    let (alice, token) = world.member("alice", "read");
    let (bob, _) = world.member("bob", "read");
    let secret = world.state().post(bob, "not for alice", Visibility::Direct);
    let id = world.state().post(alice, "live", Visibility::Public);
    let mut timelines = TimelineServiceClient::new(door(&world).await);
    let mut watch = timelines.watch_timeline(call(home(b"old"), &token)).await.unwrap().into_inner();
    watched(&world).await;
    for told in [entry(secret), entry(id), gone(7)] {
        world.live.send(Some(told)).unwrap();
    }
    let mut changes = Vec::new();
    for _ in 0..3 {
        changes.push(watch.message().await.unwrap().unwrap());
    }
    assert!(matches!(changes[0].change, Some(Change::StillHere(_))), "{:?}", changes[0]);
    assert_eq!(changes[0].cursor, secret.to_be_bytes().to_vec(), "what may not be seen moves the cursor");
    assert!(matches!(&changes[1].change, Some(Change::Post(post)) if post.html == "<p>live</p>"));
    assert!(matches!(&changes[2].change, Some(Change::GonePostId(id)) if id == "7"));
    assert_eq!(world.state().cursors, [b"old".to_vec()]);
    world.state().tokens.clear();
    let end = tokio::time::timeout(Duration::from_secs(5), watch.message()).await.unwrap().unwrap_err();
    assert_eq!(end.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn who_may_not_watch_opens_nothing() {
    let world = World::new();
    let (alice, token) = world.member("alice", "read");
    let narrow = world.state().token(1, alice, "read:accounts");
    let mut timelines = TimelineServiceClient::new(door(&world).await);
    let nothing = api::WatchTimelineRequest::default();
    let tag = Some(Timeline::Tag(api::TagTimeline { tag: "x".to_owned(), local: false }));
    let resumed = api::WatchTimelineRequest { timeline: tag, cursor: vec![1].into() };
    for (request, token, code) in [
        (home(b""), "", Code::Unauthenticated),
        (home(b""), "wrong", Code::Unauthenticated),
        (home(b""), narrow.as_str(), Code::PermissionDenied),
        (nothing, token.as_str(), Code::InvalidArgument),
        (resumed, token.as_str(), Code::InvalidArgument),
    ] {
        assert_eq!(timelines.watch_timeline(call(request, token)).await.unwrap_err().code(), code);
    }
    assert_eq!((world.live.receiver_count(), world.state().cursors.len()), (0, 0));
    let _watch = timelines.watch_timeline(call(home(b""), &token)).await.unwrap();
    watched(&world).await;
}
