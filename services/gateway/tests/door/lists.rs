//! Lists of the actor and of a status: who and what, with the links that lead on.

use super::client::{Client, client};
use super::world::OTHER;
use axum::body::Body;
use http::{Method, StatusCode};
use p92_proto::posting::v1::Visibility;
use p92_proto::timelines::v1::{Notification, NotificationType};
use serde_json::json;

#[tokio::test]
async fn marks_are_listed_by_their_own_ids() {
    let client = client();
    let (alice, own) = client.world.member("alice", "read write");
    let (bob, token) = client.world.member("bob", "read write");
    let id = client.world.state().post(alice, "x", Visibility::Public);
    let on = |what: &str| format!("/api/v1/statuses/{id}/{what}");
    client.post(&on("favourite"), &token, json!({})).await.ok();
    client.post(&on("bookmark"), &token, json!({})).await.ok();
    let boost = client.post(&on("reblog"), &token, json!({})).await.ok();
    let liked = client.get("/api/v1/favourites", &token).await;
    assert_eq!(liked.ok()[0]["id"], id.to_string());
    assert!(liked.header("link").contains(&format!("max_id={}>", id + 1)), "{}", liked.header("link"));
    for what in ["favourited_by", "reblogged_by"] {
        assert_eq!(client.get(&on(what), "").await.ok()[0]["id"], bob.to_string(), "{what}");
    }
    assert_eq!(client.get(&on("history"), "").await.ok()[0]["account"]["username"], "alice");
    client.post(&on("unfavourite"), &token, json!({})).await.ok();
    assert_eq!(client.get("/api/v1/favourites", &token).await.ok(), json!([]));
    let by_boost = format!("/api/v1/statuses/{}/unreblog", boost["id"].as_str().unwrap());
    let back = client.post(&by_boost, &token, json!({})).await.ok();
    assert_eq!(
        (back["id"].as_str(), back["reblogged"].as_bool()),
        (Some(id.to_string().as_str()), Some(false))
    );
    let hidden = client.world.state().post(alice, "x", Visibility::Direct);
    let of_hidden = client.get(&format!("/api/v1/statuses/{hidden}/favourited_by"), &token).await;
    assert_eq!(of_hidden.status, StatusCode::NOT_FOUND);
    assert_eq!(client.get(&format!("/api/v1/statuses/{hidden}/favourited_by"), &own).await.ok(), json!([]));
}

#[tokio::test]
async fn restrictions_and_requests_are_listed_to_their_owner() {
    let client = client();
    let (alice, token) = client.world.member("alice", "read write");
    let (bob, of_bob) = client.world.member("bob", "read write");
    let muted =
        client.form(&format!("/api/v1/accounts/{bob}/mute"), &token, "duration=60&notifications=false").await;
    assert_eq!(muted.ok()["muting"], true);
    let mutes = client.get("/api/v1/mutes", &token).await;
    assert_eq!(mutes.ok()[0]["mute_expires_at"], "2026-09-21T14:14:20.000Z");
    assert!(mutes.header("link").contains("rel=\"prev\""));
    client.post(&format!("/api/v1/accounts/{bob}/block"), &token, json!({})).await.ok();
    assert_eq!(client.get("/api/v1/blocks", &token).await.ok()[0]["id"], bob.to_string());
    assert_eq!(client.get("/api/v1/blocks", &of_bob).await.ok(), json!([]));
    client.world.state().requests.insert((bob, alice));
    assert_eq!(client.get("/api/v1/follow_requests", &token).await.ok()[0]["username"], "bob");
    let path = format!("/api/v1/follow_requests/{bob}/authorize");
    assert_eq!(client.post(&path, &token, json!({})).await.ok()["followed_by"], true);
    assert_eq!(client.post(&path, &token, json!({})).await.status, StatusCode::NOT_FOUND);
    let following = client.get(&format!("/api/v1/accounts/{bob}/following"), &token).await.ok();
    assert_eq!(following[0]["username"], "alice");
    assert_eq!(client.get("/api/v1/accounts/5/following", &token).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn notifications_are_set_aside() {
    let client = client();
    let (alice, token) = client.world.member("alice", "read write");
    let (bob, _) = client.world.member("bob", "read");
    let note = |id| Notification {
        id,
        r#type: NotificationType::Follow.into(),
        recipient_id: alice,
        account_id: bob,
        post_id: 0,
        created_ms: 1,
    };
    client.world.state().notes = vec![note(9), note(8), note(7)];
    assert_eq!(client.get("/api/v1/notifications/unread_count", &token).await.ok(), json!({ "count": 3 }));
    assert_eq!(client.get("/api/v1/notifications/8", &token).await.ok()["account"]["username"], "bob");
    client.post("/api/v1/notifications/8/dismiss", &token, json!({})).await.ok();
    assert_eq!(client.get("/api/v1/notifications/8", &token).await.status, StatusCode::NOT_FOUND);
    client.post("/api/v1/notifications/clear", &token, json!({})).await.ok();
    assert_eq!(client.get("/api/v1/notifications", &token).await.ok(), json!([]));
}

#[tokio::test]
async fn public_posts_by_anybody_for_anybody() {
    let client = client();
    let (alice, token) = client.world.member("alice", "read");
    {
        let mut state = client.world.state();
        let guest = state.account(2, "guest");
        state.post(guest, "from there", Visibility::Public);
        state.post(alice, "from here", Visibility::Public);
    }
    let all = client.get("/api/v1/timelines/public", "").await.ok();
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(all[1]["account"]["acct"], format!("guest@{OTHER}"));
    let local = client.get("/api/v1/timelines/public?local=true", &token).await.ok();
    assert_eq!(
        (local.as_array().unwrap().len(), local[0]["content"].as_str()),
        (1, Some("<p>from here</p>"))
    );
    let narrow = client.world.state().token(1, alice, "write");
    assert_eq!(client.get("/api/v1/timelines/public", &narrow).await.status, StatusCode::FORBIDDEN);
    let one = client.get(&format!("/api/v1/accounts/{alice}/statuses?limit=1"), "").await;
    assert_eq!(one.ok()[0]["content"], "<p>from here</p>");
    assert!(one.header("link").contains("?limit=1&max_id="));
    let request = Client::request(Method::HEAD, "/api/v1/timelines/public", "").body(Body::empty()).unwrap();
    assert_eq!(client.send(request).await.status, StatusCode::OK);
}
