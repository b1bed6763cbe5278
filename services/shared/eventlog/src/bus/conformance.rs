//! One suite for every bus: the words of [`Bus`] as things that are tried.
//!
//! In: two ends of a bus, fresh, per case: where is published, and where is listened. For a bus of one process both are
//! the same. Out: nothing, or the first thing that broke its word. It must not know which bus it tries. What belongs to one
//! bus alone (a server that goes away) is tested beside that bus.
//!
//! A test file has one line per bus, `p92_eventlog::bus_conformance_tests!(make)`; see there.

use super::{Bus, LAG};
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use p92_kernel::{Service, Shard};
use p92_storage::LogKey;
use std::sync::Arc;
use std::time::Duration;

/// Two ends of one bus, for at least two shards.
#[derive(Clone, Debug)]
pub struct Ends {
    pub publishes: Arc<dyn Bus>,
    pub listens: Arc<dyn Bus>,
}

/// What a case found.
pub type Verdict = Result<(), Broken>;

/// A bus broke its word.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("{0}")]
    Word(String),
    /// A task of the case ended early.
    #[error("a task ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Longer than any bus needs.
const LONG: Duration = Duration::from_secs(20);
/// How often what may be lost is repeated.
const REPEAT: Duration = Duration::from_millis(50);

const LOG: LogKey = LogKey { service: Service::Posting, shard: Shard(0) };
const OTHER_SHARD: LogKey = LogKey { service: Service::Posting, shard: Shard(1) };
const OTHER_SERVICE: LogKey = LogKey { service: Service::Identity, shard: Shard(0) };

fn holds(is: bool, words: impl FnOnce() -> String) -> Verdict {
    if is { Ok(()) } else { Err(Broken::Word(words())) }
}

fn numbered(n: usize) -> Bytes {
    format!("body {n}").into()
}

/// A listener that is known to hear: what is published before a subscription stands may be lost, so something is published
/// until it comes. The repetitions that are still under way it passes over.
struct Listener {
    hears: BoxStream<'static, Bytes>,
}

const PROBE: &[u8] = b"can you hear me";

impl Listener {
    async fn on(ends: &Ends, log: LogKey) -> Result<Self, Broken> {
        let mut hears = ends.listens.subscribe(log);
        let heard = async {
            loop {
                ends.publishes.publish(log, Bytes::from_static(PROBE));
                if let Ok(heard) = tokio::time::timeout(REPEAT, hears.next()).await {
                    return heard;
                }
            }
        };
        let heard = tokio::time::timeout(LONG, heard).await;
        holds(heard.is_ok_and(|heard| heard.is_some_and(|body| body == PROBE)), || {
            format!("nothing is heard of {}/{}", log.service, log.shard)
        })?;
        Ok(Self { hears })
    }

    async fn next(&mut self) -> Result<Bytes, Broken> {
        let next = async {
            loop {
                match self.hears.next().await {
                    Some(body) if body == PROBE => {}
                    other => return other,
                }
            }
        };
        let next = tokio::time::timeout(LONG, next).await;
        next.ok().flatten().ok_or_else(|| Broken::Word("nothing more is heard".to_owned()))
    }

    async fn hears(&mut self, expected: &Bytes) -> Verdict {
        let heard = self.next().await?;
        holds(heard == expected, || format!("heard {heard:?}, expected {expected:?}"))
    }
}

/// Bodies come in the order in which they were published.
pub async fn a_log_is_heard_in_order(ends: Ends) -> Verdict {
    let mut listener = Listener::on(&ends, LOG).await?;
    for n in 0..LAG / 2 {
        ends.publishes.publish(LOG, numbered(n));
    }
    for n in 0..LAG / 2 {
        listener.hears(&numbered(n)).await?;
    }
    Ok(())
}

/// Neither another shard's nor another service's log is heard.
pub async fn logs_are_heard_apart(ends: Ends) -> Verdict {
    let mut listeners = Vec::new();
    for log in [LOG, OTHER_SHARD, OTHER_SERVICE] {
        listeners.push((log, Listener::on(&ends, log).await?));
    }
    let body = |log: LogKey, n: usize| Bytes::from(format!("{}/{} {n}", log.service, log.shard));
    for n in 0..20 {
        for (log, _) in &listeners {
            ends.publishes.publish(*log, body(*log, n));
        }
    }
    for (log, listener) in &mut listeners {
        for n in 0..20 {
            listener.hears(&body(*log, n)).await?;
        }
    }
    Ok(())
}

/// Each of several listeners hears all.
pub async fn every_listener_hears_all(ends: Ends) -> Verdict {
    let mut listeners = Vec::new();
    for _ in 0..5 {
        listeners.push(Listener::on(&ends, LOG).await?);
    }
    for n in 0..50 {
        ends.publishes.publish(LOG, numbered(n));
    }
    for listener in &mut listeners {
        for n in 0..50 {
            listener.hears(&numbered(n)).await?;
        }
    }
    Ok(())
}

