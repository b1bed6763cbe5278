//! Passwords and sessions.

use crate::world::{World, by, config, reason, seen_by};
use p92_identity::Config;
use p92_identity::config::Hashing;
use p92_identity::state::State;
use p92_identity::tables;
use p92_proto::identity::v1::*;
use prost::Message as _;
use std::time::Duration;

fn login(server: u64, login: &str, password: &str) -> CreateSessionRequest {
    CreateSessionRequest {
        server_id: server,
        login: login.to_owned(),
        password: password.to_owned(),
        agent: "Browser".to_owned(),
    }
}

async fn verified(world: &mut World, server: u64, secret: &str) -> Result<u64, String> {
    let request = VerifySessionRequest { server_id: server, secret: secret.to_owned() };
    match world.credentials.verify_session(request).await {
        Ok(answer) => Ok(answer.into_inner().account.unwrap().id),
        Err(status) => Err(crate::world::failure(status).reason.into_owned()),
    }
}

#[tokio::test]
async fn people_sign_in_by_address_or_handle() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let (server, other) = (world.server("a.example").await, world.server("b.example").await);
    let ann = world.member(server, "ann").await;
    for name in ["ann", "@Ann", "ANN@mail.example", " ann@mail.example "] {
        let answer = world.credentials.create_session(login(server, name, "correct horse")).await;
        let answer = answer.unwrap().into_inner();
        assert_eq!(answer.session.unwrap().account_id, ann, "{name}");
        assert_eq!(verified(&mut world, server, &answer.secret).await, Ok(ann));
        assert_eq!(verified(&mut world, other, &answer.secret).await, Err("NO_SESSION".to_owned()));
    }
    for (server, name, password) in [
        (server, "ann", "wrong horse"),
        (server, "nobody", "correct horse"),
        (server, "nobody@mail.example", "correct horse"),
        (server, "", ""),
        (server, &"x".repeat(10_000), "correct horse"),
        (server, "ann", &"x".repeat(1_000_000)),
        (other, "ann", "correct horse"),
    ] {
        let answer = world.credentials.create_session(login(server, name, password)).await;
        assert_eq!(reason(answer), "BAD_CREDENTIALS");
    }
    assert_eq!(verified(&mut world, server, "").await, Err("NO_SESSION".to_owned()));
    assert_eq!(verified(&mut world, server, &"x".repeat(100_000)).await, Err("NO_SESSION".to_owned()));
    world.close().await;
}

#[tokio::test]
async fn sessions_end_by_hand_and_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let (ann, ben) = (world.member(server, "ann").await, world.member(server, "ben").await);
    let mut secrets = Vec::new();
    for _ in 0..2 {
        let answer = world.credentials.create_session(login(server, "ann", "correct horse")).await;
        secrets.push(answer.unwrap().into_inner().secret);
    }
    let list = ListSessionsRequest { options: Some(seen_by(server, ann)) };
    let sessions = world.credentials.list_sessions(list.clone()).await.unwrap().into_inner().sessions;
    assert_eq!((sessions.len(), sessions[0].agent.as_str()), (2, "Browser"));
    let revoke =
        |actor: u64, id: u64| RevokeSessionRequest { context: Some(by(server, actor)), session_id: id };
    // Nobody ends another's session.
    for session in &sessions {
        world.credentials.revoke_session(revoke(ben, session.id)).await.unwrap();
    }
    assert_eq!(verified(&mut world, server, &secrets[0]).await, Ok(ann));
    world.credentials.revoke_session(revoke(ann, sessions[0].id)).await.unwrap();
    let left = world.credentials.list_sessions(list).await.unwrap().into_inner().sessions;
    assert_eq!(left.len(), 1);
    let mut alive = Vec::new();
    for secret in &secrets {
        alive.extend(verified(&mut world, server, secret).await);
    }
    assert_eq!(alive, [ann]);
    world.clock.pass(Duration::from_secs(91 * 24 * 3_600));
    for secret in &secrets {
        assert!(verified(&mut world, server, secret).await.is_err());
    }
    world.close().await;
}

