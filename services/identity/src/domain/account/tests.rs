//! Given what happened, when something is asked, then this follows.

use super::*;
use crate::domain::authority::{By, NotAllowed};
use proptest::prelude::*;

const ID: u64 = 77;
const HOME: u64 = 7;

fn born() -> Box<Born> {
    Box::new(Born { id: ID, home: HOME, kind: Kind::Personal, handle_key: [1; 32], ..Born::default() })
}

fn remote() -> Box<Born> {
    Box::new(Born { id: ID, host: "far.example".to_owned(), ..Born::default() })
}

fn granted() -> Event {
    let beginnings = Beginnings { keys: vec![[2; 32]], characters: 5 };
    Event::HandleGranted {
        account: ID,
        home: HOME,
        handle: Sealed::default(),
        handle_key: [1; 32],
        beginnings,
        host: String::new(),
        kind: Kind::Personal,
        standing: Standing::Active,
    }
}

fn given(events: &[Event]) -> Account {
    events.iter().fold(Account::default(), Account::evolve)
}

fn alive() -> Account {
    given(&[Event::Created(born()), granted()])
}

fn member(role: Role) -> By {
    By::Member { server: HOME, role }
}

fn then(account: &Account, command: Command, by: By) -> Account {
    let events = account.decide(command, by).unwrap();
    events.iter().fold(account.clone(), Account::evolve)
}

#[test]
fn nobody_is_met_before_the_handle_is_granted() {
    let claiming = given(&[Event::Created(born())]);
    assert_eq!(claiming.state_for(HOME), None);
    assert_eq!(
        claiming.decide(Command::Suspend { scope: HOME }, By::Operator),
        Err(Rejection::NoSuchAccount)
    );
    assert_eq!(alive().state_for(HOME), Some(State::Active));
    let refused = then(&claiming, Command::Refuse(Taken::Handle), By::Operator);
    assert_eq!((refused.state_for(HOME), refused.life), (None, Life::Refused(Taken::Handle)));
}

#[test]
fn a_claim_is_settled_once() {
    assert_eq!(alive().decide(Command::Refuse(Taken::Email), By::Operator), Ok(vec![]));
    assert_eq!(alive().decide(Command::Grant(Beginnings::default()), By::Operator), Ok(vec![]));
    assert_eq!(alive().decide(Command::Create(born()), By::Operator), Err(Rejection::Exists));
    let erased = then(&given(&[Event::Created(born())]), Command::Erase, By::Operator);
    assert_eq!(erased.decide(Command::Grant(Beginnings::default()), By::Operator), Ok(vec![]));
}

#[test]
fn a_remote_account_lives_at_once() {
    let account = then(&Account::default(), Command::Register(remote(), Beginnings::default()), By::Operator);
    assert_eq!(account.state_for(HOME), Some(State::Active));
    for command in [
        Command::SetRole(Role::Moderator),
        Command::SetKind(Kind::Creator),
        Command::ChangePassword { credential: 7, kept_session: 0 },
        Command::Approve,
        Command::ConfirmEmail { approval: false },
    ] {
        assert_eq!(account.decide(command, By::Operator), Err(Rejection::Remote));
    }
}

#[test]
fn confirmation_comes_before_approval() {
    let mut unconfirmed = born();
    unconfirmed.standing = Standing::Unconfirmed;
    let account = given(&[Event::Created(unconfirmed), granted()]);
    assert_eq!(account.state_for(HOME), Some(State::Unconfirmed));
    assert_eq!(account.decide(Command::Approve, By::Operator), Err(Rejection::NotPending));
    let pending = then(&account, Command::ConfirmEmail { approval: true }, By::Operator);
    assert_eq!((pending.state_for(HOME), pending.email_confirmed), (Some(State::Pending), true));
    let active = then(&pending, Command::Approve, member(Role::Moderator));
    assert_eq!(active.state_for(HOME), Some(State::Active));
    assert_eq!(active.decide(Command::Approve, By::Operator), Ok(vec![]));
    let at_once = then(&account, Command::ConfirmEmail { approval: false }, By::Operator);
    assert_eq!(at_once.state_for(HOME), Some(State::Active));
}

#[test]
fn the_homes_word_holds_for_everybody_and_a_servers_for_its_people() {
    let suspended = then(&alive(), Command::Suspend { scope: HOME }, member(Role::Moderator));
    assert_eq!(
        (suspended.state_for(HOME), suspended.state_for(9)),
        (Some(State::Suspended), Some(State::Suspended))
    );
    let elsewhere = By::Member { server: 9, role: Role::Moderator };
    let limited = then(&alive(), Command::Limit { scope: 9 }, elsewhere);
    assert_eq!((limited.state_for(9), limited.state_for(HOME)), (Some(State::Limited), Some(State::Active)));
    let both = then(&limited, Command::Suspend { scope: 0 }, By::Operator);
    assert_eq!(both.state_for(9), Some(State::Suspended));
    // A server cannot lift the installation's word.
    assert_eq!(both.decide(Command::Restore { scope: 0 }, elsewhere), Err(NotAllowed::Role.into()));
    let restored = then(&both, Command::Restore { scope: 9 }, elsewhere);
    assert_eq!(restored.state_for(9), Some(State::Suspended));
}

