//! For how long another member was silent, as one member can tell.
//!
//! It reads no clock and no store: it is told what a look found, and when.

use std::time::Duration;

/// After how long without a beat a member counts as dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(6);

/// How long a gap between two looks that succeeded may be. While a store answers nobody, nobody can beat either: after a
/// longer one the count begins anew at this, so that whoever lives has a beat's time and more.
const PROVEN_BY_A_LOOK: Duration = Duration::from_secs(3);

/// What a member saw of another. Times are of its own monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The last beat, and when it was first seen.
    beat: u64,
    changed: Duration,
    /// The last look, and the silence that looks have proven until then.
    looked: Duration,
    silent: Duration,
}

impl Seen {
    /// A member that was not known before.
    pub(super) const fn first(beat: u64, now: Duration) -> Self {
        Self { beat, changed: now, looked: now, silent: Duration::ZERO }
    }

    /// A look that found this beat.
    pub(super) fn again(&mut self, beat: u64, now: Duration) {
        if self.beat != beat {
            if now >= self.looked {
                *self = Self::first(beat, now);
            }
            return;
        }
        // Looks may overlap: one that was asked before another tells nothing that this one did not.
        let gap = now.saturating_sub(self.looked);
        self.silent = if gap > PROVEN_BY_A_LOOK { PROVEN_BY_A_LOOK } else { self.silent + gap };
        self.looked = self.looked.max(now);
    }

    /// Whether others may take what it holds.
    pub(super) fn is_dead(&self) -> bool {
        self.silent >= DEAD_AFTER
    }

    /// Since when its beat is the same, whoever could have seen another.
    pub(super) const fn unchanged(&self, now: Duration) -> Duration {
        now.saturating_sub(self.changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(seen: &mut Seen, beats: &[(u64, u64)]) -> bool {
        for (at, beat) in beats {
            seen.again(*beat, Duration::from_secs(*at));
        }
        seen.is_dead()
    }

    #[test]
    fn whoever_does_not_beat_is_dead_after_six_seconds() {
        let mut seen = Seen::first(1, Duration::ZERO);
        assert!(!looks(&mut seen, &[(2, 2), (4, 2), (6, 2)]), "four seconds after its last beat");
        assert!(looks(&mut seen, &[(8, 2)]));
        assert!(!looks(&mut seen, &[(10, 3)]), "it was only paused");
    }

    #[test]
    fn a_time_in_which_the_store_answered_nobody_makes_nobody_dead() {
        let mut seen = Seen::first(1, Duration::ZERO);
        assert!(!looks(&mut seen, &[(2, 1), (60, 1)]), "nothing was seen between");
        assert!(!looks(&mut seen, &[(62, 2)]), "it beats again");
        assert!(!looks(&mut seen, &[(64, 2), (120, 2), (122, 2)]), "what was counted before is forgotten");
        assert!(looks(&mut seen, &[(124, 2)]), "now there was time to");
        assert_eq!(seen.unchanged(Duration::from_secs(124)), Duration::from_secs(62));
    }

    #[test]
    fn looks_that_overlap_count_no_second_twice() {
        let mut seen = Seen::first(1, Duration::ZERO);
        assert!(!looks(&mut seen, &[(2, 1), (4, 1), (3, 1), (5, 1)]));
        assert!(!looks(&mut seen, &[(5, 2), (4, 1)]), "the later question has the newer answer");
        assert!(!looks(&mut seen, &[(7, 2), (9, 2)]));
        assert!(looks(&mut seen, &[(11, 2)]));
    }
}
