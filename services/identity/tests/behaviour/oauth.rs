//! OAuth: codes are exchanged once, by whom they were made for, at the server that made them.

use crate::world::{World, config, reason, seen_by};
use base64::Engine as _;
use p92_identity::Config;
use p92_proto::identity::v1::*;
use sha2::Digest as _;
use std::time::Duration;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const URI: &str = "https://app.example/cb";

fn challenge() -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(VERIFIER))
}

/// A server, an app of it with its secret, and a member.
struct Scene {
    world: World,
    server: u64,
    app: App,
    secret: String,
    ann: u64,
}

impl Scene {
    async fn open(dir: &std::path::Path, config: Config) -> Self {
        let mut world = World::open(dir, config).await;
        let server = world.server("a.example").await;
        let (app, secret) = world.app(server).await;
        let ann = world.member(server, "ann").await;
        Self { world, server, app, secret, ann }
    }

    fn asked(&self) -> AuthorizationAsked {
        AuthorizationAsked {
            client_id: self.app.client_id.clone(),
            redirect_uri: URI.to_owned(),
            scopes: vec!["read".to_owned(), "write".to_owned()],
            code_challenge: challenge(),
            code_challenge_method: "S256".to_owned(),
        }
    }

    async fn code_for(&mut self, asked: AuthorizationAsked) -> Result<String, String> {
        let request = AuthorizeRequest { server_id: self.server, account_id: self.ann, asked: Some(asked) };
        match self.world.tokens.authorize(request).await {
            Ok(answer) => Ok(answer.into_inner().code),
            Err(status) => Err(crate::world::failure(status).reason.into_owned()),
        }
    }

    async fn code(&mut self) -> String {
        let asked = self.asked();
        self.code_for(asked).await.unwrap()
    }

    fn exchange(&self, code: &str) -> ExchangeCodeRequest {
        ExchangeCodeRequest {
            server_id: self.server,
            client_id: self.app.client_id.clone(),
            client_secret: self.secret.clone(),
            code: code.to_owned(),
            redirect_uri: URI.to_owned(),
            code_verifier: VERIFIER.to_owned(),
        }
    }

    async fn refused(&mut self, request: ExchangeCodeRequest) -> String {
        reason(self.world.tokens.exchange_code(request).await)
    }

    async fn verify(&mut self, server: u64, secret: &str) -> Result<VerifyTokenResponse, String> {
        let request =
            VerifyTokenRequest { server_id: server, secret: secret.to_owned(), ..Default::default() };
        match self.world.tokens.verify_token(request).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => Err(crate::world::failure(status).reason.into_owned()),
        }
    }
}

#[tokio::test]
async fn a_code_becomes_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(dir.path(), config()).await;
    let check = CheckAuthorizationRequest { server_id: scene.server, asked: Some(scene.asked()) };
    let checked = scene.world.tokens.check_authorization(check).await.unwrap().into_inner();
    assert_eq!(
        (checked.app.unwrap().name.as_str(), checked.scopes),
        ("Phone", vec!["read".into(), "write".into()])
    );
    let code = scene.code().await;
    let request = scene.exchange(&code);
    let issued = scene.world.tokens.exchange_code(request).await.unwrap().into_inner().token.unwrap();
    let verified = scene.verify(scene.server, &issued.secret).await.unwrap();
    assert_eq!(verified.account.unwrap().id, scene.ann);
    assert_eq!(verified.token.as_ref().unwrap().scopes, ["read", "write"]);
    // Whatever a caller remembers of it, it is the same token, and acts for whom it acts.
    let ben = scene.world.member(scene.server, "ben").await;
    for likely_account_id in [scene.ann, ben, 1, u64::MAX] {
        let (server_id, secret) = (scene.server, issued.secret.clone());
        let request = VerifyTokenRequest { server_id, secret, likely_account_id };
        let again = scene.world.tokens.verify_token(request).await.unwrap().into_inner();
        assert_eq!((again.token.as_ref(), again.account.unwrap().id), (verified.token.as_ref(), scene.ann));
        let unknown = VerifyTokenRequest { server_id, secret: "none".to_owned(), likely_account_id };
        assert_eq!(reason(scene.world.tokens.verify_token(unknown).await), "INVALID_TOKEN");
    }
    // A public app shows only the verifier.
    let code = scene.code().await;
    let public = ExchangeCodeRequest { client_secret: String::new(), ..scene.exchange(&code) };
    scene.world.tokens.exchange_code(public).await.unwrap();
    scene.world.close().await;
}

