//! Home, public and tag timelines, notifications, markers and live streams.
//!
//! Owns: how far people have read, and what they set aside of their notifications. Everything else is a view of the logs
//! of identity (follows, blocks, mutes, states of accounts) and posting (posts, boosts, likes), in memory or in the store.
//! Commands: SetMarkers, DismissNotification, ClearNotifications. Events: MarkerSet, NotificationDismissed,
//! NotificationsCleared. Listens to identity and posting. It does not know what a post says.

pub mod app;
pub mod config;
pub mod consumer;
pub mod domain;
pub mod error;
pub mod grpc;
pub mod metrics;
pub mod tables;
pub mod view;
pub mod wire;

pub use config::Config;

use app::App;
use grpc::Grpc;
use p92_chassis::Transport;
use p92_eventlog::Platform;
use p92_proto::timelines::v1::marker_service_server::MarkerServiceServer;
use p92_proto::timelines::v1::notification_service_server::NotificationServiceServer;
use p92_proto::timelines::v1::timeline_service_server::TimelineServiceServer;
use p92_storage::StoreError;
use std::sync::Arc;

/// What timelines is given.
#[derive(Clone, Debug)]
pub struct Deps {
    pub platform: Arc<Platform>,
    /// The way to identity.
    pub identity: Transport,
    /// The way to posting.
    pub posting: Transport,
}

/// Every table of timelines.
#[must_use]
pub fn tables() -> Vec<&'static p92_storage::Table> {
    tables::ALL.to_vec()
}

/// Timelines at work.
#[derive(Clone, Debug)]
pub struct Timelines {
    app: Arc<App>,
}

/// Joins the members that may hold slots of timelines, and begins to read the logs of identity and posting.
pub async fn run(config: Config, deps: Deps) -> Result<Timelines, StoreError> {
    let app = App::start(&deps.platform, &config, deps.identity, deps.posting).await?;
    Ok(Timelines { app })
}

impl Timelines {
    /// The services, to be added to a server or put behind a local transport.
    #[must_use]
    pub fn grpc_service(&self) -> tonic::service::Routes {
        let grpc = Grpc(Arc::clone(&self.app));
        tonic::service::Routes::new(TimelineServiceServer::new(grpc.clone()))
            .add_service(NotificationServiceServer::new(grpc.clone()))
            .add_service(MarkerServiceServer::new(grpc))
    }

    /// The log of timelines.
    #[must_use]
    pub fn runtime(&self) -> &Arc<p92_eventlog::Runtime> {
        &self.app.runtime
    }

    /// Waits until every shard of the log that this process should own is owned. Homes are merged until memory is there.
    pub async fn ready(&self) {
        self.app.runtime.ready().await;
    }

    /// How large the memory is.
    #[must_use]
    pub fn memory_sizes(&self) -> domain::memory::Sizes {
        self.app.holder.memory.sizes()
    }
}
