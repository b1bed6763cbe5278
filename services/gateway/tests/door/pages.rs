//! The pages as a browser without scripts uses them: forms, redirects, a cookie; and as somebody who means harm does.

use super::client::{Answer, Client, client};
use super::world::HOST;
use axum::body::Body;
use http::{Method, StatusCode};

const TYPE: &str = "application/x-www-form-urlencoded";

async fn get(client: &Client, path: &str, cookie: &str) -> Answer {
    let request = Client::request(Method::GET, path, "").header("cookie", cookie);
    client.send(request.body(Body::empty()).unwrap()).await
}

async fn send(client: &Client, path: &str, cookie: &str, pairs: &[(&str, &str)]) -> Answer {
    send_from(client, path, cookie, pairs, &format!("https://{HOST}")).await
}

async fn send_from(
    client: &Client,
    path: &str,
    cookie: &str,
    pairs: &[(&str, &str)],
    origin: &str,
) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let request = Client::request(Method::POST, path, "").header("cookie", cookie).header("origin", origin);
    client.send(request.header("content-type", TYPE).body(Body::from(body)).unwrap()).await
}

fn field(page: &Answer, name: &str) -> String {
    let (_, rest) = page.text.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// Every element that opens is closed in its order, no script and no inline style is there.
#[track_caller]
fn sound(page: &Answer) {
    const VOID: [&str; 5] = ["meta", "link", "input", "br", "!doctype"];
    let mut open = Vec::new();
    for piece in page.text.split('<').skip(1) {
        let tag = piece.split('>').next().unwrap();
        let name = tag.split([' ', '\n']).next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "in {}", page.text);
        } else if !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} stay open");
    assert!(
        !page.text.contains("<script") && !page.text.contains(" style=") && !page.text.contains("onerror")
    );
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'self'") && policy.contains("form-action 'self'")
    );
    for label in page.text.split("<label for=\"").skip(1) {
        let id = label.split('"').next().unwrap();
        assert!(page.text.contains(&format!("id=\"{id}\"")), "a label is for {id}, which is not there");
    }
}

async fn sign_up(client: &Client, handle: &str) -> String {
    let page = get(client, "/sign-up", "").await;
    sound(&page);
    assert!(page.text.contains("Be kind."), "the rules are shown");
    let email = format!("{handle}@mail.example");
    let pairs = [
        ("key", field(&page, "key")),
        ("handle", handle.to_owned()),
        ("email", email),
        ("password", "right horse".to_owned()),
        ("agreement", "true".to_owned()),
    ];
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let done = send(client, "/sign-up", "", &pairs).await;
    assert_eq!((done.status, done.header("location")), (StatusCode::SEE_OTHER, "/home"), "{}", done.text);
    let cookie = done.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("; Secure"));
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn from_a_stranger_to_a_thread() {
    let client = client();
    let cookie = sign_up(&client, "ann").await;
    let bob = client.world.member("bob", "read").0;
    let theirs = client.world.state().post(bob, "from bob", p92_proto::posting::v1::Visibility::Public);

    let home = get(&client, "/home", &cookie).await;
    sound(&home);
    assert!(!home.text.contains("from bob"));
    let mark = field(&home, "mark");
    let key = field(&home, "key");
    let post = [("mark", mark.as_str()), ("key", &key), ("text", "hello world"), ("visibility", "public")];
    for _ in 0..2 {
        let sent = send(&client, "/home", &cookie, &post).await;
        assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text);
    }
    let home = get(&client, "/home", &cookie).await;
    assert_eq!(home.text.matches("hello world").count(), 1, "a form sent twice publishes once");
    assert!(home.text.contains(">Delete<"));

    let profile = get(&client, "/@bob", &cookie).await;
    sound(&profile);
    assert!(profile.text.contains("from bob") && profile.text.contains(">Follow<"));
    let follow = format!("/accounts/{bob}/follow");
    let sent = send(&client, &follow, &cookie, &[("mark", &mark), ("back", "/@bob")]).await;
    assert_eq!((sent.status, sent.header("location")), (StatusCode::SEE_OTHER, "/@bob"));
    assert!(get(&client, "/@bob", &cookie).await.text.contains(">Unfollow<"));
    let home = get(&client, "/home", &cookie).await;
    assert!(home.text.contains("from bob"));

    let deed = |deed: &str| format!("/posts/{theirs}/{deed}");
    for name in ["like", "boost"] {
        let sent = send(&client, &deed(name), &cookie, &[("mark", &mark)]).await;
        assert_eq!(sent.status, StatusCode::SEE_OTHER, "{name}: {}", sent.text);
    }
    let thread = get(&client, &format!("/@bob/{theirs}"), &cookie).await;
    sound(&thread);
    assert!(thread.text.contains("Liked · 1") && thread.text.contains("@bob </textarea>"));
}

