//! Accounts from elsewhere go through the same commands.

use crate::world::{World, by, config, reason, seen_by};
use p92_proto::identity::v1::*;

fn described(handle: &str) -> RegisterRemoteAccountRequest {
    let id = format!("https://far.example/users/{handle}");
    RegisterRemoteAccountRequest {
        activity_pub: Some(ActivityPubIds {
            inbox: format!("{id}/inbox"),
            shared_inbox: "https://far.example/inbox".to_owned(),
            key_id: format!("{id}#main-key"),
            id,
            ..Default::default()
        }),
        handle: handle.to_owned(),
        domain: "far.example".to_owned(),
        display_name: "From far".to_owned(),
        note: "<p>Hi</p>".to_owned(),
        discoverable: true,
        public_key_pem: "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----".to_owned(),
        ..Default::default()
    }
}

async fn register(world: &mut World, server: u64, request: RegisterRemoteAccountRequest) -> (Account, bool) {
    let request = RegisterRemoteAccountRequest { context: Some(by(server, 0)), ..request };
    let answer = world.accounts.register_remote_account(request).await.unwrap().into_inner();
    (answer.account.unwrap(), !answer.receipt.unwrap().positions.is_empty())
}

#[tokio::test]
async fn a_remote_account_is_known_once_and_kept_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let (account, new) = register(&mut world, server, described("zoe")).await;
    assert!(new);
    assert_eq!(
        (account.server_id, account.domain.as_str(), account.kind()),
        (0, "far.example", AccountKind::Unspecified)
    );
    assert_eq!(account.activity_pub, described("zoe").activity_pub);
    let (again, new) = register(&mut world, server, described("zoe")).await;
    assert_eq!((again.id, new), (account.id, false));
    let mut changed = described("zoe");
    changed.display_name = "Zoe".to_owned();
    changed.kind = AccountKind::Creator as i32;
    changed.locked = true;
    changed.activity_pub.as_mut().unwrap().inbox = "https://far.example/in/zoe".to_owned();
    let (later, new) = register(&mut world, server, changed).await;
    assert!(new && later.id == account.id && later.locked);
    assert_eq!((later.display_name.as_str(), later.kind()), ("Zoe", AccountKind::Creator));
    assert_eq!(later.activity_pub.unwrap().inbox, "https://far.example/in/zoe");
    assert_eq!(world.by_handle(server, "@ZOE@far.example").await.unwrap().id, account.id);
    let by_id = GetAccountRequest {
        options: Some(seen_by(server, 0)),
        account: Some(get_account_request::Account::ActivityPubId(
            "https://far.example/users/zoe".to_owned(),
        )),
    };
    assert_eq!(world.accounts.get_account(by_id).await.unwrap().into_inner().account.unwrap().id, account.id);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_fetch_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let fetched = (0..20).map(|_| {
        let mut accounts = world.accounts.clone();
        let request = RegisterRemoteAccountRequest { context: Some(by(server, 0)), ..described("zoe") };
        tokio::spawn(async move { accounts.register_remote_account(request).await.unwrap().into_inner() })
    });
    let fetched = futures::future::join_all(fetched).await;
    let ids: std::collections::BTreeSet<_> =
        fetched.into_iter().map(|answer| answer.unwrap().account.unwrap().id).collect();
    assert_eq!(ids.len(), 1);
    world.close().await;
}

#[tokio::test]
async fn follows_cross_the_border_by_the_same_commands() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let ann = world.member(server, "ann").await;
    let zoe = register(&mut world, server, described("zoe")).await.0.id;
    // A remote account follows a local one: at once, under the id that its host gave.
    let inbound = FollowRequest {
        context: Some(by(server, zoe)),
        account_id: ann,
        activity_id: "https://far.example/follows/1".to_owned(),
        ..Default::default()
    };
    let stands = world.relations.follow(inbound).await.unwrap().into_inner().relationship.unwrap();
    assert_eq!(stands.following(), FollowState::Following);
    // The other way round its host must say yes first, and may say no later.
    assert_eq!(world.follow(server, ann, zoe).await.following(), FollowState::Requested);
    let accept = AcceptFollowRequest { context: Some(by(server, zoe)), account_id: ann };
    world.relations.accept_follow(accept).await.unwrap();
    assert_eq!(world.relationship(server, ann, zoe).await.following(), FollowState::Following);
    let reject = RejectFollowRequest { context: Some(by(server, zoe)), account_id: ann };
    world.relations.reject_follow(reject).await.unwrap();
    assert_eq!(world.relationship(server, ann, zoe).await.following(), FollowState::None);
    assert_eq!(world.counts(ann).await, (1, 0, 0));
    world.close().await;
}

#[tokio::test]
async fn what_is_ours_or_no_address_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let ann = world.member(server, "ann").await;
    let with = |change: &dyn Fn(&mut RegisterRemoteAccountRequest)| {
        let mut request = described("zoe");
        request.context = Some(by(server, 0));
        change(&mut request);
        request
    };
    let ids = |request: &mut RegisterRemoteAccountRequest, change: &dyn Fn(&mut ActivityPubIds)| {
        change(request.activity_pub.as_mut().unwrap());
    };
    let local = format!("https://a.example/ap/users/{ann}");
    for (request, expected) in [
        (with(&|r| ids(r, &|i| i.id = local.clone())), "LOCAL_ADDRESS"),
        (with(&|r| ids(r, &|i| i.inbox = "https://a.example/inbox".to_owned())), "LOCAL_ADDRESS"),
        (with(&|r| r.domain = "a.example".to_owned()), "LOCAL_ADDRESS"),
        (with(&|r| ids(r, &|i| i.inbox = "https://A.Example:443/inbox".to_owned())), "LOCAL_ADDRESS"),
        (
            with(&|r| ids(r, &|i| i.inbox = "https://far.example@b.example/".to_owned())),
            "BAD_ACTIVITY_PUB_ID",
        ),
        (with(&|r| ids(r, &|i| i.inbox = "http://far.example/inbox".to_owned())), "BAD_ACTIVITY_PUB_ID"),
        (with(&|r| ids(r, &|i| i.inbox = "javascript:x".to_owned())), "BAD_ACTIVITY_PUB_ID"),
        (with(&|r| ids(r, &|i| i.outbox = "file:///etc/passwd".to_owned())), "BAD_ACTIVITY_PUB_ID"),
        (with(&|r| ids(r, &|i| i.id.clear())), "BAD_ACTIVITY_PUB_ID"),
        (
            with(&|r| ids(r, &|i| i.id = format!("https://far.example/{}", "x".repeat(2_000)))),
            "BAD_ACTIVITY_PUB_ID",
        ),
        (with(&|r| r.domain = "far.example/".to_owned()), "BAD_DOMAIN"),
        (with(&|r| r.handle = "a b".to_owned()), "HANDLE_CHARACTERS"),
        (with(&|r| r.note = "x".repeat(65 * 1024)), "BAD_PROFILE"),
        (with(&|r| r.public_key_pem = "x".to_owned()), "BAD_PROFILE"),
        (with(&|r| r.avatar_url = "data:x".to_owned()), "BAD_PROFILE"),
        (with(&|r| r.context = Some(by(server, ann))), "ROLE_NEEDED"),
    ] {
        assert_eq!(reason(world.accounts.register_remote_account(request).await), expected);
    }
    let list = ListAccountsRequest { options: Some(seen_by(server, 0)), remote: true, ..Default::default() };
    assert!(world.accounts.list_accounts(list).await.unwrap().into_inner().accounts.is_empty());
    world.close().await;
}
