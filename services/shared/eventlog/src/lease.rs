//! Leased readers: one reader and one checkpoint per (consumer, source log), run by whoever holds the slot.

use crate::error::{ConsumeError, ProjectionError};
use crate::group::Group;
use crate::overlay::Overlay;
use crate::platform::Shared;
use crate::progress::Mark;
use crate::quarantine::{Quarantine, TRIES};
use crate::reader::GroupStream;
use crate::rebuild::{self, Join, joins};
use crate::rows::{Layers, Rows, readable, to_writes};
use crate::settle::{self, Aside};
use crate::trace::consuming;
use crate::view::ViewSet;
use crate::{Platform, Poison, Recorded, notes, tables};
use async_trait::async_trait;
use p92_kernel::{Seq, Service};
use p92_proto::event::v1::Settling;
use p92_storage::{LogKey, ProjectedBatch, ProjectedWrite, Projection, RowKey, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// An effect of events: a command to a service. Idempotent, with the causing event's id as key.
#[async_trait]
pub trait Consumer: Send + Sync + std::fmt::Debug + 'static {
    /// Unique in the installation: `<service>.<what it does>`.
    fn name(&self) -> &'static str;

    /// Whose log it reads.
    fn source(&self) -> Service;

    /// Whether events of this type matter. Asked for every event, so cheap.
    fn wants(&self, event_type: &str) -> bool;

    /// Does what follows from the event. Called again after a restart, or when it must wait.
    async fn handle(&self, event: &Recorded) -> Result<(), ConsumeError>;
}

/// What a leased reader does with events.
#[derive(Clone, Debug)]
pub enum Work {
    /// Writes rows of views, with the checkpoint in one batch.
    Views(ViewSet),
    /// Does effects, then moves the checkpoint.
    Effects(Arc<dyn Consumer>),
}

/// One reader of one log.
#[derive(Debug)]
pub struct Lease {
    pub shared: Arc<Shared>,
    pub name: Arc<str>,
    pub log: LogKey,
    pub work: Work,
    pub joining: mpsc::Receiver<Join>,
}

/// For how long a checkpoint may stay behind groups that left nothing to write. Most groups mean nothing to most readers,
/// and a row for each of them would cost the store more than the groups themselves. Reads of views wait for their
/// reader's checkpoint.
const KEEP_WITHIN: Duration = Duration::from_millis(250);
/// The same of effects, for which nobody waits.
const KEEP_EFFECTS_WITHIN: Duration = Duration::from_secs(2);

/// Rows of a group as the store shall have them, and the note that finishes them.
type Batch = (Vec<ProjectedWrite>, Option<ProjectedWrite>);

/// Nothing to write.
const NOTHING: Batch = (Vec::new(), None);

/// The checkpoint as it stands in the store. The reader may be further by groups that left nothing.
struct Kept {
    checkpoint: RowKey,
    stands: Seq,
    /// For how long it may stay behind.
    within: Duration,
    /// When it must be moved; `None` while it stands where the reader is.
    due: Option<Instant>,
}

impl Kept {
    /// The reader came so far. Rows are written at once, and the checkpoint with them.
    async fn come_to(&mut self, platform: &Platform, to: Seq, (writes, note): Batch) -> Result<(), Wait> {
        if writes.is_empty() {
            self.due.get_or_insert_with(|| Instant::now() + self.within);
            return Ok(());
        }
        self.move_to(platform, to, (writes, note)).await
    }

    /// Moves the checkpoint, with the rows that belong to it.
    async fn move_to(&mut self, platform: &Platform, to: Seq, (writes, note): Batch) -> Result<(), Wait> {
        if to > self.stands {
            let (checkpoint, from) = (self.checkpoint.clone(), self.stands);
            let batch = ProjectedBatch { checkpoint, from, to, writes, note };
            if let Projection::Refused { stands } = platform.engine.project(batch).await?
                && stands != to
            {
                return Err(Wait::Moved(stands));
            }
            self.stands = to;
        }
        self.due = None;
        Ok(())
    }

    /// Waits until the checkpoint must be moved; for ever if it need not.
    async fn due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}

/// Why a group was not finished; nothing of it was lost.
enum Wait {
    /// The store, or whoever an effect asks, does not answer.
    Error(String),
    /// An event is newer than this build knows.
    Newer(String),
    /// Somebody else moved the checkpoint.
    Moved(Seq),
    /// Somebody has begun to write behind the checkpoint, this reader itself perhaps.
    Touched,
}

impl From<StoreError> for Wait {
    fn from(error: StoreError) -> Self {
        Self::Error(error.to_string())
    }
}

