//! One service among processes: it calls others over the network, and passes on what another replica holds.

use super::ways::Ways;
use crate::operator::Operator;
use crate::role::Role;
use crate::settings::Config;
use anyhow::bail;
use p92_eventlog::{Platform, Runtime};
use p92_kernel::Service;
use p92_proto::operator::v1::operator_service_server::OperatorServiceServer;
use p92_storage::Table;
use std::sync::Arc;
use tonic::service::Routes;

/// One service, running.
#[derive(Clone, Debug)]
pub struct One {
    pub runtime: Arc<Runtime>,
    /// What other processes may call: the service, and what operators ask of this process where few can come.
    pub routes: Routes,
    /// What operators ask of this process.
    pub operator: Operator,
}

/// Starts one service over its platform.
pub async fn start_one(
    role: Role,
    platform: &Arc<Platform>,
    config: &Config,
    ways: &Ways,
) -> anyhow::Result<One> {
    let platform = Arc::clone(platform);
    p92_eventlog::backup::refuse_unfinished(&*platform.engine).await?;
    let (runtime, routes, tables): (_, Routes, Vec<&'static Table>) = match role {
        Role::Identity => {
            let deps =
                p92_identity::Deps { platform: Arc::clone(&platform), config: config.identity.clone() };
            let identity = p92_identity::start_among(deps, ways.others.clone()).await?;
            (Arc::clone(identity.runtime()), identity.routes(), p92_identity::tables())
        }
        Role::Posting => {
            let deps =
                p92_posting::Deps { platform: Arc::clone(&platform), identity: ways.to(Service::Identity)? };
            let posting = p92_posting::run_among(config.posting.clone(), deps, ways.others.clone()).await?;
            (Arc::clone(posting.runtime()), posting.grpc_service(), p92_posting::tables::all().to_vec())
        }
        Role::Timelines => {
            let deps = p92_timelines::Deps {
                platform: Arc::clone(&platform),
                identity: ways.to(Service::Identity)?,
                posting: ways.to(Service::Posting)?,
            };
            let timelines = p92_timelines::run(config.timelines.clone(), deps).await?;
            (Arc::clone(timelines.runtime()), timelines.grpc_service(), p92_timelines::tables())
        }
        Role::FederationDelivery => {
            let deps = p92_federation_delivery::Deps { platform: Arc::clone(&platform) };
            let delivery = p92_federation_delivery::run(config.delivery.clone(), deps).await?;
            (Arc::clone(delivery.runtime()), delivery.grpc_service(), Vec::new())
        }
        Role::Ranking => {
            let deps = p92_ranking::Deps { platform: Arc::clone(&platform) };
            let ranking = p92_ranking::run(config.ranking.clone(), deps).await?;
            (Arc::clone(ranking.runtime()), ranking.grpc_service(), Vec::new())
        }
        Role::Gateway => bail!("the door keeps no log"),
    };
    let operator = Operator { platform, runtimes: vec![Arc::clone(&runtime)], tables };
    // What operators see and do is for few: whoever shows a certificate, or is on this machine.
    let few = config.tls.certificate_path.is_some() || config.internal.listen.ip().is_loopback();
    let routes = if few { routes.add_service(OperatorServiceServer::new(operator.clone())) } else { routes };
    Ok(One { runtime, routes, operator })
}
