//! The client API: shapes, pages, batches, own writes, scopes, visibility.

use super::client::{Client, client, has};
use super::world::OTHER;
use axum::body::Body;
use http::{Method, StatusCode};
use p92_proto::identity::v1::AccountKind;
use p92_proto::posting::v1::Visibility;
use p92_proto::timelines::v1::{Notification, NotificationType};
use serde_json::json;

const ACCOUNT: [&str; 20] = [
    "id",
    "username",
    "acct",
    "display_name",
    "locked",
    "bot",
    "group",
    "created_at",
    "note",
    "url",
    "uri",
    "avatar",
    "avatar_static",
    "header",
    "header_static",
    "followers_count",
    "following_count",
    "statuses_count",
    "emojis",
    "fields",
];
const STATUS: [&str; 23] = [
    "id",
    "created_at",
    "in_reply_to_id",
    "in_reply_to_account_id",
    "sensitive",
    "spoiler_text",
    "visibility",
    "language",
    "uri",
    "url",
    "replies_count",
    "reblogs_count",
    "favourites_count",
    "edited_at",
    "content",
    "reblog",
    "account",
    "media_attachments",
    "mentions",
    "tags",
    "emojis",
    "card",
    "poll",
];

#[tokio::test]
async fn the_server_describes_itself_in_both_versions() {
    let client = client();
    client.world.member("alice", "read");
    let v2 = client.get("/api/v2/instance", "").await.ok();
    has(
        &v2,
        &[
            "domain",
            "title",
            "version",
            "source_url",
            "description",
            "usage",
            "thumbnail",
            "icon",
            "languages",
            "configuration",
            "registrations",
            "api_versions",
            "contact",
            "rules",
        ],
    );
    assert_eq!(v2["configuration"]["urls"]["streaming"], "wss://one.example");
    assert_eq!(v2["configuration"]["statuses"]["max_characters"], 500);
    assert!(v2["version"].as_str().unwrap().starts_with("4.2.0 (compatible; P92 "));
    assert_eq!(client.get("/api/v2/instance/?x=1", "").await.ok(), v2, "apps put a slash behind it");
    let v1 = client.get("/api/v1/instance", "").await.ok();
    has(
        &v1,
        &[
            "uri",
            "title",
            "short_description",
            "email",
            "urls",
            "stats",
            "configuration",
            "rules",
            "registrations",
            "approval_required",
            "invites_enabled",
        ],
    );
    assert_eq!(v1["stats"]["user_count"], 1);
    assert_eq!(v1["urls"]["streaming_api"], "wss://one.example");
    let links = client.get("/.well-known/nodeinfo", "").await.ok();
    let href = links["links"][0]["href"].as_str().unwrap().strip_prefix("https://one.example").unwrap();
    let info = client.get(href, "").await.ok();
    assert_eq!((info["version"].as_str(), info["software"]["name"].as_str()), (Some("2.0"), Some("p92")));
}

#[tokio::test]
async fn members_are_not_walked_through_to_be_counted() {
    let client = client();
    for name in ["alice", "ben"] {
        client.world.member(name, "read");
    }
    let v1 = client.get("/api/v1/instance", "").await.ok();
    assert_eq!(v1["stats"]["user_count"], 2);
    let calls = client.world.state().calls.clone();
    assert!(calls.contains(&"count_members") && !calls.contains(&"list_accounts"), "{calls:?}");
}

