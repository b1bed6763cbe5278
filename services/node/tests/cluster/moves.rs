//! Slots that move while they are used: nobody hears of it but by waiting.

use crate::world::{Installation, Replica, shard_of, spread, within};
use p92_node::role::Role;
use p92_proto::event::v1::CommandContext;
use p92_proto::identity::v1::account_service_client::AccountServiceClient;
use p92_proto::identity::v1::{AccountState, CreateAccountRequest, EraseAccountRequest};
use p92_proto::posting::v1 as posting;
use p92_proto::posting::v1::post_service_client::PostServiceClient;
use p92_proto::posting::v1::reaction_service_client::ReactionServiceClient;
use p92_proto::timelines::v1 as timelines;
use p92_proto::timelines::v1::timeline_service_client::TimelineServiceClient;
use p92_proto::timelines::v1::watch_home_response::Change;
use p92_proto::timelines::v1::watch_public_response::Change as Public;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

/// Two replicas of posting, and accounts that both of them hold some of.
pub async fn two_of_posting(all: &mut Installation) -> ([Replica; 2], Replica, Vec<u64>) {
    let identity = all.start(Role::Identity).await;
    all.found_at(&[&identity]);
    within(identity.runtime.ready()).await;
    all.make_server(&identity).await;
    let posting = [all.start(Role::Posting).await, all.start(Role::Posting).await];
    spread(&posting.each_ref()).await;
    let mut authors = Vec::new();
    for replica in &posting {
        // Names are tried until one falls into a slot of this replica.
        let author = loop {
            let author = all.account(&identity, &format!("a{}", rand_name())).await;
            if replica.holds().contains(&shard_of(author)) {
                break author;
            }
        };
        authors.push(author);
    }
    (posting, identity, authors)
}

