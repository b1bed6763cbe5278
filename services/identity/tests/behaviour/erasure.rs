//! Erasure: what was personal cannot be read any more, the handle is never given again, and nobody follows nobody.

use crate::world::{World, by, config, reason, seen_by};
use p92_kernel::{AccountId, ErrorCode, Service};
use p92_proto::identity::v1::*;

#[tokio::test]
async fn the_erased_are_gone_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let ann = world.member_with(server, "ann", |request| request.display_name = "Ann".to_owned()).await;
    let ben = world.member(server, "ben").await;
    world.follow(server, ann, ben).await;
    world.follow(server, ben, ann).await;
    let (app, _) = world.app(server).await;
    let issue = IssueTokenRequest {
        server_id: server,
        client_id: app.client_id,
        account_id: ann,
        ..Default::default()
    };
    let token = world.tokens.issue_token(issue).await.unwrap().into_inner().token.unwrap().secret;
    let erase = |actor: u64, password: &str| EraseAccountRequest {
        context: Some(by(server, actor)),
        account_id: ann,
        password: password.to_owned(),
    };
    assert_eq!(reason(world.accounts.erase_account(erase(ann, "wrong horse")).await), "WRONG_PASSWORD");
    assert_eq!(reason(world.accounts.erase_account(erase(ben, "")).await), "ROLE_NEEDED");
    world.accounts.erase_account(erase(ann, "correct horse")).await.unwrap();

    assert_eq!(world.get(server, ben, ann).await.unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(world.by_handle(server, "ann").await.unwrap_err().code, ErrorCode::NotFound);
    let verify = VerifyTokenRequest { server_id: server, secret: token, ..Default::default() };
    assert_eq!(reason(world.tokens.verify_token(verify).await), "INVALID_TOKEN");
    let login = |login: &str| CheckPasswordRequest {
        server_id: server,
        login: login.to_owned(),
        password: "correct horse".to_owned(),
    };
    for name in ["ann", "ann@mail.example"] {
        assert_eq!(reason(world.credentials.check_password(login(name)).await), "BAD_CREDENTIALS");
    }
    // The handle is never given again, the address is free.
    let mut again = world.sign_up_request(server, "ANN");
    again.email = "new@mail.example".to_owned();
    assert_eq!(reason(world.accounts.sign_up(again).await), "HANDLE_TAKEN");
    let mut other = world.sign_up_request(server, "anna");
    other.email = "ann@mail.example".to_owned();
    world.accounts.sign_up(other).await.unwrap();

    // A second time, and by the operator, it is the same.
    let repeated = world.accounts.erase_account(erase(0, "")).await.unwrap().into_inner();
    assert!(repeated.receipt.unwrap().positions.is_empty());
    world.close().await;
}

#[tokio::test]
async fn what_was_sealed_cannot_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let ann = world.member(server, "ann").await;
    // Every sealed field that her stream ever said.
    let stream = p92_eventlog::Stream::new("account", ann);
    let created = read_created(&world, ann).await;
    let keyring = world.platform.keyring.clone();
    let handle = keyring.open(Service::Identity, created.handle.as_ref().unwrap()).await.unwrap();
    assert_eq!(handle.unwrap().as_ref(), b"ann");
    let erase = EraseAccountRequest { context: Some(by(0, 0)), account_id: ann, ..Default::default() };
    world.accounts.erase_account(erase).await.unwrap();
    for sealed in [created.handle, created.email, created.activity_pub] {
        assert_eq!(keyring.open(Service::Identity, &sealed.unwrap()).await.unwrap(), None);
    }
    let id = AccountId::new(ann).unwrap();
    assert!(keyring.key_to_seal(Service::Identity, id, &stream).await.is_err(), "nobody gets another key");
    world.close().await;
}

async fn read_created(world: &World, account: u64) -> AccountCreated {
    let shard = AccountId::new(account).unwrap().shard();
    let log = p92_storage::LogKey { service: Service::Identity, shard };
    let groups =
        p92_eventlog::owner::read_groups(&world.platform, log, p92_kernel::Seq(0), None).await.unwrap();
    let created = groups.iter().flat_map(|group| &group.events).find_map(|event| {
        let created = event.decode::<AccountCreated>().ok()?;
        (created.account_id == account).then_some(created)
    });
    created.unwrap()
}

#[tokio::test]
async fn follows_blocks_and_mutes_end_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let ann = world.member(server, "ann").await;
    let mut others = Vec::new();
    for n in 0..20 {
        let other = world.member(server, &format!("other{n}")).await;
        match n % 4 {
            0 => drop(world.follow(server, other, ann).await),
            1 => drop(world.follow(server, ann, other).await),
            2 => {
                let block =
                    BlockRequest { context: Some(by(server, other)), account_id: ann, ..Default::default() };
                world.relations.block(block).await.unwrap();
            }
            _ => {
                let mute =
                    MuteRequest { context: Some(by(server, other)), account_id: ann, ..Default::default() };
                world.relations.mute(mute).await.unwrap();
            }
        }
        others.push(other);
    }
    let erase = EraseAccountRequest { context: Some(by(0, 0)), account_id: ann, ..Default::default() };
    world.accounts.erase_account(erase).await.unwrap();
    // The reader of the event ends them; each answer shows how far it is.
    let edges = |direction: FollowDirection| ListFollowEdgesRequest {
        account_id: ann,
        direction: direction as i32,
        ..Default::default()
    };
    let restrictions = ListRestrictionsRequest { account_id: ann, ..Default::default() };
    loop {
        let mut left = 0;
        for direction in [FollowDirection::Followers, FollowDirection::Following] {
            left +=
                world.relations.list_follow_edges(edges(direction)).await.unwrap().into_inner().edges.len();
        }
        let against = world.relations.list_restrictions(restrictions.clone()).await.unwrap().into_inner();
        for other in &others {
            let stands = world.relationship(server, *other, ann).await;
            left += usize::from(stands.muting || stands.blocking);
        }
        if left + against.restrictions.len() == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(world.counts(ann).await, (0, 0, 0));
    for other in others {
        assert_eq!(world.counts(other).await, (0, 0, 0));
    }
    world.close().await;
}