#[tokio::test]
async fn a_new_password_ends_what_the_old_one_opened() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let ann = world.member(server, "ann").await;
    let (app, _) = world.app(server).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let answer = world.credentials.create_session(login(server, "ann", "correct horse")).await;
        let answer = answer.unwrap().into_inner();
        sessions.push((answer.session.unwrap().id, answer.secret));
    }
    let issue = IssueTokenRequest {
        server_id: server,
        client_id: app.client_id,
        account_id: ann,
        ..Default::default()
    };
    let token = world.tokens.issue_token(issue).await.unwrap().into_inner().token.unwrap().secret;
    let change = |current: &str, new: &str| ChangePasswordRequest {
        context: Some(by(server, ann)),
        current_password: current.to_owned(),
        new_password: new.to_owned(),
        keep_session_id: sessions[1].0,
    };
    let wrong = world.credentials.change_password(change("wrong horse", "battery staple")).await;
    assert_eq!(reason(wrong), "WRONG_PASSWORD");
    let short = world.credentials.change_password(change("correct horse", "short")).await;
    assert_eq!(reason(short), "PASSWORD_TOO_SHORT");
    assert!(verified(&mut world, server, &sessions[0].1).await.is_ok());
    world.credentials.change_password(change("correct horse", "battery staple")).await.unwrap();
    assert!(verified(&mut world, server, &sessions[0].1).await.is_err());
    assert!(verified(&mut world, server, &sessions[1].1).await.is_ok(), "the one that was kept");
    assert!(verified(&mut world, server, &sessions[2].1).await.is_err());
    let verify = VerifyTokenRequest { server_id: server, secret: token, ..Default::default() };
    assert_eq!(reason(world.tokens.verify_token(verify).await), "INVALID_TOKEN");
    let old = world.credentials.create_session(login(server, "ann", "correct horse")).await;
    assert_eq!(reason(old), "BAD_CREDENTIALS");
    world.credentials.create_session(login(server, "ann", "battery staple")).await.unwrap();

    let reset = |actor: u64| ResetPasswordRequest {
        context: Some(by(server, actor)),
        account_id: ann,
        new_password: "third password".to_owned(),
    };
    let ben = world.member(server, "ben").await;
    assert_eq!(reason(world.credentials.reset_password(reset(ben)).await), "ROLE_NEEDED");
    world.credentials.reset_password(reset(0)).await.unwrap();
    assert!(verified(&mut world, server, &sessions[1].1).await.is_err());
    world.credentials.create_session(login(server, "ann", "third password")).await.unwrap();
    world.close().await;
}

/// A sign-in reads which password is in force, and then takes its time to compare.
#[tokio::test]
async fn a_sign_in_beside_a_new_password_opens_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let hashing = Hashing { memory_kib: 4_096, passes: 1, at_once: 1, waiting: 200 };
    let mut world =
        World::open(dir.path(), Config { hashing, password_grant: true, ..Config::default() }).await;
    let server = world.server("a.example").await;
    let ann = world.member(server, "ann").await;
    let (app, client_secret) = world.app(server).await;
    let words = |n: u32| if n == 0 { "correct horse".to_owned() } else { format!("password {n}") };
    for n in 0..3 {
        let reset = ResetPasswordRequest {
            context: Some(by(server, 0)),
            account_id: ann,
            new_password: words(n + 1),
        };
        let grant = GrantPasswordRequest {
            server_id: server,
            client_id: app.client_id.clone(),
            client_secret: client_secret.clone(),
            login: "ann".to_owned(),
            password: words(n),
            ..Default::default()
        };
        let sessions = (0..10).map(|_| {
            let mut credentials = world.credentials.clone();
            async move { credentials.create_session(login(server, "ann", &words(n))).await }
        });
        let tokens = (0..10).map(|_| {
            let (mut tokens, grant) = (world.tokens.clone(), grant.clone());
            async move { tokens.grant_password(grant).await }
        });
        let mut credentials = world.credentials.clone();
        let (done, sessions, tokens) = futures::join!(
            credentials.reset_password(reset),
            futures::future::join_all(sessions),
            futures::future::join_all(tokens)
        );
        done.unwrap();
        for answer in sessions {
            match answer {
                Ok(made) => {
                    let secret = made.into_inner().secret;
                    assert!(
                        verified(&mut world, server, &secret).await.is_err(),
                        "the old password's session"
                    );
                }
                refused => assert_eq!(reason(refused), "BAD_CREDENTIALS"),
            }
        }
        for answer in tokens {
            match answer {
                Ok(made) => {
                    let secret = made.into_inner().token.unwrap().secret;
                    let verify = VerifyTokenRequest { server_id: server, secret, ..Default::default() };
                    assert_eq!(reason(world.tokens.verify_token(verify).await), "INVALID_TOKEN");
                }
                refused => assert_eq!(reason(refused), "BAD_CREDENTIALS"),
            }
        }
        world.credentials.create_session(login(server, "ann", &words(n + 1))).await.unwrap();
    }
    world.close().await;
}