fn rand_name() -> String {
    use p92_kernel::Random as _;
    let mut bytes = [0; 8];
    p92_chassis::SystemRandom.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stops_costs_no_command() {
    let mut all = Installation::new().await;
    let ([one, other], _identity, authors) = two_of_posting(&mut all).await;
    let all = Arc::new(all);
    let (stopped, way) = (Arc::new(AtomicBool::new(false)), other.transport());
    let (written, mut count) = mpsc::unbounded_channel();
    let writer = tokio::spawn({
        let (all, stopped) = (Arc::clone(&all), Arc::clone(&stopped));
        async move {
            let mut posts = Vec::new();
            let mut after = 0;
            while after < 5 {
                after += u32::from(stopped.load(Ordering::Acquire));
                for author in &authors {
                    let text = format!("post {}", posts.len());
                    // A failure here is what the test is about.
                    posts.push(all.publish(way.clone(), *author, &text).await.unwrap().0);
                    let _ = written.send(());
                }
            }
            posts
        }
    });
    for _ in 0..20 {
        within(count.recv()).await.unwrap();
    }
    one.stop().await;
    stopped.store(true, Ordering::Release);
    let posts = within(writer).await.unwrap();
    assert_eq!(posts.iter().collect::<BTreeSet<_>>().len(), posts.len());
    spread(&[&other]).await;
}

/// A sign-up takes two steps. If the slot moves between them, the whole is not begun again where the slot is now: it would
/// find its own handle taken. There are no keys here, by which that would not be noticed.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stops_costs_no_sign_up() {
    let mut all = Installation::new().await;
    let one = all.start(Role::Identity).await;
    all.found_at(&[&one]);
    within(one.runtime.ready()).await;
    all.make_server(&one).await;
    let other = all.start(Role::Identity).await;
    spread(&[&one, &other]).await;
    let stopped = Arc::new(AtomicBool::new(false));
    let (made, mut count) = mpsc::unbounded_channel();
    let mut hands = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (server_id, stopped, made) = (all.server, Arc::clone(&stopped), made.clone());
        let mut accounts = AccountServiceClient::new(other.transport());
        hands.spawn(async move {
            let mut after = 0;
            while after < 3 {
                after += u32::from(stopped.load(Ordering::Acquire));
                let handle = format!("b{}", rand_name());
                let request = CreateAccountRequest {
                    context: Some(CommandContext { server_id, ..CommandContext::default() }),
                    email: format!("{handle}@one.example"),
                    handle: handle.clone(),
                    password: "a long password".to_owned(),
                    ..CreateAccountRequest::default()
                };
                // A failure here is what the test is about.
                let account = accounts.create_account(request).await.unwrap().into_inner().account.unwrap();
                assert_eq!((account.handle, account.state), (handle, AccountState::Active.into()));
                let _ = made.send(());
            }
        });
    }
    for _ in 0..40 {
        within(count.recv()).await.unwrap();
    }
    one.stop().await;
    stopped.store(true, Ordering::Release);
    while let Some(hand) = within(hands.join_next()).await {
        hand.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_vanishes_is_waited_for_and_then_replaced() {
    let mut all = Installation::new().await;
    let ([one, other], _identity, authors) = two_of_posting(&mut all).await;
    let before = all.publish(other.transport(), authors[0], "before").await.unwrap().0;
    one.kill();
    // Its shard has no owner for six seconds and more; the command waits for the next one, or is told to come again.
    let after = within(all.publish_at_last(&other, authors[0], "after")).await;
    assert!(after > before);
    spread(&[&other]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_with_an_account_ends_in_shards_of_every_replica() {
    let mut all = Installation::new().await;
    let ([one, other], identity, authors) = two_of_posting(&mut all).await;
    // Each replica holds a post that the other's author likes.
    let mut posts = Vec::new();
    for author in &authors {
        posts.push(all.publish(one.transport(), *author, "to be liked").await.unwrap().0);
    }
    let (gone, stays) = (authors[0], authors[1]);
    let like = posting::LikeRequest { context: all.context(gone), post_id: posts[1], ..Default::default() };
    ReactionServiceClient::new(other.transport()).like(like).await.unwrap();
    let mut reader = PostServiceClient::new(one.transport());
    let mut read = async |post| {
        let request = posting::GetPostRequest { options: all.options(stays), post_id: post };
        reader.get_post(request).await.map(|answer| answer.into_inner().post.unwrap())
    };
    assert_eq!(read(posts[1]).await.unwrap().counts.unwrap().likes, 1);
    let erase =
        EraseAccountRequest { context: all.context(0), account_id: gone, ..EraseAccountRequest::default() };
    AccountServiceClient::new(identity.transport()).erase_account(erase).await.unwrap();
    let ended = async {
        // His post is no longer shown, and his like in the other replica's shard has ended.
        while read(posts[0]).await.is_ok() || read(posts[1]).await.unwrap().counts.unwrap().likes != 0 {
            tokio::task::yield_now().await;
        }
    };
    within(ended).await;
}

/// What a watch on a home tells: ids of posts, and the cursor behind each.
async fn watch(
    all: &Installation,
    at: &Replica,
    viewer: u64,
    cursor: &prost::bytes::Bytes,
) -> Result<tonic::Streaming<timelines::WatchHomeResponse>, tonic::Status> {
    let request = timelines::WatchHomeRequest {
        options: all.options(viewer),
        cursor: cursor.clone(),
        ..Default::default()
    };
    Ok(TimelineServiceClient::new(at.transport()).watch_home(request).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_through_a_move_without_gap_or_double() {
    let (all, identity, posting) = Installation::with_posts().await;
    let one = all.start(Role::Timelines).await;
    let other = all.start(Role::Timelines).await;
    spread(&[&one, &other]).await;
    let alice = all.account(&identity, "alice").await;
    // Whoever watches is held by the replica that will stop, and asks the other one.
    let viewer = loop {
        let viewer = all.account(&identity, &format!("v{}", rand_name())).await;
        if one.holds().contains(&shard_of(viewer)) {
            break viewer;
        }
    };
    let followed = all.follow(&identity, viewer, alice).await;
    all.note(other.transport(), viewer, &followed).await;

    let all = Arc::new(all);
    let (told, mut tells) = mpsc::unbounded_channel();
    let other = Arc::new(other);
    let watching = tokio::spawn({
        let (all, other) = (Arc::clone(&all), Arc::clone(&other));
        async move {
            let mut cursor = prost::bytes::Bytes::new();
            let mut opened = 0;
            loop {
                let Ok(mut stream) = watch(&all, &other, viewer, &cursor).await else { continue };
                opened += 1;
                while let Ok(Some(message)) = stream.message().await {
                    if !message.cursor.is_empty() {
                        cursor = message.cursor;
                    }
                    let post = match message.change {
                        Some(Change::Entry(entry)) => Some(entry.post_id),
                        _ => None,
                    };
                    let _ = told.send((opened, post));
                }
            }
        }
    });
    // The first word says that everything from now on will come.
    assert_eq!(within(tells.recv()).await.unwrap(), (1, None));
    let mut expected = Vec::new();
    for n in 0..5 {
        expected.push(all.publish(posting.transport(), alice, &format!("before {n}")).await.unwrap().0);
    }
    let mut seen = Vec::new();
    while seen.len() < 5 {
        seen.extend(within(tells.recv()).await.unwrap().1);
    }
    let moving = tokio::spawn(one.stop());
    for n in 0..20 {
        expected.push(all.publish(posting.transport(), alice, &format!("during {n}")).await.unwrap().0);
    }
    within(moving).await.unwrap();
    for n in 0..5 {
        expected.push(all.publish(posting.transport(), alice, &format!("after {n}")).await.unwrap().0);
    }
    let mut opened = 1;
    while seen.len() < expected.len() {
        let (times, post) = within(tells.recv()).await.unwrap();
        opened = times;
        seen.extend(post);
    }
    watching.abort();
    assert!(opened > 1, "the watch was opened again where the slot went");
    let different: BTreeSet<u64> = seen.iter().copied().collect();
    assert_eq!(
        (different.len(), different),
        (seen.len(), expected.into_iter().collect()),
        "no gap, no double"
    );
}

/// The next posts of a watch, so many, and the cursor behind the last.
async fn next_posts(
    stream: &mut tonic::Streaming<timelines::WatchHomeResponse>,
    count: usize,
) -> (Vec<u64>, prost::bytes::Bytes) {
    let (mut posts, mut cursor) = (Vec::new(), prost::bytes::Bytes::new());
    // Signs of life come for ever, so all of it has its time.
    within(async {
        while posts.len() < count {
            let message = stream.message().await.unwrap().unwrap();
            cursor = message.cursor;
            if let Some(Change::Entry(entry)) = message.change {
                posts.push(entry.post_id);
            }
        }
    })
    .await;
    (posts, cursor)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_misses_nothing_of_a_time_in_which_nobody_held_its_home() {
    let (all, identity, posting) = Installation::with_posts().await;
    let one = all.start(Role::Timelines).await;
    within(one.runtime.ready()).await;
    let alice = all.account(&identity, "alice").await;
    let stranger = all.account(&identity, "stranger").await;
    let viewer = all.account(&identity, "viewer").await;
    let followed = all.follow(&identity, viewer, alice).await;
    all.note(one.transport(), viewer, &followed).await;
    let opened = async |at: &Replica, cursor: &prost::bytes::Bytes| loop {
        if let Ok(stream) = watch(&all, at, viewer, cursor).await {
            return stream;
        }
    };
    let mut stream = within(opened(&one, &prost::bytes::Bytes::new())).await;
    // The first word says that everything from now on will come.
    within(stream.message()).await.unwrap().unwrap();
    let before = all.publish(posting.transport(), alice, "before").await.unwrap().0;
    let (seen, cursor) = next_posts(&mut stream, 1).await;
    assert_eq!(seen, [before]);
    one.kill();
    let mut meanwhile = Vec::new();
    for n in 0..5 {
        all.publish(posting.transport(), stranger, "of no matter").await.unwrap();
        meanwhile.push(all.publish(posting.transport(), alice, &format!("meanwhile {n}")).await.unwrap().0);
    }
    let other = all.start(Role::Timelines).await;
    let mut stream = within(opened(&other, &cursor)).await;
    // Each message says how far everything was sent: whoever breaks off here goes on behind it.
    let (seen, cursor) = next_posts(&mut stream, 2).await;
    assert_eq!(seen, meanwhile[..2]);
    drop(stream);
    let mut stream = within(opened(&other, &cursor)).await;
    let (seen, _) = next_posts(&mut stream, 3).await;
    assert_eq!(seen, meanwhile[2..]);
    let after = all.publish(posting.transport(), alice, "after").await.unwrap().0;
    assert_eq!(next_posts(&mut stream, 1).await.0, [after]);
}

/// What a watch on the public timeline told, and the cursor behind the last of it.
async fn next_public(
    stream: &mut tonic::Streaming<timelines::WatchPublicResponse>,
    count: usize,
) -> (Vec<Public>, prost::bytes::Bytes) {
    let (mut told, mut cursor) = (Vec::new(), prost::bytes::Bytes::new());
    within(async {
        while told.len() < count {
            let message = stream.message().await.unwrap().unwrap();
            cursor = message.cursor;
            told.extend(message.change.filter(|change| !matches!(change, Public::StillHere(_))));
        }
    })
    .await;
    (told, cursor)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_watch_goes_on_at_another_replica_without_gap_or_double() {
    let (all, identity, posting) = Installation::with_posts().await;
    let one = all.start(Role::Timelines).await;
    let other = all.start(Role::Timelines).await;
    spread(&[&one, &other]).await;
    let alice = all.account(&identity, "alice").await;
    let opened = async |at: &Replica, cursor: &prost::bytes::Bytes| {
        let request = timelines::WatchPublicRequest {
            options: all.options(0),
            cursor: cursor.clone(),
            ..Default::default()
        };
        TimelineServiceClient::new(at.transport()).watch_public(request).await.unwrap().into_inner()
    };
    let publish = async |text: &str| all.publish(posting.transport(), alice, text).await.unwrap().0;
    let shown = |told: &[Public]| -> Vec<u64> {
        let post = |change: &Public| match change {
            Public::Entry(entry) => entry.post_id,
            other => panic!("{other:?}"),
        };
        told.iter().map(post).collect()
    };
    let mut stream = opened(&one, &prost::bytes::Bytes::new()).await;
    // The first word says that everything from now on will come.
    within(stream.message()).await.unwrap().unwrap();
    let (first, second) = (publish("before").await, publish("before, and last to be seen there").await);
    let (told, cursor) = next_public(&mut stream, 2).await;
    assert_eq!(shown(&told), [first, second]);
    let moving = tokio::spawn(one.stop());
    let mut meanwhile = Vec::new();
    for n in 0..5 {
        meanwhile.push(publish(&format!("meanwhile {n}")).await);
    }
    let delete = posting::DeletePostRequest { context: all.context(alice), post_id: first };
    PostServiceClient::new(posting.transport()).delete_post(delete).await.unwrap();
    drop(stream);
    within(moving).await.unwrap();

    let mut stream = opened(&other, &cursor).await;
    let (told, cursor) = next_public(&mut stream, 2).await;
    assert_eq!(shown(&told), meanwhile[..2]);
    // Broken off within what was missed, it goes on there; and of what it showed before it still tells.
    drop(stream);
    let mut stream = opened(&other, &cursor).await;
    let (told, _) = next_public(&mut stream, 4).await;
    assert_eq!(shown(&told[..3]), meanwhile[2..]);
    assert_eq!(told[3], Public::DeletedPostId(first));
    let after = publish("after").await;
    assert_eq!(shown(&next_public(&mut stream, 1).await.0), [after]);
}
