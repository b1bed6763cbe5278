//! Time and chance as ports. Who has a clock or a source of randomness implements these; who decides is handed them.

use std::time::Duration;

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// This moment plus `by`, stopping at the largest value.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// ISO 8601 with milliseconds and `Z`, as client APIs show it.
    #[must_use]
    pub fn iso8601(self) -> String {
        const FORMAT: &[time::format_description::BorrowedFormatItem<'_>] = time::macros::format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        );
        let nanos = i128::from(self.0) * 1_000_000;
        time::OffsetDateTime::from_unix_timestamp_nanos(nanos)
            .ok()
            .and_then(|at| at.format(FORMAT).ok())
            .unwrap_or_else(|| "1970-01-01T00:00:00.000Z".to_owned())
    }
}

/// A source of time. Wall time names moments; monotonic time measures durations and never goes back.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Wall time.
    fn now(&self) -> Millis;
    /// Time since some fixed moment of this process.
    fn monotonic(&self) -> Duration;
}

/// A source of randomness fit for secrets.
pub trait Random: Send + Sync + std::fmt::Debug + 'static {
    /// Fills `out` with random bytes.
    fn fill(&self, out: &mut [u8]);
}

/// `N` random bytes.
pub fn random_bytes<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut out = [0; N];
    random.fill(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::Millis;

    #[test]
    fn moments_are_shown_with_milliseconds() {
        assert_eq!(Millis(1_790_000_000_007).iso8601(), "2026-09-21T14:13:20.007Z");
    }
}
