//! `p92 serve`: everything in one process, from opening the store to letting go of it.

use super::base::{Base, bind};
use super::first;
use super::public::{self, Asked};
use crate::backing::open_parts;
use crate::cli::Common;
use crate::operator::Operator;
use crate::settings::{Flags, Settings};
use crate::socket;
use crate::wiring::{self, Whole};
use anyhow::Context as _;
use p92_chassis::health::Needed;
use p92_chassis::server::{self, Limits};
use p92_chassis::shutdown::Shutdown;
use p92_chassis::transport::{Guarded, Rules};
use p92_eventlog::Platform;
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
    let (store, parts) = open_parts(&settings, &common.data).await?;
    let platform = Platform::start(parts);
    let whole = wiring::start(&platform, &settings).await?;
    let stored = first::ensure(&settings, &whole.identity, &url).await;
    let stored = stored.context("the first server cannot be found or made")?;
    first::compare(&stored, &url);
    let asked = Asked {
        identity: whole.identity.clone(),
        posting: whole.posting.clone(),
        timelines: whole.timelines.clone(),
        ranking: whole.ranking.clone(),
    };
    public::listen([http, grpc], asked, settings.gateway.clone(), stored, &base.shutdown).await?;
    listen_locally(&whole, &common.data, &base.shutdown)?;
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

/// The way in for commands of this machine.
fn listen_locally(whole: &Whole, data: &Path, shutdown: &Shutdown) -> anyhow::Result<()> {
    let admin = server::grpc(Guarded::new(admin_routes(whole), Rules::INTERNAL));
    let local = server::serve(socket::listen(data)?, admin, Limits::INTERNAL, shutdown.stopping());
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
