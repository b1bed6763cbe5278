//! What operators see of identity. No names of hosts or accounts.

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};
use std::time::Duration;

/// The instruments of identity.
#[derive(Clone, Debug)]
pub struct Metrics {
    sign_ups: Counter<u64>,
    passwords: Histogram<f64>,
    tokens: Counter<u64>,
    erasures: Counter<u64>,
    recovered: Counter<u64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let meter = global::meter("p92");
        Self {
            sign_ups: meter
                .u64_counter("p92_identity_sign_ups")
                .with_description("Sign-ups, by whether the names were granted")
                .build(),
            passwords: meter
                .f64_histogram("p92_identity_password_seconds")
                .with_description("Time to check a password, waiting included, by outcome")
                .with_boundaries(vec![0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0])
                .build(),
            tokens: meter
                .u64_counter("p92_identity_tokens_issued")
                .with_description("Tokens made, by grant")
                .build(),
            erasures: meter
                .u64_counter("p92_identity_erasures")
                .with_description("Accounts whose keys were destroyed")
                .build(),
            recovered: meter
                .u64_counter("p92_identity_claims_recovered")
                .with_description("Claims that a new owner of a shard finished")
                .build(),
        }
    }
}

impl Metrics {
    /// Somebody signed up, or the names were taken.
    pub fn signed_up(&self, granted: bool) {
        self.sign_ups.add(1, &[KeyValue::new("granted", granted)]);
    }

    /// A password was checked.
    pub fn password(&self, took: Duration, right: bool) {
        self.passwords.record(took.as_secs_f64(), &[KeyValue::new("right", right)]);
    }

    /// A token was made.
    pub fn token(&self, grant: &'static str) {
        self.tokens.add(1, &[KeyValue::new("grant", grant)]);
    }

    /// An account's keys were destroyed.
    pub fn erased(&self) {
        self.erasures.add(1, &[]);
    }

    /// A claim was finished by another than who began it.
    pub fn recovered(&self) {
        self.recovered.add(1, &[]);
    }
}
