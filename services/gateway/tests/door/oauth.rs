//! The way from an unknown app to a token, and every step aside.

use super::client::{Answer, Client, client};
use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::{Value, json};

const URI: &str = "https://app.example/callback";

async fn app(client: &Client) -> Value {
    let body = json!({"client_name": "App <b>", "redirect_uris": [URI, "urn:ietf:wg:oauth:2.0:oob"], "scopes": "read write"});
    let app = client.post("/api/v1/apps", "", body).await.ok();
    super::client::has(
        &app,
        &[
            "id",
            "name",
            "website",
            "redirect_uri",
            "redirect_uris",
            "scopes",
            "vapid_key",
            "client_id",
            "client_secret",
        ],
    );
    app
}

fn question(app: &Value, uri: &str, scope: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("response_type", "code").append_pair("client_id", app["client_id"].as_str().unwrap());
    query.append_pair("redirect_uri", uri).append_pair("scope", scope).append_pair("state", "a<b&c");
    query.finish()
}

async fn authorize(
    client: &Client,
    method: Method,
    query: &str,
    body: &str,
    cookie: &str,
    origin: &str,
) -> Answer {
    let path = if method == Method::GET {
        format!("/oauth/authorize?{query}")
    } else {
        "/oauth/authorize".to_owned()
    };
    let mut request =
        Client::request(method, &path, "").header("content-type", "application/x-www-form-urlencoded");
    if !cookie.is_empty() {
        request = request.header("cookie", cookie);
    }
    if !origin.is_empty() {
        request = request.header("origin", origin);
    }
    client.send(request.body(Body::from(format!("{query}&{body}"))).unwrap()).await
}

async fn signed_in(client: &Client, query: &str) -> String {
    client.world.state().account(1, "alice");
    let id = *client.world.state().accounts.keys().next().unwrap();
    client.world.state().passwords.insert("alice".to_owned(), ("right horse".to_owned(), id));
    let wrong = authorize(client, Method::POST, query, "login=alice&password=wrong", "", "").await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text.contains("Login or password is wrong.") && wrong.headers.get("set-cookie").is_none());
    let right = authorize(client, Method::POST, query, "login=alice&password=right+horse", "", "").await;
    assert_eq!(right.status, StatusCode::SEE_OTHER, "{}", right.text);
    let cookie = right.header("set-cookie").to_owned();
    assert!(
        cookie.contains("HttpOnly")
            && cookie.contains("SameSite=Lax")
            && cookie.contains("; Secure")
            && !cookie.contains("Domain")
    );
    cookie.split(';').next().unwrap().to_owned()
}

