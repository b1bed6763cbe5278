//! The owner of one shard's log: decides rounds, appends groups, takes over, and forgets everything with a lost slot.
//!
//! One step after another, without tasks or timers of its own: `worker` runs it, the simulation drives it.

use crate::error::store_failure;
use crate::failpoint;
use crate::group::{GROUP_BYTES, Group};
use crate::keyring::ContentKey;
use crate::overlay::{Laid, Overlay, Place};
use crate::platform::Shared;
use crate::progress::Mark;
use crate::rebuild::joins;
use crate::round::{Ahead, Command, Round};
use crate::rows::to_writes;
use crate::{CommandMeta, Receipt, Recorded, Stream, notes, tables};
use bytes::Bytes;
use p92_kernel::{Failure, IdMint, Millis, Position, Seq, clock};
use p92_proto::event::v1;
use p92_storage::{Append, LogKey, LogRow, Outcome, ProjectedBatch, Projection, RowKey, StoreError, Write};
use prost::{Message, Name};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Rules whose breaking the model names; the simulation breaks each in the real code and must notice.
/// Always off outside of tests: only with the feature `mutants` can one be set, as `Shared::mutant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A row in the slot is taken for the own one.
    NoCollisionCheck,
    /// Taking over writes no barrier.
    NoBarrier,
    /// After a lost slot the next one is tried on the old state.
    NoTakeOverAfterLoss,
    /// Aggregates are loaded from the store alone.
    NoOverlay,
    /// Rejections are answered before their group is appended.
    EarlyRejection,
}

#[cfg(feature = "mutants")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Breaks a rule in every runtime that starts on this thread from now on, or none. For simulations, which run on one.
#[cfg(feature = "mutants")]
pub fn plant(mutant: Option<Mutant>) {
    PLANTED.set(mutant);
}

/// What is planted on this thread.
#[cfg(feature = "mutants")]
pub(crate) fn planted() -> Option<Mutant> {
    PLANTED.get()
}

/// Why a decided round does not stand in the log.
#[derive(Debug)]
pub enum NotAppended {
    /// Another group took the slot: everything is forgotten.
    Lost,
    /// The store refused it for certain; the round is forgotten, the shard is still owned.
    Refused(StoreError),
}

/// What became of an append.
#[derive(Debug)]
enum Appended {
    /// It stands.
    Done,
    /// This row stands there: forget everything and take over anew, or give up.
    Lost(LogRow),
    /// It does not stand and never will.
    Refused(StoreError),
}

/// A decided round: what to append, and what then to write.
#[derive(Debug)]
pub struct Decided {
    row: LogRow,
    before: Vec<Write>,
    /// The content keys among these writes.
    fresh: HashMap<Stream, ContentKey>,
    laid: Overlay,
    rowed: Rowed,
}

/// A group in the log whose rows the store does not have yet.
#[derive(Clone, Debug)]
pub struct Rowed {
    log: LogKey,
    batch: ProjectedBatch,
    events: usize,
    body: Bytes,
}

impl Rowed {
    /// Place of the group's last event.
    #[must_use]
    pub const fn last_seq(&self) -> Seq {
        self.batch.to
    }
}

/// How long between two attempts at an append whose outcome is unknown.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_secs(1),
];

/// The owner of one shard's log.
#[derive(Debug)]
pub struct Owner {
    round: Round,
}

impl Owner {
    /// An owner that has not taken over yet.
    #[must_use]
    pub fn new(shared: Arc<Shared>, log: LogKey) -> Self {
        Self { round: Round::new(shared, log) }
    }

    /// The log.
    #[must_use]
    pub const fn log(&self) -> LogKey {
        self.round.log
    }

    /// Place of the last event known to stand in the log.
    #[must_use]
    pub const fn head(&self) -> Seq {
        self.round.head
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.round.shared
    }

