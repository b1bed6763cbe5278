//! What is done to accounts by those who run a server.

use crate::world::{World, by, config, failure, reason, seen_by};
use p92_kernel::ErrorCode;
use p92_proto::identity::v1::*;

async fn suspend(world: &mut World, server: u64, actor: u64, id: u64) -> Result<(), String> {
    let request = SuspendAccountRequest { context: Some(by(server, actor)), account_id: id };
    let answer = world.accounts.suspend_account(request).await;
    answer.map(|_| ()).map_err(|status| failure(status).reason.into_owned())
}

#[tokio::test]
async fn roles_decide_who_acts_on_whom() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let (a, b) = (world.server("a.example").await, world.server("b.example").await);
    let moderator = world.member_with(a, "mod", |request| request.role = Role::Moderator as i32).await;
    let admin = world.member_with(a, "adm", |request| request.role = Role::Admin as i32).await;
    let (ann, ben) = (world.member(a, "ann").await, world.member(b, "ben").await);
    assert_eq!(suspend(&mut world, a, ann, moderator).await, Err("ROLE_NEEDED".to_owned()));
    assert_eq!(suspend(&mut world, a, moderator, admin).await, Err("NOT_BENEATH".to_owned()));
    assert_eq!(suspend(&mut world, b, moderator, ben).await, Err("ROLE_NEEDED".to_owned()));
    assert_eq!(suspend(&mut world, 0, moderator, ann).await, Err("ROLE_NEEDED".to_owned()));
    assert_eq!(suspend(&mut world, a, moderator, 7).await, Err("NOT_FOUND".to_owned()));
    assert_eq!(suspend(&mut world, a, moderator, ann).await, Ok(()));
    let role = |actor: u64, id: u64, role: Role| SetRoleRequest {
        context: Some(by(a, actor)),
        account_id: id,
        role: role as i32,
    };
    assert_eq!(reason(world.accounts.set_role(role(admin, ann, Role::Owner)).await), "ROLE_NEEDED");
    let made = world.accounts.set_role(role(admin, ann, Role::Moderator)).await.unwrap().into_inner();
    assert_eq!(made.account.unwrap().role(), Role::Moderator);
    let elsewhere = world.accounts.set_role(role(admin, ben, Role::Moderator)).await;
    assert_eq!(reason(elsewhere), "NOT_A_MEMBER");
    let kind = |actor: u64, id: u64, kind: AccountKind| SetKindRequest {
        context: Some(by(a, actor)),
        account_id: id,
        kind: kind as i32,
    };
    assert_eq!(
        reason(world.accounts.set_kind(kind(admin, admin, AccountKind::Creator)).await),
        "NOT_BENEATH"
    );
    let creator = world.accounts.set_kind(kind(admin, moderator, AccountKind::Creator)).await.unwrap();
    assert_eq!(creator.into_inner().account.unwrap().kind(), AccountKind::Creator);
    assert_eq!(reason(world.accounts.set_kind(kind(0, ann, AccountKind::Unspecified)).await), "KIND_NEEDED");
    world.close().await;
}

#[tokio::test]
async fn members_are_counted_as_they_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let a = world.server("a.example").await;
    let b = world.server_with("b.example", RegistrationPolicy::Approval, None).await;
    async fn counted(world: &mut World, server: u64) -> u64 {
        let request = CountMembersRequest { options: Some(seen_by(server, 0)) };
        let counted = world.servers.count_members(request).await.unwrap().into_inner().members;
        // What a walk through all of them gives.
        let states = vec![AccountState::Active as i32, AccountState::Limited as i32];
        let list = ListAccountsRequest { options: Some(seen_by(server, 0)), states, ..Default::default() };
        let listed = world.accounts.list_accounts(list).await.unwrap().into_inner().accounts;
        assert_eq!(counted, listed.len() as u64);
        counted
    }
    assert_eq!(counted(&mut world, a).await, 0);
    let (ann, ben) = (world.member(a, "ann").await, world.member(a, "ben").await);
    assert_eq!(counted(&mut world, a).await, 2);
    let request = SignUpRequest { reason: "cats".to_owned(), ..world.sign_up_request(b, "eve") };
    let eve = world.accounts.sign_up(request).await.unwrap().into_inner().account.unwrap().id;
    assert_eq!((counted(&mut world, a).await, counted(&mut world, b).await), (2, 0), "she waits");
    let approve = ApproveAccountRequest { context: Some(by(b, 0)), account_id: eve };
    world.accounts.approve_account(approve).await.unwrap();
    assert_eq!(counted(&mut world, b).await, 1);
    let limit = LimitAccountRequest { context: Some(by(a, 0)), account_id: ann };
    world.accounts.limit_account(limit).await.unwrap();
    assert_eq!(counted(&mut world, a).await, 2, "the limited are members");
    // By its home, by the installation, twice; another server's word says nothing.
    suspend(&mut world, b, 0, ann).await.unwrap();
    assert_eq!(counted(&mut world, a).await, 2);
    suspend(&mut world, a, 0, ann).await.unwrap();
    suspend(&mut world, 0, 0, ann).await.unwrap();
    assert_eq!(counted(&mut world, a).await, 1);
    let restore = |scope: u64| RestoreAccountRequest { context: Some(by(scope, 0)), account_id: ann };
    world.accounts.restore_account(restore(a)).await.unwrap();
    assert_eq!(counted(&mut world, a).await, 1, "the installation's word still holds");
    world.accounts.restore_account(restore(0)).await.unwrap();
    assert_eq!(counted(&mut world, a).await, 2);
    for account_id in [ben, ann] {
        let erase = EraseAccountRequest { context: Some(by(0, 0)), account_id, ..Default::default() };
        world.accounts.erase_account(erase).await.unwrap();
    }
    assert_eq!((counted(&mut world, a).await, counted(&mut world, b).await), (0, 1));
    world.close().await;
}

