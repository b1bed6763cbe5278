//! Plans: reasons one by one, and what holds for any history.

use super::*;
use crate::domain::span::Span;
use proptest::prelude::*;

const ANN: u64 = 1;
const HOME: u64 = 7;
/// Follows Ann; is mentioned; wrote the parent; is somebody else elsewhere.
const FAN: u64 = 10;
const NAMED: u64 = 11;
const PARENT: u64 = 12;
const OTHER: u64 = 13;

fn spans(from: u64, until: u64) -> Spans {
    Spans(vec![Span { from, until }])
}

fn world() -> World {
    let remotes = [FAN, NAMED, PARENT, OTHER].map(|id| (id, Remote::default()));
    World { remotes: remotes.into(), followers: [(ANN, vec![(FAN, spans(10, 0))])].into() }
}

fn did(kind: Kind, visibility: Visibility, time: u64) -> Activity {
    Activity {
        id: time,
        kind,
        post: 5,
        actor: ANN,
        home: HOME,
        visibility,
        mentioned: vec![NAMED, 2],
        toward: PARENT,
        reaction: 0,
        object_id: String::new(),
        time,
    }
}

fn accounts(told: &Told) -> Vec<u64> {
    told.keys().copied().collect()
}

#[test]
fn a_visibility_says_who_is_told() {
    for (visibility, expected) in [
        (Visibility::Public, vec![FAN, NAMED, PARENT]),
        (Visibility::Unlisted, vec![FAN, NAMED, PARENT]),
        (Visibility::Followers, vec![FAN, NAMED]),
        (Visibility::Direct, vec![NAMED]),
    ] {
        let told = plan(&[did(Kind::Create, visibility, 20)], &world());
        assert_eq!(accounts(&told[0]), expected, "{visibility:?}");
    }
    let told = plan(&[did(Kind::Create, Visibility::Public, 9)], &world());
    assert_eq!(accounts(&told[0]), [NAMED, PARENT], "nobody follows yet");
}

#[test]
fn what_was_told_is_taken_back_where_it_went() {
    let mut world = world();
    world.followers.insert(ANN, vec![(FAN, spans(10, 25)), (OTHER, spans(30, 0))]);
    let history = [
        did(Kind::Create, Visibility::Followers, 20),
        Activity { mentioned: vec![], ..did(Kind::Update, Visibility::Followers, 28) },
        did(Kind::Delete, Visibility::Followers, 40),
    ];
    let told = plan(&history, &world);
    assert_eq!(accounts(&told[0]), [FAN, NAMED]);
    assert_eq!(accounts(&told[1]), [0_u64; 0], "nobody of those who had it may read the new words");
    assert_eq!(accounts(&told[2]), [FAN, NAMED], "whoever came later never had it");
    let open = history.map(|activity| Activity { visibility: Visibility::Public, toward: 0, ..activity });
    assert_eq!(accounts(&plan(&open, &world)[1]), [FAN, NAMED], "open words go where the old ones went");
}

#[test]
fn suspended_and_erased_accounts_are_told_nothing_new() {
    let history = [
        did(Kind::Create, Visibility::Public, 20),
        did(Kind::Update, Visibility::Public, 30),
        did(Kind::Delete, Visibility::Public, 40),
    ];
    for (scope, erased, gone) in [(0, 0, true), (HOME, 0, true), (HOME + 1, 0, false), (9, 25, true)] {
        let mut world = world();
        let remote = world.remotes.get_mut(&FAN).unwrap();
        remote.suspended.insert(scope, spans(25, 0));
        remote.erased = erased;
        let told = plan(&history, &world);
        assert!(told[0].contains_key(&FAN) && told[2].contains_key(&FAN));
        assert_eq!(!told[1].contains_key(&FAN), gone, "scope {scope}, erased {erased}");
    }
}

#[test]
fn reactions_go_to_the_author_and_are_undone_there() {
    let on = |kind, reaction, time| Activity {
        reaction,
        mentioned: vec![],
        toward: OTHER,
        ..did(kind, Visibility::Public, time)
    };
    let history = [
        on(Kind::Like, 91, 20),
        on(Kind::Announce, 92, 21),
        on(Kind::UndoLike, 91, 22),
        on(Kind::UndoAnnounce, 92, 23),
        on(Kind::UndoLike, 93, 24),
    ];
    let told: Vec<_> = plan(&history, &world()).iter().map(accounts).collect();
    assert_eq!(told, [vec![OTHER], vec![FAN, OTHER], vec![OTHER], vec![FAN, OTHER], vec![]]);
}

fn histories() -> impl Strategy<Value = (Vec<Activity>, World)> {
    let kind =
        prop::sample::select(vec![Kind::Create, Kind::Update, Kind::Announce, Kind::Like, Kind::Delete]);
    let visibility = prop::sample::select(vec![
        Visibility::Public,
        Visibility::Unlisted,
        Visibility::Followers,
        Visibility::Direct,
    ]);
    let mentioned = prop::collection::vec(9..15_u64, 0..3);
    let activity = (kind, visibility, mentioned, 9..15_u64, 0..3_u64);
    let followed = prop::collection::vec((10..14_u64, 0..40_u64, 0..40_u64), 0..6);
    (prop::collection::vec(activity, 0..8), followed).prop_map(|(activities, followed)| {
        let activities =
            activities.into_iter().enumerate().map(|(n, (kind, visibility, mentioned, toward, reaction))| {
                let time = 5 * n as u64;
                Activity { mentioned, toward, reaction, ..did(kind, visibility, time) }
            });
        let mut world = world();
        let held = followed.into_iter().map(|(who, from, long)| (who, spans(from, from + long + 1)));
        world.followers.insert(ANN, held.collect());
        (activities.collect(), world)
    })
}

proptest! {
    #[test]
    fn only_remote_accounts_with_a_reason_are_told((history, world) in histories()) {
        let plans = plan(&history, &world);
        prop_assert_eq!(plans.len(), history.len());
        for (activity, told) in history.iter().zip(&plans) {
            for (account, reasons) in told {
                prop_assert!(world.remotes.contains_key(account) && !reasons.is_empty());
                let named = activity.mentioned.contains(account);
                if activity.visibility == Visibility::Direct && matches!(activity.kind, Kind::Create | Kind::Update) {
                    prop_assert!(named);
                }
            }
        }
    }

    #[test]
    fn a_deletion_goes_exactly_where_the_post_went((history, world) in histories()) {
        let mut history = history;
        history.retain(|activity| activity.kind != Kind::Delete);
        history.push(did(Kind::Delete, Visibility::Public, 1_000));
        let plans = plan(&history, &world);
        let carried = history.iter().zip(&plans).filter(|(activity, _)| !matches!(activity.kind, Kind::Like | Kind::Delete));
        let went: BTreeSet<u64> = carried.flat_map(|(_, told)| told.keys().copied()).collect();
        let last: BTreeSet<u64> = plans.last().unwrap().keys().copied().collect();
        prop_assert_eq!(last, went);
    }
}