#[tokio::test]
async fn a_code_ends_with_the_password_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(dir.path(), config()).await;
    let (before, ann) = (scene.code().await, scene.ann);
    let reset = ResetPasswordRequest {
        context: Some(crate::world::by(scene.server, 0)),
        account_id: ann,
        new_password: "battery staple".to_owned(),
    };
    scene.world.credentials.reset_password(reset).await.unwrap();
    let request = scene.exchange(&before);
    assert_eq!(scene.refused(request).await, "INVALID_GRANT");
    let list = ListTokensRequest { options: Some(seen_by(scene.server, ann)) };
    assert!(scene.world.tokens.list_tokens(list.clone()).await.unwrap().into_inner().tokens.is_empty());
    let after = scene.code().await;
    let request = scene.exchange(&after);
    scene.world.tokens.exchange_code(request).await.unwrap();
    assert_eq!(scene.world.tokens.list_tokens(list).await.unwrap().into_inner().tokens.len(), 1);
    scene.world.close().await;
}

#[tokio::test]
async fn what_does_not_fit_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(dir.path(), config()).await;
    let code = scene.code().await;
    let good = scene.exchange(&code);
    let (other, other_secret) = scene.world.app(scene.server).await;
    let with = |change: &dyn Fn(&mut ExchangeCodeRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    for (request, expected) in [
        (with(&|r| r.redirect_uri.push('/')), "INVALID_GRANT"),
        (with(&|r| r.redirect_uri = r.redirect_uri.replace("cb", "cB")), "INVALID_GRANT"),
        (with(&|r| r.code_verifier = VERIFIER.replace('d', "e")), "INVALID_GRANT"),
        (with(&|r| r.code_verifier.clear()), "INVALID_GRANT"),
        (with(&|r| r.code.push('x')), "INVALID_GRANT"),
        (with(&|r| r.code.clear()), "INVALID_GRANT"),
        (with(&|r| r.code = "x".repeat(100_000)), "INVALID_GRANT"),
        (with(&|r| r.client_secret.push('x')), "INVALID_CLIENT"),
        (with(&|r| r.client_id = "nobody".to_owned()), "INVALID_CLIENT"),
        (with(&|r| r.client_id = "x".repeat(100_000)), "INVALID_CLIENT"),
        (
            with(&|r| {
                r.client_id = other.client_id.clone();
                r.client_secret = other_secret.clone();
            }),
            "INVALID_GRANT",
        ),
    ] {
        assert_eq!(scene.refused(request).await, expected);
    }
    // None of these used the code up.
    scene.world.tokens.exchange_code(good).await.unwrap();
    scene.world.close().await;
}

#[tokio::test]
async fn what_may_not_be_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(dir.path(), config()).await;
    let good = scene.asked();
    let with = |change: &dyn Fn(&mut AuthorizationAsked)| {
        let mut asked = good.clone();
        change(&mut asked);
        asked
    };
    for (asked, expected) in [
        (with(&|a| a.redirect_uri.push('x')), "INVALID_REDIRECT_URI"),
        (with(&|a| a.redirect_uri.clear()), "INVALID_REDIRECT_URI"),
        (with(&|a| a.client_id = "nobody".to_owned()), "INVALID_CLIENT"),
        (with(&|a| a.scopes = vec!["admin".to_owned()]), "INVALID_SCOPE"),
        (with(&|a| a.scopes = vec!["everything".to_owned()]), "INVALID_SCOPE"),
        (with(&|a| a.code_challenge_method = "plain".to_owned()), "INVALID_REQUEST"),
        (with(&|a| a.code_challenge = "short".to_owned()), "INVALID_REQUEST"),
    ] {
        assert_eq!(scene.code_for(asked).await, Err(expected.to_owned()));
    }
    // Without a challenge a secret is needed, and no verifier may be shown.
    let plain = with(&|a| {
        a.code_challenge.clear();
        a.code_challenge_method.clear();
    });
    let code = scene.code_for(plain).await.unwrap();
    let bare = ExchangeCodeRequest { code_verifier: String::new(), ..scene.exchange(&code) };
    let public = ExchangeCodeRequest { client_secret: String::new(), ..bare.clone() };
    assert_eq!(scene.refused(public).await, "INVALID_CLIENT");
    let downgraded = scene.exchange(&code);
    assert_eq!(scene.refused(downgraded).await, "INVALID_GRANT");
    scene.world.tokens.exchange_code(bare).await.unwrap();
    scene.world.close().await;
}