/// A listener that goes, or one that comes later, changes nothing for the others.
pub async fn listeners_come_and_go(ends: Ends) -> Verdict {
    let mut stays = Listener::on(&ends, LOG).await?;
    for round in 0..5 {
        let mut guest = Listener::on(&ends, if round % 2 == 0 { OTHER_SHARD } else { LOG }).await?;
        ends.publishes.publish(LOG, numbered(round));
        stays.hears(&numbered(round)).await?;
        if round % 2 == 1 {
            guest.hears(&numbered(round)).await?;
        }
    }
    Ok(())
}

/// Who does not listen misses, holds up nobody, and hears what is new as soon as he listens again.
pub async fn a_slow_listener_misses(ends: Ends) -> Verdict {
    let mut slow = Listener::on(&ends, LOG).await?;
    let mut quick = Listener::on(&ends, LOG).await?;
    let many = LAG * 2;
    for n in 0..many {
        ends.publishes.publish(LOG, numbered(n));
        quick.hears(&numbered(n)).await?;
    }
    let mut heard = 0;
    while slow.next().await? != numbered(many - 1) {
        heard += 1;
    }
    holds(heard < LAG, || format!("{heard} bodies waited for a listener that did not listen"))
}

/// Publishing returns at once, whether somebody listens or not.
pub async fn publishing_never_waits(ends: Ends) -> Verdict {
    let mut idle = Listener::on(&ends, LOG).await?;
    let publishes = Arc::clone(&ends.publishes);
    // On a thread of its own: a publish that waits would hold up the clock that is to notice it.
    let published = tokio::task::spawn_blocking(move || {
        let body = Bytes::from(vec![7; 1_000]);
        for _ in 0..50_000 {
            for log in [LOG, OTHER_SHARD, OTHER_SERVICE] {
                publishes.publish(log, body.clone());
            }
        }
    });
    let done = tokio::time::timeout(LONG, published).await;
    holds(done.is_ok(), || "publishing waits for somebody".to_owned())?;
    // What came meanwhile is old; the bus still carries what is new.
    let newest = Bytes::from_static(b"newest");
    let carried = async {
        loop {
            ends.publishes.publish(LOG, newest.clone());
            if let Ok(Ok(body)) = tokio::time::timeout(REPEAT, idle.next()).await
                && body == newest
            {
                return;
            }
        }
    };
    holds(tokio::time::timeout(LONG, carried).await.is_ok(), || "the bus does not recover".to_owned())
}

/// A body is bytes, of any value and of the size of the largest group.
pub async fn any_bytes_are_a_body(ends: Ends) -> Verdict {
    let mut listener = Listener::on(&ends, LOG).await?;
    let all: Vec<u8> = (0..=255).collect();
    let bodies: [Bytes; 6] = [
        Bytes::new(),
        all.repeat(4 * 600).into(),
        Bytes::from_static(b"\r\nPUB p92.v1.posting.1 0\r\n\r\n"),
        Bytes::from_static(b"NATS/1.0\r\nStatus: 100\r\n\r\n"),
        Bytes::from_static(b"\xff\xfe\x00\xf8"),
        Bytes::from_static(b"\0"),
    ];
    for body in &bodies {
        ends.publishes.publish(LOG, body.clone());
        listener.hears(body).await?;
    }
    Ok(())
}

/// A log of a shard that the installation does not have is heard by nobody, and harms nobody.
pub async fn a_log_that_is_not_there_is_silent(ends: Ends) -> Verdict {
    let mut listener = Listener::on(&ends, LOG).await?;
    let absent = LogKey { service: Service::Posting, shard: Shard(1_023) };
    let mut nothing = ends.listens.subscribe(absent);
    ends.publishes.publish(absent, numbered(1));
    ends.publishes.publish(LOG, numbered(2));
    listener.hears(&numbered(2)).await?;
    let heard = tokio::time::timeout(REPEAT, nothing.next()).await;
    holds(heard.is_err(), || format!("a log that is not there said {heard:?}"))
}

/// Hands the names of all cases to a macro, behind its arguments.
#[doc(hidden)]
#[macro_export]
macro_rules! bus_conformance_cases {
    ([$($with:tt)+] $($argument:tt)*) => {
        $($with)+! { $($argument)*
            a_log_is_heard_in_order
            logs_are_heard_apart
            every_listener_hears_all
            listeners_come_and_go
            a_slow_listener_misses
            publishing_never_waits
            any_bytes_are_a_body
            a_log_that_is_not_there_is_silent
        }
    };
}

/// One test per case. The argument names an async function without parameters that makes two fresh ends, and something
/// that is dropped when the case is over: `async fn make() -> (Ends, Server)`.
#[macro_export]
macro_rules! bus_conformance_tests {
    ($make:ident) => {
        $crate::bus_conformance_cases! { [$crate::bus_conformance_test_each] $make }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! bus_conformance_test_each {
    ($make:ident $($case:ident)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let (ends, _kept) = $make().await;
            let verdict = $crate::bus::conformance::$case(ends).await;
            assert!(verdict.is_ok(), "{}", verdict.err().map(|broken| broken.to_string()).unwrap_or_default());
        }
    )* };
}
