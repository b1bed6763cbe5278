//! Given what two accounts are to each other, when one does something, then this follows.

use super::*;
use proptest::prelude::*;

const ANN: u64 = 10;
const BEN: u64 = 20;
const PAIR: Pair = Pair { from: ANN, to: BEN };

fn party() -> Party {
    Party { home: 7, state: State::Active, locked: false }
}

fn context() -> Context {
    Context { now: Millis(1_000), new_id: 500, from: party(), to: party(), full: false }
}

fn follow() -> Command {
    Command::Follow { show_boosts: None, notify: None, languages: None, activity_id: None }
}

fn block() -> Command {
    Command::Block { activity_id: None }
}

fn mute(expires_ms: u64) -> Command {
    Command::Mute { notifications: true, expires_ms }
}

fn when(state: &Relationship, pair: Pair, command: Command, context: &Context) -> Relationship {
    let events = state.decide(pair, command, context).unwrap();
    events.iter().fold(state.clone(), Relationship::evolve)
}

fn follows(state: &Relationship, pair: Pair) -> bool {
    matches!(state.side(pair).follow, Follow::Following { .. })
}

#[test]
fn an_open_account_is_followed_at_once() {
    let state = when(&Relationship::default(), PAIR, follow(), &context());
    assert!(follows(&state, PAIR) && !follows(&state, PAIR.back()));
    assert_eq!(state.decide(PAIR, follow(), &context()), Ok(vec![]));
    assert!(when(&state, PAIR, Command::Unfollow, &context()).is_empty());
}

#[test]
fn the_locked_the_remote_and_those_whom_the_limited_follow_are_asked() {
    let asked = |context: &Context| {
        let state = when(&Relationship::default(), PAIR, follow(), context);
        matches!(state.side(PAIR).follow, Follow::Requested { .. })
    };
    assert!(asked(&Context { to: Party { locked: true, ..party() }, ..context() }));
    assert!(asked(&Context { to: Party { home: 0, ..party() }, ..context() }));
    assert!(asked(&Context { from: Party { state: State::Limited, ..party() }, ..context() }));
    assert!(!asked(&Context { from: Party { home: 0, ..party() }, ..context() }));
}

#[test]
fn a_request_is_accepted_rejected_or_taken_back() {
    let locked = Context { to: Party { locked: true, ..party() }, ..context() };
    let asked = when(&Relationship::default(), PAIR, follow(), &locked);
    let accepted = when(&asked, PAIR.back(), Command::Accept, &context());
    assert!(follows(&accepted, PAIR));
    assert_eq!(accepted.decide(PAIR.back(), Command::Accept, &context()), Ok(vec![]));
    assert!(when(&asked, PAIR.back(), Command::Reject, &context()).is_empty());
    assert!(when(&asked, PAIR, Command::Unfollow, &context()).is_empty());
    // Nobody accepts what he asked for himself.
    assert_eq!(asked.decide(PAIR, Command::Accept, &context()), Err(Rejection::NoRequest));
    assert_eq!(Relationship::default().decide(PAIR, Command::Reject, &context()), Err(Rejection::NoRequest));
}

#[test]
fn only_a_remote_account_rejects_what_it_accepted() {
    let state = when(&Relationship::default(), PAIR, follow(), &context());
    assert_eq!(state.decide(PAIR.back(), Command::Reject, &context()), Err(Rejection::NoRequest));
    let remote = Context { from: Party { home: 0, ..party() }, ..context() };
    assert!(when(&state, PAIR.back(), Command::Reject, &remote).is_empty());
}

#[test]
fn an_acceptance_names_the_homes_of_the_follow() {
    let asked = Context { to: Party { home: 8, locked: true, ..party() }, ..context() };
    let state = when(&Relationship::default(), PAIR, follow(), &asked);
    let accepts = Context { from: asked.to, to: asked.from, ..asked };
    let events = state.decide(PAIR.back(), Command::Accept, &accepts).unwrap();
    let edge = Edge { id: 500, pair: PAIR, from_home: 7, to_home: 8 };
    assert_eq!(events, vec![Event::FollowAccepted { edge, options: Options::default() }]);
}

#[test]
fn a_block_ends_both_follows_in_one_append() {
    let mut state = when(&Relationship::default(), PAIR, follow(), &context());
    state = when(&state, PAIR.back(), follow(), &Context { new_id: 501, ..context() });
    let events = state.decide(PAIR, block(), &Context { new_id: 502, ..context() }).unwrap();
    assert_eq!(
        events,
        vec![
            Event::BlockStarted { id: 502, pair: PAIR, activity_id: None },
            Event::FollowEnded { id: 500, pair: PAIR, reason: FollowEnd::Blocked },
            Event::FollowEnded { id: 501, pair: PAIR.back(), reason: FollowEnd::Blocked },
        ]
    );
    let blocked = events.iter().fold(state, Relationship::evolve);
    assert_eq!(blocked.decide(PAIR, follow(), &context()), Err(Rejection::Blocking));
    assert_eq!(blocked.decide(PAIR.back(), follow(), &context()), Err(Rejection::BlockedBy));
    assert_eq!(blocked.decide(PAIR, block(), &context()), Ok(vec![]));
    assert!(when(&blocked, PAIR, Command::Unblock, &context()).is_empty());
}