#[test]
fn what_is_so_already_makes_no_event() {
    let limited = then(&alive(), Command::Limit { scope: HOME }, By::Operator);
    assert_eq!(limited.decide(Command::Limit { scope: HOME }, By::Operator), Ok(vec![]));
    assert_eq!(alive().decide(Command::Restore { scope: HOME }, By::Operator), Ok(vec![]));
    assert_eq!(alive().decide(Command::SetKind(Kind::Personal), By::Operator), Ok(vec![]));
    assert_eq!(alive().decide(Command::Update(Box::default()), By::Itself), Ok(vec![]));
}

#[test]
fn the_erased_stay_erased() {
    let erased = then(&alive(), Command::Erase, By::Itself);
    assert_eq!(erased.state_for(HOME), Some(State::Erased));
    assert_eq!(erased.decide(Command::Erase, By::Operator), Ok(vec![]));
    assert_eq!(erased.born.handle_key, [1; 32]);
    assert!(erased.prefix_keys.is_empty() && erased.profile == Profile::default());
    for command in
        [Command::Restore { scope: HOME }, Command::Suspend { scope: 0 }, Command::Update(Box::default())]
    {
        assert_eq!(erased.decide(command, By::Operator), Err(Rejection::NoSuchAccount));
    }
    assert_eq!(alive().decide(Command::Erase, member(Role::Moderator)), Err(NotAllowed::Role.into()));
    assert!(alive().decide(Command::Erase, member(Role::Admin)).is_ok());
}

#[test]
fn nobody_changes_his_own_kind_or_role() {
    assert_eq!(alive().decide(Command::SetKind(Kind::Creator), By::Itself), Err(NotAllowed::Role.into()));
    assert_eq!(alive().decide(Command::SetRole(Role::Owner), By::Itself), Err(NotAllowed::Role.into()));
    assert_eq!(alive().decide(Command::SetKind(Kind::Unstated), By::Operator), Err(Rejection::KindNeeded));
    let update = Update { kind: Some(Kind::Creator), ..Update::default() };
    assert_eq!(alive().decide(Command::Update(Box::new(update)), By::Itself), Ok(vec![]));
}

#[test]
fn an_update_says_each_change_once() {
    let update = Update {
        profile: Change { bot: Some(true), ..Change::default() },
        locked: Some(true),
        preferences: Some(Preferences { language: "de".to_owned(), ..Preferences::default() }),
        ..Update::default()
    };
    let account = then(&alive(), Command::Update(Box::new(update.clone())), By::Itself);
    assert!(account.locked && account.profile.bot && account.preferences.language == "de");
    let again = account.decide(Command::Update(Box::new(update)), By::Itself).unwrap();
    assert!(matches!(again.as_slice(), [Event::ProfileUpdated { .. }]));
}

fn any_command() -> impl Strategy<Value = Command> {
    let scope = prop::sample::select(vec![0, HOME, 9]);
    prop_oneof![
        Just(Command::Create(born())),
        Just(Command::Register(remote(), Beginnings::default())),
        Just(Command::Grant(Beginnings::default())),
        Just(Command::Refuse(Taken::Email)),
        any::<bool>().prop_map(|approval| Command::ConfirmEmail { approval }),
        Just(Command::Approve),
        scope.clone().prop_map(|scope| Command::Limit { scope }),
        scope.clone().prop_map(|scope| Command::Suspend { scope }),
        scope.prop_map(|scope| Command::Restore { scope }),
        Just(Command::SetRole(Role::Admin)),
        Just(Command::SetKind(Kind::Corporate)),
        Just(Command::ChangePassword { credential: 7, kept_session: 0 }),
        any::<bool>().prop_map(|locked| Command::Update(Box::new(Update {
            locked: Some(locked),
            ..Update::default()
        }))),
        Just(Command::Erase),
    ]
}

fn any_actor() -> impl Strategy<Value = By> {
    prop_oneof![
        Just(By::Operator),
        Just(By::Itself),
        Just(By::Member { server: HOME, role: Role::Owner }),
        Just(By::Member { server: 9, role: Role::Moderator }),
    ]
}

proptest! {
    #[test]
    fn histories_keep_the_rules(commands in prop::collection::vec((any_command(), any_actor()), 0..40)) {
        let mut account = Account::default();
        let mut events = Vec::new();
        for (command, by) in commands {
            let Ok(new) = account.decide(command.clone(), by) else { continue };
            account = new.iter().fold(account, Account::evolve);
            // What was just done has nothing left to do, but for a password, which is always new.
            let again = account.decide(command.clone(), by);
            let settled = again.as_ref().map_or(true, Vec::is_empty);
            prop_assert!(settled || matches!(command, Command::ChangePassword { .. }), "{:?} {:?}", command, again);
            events.extend(new);
        }
        let created = events.iter().filter(|event| matches!(event, Event::Created(_))).count();
        let erased = events.iter().position(|event| matches!(event, Event::Erased { .. }));
        prop_assert!(created <= 1);
        if let Some(at) = erased {
            prop_assert_eq!(at + 1, events.len());
        }
        prop_assert_eq!(given(&events), account);
    }
}
