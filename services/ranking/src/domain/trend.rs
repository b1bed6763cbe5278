//! How surprising the use of a tag is.
//!
//! A tag trends when it is used more than it used to be, not when it is used much. Recent use decays by halves; what an
//! even use as in the days before would weigh is taken off; the square of what remains, over what was expected, is the
//! score (Pearson's goodness of fit, as in Mastodon's `Trends::Tags`). Everything is integers.

/// Days that are looked at, today among them.
pub const DAYS: usize = 7;
/// Spans of a day.
pub const SPANS: usize = 6;
/// Milliseconds of a span.
pub const SPAN_MS: u64 = 4 * 60 * 60 * 1_000;
/// Milliseconds of a day.
pub const DAY_MS: u64 = SPAN_MS * SPANS as u64;
/// Spans in which use loses half its weight.
const HALF_LIFE_SPANS: u64 = 3;
/// The same in milliseconds.
pub const HALF_LIFE_MS: u64 = HALF_LIFE_SPANS * SPAN_MS;
/// 2^(−n/3) in thousandths.
const STEPS: [u64; 3] = [1_000, 794, 630];
/// A use of this moment.
const WHOLE: u64 = 1_000;

/// The use of a tag on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Day {
    pub uses: [u64; SPANS],
    pub accounts: u64,
}

impl Day {
    /// Posts of the whole day.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.uses.iter().sum()
    }
}

/// The use of a tag on each of the last days, the newest first.
pub type Week = [Day; DAYS];

/// What a week is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worth {
    /// Weighed use, in thousandths.
    pub recent: u64,
    /// What even use at the rate of the days before would weigh.
    pub baseline: u64,
    /// Accounts of today and yesterday.
    pub accounts: u64,
    /// On the busier of the two.
    pub busiest: u64,
    pub score: u64,
}

/// The day on which a moment lies, counted from the epoch, and the span of that day.
#[must_use]
pub fn place(millis: u64) -> (u64, usize) {
    let span = (millis % DAY_MS) / SPAN_MS;
    (millis / DAY_MS, usize::try_from(span).unwrap_or(0))
}

/// What a use of so many spans ago weighs, in thousandths.
#[must_use]
pub fn weight(age: u64) -> u64 {
    let step = usize::try_from(age % HALF_LIFE_SPANS).unwrap_or(0);
    let whole = STEPS.get(step).copied().unwrap_or(0);
    whole.checked_shr(u32::try_from(age / HALF_LIFE_SPANS).unwrap_or(u32::MAX)).unwrap_or(0)
}

/// What a week is worth in this span of today. Spans of today that have not begun hold nothing.
#[must_use]
pub fn worth(week: &Week, span: usize) -> Worth {
    let now = span.min(SPANS - 1) as u64;
    let (mut recent, mut weights) = (0_u64, 0_u64);
    for (days_ago, day) in (0_u64..).zip(week) {
        for (at, uses) in (0_u64..).zip(day.uses) {
            // A clock behind the one that wrote: what comes from later is of now.
            let age = (days_ago * SPANS as u64 + now).saturating_sub(at);
            recent = recent.saturating_add(uses.saturating_mul(weight(age)));
            weights += if days_ago == 0 && at > now { 0 } else { weight(age) };
        }
    }
    let before: u64 = week.iter().skip(1).map(Day::total).sum();
    let spans_before = ((DAYS - 1) * SPANS) as u64;
    let baseline = before.saturating_mul(weights) / spans_before;
    let rise = u128::from(recent.saturating_sub(baseline));
    let score = rise * rise / u128::from(baseline.saturating_add(WHOLE));
    let of_late = || week.iter().take(2).map(|day| day.accounts);
    Worth {
        recent,
        baseline,
        accounts: of_late().sum(),
        busiest: of_late().max().unwrap_or(0),
        score: u64::try_from(score).unwrap_or(u64::MAX),
    }
}
