//! Trends, and the explanation of each ranked item.
//!
//! Owns: nothing yet that is not a view. It follows posting's log and keeps how often, and by how many, each tag is used;
//! which tags trend is computed when somebody asks. It does not know what a post says, nor who is who.
//!
//! | room | noun |
//! |---|---|
//! | `domain` | the use of a tag over a week, and its score: pure |
//! | `consumer`, `view`, `tables` | posts as uses of tags |
//! | `app` | uses as trends |
//! | `grpc` | the door |

mod app;
mod config;
mod consumer;
mod domain;
mod grpc;
mod metrics;
pub mod tables;
mod view;

pub use config::Config;

use app::App;
use grpc::Door;
use p92_eventlog::{Platform, Runtime, Spec};
use p92_kernel::Service;
use p92_proto::ranking::v1::ranking_service_server::RankingServiceServer;
use p92_storage::StoreError;
use std::sync::Arc;

/// What ranking needs from the process.
#[derive(Clone, Debug)]
pub struct Deps {
    pub platform: Arc<Platform>,
}

/// Ranking, running.
#[derive(Clone, Debug)]
pub struct Ranking {
    app: Arc<App>,
}

/// Starts to follow the log of posting.
pub async fn run(config: Config, deps: Deps) -> Result<Ranking, StoreError> {
    let spec = Spec { service: Service::Ranking, views: view::all(), consumers: Vec::new() };
    let runtime = Runtime::start(&deps.platform, spec).await?;
    Ok(Ranking { app: Arc::new(App::new(runtime, config)) })
}

impl Ranking {
    /// What serves the contract.
    #[must_use]
    pub fn grpc_service(&self) -> tonic::service::Routes {
        tonic::service::Routes::new(RankingServiceServer::new(Door(Arc::clone(&self.app))))
    }

    /// The log of ranking in this process. It holds nothing but barriers yet.
    #[must_use]
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.app.runtime
    }
}
