//! What operators see of logs and readers. No names of hosts or accounts.

use opentelemetry::metrics::{Counter, Gauge, Histogram};
use opentelemetry::{KeyValue, global};
use p92_kernel::{Seq, Service};
use p92_storage::LogKey;

/// The instruments of one service's log.
#[derive(Clone, Debug)]
pub struct Metrics {
    service: Service,
    refused: Counter<u64>,
    groups: Histogram<u64>,
    waits: Counter<u64>,
    lag: Gauge<u64>,
    quarantined: Counter<u64>,
}

impl Metrics {
    /// Instruments of the process's meter.
    #[must_use]
    pub fn new(service: Service) -> Self {
        let meter = global::meter("p92");
        Self {
            service,
            refused: meter
                .u64_counter("p92_eventlog_refused_appends")
                .with_description("Appends that met another row in their slot")
                .build(),
            groups: meter
                .u64_histogram("p92_eventlog_group_events")
                .with_description("Events per appended group")
                .with_boundaries(vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0])
                .build(),
            waits: meter
                .u64_counter("p92_eventlog_store_waits")
                .with_description("Times that an owner or a reader waited for the store")
                .build(),
            lag: meter
                .u64_gauge("p92_eventlog_lag_events")
                .with_description("Events that a reader is behind the head of its log")
                .build(),
            quarantined: meter
                .u64_counter("p92_eventlog_quarantined_events")
                .with_description("Events put aside because they could not be applied")
                .build(),
        }
    }

    fn service(&self) -> KeyValue {
        KeyValue::new("service", self.service.name())
    }

    /// An append met another row.
    pub fn refused_append(&self, log: LogKey) {
        self.refused.add(1, &[self.service(), KeyValue::new("shard", i64::from(log.shard.0))]);
    }

    /// A group stands, with its rows.
    pub fn group(&self, _log: LogKey, events: usize) {
        self.groups.record(events as u64, &[self.service()]);
    }

    /// The store has to be asked again.
    pub fn waiting(&self, log: LogKey) {
        self.waits.add(1, &[self.service(), KeyValue::new("shard", i64::from(log.shard.0))]);
    }

    /// How far a reader is behind.
    pub fn lag(&self, reader: &str, log: LogKey, head: Seq, at: Seq) {
        let labels = [
            self.service(),
            KeyValue::new("reader", reader.to_owned()),
            KeyValue::new("source", log.service.name()),
            KeyValue::new("shard", i64::from(log.shard.0)),
        ];
        self.lag.record(head.0.saturating_sub(at.0), &labels);
    }

    /// An event was put aside.
    pub fn quarantined(&self, reader: &str) {
        self.quarantined.add(1, &[self.service(), KeyValue::new("reader", reader.to_owned())]);
    }
}
