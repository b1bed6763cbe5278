//! `p92 serve gateway`: the door in a process of its own. It keeps nothing, and needs no store.

use super::base::{Base, bind};
use super::public::{self, Asked};
use super::{first, service};
use crate::cli::Common;
use crate::role::Role;
use crate::settings::{Flags, Settings};
use crate::wiring::Ways;
use p92_chassis::Transport;
use p92_chassis::health::{Condition, Needed};
use p92_kernel::Service;
use std::process::ExitCode;
use std::time::Duration;

const ASK_EVERY: Duration = Duration::from_secs(1);

/// Runs until a signal.
pub(super) async fn serve(flags: &Flags, common: &Common) -> anyhow::Result<ExitCode> {
    let settings = flags.load_for(Role::Gateway)?;
    let (http, grpc) = (bind("http", settings.http).await?, bind("grpc", settings.grpc).await?);
    let ops = bind("ops", settings.ops).await?;
    let told = (http.address, grpc.address, ops.address);
    let base = Base::start(&settings, Role::Gateway.name(), ops, false)?;
    let identity = base.health.condition("identity", Needed::ToStart);
    base.health.complete();
    let ways = Ways::of(Role::Gateway, &settings, service::credentials(&settings, &base)?)?;
    let (stop, running) = (base.shutdown.stopping(), base.shutdown.clone());
    base.shutdown.spawn("the public listeners", async move {
        let open = async {
            let home = wait_for_server(&settings, &ways.to(Service::Identity)?, &identity).await;
            let asked = Asked {
                identity: ways.to(Service::Identity)?,
                posting: ways.to(Service::Posting)?,
                timelines: ways.to(Service::Timelines)?,
                ranking: ways.to(Service::Ranking)?,
            };
            public::listen([http, grpc], asked, settings.gateway.clone(), home, &running).await
        };
        match stop.run_until_cancelled(open).await {
            Some(Err(error)) => tracing::error!("the door cannot be opened: {error:#}"),
            Some(Ok(())) => identity.met(),
            None => return,
        }
        stop.cancelled().await;
    });
    base.run(async |_| {
        greet(common, told);
        Ok(())
    })
    .await
}

fn greet(
    common: &Common,
    (http, grpc, ops): (std::net::SocketAddr, std::net::SocketAddr, std::net::SocketAddr),
) {
    if common.json {
        let ready = serde_json::json!({
            "event": "serving", "part": "gateway", "http": http.to_string(), "grpc": grpc.to_string(),
            "ops": ops.to_string(),
        });
        println!("{ready}");
    } else {
        println!("P92 gateway is at http://{http} (gRPC at {grpc}); how it stands: p92 health --ops {ops}");
    }
}

/// The public URL of the first server, as soon as identity answers and there is one. It is made here if the settings say
/// where people reach it; identity's log knows it once, however many doors ask.
async fn wait_for_server(settings: &Settings, identity: &Transport, condition: &Condition) -> String {
    let peers = settings.peers.identity.join(", ");
    loop {
        let found = match settings.public_url() {
            Some(url) => first::ensure(settings, identity, &url).await.map(Some),
            None => first::find(identity).await,
        };
        match found {
            Ok(Some(stored)) => {
                if let Some(asked) = settings.public_url() {
                    first::compare(&stored, &asked);
                }
                return stored;
            }
            Ok(None) => condition
                .unmet("there is no server yet; make one with `p92 server create`, or say `public_url`"),
            Err(failure) => condition.unmet(format!("identity at {peers} does not answer: {failure}")),
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
