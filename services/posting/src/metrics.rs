//! What operators see of posting. No names of accounts or hosts.

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};

/// The instruments of posting.
#[derive(Clone, Debug)]
pub struct Metrics {
    commands: Counter<u64>,
    cleaned: Counter<u64>,
}

impl Metrics {
    /// Instruments of the process's meter.
    #[must_use]
    pub fn new() -> Self {
        let meter = global::meter("p92");
        Self {
            commands: meter
                .u64_counter("p92_posting_commands")
                .with_description(
                    "Commands by name and outcome: done, repeated, unchanged, or the reason of a refusal",
                )
                .build(),
            cleaned: meter
                .u64_counter("p92_posting_cleaned_streams")
                .with_description("Posts and reactions that ended because an account or a post did")
                .build(),
        }
    }

    /// A command was answered.
    pub fn command(&self, name: &'static str, outcome: &str) {
        let labels = [KeyValue::new("command", name), KeyValue::new("outcome", outcome.to_owned())];
        self.commands.add(1, &labels);
    }

    /// Streams ended by an effect.
    pub fn cleaned(&self, streams: usize) {
        self.cleaned.add(streams as u64, &[]);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
