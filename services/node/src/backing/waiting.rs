//! Waiting for a store that is not there yet: how long, how often, and who is told.
//!
//! It refuses to know what is waited for; whoever tries says whether another try can help.

use std::time::Duration;
use tokio::time::Instant;

/// The pause after the first try, and the longest one: a store that comes back is found within seconds, and many
/// processes that wait do not keep it from coming back.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(5);
/// How often the same words are said again, and how often others.
const SAME_AGAIN: Duration = Duration::from_secs(60);
const OTHER: Duration = Duration::from_secs(5);

/// Why a try came to nothing.
#[derive(Debug)]
pub enum NotYet {
    /// Another one may.
    Later(String),
    /// None will.
    Never(anyhow::Error),
}

/// How a start waits.
pub struct Waiting<'a> {
    until: Until,
    /// Hears the reason of each try that came to nothing.
    shows: &'a (dyn Fn(&str) + Send + Sync),
    /// Hears it at the beginning, when it changes, and once a minute.
    says: &'a (dyn Fn(&str) + Send + Sync),
}

#[derive(Clone, Copy, Debug)]
enum Until {
    First,
    Moment(Instant),
    Ever,
}

impl std::fmt::Debug for Waiting<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Waiting").field(&self.until).finish()
    }
}

impl<'a> Waiting<'a> {
    /// Tries once.
    #[must_use]
    pub fn not() -> Self {
        Self { until: Until::First, shows: &|_| {}, says: &|_| {} }
    }

    /// Tries for so long.
    #[must_use]
    pub fn within(time: Duration, says: &'a (dyn Fn(&str) + Send + Sync)) -> Self {
        Self { until: Until::Moment(Instant::now() + time), shows: &|_| {}, says }
    }

    /// Tries until whoever waits is dropped.
    #[must_use]
    pub fn ever(shows: &'a (dyn Fn(&str) + Send + Sync), says: &'a (dyn Fn(&str) + Send + Sync)) -> Self {
        Self { until: Until::Ever, shows, says }
    }

    /// Tries until it is done, or no more try can help, or the time is over; then the last reason is the error.
    pub async fn through<T>(&self, mut attempt: impl AsyncFnMut() -> Result<T, NotYet>) -> anyhow::Result<T> {
        let mut pause = FIRST;
        let mut said: Option<(String, Instant)> = None;
        loop {
            let reason = match Box::pin(attempt()).await {
                Ok(done) => return Ok(done),
                Err(NotYet::Never(error)) => return Err(error),
                Err(NotYet::Later(reason)) => reason,
            };
            let now = Instant::now();
            let over = match self.until {
                Until::First => true,
                Until::Moment(end) => now + pause > end,
                Until::Ever => false,
            };
            if over {
                anyhow::bail!(reason);
            }
            (self.shows)(&reason);
            let quiet = said
                .as_ref()
                .is_some_and(|(words, when)| now - *when < if *words == reason { SAME_AGAIN } else { OTHER });
            if !quiet {
                (self.says)(&reason);
                said = Some((reason, now));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test(start_paused = true)]
    async fn it_is_said_at_first_when_it_changes_and_once_a_minute() {
        let (began, said, shown) = (Instant::now(), Mutex::new(Vec::new()), Mutex::new(0));
        let says = |words: &str| said.lock().unwrap().push((words.to_owned(), began.elapsed().as_secs()));
        let shows = |_: &str| *shown.lock().unwrap() += 1;
        let waiting = Waiting::ever(&shows, &says);
        let done = waiting.through(|| async {
            match began.elapsed().as_secs() {
                ..100 => Err(NotYet::Later("away".to_owned())),
                100..120 => Err(NotYet::Later("no schema".to_owned())),
                _ => Ok("open"),
            }
        });
        assert_eq!(done.await.unwrap(), "open");
        let said = said.into_inner().unwrap();
        let words: Vec<_> = said.iter().map(|(words, _)| words.as_str()).collect();
        assert_eq!(words, ["away", "away", "no schema"], "{said:?}");
        assert!(shown.into_inner().unwrap() > 20, "a pause is at most five seconds");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_was_given_is_not_overrun_and_the_last_reason_is_the_error() {
        let began = Instant::now();
        let waiting = Waiting::within(Duration::from_secs(30), &|_| {});
        let never = waiting.through(|| async { Err::<(), _>(NotYet::Later("away".to_owned())) }).await;
        assert_eq!(never.unwrap_err().to_string(), "away");
        assert!(began.elapsed() > Duration::from_secs(20) && began.elapsed() <= Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_try_can_mend_is_told_at_once() {
        let waiting = Waiting::ever(&|_| {}, &|_| panic!("nothing was waited for"));
        let refused = || async { Err::<(), _>(NotYet::Never(anyhow::anyhow!("a wrong password"))) };
        assert_eq!(waiting.through(refused).await.unwrap_err().to_string(), "a wrong password");
        let once = Waiting::not();
        let once = once.through(|| async { Err::<(), _>(NotYet::Later("away".to_owned())) });
        assert_eq!(once.await.unwrap_err().to_string(), "away");
    }
}
