//! Whether the process lives, has started, and can serve; each answered by itself, never by asking a dependency.
//!
//! *Alive*: its own heartbeat goes on. *Started*: every condition of the start was met once. *Ready*: started, not on
//! its way out, and every condition is met now. Conditions are told by whoever knows; this room refuses to know what
//! they are about.

use crate::shutdown::{Phase, Shutdown};
use crate::telemetry::fields;
use crate::transport::Transport;
use futures::stream::{BoxStream, StreamExt as _};
use opentelemetry::{KeyValue, global};
use parking_lot::Mutex;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health as HealthService, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus};

/// How often the heart beats, and how long it may be silent before the process counts as dead: long enough for a
/// stalled disk or a paused machine, short beside the minutes that a stuck process would cost.
const BEAT: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(15);

/// What must be met, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Needed {
    /// Once, at the start.
    ToStart,
    /// All the time.
    ToServe,
    /// Never: it serves without, less well. Told all the same, for whoever looks.
    ToServeWell,
}

/// One condition as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    pub name: Cow<'static, str>,
    pub needed: Needed,
    pub met: bool,
    /// For people: why it is not met, or how it is.
    pub reason: Cow<'static, str>,
}

/// Everything that an operator asks at once.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub alive: bool,
    pub started: bool,
    pub ready: bool,
    pub phase: &'static str,
    pub conditions: Vec<State>,
}

#[derive(Debug, Default)]
struct Conditions {
    next: u64,
    states: BTreeMap<u64, State>,
    /// Stays true: a start happens once.
    started: bool,
    /// Nothing has started before all that starts has said what it waits for.
    complete: bool,
}

impl Conditions {
    fn settle(&mut self) {
        let mut to_start = self.states.values().filter(|state| state.needed == Needed::ToStart);
        self.started |= self.complete && to_start.all(|state| state.met);
    }

    fn ready(&self) -> bool {
        self.started && self.states.values().all(|state| state.met || state.needed != Needed::ToServe)
    }
}

#[derive(Debug)]
struct Shared {
    conditions: Mutex<Conditions>,
    changes: watch::Sender<()>,
    beat: Mutex<Instant>,
    shutdown: Shutdown,
}

/// The health of the process. Clones are the same.
#[derive(Clone, Debug)]
pub struct Health(Arc<Shared>);

/// Asks a process elsewhere whether it can serve, by gRPC's own protocol; the status if it does not say.
pub async fn ask(way: Transport, within: Duration) -> Result<bool, Status> {
    let mut request = Request::new(HealthCheckRequest { service: "readiness".to_owned() });
    request.set_timeout(within);
    let answer = HealthClient::new(way).check(request).await?.into_inner();
    Ok(answer.status() == ServingStatus::Serving)
}

