//! A restart keeps everything, what was begun is finished, and every view is what its log says.

use crate::world::{World, by, config, keyed, reason};
use p92_identity::app::App;
use p92_kernel::ErrorCode;
use p92_proto::identity::v1::*;
use std::sync::Arc;

#[tokio::test]
async fn a_restart_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let (app, secret) = world.app(server).await;
    let mut request = world.sign_up_request(server, "ann");
    request.context = Some(keyed(server, 0, "k"));
    request.context.as_mut().unwrap().app_id = app.id;
    request.scopes = vec!["read".to_owned()];
    let signed_up = world.accounts.sign_up(request.clone()).await.unwrap().into_inner();
    let ann = signed_up.account.clone().unwrap().id;
    let ben = world.member(server, "ben").await;
    world.follow(server, ann, ben).await;
    let token = signed_up.token.unwrap().secret;
    world.close().await;

    let mut world = World::open(dir.path(), config()).await;
    let found = world.by_handle(server, "ann").await.unwrap();
    assert_eq!((found.id, found.following_count), (ann, 1));
    assert_eq!(world.relationship(server, ann, ben).await.following(), FollowState::Following);
    let verify = VerifyTokenRequest { server_id: server, secret: token, ..Default::default() };
    assert_eq!(world.tokens.verify_token(verify).await.unwrap().into_inner().account.unwrap().id, ann);
    let login = CheckPasswordRequest {
        server_id: server,
        login: "ann@mail.example".to_owned(),
        password: "correct horse".to_owned(),
    };
    assert_eq!(world.credentials.check_password(login).await.unwrap().into_inner().account_id, ann);
    let grant = GrantClientCredentialsRequest {
        server_id: server,
        client_id: app.client_id,
        client_secret: secret,
        scopes: Vec::new(),
    };
    world.tokens.grant_client_credentials(grant).await.unwrap();
    let repeated = world.accounts.sign_up(request).await.unwrap().into_inner();
    assert_eq!((repeated.account.unwrap().id, repeated.receipt.unwrap().repeated), (ann, true));
    let again = world.sign_up_request(server, "Ann");
    assert_eq!(reason(world.accounts.sign_up(again).await), "HANDLE_TAKEN");
    world.close().await;
}

#[tokio::test]
async fn a_claim_that_was_begun_is_finished_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let taken = world.member(server, "ben").await;
    // Two sign-ups stop between their first step and their claims.
    let app: &Arc<App> = world.identity.app();
    let ann = app.begin_sign_up(world.sign_up_request(server, "ann")).await.unwrap().id;
    let mut second = world.sign_up_request(server, "BEN");
    second.email = "free@mail.example".to_owned();
    // With a key nobody is turned away early: the claim decides.
    second.context = Some(keyed(server, 0, "k"));
    let lost = app.begin_sign_up(second).await.unwrap().id;
    assert_eq!(world.get(server, ann, ann).await.unwrap_err().code, ErrorCode::NotFound);
    world.close().await;

    let mut world = World::open(dir.path(), config()).await;
    for shard in world.platform.shards.all() {
        world.identity.recover(shard).await.unwrap();
    }
    assert_eq!(world.by_handle(server, "ann").await.unwrap().id, ann);
    let login = CheckPasswordRequest {
        server_id: server,
        login: "ann@mail.example".to_owned(),
        password: "correct horse".to_owned(),
    };
    assert_eq!(world.credentials.check_password(login).await.unwrap().into_inner().account_id, ann);
    assert_eq!(world.by_handle(server, "ben").await.unwrap().id, taken);
    assert_eq!(world.get(server, lost, lost).await.unwrap_err().code, ErrorCode::NotFound);
    let mut free = world.sign_up_request(server, "carl");
    free.email = "free@mail.example".to_owned();
    world.accounts.sign_up(free).await.unwrap();
    world.close().await;
}

#[tokio::test]
async fn every_view_is_what_the_log_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let mut members = Vec::new();
    for n in 0..8 {
        let locked = n % 3 == 0;
        members.push(world.member_with(server, &format!("m{n}"), |request| request.locked = locked).await);
    }
    for (n, from) in members.iter().enumerate() {
        for to in &members[n + 1..] {
            world.follow(server, *from, *to).await;
            if (from + to) % 3 == 0 {
                world.follow(server, *to, *from).await;
            }
        }
    }
    let block =
        BlockRequest { context: Some(by(server, members[1])), account_id: members[2], ..Default::default() };
    world.relations.block(block).await.unwrap();
    let accept = AcceptFollowRequest { context: Some(by(server, members[3])), account_id: members[1] };
    world.relations.accept_follow(accept).await.unwrap();
    let mute =
        MuteRequest { context: Some(by(server, members[4])), account_id: members[5], ..Default::default() };
    world.relations.mute(mute).await.unwrap();
    let erase = EraseAccountRequest { context: Some(by(0, 0)), account_id: members[7], ..Default::default() };
    world.accounts.erase_account(erase).await.unwrap();
    // The reader of the erasure ends follows; then all counts are what a recount of the edges gives.
    while world.counts(members[7]).await != (0, 0, 0) {
        tokio::task::yield_now().await;
    }
    for member in &members {
        let mut recount = Vec::new();
        for direction in [FollowDirection::Followers, FollowDirection::Following] {
            let edges = ListFollowEdgesRequest {
                account_id: *member,
                direction: direction as i32,
                ..Default::default()
            };
            let edges = world.relations.list_follow_edges(edges).await.unwrap().into_inner().edges;
            recount.push(edges.len() as u64);
        }
        let (followers, following, _) = world.counts(*member).await;
        assert_eq!(vec![followers, following], recount);
    }
    for view in p92_identity::view::all() {
        let name = view.table().name;
        let report = world.identity.runtime().rebuild(name, true, Arc::new(|_, _| {})).await.unwrap();
        assert_eq!(report.difference, None, "{name}");
        assert!(report.compared > 0 || name == "identity_unfinished_claims", "{name}");
    }
    assert_eq!(world.by_handle(server, "m1").await.unwrap().id, members[1], "the rebuilt views answer");
    world.close().await;
}
