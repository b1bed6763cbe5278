//! Given a week of use, when it is weighed, then.

use super::trend::*;
use proptest::prelude::*;

fn day(uses: [u64; SPANS], accounts: u64) -> Day {
    Day { uses, accounts }
}

#[test]
fn a_use_loses_half_its_weight_in_twelve_hours() {
    assert_eq!([0, 1, 2, 3, 4, 6, 9].map(weight), [1_000, 794, 630, 500, 397, 250, 125]);
    assert_eq!((weight(41), weight(u64::MAX)), (0, 0));
    assert!((0..100).all(|age| weight(age + 1) <= weight(age)), "what is older never weighs more");
}

#[test]
fn moments_have_their_place() {
    assert_eq!(place(0), (0, 0));
    assert_eq!(place(DAY_MS - 1), (0, SPANS - 1));
    assert_eq!(place(DAY_MS + SPAN_MS), (1, 1));
}

#[test]
fn what_is_new_trends_and_what_is_always_there_does_not() {
    let mut new = Week::default();
    new[0] = day([0, 0, 10, 0, 0, 0], 5);
    let even = [day([10; SPANS], 5); DAYS];
    let mut even_now = even;
    even_now[0] = day([10, 10, 10, 0, 0, 0], 5);
    let (new, even) = (worth(&new, 2), worth(&even_now, 2));
    assert_eq!((new.recent, new.baseline, new.busiest), (10_000, 0, 5));
    assert_eq!(new.score, 100_000);
    assert_eq!(even.score, 0, "{even:?}");
    assert!(even.recent > new.recent, "though it is used more");
}

#[test]
fn a_rise_over_a_small_baseline_beats_the_same_rise_over_a_large_one() {
    let with_before = |before: u64| {
        let mut week = [day([before; SPANS], 9); DAYS];
        week[0] = day([before + 20, 0, 0, 0, 0, 0], 9);
        worth(&week, 0).score
    };
    assert!(with_before(1) > with_before(10));
    assert!(with_before(10) > 0);
}

fn week() -> impl Strategy<Value = Week> {
    let day = (any::<[u16; SPANS]>(), any::<u16>());
    proptest::collection::vec(day, DAYS).prop_map(|days| {
        let mut week = Week::default();
        for (at, (uses, accounts)) in week.iter_mut().zip(days) {
            *at = day_of(uses, accounts);
        }
        week
    })
}

fn day_of(uses: [u16; SPANS], accounts: u16) -> Day {
    Day { uses: uses.map(u64::from), accounts: u64::from(accounts) }
}

proptest! {
    #[test]
    fn one_more_use_now_never_lowers_the_score(mut week in week(), span in 0..SPANS) {
        let before = worth(&week, span);
        week[0].uses[span] += 1;
        prop_assert!(worth(&week, span).score >= before.score);
    }

    #[test]
    fn one_more_use_before_never_raises_the_baselineless_rise(mut week in week(), span in 0..SPANS) {
        // A use six days ago weighs nothing now, and makes the tag more usual.
        let before = worth(&week, span);
        week[6].uses[0] += 1;
        let after = worth(&week, span);
        prop_assert!(after.baseline >= before.baseline && after.score <= before.score);
    }

    #[test]
    fn weighing_is_total(uses in any::<[u64; SPANS]>(), accounts in any::<u64>(), span in any::<usize>()) {
        let uses = uses.map(|uses| uses >> 8);
        let _ = worth(&[Day { uses, accounts: accounts >> 8 }; DAYS], span);
    }
}