impl Health {
    /// Alive, and neither started nor ready.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        let shared = Shared {
            conditions: Mutex::default(),
            changes: watch::Sender::new(()),
            beat: Mutex::new(Instant::now()),
            shutdown,
        };
        let health = Self(Arc::new(shared));
        health.observe();
        health
    }

    /// A condition, not met until it is said to be. Its last holder's end leaves it unmet.
    #[must_use]
    pub fn condition(&self, name: impl Into<Cow<'static, str>>, needed: Needed) -> Condition {
        let state = State { name: name.into(), needed, met: false, reason: "not known yet".into() };
        let mut conditions = self.0.conditions.lock();
        let number = conditions.next;
        conditions.next += 1;
        conditions.states.insert(number, state);
        drop(conditions);
        self.0.changes.send_replace(());
        Condition { health: self.clone(), number }
    }

    /// Every part has named its conditions; from here on they decide.
    pub fn complete(&self) {
        let mut conditions = self.0.conditions.lock();
        conditions.complete = true;
        conditions.settle();
        drop(conditions);
        self.0.changes.send_replace(());
    }

    /// The heart, until the process stops. To be run as a task among the others, since it shows that tasks are run.
    pub fn heart(&self) -> impl Future<Output = ()> + Send + use<> {
        let (health, stop) = (self.clone(), self.0.shutdown.stopping());
        async move {
            let mut beats = tokio::time::interval(BEAT);
            while stop.run_until_cancelled(beats.tick()).await.is_some() {
                *health.0.beat.lock() = Instant::now();
            }
        }
    }

    /// Whether the process runs its tasks. One that ends counts as alive: its end has limits of its own, and killing
    /// it early would only lose what it is about to finish.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.0.shutdown.phase() >= Phase::Stopping || self.0.beat.lock().elapsed() < SILENCE
    }

    /// Whether everything that the start waits for has come.
    #[must_use]
    pub fn started(&self) -> bool {
        self.0.conditions.lock().started
    }

    /// Whether traffic should be sent here.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.0.shutdown.phase() == Phase::Running && self.0.conditions.lock().ready()
    }

    /// Everything at once.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            alive: self.alive(),
            started: self.started(),
            ready: self.ready(),
            phase: match self.0.shutdown.phase() {
                Phase::Running => "running",
                Phase::Draining => "draining",
                Phase::Stopping => "stopping",
                Phase::Finishing => "finishing",
            },
            conditions: self.0.conditions.lock().states.values().cloned().collect(),
        }
    }

    /// The same answers by gRPC's own protocol, as load balancers and `grpc_health_probe` ask them. The empty name and
    /// `readiness` are the same.
    #[must_use]
    pub fn grpc(&self) -> HealthServer<impl HealthService + use<>> {
        HealthServer::new(Grpc(self.clone()))
    }

    /// One gauge for the whole and one for each condition.
    fn observe(&self) {
        let meter = global::meter(fields::SCOPE);
        let weak = Arc::downgrade(&self.0);
        let _ready = meter
            .u64_observable_gauge("p92_process_ready")
            .with_description("Whether the process can serve")
            .with_callback(move |observer| {
                if let Some(shared) = weak.upgrade() {
                    observer.observe(u64::from(Self(shared).ready()), &[]);
                }
            })
            .build();
        let weak = Arc::downgrade(&self.0);
        let _conditions = meter
            .u64_observable_gauge("p92_process_condition")
            .with_description("Whether a condition of readiness is met")
            .with_callback(move |observer| {
                let Some(shared) = weak.upgrade() else { return };
                for state in shared.conditions.lock().states.values() {
                    observer.observe(u64::from(state.met), &[KeyValue::new("condition", state.name.clone())]);
                }
            })
            .build();
    }
}

/// One condition, in the hands of whoever knows whether it is met.
#[derive(Debug)]
pub struct Condition {
    health: Health,
    number: u64,
}

impl Condition {
    /// It is met.
    pub fn met(&self) {
        self.set(true, "met");
    }

    /// It is not met, and why, for people.
    pub fn unmet(&self, reason: impl Into<Cow<'static, str>>) {
        self.set(false, reason);
    }

    fn set(&self, met: bool, reason: impl Into<Cow<'static, str>>) {
        let reason = reason.into();
        let mut conditions = self.health.0.conditions.lock();
        let Some(state) = conditions.states.get_mut(&self.number) else { return };
        if state.met == met && state.reason == reason {
            return;
        }
        if state.met != met {
            tracing::info!(condition = %state.name, met, reason = %reason, "a condition changed");
        }
        state.met = met;
        state.reason = reason;
        conditions.settle();
        drop(conditions);
        self.health.0.changes.send_replace(());
    }
}

impl Drop for Condition {
    fn drop(&mut self) {
        self.unmet("nobody watches it any more");
    }
}

struct Grpc(Health);

impl Grpc {
    fn status(health: &Health, name: &str) -> Option<ServingStatus> {
        let serving = match name {
            "" | "readiness" => health.ready(),
            "startup" => health.started(),
            "liveness" => health.alive(),
            _ => return None,
        };
        Some(if serving { ServingStatus::Serving } else { ServingStatus::NotServing })
    }
}

