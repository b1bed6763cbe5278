//! Where followers and known accounts are.

use crate::world::{HOME, World};
use p92_proto::identity::v1::{self as identity, FollowEnd};
use p92_proto::posting::v1::Visibility;

#[tokio::test]
async fn followers_are_counted_by_host_as_they_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path()).await;
    let ann = world.id();
    let (one, two) = (world.remote("a.example").await, world.remote("a.example").await);
    let (far, asks) = (world.remote("b.example").await, world.remote("b.example").await);
    for follower in [one, two, far] {
        world.follows(follower, ann).await;
    }
    let accepted = identity::FollowAccepted {
        follower_id: asks,
        followed_id: ann,
        followed_server_id: HOME,
        ..Default::default()
    };
    world.relation(asks, ann, &accepted).await;
    let counts = |a: u64, b: u64| {
        let both = [("a.example".to_owned(), a), ("b.example".to_owned(), b)];
        both.into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>()
    };
    assert_eq!(world.follower_hosts(ann).await, counts(2, 2));
    world.ends(one, ann, FollowEnd::Unfollowed).await;
    assert_eq!(world.follower_hosts(ann).await, counts(1, 2));
    world.follows(one, ann).await;
    world.ends(two, ann, FollowEnd::Blocked).await;
    assert_eq!(world.follower_hosts(ann).await, counts(1, 2));
    let suspended =
        identity::AccountSuspended { account_id: far, scope_server_id: HOME, ..Default::default() };
    world.of_account(far, &suspended).await;
    assert_eq!(world.follower_hosts(ann).await, counts(1, 1));
    let elsewhere =
        identity::AccountSuspended { account_id: one, scope_server_id: HOME + 1, ..Default::default() };
    world.of_account(one, &elsewhere).await;
    assert_eq!(world.follower_hosts(ann).await, counts(1, 1), "another server's word is its own");
    let restored = identity::AccountRestored { account_id: far, scope_server_id: HOME, ..Default::default() };
    world.of_account(far, &restored).await;
    assert_eq!(world.follower_hosts(ann).await, counts(1, 2));
    let erased = identity::AccountErased { account_id: asks, ..Default::default() };
    world.of_account(asks, &erased).await;
    world.ends(asks, ann, FollowEnd::Erased).await;
    assert_eq!(world.follower_hosts(ann).await, counts(1, 1));
    world.close().await;
}

#[tokio::test]
async fn peers_are_listed_by_name_with_their_accounts() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path()).await;
    let local = identity::AccountCreated { account_id: world.id(), server_id: HOME, ..Default::default() };
    world.of_account(local.account_id, &local).await;
    assert!(world.peers(0, "").await.unwrap().peers.is_empty());
    let mut last = 0;
    for host in ["c.example", "a.example", "b.example", "a.example", "a.example", "c.example"] {
        last = world.remote(host).await;
    }
    let mut pages = Vec::new();
    let mut token = String::new();
    loop {
        let page = world.peers(2, &token).await.unwrap();
        pages.push(page.peers.iter().map(|peer| (peer.host.clone(), peer.accounts)).collect::<Vec<_>>());
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let of = |host: &str, accounts: u64| (format!("{host}.example"), accounts);
    assert_eq!(pages, [vec![of("a", 3), of("b", 1)], vec![of("c", 2)]]);
    let erased = identity::AccountErased { account_id: last, ..Default::default() };
    world.of_account(last, &erased).await;
    let page = world.peers(1, "b.example").await.unwrap();
    assert_eq!((page.peers[0].accounts, page.next_page_token.as_str()), (1, ""));
    world.close().await;
}

#[tokio::test]
async fn the_host_is_the_one_that_takes_activities() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path()).await;
    let ann = world.id();
    for (inbox, shared, host, called) in [
        ("https://ap.a.example/in", "", "ap.a.example", Some("https://ap.a.example/in")),
        (
            "https://ap.a.example/in",
            "https://AP.a.example:443/all",
            "ap.a.example",
            Some("https://AP.a.example:443/all"),
        ),
        // What may not be called is no address; the handle's domain still says who it is.
        ("http://ap.a.example/in", "", "a.example", None),
        ("https://a.example@evil.example/in", "", "a.example", None),
        ("https://127.0.0.1/in", "", "a.example", None),
    ] {
        let ids = identity::ActivityPubIds {
            inbox: inbox.to_owned(),
            shared_inbox: shared.to_owned(),
            ..Default::default()
        };
        let named = world.remote_at("a.example", ids).await;
        let post = world.publish(ann, Visibility::Direct, &[named]).await;
        let plans = world.plans(post).await;
        let destination = &plans[0].destinations[0];
        assert_eq!(destination.host, host, "{inbox} {shared}");
        assert_eq!(destination.inboxes.first().map(String::as_str), called, "{inbox} {shared}");
    }
    world.close().await;
}