fn mark(page: &Answer) -> String {
    let (_, rest) = page.text.split_once("name=\"mark\" value=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn from_registration_to_a_token_once() {
    let client = client();
    let app = app(&client).await;
    let query = question(&app, URI, "read write");
    let page = authorize(&client, Method::GET, &query, "", "", "").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.text.contains("name=\"password\"")
            && page.text.contains("App &lt;b&gt;")
            && !page.text.contains("App <b>")
    );
    let cookie = signed_in(&client, &query).await;
    let page = authorize(&client, Method::GET, &query, "", &cookie, "").await;
    let decision = format!("mark={}&decision=approve", mark(&page));
    let sent = authorize(&client, Method::POST, &query, &decision, &cookie, "https://one.example").await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER);
    let to = url::Url::parse(sent.header("location")).unwrap();
    let pairs: std::collections::HashMap<_, _> = to.query_pairs().into_owned().collect();
    assert!(sent.header("location").starts_with(URI) && pairs["state"] == "a<b&c");
    let ask = |uri: &str| {
        client.post("/oauth/token", "", json!({
            "grant_type": "authorization_code", "client_id": app["client_id"], "client_secret": app["client_secret"],
            "code": pairs["code"], "redirect_uri": uri
        }))
    };
    let token = ask(URI).await;
    assert_eq!(token.header("cache-control"), "no-store");
    let token = token.ok();
    assert_eq!((token["token_type"].as_str(), token["scope"].as_str()), (Some("Bearer"), Some("read write")));
    let again = ask(URI).await;
    assert_eq!(
        (again.status, again.json()["error"].as_str()),
        (StatusCode::BAD_REQUEST, Some("invalid_grant"))
    );
    let secret = token["access_token"].as_str().unwrap();
    assert_eq!(client.get("/api/v1/accounts/verify_credentials", secret).await.ok()["username"], "alice");
    let body = json!({"client_id": app["client_id"], "client_secret": app["client_secret"], "token": secret});
    client.post("/oauth/revoke", "", body).await.ok();
    assert_eq!(
        client.get("/api/v1/accounts/verify_credentials", secret).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_redirect_uri_that_differs_is_never_gone_to() {
    let client = client();
    let app = app(&client).await;
    for uri in [
        "https://app.example/callbacks",
        "https://app.example/callbac",
        "https://app.example/callback/",
        "https://app.example/Callback",
        "https://app.example/callback?x=1",
        "http://app.example/callback",
        "https://app.example.evil.example/callback",
        "https://user@app.example/callback",
        "javascript:alert(1)",
        "",
    ] {
        let page = authorize(&client, Method::GET, &question(&app, uri, "read"), "", "", "").await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{uri}");
        assert!(
            page.headers.get("location").is_none() && page.header("content-type").starts_with("text/html")
        );
    }
    let unknown = json!({"client_id": "nobody"});
    assert_eq!(
        authorize(&client, Method::GET, &question(&unknown, URI, "read"), "", "", "").await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn what_the_app_did_wrong_is_told_to_the_app() {
    let client = client();
    let app = app(&client).await;
    let sent = authorize(&client, Method::GET, &question(&app, URI, "admin:write"), "", "", "").await;
    assert!(
        sent.header("location").starts_with("https://app.example/callback?error=invalid_scope"),
        "{}",
        sent.header("location")
    );
    let query = question(&app, URI, "read").replace("response_type=code", "response_type=token");
    let sent = authorize(&client, Method::GET, &query, "", "", "").await;
    assert!(sent.header("location").contains("error=unsupported_response_type"));
}

#[tokio::test]
async fn other_sites_cannot_consent() {
    let client = client();
    let app = app(&client).await;
    let query = question(&app, URI, "read");
    let cookie = signed_in(&client, &query).await;
    let page = authorize(&client, Method::GET, &query, "", &cookie, "").await;
    let right = format!("mark={}&decision=approve", mark(&page));
    for (body, origin) in [
        ("decision=approve", ""),
        ("mark=00&decision=approve", ""),
        (right.as_str(), "https://evil.example"),
        (right.as_str(), "null"),
    ] {
        let answer = authorize(&client, Method::POST, &query, body, &cookie, origin).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{body} {origin}");
    }
    assert!(client.world.state().codes.is_empty());
    let denied =
        authorize(&client, Method::POST, &query, &right.replace("approve", "deny"), &cookie, "").await;
    assert!(denied.header("location").contains("error=access_denied"));
}

#[tokio::test]
async fn codes_can_be_shown_instead_of_sent() {
    let client = client();
    let app = app(&client).await;
    let query = question(&app, "urn:ietf:wg:oauth:2.0:oob", "read");
    let cookie = signed_in(&client, &query).await;
    let page = authorize(&client, Method::GET, &query, "", &cookie, "").await;
    let page = authorize(
        &client,
        Method::POST,
        &query,
        &format!("mark={}&decision=approve", mark(&page)),
        &cookie,
        "",
    )
    .await;
    let code = client.world.state().codes.keys().next().unwrap().clone();
    assert!(page.status == StatusCode::OK && page.text.contains(&format!("<code>{code}</code>")));
}

#[tokio::test]
async fn an_app_alone_signs_somebody_up() {
    let client = client();
    let app = app(&client).await;
    let basic = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        format!("{}:{}", app["client_id"].as_str().unwrap(), app["client_secret"].as_str().unwrap()),
    );
    let request = http::Request::post("/oauth/token")
        .header("host", "one.example")
        .header("authorization", format!("Basic {basic}"));
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let token = client
        .send(request.body(Body::from("grant_type=client_credentials&scope=read+write")).unwrap())
        .await
        .ok();
    let secret = token["access_token"].as_str().unwrap();
    let person = "username=alice&email=a%40b.example&password=right+horse&agreement=on&locale=en";
    let made = client.form("/api/v1/accounts", secret, person).await.ok();
    let own =
        client.get("/api/v1/accounts/verify_credentials", made["access_token"].as_str().unwrap()).await.ok();
    super::client::has(&own, &["source", "role"]);
    assert_eq!(own["username"], "alice");
    let again = client.form("/api/v1/accounts", made["access_token"].as_str().unwrap(), person).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    let wrong = client
        .form(
            "/oauth/token",
            "",
            &format!(
                "grant_type=client_credentials&client_id={}&client_secret=x",
                app["client_id"].as_str().unwrap()
            ),
        )
        .await;
    assert_eq!(
        (wrong.status, wrong.json()["error"].as_str()),
        (StatusCode::UNAUTHORIZED, Some("invalid_client"))
    );
    let unknown = client.form("/oauth/token", "", "grant_type=magic&client_id=x").await;
    assert_eq!(unknown.json()["error"], "unsupported_grant_type");
}

#[tokio::test]
async fn metadata_names_the_endpoints_of_this_server() {
    let client = client();
    let all = client.get("/.well-known/oauth-authorization-server", "").await.ok();
    assert_eq!(all["issuer"], "https://one.example/");
    assert_eq!(all["token_endpoint"], "https://one.example/oauth/token");
    assert_eq!(all["code_challenge_methods_supported"], json!(["S256"]));
}