    /// Closes the log behind it: reads what stands there, appends a barrier, writes what rows are missing.
    ///
    /// The ownership row is held already. On an error nothing is owned, and it is called again.
    pub async fn take_over(&mut self, member: &str, epoch: u64) -> Result<(), StoreError> {
        self.round.forget();
        let log = self.log();
        for view in self.shared().own_views.0.iter() {
            joins::find_out(self.shared(), view.table(), log, epoch).await?;
        }
        let applied = self.finish_noted().await?;
        let applied = self.write_long_tail(applied).await?;
        let mut last_time = self.last_time().await?;
        let mut missing = self.read_from(applied).await?;
        let mut head = missing.last().map_or(applied, Group::last_seq);
        if !self.shared().mutated(Mutant::NoBarrier) {
            loop {
                last_time = missing.last().and_then(last_event_time).map_or(last_time, |t| t.max(last_time));
                self.round.mint = IdMint::new(log.service, log.shard, Millis(last_time.0.saturating_add(1)));
                let barrier = self.barrier(head, member, epoch);
                match self.append_certainly(&barrier.to_row(), &[]).await {
                    Appended::Done => {
                        head = barrier.last_seq();
                        missing.push(barrier);
                        break;
                    }
                    Appended::Lost(_) => {
                        let landed = self.read_from(head).await?;
                        head = landed.last().map_or(head, Group::last_seq);
                        missing.extend(landed);
                    }
                    Appended::Refused(error) => return Err(error),
                }
            }
        }
        self.write_missing(applied, missing).await?;
        self.round.head = head;
        Ok(())
    }

    /// Where very much is missing, as in a store that was restored, writes it piece by piece, so that a log need not fit
    /// into memory. What these groups say is settled, whoever appends behind them. Returns where `applied` stands then.
    async fn write_long_tail(&mut self, mut applied: Seq) -> Result<Seq, StoreError> {
        const LONG: usize = 512 * 1024;
        let log = self.log();
        loop {
            let groups = read_piece(&self.shared().platform, log, applied, None).await?;
            let Some(last) = groups.last().map(Group::last_seq) else { return Ok(applied) };
            let bytes: usize =
                groups.iter().flat_map(|group| &group.events).map(|event| event.bytes.len()).sum();
            // An engine may stop earlier than at the end, as where a bucket ends.
            if bytes < LONG && self.shared().platform.engine.read_log(log, last, 1).await?.is_empty() {
                return Ok(applied);
            }
            self.write_missing(applied, groups).await?;
            applied = last;
            tracing::info!(service = %log.service, shard = %log.shard, %applied, "rows of a log are written anew");
        }
    }

    /// Writes rows of groups that stand in the log but were not applied.
    async fn write_missing(&mut self, applied: Seq, missing: Vec<Group>) -> Result<(), StoreError> {
        let mut from = applied;
        for group in missing {
            self.round.head = Seq(group.first_seq.0.saturating_sub(1));
            let mut rows = self.round.project(&group.events).await.map_err(damaged)?;
            let engine = &*self.shared().platform.engine;
            if rows.rests_on_reads()
                && !notes::untouched(engine, &tables::applied_key(self.log()), from).await?
            {
                // Whoever was owner before is not dead. Its batch is in its note now; the next try begins with that.
                let reason = format!("rows behind {from} are still written by the owner before");
                return Err(StoreError::Unavailable { reason, outcome: Outcome::NoEffect });
            }
            let body = group.to_row().events;
            let rowed = self.rowed(&group, body, from, &mut rows);
            from = rowed.last_seq();
            finish(self.shared(), &rowed).await?;
            // These rows went past what is laid over reads, and so past what is known of them.
            self.round.forget_rows();
        }
        Ok(())
    }

    /// Where `applied` stands, once the batch that an owner before left half done is whole.
    async fn finish_noted(&self) -> Result<Seq, StoreError> {
        let (shared, log) = (self.shared(), self.log());
        let views = shared.own_views.0.iter().map(|view| view.table());
        let of: Vec<_> = views.chain([tables::streams(log.service), &tables::TIMES]).collect();
        let writes = |rows: &Overlay| to_writes(rows, &shared.view_states, log);
        notes::finish_noted(&*shared.platform.engine, &tables::applied_key(log), &of, writes).await
    }

    async fn last_time(&self) -> Result<Millis, StoreError> {
        let row = self.shared().platform.engine.get(&times_key(self.log())).await?;
        let Some(row) = row else { return Ok(Millis(0)) };
        let time = v1::LogTimeRow::decode(row.value)
            .map_err(|error| StoreError::Damaged(format!("the time of a log: {error}")))?;
        Ok(Millis(time.time_ms))
    }

    async fn read_from(&self, after: Seq) -> Result<Vec<Group>, StoreError> {
        read_groups(&self.shared().platform, self.log(), after, None).await
    }

    fn barrier(&mut self, head: Seq, member: &str, epoch: u64) -> Group {
        let event_id = self.round.next_id();
        let payload = v1::Barrier { member: member.to_owned(), epoch }.encode_to_vec().into();
        let event = v1::Event {
            event_id: event_id.get(),
            r#type: v1::Barrier::full_name(),
            schema_version: 1,
            correlation_id: event_id.get(),
            time_ms: self.round.mint.time().0,
            payload,
            ..v1::Event::default()
        };
        let position = Position { service: self.log().service, shard: self.log().shard, seq: head.next() };
        let bytes = event.encode_to_vec().into();
        self.group(head.next(), vec![Recorded { position, event, bytes }])
    }

