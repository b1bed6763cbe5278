//! Servers, accounts, relationships, credentials and tokens: who there is, who may do what, and who stands how to whom.
//!
//! It owns the streams `server/<id>`, `account/<id>` and `relationship/<low>-<high>`, their views, and the state that is
//! secret: passwords, apps, codes, tokens, sessions (all hashed), and the claims on handles, e-mail addresses and domains.
//! Commands and events stand in `p92/identity/v1`. It listens to nobody but itself, and knows no post and no timeline.
//!
//! | room | noun |
//! |---|---|
//! | `domain` | rules: pure |
//! | `app` | commands and answers: gather, decide, append, read |
//! | `view`, `tables` | rows that are functions of events |
//! | `state`, `credentials` | names with one owner, secrets, passwords |
//! | `backup` | what of the state is backed up, and with what beside it |
//! | `wire` | rules ↔ contract |
//! | `grpc` | the contract's services |
//! | `consumer`, `tending` | what follows from events, and what time brings |

pub mod app;
pub mod backup;
pub mod config;
pub mod consumer;
pub mod credentials;
pub mod domain;
pub mod error;
pub mod grpc;
pub mod metrics;
pub mod state;
pub mod tables;
pub mod tending;
pub mod view;
pub mod wire;

use app::App;
use app::answers::Domains;
pub use config::Config;
use consumer::Clearing;
use credentials::{BadHashing, Hasher};
use metrics::Metrics;
use p92_chassis::Transport;
use p92_chassis::transport::{Others, PassOn};
use p92_eventlog::{Platform, Runtime, Spec};
use p92_kernel::Service;
use p92_storage::{StoreError, Table};
use state::State;
use std::sync::Arc;
use tonic::service::Routes;

/// What identity needs: nothing but the platform of its process.
#[derive(Clone, Debug)]
pub struct Deps {
    pub platform: Arc<Platform>,
    pub config: Config,
}

/// Why identity does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Hashing(#[from] BadHashing),
}

/// Identity, running.
#[derive(Clone, Debug)]
pub struct Identity {
    app: Arc<App>,
}

/// Every table of identity, to be known to tools.
#[must_use]
pub fn tables() -> Vec<&'static Table> {
    tables::all()
}

/// Starts identity in this process. It ends when the platform stops.
pub async fn start(deps: Deps) -> Result<Identity, StartError> {
    start_among(deps, Others::default()).await
}

/// The same among other replicas.
pub async fn start_among(deps: Deps, others: Others) -> Result<Identity, StartError> {
    let Deps { platform, config } = deps;
    let hasher = Hasher::new(&config.hashing, Arc::clone(&platform.random))?;
    let clearing = Arc::new(Clearing::default());
    let spec = Spec {
        service: Service::Identity,
        views: view::all(),
        consumers: vec![Arc::clone(&clearing) as Arc<dyn p92_eventlog::Consumer>],
    };
    let runtime = Runtime::start(&platform, spec).await?;
    let state =
        State::new(Arc::clone(&platform.engine), Arc::clone(&platform.clock), Arc::clone(&platform.random));
    let app = Arc::new(App {
        runtime,
        state,
        hasher,
        config,
        metrics: Metrics::default(),
        domains: Domains::default(),
    });
    clearing.begin(&app, Transport::local(PassOn::new(grpc::routes(&app), others)));
    platform.tasks.spawn(tending::tend(Arc::downgrade(&app), platform.stopping.clone()));
    Ok(Identity { app })
}

impl Identity {
    /// The services of the contract, for a local transport or a listener.
    #[must_use]
    pub fn routes(&self) -> Routes {
        grpc::routes(&self.app)
    }

    /// What identity does, for the parts of this process that need more than a client.
    #[must_use]
    pub const fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// The log of identity in this process: views and their rebuilding, what is held.
    #[must_use]
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.app.runtime
    }

    /// Finishes every claim that a shard's view lists, at once.
    pub async fn recover(&self, shard: p92_kernel::Shard) -> Result<(), p92_kernel::Failure> {
        self.app.recover(shard).await
    }
}
