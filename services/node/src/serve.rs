//! `p92 serve`: everything in one process, from opening the store to letting go of it.

use crate::cli::Common;
use crate::operator::Operator;
use crate::settings::{Config, Flags, Settings};
use crate::socket;
use crate::wiring::{self, Whole};
use anyhow::Context as _;
use p92_chassis::health::{Health, Needed};
use p92_chassis::server::{self, Limits};
use p92_chassis::shutdown::{self, Shutdown, Times};
use p92_chassis::telemetry::{self, Process};
use p92_chassis::transport::{Guarded, Rules};
use p92_chassis::{SystemClock, SystemRandom};
use p92_eventlog::platform::Parts as PlatformParts;
use p92_eventlog::{KeyFile, Keyring, LocalBus, Platform};
use p92_kernel::{Clock, Random, ShardCount};
use p92_proto::event::v1::{CommandContext, ReadOptions};
use p92_proto::identity::v1::server_service_client::ServerServiceClient;
use p92_proto::identity::v1::{CreateServerRequest, ListServersRequest, RegistrationPolicy};
use p92_proto::operator::v1::operator_service_server::OperatorServiceServer;
use p92_storage::{Embedded, EmbeddedConfig};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Runs until a signal.
pub async fn serve(flags: &Flags, common: &Common) -> anyhow::Result<ExitCode> {
    let settings = flags.load()?;
    let instance = hex::encode(p92_kernel::clock::random_bytes::<8>(&SystemRandom));
    let process = Process { service: "p92".to_owned(), version: env!("CARGO_PKG_VERSION"), instance };
    let telemetry = telemetry::init(&settings.telemetry, &process)?;
    let shutdown = Shutdown::new(Times::ALONE);
    let health = Health::new(shutdown.clone());
    let serving = health.condition("services", Needed::ToStart);
    health.complete();
    shutdown.spawn("the heart", health.heart());
    let listeners = Listeners::bind(&settings).await?;
    let url = settings.public_url().unwrap_or_else(|| format!("http://{}", listeners.http.address));
    let operators = p92_chassis::ops::router(health, telemetry.metrics());
    // The last to stop, so that an orchestrator is told "not ready" until there is nobody to tell it.
    let gone = CancellationToken::new();
    let ops = p92_chassis::ops::serve(listeners.ops.listener.into_std()?, operators, gone.clone())?;
    let (store, platform) = open(&settings, &common.data)?;
    let whole = wiring::start(&platform, &settings).await?;
    let stored = ensure_server(&settings, &whole, &url).await?;
    if stored != url {
        // Ids of accounts and posts carry the URL that the server was made with; it does not follow a flag.
        tracing::warn!(stored, asked = url, "the first server keeps the public URL that it was made with");
    }
    let addresses = (listeners.grpc.address, listeners.ops.address);
    listen([listeners.http, listeners.grpc], &whole, &settings, &stored, &common.data, &shutdown).await?;
    serving.met();
    greet(&settings, common, &url, addresses)?;
    let (stopping, closing) = (Arc::clone(&platform), Arc::clone(&store));
    shutdown.finally("hand slots over, finish groups", async move {
        stopping.stop().await;
        Ok(())
    });
    shutdown.finally("close the store", async move {
        tokio::task::spawn_blocking(move || closing.close()).await.map_err(|error| error.to_string())
    });
    shutdown.finally("send what telemetry still holds", telemetry.flush());
    let outcome = shutdown.run(shutdown::signals()?).await;
    gone.cancel();
    // It bounds its own end; a panic in it is nothing that the exit code should tell.
    let _ended = tokio::task::spawn_blocking(move || ops.join()).await;
    Ok(ExitCode::from(u8::try_from(outcome.exit_code()).unwrap_or(1)))
}

struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

struct Listeners {
    http: Bound,
    grpc: Bound,
    ops: Bound,
}

impl Listeners {
    /// All of them before anything is opened: a port that is taken must not cost a start of the store.
    async fn bind(settings: &Settings) -> anyhow::Result<Self> {
        let bind = async |name: &str, address: SocketAddr| {
            let listener = TcpListener::bind(address).await.with_context(|| {
                format!(
                    "cannot listen on {address}; is another server running? --{name} names another address"
                )
            })?;
            let address = listener.local_addr()?;
            anyhow::Ok(Bound { listener, address })
        };
        Ok(Self {
            http: bind("http", settings.http).await?,
            grpc: bind("grpc", settings.grpc).await?,
            ops: bind("ops", settings.ops).await?,
        })
    }
}

fn open(settings: &Settings, data: &Path) -> anyhow::Result<(Arc<Embedded>, Arc<Platform>)> {
    let mut config = EmbeddedConfig::at(data);
    config.shards = ShardCount::new(settings.store.shards).context("`store.shards` was checked")?;
    config.free_floor_mib = settings.store.free_floor_mib;
    config.cache_mib = settings.store.cache_mib;
    config.compression = settings.store.compression;
    let store = Embedded::open(config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let keys = settings.keys(data);
    let file = KeyFile::open(&keys, store.installation(), store.is_fresh(), clock.now(), &*random)?;
    let engine: Arc<dyn p92_storage::Engine> = Arc::clone(&store) as Arc<dyn p92_storage::Engine>;
    let keyring = Arc::new(Keyring::new(Arc::clone(&engine), Arc::clone(&random), file));
    let shards = store.shards();
    let bus = Arc::new(LocalBus::new(shards));
    let platform = Platform::start(PlatformParts { engine, bus, clock, random, keyring, shards });
    Ok((store, platform))
}

/// Makes the first server at first start; its public URL.
async fn ensure_server(settings: &Settings, whole: &Whole, url: &str) -> anyhow::Result<String> {
    let mut servers = ServerServiceClient::new(whole.identity.clone());
    let request = ListServersRequest {
        options: Some(ReadOptions::default()),
        page_size: 500,
        page_token: String::new(),
    };
    let known = servers.list_servers(request).await.context("the servers cannot be listed")?.into_inner();
    if let Some(first) = known.servers.into_iter().min_by_key(|server| (server.created_ms, server.id)) {
        return Ok(first.public_url);
    }
    let registration =
        if settings.is_local() { RegistrationPolicy::Open } else { RegistrationPolicy::Approval };
    let domain = settings.domain();
    let request = CreateServerRequest {
        context: Some(CommandContext::default()),
        name: domain.clone(),
        domain,
        public_url: url.to_owned(),
        registration: registration.into(),
        ..CreateServerRequest::default()
    };
    servers.create_server(request).await.context("the first server cannot be made")?;
    Ok(url.to_owned())
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
