//! How long a call may take, and how that travels: `grpc-timeout` on the way, a task-local where the call is served.
//!
//! Whoever calls from within a call inherits what is left of it; nobody can lengthen it. It bounds the time until the
//! answer begins, which for a call with one answer is all of it. A stream that has begun has no deadline: it lives
//! until one end closes it, and a dead peer is noticed by the connection's keepalive.
//! It refuses to know what a call means.

use http::{HeaderMap, HeaderValue};
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// How long a call may take if nobody above it has a deadline.
pub const DEFAULT: Duration = Duration::from_secs(15);
const HEADER: &str = "grpc-timeout";

tokio::task_local! {
    /// When the call that this task serves must be answered.
    static UNTIL: Instant;
}

/// Runs `work` as if a call served it that must be answered within `allowed`: the calls that it makes inherit what
/// is left. For edges that speak no gRPC, and for rounds of background work.
///
/// It travels with the task only. Work that is spawned begins anew, as it should: nobody waits for it.
pub async fn within<F: Future>(allowed: Duration, work: F) -> F::Output {
    until(Instant::now() + allowed.min(left().unwrap_or(Duration::MAX)).min(FAR), work).await
}

/// Bounds additions to an `Instant`, which overflow for absurd durations.
const FAR: Duration = Duration::from_secs(86_400);

/// Runs `work` with a deadline that is already known.
pub(crate) async fn until<F: Future>(at: Instant, work: F) -> F::Output {
    UNTIL.scope(at, work).await
}

/// What is left of the call that this task serves, if it serves one.
#[must_use]
pub fn left() -> Option<Duration> {
    UNTIL.try_with(|at| at.saturating_duration_since(Instant::now())).ok()
}

/// What a call made from here may take: its own wish, no more than what is left above it, or the default.
pub(crate) fn for_call(headers: &HeaderMap) -> Duration {
    match (read(headers), left()) {
        (Some(wish), Some(left)) => wish.min(left),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => DEFAULT,
    }
    .min(FAR)
}

/// Writes the header that tells the server.
pub(crate) fn write(headers: &mut HeaderMap, allowed: Duration) {
    // At most eight digits: below 27 hours in milliseconds, which FAR keeps to. Rounded up, so that the client,
    // who knows better why, is the one to end the call.
    let millis = allowed.as_micros().div_ceil(1_000).min(99_999_999);
    if let Ok(value) = HeaderValue::from_str(&format!("{millis}m")) {
        headers.insert(HEADER, value);
    }
}

/// Up to eight digits and a unit (gRPC over HTTP/2, "Timeout"). What is malformed counts as absent.
pub(crate) fn read(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(HEADER)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(n.saturating_mul(3_600))),
        "M" => Some(Duration::from_secs(n.saturating_mul(60))),
        "S" => Some(Duration::from_secs(n)),
        "m" => Some(Duration::from_millis(n)),
        "u" => Some(Duration::from_micros(n)),
        "n" => Some(Duration::from_nanos(n)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_str(text).unwrap());
        headers
    }

    #[test]
    fn timeouts_are_read_as_grpc_says() {
        assert_eq!(read(&header("250m")), Some(Duration::from_millis(250)));
        assert_eq!(read(&header("2S")), Some(Duration::from_secs(2)));
        assert_eq!(read(&header("99999999H")), Some(Duration::from_secs(99_999_999 * 3_600)));
        for bad in ["", "S", "5", "123456789m", "-1S", "+1S", "5x"] {
            assert_eq!(read(&header(bad)), None, "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut headers = HeaderMap::new();
        write(&mut headers, Duration::from_micros(1_500));
        assert_eq!(read(&headers), Some(Duration::from_millis(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_lengthens_what_is_left() {
        assert_eq!(for_call(&HeaderMap::new()), DEFAULT);
        within(Duration::from_millis(100), async {
            assert_eq!(for_call(&header("1S")), Duration::from_millis(100));
            assert_eq!(for_call(&header("10m")), Duration::from_millis(10));
            within(Duration::from_secs(9), async {
                assert_eq!(left(), Some(Duration::from_millis(100)));
            })
            .await;
        })
        .await;
        assert_eq!(left(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn absurd_durations_are_cut() {
        within(Duration::MAX, async { assert_eq!(left(), Some(FAR)) }).await;
        assert_eq!(for_call(&header("99999999H")), FAR);
    }
}
