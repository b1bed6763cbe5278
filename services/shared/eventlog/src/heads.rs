//! The heads of logs for readers: the `applied` rows of a service, one small read.
//!
//! An owner's word is no head (ARCHITECTURE §3.5). Whoever must know them at a certain age asks by itself; of the services
//! that this process follows they are asked for once a second besides, unless somebody has asked meanwhile. That is soon
//! enough to notice what the bus has lost, and a question to a store of several nodes costs it more than most events do.

use crate::partition::every_row;
use crate::progress::{Mark, Progress};
use crate::tasks::Tasks;
use crate::{Bus, tables};
use p92_kernel::{Clock, Seq, Service, Shard};
use p92_storage::{Engine, KeyReader, LogKey, RowKey, StoreError};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often heads are asked for.
pub const ASK_EVERY: Duration = Duration::from_secs(1);

/// How long whoever waits for a position lets its own process tell it before the store is asked, and at most between two
/// questions.
const WAIT_FIRST: Duration = Duration::from_millis(5);
const WAIT_MOST: Duration = Duration::from_millis(80);

/// Asks for heads, and tells the process what the answers were.
#[derive(Debug)]
pub struct Heads {
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    progress: Arc<Progress>,
    bus: Arc<dyn Bus>,
    /// When each followed service was asked about last, monotonic, if it was answered. In order, so that the same run asks
    /// in the same order.
    followed: Mutex<BTreeMap<Service, Option<Duration>>>,
}

impl Heads {
    /// Starts asking for the heads of followed services.
    pub fn start(
        engine: Arc<dyn Engine>,
        clock: Arc<dyn Clock>,
        progress: Arc<Progress>,
        bus: Arc<dyn Bus>,
        tasks: &Tasks,
        stopping: &CancellationToken,
    ) -> Arc<Self> {
        let heads = Arc::new(Self { engine, clock, progress, bus, followed: Mutex::default() });
        let (asking, stopping) = (Arc::clone(&heads), stopping.clone());
        tasks.spawn(async move {
            let mut tick = tokio::time::interval(ASK_EVERY);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    _ = tick.tick() => asking.ask_due().await,
                }
            }
        });
        heads
    }

    async fn ask_due(&self) {
        let now = self.clock.monotonic();
        // Half, since a question of the last round counts from its sending, a little after that round's beginning.
        let lately = |at: &Option<Duration>| at.is_some_and(|at| now.saturating_sub(at) < ASK_EVERY / 2);
        let due: Vec<Service> = {
            let followed = self.followed.lock();
            followed.iter().filter(|(_, at)| !lately(at)).map(|(service, _)| *service).collect()
        };
        for service in due {
            if let Err(error) = self.ask(service).await {
                tracing::warn!(%service, %error, "heads could not be read");
            }
        }
    }

    /// The heads of a service's logs at this moment, which readers in this process and the bus are told too.
    pub async fn ask(&self, service: Service) -> Result<BTreeMap<Shard, Seq>, StoreError> {
        let at = self.clock.monotonic();
        let heads = read_heads(&*self.engine, service).await?;
        for (shard, seq) in &heads {
            let log = LogKey { service, shard: *shard };
            self.progress.reached(&Mark::applied(log), *seq);
            self.bus.head_stands(log, *seq);
        }
        self.followed.lock().insert(service, Some(at));
        Ok(heads)
    }

    /// From now on the heads of this service are asked for.
    pub fn follow(&self, service: Service) {
        self.followed.lock().entry(service).or_default();
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
