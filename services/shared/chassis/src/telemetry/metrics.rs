//! Instruments by one rule of naming, and what they read as text.
//!
//! `p92_<service>_<thing>_<unit>`; counters get `_total` when they are exported. Labels come from closed sets: names of
//! methods, codes, readers, shards. It refuses to know what is measured.

use super::fields;
use opentelemetry::metrics::{Counter, Gauge, Histogram};
use opentelemetry::{KeyValue, global};
use opentelemetry_sdk::metrics::{Instrument, Stream};
use prometheus::{Encoder as _, Registry, TextEncoder};

/// Buckets of durations in seconds, from a read of memory to a migration.
pub const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Buckets of sizes in bytes.
const BYTES: [f64; 9] =
    [256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0];
/// Buckets of numbers of things.
const COUNTS: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 5_000.0];

/// Makes the instruments of one part. To be used after `telemetry::init`: instruments made before it measure nothing.
#[derive(Clone, Copy, Debug)]
pub struct Meter(&'static str);

/// The instruments of the part of this name, `posting`.
#[must_use]
pub const fn meter(service: &'static str) -> Meter {
    Meter(service)
}

impl Meter {
    fn name(self, thing: &str) -> String {
        format!("p92_{}_{thing}", self.0)
    }

    /// How many `things` there were, a plural: `published_posts`.
    #[must_use]
    pub fn counter(self, things: &str, about: &'static str) -> Counter<u64> {
        global::meter(fields::SCOPE).u64_counter(self.name(things)).with_description(about).build()
    }

    /// How many `things` there were, for each value of one label, as somebody counts them who knows no meter. `read` gives
    /// a value and its count; it is called whenever somebody looks.
    pub fn counted<R>(self, things: &str, about: &'static str, label: &'static str, read: R)
    where
        R: Fn() -> Vec<(&'static str, u64)> + Send + Sync + 'static,
    {
        let _counter = global::meter(fields::SCOPE)
            .u64_observable_counter(self.name(things))
            .with_description(about)
            .with_callback(move |observer| {
                for (value, count) in read() {
                    observer.observe(count, &[KeyValue::new(label, value)]);
                }
            })
            .build();
    }

    /// How long `thing` takes.
    #[must_use]
    pub fn seconds(self, thing: &str, about: &'static str) -> Histogram<f64> {
        global::meter(fields::SCOPE)
            .f64_histogram(self.name(&format!("{thing}_seconds")))
            .with_description(about)
            .with_boundaries(SECONDS.to_vec())
            .build()
    }

    /// How large `thing` is.
    #[must_use]
    pub fn bytes(self, thing: &str, about: &'static str) -> Histogram<u64> {
        global::meter(fields::SCOPE)
            .u64_histogram(self.name(&format!("{thing}_bytes")))
            .with_description(about)
            .with_boundaries(BYTES.to_vec())
            .build()
    }

    /// How many `units` one `thing` has: `histogram("group", "events", …)`.
    #[must_use]
    pub fn histogram(self, thing: &str, units: &str, about: &'static str) -> Histogram<u64> {
        global::meter(fields::SCOPE)
            .u64_histogram(self.name(&format!("{thing}_{units}")))
            .with_description(about)
            .with_boundaries(COUNTS.to_vec())
            .build()
    }

    /// How many `units` there are now: `gauge("lag", "events", …)`.
    #[must_use]
    pub fn gauge(self, thing: &str, units: &str, about: &'static str) -> Gauge<u64> {
        global::meter(fields::SCOPE)
            .u64_gauge(self.name(&format!("{thing}_{units}")))
            .with_description(about)
            .build()
    }
}

/// Series that an instrument of shards may have: 1,024 shards, the most there are, by the readers of a process that runs
/// everything, which are ten.
const OF_SHARDS: usize = 16 * 1_024;

/// Beyond 2,000 series the library tells all further ones as one without labels, unless it is told otherwise; no alert
/// would see a shard in that.
pub(super) fn of_shards(instrument: &Instrument) -> Option<Stream> {
    let many = instrument.scope().name() == fields::SCOPE_OF_SHARDS;
    if many { Stream::builder().with_cardinality_limit(OF_SHARDS).build().ok() } else { None }
}

/// All instruments of the process, as Prometheus reads them.
#[derive(Clone, Debug)]
pub struct Metrics(pub(super) Registry);

impl Metrics {
    /// What the text is, for whoever serves it.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// The text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.0.gather(), &mut out) {
            tracing::error!(error = %error, "the metrics could not be written");
        }
        String::from_utf8(out).unwrap_or_default()
    }
}
