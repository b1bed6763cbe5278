//! Signing up: under the server's policy, with names that have one owner, once per key.

use crate::world::{World, by, config, keyed, reason, seen_by};
use p92_kernel::ErrorCode;
use p92_proto::identity::v1::*;

#[tokio::test]
async fn who_signs_up_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let (app, _) = world.app(server).await;
    let mut request = world.sign_up_request(server, "Ann_Lee");
    request.context.as_mut().unwrap().app_id = app.id;
    request.locale = "de".to_owned();
    request.scopes = vec!["read".to_owned(), "write:statuses".to_owned()];
    let answer = world.accounts.sign_up(request).await.unwrap().into_inner();
    let account = answer.account.unwrap();
    assert_eq!((account.handle.as_str(), account.domain.as_str()), ("Ann_Lee", "a.example"));
    assert_eq!(
        (account.kind(), account.state(), account.role()),
        (AccountKind::Personal, AccountState::Active, Role::Member)
    );
    assert_eq!(account.preferences.clone().unwrap().locale, "de");
    let ids = account.activity_pub.clone().unwrap();
    assert_eq!(ids.id, format!("https://a.example/ap/users/{}", account.id));
    assert_eq!(ids.url, "https://a.example/@Ann_Lee");
    let secret = answer.token.unwrap().secret;
    let verify = VerifyTokenRequest { server_id: server, secret, ..Default::default() };
    let token = world.tokens.verify_token(verify).await.unwrap().into_inner();
    assert_eq!(token.account.unwrap().id, account.id);
    assert_eq!(token.token.unwrap().scopes, ["read", "write:statuses"]);
    for handle in ["ann_lee", "@ANN_LEE", "Ann_Lee@a.example", "@ann_lee@A.Example"] {
        assert_eq!(world.by_handle(server, handle).await.unwrap().id, account.id, "{handle}");
    }
    let seen = world.get(server, 0, account.id).await.unwrap();
    assert_eq!((seen.handle.as_str(), seen.preferences), ("Ann_Lee", None));
    world.close().await;
}

#[tokio::test]
async fn bad_sign_ups_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let good = world.sign_up_request(server, "ann");
    let with = |change: fn(&mut SignUpRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    for (request, expected) in [
        (with(|r| r.handle = String::new()), "HANDLE_NEEDED"),
        (with(|r| r.handle = "a b".to_owned()), "HANDLE_CHARACTERS"),
        (with(|r| r.handle = "\u{430}nn".to_owned()), "HANDLE_CHARACTERS"),
        (with(|r| r.handle = "a".repeat(31)), "HANDLE_TOO_LONG"),
        (with(|r| r.handle = "Admin".to_owned()), "HANDLE_RESERVED"),
        (with(|r| r.email = "nobody".to_owned()), "BAD_EMAIL"),
        (with(|r| r.password = "short".to_owned()), "PASSWORD_TOO_SHORT"),
        (with(|r| r.password = "x".repeat(1_000_000)), "PASSWORD_TOO_LONG"),
        (with(|r| r.agreement = false), "AGREEMENT_NEEDED"),
        (with(|r| r.locale = "not a tag".to_owned()), "BAD_LANGUAGE"),
        (with(|r| r.reason = "x".repeat(2_001)), "REASON_TOO_LONG"),
        (with(|r| r.context = Some(by(7, 0))), "NOT_FOUND"),
        (with(|r| r.context.as_mut().unwrap().idempotency_key = "x".repeat(256)), "IDEMPOTENCY_KEY_TOO_LONG"),
        (
            with(|r| r.context.as_mut().unwrap().idempotency_key = "\0".repeat(255)),
            "IDEMPOTENCY_KEY_UNPRINTABLE",
        ),
    ] {
        assert_eq!(reason(world.accounts.sign_up(request).await), expected);
    }
    world.accounts.sign_up(good).await.unwrap();
    world.close().await;
}

