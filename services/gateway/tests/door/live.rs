//! Streaming: events reach those who may see them, by both transports, until their token ends.

use super::client::{Client, client};
use super::world::World;
use axum::body::Body;
use futures::{SinkExt as _, StreamExt as _};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use p92_proto::posting::v1::Visibility;
use p92_proto::timelines::v1::watch_home_response::Change;
use p92_proto::timelines::v1::{EntryGone, TimelineEntry, WatchHomeResponse};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;
use tower::ServiceExt as _;

pub fn entry(id: u64) -> WatchHomeResponse {
    let change = Change::Entry(TimelineEntry { id, post_id: id, ..Default::default() });
    WatchHomeResponse { cursor: id.to_be_bytes().to_vec().into(), change: Some(change) }
}

pub fn gone(post_id: u64) -> WatchHomeResponse {
    WatchHomeResponse {
        cursor: vec![1].into(),
        change: Some(Change::Gone(EntryGone { post_id, boost_id: 0 })),
    }
}

/// Waits until a watch is open, by asking rather than by waiting a time.
pub async fn watched(world: &World) {
    while world.live.receiver_count() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn server_sent_events() {
    let client = client();
    let (alice, token) = client.world.member("alice", "read");
    let (bob, _) = client.world.member("bob", "read");
    let secret = client.world.state().post(bob, "not for alice", Visibility::Direct);
    let id = client.world.state().post(alice, "live", Visibility::Public);
    let request = Client::request(Method::GET, "/api/v1/streaming/user", &token).body(Body::empty()).unwrap();
    let response = client.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    watched(&client.world).await;
    for told in [entry(secret), entry(id), gone(7)] {
        client.world.live.send(Some(told)).unwrap();
    }
    let mut body = response.into_body();
    let mut text = String::new();
    while !text.contains("event: delete") {
        let frame =
            tokio::time::timeout(Duration::from_secs(5), body.frame()).await.unwrap().unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    assert!(!text.contains("not for alice"));
    let data = text.split("event: update\ndata: ").nth(1).unwrap().lines().next().unwrap();
    let status: Value = serde_json::from_str(data).unwrap();
    assert_eq!(
        (status["id"].as_str(), status["content"].as_str()),
        (Some(id.to_string().as_str()), Some("<p>live</p>"))
    );
}

#[tokio::test]
async fn a_broken_watch_goes_on_where_it_stopped() {
    for stream in ["user", "public"] {
        a_broken_stream_goes_on(stream).await;
    }
}

async fn a_broken_stream_goes_on(stream: &str) {
    let client = client();
    let (alice, token) = client.world.member("alice", "read");
    let (first, second) = {
        let mut state = client.world.state();
        (state.post(alice, "first", Visibility::Public), state.post(alice, "second", Visibility::Public))
    };
    let request = Client::request(Method::GET, &format!("/api/v1/streaming/{stream}"), &token);
    let request = request.body(Body::empty()).unwrap();
    let mut body = client.router.clone().oneshot(request).await.unwrap().into_body();
    watched(&client.world).await;
    client.world.live.send(Some(entry(first))).unwrap();
    client.world.live.send(None).unwrap();
    while client.world.state().cursors.len() < 2 {
        tokio::task::yield_now().await;
    }
    client.world.live.send(Some(entry(second))).unwrap();
    let mut text = String::new();
    while !text.contains("second") {
        let frame =
            tokio::time::timeout(Duration::from_secs(5), body.frame()).await.unwrap().unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    assert_eq!(text.matches("event: update").count(), 2);
    assert_eq!(client.world.state().cursors, [Vec::new(), first.to_be_bytes().to_vec()]);
}

#[tokio::test]
async fn streams_ask_for_token_and_scope() {
    let client = client();
    let (alice, _) = client.world.member("alice", "read");
    let narrow = client.world.state().token(1, alice, "read:accounts");
    let notes = client.world.state().token(1, alice, "read:notifications");
    for (path, token, expected) in [
        ("user", "", StatusCode::UNAUTHORIZED),
        ("user", "wrong", StatusCode::UNAUTHORIZED),
        ("user", narrow.as_str(), StatusCode::FORBIDDEN),
        ("public", narrow.as_str(), StatusCode::FORBIDDEN),
        ("user", notes.as_str(), StatusCode::FORBIDDEN),
        ("user/notification", notes.as_str(), StatusCode::OK),
        ("nothing", notes.as_str(), StatusCode::NOT_FOUND),
    ] {
        let request = Client::request(Method::GET, &format!("/api/v1/streaming/{path}"), token);
        let response = client.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), expected, "{path}");
    }
    let by_query = Client::request(
        Method::GET,
        &format!("/api/v1/streaming/user/notification?access_token={notes}"),
        "",
    );
    let response = client.router.clone().oneshot(by_query.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let elsewhere = client.get(&format!("/api/v1/notifications?access_token={notes}"), "").await;
    assert_eq!(elsewhere.status, StatusCode::UNAUTHORIZED, "only streams take a token from the query");
}

#[tokio::test]
async fn one_socket_several_subscriptions_until_the_token_ends() {
    let client = client();
    let (alice, token) = client.world.member("alice", "read");
    let id = client.world.state().post(alice, "live", Visibility::Public);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = client.router.clone();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let request = http::Request::get(format!("ws://{address}/api/v1/streaming"))
        .header("host", "one.example")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", &token)
        .body(())
        .unwrap();
    let wire = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut socket, response) = tokio_tungstenite::client_async(request, wire).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], token.as_str());
    let says = |value: Value| Message::Text(value.to_string().into());
    socket.send(says(json!({"type": "subscribe", "stream": "secrets"}))).await.unwrap();
    let refused = socket.next().await.unwrap().unwrap().into_text().unwrap();
    assert!(refused.contains("no such stream"), "{refused}");
    socket.send(says(json!({"type": "subscribe", "stream": "user"}))).await.unwrap();
    watched(&client.world).await;
    client.world.live.send(Some(entry(id))).unwrap();
    let told: Value =
        serde_json::from_str(&socket.next().await.unwrap().unwrap().into_text().unwrap()).unwrap();
    assert_eq!((told["stream"][0].as_str(), told["event"].as_str()), (Some("user"), Some("update")));
    let status: Value = serde_json::from_str(told["payload"].as_str().unwrap()).unwrap();
    assert_eq!(status["id"], id.to_string());
    client.world.state().tokens.clear();
    let closed = tokio::time::timeout(Duration::from_secs(5), socket.next()).await.unwrap();
    assert!(matches!(closed, Some(Ok(Message::Close(_))) | None), "{closed:?}");
    server.abort();
}
