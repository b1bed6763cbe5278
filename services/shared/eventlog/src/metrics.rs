//! What operators see of logs and readers. No names of hosts or accounts.
//!
//! What stands is read whenever somebody looks, so that it is told of a reader that is stuck, and of one that has ended no
//! more. What happens is counted, from 0 on: a counter that is first seen at 1 has not risen, and wakes nobody.

use crate::progress::Progress;
use crate::worker::Holding;
use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};
use p92_kernel::{Service, Shard, ShardCount};
use p92_storage::LogKey;
use std::sync::Arc;

/// Whose instruments have a series for each shard: by this name the process lets them have so many.
const SCOPE_OF_SHARDS: &str = "p92.shards";

/// The instruments of one service's log.
#[derive(Clone, Debug)]
pub struct Metrics {
    service: Service,
    refused: Counter<u64>,
    groups: Histogram<u64>,
    waits: Counter<u64>,
    quarantined: Counter<u64>,
}

impl Metrics {
    /// Instruments of the process's meter.
    #[must_use]
    pub fn new(service: Service) -> Self {
        let (meter, of_shards) = (global::meter("p92"), global::meter(SCOPE_OF_SHARDS));
        Self {
            service,
            refused: of_shards
                .u64_counter("p92_eventlog_refused_appends")
                .with_description("Appends that met another row in their slot")
                .build(),
            groups: meter
                .u64_histogram("p92_eventlog_group_events")
                .with_description("Events per appended group")
                .with_boundaries(vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0])
                .build(),
            waits: of_shards
                .u64_counter("p92_eventlog_store_waits")
                .with_description("Times that an owner or a reader waited for the store")
                .build(),
            quarantined: meter
                .u64_counter("p92_eventlog_quarantined_events")
                .with_description("Events put aside because they could not be applied")
                .build(),
        }
    }

    /// The service begins, with these readers: what has not happened yet has happened never.
    pub fn begin<'a>(&self, shards: ShardCount, readers: impl Iterator<Item = &'a str>) {
        for shard in shards.all() {
            let labels = [self.service(), of_shard(shard)];
            self.refused.add(0, &labels);
            self.waits.add(0, &labels);
        }
        for reader in readers {
            self.quarantined.add(0, &[self.service(), of_reader(reader)]);
        }
    }

    /// From now on it is told which shards of the service are owned here. `read` is called whenever somebody looks.
    pub fn tell_owned(&self, read: impl Fn() -> Vec<(Shard, Holding)> + Send + Sync + 'static) {
        let service = self.service();
        let _gauge = global::meter(SCOPE_OF_SHARDS)
            .u64_observable_gauge("p92_eventlog_owned")
            .with_description(
                "Whether this process owns a shard's log: takes commands for it, and runs its readers",
            )
            .with_callback(move |observer| {
                for (shard, holding) in read() {
                    let owned = u64::from(holding == Holding::Owning);
                    observer.observe(owned, &[service.clone(), of_shard(shard)]);
                }
            })
            .build();
    }

    fn service(&self) -> KeyValue {
        KeyValue::new("service", self.service.name())
    }

    /// An append met another row.
    pub fn refused_append(&self, log: LogKey) {
        self.refused.add(1, &[self.service(), of_shard(log.shard)]);
    }

    /// A group stands, with its rows.
    pub fn group(&self, _log: LogKey, events: usize) {
        self.groups.record(events as u64, &[self.service()]);
    }

    /// The store has to be asked again.
    pub fn waiting(&self, log: LogKey) {
        self.waits.add(1, &[self.service(), of_shard(log.shard)]);
    }

    /// An event was put aside.
    pub fn quarantined(&self, reader: &str) {
        self.quarantined.add(1, &[self.service(), of_reader(reader)]);
    }
}

fn of_shard(shard: Shard) -> KeyValue {
    KeyValue::new("shard", i64::from(shard.0))
}

fn of_reader(reader: &str) -> KeyValue {
    KeyValue::new("reader", reader.to_owned())
}

/// From now on it is told, as long as the board is there, how far the readers are behind that run in this process, and
/// where the logs end that it owns or follows.
pub fn tell_progress(board: &Arc<Progress>) {
    let meter = global::meter(SCOPE_OF_SHARDS);
    let (readers, heads) = (Arc::downgrade(board), Arc::downgrade(board));
    let _lag = meter
        .u64_observable_gauge("p92_eventlog_lag_events")
        .with_description("Events that a reader, which runs in this process, is behind the head of its log")
        .with_callback(move |observer| {
            for behind in readers.upgrade().map(|board| board.behind()).unwrap_or_default() {
                let log = behind.mark.log;
                let labels = [
                    KeyValue::new("service", behind.service.name()),
                    of_reader(&behind.mark.reader),
                    KeyValue::new("source", log.service.name()),
                    of_shard(log.shard),
                ];
                observer.observe(behind.events, &labels);
            }
        })
        .build();
    let _head = meter
        .u64_observable_gauge("p92_eventlog_head")
        .with_description("The last event of a log whose rows stand, as far as this process knows")
        .with_callback(move |observer| {
            for (log, head) in heads.upgrade().map(|board| board.heads()).unwrap_or_default() {
                let service = KeyValue::new("service", log.service.name());
                observer.observe(head.0, &[service, of_shard(log.shard)]);
            }
        })
        .build();
}
