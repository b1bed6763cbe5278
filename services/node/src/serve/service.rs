//! `p92 serve identity` and the like: one service in a process of its own, among others that it calls and that call it.
//!
//! Its only door is the internal listener, where other processes of the installation come in; strangers find none here.

use super::base::{Base, bind};
use super::shared;
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
use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// Runs until a signal.
pub(super) async fn serve(role: Role, flags: &Flags, common: &Common) -> anyhow::Result<ExitCode> {
    let settings = flags.load_for(role)?;
    let door = bind("internal.listen", settings.internal.listen).await?;
    let ops = bind("ops", settings.ops).await?;
    let told = (settings.internal.address(door.address), ops.address);
    let base = Base::start(&settings, role.name(), ops, false)?;
    let store = base.health.condition("store", Needed::ToServe);
    let settled = base.health.condition("ownership", Needed::ToStart);
    base.health.complete();
    store.unmet("the store is being opened");
    settled.unmet("not every slot has a holder yet");
    let conditions = Conditions { store, settled };
    base.run(async |base| {
        start(role, &settings, common, base, door.listener, told.0.clone(), conditions).await?;
        greet(role, common, &told);
        Ok(())
    })
    .await
}

struct Conditions {
    store: Condition,
    settled: Condition,
}

async fn start(
    role: Role,
    settings: &Settings,
    common: &Common,
    base: &Base,
    door: TcpListener,
    address: String,
    Conditions { store: store_answers, settled }: Conditions,
) -> anyhow::Result<()> {
    let credentials = credentials(settings, base)?;
    let backing = shared::open(settings, common, role.name(), base, &store_answers).await?;
    let platform = Platform::start_at(backing.parts, address);
    retire_while_draining(base, &platform);
    shared::end(base, Arc::clone(&platform), backing.bus, backing.store);
    shared::wait_for_store(&platform, &store_answers).await;

    let ways = Ways::of(role, settings, credentials.clone())?;
    let one = start_one(role, &platform, settings, &ways).await?;
    base.operators.open(one.operator);
    let stop = base.shutdown.stopping();
    // Others ask it here how it stands, by the way that they call it.
    let routes = one.routes.add_service(base.health.grpc());
    let listening = internal(door, routes, ways.others, credentials, stop.clone());
    base.shutdown.spawn("the internal listener", listening);
    let (runtime, ended) = (Arc::clone(&one.runtime), stop.clone());
    base.shutdown.spawn("settling", async move {
        if ended.run_until_cancelled(runtime.ready()).await.is_some() {
            settled.met();
        }
        // A condition that nobody holds is not met.
        ended.cancelled().await;
    });
    base.shutdown.spawn("watching the store", shared::watch_store(platform, store_answers, stop));
    Ok(())
}

/// Slots are handed over as soon as nobody is sent here any more, while what still comes can be passed on.
pub(super) fn retire_while_draining(base: &Base, platform: &Arc<Platform>) {
    let (leaving, phases) = (Arc::clone(platform), base.shutdown.clone());
    base.shutdown.spawn("handing slots over while calls can be passed on", async move {
        phases.reached(Phase::Draining).await;
        if let Err(error) = leaving.membership.retire().await {
            tracing::warn!(%error, "the slots wait to be handed over until the end");
        }
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