#[tokio::test]
async fn the_suspended_are_not_there_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let (ann, ben) = (world.member(server, "ann").await, world.member(server, "ben").await);
    world.follow(server, ann, ben).await;
    suspend(&mut world, server, 0, ann).await.unwrap();
    assert_eq!(world.get(server, ben, ann).await.unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(world.by_handle(server, "ann").await.unwrap_err().code, ErrorCode::NotFound);
    let list = ListFollowersRequest { options: Some(seen_by(server, ben)), account_id: ben, window: None };
    assert!(world.relations.list_followers(list.clone()).await.unwrap().into_inner().edges.is_empty());
    // Services still see what it is.
    let facts = BatchGetAccountFactsRequest { options: Some(seen_by(server, 0)), ids: vec![ann] };
    let facts = world.accounts.batch_get_account_facts(facts).await.unwrap().into_inner().accounts;
    assert_eq!(facts[0].state(), AccountState::Suspended);
    let restore = RestoreAccountRequest { context: Some(by(server, 0)), account_id: ann };
    world.accounts.restore_account(restore).await.unwrap();
    assert_eq!(world.get(server, ben, ann).await.unwrap().state(), AccountState::Active);
    assert_eq!(world.relations.list_followers(list).await.unwrap().into_inner().edges.len(), 1);
    world.close().await;
}

#[tokio::test]
async fn who_acts_is_told_with_its_home_and_nobody_while_suspended() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let ann = world.member(server, "ann").await;
    let acts = |viewer| GetActorRequest { options: Some(seen_by(server, viewer)) };
    let told = world.accounts.get_actor(acts(ann)).await.unwrap().into_inner();
    let seen = world.get(server, ann, ann).await.unwrap();
    let facts = told.facts.unwrap();
    assert_eq!((facts.id, facts.server_id, facts.state()), (ann, server, AccountState::Active));
    assert_eq!((told.activity_pub, told.preferences), (seen.activity_pub, seen.preferences));
    assert_eq!(told.home.unwrap().domain, "a.example");
    suspend(&mut world, server, 0, ann).await.unwrap();
    for nobody in [ann, 0] {
        let refused = world.accounts.get_actor(acts(nobody)).await.unwrap_err();
        assert_eq!(failure(refused).code, ErrorCode::NotFound);
    }
    world.close().await;
}

#[tokio::test]
async fn a_servers_word_holds_for_its_own_people() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let (a, b) = (world.server("a.example").await, world.server("b.example").await);
    let (ann, ben) = (world.member(a, "ann").await, world.member(b, "ben").await);
    let moderator = world.member_with(b, "mod", |request| request.role = Role::Moderator as i32).await;
    suspend(&mut world, b, moderator, ann).await.unwrap();
    assert_eq!(world.get(b, ben, ann).await.unwrap_err().code, ErrorCode::NotFound);
    assert!(world.get(a, 0, ann).await.is_ok());
    // She cannot reach those to whom she does not exist.
    let follow = FollowRequest { context: Some(by(a, ann)), account_id: ben, ..Default::default() };
    assert_eq!(reason(world.relations.follow(follow).await), "ACCOUNT_CANNOT_ACT");
    suspend(&mut world, 0, 0, ben).await.unwrap();
    assert_eq!(world.get(a, ann, ben).await.unwrap_err().code, ErrorCode::NotFound);
    let restore = RestoreAccountRequest { context: Some(by(b, moderator)), account_id: ben };
    world.accounts.restore_account(restore).await.unwrap();
    assert_eq!(world.get(b, 0, ben).await.unwrap_err().code, ErrorCode::NotFound);
    world.close().await;
}

#[tokio::test]
async fn members_are_listed_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let (a, b) = (world.server("a.example").await, world.server("b.example").await);
    let mut made = Vec::new();
    for n in 0..12 {
        made.push(world.member(a, &format!("m{n}")).await);
        world.member(b, &format!("m{n}")).await;
        world.clock.pass(std::time::Duration::from_secs(if n == 5 { 70 * 24 * 3_600 } else { 1 }));
    }
    made.reverse();
    let request = |page_token: String| ListAccountsRequest {
        options: Some(seen_by(a, 0)),
        page_size: 5,
        page_token,
        ..Default::default()
    };
    let (mut listed, mut token) = (Vec::new(), String::new());
    loop {
        let page = world.accounts.list_accounts(request(token)).await.unwrap().into_inner();
        listed.extend(page.accounts.into_iter().map(|account| account.account.unwrap().id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, made);
    let by_member = ListAccountsRequest { options: Some(seen_by(a, made[0])), ..Default::default() };
    assert_eq!(reason(world.accounts.list_accounts(by_member).await), "ROLE_NEEDED");
    assert_eq!(reason(world.accounts.list_accounts(request("x".to_owned())).await), "BAD_PAGE_TOKEN");
    let admin = GetAdminAccountRequest { options: Some(seen_by(a, made[0])), account_id: made[1] };
    assert_eq!(reason(world.accounts.get_admin_account(admin).await), "ROLE_NEEDED");
    world.close().await;
}