    fn group(&self, first_seq: Seq, events: Vec<Recorded>) -> Group {
        let id = clock::random_bytes(&*self.shared().platform.random);
        Group { log: self.log(), first_seq, id, events }
    }

    /// Whether the round may take another command.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.round.events.iter().map(|event| event.bytes.len()).sum::<usize>() < GROUP_BYTES
    }

    /// A rebuild fills the other table of a view behind this owner's back.
    pub fn forget_rows(&mut self) {
        self.round.forget_rows();
    }

    /// Takes away what the store has acknowledged from what is laid over reads.
    pub fn acknowledged(&mut self, applied: Seq) {
        self.round.acknowledged(applied);
    }

    /// The rows that tell of each command of a round whether it was done already.
    pub fn ahead<'a>(&self, metas: impl Iterator<Item = &'a CommandMeta>) -> Ahead {
        self.round.ahead(metas)
    }

    /// Reads them at once, before the first command asks for its own.
    pub async fn look(&self, ahead: Ahead) {
        self.round.look(ahead).await;
    }

    /// Decides one command on the state that the ones before it left.
    pub async fn decide(&mut self, meta: &CommandMeta, command: &mut Command) -> Result<Receipt, Failure> {
        self.round.decide(meta, command).await
    }

    /// Ends the round: its group and rows, or `None` if no command changed anything.
    pub fn close_round(&mut self) -> Option<Decided> {
        let events = std::mem::take(&mut self.round.events);
        let before = std::mem::take(&mut self.round.before);
        let mut pending = std::mem::take(&mut self.round.pending);
        let fresh = std::mem::take(&mut self.round.fresh);
        if events.is_empty() {
            return None;
        }
        let group = self.group(self.round.head.next(), events);
        let row = group.to_row();
        let rowed = self.rowed(&group, row.events.clone(), self.round.head, &mut pending);
        Some(Decided { row, before, fresh, laid: pending, rowed })
    }

    fn rowed(&self, group: &Group, body: Bytes, from: Seq, rows: &mut Overlay) -> Rowed {
        let to = group.last_seq();
        if let Some(time) = last_event_time(group) {
            let value = Bytes::from(v1::LogTimeRow { time_ms: time.0 }.encode_to_vec());
            let RowKey { table, partition, clustering } = times_key(self.log());
            let place = Place { table: table.table.name, partition, clustering };
            rows.lay(place, Laid { table: table.table, value: Some(value), at: to });
        }
        let checkpoint = tables::applied_key(self.log());
        let note = notes::note_of(&*self.shared().platform.engine, &checkpoint, rows, to);
        let writes = to_writes(rows, &self.shared().view_states, self.log());
        let batch = ProjectedBatch { checkpoint, from, to, writes, note };
        Rowed { log: self.log(), batch, events: group.events.len(), body }
    }

    /// Appends a decided round. Until the outcome is certain nothing else is appended to this log.
    pub async fn append(&mut self, decided: Decided) -> Result<Rowed, NotAppended> {
        match self.append_certainly(&decided.row, &decided.before).await {
            Appended::Done => {
                self.round.head = decided.row.last_seq;
                self.round.overlay.absorb(decided.laid);
                self.shared().platform.keyring.keep(self.log().service, decided.fresh);
                Ok(decided.rowed)
            }
            Appended::Lost(stands) if self.shared().mutated(Mutant::NoTakeOverAfterLoss) => {
                self.round.head = stands.last_seq;
                Err(NotAppended::Lost)
            }
            Appended::Lost(_) => {
                self.round.forget();
                Err(NotAppended::Lost)
            }
            Appended::Refused(error) => {
                self.round.forget_round();
                Err(NotAppended::Refused(error))
            }
        }
    }

    async fn append_certainly(&self, row: &LogRow, before: &[Write]) -> Appended {
        let shared = self.shared();
        let mut perhaps = false;
        let mut attempt = 0_usize;
        loop {
            match shared.platform.engine.append(self.log(), row, before).await {
                Ok(Append::Appended) => return Appended::Done,
                Ok(Append::SlotLost(_)) if shared.mutated(Mutant::NoCollisionCheck) => return Appended::Done,
                Ok(Append::SlotLost(stands)) => {
                    shared.metrics.refused_append(self.log());
                    return Appended::Lost(stands);
                }
                Err(error) if error.outcome() == Outcome::NoEffect && !perhaps => {
                    return Appended::Refused(error);
                }
                // Its head is wrong, and no repeat will ever be taken.
                Err(error) if shared.mutated(Mutant::NoCollisionCheck) => return Appended::Refused(error),
                Err(error) => {
                    perhaps = true;
                    tracing::warn!(log = %shared.service, shard = %self.log().shard, %error, attempt,
                        "the outcome of an append is not known; it is repeated");
                    let pause = PAUSES.get(attempt).or(PAUSES.last()).copied().unwrap_or_default();
                    tokio::time::sleep(pause).await;
                    attempt += 1;
                }
            }
        }
    }

    /// For a round that appended nothing: whether the log still ends where this owner thinks.
    pub async fn still_owner(&mut self) -> Result<bool, Failure> {
        if self.shared().mutated(Mutant::EarlyRejection) {
            return Ok(true);
        }
        let next = self.shared().platform.engine.log_row(self.log(), self.head().next()).await;
        let next = next.map_err(store_failure)?;
        if self.shared().mutated(Mutant::NoTakeOverAfterLoss) {
            self.round.head = next.map_or(self.round.head, |stands| stands.last_seq);
            return Ok(true);
        }
        Ok(next.is_none())
    }
}

