//! Posts, what accounts do with them, and what is counted and listed of both.
//!
//! Commands: publish, edit, delete, pin, like, boost, bookmark, and their opposites. Events: `p92.posting.v1`.
//! It listens to identity (`AccountErased`) and to itself (`PostDeleted`), and asks identity at every read who may see
//! what. It refuses to know timelines, peers, HTTP and what other services are there.
//!
//! | room | noun |
//! |---|---|
//! | `domain` | posts, reactions, rules, texts: pure |
//! | `wire` | domain ↔ events |
//! | `app` | commands |
//! | `tables`, `view` | rows, and answers made of rows |
//! | `consumer` | what follows from events |
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
use app::clean::Ending;
use grpc::Door;
use p92_chassis::Transport;
use p92_chassis::transport::{Others, PassOn};
use p92_eventlog::{Platform, Runtime, Spec};
use p92_kernel::Service;
use p92_proto::posting::v1::ending_service_server::EndingServiceServer;
use p92_proto::posting::v1::post_service_server::PostServiceServer;
use p92_proto::posting::v1::reaction_service_server::ReactionServiceServer;
use p92_storage::StoreError;
use std::sync::{Arc, OnceLock};
use view::posts::Posts;
use view::standings::Identity;

/// What posting needs from the process.
#[derive(Clone, Debug)]
pub struct Deps {
    pub platform: Arc<Platform>,
    /// The way to identity.
    pub identity: Transport,
}

/// Posting, running.
#[derive(Clone, Debug)]
pub struct Posting {
    app: App,
}

/// Starts posting: its log, its readers, its answers.
pub async fn run(config: Config, deps: Deps) -> Result<Posting, StoreError> {
    run_among(config, deps, Others::default()).await
}

/// The same among other replicas.
pub async fn run_among(config: Config, deps: Deps, others: Others) -> Result<Posting, StoreError> {
    let later = Arc::new(OnceLock::new());
    let spec = Spec {
        service: Service::Posting,
        views: view::all(),
        consumers: vec![
            Arc::new(consumer::Erasure(Arc::clone(&later))),
            Arc::new(consumer::Clearing(Arc::clone(&later))),
        ],
    };
    let runtime = Runtime::start(&deps.platform, spec).await?;
    let posts = Posts {
        platform: deps.platform,
        reads: runtime.reads().clone(),
        identity: Identity::new(&deps.identity),
    };
    let app = App { runtime, posts, config, metrics: metrics::Metrics::new() };
    let posting = Posting { app: app.clone() };
    let own = Transport::local(PassOn::new(posting.grpc_service(), others));
    // The readers have waited for this; nobody else sets it.
    let _ = later.set((app, Ending::new(own)));
    Ok(posting)
}

impl Posting {
    /// What serves the contract.
    #[must_use]
    pub fn grpc_service(&self) -> tonic::service::Routes {
        let door = Door(self.app.clone());
        tonic::service::Routes::new(PostServiceServer::new(door.clone()))
            .add_service(ReactionServiceServer::new(door.clone()))
            .add_service(EndingServiceServer::new(door))
    }

    /// The log of posting in this process.
    #[must_use]
    pub const fn runtime(&self) -> &Arc<Runtime> {
        &self.app.runtime
    }
}