#[tokio::test]
async fn the_policy_decides_who_comes_in() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let closed = world.server_with("closed.example", RegistrationPolicy::Closed, None).await;
    let request = world.sign_up_request(closed, "ann");
    assert_eq!(reason(world.accounts.sign_up(request).await), "REGISTRATION_CLOSED");

    let approval = world.server_with("approval.example", RegistrationPolicy::Approval, None).await;
    let mut request = world.sign_up_request(approval, "ann");
    assert_eq!(reason(world.accounts.sign_up(request.clone()).await), "REASON_NEEDED");
    request.reason = "I like it.".to_owned();
    let account = world.accounts.sign_up(request).await.unwrap().into_inner().account.unwrap();
    assert_eq!(account.state(), AccountState::Pending);
    let id = account.id;
    assert_eq!(world.get(approval, 0, id).await.unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(world.get(approval, id, id).await.unwrap().state(), AccountState::Pending);
    let other = world.member(approval, "ben").await;
    let follow = FollowRequest { context: Some(by(approval, id)), account_id: other, ..Default::default() };
    assert_eq!(reason(world.relations.follow(follow).await), "ACCOUNT_PENDING");
    let options = Some(seen_by(approval, 0));
    let waiting =
        ListAccountsRequest { options, states: vec![AccountState::Pending as i32], ..Default::default() };
    let waiting = world.accounts.list_accounts(waiting).await.unwrap().into_inner().accounts;
    assert_eq!((waiting.len(), waiting[0].reason.as_str()), (1, "I like it."));
    assert_eq!(waiting[0].email, "ann@mail.example");
    let approve = ApproveAccountRequest { context: Some(by(approval, 0)), account_id: id };
    world.accounts.approve_account(approve).await.unwrap();
    assert_eq!(world.get(approval, 0, id).await.unwrap().state(), AccountState::Active);
    world.close().await;
}

#[tokio::test]
async fn an_address_is_confirmed_before_approval() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let policies = Some(ServerPolicies { confirm_email: true, ..Default::default() });
    let server = world.server_with("a.example", RegistrationPolicy::Approval, policies).await;
    let mut request = world.sign_up_request(server, "ann");
    request.reason = "Because.".to_owned();
    let account = world.accounts.sign_up(request).await.unwrap().into_inner().account.unwrap();
    assert_eq!(account.state(), AccountState::Unconfirmed);
    let approve = ApproveAccountRequest { context: Some(by(server, 0)), account_id: account.id };
    assert_eq!(reason(world.accounts.approve_account(approve.clone()).await), "NOT_PENDING");
    let confirm = ConfirmEmailRequest { context: Some(by(server, 0)), account_id: account.id };
    let confirmed = world.accounts.confirm_email(confirm).await.unwrap().into_inner().account.unwrap();
    assert_eq!(confirmed.state(), AccountState::Pending);
    let approved = world.accounts.approve_account(approve).await.unwrap().into_inner().account.unwrap();
    assert_eq!(approved.state(), AccountState::Active);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_that_want_a_handle_one_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let made = (0..100).map(|n| {
        let mut accounts = world.accounts.clone();
        let mut request = world.sign_up_request(server, if n % 2 == 0 { "Ann" } else { "aNN" });
        request.email = format!("{n}@mail.example");
        // With a key nobody is turned away early: the claim decides.
        request.context = Some(keyed(server, 0, &format!("key {n}")));
        tokio::spawn(async move { accounts.sign_up(request).await })
    });
    let made: Vec<_> = futures::future::join_all(made).await.into_iter().map(Result::unwrap).collect();
    let (won, lost): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for lost in lost {
        assert_eq!(reason(lost), "HANDLE_TAKEN");
    }
    let winner = won.into_iter().next().unwrap().unwrap().into_inner().account.unwrap();
    assert_eq!(world.by_handle(server, "ann").await.unwrap().id, winner.id);
    // The addresses of all but the winner are free again.
    let mut taken = 0;
    for n in 0..100 {
        let mut request = world.sign_up_request(server, &format!("carl{n}"));
        request.email = format!("{n}@mail.example");
        match world.accounts.sign_up(request).await {
            Ok(_) => {}
            refused => {
                assert_eq!(reason(refused), "EMAIL_TAKEN");
                taken += 1;
            }
        }
    }
    assert_eq!(taken, 1);
    world.close().await;
}

