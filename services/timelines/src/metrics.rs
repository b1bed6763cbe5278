//! What operators see of timelines. No names of accounts.

use crate::domain::memory::Sizes;
use opentelemetry::metrics::{AsyncInstrument, Counter};
use opentelemetry::{KeyValue, global};

/// The instruments.
#[derive(Clone, Debug)]
pub struct Metrics {
    pages: Counter<u64>,
    watches: Counter<u64>,
}

impl Metrics {
    /// Instruments of the process's meter.
    #[must_use]
    pub fn new() -> Self {
        let meter = global::meter("p92");
        Self {
            pages: meter
                .u64_counter("p92_timelines_home_pages")
                .with_description("Pages of home, by how they were computed")
                .build(),
            watches: meter
                .u64_counter("p92_timelines_watches")
                .with_description("Live streams opened")
                .build(),
        }
    }

    /// Deliveries are counted in the memory itself, and told whenever somebody looks: its loop knows no meter.
    pub fn deliveries(read: impl Fn() -> u64 + Send + Sync + 'static) {
        let _counter = global::meter("p92")
            .u64_observable_counter("p92_timelines_deliveries")
            .with_description("Posts and boosts put into homes kept in memory")
            .with_callback(move |observer| observer.observe(read(), &[]))
            .build();
    }

    /// How large the memory is is read whenever somebody looks: it shrinks too, when slots go.
    pub fn sizes(read: impl Fn() -> Option<Sizes> + Clone + Send + Sync + 'static) {
        let meter = global::meter("p92");
        let tell = |size: fn(&Sizes) -> usize| {
            let read = read.clone();
            move |observer: &dyn AsyncInstrument<u64>| {
                if let Some(sizes) = read() {
                    observer.observe(size(&sizes) as u64, &[]);
                }
            }
        };
        let _rings = meter
            .u64_observable_gauge("p92_timelines_rings")
            .with_description("Homes kept in memory")
            .with_callback(tell(|sizes| sizes.rings))
            .build();
        let _bytes = meter
            .u64_observable_gauge("p92_timelines_ring_bytes")
            .with_description("Memory of those homes")
            .with_callback(tell(|sizes| sizes.ring_bytes))
            .build();
        let _recent = meter
            .u64_observable_gauge("p92_timelines_recent_posts")
            .with_description("Posts and boosts of which memory knows what the rules need")
            .with_callback(tell(|sizes| sizes.recent))
            .build();
    }

    /// A page of home was given.
    pub fn page(&self, source: &'static str) {
        self.pages.add(1, &[KeyValue::new("source", source)]);
    }

    /// A stream was opened.
    pub fn watch(&self, what: &'static str) {
        self.watches.add(1, &[KeyValue::new("what", what)]);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