#[tokio::test]
async fn a_code_shown_twice_takes_its_token_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(dir.path(), config()).await;
    let code = scene.code().await;
    let request = scene.exchange(&code);
    let issued = scene.world.tokens.exchange_code(request.clone()).await.unwrap().into_inner().token.unwrap();
    assert!(scene.verify(scene.server, &issued.secret).await.is_ok());
    assert_eq!(scene.refused(request.clone()).await, "INVALID_GRANT");
    assert_eq!(scene.verify(scene.server, &issued.secret).await.unwrap_err(), "INVALID_TOKEN");
    assert_eq!(scene.refused(request).await, "INVALID_GRANT");
    scene.world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_shown_by_many_at_once_gives_nobody_a_token_that_lasts() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(dir.path(), config()).await;
    for _ in 0..10 {
        let code = scene.code().await;
        let shown = (0..8).map(|_| {
            let (mut tokens, request) = (scene.world.tokens.clone(), scene.exchange(&code));
            tokio::spawn(async move { tokens.exchange_code(request).await })
        });
        let shown = futures::future::join_all(shown).await;
        let issued: Vec<_> = shown.into_iter().filter_map(|answer| answer.unwrap().ok()).collect();
        assert!(issued.len() <= 1, "{}", issued.len());
        for token in issued {
            let secret = token.into_inner().token.unwrap().secret;
            assert_eq!(scene.verify(scene.server, &secret).await.unwrap_err(), "INVALID_TOKEN");
        }
    }
    let list = ListTokensRequest { options: Some(seen_by(scene.server, scene.ann)) };
    let left = scene.world.tokens.list_tokens(list).await.unwrap().into_inner().tokens;
    assert!(left.is_empty(), "{left:?}");
    scene.world.close().await;
}

#[tokio::test]
async fn a_code_lives_ten_minutes() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(dir.path(), config()).await;
    let code = scene.code().await;
    scene.world.clock.pass(Duration::from_secs(601));
    let request = scene.exchange(&code);
    assert_eq!(scene.refused(request).await, "INVALID_GRANT");
    scene.world.close().await;
}

#[tokio::test]
async fn nothing_of_one_server_counts_at_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(dir.path(), config()).await;
    let other = scene.world.server("b.example").await;
    let code = scene.code().await;
    let there = ExchangeCodeRequest { server_id: other, ..scene.exchange(&code) };
    assert_eq!(scene.refused(there).await, "INVALID_CLIENT");
    let request = scene.exchange(&code);
    let issued = scene.world.tokens.exchange_code(request).await.unwrap().into_inner().token.unwrap();
    assert_eq!(scene.verify(other, &issued.secret).await.unwrap_err(), "INVALID_TOKEN");
    let app = GetAppRequest { server_id: other, app: Some(get_app_request::App::Id(scene.app.id)) };
    assert_eq!(reason(scene.world.apps.get_app(app).await), "NOT_FOUND");
    // Nor does a member of one consent at another.
    let (app, _) = scene.world.app(other).await;
    let asked = AuthorizationAsked { client_id: app.client_id, ..scene.asked() };
    let consent = AuthorizeRequest { server_id: other, account_id: scene.ann, asked: Some(asked) };
    assert_eq!(reason(scene.world.tokens.authorize(consent).await), "ACTOR_NEEDED");
    assert!(scene.verify(scene.server, &issued.secret).await.is_ok());
    scene.world.close().await;
}

