//! The heads of logs for readers: their `applied` rows, asked for four times a second, with the moment of asking.
//!
//! An owner's word is no head (ARCHITECTURE §3.5). A memory may answer only if it has applied heads that were asked for
//! at most 500 ms ago; that moment is counted from sending the question.

use crate::partition::every_row;
use crate::progress::{Mark, Progress};
use crate::{Bus, tables};
use p92_kernel::{Clock, Seq, Service, Shard};
use p92_storage::{Engine, KeyReader, LogKey, RowKey, StoreError};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often heads are asked for.
pub const ASK_EVERY: Duration = Duration::from_millis(250);

/// How long whoever waits for a position lets its own process tell it before the store is asked, and at most between two
/// questions.
const WAIT_FIRST: Duration = Duration::from_millis(5);
const WAIT_MOST: Duration = Duration::from_millis(80);

/// The heads of one service's logs as of a moment.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// When the question was sent, monotonic.
    pub at: Duration,
    pub heads: BTreeMap<Shard, Seq>,
}

/// The last answers.
#[derive(Debug, Default)]
pub struct Heads {
    /// In order, so that the same run asks in the same order.
    followed: RwLock<BTreeMap<Service, Asked>>,
}

impl Heads {
    /// Starts asking for the heads of followed services.
    pub fn start(
        engine: Arc<dyn Engine>,
        clock: Arc<dyn Clock>,
        progress: Arc<Progress>,
        bus: Arc<dyn Bus>,
        tasks: &TaskTracker,
        stopping: &CancellationToken,
    ) -> Arc<Self> {
        let heads = Arc::new(Self::default());
        let (asking, stopping) = (Arc::clone(&heads), stopping.clone());
        tasks.spawn(async move {
            let mut tick = tokio::time::interval(ASK_EVERY);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    _ = tick.tick() => asking.ask_all(&*engine, &*clock, &progress, &*bus).await,
                }
            }
        });
        heads
    }

    async fn ask_all(&self, engine: &dyn Engine, clock: &dyn Clock, progress: &Progress, bus: &dyn Bus) {
        let services: Vec<Service> = self.followed.read().keys().copied().collect();
        for service in services {
            let at = clock.monotonic();
            match read_heads(engine, service).await {
                Ok(heads) => {
                    for (shard, seq) in &heads {
                        let log = LogKey { service, shard: *shard };
                        progress.reached(&Mark::applied(log), *seq);
                        bus.head_stands(log, *seq);
                    }
                    self.followed.write().insert(service, Asked { at, heads });
                }
                Err(error) => tracing::warn!(%service, %error, "heads could not be read"),
            }
        }
    }

    /// From now on the heads of this service are asked for.
    pub fn follow(&self, service: Service) {
        self.followed.write().entry(service).or_default();
    }

    /// Waits until a row of the store, whose stamp is a place in a log, has come so far: an `applied` row or a checkpoint.
    ///
    /// Whoever moves it may be another process, so that the store is asked; in one process the board of marks is quicker.
    pub async fn stands(
        engine: &dyn Engine,
        progress: &Progress,
        (mark, row): (&Mark, &RowKey),
        seq: Seq,
    ) -> Result<(), StoreError> {
        let mut pause = WAIT_FIRST;
        loop {
            tokio::select! {
                biased;
                () = progress.wait(mark, seq) => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
            if let Some(row) = engine.get(row).await? {
                progress.reached(mark, Seq(row.stamp));
            }
            pause = (pause * 2).min(WAIT_MOST);
        }
    }

    /// The last answer; empty before the first.
    #[must_use]
    pub fn last(&self, service: Service) -> Asked {
        self.followed.read().get(&service).cloned().unwrap_or_default()
    }
}

/// Asks the store for the heads of a service's logs.
pub async fn read_heads(engine: &dyn Engine, service: Service) -> Result<BTreeMap<Shard, Seq>, StoreError> {
    let mut heads = BTreeMap::new();
    for (clustering, row) in
        every_row(engine, tables::APPLIED.only(), tables::applied_partition(service)).await?
    {
        let shard = KeyReader::new(&clustering).small();
        let shard = shard.map_err(|error| StoreError::Damaged(format!("a head of {service}: {error}")))?;
        heads.insert(Shard(shard), Seq(row.stamp));
    }
    Ok(heads)
}
