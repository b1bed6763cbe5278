//! Given a server, when something is asked of it, then this follows.

use super::*;
use crate::domain::authority::NotAllowed;

fn born() -> Box<Born> {
    Box::new(Born {
        id: 7,
        domain: "a.example".to_owned(),
        web_host: "www.a.example".to_owned(),
        ..Born::default()
    })
}

fn face() -> Box<Face> {
    Box::new(Face { name: "A".to_owned(), ..Face::default() })
}

fn given(commands: Vec<Command>) -> Server {
    commands.into_iter().fold(Server::default(), |server, command| {
        let events = server.decide(command, By::Operator).unwrap();
        events.iter().fold(server, Server::evolve)
    })
}

fn active() -> Server {
    given(vec![Command::Create(born(), face()), Command::Grant])
}

fn rule(id: u32, text: &str) -> Rule {
    Rule { id, text: text.to_owned(), hint: String::new() }
}

fn update(server: &Server, change: impl FnOnce(&mut Face)) -> Result<Vec<Event>, Rejection> {
    let mut face = Box::new(server.face.clone());
    change(&mut face);
    server.decide(Command::Update(face), By::Operator)
}

#[test]
fn a_server_lives_when_its_names_are_granted() {
    let claiming = given(vec![Command::Create(born(), face())]);
    assert!(!claiming.is_known() && active().is_known());
    let taken = Command::Refuse { taken: "a.example".to_owned() };
    assert_eq!(active().decide(taken.clone(), By::Operator), Ok(vec![]));
    let refused = given(vec![Command::Create(born(), face()), taken]);
    assert_eq!((refused.life, refused.taken.as_str()), (Life::Refused, "a.example"));
    assert_eq!(refused.decide(Command::Close, By::Operator), Err(Rejection::NoSuchServer));
}

#[test]
fn only_the_operator_makes_servers() {
    let owner = By::Member { server: 7, role: Role::Owner };
    let made = Server::default().decide(Command::Create(born(), face()), owner);
    assert_eq!(made, Err(NotAllowed::Role.into()));
}

#[test]
fn rules_keep_their_ids_for_ever() {
    let with = |server: &Server, rules: Vec<Rule>| {
        let events = update(server, |face| face.rules = rules).unwrap();
        events.iter().fold(server.clone(), Server::evolve)
    };
    let two = with(&active(), vec![rule(0, "Be kind."), rule(0, "No spam.")]);
    assert_eq!(two.face.rules.iter().map(|rule| rule.id).collect::<Vec<_>>(), [1, 2]);
    let one = with(&two, vec![rule(1, "Be kind!")]);
    let again = with(&one, vec![rule(0, "No noise."), rule(1, "Be kind!")]);
    assert_eq!(again.face.rules.iter().map(|rule| rule.id).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(update(&again, |face| face.rules = vec![rule(9, "x")]), Err(Rejection::UnknownRule));
    assert_eq!(update(&again, |face| face.rules = vec![rule(1, "x"), rule(1, "y")]), Err(Rejection::Rules));
}

#[test]
fn limits() {
    let server = active();
    assert_eq!(update(&server, |face| face.name = String::new()), Err(Rejection::Name));
    assert_eq!(update(&server, |face| face.name = "x".repeat(101)), Err(Rejection::Name));
    assert_eq!(update(&server, |face| face.description = "x".repeat(2_001)), Err(Rejection::Description));
    assert_eq!(update(&server, |face| face.rules = vec![rule(0, "")]), Err(Rejection::Rules));
    assert_eq!(update(&server, |face| face.rules = vec![rule(0, "x"); 51]), Err(Rejection::Rules));
    assert_eq!(update(&server, |face| face.policies.post_characters = 0), Err(Rejection::PostCharacters));
    assert_eq!(
        update(&server, |face| face.policies.boost_kinds = vec![Kind::Unstated]),
        Err(Rejection::BoostKinds)
    );
    assert_eq!(update(&server, |face| face.languages = vec!["-".to_owned()]), Err(Rejection::Languages));
    assert_eq!(update(&server, |face| face.contact_email = "x".to_owned()), Err(Rejection::ContactEmail));
    assert_eq!(update(&server, |_| {}), Ok(vec![]));
}

#[test]
fn admins_change_and_owners_close() {
    let by = |server, role| By::Member { server, role };
    let server = active();
    let mut changed = face();
    changed.description = "New.".to_owned();
    assert!(server.decide(Command::Update(changed.clone()), by(7, Role::Admin)).is_ok());
    let elsewhere = server.decide(Command::Update(changed.clone()), by(8, Role::Owner));
    assert_eq!(elsewhere, Err(NotAllowed::NotAMember.into()));
    let moderator = server.decide(Command::Update(changed.clone()), by(7, Role::Moderator));
    assert_eq!(moderator, Err(NotAllowed::Role.into()));
    assert_eq!(server.decide(Command::Close, by(7, Role::Admin)), Err(NotAllowed::Role.into()));
    let closed = server.decide(Command::Close, by(7, Role::Owner)).unwrap();
    let closed = closed.iter().fold(server, Server::evolve);
    assert_eq!((closed.life, closed.is_known()), (Life::Closed, true));
    assert_eq!(closed.decide(Command::Close, By::Operator), Ok(vec![]));
    assert_eq!(closed.decide(Command::Update(changed), By::Operator), Err(Rejection::NoSuchServer));
}