#[tokio::test]
async fn apps_get_tokens_of_their_own_and_passwords_only_if_that_is_switched_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(dir.path(), config()).await;
    let grant = |secret: &str, scopes: &[&str]| GrantClientCredentialsRequest {
        server_id: scene.server,
        client_id: scene.app.client_id.clone(),
        client_secret: secret.to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
    };
    let (wrong, much, good) =
        (grant("wrong", &[]), grant(&scene.secret, &["admin"]), grant(&scene.secret, &[]));
    assert_eq!(reason(scene.world.tokens.grant_client_credentials(wrong).await), "INVALID_CLIENT");
    assert_eq!(reason(scene.world.tokens.grant_client_credentials(much).await), "INVALID_SCOPE");
    let issued = scene.world.tokens.grant_client_credentials(good).await.unwrap().into_inner().token.unwrap();
    let verified = scene.verify(scene.server, &issued.secret).await.unwrap();
    assert!(verified.account.is_none() && verified.token.unwrap().scopes == ["read"]);
    let password = GrantPasswordRequest {
        server_id: scene.server,
        client_id: scene.app.client_id.clone(),
        client_secret: scene.secret.clone(),
        login: "ann@mail.example".to_owned(),
        password: "correct horse".to_owned(),
        scopes: Vec::new(),
    };
    let refused = scene.world.tokens.grant_password(password.clone()).await;
    assert_eq!(reason(refused), "UNSUPPORTED_GRANT_TYPE");
    scene.world.close().await;

    let dir = tempfile::tempdir().unwrap();
    let on = Config { password_grant: true, ..config() };
    let mut scene = Scene::open(dir.path(), on).await;
    let password = GrantPasswordRequest {
        server_id: scene.server,
        client_id: scene.app.client_id.clone(),
        client_secret: scene.secret.clone(),
        ..password
    };
    let wrong = GrantPasswordRequest { password: "wrong horse".to_owned(), ..password.clone() };
    assert_eq!(reason(scene.world.tokens.grant_password(wrong).await), "BAD_CREDENTIALS");
    scene.world.tokens.grant_password(password).await.unwrap();
    scene.world.close().await;
}

#[tokio::test]
async fn tokens_are_listed_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(dir.path(), config()).await;
    let issue = |secret: &str| IssueTokenRequest {
        server_id: scene.server,
        client_id: scene.app.client_id.clone(),
        account_id: scene.ann,
        scopes: Vec::new(),
        secret: secret.to_owned(),
    };
    let (short, chosen, random) = (issue("short"), issue("a-chosen-secret-of-mine"), issue(""));
    assert_eq!(reason(scene.world.tokens.issue_token(short).await), "BAD_SECRET");
    let issued = scene.world.tokens.issue_token(chosen.clone()).await.unwrap().into_inner().token.unwrap();
    assert_eq!(issued.secret, "a-chosen-secret-of-mine");
    assert_eq!(reason(scene.world.tokens.issue_token(chosen).await), "TOKEN_EXISTS");
    let second = scene.world.tokens.issue_token(random).await.unwrap().into_inner().token.unwrap();
    let list = ListTokensRequest { options: Some(seen_by(scene.server, scene.ann)) };
    let listed = scene.world.tokens.list_tokens(list.clone()).await.unwrap().into_inner();
    assert_eq!((listed.tokens.len(), listed.apps.len()), (2, 1));
    let (other, other_secret) = scene.world.app(scene.server).await;
    let revoke = |client_id: &str, client_secret: &str, secret: &str| RevokeTokenRequest {
        server_id: scene.server,
        client_id: client_id.to_owned(),
        client_secret: client_secret.to_owned(),
        secret: secret.to_owned(),
    };
    let foreign = revoke(&other.client_id, &other_secret, &issued.secret);
    assert_eq!(reason(scene.world.tokens.revoke_token(foreign).await), "UNAUTHORIZED_CLIENT");
    let own = revoke(&scene.app.client_id, &scene.secret, &issued.secret);
    for _ in 0..2 {
        scene.world.tokens.revoke_token(own.clone()).await.unwrap();
    }
    assert_eq!(scene.verify(scene.server, &issued.secret).await.unwrap_err(), "INVALID_TOKEN");
    let by_id = RevokeTokenByIdRequest {
        context: Some(crate::world::by(scene.server, scene.ann)),
        token_id: second.token.unwrap().id,
    };
    scene.world.tokens.revoke_token_by_id(by_id).await.unwrap();
    assert_eq!(scene.verify(scene.server, &second.secret).await.unwrap_err(), "INVALID_TOKEN");
    let left = scene.world.tokens.list_tokens(list).await.unwrap().into_inner();
    assert!(left.tokens.is_empty());
    scene.world.close().await;
}

