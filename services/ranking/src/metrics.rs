//! What operators see of ranking. No tags, no names.

use opentelemetry::global;
use opentelemetry::metrics::Histogram;

/// The instruments.
#[derive(Clone, Debug)]
pub struct Metrics {
    tags: Histogram<u64>,
}

impl Metrics {
    /// Instruments of the process's meter.
    #[must_use]
    pub fn new() -> Self {
        let meter = global::meter("p92");
        let tags = meter.u64_histogram("p92_ranking_trends_tags");
        Self { tags: tags.with_description("Tags weighed when trends were computed").build() }
    }

    /// Trends were computed out of so many tags.
    pub fn computed(&self, tags: usize) {
        self.tags.record(tags as u64, &[]);
    }
}
