//! Every service in one process: the co-located servers themselves are the transports between them.
//!
//! Where others share the store, each server has in front of it what passes on to the holder of a slot; alone, this process
//! holds every slot, and nothing is ever passed on.

use crate::operator::Operator;
use crate::settings::Config;
use p92_chassis::Transport;
use p92_chassis::transport::{Others, PassOn};
use p92_eventlog::Platform;
use std::sync::Arc;
use tonic::service::Routes;

/// Everything that runs in one process.
#[derive(Clone, Debug)]
pub struct Whole {
    pub identity: Transport,
    pub posting: Transport,
    pub timelines: Transport,
    pub ranking: Transport,
    pub operator: Operator,
    /// All internal services, for the socket of the data directory.
    pub routes: Routes,
}

/// Starts every service over one platform, among other processes if the store is shared.
pub async fn start(
    platform: &Arc<Platform>,
    config: &Config,
    among: Option<Others>,
) -> anyhow::Result<Whole> {
    let platform = Arc::clone(platform);
    p92_eventlog::backup::refuse_unfinished(&*platform.engine).await?;
    let deps = p92_identity::Deps { platform: Arc::clone(&platform), config: config.identity.clone() };
    let local = |routes: Routes| match &among {
        Some(others) => Transport::local(PassOn::new(routes, others.clone())),
        None => Transport::local(routes),
    };
    let others = among.clone().unwrap_or_default();
    let identity = p92_identity::start_among(deps, others.clone()).await?;
    let to_identity = local(identity.routes());
    let deps = p92_posting::Deps { platform: Arc::clone(&platform), identity: to_identity.clone() };
    let posting = p92_posting::run_among(config.posting.clone(), deps, others).await?;
    let to_posting = local(posting.grpc_service());
    let deps = p92_timelines::Deps {
        platform: Arc::clone(&platform),
        identity: to_identity.clone(),
        posting: to_posting.clone(),
    };
    let timelines = p92_timelines::run(config.timelines.clone(), deps).await?;
    let deps = p92_federation_delivery::Deps { platform: Arc::clone(&platform) };
    let delivery = p92_federation_delivery::run(config.delivery.clone(), deps).await?;
    let deps = p92_ranking::Deps { platform: Arc::clone(&platform) };
    let ranking = p92_ranking::run(config.ranking.clone(), deps).await?;
    let runtimes = vec![
        Arc::clone(identity.runtime()),
        Arc::clone(posting.runtime()),
        Arc::clone(timelines.runtime()),
        Arc::clone(delivery.runtime()),
        Arc::clone(ranking.runtime()),
    ];
    let tables = [p92_identity::tables(), p92_posting::tables::all().to_vec()].concat();
    let operator = Operator { platform, runtimes, tables };
    let routes = merged([
        identity.routes(),
        posting.grpc_service(),
        timelines.grpc_service(),
        delivery.grpc_service(),
        ranking.grpc_service(),
    ]);
    Ok(Whole {
        identity: to_identity,
        posting: to_posting,
        timelines: local(timelines.grpc_service()),
        ranking: local(ranking.grpc_service()),
        operator,
        routes,
    })
}

impl Whole {
    /// Waits until every slot of every service has a holder.
    pub async fn ready(&self) {
        for runtime in &self.operator.runtimes {
            runtime.ready().await;
        }
    }
}

/// Several sets of routes as one.
fn merged(parts: [Routes; 5]) -> Routes {
    let mut router = axum::Router::new();
    for part in parts {
        // Each set answers unknown paths itself; only one may.
        router = router.merge(part.into_axum_router().reset_fallback());
    }
    Routes::from(router)
}
