//! What must be refused, and how: precise, in JSON, with nothing half done.

use super::client::{Client, client, client_with};
use axum::body::Body;
use http::{Method, Request, StatusCode};
use p92_chassis::HumanDuration;
use p92_gateway::Config;
use p92_gateway::config::Rates;

use serde_json::json;

#[tokio::test]
async fn broken_bodies_do_nothing() {
    let client = client();
    let (_, token) = client.world.member("alice", "read write");
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("application/json", b"{\"status\": \"x".to_vec(), 400),
        ("application/json", b"\"x\"".to_vec(), 400),
        ("application/json", b"{\"status\": \"\xff\xfe\"}".to_vec(), 400),
        ("application/json", b"{\"status\": \"\\ud800\"}".to_vec(), 400),
        ("application/json", br#"{"status": 5}"#.to_vec(), 422),
        ("application/json", br#"{"status": {"a": 1}}"#.to_vec(), 422),
        ("application/json", br#"{"status": "x", "sensitive": "maybe"}"#.to_vec(), 422),
        ("application/json", br#"{"status": "x", "visibility": "everyone"}"#.to_vec(), 422),
        ("application/json", br#"{"status": "x", "in_reply_to_id": "abc"}"#.to_vec(), 422),
        ("application/json", br#"{"status": "x", "media_ids": ["1"]}"#.to_vec(), 422),
        ("application/json", br#"{"status": "x", "poll": {"options": ["a", "b"]}}"#.to_vec(), 422),
        ("application/json", br#"{"status": "x", "scheduled_at": "2030-01-01T00:00:00Z"}"#.to_vec(), 422),
        ("application/json", br#"{"status": " "}"#.to_vec(), 422),
        ("application/x-www-form-urlencoded", b"status=%ff".to_vec(), 400),
        ("application/x-www-form-urlencoded", b"status=%2".to_vec(), 400),
        (
            "multipart/form-data; boundary=B",
            b"--B\r\nContent-Disposition: form-data; name=\"status\"\r\n\r\nx".to_vec(),
            400,
        ),
        ("multipart/form-data", b"--B\r\n".to_vec(), 400),
        ("text/xml", b"<status/>".to_vec(), 415),
        ("application/json", format!("{{\"status\": \"{}\"}}", "x".repeat(70_000)).into_bytes(), 413),
    ];
    for (kind, body, expected) in cases {
        let named = String::from_utf8_lossy(&body).chars().take(60).collect::<String>();
        let request = Client::request(Method::POST, "/api/v1/statuses", &token).header("content-type", kind);
        let answer = client.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(answer.status.as_u16(), expected, "{kind} {named}: {}", answer.text);
        assert!(answer.json()["error"].is_string(), "{named}");
    }
    assert!(client.world.state().posts.is_empty());
}

#[tokio::test]
async fn validation_names_the_field() {
    let client = client();
    let (_, token) = client.world.member("alice", "read write");
    let answer = client.post("/api/v1/statuses", &token, json!({"status": ""})).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.json()["details"]["status"][0]["error"], "ERR_BLANK");
    let app = client.world.state().token(1, 0, "read write");
    let person =
        json!({"username": "alice", "email": "a@b.example", "password": "password", "agreement": true});
    let answer = client.post("/api/v1/accounts", &app, person).await;
    assert_eq!(answer.json()["details"]["username"][0]["error"], "ERR_TAKEN");
    let answer = client.post("/api/v1/accounts", &app, json!({"username": "x"})).await;
    assert_eq!(answer.json()["details"]["email"][0]["error"], "ERR_BLANK");
}

#[tokio::test]
async fn bad_cursors_are_named_and_limits_clamped() {
    let client = client();
    let (_, token) = client.world.member("alice", "read");
    for cursor in ["max_id=x", "since_id=-1", "min_id=99999999999999999999"] {
        let answer = client.get(&format!("/api/v1/timelines/home?{cursor}"), &token).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{cursor}");
    }
    for limit in ["0", "-5", "abc", "999999999999999999999"] {
        client.get(&format!("/api/v1/timelines/home?limit={limit}"), &token).await.ok();
    }
    assert_eq!(client.get("/api/v1/timelines/home?x=%ff", &token).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist() {
    let client = client();
    for path in
        ["/api/v1/nothing", "/graphql", "/api/v1/accounts/%ff", "/api/v1/statuses/0", "/api/v1/statuses/-1"]
    {
        let answer = client.get(path, "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.json()["error"].is_string());
    }
    let answer = client.post("/api/v2/instance", "", json!({})).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(answer.json()["error"].is_string());
}

#[tokio::test]
async fn hosts_are_read_exactly() {
    let client = client();
    let at =
        |host: &str| Request::get("/api/v1/custom_emojis").header("host", host).body(Body::empty()).unwrap();
    assert_eq!(client.send(at("ONE.example")).await.status, StatusCode::OK);
    for host in ["one.example.evil.example", "exam/ple", "one.example@evil.example", "localhost", ""] {
        let status = client.send(at(host)).await.status;
        assert!(
            matches!(status, StatusCode::MISDIRECTED_REQUEST | StatusCode::BAD_REQUEST),
            "{host}: {status}"
        );
    }
    let bare = Request::get("/api/v1/custom_emojis").body(Body::empty()).unwrap();
    assert_eq!(client.send(bare).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn loopback_names_lead_to_the_default_server_if_it_is_one() {
    let client = client();
    let at = |host: &str| Request::get("/api/v2/instance").header("host", host).body(Body::empty()).unwrap();
    assert_eq!(client.send(at("localhost:3000")).await.status, StatusCode::MISDIRECTED_REQUEST);
    let server = |world: &super::world::World| {
        let mut state = world.state();
        let server = &mut state.servers[0];
        server.web_host = "127.0.0.1:8092".to_owned();
        server.public_url = "http://127.0.0.1:8092".to_owned();
    };
    server(&client.world);
    let answer = client.send(at("LocalHost:3000")).await;
    assert_eq!(answer.ok()["configuration"]["urls"]["streaming"], "ws://127.0.0.1:8092");
    assert_eq!(client.send(at("three.example")).await.status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn rates_are_counted_and_told() {
    let rates = Rates { address: 3, ..Rates::default() };
    let client = client_with(Config { rates, cache: HumanDuration::default(), ..Config::default() });
    let (_, token) = client.world.member("alice", "read");
    for left in ["2", "1", "0"] {
        let answer = client.get("/api/v1/custom_emojis", "").await;
        assert_eq!((answer.status, answer.header("x-ratelimit-limit")), (StatusCode::OK, "3"));
        assert_eq!(answer.header("x-ratelimit-remaining"), left);
        assert!(answer.header("x-ratelimit-reset").ends_with('Z'));
    }
    let answer = client.get("/api/v1/custom_emojis", "").await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(client.get("/api/v1/custom_emojis", &token).await.status, StatusCode::OK);
    let forged =
        Client::request(Method::GET, "/api/v1/custom_emojis", "").header("x-forwarded-for", "9.9.9.9");
    assert_eq!(client.send(forged.body(Body::empty()).unwrap()).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn browsers_may_call_the_api_and_not_the_pages() {
    let client = client();
    let preflight = Client::request(Method::OPTIONS, "/api/v1/statuses", "")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,idempotency-key");
    let answer = client.send(preflight.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    assert!(answer.header("access-control-allow-headers").contains("idempotency-key"));
    for (path, token) in [
        ("/api/v1/custom_emojis", ""),
        ("/api/v1/lists", "wrong"),
        ("/.well-known/oauth-authorization-server", ""),
    ] {
        let request = Client::request(Method::GET, path, token).header("origin", "https://app.example");
        let answer = client.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.header("access-control-allow-origin"), "https://app.example", "{path}");
        assert!(answer.header("access-control-expose-headers").contains("link"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    let request =
        Client::request(Method::GET, "/oauth/authorize", "").header("origin", "https://app.example");
    let page = client.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(page.header("access-control-allow-origin"), "");
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
}

#[tokio::test]
async fn keys_are_bounded() {
    let client = client();
    let (_, token) = client.world.member("alice", "read write");
    let request = Client::request(Method::POST, "/api/v1/statuses", &token)
        .header("content-type", "application/json")
        .header("idempotency-key", "k".repeat(256));
    let answer = client.send(request.body(Body::from(r#"{"status":"x"}"#)).unwrap()).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(client.world.state().posts.is_empty());
}
