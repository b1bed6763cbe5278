//! What processes count of themselves, as Prometheus reads it, and what becomes of it between two looks.

use super::ground::{Ground, SERVICES};
use anyhow::Context as _;
use std::collections::BTreeMap;

/// The metrics of one process, as text.
#[derive(Debug)]
pub struct Scrape(pub String);

impl Scrape {
    /// The sum over all lines of a metric that carry `label`, `operation="get"`; an empty one is on every line. `None`
    /// if there is no such line.
    pub fn sum(&self, metric: &str, label: &str) -> Option<f64> {
        let is_it = |line: &&str| {
            let rest = line.strip_prefix(metric);
            rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
        };
        let value = |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok());
        self.0.lines().filter(is_it).filter_map(value).fold(None, |sum, one| Some(sum.unwrap_or(0.0) + one))
    }
}

/// What the store is asked by one kind of request: how often, and how many rows and bytes go with it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Asked {
    pub requests: f64,
    pub rows: f64,
    pub bytes: f64,
}

impl Asked {
    fn map(self, other: Self, join: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            requests: join(self.requests, other.requests),
            rows: join(self.rows, other.rows),
            bytes: join(self.bytes, other.bytes),
        }
    }

    /// Rows of one request.
    pub fn rows_each(&self) -> f64 {
        self.rows / self.requests.max(f64::EPSILON)
    }

    /// Bytes of one row.
    pub fn bytes_each(&self) -> f64 {
        self.bytes / self.rows.max(f64::EPSILON)
    }
}

/// What the store is asked by all processes, by operation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load(BTreeMap<&'static str, Asked>);

/// The operations that p92 tells apart.
const OPERATIONS: [&str; 7] = ["get", "scan", "scan_table", "write", "conditional", "append", "read_log"];

impl Load {
    /// What all of them have asked so far.
    pub async fn of(ground: &Ground) -> anyhow::Result<Self> {
        let mut load = BTreeMap::<_, Asked>::new();
        for name in SERVICES.iter().flat_map(|role| ground.all_of(role)) {
            let scrape = ground.scrape(&name).await?;
            for operation in OPERATIONS {
                let label = format!("operation=\"{operation}\"");
                let told = |what: &str| {
                    scrape.sum(&format!("p92_storage_{what}_total"), &label).with_context(|| {
                        format!(
                            "{name} does not count its {what} of the store\n  what to do: measure a p92 of this commit"
                        )
                    })
                };
                let asked = Asked { requests: told("requests")?, rows: told("rows")?, bytes: told("bytes")? };
                let sum = load.entry(operation).or_default();
                *sum = sum.map(asked, |one, other| one + other);
            }
        }
        Ok(Self(load))
    }

    pub fn get(&self, operation: &str) -> Asked {
        self.0.get(operation).copied().unwrap_or_default()
    }

    fn map(&self, other: &Self, join: impl Fn(f64, f64) -> f64) -> Self {
        let joined = |operation| (operation, self.get(operation).map(other.get(operation), &join));
        Self(OPERATIONS.into_iter().map(joined).collect())
    }

    /// What came after `before`.
    pub fn since(&self, before: &Self) -> Self {
        self.map(before, |now, then| now - then)
    }

    /// So many times less.
    pub fn by(&self, count: f64) -> Self {
        self.map(self, |one, _| one / count)
    }

    /// Without what is asked at rest, `seconds` times; never less than nothing.
    pub fn without(&self, rest: &Self, seconds: f64) -> Self {
        self.map(rest, |one, at_rest| (one - at_rest * seconds).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_metric_and_label_are_added() {
        let text = "# TYPE p92_a_total counter\np92_a_total{operation=\"get\",x=\"1\"} 3\n\
                    p92_a_total{operation=\"scan\"} 4\np92_a_total_b{operation=\"get\"} 100\np92_c 2.5\n";
        let scrape = Scrape(text.to_owned());
        assert_eq!(scrape.sum("p92_a_total", "operation=\"get\""), Some(3.0));
        assert_eq!(scrape.sum("p92_a_total", ""), Some(7.0));
        assert_eq!(scrape.sum("p92_c", ""), Some(2.5));
        assert_eq!(scrape.sum("p92_d", ""), None);
    }

    #[test]
    fn what_is_asked_at_rest_is_left_out() {
        let load = |get: f64| {
            Load([("get", Asked { requests: get, rows: get, bytes: 10.0 * get })].into_iter().collect())
        };
        let per_post = load(50.0).since(&load(10.0)).without(&load(2.0), 10.0).by(4.0);
        assert_eq!(per_post.get("get"), Asked { requests: 5.0, rows: 5.0, bytes: 50.0 });
        assert_eq!(load(1.0).without(&load(2.0), 10.0).get("get").requests, 0.0);
        assert!((per_post.get("get").bytes_each() - 10.0).abs() < 1e-9);
    }
}
