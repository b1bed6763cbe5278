//! What timelines does when asked. The only place that knows in which order: wait, judge, read.

pub mod clients;
pub mod holder;
pub mod home;
pub mod live;
pub mod marks;
pub mod merges;
pub mod notifications;
pub mod public;
pub mod trail;
pub mod watch;
pub mod watch_public;

use crate::config::Config;
use crate::domain::marker::{List, Markers};
use crate::error;
use crate::metrics::Metrics;
use crate::{tables, view};
use clients::{Clients, Question};
use futures::FutureExt as _;
use holder::Holder;
use home::Noted;
use merges::Merges;
use p92_chassis::Transport;
use p92_eventlog::{CommandMeta, Platform, Receipt, Runtime, Spec, Stream};
use p92_kernel::{AccountId, Failure, Service};
use p92_proto::event::v1::ReadOptions;
use p92_proto::timelines::v1::Marker;
use p92_storage::{Direction, Range, StoreError};
use prost::Message as _;
use std::sync::Arc;

/// Timelines at work.
#[derive(Debug)]
pub struct App {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) holder: Arc<Holder>,
    merges: Arc<Merges>,
    clients: Clients,
    noted: Noted,
    metrics: Metrics,
}

impl App {
    /// Joins the members that may hold slots of timelines, and begins to read.
    pub async fn start(
        platform: &Arc<Platform>,
        config: &Config,
        identity: Transport,
        posting: Transport,
    ) -> Result<Arc<Self>, StoreError> {
        let spec = Spec { service: Service::Timelines, views: view::all(), consumers: Vec::new() };
        let runtime = Runtime::start(platform, spec).await?;
        let clients = Clients::new(identity, posting);
        let merges = Arc::new(Merges::new(clients.clone(), config));
        let holder = Holder::start(platform, Arc::clone(&merges), config).await?;
        let metrics = Metrics::new();
        let counted = Arc::downgrade(&holder);
        let sized = counted.clone();
        Metrics::sizes(move || sized.upgrade().map(|holder| holder.memory.sizes()));
        Metrics::deliveries(move || counted.upgrade().map_or(0, |holder| holder.memory.delivered()));
        Ok(Arc::new(Self { runtime, holder, merges, clients, noted: Noted::default(), metrics }))
    }

    /// Milliseconds since the Unix epoch.
    pub(crate) fn now(&self) -> u64 {
        self.runtime.platform().clock.now().0
    }

    /// Sets markers of an account.
    pub async fn set_markers(
        &self,
        meta: CommandMeta,
        account: AccountId,
        changes: Vec<(List, u64)>,
    ) -> Result<Receipt, Failure> {
        let stream = Stream::new("marker", account);
        let id = account.get();
        self.runtime
            .execute(account.shard(), meta, move |round| {
                let (stream, changes) = (stream.clone(), changes.clone());
                async move {
                    let markers = round.load::<Markers>(&stream).await?;
                    let events = markers.state.set(id, &changes).map_err(error::rejected)?;
                    round.emit::<Markers>(&stream, &events).await
                }
                .boxed()
            })
            .await
    }

    /// The markers of an account that were ever set.
    pub async fn markers(&self, options: &ReadOptions) -> Result<Vec<Marker>, Failure> {
        self.runtime.reads().at_least(&options.at_least).await?;
        let partition = tables::of_account(options.viewer_id);
        let reads = self.runtime.reads();
        let page =
            reads.scan(&tables::MARKERS, partition, Range::all(), Direction::Forward, 10, None).await?;
        let rows = page.rows.into_iter().map(|(_, row)| Marker::decode(row.value).map_err(Failure::internal));
        rows.collect()
    }

    /// A question on behalf of whoever reads.
    fn question(options: &ReadOptions) -> Question {
        Question {
            viewer: options.viewer_id,
            server: options.server_id,
            at_least: options
                .at_least
                .iter()
                .filter(|position| position.service != Service::Timelines.name())
                .cloned()
                .collect(),
        }
    }
}
