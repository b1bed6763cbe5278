//! `p92 serve`: everything in one process, from opening the store to letting go of it.

use super::base::{Base, Bound, bind};
use super::public::{self, Asked};
use super::{first, service, shared};
use crate::cli::Common;
use crate::operator::Operator;
use crate::settings::{Flags, Settings, StoreKind};
use crate::socket;
use crate::wiring::{self, Whole};
use anyhow::Context as _;
use p92_chassis::health::{Condition, Needed};
use p92_chassis::server::{self, Limits};
use p92_chassis::shutdown::Shutdown;
use p92_chassis::transport::{Guarded, Others, PassOn, Rules};
use p92_eventlog::Platform;
use p92_proto::operator::v1::operator_service_server::OperatorServiceServer;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::UnixListener;

/// What this process is called where it is not named after a part.
const NAME: &str = "p92";

/// Runs until a signal.
pub(super) async fn serve(flags: &Flags, common: &Common) -> anyhow::Result<ExitCode> {
    let settings = flags.load_for_whole()?;
    let (http, grpc) = (bind("http", settings.http).await?, bind("grpc", settings.grpc).await?);
    let ops = bind("ops", settings.ops).await?;
    // Only where others may share the store does anybody come in there.
    let among = match settings.store.kind {
        StoreKind::Embedded => None,
        StoreKind::Cql => Some(bind("internal.listen", settings.internal.listen).await?),
    };
    let url = settings.public_url().unwrap_or_else(|| format!("http://{}", http.address));
    let addresses = (grpc.address, ops.address);
    let base = Base::start(&settings, NAME, ops, among.is_none())?;
    let serving = base.health.condition("services", Needed::ToStart);
    base.health.complete();
    serving.unmet("the store is being opened");
    base.run(async |base| {
        start(&settings, common, base, (http, grpc, among), &url, &serving).await?;
        serving.met();
        greet(&settings, common, &url, addresses)
    })
    .await
}

async fn start(
    settings: &Settings,
    common: &Common,
    base: &Base,
    (http, grpc, among): (Bound, Bound, Option<Bound>),
    url: &str,
    serving: &Condition,
) -> anyhow::Result<()> {
    let backing = shared::open(settings, common, NAME, base, serving).await?;
    // Before anybody knows this process: whoever has the directory already must not lose slots to it.
    let local = socket::listen(&common.data)?;
    let address = among.as_ref().map_or_else(String::new, |door| settings.internal.address(door.address));
    let platform = Platform::start_at(backing.parts, address);
    shared::end(base, Arc::clone(&platform), backing.bus, backing.store);
    serving.unmet("the services are being started");
    let (whole, others) = match among {
        None => (wiring::start(&platform, settings, None).await?, Others::default()),
        Some(door) => join(&platform, settings, base, door).await?,
    };
    whole.ready().await;
    let stored = first::ensure(settings, &whole.identity, url).await;
    let stored = stored.context("the first server cannot be found or made")?;
    first::compare(&stored, url);
    let asked = Asked {
        identity: whole.identity.clone(),
        posting: whole.posting.clone(),
        timelines: whole.timelines.clone(),
        ranking: whole.ranking.clone(),
    };
    public::listen([http, grpc], asked, settings.gateway.clone(), stored, &base.shutdown).await?;
    listen_locally(&whole, others, local, &base.shutdown);
    base.operators.open(whole.operator.clone());
    Ok(())
}

/// Starts every service among the processes that share the store: slots are spread over all of them, so others come in
/// here, and what they hold is passed on to them.
async fn join(
    platform: &Arc<Platform>,
    settings: &Settings,
    base: &Base,
    door: Bound,
) -> anyhow::Result<(Whole, Others)> {
    let credentials = service::credentials(settings, base)?;
    let others = Others::new(credentials.clone(), settings.internal.server_name.clone());
    let answers = base.health.condition("store", Needed::ToServe);
    shared::wait_for_store(platform, &answers).await;
    service::retire_while_draining(base, platform);
    let whole = wiring::start(platform, settings, Some(others.clone())).await?;
    let stop = base.shutdown.stopping();
    let (routes, way) = (whole.routes.clone().add_service(base.health.grpc()), others.clone());
    let listening = service::internal(door.listener, routes, way, credentials, stop.clone());
    base.shutdown.spawn("the internal listener", listening);
    base.shutdown.spawn("watching the store", shared::watch_store(Arc::clone(platform), answers, stop));
    Ok((whole, others))
}

/// The way in for commands of this machine.
fn listen_locally(whole: &Whole, others: Others, listener: UnixListener, shutdown: &Shutdown) {
    let admin = PassOn::new(admin_routes(whole), others);
    let admin = server::grpc(Guarded::new(admin, Rules::INTERNAL));
    let local = server::serve(listener, admin, Limits::INTERNAL, shutdown.stopping());
    shutdown.spawn("the socket of the data directory", local);
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
