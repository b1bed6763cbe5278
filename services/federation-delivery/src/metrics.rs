//! What operators see of federation-delivery. No names of hosts or accounts.

use opentelemetry::global;
use opentelemetry::metrics::{Counter, Histogram};

/// The instruments.
#[derive(Clone, Debug)]
pub struct Metrics {
    plans: Counter<u64>,
    hosts: Histogram<u64>,
}

impl Metrics {
    /// Instruments of the process's meter.
    #[must_use]
    pub fn new() -> Self {
        let meter = global::meter("p92");
        Self {
            plans: meter
                .u64_counter("p92_federation_delivery_plans")
                .with_description("Plans computed")
                .build(),
            hosts: meter
                .u64_histogram("p92_federation_delivery_plan_hosts")
                .with_description("Hosts in a plan")
                .build(),
        }
    }

    /// A plan with so many hosts was computed.
    pub fn plan(&self, hosts: usize) {
        self.plans.add(1, &[]);
        self.hosts.record(hosts as u64, &[]);
    }
}