impl Lease {
    /// Reads until told to stop. What is under way is finished or will be done again.
    pub async fn run(mut self, stop: CancellationToken) {
        let mark = Mark::reader(&self.name, self.log);
        let _running = self.shared.platform.progress.run(self.shared.service, mark.clone());
        let mut pause = Duration::from_millis(50);
        while !stop.is_cancelled() {
            let problem = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                waits = self.follow(&mut pause) => match waits {
                    Wait::Error(problem) => problem,
                    Wait::Newer(problem) => {
                        pause = Duration::from_secs(5);
                        self.give_back().await;
                        problem
                    }
                    Wait::Moved(seq) => format!("the checkpoint stands at {seq}"),
                    Wait::Touched => "rows behind the checkpoint are being written".to_owned(),
                },
            };
            // Whoever cannot even find its place is told as one that has read nothing.
            self.shared.platform.progress.reached(&mark, Seq(0));
            self.shared.metrics.waiting(self.log);
            tracing::warn!(reader = %self.name, source = %self.log.service, shard = %self.log.shard, problem, "a reader waits");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// Gives the slot back, which stops this reader: whoever holds the slot next begins at the same event.
    async fn give_back(&self) {
        let slot = (self.shared.service, self.log.shard);
        if let Err(error) = self.shared.platform.membership.give_back(slot.0, &[slot.1]).await {
            tracing::warn!(service = %slot.0, shard = %slot.1, %error, "a slot could not be given back yet");
        }
    }

    async fn follow(&mut self, pause: &mut Duration) -> Wait {
        match self.follow_from_checkpoint(pause).await {
            Ok(never) => match never {},
            Err(wait) => wait,
        }
    }

    async fn follow_from_checkpoint(
        &mut self,
        pause: &mut Duration,
    ) -> Result<std::convert::Infallible, Wait> {
        let platform = &Arc::clone(&self.shared.platform);
        let checkpoint = tables::checkpoint_key(&self.name, self.log);
        let at = self.begin(&checkpoint).await?;
        let mut quarantine = Quarantine::load(platform, &self.name, self.log).await?;
        let mark = Mark::reader(&self.name, self.log);
        platform.progress.reached(&mark, at);
        let mut groups = GroupStream::new(platform, self.log, at);
        let within = match self.work {
            Work::Views(_) => KEEP_WITHIN,
            Work::Effects(_) => KEEP_EFFECTS_WITHIN,
        };
        let mut kept = Kept { checkpoint, stands: at, within, due: None };
        let mut looks = tokio::time::interval(settle::LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let group = tokio::select! {
                biased;
                _ = looks.tick(), if !quarantine.is_empty() => {
                    self.settle().await?;
                    quarantine = Quarantine::load(platform, &self.name, self.log).await?;
                    continue;
                }
                Some(join) = self.joining.recv() => {
                    kept.move_to(platform, groups.at(), NOTHING).await?;
                    let epoch = self.epoch()?;
                    rebuild::join(&self.shared, self.log, (groups.at(), epoch), join).await;
                    continue;
                }
                () = kept.due() => {
                    kept.move_to(platform, groups.at(), NOTHING).await?;
                    continue;
                }
                group = groups.next() => group?,
            };
            let to = group.last_seq();
            match &self.work {
                Work::Views(views) => {
                    let batch = self.batch(views, &group, &mut quarantine, &kept).await?;
                    kept.come_to(platform, to, batch).await?;
                }
                Work::Effects(consumer) => {
                    if self.effects(&**consumer, &group, &mut quarantine).await? {
                        kept.move_to(platform, to, NOTHING).await?;
                    } else {
                        kept.come_to(platform, to, NOTHING).await?;
                    }
                }
            }
            platform.progress.reached(&mark, to);
            *pause = Duration::from_millis(50);
        }
    }

    /// The epoch of the slot under which it reads.
    fn epoch(&self) -> Result<u64, Wait> {
        let epoch = self.shared.platform.membership.epoch(self.shared.service, self.log.shard);
        epoch.ok_or_else(|| Wait::Error("the slot is held no longer".to_owned()))
    }

    /// Where it goes on. What it or another left half done is finished first: nothing computed before then would be right.
    async fn begin(&self, checkpoint: &RowKey) -> Result<Seq, Wait> {
        let engine = &*self.shared.platform.engine;
        let Work::Views(views) = &self.work else {
            return Ok(engine.get(checkpoint).await?.map_or(Seq(0), |row| Seq(row.stamp)));
        };
        let epoch = self.epoch()?;
        for view in views.0.iter() {
            joins::find_out(&self.shared, view.table(), self.log, epoch).await?;
        }
        let of: Vec<_> = views.0.iter().map(|view| view.table()).collect();
        let writes = |rows: &Overlay| to_writes(rows, &self.shared.view_states, self.log);
        Ok(notes::finish_noted(engine, checkpoint, &of, writes).await?)
    }

    /// The rows of a group, computed from what stood where the checkpoint stands.
    async fn batch(
        &self,
        views: &ViewSet,
        group: &Group,
        quarantine: &mut Quarantine,
        kept: &Kept,
    ) -> Result<Batch, Wait> {
        let rows = self.project(views, group, quarantine).await?;
        let engine = &*self.shared.platform.engine;
        if rows.rests_on_reads() && !notes::untouched(engine, &kept.checkpoint, kept.stands).await? {
            return Err(Wait::Touched);
        }
        let note = notes::note_of(engine, &kept.checkpoint, &rows, group.last_seq());
        Ok((to_writes(&rows, &self.shared.view_states, self.log), note))
    }

    async fn project(
        &self,
        views: &ViewSet,
        group: &Group,
        quarantine: &mut Quarantine,
    ) -> Result<Overlay, Wait> {
        let mut rows = Overlay::default();
        for event in &group.events {
            if !views.0.iter().any(|view| view.wants(event.event_type())) {
                continue;
            }
            if quarantine.holds(event) {
                self.put_aside(quarantine, event, "").await?;
                continue;
            }
            let projected = self.project_event(views, event, &rows).instrument(consuming(&self.name, event));
            match projected.await {
                Ok(written) => rows.absorb(written),
                Err(ProjectionError::Store(error)) => return Err(error.into()),
                Err(ProjectionError::Poison(Poison::Newer { .. })) => {
                    return Err(Wait::Newer(format!("{} is newer than this build", event.event_type())));
                }
                // A function of events fails the same way however often it is tried.
                Err(error) => {
                    // Perhaps it fails by what it has read.
                    rows.has_read();
                    self.put_aside(quarantine, event, &error.to_string()).await?;
                }
            }
        }
        Ok(rows)
    }

    async fn project_event(
        &self,
        views: &ViewSet,
        event: &Recorded,
        rows: &Overlay,
    ) -> Result<Overlay, ProjectionError> {
        let mut out = Overlay::default();
        for view in views.0.iter().filter(|view| view.wants(event.event_type())) {
            let laid = [&out, rows];
            let layers = Layers { engine: &*self.shared.platform.engine, laid: &laid, known: None };
            let table = readable(view.table(), &self.shared.view_states);
            let mut written = Rows::new(*table, event.position.seq, layers);
            view.project(event, &mut written).await?;
            out.absorb(written.written()?);
        }
        Ok(out)
    }

    /// Whether anything of the group mattered.
    async fn effects(
        &self,
        consumer: &dyn Consumer,
        group: &Group,
        quarantine: &mut Quarantine,
    ) -> Result<bool, Wait> {
        let mut mattered = false;
        for event in group.events.iter().filter(|event| consumer.wants(event.event_type())) {
            mattered = true;
            if quarantine.holds(event) {
                self.put_aside(quarantine, event, "").await?;
                continue;
            }
            let done = effect(consumer, event).instrument(consuming(&self.name, event));
            if let Some(poison) = done.await? {
                self.put_aside(quarantine, event, &poison.to_string()).await?;
            }
        }
        Ok(mattered)
    }

    /// Tries again what an operator wants tried again. Of a view nothing is tried here: it is rebuilt.
    async fn settle(&self) -> Result<(), Wait> {
        let Work::Effects(consumer) = &self.work else { return Ok(()) };
        let platform = &self.shared.platform;
        let aside = settle::of_reader(platform, &self.name).await?;
        let wanted = |one: &&Aside| one.log() == self.log && one.settling() == Settling::Retry;
        let mut failed: Option<&str> = None;
        for one in aside.iter().filter(wanted) {
            let (stream, seq) = (one.event.event.stream.as_str(), one.event.position.seq);
            if failed == Some(stream) {
                // What follows an event that still cannot be done waits on.
                one.note(platform, Settling::Unspecified, None).await?;
                continue;
            }
            match effect(&**consumer, &one.event).await? {
                None => {
                    tracing::warn!(reader = %self.name, stream, %seq, "an event was taken out of quarantine and applied");
                    one.remove(platform).await?;
                }
                Some(poison) => {
                    let problem = poison.to_string();
                    tracing::error!(reader = %self.name, stream, %seq, problem, "an event still cannot be applied");
                    one.note(platform, Settling::Unspecified, Some(&problem)).await?;
                    failed = Some(stream);
                }
            }
        }
        Ok(())
    }

    async fn put_aside(
        &self,
        quarantine: &mut Quarantine,
        event: &Recorded,
        problem: &str,
    ) -> Result<(), Wait> {
        if quarantine.put(&self.shared.platform, &self.name, event, problem).await? {
            tracing::error!(reader = %self.name, event_type = event.event_type(), seq = %event.position.seq, problem,
                "an event cannot be applied and is put into quarantine");
            self.shared.metrics.quarantined(&self.name);
        }
        Ok(())
    }
}

/// Does an effect; why it cannot be done, if it cannot.
async fn effect(consumer: &dyn Consumer, event: &Recorded) -> Result<Option<Poison>, Wait> {
    let mut tries = 0;
    loop {
        match consumer.handle(event).await {
            Ok(()) => return Ok(None),
            Err(ConsumeError::Wait(failure)) => return Err(Wait::Error(failure.to_string())),
            Err(ConsumeError::Poison(Poison::Newer { event_type, .. })) => {
                return Err(Wait::Newer(format!("{event_type} is newer than this build")));
            }
            Err(ConsumeError::Poison(poison)) => {
                tries += 1;
                if tries == TRIES {
                    return Ok(Some(poison));
                }
            }
        }
    }
}