#[tokio::test]
async fn one_token_too_many_ends_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(dir.path(), Config { most_tokens: 3, ..config() }).await;
    let ben = scene.world.member(scene.server, "ben").await;
    let (ann, server) = (scene.ann, scene.server);
    let issue = |account_id: u64| IssueTokenRequest {
        server_id: server,
        client_id: scene.app.client_id.clone(),
        account_id,
        ..Default::default()
    };
    let requests = [issue(ben), issue(ann), issue(ann), issue(ann), issue(ann), issue(ann)];
    let mut secrets = Vec::new();
    for request in requests {
        let token = scene.world.tokens.issue_token(request).await.unwrap().into_inner().token.unwrap();
        let made = token.token.unwrap().created_ms;
        secrets.push(token.secret);
        // Tokens of one millisecond have no order; the next one shall be younger.
        while scene.world.platform.clock.now().0 <= made {
            tokio::task::yield_now().await;
        }
    }
    let mut alive = Vec::new();
    for secret in &secrets {
        alive.push(scene.verify(server, secret).await.is_ok());
    }
    assert_eq!(alive, [true, false, false, true, true, true], "another's token is not touched");
    let list = ListTokensRequest { options: Some(seen_by(server, ann)) };
    assert_eq!(scene.world.tokens.list_tokens(list).await.unwrap().into_inner().tokens.len(), 3);
    // The same for an app that asks for itself.
    let ask = GrantClientCredentialsRequest {
        server_id: server,
        client_id: scene.app.client_id.clone(),
        client_secret: scene.secret.clone(),
        ..Default::default()
    };
    let mut secrets = Vec::new();
    for _ in 0..8 {
        let answer = scene.world.tokens.grant_client_credentials(ask.clone()).await.unwrap();
        secrets.push(answer.into_inner().token.unwrap().secret);
    }
    let mut alive = 0;
    for secret in &secrets {
        alive += usize::from(scene.verify(server, secret).await.is_ok());
    }
    assert_eq!(alive, 3);
    assert!(scene.verify(server, secrets.last().unwrap()).await.is_ok(), "the newest always lives");
    scene.world.close().await;
}

#[tokio::test]
async fn bad_apps_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(dir.path(), config()).await;
    let good = RegisterAppRequest {
        server_id: scene.server,
        name: "Tool".to_owned(),
        redirect_uris: vec!["urn:ietf:wg:oauth:2.0:oob".to_owned()],
        client_id: "chosen".to_owned(),
        client_secret: "a-chosen-client-secret".to_owned(),
        ..Default::default()
    };
    for (request, expected) in [
        (RegisterAppRequest { name: String::new(), ..good.clone() }, "BAD_APP_NAME"),
        (RegisterAppRequest { redirect_uris: vec![], ..good.clone() }, "BAD_REDIRECT_URI"),
        (
            RegisterAppRequest { redirect_uris: vec!["javascript:x".into()], ..good.clone() },
            "BAD_REDIRECT_URI",
        ),
        (RegisterAppRequest { scopes: vec!["x".into()], ..good.clone() }, "INVALID_SCOPE"),
        (RegisterAppRequest { website: "x".into(), ..good.clone() }, "BAD_WEBSITE"),
        (RegisterAppRequest { client_secret: "x".into(), ..good.clone() }, "BAD_SECRET"),
        (RegisterAppRequest { server_id: 7, ..good.clone() }, "NOT_FOUND"),
    ] {
        assert_eq!(reason(scene.world.apps.register_app(request).await), expected);
    }
    let made = scene.world.apps.register_app(good.clone()).await.unwrap().into_inner();
    assert_eq!(made.client_secret, "a-chosen-client-secret");
    assert_eq!(reason(scene.world.apps.register_app(good).await), "CLIENT_ID_TAKEN");
    let ids = vec![made.app.unwrap().id, 5, scene.app.id];
    let batch = BatchGetAppsRequest { server_id: scene.server, ids };
    assert_eq!(scene.world.apps.batch_get_apps(batch).await.unwrap().into_inner().apps.len(), 2);
    scene.world.close().await;
}
