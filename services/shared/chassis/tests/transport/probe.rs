//! A server that misbehaves when asked, behind the health protocol's generated code, so that no proto is needed here.

use futures::{Stream, StreamExt as _, stream};
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use p92_chassis::Transport;
use p92_chassis::status::to_status;
use p92_chassis::transport::deadline;
use p92_kernel::{ErrorCode, Failure};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;

/// The trace that each probe was last called in.
pub static TRACES: Mutex<BTreeMap<usize, String>> = Mutex::new(BTreeMap::new());
static NUMBERS: AtomicUsize = AtomicUsize::new(0);

#[derive(Clone)]
pub struct Probe {
    pub number: usize,
    seen: Arc<Seen>,
}

struct Seen {
    arrived: Semaphore,
    given_up: Semaphore,
    demanded: Semaphore,
    left: Mutex<Option<Duration>>,
    called: AtomicBool,
    itself: OnceLock<Transport>,
}

/// Notices that a handler was dropped before it answered.
struct Unanswered(Arc<Seen>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.given_up.add_permits(1);
    }
}

impl Probe {
    pub fn new() -> Self {
        let none = || Semaphore::new(0);
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            seen: Arc::new(Seen {
                arrived: none(),
                given_up: none(),
                demanded: none(),
                left: Mutex::default(),
                called: AtomicBool::new(false),
                itself: OnceLock::new(),
            }),
        }
    }

    pub fn server(&self) -> tonic::service::Routes {
        tonic::service::Routes::new(HealthServer::new(self.clone()))
    }

    /// The way by which it calls itself.
    pub fn reached_by(&self, transport: Transport) {
        self.seen.itself.set(transport).unwrap();
    }

    pub async fn arrived(&self) {
        self.seen.arrived.acquire().await.unwrap().forget();
    }

    pub async fn given_up(&self) {
        self.seen.given_up.acquire().await.unwrap().forget();
    }

    pub fn was_called(&self) -> bool {
        self.seen.called.load(Ordering::Relaxed)
    }

    pub fn demand(&self) {
        self.seen.demanded.add_permits(1);
    }

    /// What was left of the last call that asked for it.
    pub fn left(&self) -> Duration {
        self.seen.left.lock().take().unwrap()
    }
}

/// Messages that are ready together travel together, so what is to arrive before the panic needs a pause after it.
async fn panic_later() -> Result<HealthCheckResponse, Status> {
    tokio::task::yield_now().await;
    panic!("a secret message")
}

fn refused() -> Status {
    to_status(Failure::invalid("service", "NAME_REFUSED", "Not this name: \u{201c}é\u{201d}."))
}

#[tonic::async_trait]
impl Health for Probe {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.seen.called.store(true, Ordering::Relaxed);
        match request.get_ref().service.as_str() {
            "refused" => return Err(refused()),
            "later" => {
                let later = Duration::from_millis(2_500);
                return Err(to_status(Failure::unavailable("LATER", "Later.", later)));
            }
            "bug" => return Err(to_status(Failure::internal("a secret path"))),
            "panic" => panic!("a secret message"),
            "never" => {
                let _unanswered = Unanswered(Arc::clone(&self.seen));
                self.seen.arrived.add_permits(1);
                std::future::pending::<()>().await;
            }
            "on demand" => {
                self.seen.arrived.add_permits(1);
                self.seen.demanded.acquire().await.unwrap().forget();
            }
            "left" => *self.seen.left.lock() = deadline::left(),
            "nested" => {
                let itself = self.seen.itself.get().unwrap().clone();
                HealthClient::new(itself).check(HealthCheckRequest { service: "left".to_owned() }).await?;
            }
            "trace" => {
                TRACES.lock().insert(self.number, trace_id(&tracing::Span::current()));
            }
            "metadata" if request.metadata().get("p92-server").is_none() => {
                return Err(to_status(Failure::new(ErrorCode::NotFound, "NO_METADATA", "None.")));
            }
            _ => {}
        }
        Ok(Response::new(HealthCheckResponse { status: 1 }))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let three = stream::repeat_with(|| Ok(HealthCheckResponse { status: 1 })).take(3);
        Ok(Response::new(match request.get_ref().service.as_str() {
            "three" => three.boxed(),
            "three then refused" => three.chain(stream::once(async { Err(refused()) })).boxed(),
            "three then panic" => three.chain(stream::once(panic_later())).boxed(),
            _ => {
                let seen = Arc::clone(&self.seen);
                stream::unfold(seen, |seen| async move {
                    seen.demanded.acquire().await.unwrap().forget();
                    Some((Ok(HealthCheckResponse { status: 1 }), seen))
                })
                .boxed()
            }
        }))
    }
}

pub fn request(service: &str) -> Request<HealthCheckRequest> {
    Request::new(HealthCheckRequest { service: service.to_owned() })
}

/// Records spans, in all tests of this binary: callsites remember whether anybody listens, so one that listens on its
/// own thread only may hear nothing.
pub fn record_spans() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let tracer = opentelemetry_sdk::trace::SdkTracerProvider::builder().build().tracer("test");
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
    });
}

pub fn trace_id(span: &tracing::Span) -> String {
    span.context().span().span_context().trace_id().to_string()
}
