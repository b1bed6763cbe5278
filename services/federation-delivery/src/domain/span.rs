//! When something held: follows and suspensions begin, end and begin again.
//!
//! Plans of the past must not change when somebody unfollows today, so what ended is kept, as times of events.

/// From a millisecond on, and until before another one; 0 while it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: u64,
    pub until: u64,
}

/// Spans in order, at most [`Spans::MOST`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans(pub Vec<Span>);

impl Spans {
    /// Beyond it the two oldest become one: a row stays small whatever somebody toggles. What is lost is that a host
    /// was not to be told long ago.
    pub const MOST: usize = 16;

    /// It holds from now on. Nothing changes if it does already.
    pub fn begin(&mut self, at: u64) {
        if self.holds_now() {
            return;
        }
        self.0.push(Span { from: at, until: 0 });
        if self.0.len() > Self::MOST {
            let oldest = self.0.remove(0);
            if let Some(next) = self.0.first_mut() {
                next.from = oldest.from;
            }
        }
    }

    /// It holds no longer. Nothing changes if it did not.
    pub fn end(&mut self, at: u64) {
        if let Some(last) = self.0.last_mut().filter(|last| last.until == 0) {
            // A span that ends in the millisecond in which it began held at no time.
            last.until = at.max(1);
        }
    }

    /// Whether it holds.
    #[must_use]
    pub fn holds_now(&self) -> bool {
        self.0.last().is_some_and(|last| last.until == 0)
    }

    /// Whether it held then.
    #[must_use]
    pub fn held(&self, at: u64) -> bool {
        self.0.iter().any(|span| span.from <= at && (span.until == 0 || at < span.until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_ended_held_before() {
        let mut spans = Spans::default();
        spans.end(5);
        spans.begin(10);
        spans.begin(11);
        spans.end(20);
        spans.end(21);
        for (at, held) in [(5, false), (9, false), (10, true), (19, true), (20, false), (30, false)] {
            assert_eq!(spans.held(at), held, "{at}");
        }
        spans.begin(30);
        assert!(spans.held(30) && spans.holds_now() && !spans.held(25));
    }

    proptest! {
        #[test]
        fn the_present_is_exact_however_often(steps in prop::collection::vec((any::<bool>(), 0..3_u64), 0..80)) {
            let (mut spans, mut at, mut holds) = (Spans::default(), 1, false);
            for (begin, later) in steps {
                at += later;
                if begin { spans.begin(at) } else { spans.end(at) }
                holds = begin;
                prop_assert_eq!(spans.holds_now(), holds);
                prop_assert_eq!(spans.held(at), holds);
                prop_assert!(spans.0.len() <= Spans::MOST);
            }
            prop_assert_eq!(spans.held(u64::MAX), holds);
        }
    }
}