/// The hashes that are kept for an account, and where.
async fn hashes(world: &World, account: u64) -> Vec<(bytes::Bytes, String)> {
    let scan = p92_storage::Scan {
        table: tables::CREDENTIALS.only(),
        partition: tables::id(account),
        range: p92_storage::Range::all(),
        direction: p92_storage::Direction::Forward,
        limit: 10,
        after: None,
    };
    let rows = world.platform.engine.scan(&scan).await.unwrap().rows;
    let read = |row: p92_storage::Row| CredentialRow::decode(row.value).unwrap().password_hash;
    rows.into_iter().map(|(clustering, row)| (clustering, read(row))).collect()
}

/// What an owner leaves whose append is refused: the row is written, the event that would name it is not.
#[tokio::test]
async fn a_password_that_no_event_names_lets_nobody_in() {
    let dir = tempfile::tempdir().unwrap();
    let often = Config { sweep_every: p92_chassis::HumanDuration::secs(1), ..config() };
    let mut world = World::open(dir.path(), often).await;
    let server = world.server("a.example").await;
    let ann = world.member(server, "ann").await;
    let old = hashes(&world, ann).await;
    assert_eq!(old.len(), 1);
    let reset = ResetPasswordRequest {
        context: Some(by(server, 0)),
        account_id: ann,
        new_password: "battery staple".to_owned(),
    };
    world.credentials.reset_password(reset).await.unwrap();
    let left = State::set_password(ann, 4_711, old[0].1.clone(), u64::MAX >> 22);
    world.platform.engine.write(vec![left]).await.unwrap();
    let kept = hashes(&world, ann).await;
    assert_eq!(kept.len(), 3, "a backup may still need the old one");
    let refused = world.credentials.create_session(login(server, "ann", "correct horse")).await;
    assert_eq!(reason(refused), "BAD_CREDENTIALS");
    world.credentials.create_session(login(server, "ann", "battery staple")).await.unwrap();

    // Days later all but the one that is in force are thrown away.
    for (clustering, password_hash) in kept {
        let value = CredentialRow { password_hash, changed_ms: 1 }.encode_to_vec().into();
        let key = p92_storage::RowKey::new(tables::CREDENTIALS.only(), tables::id(ann), clustering);
        world.platform.engine.write(vec![p92_storage::Write { key, value: Some(value) }]).await.unwrap();
    }
    let swept = async {
        while hashes(&world, ann).await.len() > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), swept).await.expect("they are swept");
    world.credentials.create_session(login(server, "ann", "battery staple")).await.unwrap();
    let left = State::set_password(ann, 4_711, old[0].1.clone(), 1);
    world.platform.engine.write(vec![left]).await.unwrap();
    let erase = EraseAccountRequest { context: Some(by(0, 0)), account_id: ann, ..Default::default() };
    world.accounts.erase_account(erase).await.unwrap();
    assert!(hashes(&world, ann).await.is_empty(), "also what was left");
    world.close().await;
}

#[tokio::test]
async fn the_suspended_hear_why_only_with_the_right_password() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let ann = world.member(server, "ann").await;
    let secret = world.credentials.create_session(login(server, "ann", "correct horse")).await;
    let secret = secret.unwrap().into_inner().secret;
    let suspend = SuspendAccountRequest { context: Some(by(server, 0)), account_id: ann };
    world.accounts.suspend_account(suspend).await.unwrap();
    let right = world.credentials.create_session(login(server, "ann", "correct horse")).await;
    assert_eq!(reason(right), "ACCOUNT_SUSPENDED");
    let wrong = world.credentials.create_session(login(server, "ann", "wrong horse")).await;
    assert_eq!(reason(wrong), "BAD_CREDENTIALS");
    assert_eq!(verified(&mut world, server, &secret).await, Err("ACCOUNT_SUSPENDED".to_owned()));
    let restore = RestoreAccountRequest { context: Some(by(server, 0)), account_id: ann };
    world.accounts.restore_account(restore).await.unwrap();
    assert_eq!(verified(&mut world, server, &secret).await, Ok(ann));
    world.close().await;
}
