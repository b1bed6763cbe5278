//! What a scrape tells of readers: of one that is stuck how far it falls behind, of one that has ended nothing.
//!
//! One scrape tells of every platform of the process, so each test has a service of its own.

use crate::world::{claim, open, platform};
use async_trait::async_trait;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use p92_eventlog::error::not_here;
use p92_eventlog::progress::Mark;
use p92_eventlog::{ConsumeError, Consumer, Platform, Recorded, Runtime, Spec, tables};
use p92_kernel::{Service, Shard};
use p92_storage::memory::{Asked, Fault, Faults, Memory, MemoryConfig, Request};
use p92_storage::{LogKey, RowKey};
use prometheus::{Registry, TextEncoder};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::watch;

const SHARD: Shard = Shard(1);
const OTHER: Shard = Shard(0);
const READER: &str = "test.reading";

/// All that is told now, as the process's own telemetry would. To be called before the platform is there.
fn scrape() -> String {
    static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone());
        let exporter = exporter.without_units().scope_info_enabled(false).build().unwrap();
        opentelemetry::global::set_meter_provider(SdkMeterProvider::builder().with_reader(exporter).build());
        registry
    });
    TextEncoder::new().encode_to_string(&REGISTRY.gather()).unwrap()
}

/// The value of a series, if there is one.
fn told(series: &str) -> Option<u64> {
    let text = scrape();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(value.parse().unwrap())
}

fn lag(service: Service, shard: Shard) -> Option<u64> {
    let name = service.name();
    told(&format!(
        r#"p92_eventlog_lag_events{{reader="{READER}",service="{name}",shard="{shard}",source="{name}"}}"#
    ))
}

