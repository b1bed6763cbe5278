//! What other hosts must get.
//!
//! Owns: nothing yet that is not a view. It follows the logs of identity (remote accounts, follows, suspensions) and
//! posting (posts, boosts, likes), and computes for each activity of a local account which hosts must get it, and why.
//! It sends nothing, fetches nothing, and does not know what a post says.
//!
//! | room | noun |
//! |---|---|
//! | `domain` | spans of time, and who must get what: pure |
//! | `wire` | events and rows ↔ domain |
//! | `consumer`, `view`, `tables` | foreign events as rows |
//! | `app` | rows as plans |
//! | `grpc` | the door |

mod app;
mod config;
mod consumer;
mod domain;
mod error;
mod grpc;
mod metrics;
pub mod tables;
mod view;
mod wire;

pub use config::Config;

use app::App;
use grpc::Door;
use p92_eventlog::{Platform, Runtime, Spec};
use p92_kernel::Service;
use p92_proto::federation_delivery::v1::delivery_service_server::DeliveryServiceServer;
use p92_storage::StoreError;
use std::sync::Arc;

/// What federation-delivery needs from the process.
#[derive(Clone, Debug)]
pub struct Deps {
    pub platform: Arc<Platform>,
}

/// Federation-delivery, running.
#[derive(Clone, Debug)]
pub struct Delivery {
    app: Arc<App>,
}

/// Starts to follow the logs.
pub async fn run(config: Config, deps: Deps) -> Result<Delivery, StoreError> {
    let spec = Spec { service: Service::FederationDelivery, views: view::all(), consumers: Vec::new() };
    let runtime = Runtime::start(&deps.platform, spec).await?;
    Ok(Delivery { app: Arc::new(App { runtime, config, metrics: metrics::Metrics::new() }) })
}

impl Delivery {
    /// What serves the contract.
    #[must_use]
    pub fn grpc_service(&self) -> tonic::service::Routes {
        tonic::service::Routes::new(DeliveryServiceServer::new(Door(Arc::clone(&self.app))))
    }

    /// The log of federation-delivery in this process. It holds nothing but barriers yet.
    #[must_use]
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.app.runtime
    }
}