#[tokio::test]
async fn a_status_is_written_shown_edited_and_deleted() {
    let client = client();
    let (_, token) = client.world.member("alice", "read write");
    let made = client
        .post(
            "/api/v1/statuses",
            &token,
            json!({"status": "hello", "spoiler_text": "w", "visibility": "unlisted"}),
        )
        .await
        .ok();
    has(&made, &STATUS);
    has(&made, &["favourited", "reblogged", "muted", "bookmarked", "pinned", "filtered"]);
    has(&made["account"], &ACCOUNT);
    assert_eq!(
        (made["content"].as_str(), made["visibility"].as_str()),
        (Some("<p>hello</p>"), Some("unlisted"))
    );
    assert_eq!(made["created_at"], "2026-09-21T14:13:20.000Z");
    assert_eq!(made["application"]["name"], "An app");
    let path = format!("/api/v1/statuses/{}", made["id"].as_str().unwrap());
    let seen = client.get(&path, "").await.ok();
    assert!(seen.get("favourited").is_none(), "a stranger has done nothing");
    let edited = client.json(Method::PUT, &path, &token, json!({"status": "hullo"})).await.ok();
    assert_eq!(
        (edited["content"].as_str(), edited["spoiler_text"].as_str()),
        (Some("<p>hullo</p>"), Some("w"))
    );
    assert!(edited["edited_at"].is_string());
    assert_eq!(client.get(&format!("{path}/source"), &token).await.ok()["text"], "hullo");
    let gone =
        client.send(Client::request(Method::DELETE, &path, &token).body(Body::empty()).unwrap()).await.ok();
    assert_eq!(gone["text"], "hullo");
    assert_eq!(client.get(&path, &token).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_the_author_edits_and_deletes() {
    let client = client();
    let (alice, _) = client.world.member("alice", "read write");
    let (_, token) = client.world.member("bob", "read write");
    let id = client.world.state().post(alice, "mine", Visibility::Public);
    let path = format!("/api/v1/statuses/{id}");
    assert_eq!(
        client.json(Method::PUT, &path, &token, json!({"status": "x"})).await.status,
        StatusCode::NOT_FOUND
    );
    let request = Client::request(Method::DELETE, &path, &token).body(Body::empty()).unwrap();
    assert_eq!(client.send(request).await.status, StatusCode::NOT_FOUND);
    assert_eq!(client.world.state().posts[&id].text, "mine");
}

#[tokio::test]
async fn what_may_not_be_seen_answers_like_what_does_not_exist() {
    let client = client();
    let (alice, own) = client.world.member("alice", "read");
    let (_, token) = client.world.member("bob", "read write");
    let id = client.world.state().post(alice, "secret", Visibility::Direct);
    assert_eq!(client.get(&format!("/api/v1/statuses/{id}"), &own).await.status, StatusCode::OK);
    for path in ["", "/context", "/source"] {
        let hidden = client.get(&format!("/api/v1/statuses/{id}{path}"), &token).await;
        let absent = client.get(&format!("/api/v1/statuses/999{path}"), &token).await;
        let junk = client.get(&format!("/api/v1/statuses/x{path}"), &token).await;
        assert_eq!(hidden.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!((hidden.status, &hidden.text), (absent.status, &absent.text));
        assert_eq!((junk.status, &junk.text), (absent.status, &absent.text));
    }
    let like = client.post(&format!("/api/v1/statuses/{id}/favourite"), &token, json!({})).await;
    assert_eq!(like.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn home_is_read_with_one_call_per_kind_and_paged_by_links() {
    let client = client();
    let (alice, token) = client.world.member("alice", "read write follow");
    for n in 0..30 {
        let author = client.world.state().account(1, &format!("author{n}"));
        client.world.state().post(author, &format!("post {n}"), Visibility::Public);
        client.world.state().follows.insert((alice, author));
    }
    client.world.state().calls.clear();
    let first = client.get("/api/v1/timelines/home?limit=20", &token).await;
    let statuses = first.ok();
    assert_eq!(statuses.as_array().unwrap().len(), 20);
    let calls = client.world.state().calls.clone();
    let count = |name| calls.iter().filter(|call| **call == name).count();
    assert_eq!(
        (
            count("list_home"),
            count("get_posts"),
            count("batch_get_accounts"),
            count("get_author_stats"),
            count("batch_get_apps")
        ),
        (1, 1, 1, 1, 1)
    );
    assert_eq!(count("get_account") + count("get_post"), 0);
    let last = statuses[19]["id"].as_str().unwrap();
    let newest = statuses[0]["id"].as_str().unwrap();
    let link = first.header("link");
    assert!(
        link.contains(&format!(
            "<https://one.example/api/v1/timelines/home?limit=20&max_id={last}>; rel=\"next\""
        )),
        "{link}"
    );
    assert!(link.contains(&format!("min_id={newest}>; rel=\"prev\"")), "{link}");
    let rest = client.get(&format!("/api/v1/timelines/home?limit=999999&max_id={last}"), &token).await;
    assert_eq!(rest.ok().as_array().unwrap().len(), 10);
    let none = client.get("/api/v1/timelines/home?max_id=1", &token).await;
    assert_eq!((none.ok(), none.header("link")), (json!([]), ""));
}

#[tokio::test]
async fn own_writes_are_told_before_the_answer_and_carried_by_later_reads() {
    let client = client();
    let (_, token) = client.world.member("alice", "read write");
    client.post("/api/v1/statuses", &token, json!({"status": "hello"})).await.ok();
    assert_eq!(client.world.state().told.len(), 1);
    client.get("/api/v1/timelines/home", &token).await.ok();
    let state = client.world.state();
    assert_eq!(state.at_least, state.told);
}

#[tokio::test]
async fn a_repeated_key_makes_one_status() {
    let client = client();
    let (_, token) = client.world.member("alice", "read write");
    let send = || {
        let request = Client::request(Method::POST, "/api/v1/statuses", &token)
            .header("content-type", "application/json")
            .header("idempotency-key", "once");
        client.send(request.body(Body::from(r#"{"status":"hello"}"#)).unwrap())
    };
    let (first, second) = (send().await.ok(), send().await.ok());
    assert_eq!(first["id"], second["id"]);
    assert_eq!(client.world.state().posts.len(), 1);
    client.post("/api/v1/statuses", &token, json!({"status": "hello"})).await.ok();
    client.post("/api/v1/statuses", &token, json!({"status": "hello"})).await.ok();
    assert_eq!(client.world.state().posts.len(), 3);
}

#[tokio::test]
async fn a_repeated_delete_is_done_already() {
    let client = client();
    let (alice, token) = client.world.member("alice", "read write");
    let id = client.world.state().post(alice, "x", Visibility::Public);
    let delete = |key: &'static str| {
        let request = Client::request(Method::DELETE, &format!("/api/v1/statuses/{id}"), &token);
        client.send(request.header("idempotency-key", key).body(Body::empty()).unwrap())
    };
    assert_eq!(delete("once").await.ok()["text"], "x");
    assert_eq!(delete("once").await.ok(), json!({ "id": id.to_string() }));
    assert_eq!(delete("another").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn boosts_wrap_and_kinds_are_refused() {
    let client = client();
    let (alice, _) = client.world.member("alice", "read write");
    let (_, bob) = client.world.member("bob", "read write");
    let (firm, of_firm) = client.world.member("firm", "read write");
    client.world.state().accounts.get_mut(&firm).unwrap().set_kind(AccountKind::Corporate);
    let id = client.world.state().post(alice, "hello", Visibility::Public);
    let path = format!("/api/v1/statuses/{id}/reblog");
    let boost = client.post(&path, &bob, json!({})).await.ok();
    assert_eq!(
        (boost["reblog"]["id"].as_str(), boost["reblogged"].as_bool()),
        (Some(id.to_string().as_str()), Some(true))
    );
    assert_eq!(boost["account"]["username"], "bob");
    let refused = client.post(&path, &of_firm, json!({})).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.json()["error"].as_str().unwrap().contains("corporate"));
    let liked = client.form(&format!("/api/v1/statuses/{id}/favourite"), &bob, "").await.ok();
    assert_eq!((liked["favourited"].as_bool(), liked["favourites_count"].as_u64()), (Some(true), Some(1)));
}

#[tokio::test]
async fn relations_follow_and_block() {
    let client = client();
    let (bob, _) = client.world.member("bob", "read");
    let (_, token) = client.world.member("alice", "read write");
    let stands = client.form(&format!("/api/v1/accounts/{bob}/follow"), &token, "reblogs=1").await.ok();
    has(
        &stands,
        &[
            "id",
            "following",
            "showing_reblogs",
            "notifying",
            "languages",
            "followed_by",
            "blocking",
            "blocked_by",
            "muting",
            "muting_notifications",
            "requested",
            "requested_by",
            "domain_blocking",
            "endorsed",
            "note",
        ],
    );
    assert_eq!(stands["following"], true);
    assert_eq!(client.world.state().told.len(), 1);
    let many = client.get(&format!("/api/v1/accounts/relationships?id[]={bob}"), &token).await.ok();
    assert_eq!(many[0]["following"], true);
    let followers = client.get(&format!("/api/v1/accounts/{bob}/followers"), "").await;
    assert_eq!(followers.ok()[0]["username"], "alice");
    assert!(followers.header("link").contains("rel=\"next\""));
    let stands = client.post(&format!("/api/v1/accounts/{bob}/unfollow"), &token, json!({})).await.ok();
    assert_eq!(stands["following"], false);
    assert_eq!(
        client.post("/api/v1/accounts/77/follow", &token, json!({})).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        client.post(&format!("/api/v1/accounts/{bob}/block"), &token, json!({})).await.ok()["blocking"],
        true
    );
}

#[tokio::test]
async fn scopes_are_asked_for_coarse_and_fine() {
    let client = client();
    let (alice, _) = client.world.member("alice", "read");
    let id = client.world.state().post(alice, "x", Visibility::Public);
    let with = |scopes: &str| client.world.state().token(1, alice, scopes);
    let cases = [
        ("read", Method::GET, "/api/v1/timelines/home".to_owned(), StatusCode::OK),
        ("read:statuses", Method::GET, "/api/v1/timelines/home".to_owned(), StatusCode::OK),
        ("write", Method::GET, "/api/v1/timelines/home".to_owned(), StatusCode::FORBIDDEN),
        ("read:accounts", Method::GET, "/api/v1/timelines/home".to_owned(), StatusCode::FORBIDDEN),
        ("read", Method::POST, format!("/api/v1/statuses/{id}/favourite"), StatusCode::FORBIDDEN),
        ("write:statuses", Method::POST, format!("/api/v1/statuses/{id}/favourite"), StatusCode::FORBIDDEN),
        ("write:favourites", Method::POST, format!("/api/v1/statuses/{id}/favourite"), StatusCode::OK),
        ("follow", Method::POST, format!("/api/v1/accounts/{alice}/follow"), StatusCode::OK),
        (
            "read write:statuses",
            Method::POST,
            format!("/api/v1/accounts/{alice}/follow"),
            StatusCode::FORBIDDEN,
        ),
        ("profile", Method::GET, "/api/v1/accounts/verify_credentials".to_owned(), StatusCode::OK),
        ("read:me", Method::GET, "/api/v1/accounts/verify_credentials".to_owned(), StatusCode::OK),
        ("profile", Method::GET, "/api/v1/accounts/search?q=a".to_owned(), StatusCode::FORBIDDEN),
        ("profile", Method::GET, "/api/v1/notifications".to_owned(), StatusCode::FORBIDDEN),
    ];
    for (scopes, method, path, expected) in cases {
        let token = with(scopes);
        let request = Client::request(method, &path, &token).body(Body::empty()).unwrap();
        assert_eq!(client.send(request).await.status, expected, "{scopes} {path}");
    }
    let app = client.world.state().token(1, 0, "read write");
    assert_eq!(client.get("/api/v1/timelines/home", &app).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(client.get("/api/v1/timelines/home", "").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.get("/api/v1/timelines/home", "nonsense").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn notifications_and_markers() {
    let client = client();
    let (alice, token) = client.world.member("alice", "read write");
    let (bob, _) = client.world.member("bob", "read");
    let post = client.world.state().post(alice, "x", Visibility::Public);
    let note = |id, kind: NotificationType, post_id| Notification {
        id,
        r#type: kind.into(),
        recipient_id: alice,
        account_id: bob,
        post_id,
        created_ms: 1_790_000_000_000,
    };
    client.world.state().notes =
        vec![note(9, NotificationType::Like, post), note(8, NotificationType::Follow, 0)];
    let all = client.get("/api/v1/notifications", &token).await;
    let shown = all.ok();
    has(&shown[0], &["id", "type", "created_at", "account", "status", "group_key"]);
    assert_eq!((shown[0]["type"].as_str(), shown[1]["type"].as_str()), (Some("favourite"), Some("follow")));
    assert_eq!(shown[0]["status"]["id"], post.to_string());
    assert!(all.header("link").contains("max_id=8"));
    let only = client.get("/api/v1/notifications?types[]=follow", &token).await.ok();
    assert_eq!(only.as_array().unwrap().len(), 1);
    assert_eq!(client.get("/api/v1/notifications?types[]=poll", &token).await.ok(), json!([]));
    let set = client.form("/api/v1/markers", &token, "home[last_read_id]=5").await.ok();
    assert_eq!((set["home"]["last_read_id"].as_str(), set["home"]["version"].as_u64()), (Some("5"), Some(1)));
    let got = client.get("/api/v1/markers?timeline[]=home&timeline[]=notifications", &token).await.ok();
    assert_eq!(got["home"]["last_read_id"], "5");
    assert!(got.get("notifications").is_none());
}

#[tokio::test]
async fn a_profile_is_changed_and_its_text_escaped() {
    let client = client();
    let (_, token) = client.world.member("alice", "read write");
    let body = json!({"display_name": "Al", "note": "<b>hi</b>", "locked": true, "source": {"privacy": "private"}, "fields_attributes": [{"name": "web", "value": "https://a.example"}]});
    let own = client.json(Method::PATCH, "/api/v1/accounts/update_credentials", &token, body).await.ok();
    assert_eq!((own["display_name"].as_str(), own["locked"].as_bool()), (Some("Al"), Some(true)));
    assert_eq!(own["note"], "<p>&lt;b&gt;hi&lt;/b&gt;</p>");
    assert_eq!(
        (own["source"]["note"].as_str(), own["source"]["privacy"].as_str()),
        (Some("<b>hi</b>"), Some("private"))
    );
    assert!(own["fields"][0]["value"].as_str().unwrap().starts_with("<a href=\"https://a.example\""));
    let made = client.post("/api/v1/statuses", &token, json!({"status": "x"})).await.ok();
    assert_eq!(made["visibility"], "private", "posts that state none take the preference");
    assert_eq!(client.get("/api/v1/preferences", &token).await.ok()["posting:default:visibility"], "private");
}

#[tokio::test]
async fn accounts_are_found_by_id_handle_and_beginning() {
    let client = client();
    let (alice, token) = client.world.member("alice", "read");
    has(&client.get(&format!("/api/v1/accounts/{alice}"), "").await.ok(), &ACCOUNT);
    assert_eq!(client.get("/api/v1/accounts/lookup?acct=alice", "").await.ok()["id"], alice.to_string());
    assert_eq!(client.get("/api/v1/accounts/lookup?acct=nobody", "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(client.get("/api/v1/accounts/search?q=@al", &token).await.ok()[0]["username"], "alice");
    let found = client.get("/api/v2/search?q=al&type=accounts", &token).await.ok();
    assert_eq!(
        (found["accounts"][0]["acct"].as_str(), found["statuses"].as_array().unwrap().len()),
        (Some("alice"), 0)
    );
    client.world.state().post(alice, "about #cats", Visibility::Public);
    let found = client.get("/api/v2/search?q=%23cats", "").await.ok();
    assert_eq!(found["hashtags"][0]["url"], "https://one.example/tags/cats");
    assert_eq!(client.get("/api/v2/search?q=%23dogs", "").await.ok()["hashtags"], json!([]));
    assert_eq!(client.get("/api/v1/timelines/tag/cats", "").await.ok()[0]["content"], "<p>about #cats</p>");
    let many = client.get(&format!("/api/v1/accounts?id[]={alice}&id[]=5&id[]=x"), "").await.ok();
    assert_eq!(many.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn servers_are_apart() {
    let client = client();
    let (_, token) = client.world.member("alice", "read write");
    let at = |host: &'static str, path: &'static str| {
        let request =
            http::Request::get(path).header("host", host).header("authorization", format!("Bearer {token}"));
        client.send(request.body(Body::empty()).unwrap())
    };
    assert_eq!(at("one.example", "/api/v1/accounts/verify_credentials").await.status, StatusCode::OK);
    assert_eq!(at(OTHER, "/api/v1/accounts/verify_credentials").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(at("three.example", "/api/v2/instance").await.status, StatusCode::MISDIRECTED_REQUEST);
    let bare = client
        .send(http::Request::get("/api/v2/instance").header("host", OTHER).body(Body::empty()).unwrap())
        .await;
    assert_eq!(bare.ok()["domain"], OTHER);
}

#[tokio::test]
async fn empty_lists_are_there_for_those_who_may_ask() {
    let client = client();
    let (_, token) = client.world.member("alice", "read");
    for path in [
        "/api/v1/custom_emojis",
        "/api/v1/filters",
        "/api/v2/filters",
        "/api/v1/lists",
        "/api/v1/followed_tags",
        "/api/v1/announcements",
    ] {
        assert_eq!(client.get(path, &token).await.ok(), json!([]), "{path}");
    }
    assert_eq!(client.get("/api/v1/lists", "").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.get("/api/v1/conversations", &token).await.status, StatusCode::NOT_FOUND);
}
