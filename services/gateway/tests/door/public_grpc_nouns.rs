//! Accounts, relationships, marks, notifications and the server over the public API.

use super::public_grpc::{call, door};
use super::world::{HOST, World};
use api::account_service_client::AccountServiceClient;
use api::get_account_request::Account as Which;
use api::notification_service_client::NotificationServiceClient;
use api::post_service_client::PostServiceClient;
use api::relationship_service_client::RelationshipServiceClient;
use api::server_service_client::ServerServiceClient;
use p92_proto::api::v1 as api;
use p92_proto::posting::v1::Visibility;
use prost_types::FieldMask;
use tonic::Code;
use tonic_types::StatusExt as _;

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
}

#[tokio::test]
async fn accounts_are_found_and_changed_by_their_owner_alone() {
    let world = World::new();
    let (alice, token) = world.member("alice", "read write");
    let mut accounts = AccountServiceClient::new(door(&world).await);
    let by = |which| api::GetAccountRequest { account: Some(which) };
    for which in [Which::Id(alice.to_string()), Which::Handle("alice".to_owned())] {
        let found = accounts.get_account(call(by(which), "")).await.unwrap().into_inner().account.unwrap();
        assert_eq!((found.id, found.domain.as_str()), (alice.to_string(), HOST));
    }
    for which in [Which::Id("no id".to_owned()), Which::Handle("nobody".to_owned())] {
        assert_eq!(accounts.get_account(call(by(which), "")).await.unwrap_err().code(), Code::NotFound);
    }
    let new = api::Account { display_name: "Alice".to_owned(), locked: true, ..Default::default() };
    let update = |paths: &[&str]| api::UpdateOwnAccountRequest {
        request_id: String::new(),
        account: Some(new.clone()),
        update_mask: mask(paths),
    };
    let refused = [(update(&[]), &token, "MASK_NEEDED"), (update(&["kind"]), &token, "UNKNOWN_PATH")];
    for (request, token, reason) in refused {
        let status = accounts.update_own_account(call(request, token)).await.unwrap_err();
        assert_eq!(status.get_error_details().error_info().unwrap().reason, reason);
    }
    assert!(accounts.update_own_account(call(update(&["display_name"]), "")).await.is_err());
    assert_eq!(world.state().accounts[&alice].display_name, "");
    let changed = accounts.update_own_account(call(update(&["display_name"]), &token)).await.unwrap();
    let changed = changed.into_inner().account.unwrap();
    assert_eq!((changed.display_name.as_str(), changed.locked), ("Alice", false), "only what the mask names");
}

#[tokio::test]
async fn follows_blocks_and_lists() {
    let world = World::new();
    let (alice, token) = world.member("alice", "read write");
    let (bob, _) = world.member("bob", "read");
    let reader = world.state().token(1, alice, "read");
    let mut relationships = RelationshipServiceClient::new(door(&world).await);
    let follow = || api::FollowAccountRequest { account_id: bob.to_string(), ..Default::default() };
    let refused = relationships.follow_account(call(follow(), &reader)).await.unwrap_err();
    assert_eq!((refused.code(), world.state().follows.len()), (Code::PermissionDenied, 0));
    let stands = relationships.follow_account(call(follow(), &token)).await.unwrap().into_inner();
    assert_eq!(stands.relationship.unwrap().following(), api::FollowState::Following);
    assert!(world.state().follows.contains(&(alice, bob)));
    assert!(!world.state().told.is_empty(), "the holder of the home knows before the answer");
    let list = api::ListFollowersRequest { account_id: bob.to_string(), ..Default::default() };
    let followers = relationships.list_followers(call(list, "")).await.unwrap().into_inner();
    assert_eq!(followers.accounts[0].id, alice.to_string());
    let block = api::BlockAccountRequest { account_id: bob.to_string(), ..Default::default() };
    let stands = relationships.block_account(call(block, &token)).await.unwrap().into_inner();
    assert!(stands.relationship.unwrap().blocking && world.state().blocks.contains(&(alice, bob)));
    let mute = api::MuteAccountRequest {
        account_id: bob.to_string(),
        duration: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
        ..Default::default()
    };
    let refused = relationships.mute_account(call(mute, &token)).await.unwrap_err();
    assert_eq!((refused.code(), world.state().mutes.len()), (Code::InvalidArgument, 0));
}

#[tokio::test]
async fn posts_are_changed_by_mask_and_marked() {
    let world = World::new();
    let (alice, token) = world.member("alice", "read write");
    let (_, other) = world.member("bob", "read write");
    let id = world.state().post(alice, "first", Visibility::Public);
    let mut posts = PostServiceClient::new(door(&world).await);
    let update = |paths: &[&str]| api::UpdatePostRequest {
        post_id: id.to_string(),
        text: "second".to_owned(),
        content_warning: "dropped".to_owned(),
        update_mask: mask(paths),
        ..Default::default()
    };
    assert_eq!(posts.update_post(call(update(&["text"]), &other)).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(world.state().posts[&id].text, "first");
    let now = posts.update_post(call(update(&["text"]), &token)).await.unwrap().into_inner().post.unwrap();
    assert!(now.html.contains("second") && now.content_warning.is_empty(), "{now:?}");
    let like = api::LikePostRequest { request_id: String::new(), post_id: id.to_string() };
    posts.like_post(call(like, &other)).await.unwrap();
    assert_eq!(world.state().likes.len(), 1);
    let many = vec![id.to_string(); 41];
    let refused = posts.batch_get_posts(call(api::BatchGetPostsRequest { post_ids: many }, "")).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn notifications_and_the_server() {
    let world = World::new();
    let (_, token) = world.member("alice", "read");
    let mut notifications = NotificationServiceClient::new(door(&world).await);
    let list = api::ListNotificationsRequest::default();
    assert!(notifications.list_notifications(call(list.clone(), "")).await.is_err());
    let page = notifications.list_notifications(call(list, &token)).await.unwrap().into_inner();
    assert!(page.notifications.is_empty() && page.next_page_token.is_empty());
    let mut servers = ServerServiceClient::new(door(&world).await);
    let server = servers.get_server(call(api::GetServerRequest {}, "")).await.unwrap().into_inner();
    let server = server.server.unwrap();
    assert_eq!((server.domain.as_str(), server.rules), (HOST, vec!["Be kind.".to_owned()]));
}
