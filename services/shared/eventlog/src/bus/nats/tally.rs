//! What operators and tests see of the bus between processes. No names of hosts or accounts.

use opentelemetry::metrics::{Counter, Meter};
use opentelemetry::{KeyValue, global};
use p92_kernel::Service;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the bus has done since it was made. Each is a metric too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that the server acknowledged.
    pub published: u64,
    /// Messages that gave way to newer ones before they could be sent.
    pub dropped: u64,
    /// Messages that were sent and not acknowledged, or could not be sent.
    pub failed: u64,
    /// Messages that came, those of this process included.
    pub received: u64,
    /// Messages that came and were dropped, since they do not prove that they are of this installation.
    pub unproven: u64,
    /// Connections after the first.
    pub reconnects: u64,
    /// Streams that were made, or whose configuration was put right.
    pub repairs: u64,
    /// Consumers that took the place of another.
    pub resubscriptions: u64,
}

/// A number that is kept here and told to the meter.
#[derive(Debug)]
pub(super) struct Tally {
    here: AtomicU64,
    meter: Counter<u64>,
}

impl Tally {
    fn new(meter: &Meter, name: &'static str, words: &'static str) -> Self {
        Self { here: AtomicU64::new(0), meter: meter.u64_counter(name).with_description(words).build() }
    }

    /// One more, of that service's log.
    pub(super) fn of(&self, service: Service) {
        self.add(&[KeyValue::new("service", service.name())]);
    }

    /// One more, of no service in particular.
    pub(super) fn one(&self) {
        self.add(&[]);
    }

    fn add(&self, labels: &[KeyValue]) {
        self.here.fetch_add(1, Relaxed);
        self.meter.add(1, labels);
    }

    fn now(&self) -> u64 {
        self.here.load(Relaxed)
    }
}

/// One tally for each of [`Counts`].
#[derive(Debug)]
pub(super) struct Tallies {
    pub(super) published: Tally,
    pub(super) dropped: Tally,
    pub(super) failed: Tally,
    pub(super) received: Tally,
    pub(super) unproven: Tally,
    pub(super) reconnects: Tally,
    pub(super) repairs: Tally,
    pub(super) resubscriptions: Tally,
}

impl Tallies {
    /// Instruments of the process's meter.
    pub(super) fn new() -> Self {
        let meter = global::meter("p92");
        let tally = |name, words| Tally::new(&meter, name, words);
        Self {
            published: tally("p92_eventlog_bus_published", "Groups that the bus acknowledged"),
            dropped: tally("p92_eventlog_bus_dropped", "Groups that gave way to newer ones unsent"),
            failed: tally("p92_eventlog_bus_failures", "Groups that were sent and not acknowledged"),
            received: tally("p92_eventlog_bus_received", "Groups that came over the bus"),
            unproven: tally(
                "p92_eventlog_bus_unproven",
                "Messages over the bus that were dropped, since they are not of this installation",
            ),
            reconnects: tally("p92_eventlog_bus_reconnects", "Connections to the bus after the first"),
            repairs: tally("p92_eventlog_bus_repairs", "Streams made or put right"),
            resubscriptions: tally(
                "p92_eventlog_bus_resubscriptions",
                "Consumers of the bus that took the place of another",
            ),
        }
    }

    /// All of them now.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            published: self.published.now(),
            dropped: self.dropped.now(),
            failed: self.failed.now(),
            received: self.received.now(),
            unproven: self.unproven.now(),
            reconnects: self.reconnects.now(),
            repairs: self.repairs.now(),
            resubscriptions: self.resubscriptions.now(),
        }
    }
}
