//! The bus of one process, held to the words of its port.

// A test says by a panic what it expected.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use p92_eventlog::bus::conformance::{Broken, Ends};
use p92_eventlog::{Bus, LocalBus};
use p92_kernel::{Service, Shard, ShardCount};
use p92_storage::LogKey;
use std::sync::Arc;

fn ends(bus: Arc<dyn Bus>) -> Ends {
    Ends { publishes: Arc::clone(&bus), listens: bus }
}

async fn local() -> (Ends, ()) {
    (ends(Arc::new(LocalBus::new(ShardCount::new(2).unwrap()))), ())
}

p92_eventlog::bus_conformance_tests!(local);

/// A bus that breaks its word in one way.
#[derive(Debug)]
struct Bad(LocalBus, Way);

#[derive(Clone, Copy, Debug)]
enum Way {
    OneTopic,
    Cuts,
    LosesEverySecond,
}

impl Bus for Bad {
    fn publish(&self, log: LogKey, body: Bytes) {
        match self.1 {
            Way::OneTopic => self.0.publish(LogKey { service: Service::Posting, shard: Shard(0) }, body),
            Way::Cuts => self.0.publish(log, body.slice(..body.len().min(64 * 1024))),
            Way::LosesEverySecond => self.0.publish(log, body),
        }
    }

    fn subscribe(&self, log: LogKey) -> BoxStream<'static, Bytes> {
        let log = if matches!(self.1, Way::OneTopic) {
            LogKey { service: Service::Posting, shard: Shard(0) }
        } else {
            log
        };
        let heard = self.0.subscribe(log);
        if matches!(self.1, Way::LosesEverySecond) { heard.every_second() } else { heard }
    }
}

trait EverySecond {
    fn every_second(self) -> BoxStream<'static, Bytes>;
}

impl EverySecond for BoxStream<'static, Bytes> {
    fn every_second(self) -> BoxStream<'static, Bytes> {
        self.enumerate().filter_map(|(n, body)| async move { (n % 2 == 0).then_some(body) }).boxed()
    }
}

/// A suite that cannot fail shows nothing.
#[tokio::test]
async fn a_bus_that_breaks_its_word_is_found() {
    use p92_eventlog::bus::conformance as suite;
    let bad = |way| ends(Arc::new(Bad(LocalBus::new(ShardCount::new(2).unwrap()), way)));
    let words = |verdict: Result<(), Broken>| verdict.unwrap_err().to_string();
    assert!(words(suite::logs_are_heard_apart(bad(Way::OneTopic)).await).contains("expected"));
    assert!(words(suite::any_bytes_are_a_body(bad(Way::Cuts)).await).contains("expected"));
    assert!(words(suite::a_log_is_heard_in_order(bad(Way::LosesEverySecond)).await).contains("expected"));
}