/// Waits until nobody follows an account, nor it anybody.
async fn until_alone(world: &mut World, account: u64) {
    let alone = async {
        loop {
            let mut left = 0;
            for direction in [FollowDirection::Followers, FollowDirection::Following] {
                let request = ListFollowEdgesRequest {
                    account_id: account,
                    direction: direction as i32,
                    ..Default::default()
                };
                left += world.relations.list_follow_edges(request).await.unwrap().into_inner().edges.len();
            }
            if left == 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), alone).await.expect("an edge is left behind");
}

/// A follow that was decided on what an account was before its erasure, and is appended after everything that the
/// erasure clears was cleared.
#[tokio::test]
async fn a_follow_appended_behind_an_erasure_leaves_no_edge() {
    use futures::FutureExt as _;
    use p92_eventlog::{CommandMeta, Stream};
    use p92_identity::domain::Relationship;
    use p92_identity::domain::account::State;
    use p92_identity::domain::relationship::{Command, Context, Pair, Party};
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let (ann, ben) = (world.member(server, "ann").await, world.member(server, "ben").await);
    let erase = EraseAccountRequest { context: Some(by(0, 0)), account_id: ann, ..Default::default() };
    let erased = world.accounts.erase_account(erase).await.unwrap().into_inner();
    for position in erased.receipt.unwrap().positions {
        let log = p92_storage::LogKey {
            service: Service::Identity,
            shard: p92_kernel::Shard(position.shard as u16),
        };
        let mark = p92_eventlog::progress::Mark::reader(&"identity.clearing".into(), log);
        world.platform.progress.wait(&mark, p92_kernel::Seq(position.seq)).await;
    }
    for pair in [Pair { from: ben, to: ann }, Pair { from: ann, to: ben }] {
        let (low, high) = pair.ordered();
        let shard = world.platform.shards.of_parts(&[&low.to_be_bytes(), &high.to_be_bytes()]);
        let stream = Stream::new("relationship", format_args!("{low}-{high}"));
        let followed = world.identity.runtime().execute(
            shard,
            CommandMeta::internal(server, String::new()),
            move |round| {
                let stream = stream.clone();
                async move {
                    let alive = Party { home: server, state: State::Active, locked: false };
                    let (now, new_id) = (round.now(), round.next_id().get());
                    let context = Context { now, new_id, from: alive, to: alive, full: false };
                    let follow = Command::Follow {
                        show_boosts: None,
                        notify: None,
                        languages: None,
                        activity_id: None,
                    };
                    let loaded = round.load::<Relationship>(&stream).await?;
                    let events = loaded.state.decide(pair, follow, &context)?;
                    assert_eq!(events.len(), 1);
                    round.emit::<Relationship>(&stream, &events).await
                }
                .boxed()
            },
        );
        followed.await.unwrap();
        until_alone(&mut world, ann).await;
        assert_eq!((world.counts(ann).await, world.counts(ben).await), ((0, 0, 0), (0, 0, 0)));
    }
    world.close().await;
}

/// Whatever order the shards make of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follows_beside_an_erasure_leave_no_edge() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let ann = world.member(server, "ann").await;
    let mut others = Vec::new();
    for n in 0..30 {
        others.push(world.member(server, &format!("other{n}")).await);
    }
    let follows = others.iter().map(|other| {
        let mut relations = world.relations.clone();
        let request =
            FollowRequest { context: Some(by(server, *other)), account_id: ann, ..Default::default() };
        tokio::spawn(async move { relations.follow(request).await.is_ok() })
    });
    let follows: Vec<_> = follows.collect();
    let erase = EraseAccountRequest { context: Some(by(0, 0)), account_id: ann, ..Default::default() };
    world.accounts.erase_account(erase).await.unwrap();
    for follow in follows {
        // Done or refused; both may be.
        let _done = follow.await.unwrap();
    }
    until_alone(&mut world, ann).await;
    for other in others {
        assert_eq!(world.counts(other).await, (0, 0, 0));
    }
    world.close().await;
}

#[tokio::test]
async fn erased_members_are_listed_only_if_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let ann = world.member(server, "ann").await;
    let erase = EraseAccountRequest { context: Some(by(server, 0)), account_id: ann, ..Default::default() };
    world.accounts.erase_account(erase).await.unwrap();
    let list = |states: Vec<i32>| ListAccountsRequest {
        options: Some(seen_by(server, 0)),
        states,
        ..Default::default()
    };
    assert!(world.accounts.list_accounts(list(vec![])).await.unwrap().into_inner().accounts.is_empty());
    let erased = list(vec![AccountState::Erased as i32]);
    let found = world.accounts.list_accounts(erased).await.unwrap().into_inner().accounts;
    let account = found[0].account.clone().unwrap();
    assert_eq!((account.id, account.handle.as_str(), found[0].email.as_str()), (ann, "", ""));
    world.close().await;
}
