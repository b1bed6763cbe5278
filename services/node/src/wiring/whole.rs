//! Every service in one process: the co-located servers themselves are the transports between them.

use crate::operator::Operator;
use crate::settings::Config;
use p92_chassis::Transport;
use p92_eventlog::Platform;
use std::sync::Arc;

/// Everything that runs in one process.
#[derive(Clone, Debug)]
pub struct Whole {
    pub identity: Transport,
    pub posting: Transport,
    pub timelines: Transport,
    pub ranking: Transport,
    pub operator: Operator,
    /// All internal services, for the socket of the data directory.
    pub routes: tonic::service::Routes,
}

/// Starts every service over one platform.
pub async fn start(platform: &Arc<Platform>, config: &Config) -> anyhow::Result<Whole> {
    let platform = Arc::clone(platform);
    p92_eventlog::backup::refuse_unfinished(&*platform.engine).await?;
    let deps = p92_identity::Deps { platform: Arc::clone(&platform), config: config.identity.clone() };
    let identity = p92_identity::start(deps).await?;
    let to_identity = Transport::local(identity.routes());
    let deps = p92_posting::Deps { platform: Arc::clone(&platform), identity: to_identity.clone() };
    let posting = p92_posting::run(config.posting.clone(), deps).await?;
    let to_posting = Transport::local(posting.grpc_service());
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
    for runtime in &runtimes {
        runtime.ready().await;
    }
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
        timelines: Transport::local(timelines.grpc_service()),
        ranking: Transport::local(ranking.grpc_service()),
        operator,
        routes,
    })
}

/// Several sets of routes as one.
fn merged(parts: [tonic::service::Routes; 5]) -> tonic::service::Routes {
    let mut router = axum::Router::new();
    for part in parts {
        // Each set answers unknown paths itself; only one may.
        router = router.merge(part.into_axum_router().reset_fallback());
    }
    tonic::service::Routes::from(router)
}