#[test]
fn a_follow_repeated_changes_how_it_is() {
    let state = when(&Relationship::default(), PAIR, follow(), &context());
    let quiet = Command::Follow {
        show_boosts: Some(false),
        notify: None,
        languages: Some(vec!["de".to_owned()]),
        activity_id: None,
    };
    let changed = when(&state, PAIR, quiet.clone(), &context());
    let options = Options { show_boosts: false, notify: false, languages: vec!["de".to_owned()] };
    assert_eq!(changed.side(PAIR).follow, Follow::Following { id: 500, options });
    assert_eq!(changed.decide(PAIR, quiet, &context()), Ok(vec![]));
    assert_eq!(changed.decide(PAIR, follow(), &context()), Ok(vec![]));
}

#[test]
fn a_mute_ends_by_time() {
    let muted = when(&Relationship::default(), PAIR, mute(2_000), &context());
    let mute_of = |state: &Relationship| state.side(PAIR).mute.unwrap();
    assert!(mute_of(&muted).holds(Millis(1_999)) && !mute_of(&muted).holds(Millis(2_000)));
    // While it holds it keeps its place in lists; after its end another one begins.
    let longer = when(&muted, PAIR, mute(3_000), &Context { new_id: 600, ..context() });
    assert_eq!((mute_of(&longer).id, mute_of(&longer).expires_ms), (500, 3_000));
    let later = Context { now: Millis(3_000), new_id: 600, ..context() };
    let events = longer.decide(PAIR, mute(0), &later).unwrap();
    assert!(matches!(events.as_slice(), [Event::MuteEnded { id: 500, .. }, Event::MuteStarted { .. }]));
    assert_eq!(muted.decide(PAIR, mute(u64::MAX), &context()), Err(Rejection::TooLong));
}

#[test]
fn who_may_not_be_met_looks_like_nobody() {
    for state in [State::Suspended, State::Erased, State::Pending, State::Unconfirmed] {
        let context = Context { to: Party { state, ..party() }, ..context() };
        let followed = Relationship::default().decide(PAIR, follow(), &context);
        assert_eq!(followed, Err(Rejection::NoSuchAccount));
    }
    let suspended = Context { from: Party { state: State::Suspended, ..party() }, ..context() };
    assert_eq!(Relationship::default().decide(PAIR, block(), &suspended), Err(Rejection::ActorCannotAct));
    let oneself = Pair { from: ANN, to: ANN };
    assert_eq!(Relationship::default().decide(oneself, follow(), &context()), Err(Rejection::Oneself));
}

#[test]
fn limits() {
    let full = Context { full: true, ..context() };
    assert_eq!(Relationship::default().decide(PAIR, follow(), &full), Err(Rejection::TooManyFollows));
    let languages = Some(vec!["no tag".to_owned()]);
    let bad = Command::Follow { show_boosts: None, notify: None, languages, activity_id: None };
    assert_eq!(Relationship::default().decide(PAIR, bad, &context()), Err(Rejection::Languages));
}

fn any_command() -> impl Strategy<Value = Command> {
    let languages = prop::option::of(Just(vec!["de".to_owned()]));
    prop_oneof![
        4 => (any::<Option<bool>>(), any::<Option<bool>>(), languages).prop_map(|(show_boosts, notify, languages)| {
            Command::Follow { show_boosts, notify, languages, activity_id: None }
        }),
        1 => Just(Command::Unfollow),
        2 => Just(Command::Accept),
        1 => Just(Command::Reject),
        1 => Just(Command::RemoveFollower),
        1 => Just(block()),
        1 => Just(Command::Unblock),
        2 => (0_u64..5_000).prop_map(mute),
        1 => Just(Command::Unmute),
        1 => Just(Command::End),
    ]
}

fn any_party() -> impl Strategy<Value = Party> {
    let state = prop::sample::select(vec![State::Active, State::Active, State::Limited, State::Suspended]);
    (0_u64..3, state, any::<bool>()).prop_map(|(home, state, locked)| Party { home, state, locked })
}

proptest! {
    #[test]
    fn histories_keep_the_rules(
        steps in prop::collection::vec((any::<bool>(), any_command(), any_party(), any_party(), 0_u64..5_000), 0..60)
    ) {
        let mut state = Relationship::default();
        for (n, (back, command, from, to, now)) in steps.into_iter().enumerate() {
            let pair = if back { PAIR.back() } else { PAIR };
            let context = Context { now: Millis(now), new_id: 1_000 + n as u64, from, to, full: false };
            let Ok(events) = state.decide(pair, command.clone(), &context) else { continue };
            for event in &events {
                prop_assert!(event.pair() == pair || event.pair() == pair.back());
            }
            state = events.iter().fold(state, Relationship::evolve);
            // Nobody follows, or waits to follow, across a block.
            if state.low.block.is_some() || state.high.block.is_some() {
                prop_assert_eq!(&state.low.follow, &Follow::None);
                prop_assert_eq!(&state.high.follow, &Follow::None);
            }
            // What was just done has nothing left to do.
            if let Ok(again) = state.decide(pair, command.clone(), &context) {
                let expired = matches!(command, Command::Mute { expires_ms, .. } if expires_ms != 0 && expires_ms <= now);
                prop_assert!(again.is_empty() || expired, "{:?} {:?}", command, again);
            }
            if command == Command::End {
                prop_assert!(state.is_empty());
            }
        }
    }

    #[test]
    fn the_two_sides_are_alike(commands in prop::collection::vec(any_command(), 0..20)) {
        let run = |pair: Pair| {
            let mut state = Relationship::default();
            for command in commands.clone() {
                if let Ok(events) = state.decide(pair, command, &context()) {
                    state = events.iter().fold(state, Relationship::evolve);
                }
            }
            (state.side(pair).clone(), state.side(pair.back()).clone())
        };
        prop_assert_eq!(run(PAIR), run(PAIR.back()));
    }
}