#[tokio::test]
async fn an_address_has_one_account_per_server() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let (a, b) = (world.server("a.example").await, world.server("b.example").await);
    let mut first = world.sign_up_request(a, "ann");
    first.email = "Ann@Mail.example".to_owned();
    world.accounts.sign_up(first.clone()).await.unwrap();
    let mut second = world.sign_up_request(a, "anna");
    second.email = "ann@mail.EXAMPLE".to_owned();
    assert_eq!(reason(world.accounts.sign_up(second.clone()).await), "EMAIL_TAKEN");
    // By the claim too, and then the handle is not lost with it.
    second.context = Some(keyed(a, 0, "k"));
    assert_eq!(reason(world.accounts.sign_up(second.clone()).await), "EMAIL_TAKEN");
    second.context = Some(by(a, 0));
    second.email = "anna@mail.example".to_owned();
    world.accounts.sign_up(second).await.unwrap();
    // Another server is another world.
    let mut same = first;
    same.context = Some(by(b, 0));
    let there = world.accounts.sign_up(same).await.unwrap().into_inner().account.unwrap();
    assert_eq!(world.by_handle(b, "ann").await.unwrap().id, there.id);
    assert_ne!(world.by_handle(a, "ann").await.unwrap().id, there.id);
    assert_eq!(world.by_handle(a, "ann@b.example").await.unwrap().id, there.id);
    world.close().await;
}

#[tokio::test]
async fn a_repeat_under_the_same_key_is_the_same_account() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let mut request = world.sign_up_request(server, "ann");
    request.context = Some(keyed(server, 0, "k1"));
    let first = world.accounts.sign_up(request.clone()).await.unwrap().into_inner();
    let second = world.accounts.sign_up(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.account, second.account);
    assert!(!first.receipt.unwrap().repeated && second.receipt.unwrap().repeated);
    // Not even the password may differ.
    let other = SignUpRequest { password: "another horse".to_owned(), ..request.clone() };
    assert_eq!(reason(world.accounts.sign_up(other).await), "IDEMPOTENCY_KEY_REUSED");
    // A refusal is repeated too, also when the name is free by then.
    let mut refused = world.sign_up_request(server, "ANN");
    refused.email = "second@mail.example".to_owned();
    refused.context = Some(keyed(server, 0, "k2"));
    assert_eq!(reason(world.accounts.sign_up(refused.clone()).await), "HANDLE_TAKEN");
    assert_eq!(reason(world.accounts.sign_up(refused).await), "HANDLE_TAKEN");
    world.close().await;
}

#[tokio::test]
async fn what_is_personal_stands_nowhere_in_the_open() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let mut request = world.sign_up_request(server, "canaryhandle");
    request.email = "canaryaddress@mail.example".to_owned();
    request.password = "canarypassword".to_owned();
    request.context = Some(keyed(server, 0, "k"));
    let account = world.accounts.sign_up(request).await.unwrap().into_inner().account.unwrap();
    let update = UpdateProfileRequest {
        context: Some(by(server, account.id)),
        update_mask: Some(prost_types::FieldMask { paths: vec!["display_name".into(), "fields".into()] }),
        account: Some(Account {
            display_name: "canaryname".to_owned(),
            fields: vec![ProfileField { name: "canaryfield".to_owned(), value: "v".to_owned() }],
            ..Default::default()
        }),
    };
    let updated = world.accounts.update_profile(update).await.unwrap().into_inner().account.unwrap();
    assert_eq!(updated.display_name, "canaryname");
    let session = CreateSessionRequest {
        server_id: server,
        login: "canaryhandle".to_owned(),
        password: "canarypassword".to_owned(),
        agent: "canaryagent".to_owned(),
    };
    let session = world.credentials.create_session(session).await.unwrap().into_inner();
    for canary in [
        "canaryhandle",
        "canaryaddress",
        "canarypassword",
        "canaryname",
        "canaryfield",
        "canaryagent",
        &session.secret,
    ] {
        assert!(!world.stands_in_store(canary).await, "{canary}");
    }
    assert!(world.stands_in_store("a.example").await, "what is looked for would be found");
    world.close().await;
}
