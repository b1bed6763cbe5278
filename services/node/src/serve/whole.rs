//! `p92 serve`: everything in one process, from opening the store to letting go of it.

use super::base::{Base, Bound, bind};
use super::first;
use crate::backing::{OpenStore, open_bus, open_keys, open_store};
use crate::cli::Common;
use crate::operator::Operator;
use crate::settings::{Config, Flags, Settings};
use crate::socket;
use crate::wiring::{self, Whole};
use anyhow::Context as _;
use p92_chassis::health::Needed;
use p92_chassis::server::{self, Limits};
use p92_chassis::shutdown::Shutdown;
use p92_chassis::transport::{Guarded, Rules};
use p92_chassis::{SystemClock, SystemRandom};
use p92_eventlog::platform::Parts;
use p92_eventlog::{Keyring, Platform};
use p92_kernel::{Clock, Random};
use p92_proto::operator::v1::operator_service_server::OperatorServiceServer;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Runs until a signal.
pub(super) async fn serve(flags: &Flags, common: &Common) -> anyhow::Result<ExitCode> {
    let settings = flags.load()?;
    let (http, grpc) = (bind("http", settings.http).await?, bind("grpc", settings.grpc).await?);
    let ops = bind("ops", settings.ops).await?;
    let url = settings.public_url().unwrap_or_else(|| format!("http://{}", http.address));
    let addresses = (grpc.address, ops.address);
    let base = Base::start(&settings, "p92", ops, true)?;
    let serving = base.health.condition("services", Needed::ToStart);
    base.health.complete();
    let (store, platform) = open(&settings, &common.data).await?;
    let whole = wiring::start(&platform, &settings).await?;
    let stored = first::ensure(&settings, &whole.identity, &url).await;
    let stored = stored.context("the first server cannot be found or made")?;
    first::compare(&stored, &url);
    listen([http, grpc], &whole, &settings, &stored, &common.data, &base.shutdown).await?;
    base.operators.open(whole.operator.clone());
    serving.met();
    greet(&settings, common, &url, addresses)?;
    let stopping = Arc::clone(&platform);
    base.shutdown.finally("hand slots over, finish groups", async move {
        stopping.stop().await;
        Ok(())
    });
    base.shutdown.finally("close the store", async move {
        tokio::task::spawn_blocking(store.close).await.map_err(|error| error.to_string())
    });
    base.run().await
}

async fn open(settings: &Settings, data: &Path) -> anyhow::Result<(OpenStore, Arc<Platform>)> {
    let store = open_store(settings, data).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let file = open_keys(settings, data, &store, &*clock, &*random)?;
    let (engine, shards) = (Arc::clone(&store.engine), store.shards);
    let keyring = Arc::new(Keyring::new(Arc::clone(&engine), Arc::clone(&random), file));
    let bus = open_bus(settings, shards).await?;
    let platform = Platform::start(Parts { engine, bus, clock, random, keyring, shards });
    Ok((store, platform))
}

async fn listen(
    [http, grpc]: [Bound; 2],
    whole: &Whole,
    config: &Config,
    url: &str,
    data: &Path,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let stop = shutdown.stopping();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let deps = p92_gateway::Deps::over(
        whole.identity.clone(),
        whole.posting.clone(),
        whole.timelines.clone(),
        whole.ranking.clone(),
        clock,
        random,
    );
    let gate = p92_gateway::Gate::ending_with(deps, config.gateway.clone(), url.to_owned(), stop.clone());
    let http = server::serve(http.listener, p92_gateway::over(&gate), Limits::PUBLIC, stop.clone());
    shutdown.spawn("the public HTTP listener", http);
    let public = p92_gateway::api::services(&gate).await?;
    let public = Guarded::new(public, Rules::PUBLIC).ending_streams(stop.clone());
    let calls = server::serve(grpc.listener, server::grpc(public), Limits::PUBLIC, stop.clone());
    shutdown.spawn("the public gRPC listener", calls);
    let admin = admin_routes(whole);
    let local = server::serve(
        socket::listen(data)?,
        server::grpc(Guarded::new(admin, Rules::INTERNAL)),
        Limits::INTERNAL,
        stop,
    );
    shutdown.spawn("the socket of the data directory", local);
    Ok(())
}

fn admin_routes(whole: &Whole) -> tonic::service::Routes {
    let operator: Operator = whole.operator.clone();
    whole.routes.clone().add_service(OperatorServiceServer::new(operator))
}

/// Says where it is and what to do next: one line of JSON for machines, a few lines for people.
fn greet(
    settings: &Settings,
    common: &Common,
    url: &str,
    (grpc, ops): (SocketAddr, SocketAddr),
) -> anyhow::Result<()> {
    if common.json {
        let ready = serde_json::json!({
            "event": "ready",
            "url": url,
            "grpc": grpc.to_string(),
            "ops": ops.to_string(),
            "domain": settings.domain(),
            "data": common.data,
        });
        println!("{ready}");
        return Ok(());
    }
    let data = common.data.display();
    println!("P92 is at {url} (gRPC at {grpc})");
    if settings.is_local() {
        println!("  sign up there, or make the first account:");
    } else {
        println!("  sign-ups wait for approval; make the first account:");
    }
    println!("  p92 account create NAME --email YOU@EXAMPLE.ORG --password '…' --role owner --data {data}");
    println!("  Ctrl-C stops it; everything acknowledged stays in {data}");
    Ok(())
}