#[tokio::test]
async fn a_form_of_another_site_does_nothing() {
    let client = client();
    let cookie = sign_up(&client, "ann").await;
    let mark = field(&get(&client, "/home", &cookie).await, "mark");
    let other = sign_up(&client, "eve").await;
    let foreign = field(&get(&client, "/home", &other).await, "mark");
    let posts = |client: &Client| client.world.state().posts.len();
    for (pairs, origin) in [
        (vec![("text", "forged")], "https://one.example"),
        (vec![("text", "forged"), ("mark", "")], "https://one.example"),
        (vec![("text", "forged"), ("mark", foreign.as_str())], "https://one.example"),
        (vec![("text", "forged"), ("mark", mark.as_str())], "https://evil.example"),
    ] {
        let answer = send_from(&client, "/home", &cookie, &pairs, origin).await;
        assert_eq!((answer.status, posts(&client)), (StatusCode::FORBIDDEN, 0), "{pairs:?} {origin}");
        sound(&answer);
    }
    let out = send(&client, "/sign-out", &cookie, &[]).await;
    assert_eq!(out.status, StatusCode::FORBIDDEN);
    let twin = send(&client, "/home", &cookie, &[("text", "meant"), ("mark", &mark)]).await;
    assert_eq!((twin.status, posts(&client)), (StatusCode::SEE_OTHER, 1), "{}", twin.text);
    let stranger = send(&client, "/home", "", &[("text", "x"), ("mark", &mark)]).await;
    assert_eq!((stranger.header("location"), posts(&client)), ("/sign-in", 1));
}

#[tokio::test]
async fn what_people_write_stays_text() {
    let client = client();
    let (ann, _) = client.world.member("ann", "read");
    let evil = "<img src=x onerror=alert(1)><script>alert(1)</script>";
    let id = {
        let mut state = client.world.state();
        state.accounts.get_mut(&ann).unwrap().display_name = format!("\"><b>{evil}");
        let id = state.post(ann, &format!("before {evil} after"), p92_proto::posting::v1::Visibility::Public);
        state.posts.get_mut(&id).unwrap().content_warning = evil.to_owned();
        id
    };
    for path in ["/".to_owned(), "/@ann".to_owned(), format!("/@ann/{id}")] {
        let page = get(&client, &path, "").await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        assert!(page.text.contains("before") && page.text.contains("after"), "the text itself is there");
        for tag in ["<script", "<img"] {
            assert!(!page.text.contains(tag), "{path} has {tag}: {}", page.text);
        }
        let harmless = Answer { text: page.text.replace("onerror=", ""), ..page };
        sound(&harmless);
    }
}

#[tokio::test]
async fn what_is_wrong_is_a_page() {
    let client = client();
    let cookie = sign_up(&client, "ann").await;
    for path in ["/@nobody", "/@ann/12", "/@ann/x"] {
        let page = get(&client, path, &cookie).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        assert!(page.text.contains("There is nothing here"));
        sound(&page);
    }
    let mark = field(&get(&client, "/home", &cookie).await, "mark");
    let blank =
        send(&client, "/home", &cookie, &[("mark", &mark), ("text", " "), ("warning", "careful")]).await;
    assert_eq!(blank.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(blank.text.contains("Text can&#39;t be blank") && blank.text.contains("value=\"careful\""));
    sound(&blank);
    let wrong = send(&client, "/sign-in", "", &[("login", "ann"), ("password", "no")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text.contains("Login or password is wrong.") && wrong.headers.get("set-cookie").is_none());
    sound(&wrong);
    let right = send(&client, "/sign-in", "", &[("login", "ann"), ("password", "right horse")]).await;
    assert_eq!((right.status, right.header("location")), (StatusCode::SEE_OTHER, "/home"));
    let style = get(&client, "/assets/pages.css", "").await;
    assert!(style.status == StatusCode::OK && style.header("content-type").starts_with("text/css"));
    let nothing = client.post("/nothing", "", serde_json::json!({})).await;
    assert_eq!((nothing.status, nothing.header("content-type")), (StatusCode::NOT_FOUND, "application/json"));
}
