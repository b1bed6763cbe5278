//! Servers: names with one owner, faces that admins change, hosts by which they are found.

use crate::world::{World, by, config, keyed, reason};
use p92_proto::identity::v1::get_server_request::Server as Asked;
use p92_proto::identity::v1::*;

fn create(domain: &str, public_url: &str) -> CreateServerRequest {
    CreateServerRequest { domain: domain.to_owned(), public_url: public_url.to_owned(), ..Default::default() }
}

async fn found(world: &mut World, asked: Asked) -> Option<u64> {
    let request = GetServerRequest { options: None, server: Some(asked) };
    world.servers.get_server(request).await.ok().map(|answer| answer.into_inner().server.unwrap().id)
}

#[tokio::test]
async fn a_server_is_found_by_id_domain_and_host() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let request = create("A.example", "https://social.a.example/");
    let made = world.servers.create_server(request).await.unwrap().into_inner().server.unwrap();
    assert_eq!((made.domain.as_str(), made.web_host.as_str()), ("a.example", "social.a.example"));
    assert_eq!((made.name.as_str(), made.state()), ("a.example", ServerState::Active));
    assert_eq!(made.policies.unwrap().boost_kinds, [AccountKind::Personal as i32]);
    assert_eq!(made.instance_actor.unwrap().id, "https://social.a.example/actor");
    for asked in [
        Asked::Id(made.id),
        Asked::Domain("a.EXAMPLE".to_owned()),
        Asked::Host("social.a.example".to_owned()),
        Asked::Host("social.a.example:8443".to_owned()),
    ] {
        assert_eq!(found(&mut world, asked).await, Some(made.id));
    }
    for asked in [
        Asked::Host("a.example".to_owned()),
        Asked::Domain("social.a.example".to_owned()),
        Asked::Domain("a.example/".to_owned()),
        Asked::Id(7),
    ] {
        assert_eq!(found(&mut world, asked).await, None);
    }
    world.close().await;
}

#[tokio::test]
async fn names_of_servers_have_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    world.servers.create_server(create("a.example", "https://www.a.example")).await.unwrap();
    for (domain, url) in [
        ("a.example", "https://other.example"),
        ("b.example", "https://www.a.example"),
        ("www.a.example", "https://c.example"),
    ] {
        assert_eq!(reason(world.servers.create_server(create(domain, url)).await), "SERVER_NAME_TAKEN");
    }
    // What a refused one had claimed is free again.
    world.servers.create_server(create("b.example", "https://b.example")).await.unwrap();
    let answer = world.servers.list_servers(ListServersRequest::default()).await.unwrap().into_inner();
    let domains: Vec<_> = answer.servers.into_iter().map(|server| server.domain).collect();
    assert_eq!(domains, ["a.example", "b.example"]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_want_a_domain_one_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path(), config()).await;
    let made = (0..30).map(|n| {
        let mut servers = world.servers.clone();
        tokio::spawn(async move {
            servers.create_server(create("a.example", &format!("https://{n}.example"))).await.is_ok()
        })
    });
    let made = futures::future::join_all(made).await;
    assert_eq!(made.into_iter().filter(|made| *made.as_ref().unwrap()).count(), 1);
    world.close().await;
}

#[tokio::test]
async fn bad_servers_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let good = create("a.example", "https://a.example");
    let rule = |text: &str| Rule { text: text.to_owned(), ..Default::default() };
    for (request, expected) in [
        (create("", "https://a.example"), "BAD_DOMAIN"),
        (create("a.example", "http://a.example"), "BAD_PUBLIC_URL"),
        (create("a.example", "https://a.example/path"), "BAD_PUBLIC_URL"),
        (CreateServerRequest { name: "x".repeat(101), ..good.clone() }, "BAD_SERVER"),
        (CreateServerRequest { rules: vec![rule("")], ..good.clone() }, "BAD_SERVER"),
        (CreateServerRequest { registration: 77, ..good.clone() }, "UNKNOWN_VALUE"),
        (CreateServerRequest { context: Some(by(0, 99)), ..good.clone() }, "ACTOR_NEEDED"),
    ] {
        assert_eq!(reason(world.servers.create_server(request).await), expected);
    }
    let answer = world.servers.list_servers(ListServersRequest::default()).await.unwrap().into_inner();
    assert!(answer.servers.is_empty());
    world.close().await;
}

#[tokio::test]
async fn admins_change_what_the_mask_names() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let admin = world.member_with(server, "ann", |request| request.role = Role::Admin as i32).await;
    let member = world.member(server, "ben").await;
    let request = |actor: u64, paths: &[&str]| UpdateServerRequest {
        context: Some(by(server, actor)),
        server_id: server,
        update_mask: Some(prost_types::FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
        server: Some(Server {
            name: "New".to_owned(),
            description: "Not named.".to_owned(),
            rules: vec![Rule { text: "Be kind.".to_owned(), ..Default::default() }],
            policies: Some(ServerPolicies { replies: ReplyPolicy::Off as i32, ..Default::default() }),
            ..Default::default()
        }),
    };
    assert_eq!(reason(world.servers.update_server(request(member, &["name"])).await), "ROLE_NEEDED");
    assert_eq!(reason(world.servers.update_server(request(admin, &["domain"])).await), "BAD_FIELD_MASK");
    let paths = ["name", "rules", "policies.replies"];
    let changed = world.servers.update_server(request(admin, &paths)).await.unwrap().into_inner();
    let changed = changed.server.unwrap();
    assert_eq!((changed.name.as_str(), changed.description.as_str()), ("New", ""));
    assert_eq!((changed.rules[0].id, changed.registration()), (1, RegistrationPolicy::Open));
    let policies = changed.policies.unwrap();
    assert_eq!((policies.replies(), policies.messages()), (ReplyPolicy::Off, MessagePolicy::Everyone));
    assert_eq!(policies.post_characters, 500);
    let again = world.servers.update_server(request(admin, &["name"])).await.unwrap().into_inner();
    assert!(again.receipt.unwrap().positions.is_empty(), "nothing had to change");
    world.close().await;
}

#[tokio::test]
async fn a_repeated_creation_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let request =
        CreateServerRequest { context: Some(keyed(0, 0, "k")), ..create("a.example", "https://a.example") };
    let first = world.servers.create_server(request.clone()).await.unwrap().into_inner();
    let second = world.servers.create_server(request).await.unwrap().into_inner();
    assert_eq!(first.server, second.server);
    assert!(!first.receipt.unwrap().repeated && second.receipt.unwrap().repeated);
    world.close().await;
}

#[tokio::test]
async fn nobody_signs_in_or_up_at_a_closed_server() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    world.member(server, "ann").await;
    let close = CloseServerRequest { context: Some(by(0, 0)), server_id: server };
    world.servers.close_server(close).await.unwrap();
    let request = world.sign_up_request(server, "ben");
    assert_eq!(reason(world.accounts.sign_up(request).await), "SERVER_CLOSED");
    let login = CheckPasswordRequest {
        server_id: server,
        login: "ann".to_owned(),
        password: "correct horse".to_owned(),
    };
    assert_eq!(reason(world.credentials.check_password(login).await), "SERVER_CLOSED");
    assert!(world.by_handle(server, "ann").await.is_ok());
    world.close().await;
}