#[tonic::async_trait]
impl HealthService for Grpc {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let status = Self::status(&self.0, &request.get_ref().service)
            .ok_or_else(|| Status::not_found("no such name of a probe"))?;
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (health, name) = (self.0.clone(), request.into_inner().service);
        let changed = WatchStream::new(health.0.changes.subscribe());
        let phases = WatchStream::new(health.0.shutdown.phases()).map(|_| ());
        let mut last = None;
        let stream = futures::stream::select(changed, phases).filter_map(move |()| {
            // The protocol's word for a name that nobody knows: it may come to be known.
            let now = Grpc::status(&health, &name).unwrap_or(ServingStatus::ServiceUnknown);
            let news =
                (last.replace(now) != Some(now)).then(|| Ok(HealthCheckResponse { status: now.into() }));
            futures::future::ready(news)
        });
        Ok(Response::new(stream.boxed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Transport;
    use crate::shutdown::{Cause, Times};
    use tonic_health::pb::health_client::HealthClient;

    fn health() -> (Health, Shutdown) {
        let shutdown = Shutdown::new(Times::CLUSTER);
        (Health::new(shutdown.clone()), shutdown)
    }

    #[test]
    fn ready_is_all_conditions_now() {
        let (health, _) = health();
        let (store, lag) =
            (health.condition("store", Needed::ToServe), health.condition("lag", Needed::ToServe));
        health.complete();
        assert!(!health.ready());
        store.met();
        lag.met();
        assert!(health.ready());
        lag.unmet("5000 events behind");
        assert!(!health.ready() && health.started());
        let report = health.report();
        assert_eq!(report.conditions[1].reason, "5000 events behind");
        lag.met();
        assert!(health.ready());
    }

    #[test]
    fn what_only_serves_it_well_keeps_nobody_away() {
        let (health, _) = health();
        let (store, bus) =
            (health.condition("store", Needed::ToServe), health.condition("bus", Needed::ToServeWell));
        health.complete();
        bus.unmet("nobody answers there");
        assert!(health.started() && !health.ready());
        store.met();
        assert!(health.ready());
        assert_eq!(health.report().conditions[1].reason, "nobody answers there");
    }

    #[test]
    fn a_start_happens_once_and_not_before_all_have_spoken() {
        let (health, _) = health();
        let schema = health.condition("schema", Needed::ToStart);
        schema.met();
        assert!(!health.started(), "another part may still name what it waits for");
        let rebuild = health.condition("rebuild", Needed::ToStart);
        health.complete();
        assert!(!health.started());
        rebuild.met();
        assert!(health.started() && health.ready());
        rebuild.unmet("again");
        assert!(health.started() && health.ready());
    }

    #[test]
    fn a_condition_that_nobody_watches_is_not_met() {
        let (health, _) = health();
        let store = health.condition("store", Needed::ToServe);
        store.met();
        health.complete();
        assert!(health.ready());
        drop(store);
        assert!(!health.ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_on_its_way_out_is_not_ready() {
        let (health, shutdown) = health();
        health.complete();
        assert!(health.ready());
        tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.run(futures::stream::pending()).await }
        });
        shutdown.begin(Cause::Asked);
        shutdown.reached(Phase::Draining).await;
        assert!(!health.ready() && health.alive());
        let heart = tokio::spawn(health.heart());
        shutdown.reached(Phase::Stopping).await;
        heart.await.unwrap();
        tokio::time::sleep(SILENCE).await;
        assert!(health.alive());
    }

    #[tokio::test(start_paused = true)]
    async fn a_heart_that_stops_is_noticed() {
        let (health, _) = health();
        let heart = tokio::spawn(health.heart());
        tokio::time::sleep(SILENCE * 3).await;
        assert!(health.alive());
        heart.abort();
        tokio::time::sleep(SILENCE).await;
        assert!(!health.alive());
    }

    #[tokio::test(start_paused = true)]
    async fn grpc_tells_the_same_and_every_change() {
        let (health, shutdown) = health();
        let store = health.condition("store", Needed::ToServe);
        store.met();
        let mut client = HealthClient::new(Transport::local(tonic::service::Routes::new(health.grpc())));
        let ask = |name: &str| HealthCheckRequest { service: name.to_owned() };
        assert_eq!(client.check(ask("")).await.unwrap().into_inner().status(), ServingStatus::NotServing);
        assert_eq!(
            client.check(ask("liveness")).await.unwrap().into_inner().status(),
            ServingStatus::Serving
        );
        assert_eq!(client.check(ask("else")).await.unwrap_err().code(), tonic::Code::NotFound);

        let mut watch = client.watch(ask("readiness")).await.unwrap().into_inner();
        let mut next = async || watch.message().await.unwrap().unwrap().status();
        assert_eq!(next().await, ServingStatus::NotServing);
        health.complete();
        assert_eq!(next().await, ServingStatus::Serving);
        store.unmet("away");
        assert_eq!(next().await, ServingStatus::NotServing);
        store.met();
        assert_eq!(next().await, ServingStatus::Serving);
        tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.run(futures::stream::pending()).await }
        });
        shutdown.begin(Cause::Asked);
        assert_eq!(next().await, ServingStatus::NotServing);
    }
}
