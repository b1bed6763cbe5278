//! `p92 serve identity` and the like: one service in a process of its own, among others that it calls and that call it.
//!
//! Its only door is the internal listener, where other processes of the installation come in; strangers find none here.

use super::base::{Base, bind};
use crate::backing::{OpenStore, open_parts};
use crate::cli::Common;
use crate::role::Role;
use crate::settings::{Flags, Settings};
use crate::wiring::{Ways, start_one};
use p92_chassis::health::{Condition, Needed};
use p92_chassis::server::{self, Limits};
use p92_chassis::shutdown::Phase;
use p92_chassis::tls::Credentials;
use p92_chassis::transport::{Guarded, Others, PassOn, Rules};
use p92_eventlog::Platform;
use p92_kernel::Service;
use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// How often the store is asked whether it answers, and how long it may take.
const ASK_EVERY: Duration = Duration::from_secs(2);
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Runs until a signal.
pub(super) async fn serve(role: Role, flags: &Flags, common: &Common) -> anyhow::Result<ExitCode> {
    let settings = flags.load_for(role)?;
    let door = bind("internal.listen", settings.internal.listen).await?;
    let ops = bind("ops", settings.ops).await?;
    let address = settings.internal.address(door.address);
    let told = (address.clone(), ops.address);
    let base = Base::start(&settings, role.name(), ops, false)?;
    let store_answers = base.health.condition("store", Needed::ToServe);
    let settled = base.health.condition("ownership", Needed::ToStart);
    base.health.complete();
    store_answers.unmet("the store is being opened");
    settled.unmet("not every slot has a holder yet");
    let credentials = credentials(&settings, &base)?;
    let (store, parts) = open_parts(&settings, &common.data).await?;
    base.shutdown.spawn("the key file", Arc::clone(&parts.keyring).watch(base.shutdown.stopping()));
    let platform = Platform::start_at(parts, address);
    wait_for_store(&platform, &store_answers).await;

    let ways = Ways::of(role, &settings, credentials.clone())?;
    let one = start_one(role, &platform, &settings, &ways).await?;
    base.operators.open(one.operator);
    let stop = base.shutdown.stopping();
    let listening = internal(door.listener, one.routes, ways.others, credentials, stop.clone());
    base.shutdown.spawn("the internal listener", listening);
    let (runtime, ended) = (Arc::clone(&one.runtime), stop.clone());
    base.shutdown.spawn("settling", async move {
        if ended.run_until_cancelled(runtime.ready()).await.is_some() {
            settled.met();
        }
        // A condition that nobody holds is not met.
        ended.cancelled().await;
    });
    base.shutdown.spawn("watching the store", watch_store(Arc::clone(&platform), store_answers, stop));
    greet(role, common, &told);
    leave_at_the_end(&base, platform, store);
    base.run().await
}

/// Slots are handed over as soon as nobody is sent here any more, while what still comes can be passed on.
fn leave_at_the_end(base: &Base, platform: Arc<Platform>, store: OpenStore) {
    let (leaving, phases) = (Arc::clone(&platform), base.shutdown.clone());
    base.shutdown.spawn("handing slots over while calls can be passed on", async move {
        phases.reached(Phase::Draining).await;
        if let Err(error) = leaving.membership.retire().await {
            tracing::warn!(%error, "the slots wait to be handed over until the end");
        }
    });
    base.shutdown.finally("hand slots over, finish groups", async move {
        platform.stop().await;
        Ok(())
    });
    base.shutdown.finally("close the store", async move {
        tokio::task::spawn_blocking(store.close).await.map_err(|error| error.to_string())
    });
}

fn greet(role: Role, common: &Common, (internal, ops): &(String, std::net::SocketAddr)) {
    let name = role.name();
    if common.json {
        let ready = serde_json::json!({
            "event": "serving", "part": name, "internal": internal, "ops": ops.to_string(),
        });
        println!("{ready}");
    } else {
        println!("P92 {name} is at {internal}; how it stands: p92 health --ops {ops}");
    }
}

/// The certificates of this process, watched while it runs.
pub(super) fn credentials(settings: &Settings, base: &Base) -> anyhow::Result<Option<Credentials>> {
    let credentials = Credentials::load(&settings.tls)?;
    match &credentials {
        Some(credentials) => {
            base.shutdown.spawn("certificates", credentials.clone().watch(base.shutdown.stopping()));
        }
        None if !settings.internal.listen.ip().is_loopback() => {
            tracing::warn!("calls between services are not encrypted; `tls` names the certificates for it");
        }
        None => {}
    }
    Ok(credentials)
}

/// Serves what other processes of the installation may call, until `stop`.
pub fn internal(
    listener: TcpListener,
    routes: Routes,
    others: Others,
    credentials: Option<Credentials>,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let guarded = Guarded::new(PassOn::new(routes, others), Rules::INTERNAL).ending_streams(stop.clone());
    server::serve_secured(listener, server::grpc(guarded), Limits::INTERNAL, stop, credentials)
}

/// Whether the store answers a small question now; why not.
async fn ask_store(platform: &Platform) -> Result<(), String> {
    let heads = p92_eventlog::heads::read_heads(&*platform.engine, Service::Identity);
    match tokio::time::timeout(ANSWERS_WITHIN, heads).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("the store does not answer: {error}")),
        Err(_elapsed) => Err(format!("the store did not answer within {} s", ANSWERS_WITHIN.as_secs())),
    }
}

async fn wait_for_store(platform: &Platform, condition: &Condition) {
    while let Err(problem) = ask_store(platform).await {
        tracing::warn!(problem, "the start waits for the store");
        condition.unmet(problem);
        tokio::time::sleep(ASK_EVERY).await;
    }
    condition.met();
}

async fn watch_store(platform: Arc<Platform>, condition: Condition, stop: CancellationToken) {
    let mut tick = tokio::time::interval(ASK_EVERY);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        match ask_store(&platform).await {
            Ok(()) => condition.met(),
            Err(problem) => condition.unmet(problem),
        }
    }
}