/// A number that is told of a shard of a service.
fn of_shard(metric: &str, service: Service, shard: Shard) -> Option<u64> {
    told(&format!(r#"{metric}{{service="{}",shard="{shard}"}}"#, service.name()))
}

/// Reads the log of its own service, and waits before the first event until it is told that it need not.
#[derive(Debug)]
struct Reading {
    service: Service,
    open: watch::Sender<bool>,
    asked: watch::Sender<u32>,
}

impl Reading {
    fn new(service: Service, open: bool) -> Arc<Self> {
        Arc::new(Self { service, open: watch::Sender::new(open), asked: watch::Sender::new(0) })
    }

    async fn start(self: &Arc<Self>, platform: &Arc<Platform>) -> Arc<Runtime> {
        let consumers: Vec<Arc<dyn Consumer>> = vec![Arc::clone(self) as Arc<dyn Consumer>];
        let spec = Spec { service: self.service, views: vec![], consumers };
        let runtime = Runtime::start(platform, spec).await.unwrap();
        runtime.ready().await;
        runtime
    }

    /// Waits until it was asked more often than until now.
    async fn is_asked(&self) {
        let before = *self.asked.borrow();
        within(self.asked.subscribe().wait_for(|asked| *asked > before)).await.unwrap();
    }
}

#[async_trait]
impl Consumer for Reading {
    fn name(&self) -> &'static str {
        READER
    }

    fn source(&self) -> Service {
        self.service
    }

    fn wants(&self, event_type: &str) -> bool {
        event_type == "p92.event.v1.Position"
    }

    async fn handle(&self, _: &Recorded) -> Result<(), ConsumeError> {
        self.asked.send_modify(|asked| *asked += 1);
        if *self.open.borrow() { Ok(()) } else { Err(ConsumeError::Wait(not_here())) }
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it does not come")
}

/// Waits until what is told is this.
async fn until(what: impl Fn() -> Option<u64>, wanted: Option<u64>) {
    within(async {
        while what() != wanted {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_lag_of_a_reader_whose_consumer_waits_grows() {
    scrape();
    let service = Service::FederationDelivery;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let platform = platform(dir.path(), &store, store.clone());
    let reading = Reading::new(service, false);
    let runtime = reading.start(&platform).await;
    let quarantined =
        format!(r#"p92_eventlog_quarantined_events_total{{reader="{READER}",service="{}"}}"#, service.name());
    assert_eq!(told(&quarantined), Some(0), "told before there is anything to count");
    assert_eq!(of_shard("p92_eventlog_refused_appends_total", service, SHARD), Some(0));
    // It has read the barrier that closed the log, and nothing comes behind it.
    until(|| lag(service, SHARD), Some(0)).await;

    claim(&runtime, SHARD, 1, 1, "").await.unwrap();
    reading.is_asked().await;
    assert_eq!(lag(service, SHARD), Some(1), "told while it waits");
    for register in 2..5 {
        claim(&runtime, SHARD, register, 1, "").await.unwrap();
    }
    reading.is_asked().await;
    assert_eq!(lag(service, SHARD), Some(4), "it grows with the log, though nothing was read");
    assert_eq!(lag(service, OTHER), Some(0));
    assert_eq!(of_shard("p92_eventlog_head", service, SHARD), Some(5));
    assert_eq!(of_shard("p92_eventlog_head", service, OTHER), Some(1));

    reading.open.send_replace(true);
    until(|| lag(service, SHARD), Some(0)).await;
    platform.stop().await;
    assert_eq!((lag(service, SHARD), lag(service, OTHER)), (None, None), "no reader runs any more");
    assert_eq!(of_shard("p92_eventlog_owned", service, SHARD), Some(0));
}

#[tokio::test]
async fn a_reader_that_lost_its_slot_is_in_no_scrape() {
    scrape();
    let service = Service::Timelines;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let platform = platform(dir.path(), &store, store.clone());
    let reading = Reading::new(service, false);
    let runtime = reading.start(&platform).await;
    claim(&runtime, SHARD, 1, 1, "").await.unwrap();
    until(|| lag(service, SHARD), Some(1)).await;
    assert_eq!(of_shard("p92_eventlog_owned", service, SHARD), Some(1));

    let slots = platform.membership.slots();
    let held = || slots.borrow().contains_key(&(service, SHARD));
    within(async {
        // Nobody else is there: the slot comes back by itself, after a longer while each time.
        loop {
            platform.membership.give_back(service, &[SHARD]).await.unwrap();
            while !held() {
                if lag(service, SHARD).is_none() && of_shard("p92_eventlog_owned", service, SHARD) == Some(0)
                {
                    return;
                }
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    until(|| lag(service, OTHER), Some(0)).await;
    assert_eq!(of_shard("p92_eventlog_owned", service, OTHER), Some(1), "the other slot stays");
    platform.stop().await;
}

/// Does not say where one reader stands.
#[derive(Debug)]
struct Silent(RowKey);

impl Faults for Silent {
    fn next(&self, request: &Request) -> Fault {
        match request {
            Request::Get(key) if *key == self.0 => Fault::Refused,
            _ => Fault::Sound,
        }
    }
}

#[tokio::test]
async fn a_reader_that_cannot_find_its_place_is_told_as_one_that_has_read_nothing() {
    scrape();
    let service = Service::Identity;
    let log = LogKey { service, shard: SHARD };
    let silent: Arc<dyn Faults> = Arc::new(Silent(tables::checkpoint_key(READER, log)));
    let engine =
        Asked(Arc::new(Memory::new(MemoryConfig { faults: Some(silent), ..MemoryConfig::default() })));
    let dir = tempfile::tempdir().unwrap();
    let platform = platform(dir.path(), &open(dir.path()), Arc::new(engine));
    let runtime = Reading::new(service, true).start(&platform).await;
    claim(&runtime, SHARD, 1, 1, "").await.unwrap();
    until(|| lag(service, SHARD), Some(2)).await;
    let twin = Mark::reader(&READER.into(), LogKey { service, shard: OTHER });
    within(platform.progress.wait(&twin, p92_kernel::Seq(1))).await;
    assert_eq!(lag(service, OTHER), Some(0), "its twin reads");
    platform.stop().await;
}