fn damaged(failure: Failure) -> StoreError {
    use std::error::Error as _;
    let cause = failure.source().map(ToString::to_string).unwrap_or_default();
    StoreError::Damaged(format!("an event cannot be projected again: {failure}: {cause}"))
}

fn last_event_time(group: &Group) -> Option<Millis> {
    group.events.last().map(Recorded::time)
}

fn times_key(log: LogKey) -> RowKey {
    let clustering = p92_storage::Key::new().small(log.shard.0);
    RowKey::new(tables::TIMES.only(), tables::applied_partition(log.service), clustering)
}

/// Groups of a log after a position, up to `until` if given.
pub async fn read_groups(
    platform: &crate::Platform,
    log: LogKey,
    after: Seq,
    until: Option<Seq>,
) -> Result<Vec<Group>, StoreError> {
    let mut groups: Vec<Group> = Vec::new();
    let mut at = after;
    while until.is_none_or(|until| at < until) {
        let piece = read_piece(platform, log, at, until).await?;
        let Some(last) = piece.last() else { break };
        at = last.last_seq();
        groups.extend(piece);
    }
    Ok(groups)
}

/// The next groups of a log after a position, up to `until` if given: about a MiB, and at least one if there is one.
pub async fn read_piece(
    platform: &crate::Platform,
    log: LogKey,
    after: Seq,
    until: Option<Seq>,
) -> Result<Vec<Group>, StoreError> {
    const AT_ONCE: usize = 1024 * 1024;
    let mut groups: Vec<Group> = Vec::new();
    let mut at = after;
    for row in platform.engine.read_log(log, after, AT_ONCE).await? {
        if until.is_some_and(|until| row.last_seq > until) {
            break;
        }
        if row.first_seq != at.next() {
            return Err(StoreError::Damaged(format!(
                "the log {}/{} has a gap: after {at} comes {}",
                log.service, log.shard, row.first_seq
            )));
        }
        at = row.last_seq;
        groups.push(Group::from_row(log, &row).map_err(|error| StoreError::Damaged(error.to_string()))?);
    }
    Ok(groups)
}

/// Writes a group's rows and moves `applied`, then publishes it. Repeated by the caller until it succeeds.
pub async fn finish(shared: &Shared, rowed: &Rowed) -> Result<(), StoreError> {
    let to = rowed.batch.to;
    match shared.platform.engine.project(rowed.batch.clone()).await? {
        Projection::Applied => {}
        // An attempt before this one, or the next owner, has written them.
        Projection::Refused { stands } if stands >= to => {}
        // Groups of these mutants follow on nothing, and they would wait here for ever.
        Projection::Refused { .. }
            if shared.mutated(Mutant::NoTakeOverAfterLoss) || shared.mutated(Mutant::NoCollisionCheck) => {}
        Projection::Refused { stands } => {
            return Err(StoreError::Damaged(format!(
                "rows up to {to} of {}/{} do not follow on {stands}",
                rowed.log.service, rowed.log.shard
            )));
        }
    }
    shared.metrics.group(rowed.log, rowed.events);
    failpoint::reach(failpoint::Place::Stored, rowed.log).await;
    // The hint first: a reader that is woken by the head and finds no hint reads the log.
    shared.platform.bus.publish(rowed.log, rowed.body.clone());
    shared.platform.progress.reached(&Mark::applied(rowed.log), to);
    failpoint::reach(failpoint::Place::Published, rowed.log).await;
    Ok(())
}
