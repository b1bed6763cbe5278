//! What every process has, whatever it serves: telemetry, health, the operators' listener, an orderly end.

use crate::operator::access::Door;
use crate::settings::Settings;
use anyhow::Context as _;
use futures::StreamExt as _;
use p92_chassis::SystemRandom;
use p92_chassis::health::Health;
use p92_chassis::shutdown::{self, Cause, Shutdown};
use p92_chassis::telemetry::{self, Process, Telemetry};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A listener that was opened, and where it is.
pub(super) struct Bound {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
}

/// Opens a listener. All of a process before anything else: a port that is taken must not cost a start of the store.
pub(super) async fn bind(setting: &str, address: SocketAddr) -> anyhow::Result<Bound> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; is another server running? `{setting}` names another address")
    })?;
    let address = listener.local_addr()?;
    Ok(Bound { listener, address })
}

/// The process around what it serves.
pub(super) struct Base {
    pub(super) shutdown: Shutdown,
    pub(super) health: Health,
    /// Opened when there is something to ask.
    pub(super) operators: Door,
    /// Other processes know this one, so even a start that fails ends in order.
    pub(super) joined: AtomicBool,
    telemetry: Telemetry,
    /// The last to stop, so that an orchestrator is told "not ready" until there is nobody to tell it.
    gone: CancellationToken,
    ops: JoinHandle<()>,
}

impl Base {
    /// Begins to beat, and to tell operators how it stands.
    pub(super) fn start(settings: &Settings, name: &str, ops: Bound, alone: bool) -> anyhow::Result<Self> {
        let instance = hex::encode(p92_kernel::clock::random_bytes::<8>(&SystemRandom));
        let process = Process { service: name.to_owned(), version: env!("CARGO_PKG_VERSION"), instance };
        let telemetry = telemetry::init(&settings.telemetry, &process)?;
        let shutdown = Shutdown::new(settings.shutdown.times(alone));
        let health = Health::new(shutdown.clone());
        shutdown.spawn("the heart", health.heart());
        // Orchestrators ask by gRPC as well as by HTTP.
        let by_grpc = tonic::service::Routes::new(health.grpc()).into_axum_router().reset_fallback();
        let operators = Door::new(&settings.operators)?;
        let probes = p92_chassis::ops::router(health.clone(), telemetry.metrics()).merge(by_grpc);
        let all = probes.merge(operators.clone().router());
        let gone = CancellationToken::new();
        let ops = p92_chassis::ops::serve(ops.listener.into_std()?, all, gone.clone())?;
        Ok(Self { shutdown, health, operators, joined: AtomicBool::new(false), telemetry, gone, ops })
    }

    /// Starts, serves until a signal, then ends in order; a signal that comes first ends the start. What must be done
    /// last was said by `finally`.
    pub(super) async fn run(
        self,
        start: impl AsyncFnOnce(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<ExitCode> {
        // Heard from the first moment: a start may wait for long, and in a container nobody else ends the process.
        let mut signals = Box::pin(shutdown::signals()?);
        let mut failed = None;
        tokio::select! {
            // Boxed: it is the whole of a start, and larger than all the rest.
            started = Box::pin(start(&self)) => match started {
                Ok(()) => {}
                Err(error) if !self.joined.load(Ordering::Acquire) => return Err(error),
                Err(error) => {
                    // Others must not wait for the slots of a process that never served.
                    self.shutdown.begin(Cause::Failed(format!("it cannot start: {error:#}")));
                    failed = Some(error);
                }
            },
            Some(signal) = signals.next() => {
                tracing::info!(?signal, "asked to end before it has started");
                self.shutdown.begin(Cause::Asked);
            }
        }
        self.shutdown.finally("send what telemetry still holds", self.telemetry.flush());
        let outcome = self.shutdown.run(signals).await;
        self.gone.cancel();
        // It bounds its own end; a panic in it is nothing that the exit code should tell.
        let ops = self.ops;
        let _ended = tokio::task::spawn_blocking(move || ops.join()).await;
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(ExitCode::from(u8::try_from(outcome.exit_code()).unwrap_or(1)))
    }
}
