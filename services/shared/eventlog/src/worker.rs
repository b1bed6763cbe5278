//! The task that runs an owner: takes waiting commands, closes a round, appends it, and answers in order.
//!
//! Two stages: the first decides and appends, the second writes rows, moves `applied`, publishes and answers. So the next
//! group may be appended while the rows of the one before are on their way; answers keep the order of groups.

use crate::error::{elsewhere, not_appended, outcome_unknown, overloaded};
use crate::owner::{Mutant, NotAppended, Owner, Rowed, finish};
use crate::platform::Shared;
use crate::rebuild::{self, Join};
use crate::round::Command;
use crate::{CommandMeta, Receipt, failpoint, membership};
use p92_kernel::{Failure, Seq};
use p92_storage::{LogKey, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Commands that may wait for one shard; beyond, UNAVAILABLE with a retry hint.
const WAITING: usize = 1_000;
/// Commands that one round takes at most.
const ROUND: usize = 512;
/// Groups whose rows may be under way.
const UNDER_WAY: usize = 4;
/// After this long without certainty the callers are told that the outcome is unknown; the work goes on.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A command that waits, and whom to answer.
pub struct Queued {
    meta: CommandMeta,
    command: Command,
    answer: oneshot::Sender<Result<Receipt, Failure>>,
}

/// What the worker of a shard is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// Another member holds the slot, or nobody.
    Nothing,
    /// The slot is held, the log is being closed behind it. Commands wait.
    TakingOver,
    /// Commands are decided.
    Owning,
}

/// The way to a shard's worker.
#[derive(Debug)]
pub struct Worker {
    queue: mpsc::Sender<Queued>,
    slot: watch::Sender<Option<u64>>,
    holding: watch::Receiver<Holding>,
    joins: mpsc::Sender<Join>,
    owned: watch::Receiver<Option<(u64, Seq)>>,
}

impl Worker {
    /// Starts the worker of a shard; it holds nothing yet.
    #[must_use]
    pub fn start(shared: &Arc<Shared>, log: LogKey) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        let (slot, held) = watch::channel(None);
        let (report, holding) = watch::channel(Holding::Nothing);
        let (joins, joining) = mpsc::channel(1);
        let (owns, owned) = watch::channel(None);
        let run = Run {
            joining,
            owns,
            shared: Arc::clone(shared),
            owner: Owner::new(Arc::clone(shared), log),
            log,
            waiting,
            held,
            report,
        };
        shared.platform.tasks.spawn(run.run());
        Self { queue, slot, holding, joins, owned }
    }

    /// The slot is held under this epoch, or no longer.
    pub fn slot(&self, epoch: Option<u64>) {
        self.slot.send_if_modified(|now| std::mem::replace(now, epoch) != epoch);
    }

    /// Under which epoch it took over last, and where the log was closed behind it.
    #[must_use]
    pub fn owns_since(&self) -> Option<(u64, Seq)> {
        *self.owned.borrow()
    }

    /// Where a rebuild asks this writer to write both tables.
    #[must_use]
    pub fn joins(&self) -> mpsc::Sender<Join> {
        self.joins.clone()
    }

    /// What it is doing.
    #[must_use]
    pub fn holding(&self) -> watch::Receiver<Holding> {
        self.holding.clone()
    }

    /// Has a command decided. The answer comes when its group and rows stand.
    pub async fn execute(&self, meta: CommandMeta, command: Command) -> Result<Receipt, Failure> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Queued { meta, command, answer }).map_err(|_| overloaded())?;
        answered.await.unwrap_or_else(|_| Err(outcome_unknown()))
    }
}

/// How often taking over fails by what stands in the log until the slot is given back.
const DAMAGED_MOST: u32 = 4;

/// The second stage, while a shard is owned.
struct Stage {
    finisher: mpsc::Sender<Finishing>,
    applied: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Stage {
    fn start(shared: &Arc<Shared>, head: Seq) -> Self {
        let applied = Arc::new(AtomicU64::new(head.0));
        let (finisher, groups) = mpsc::channel(UNDER_WAY);
        let run = second_stage(Arc::clone(shared), groups, Arc::clone(&applied));
        Self { finisher, applied, task: shared.platform.tasks.spawn(run) }
    }

    /// Ends when every group under way has its rows.
    async fn drain(self) {
        drop(self.finisher);
        let _ = self.task.await;
    }
}

/// A group whose rows are to be written, and the answers that wait for them.
struct Finishing {
    rowed: Option<Rowed>,
    answers: Answers,
}

type Answer = (oneshot::Sender<Result<Receipt, Failure>>, Result<Receipt, Failure>);

/// Answers that wait for a group.
#[derive(Default)]
struct Answers(Vec<Answer>);

impl Answers {
    fn send(self) {
        for (to, what) in self.0 {
            // Whoever asked may have gone; what was done stays done.
            let _ = to.send(what);
        }
    }

    fn unknown(&mut self) {
        for (to, what) in std::mem::take(&mut self.0) {
            let _ = to.send(what.and(Err(outcome_unknown())));
        }
    }
}

struct Run {
    shared: Arc<Shared>,
    owner: Owner,
    log: LogKey,
    waiting: mpsc::Receiver<Queued>,
    held: watch::Receiver<Option<u64>>,
    report: watch::Sender<Holding>,
    joining: mpsc::Receiver<Join>,
    owns: watch::Sender<Option<(u64, Seq)>>,
}

/// What the first stage does next.
enum Next {
    Batch(Vec<Queued>),
    Join(Join),
    End(Ended),
}

/// Which word about the slot counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// The last one, whenever that was.
    Whenever,
    /// Only one that is new: by its row the slot is another's, whatever was said last.
    Anew,
}

/// Why the worker stopped owning.
enum Ended {
    /// The slot was given back, or belongs to somebody else.
    Released,
    /// A slot of the log was lost though the ownership row is still ours: take over anew, with what waited.
    Again(Vec<Queued>),
    /// The runtime is gone.
    Stopped,
}

impl Run {
    async fn run(mut self) {
        let mut slot = Told::Whenever;
        while let Some(epoch) = self.next_epoch(slot).await {
            let mut left = Vec::new();
            self.report.send_replace(Holding::TakingOver);
            slot = Told::Anew;
            while self.take_over(epoch).await {
                self.owns.send_replace(Some((epoch, self.owner.head())));
                self.report.send_replace(Holding::Owning);
                match self.own(epoch, std::mem::take(&mut left)).await {
                    Ended::Released => {
                        slot = Told::Whenever;
                        break;
                    }
                    Ended::Again(queued) => left = queued,
                    Ended::Stopped => return,
                }
            }
            self.report.send_replace(Holding::Nothing);
            self.turn_away(left);
        }
    }

    /// The next epoch under which the slot is held; `None` when the process stops. Whoever commands meanwhile is turned
    /// away.
    ///
    /// It may be the one of before: a slot that could not be handed over, since the store did not answer, stays with its
    /// holder if the heir is gone by the next look.
    async fn next_epoch(&mut self, mut slot: Told) -> Option<u64> {
        let stopping = self.shared.platform.stopping.clone();
        loop {
            if slot == Told::Whenever
                && let Some(epoch) = *self.held.borrow_and_update()
            {
                return Some(epoch);
            }
            tokio::select! {
                biased;
                changed = self.held.changed() => {
                    changed.ok()?;
                    slot = Told::Whenever;
                }
                () = stopping.cancelled() => return None,
                queued = self.waiting.recv() => {
                    let _ = queued?.answer.send(Err(elsewhere(self.log, None)));
                }
            }
        }
    }

    fn turn_away(&mut self, left: Vec<Queued>) {
        for queued in left {
            let _ = queued.answer.send(Err(elsewhere(self.log, None)));
        }
        while let Ok(queued) = self.waiting.try_recv() {
            let _ = queued.answer.send(Err(elsewhere(self.log, None)));
        }
    }

    /// Takes over, however often the store must be asked. False if the slot is no longer ours.
    async fn take_over(&mut self, epoch: u64) -> bool {
        let (mut pause, mut damaged) = (Duration::from_millis(20), 0);
        let member = self.shared.platform.member.clone();
        loop {
            if *self.held.borrow() != Some(epoch) {
                return false;
            }
            let engine = &*self.shared.platform.engine;
            let held = membership::is_held(engine, self.log, &member, epoch).await;
            let taken = match held {
                Ok(false) => return false,
                Ok(true) => self.owner.take_over(&member, epoch).await,
                Err(error) => Err(error),
            };
            match taken {
                Ok(()) => return true,
                // An owner before, who still writes, may be the reason once or twice.
                Err(error @ StoreError::Damaged(_)) if damaged >= DAMAGED_MOST => {
                    self.shared.metrics.waiting(self.log);
                    tracing::error!(service = %self.log.service, shard = %self.log.shard, %error,
                        "this build cannot take the shard over; whoever can may have it");
                    self.give_back().await;
                }
                Err(error) => {
                    damaged += u32::from(matches!(error, StoreError::Damaged(_)));
                    self.shared.metrics.waiting(self.log);
                    tracing::warn!(service = %self.log.service, shard = %self.log.shard, %error,
                        "taking over waits for the store");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// Gives the slot back: what stands in its log may be newer than this build. If nobody else takes it, it comes again.
    async fn give_back(&self) {
        let membership = &self.shared.platform.membership;
        if let Err(error) = membership.give_back(self.log.service, &[self.log.shard]).await {
            tracing::warn!(service = %self.log.service, shard = %self.log.shard, %error,
                "a slot could not be given back yet");
        }
    }

    /// Owns the shard until the slot goes.
    async fn own(&mut self, epoch: u64, left: Vec<Queued>) -> Ended {
        let mut stage = Stage::start(&self.shared, self.owner.head());
        let mut next = Next::Batch(left);
        let ended = loop {
            match next {
                Next::End(ended) => break ended,
                Next::Join(join) => {
                    stage.drain().await;
                    self.owner.forget_rows();
                    rebuild::join(&self.shared, self.log, (self.owner.head(), epoch), join).await;
                    stage = Stage::start(&self.shared, self.owner.head());
                }
                Next::Batch(batch) => {
                    if let Err(undone) = self.rounds(batch, &stage).await {
                        break Ended::Again(undone);
                    }
                }
            }
            next = self.next(epoch).await;
        };
        // The groups under way stand in the log. Their rows are written before anything else is read.
        stage.drain().await;
        ended
    }

    /// Rounds until the batch is done. Gives it back if the slot was lost.
    async fn rounds(&mut self, mut batch: Vec<Queued>, stage: &Stage) -> Result<(), Vec<Queued>> {
        while !batch.is_empty() {
            self.owner.acknowledged(Seq(stage.applied.load(Ordering::Acquire)));
            batch = match self.round(batch, &stage.finisher).await {
                Err(undone) if self.shared.mutated(Mutant::NoTakeOverAfterLoss) => undone,
                outcome => outcome?,
            };
        }
        Ok(())
    }

    async fn next(&mut self, epoch: u64) -> Next {
        tokio::select! {
            biased;
            changed = self.held.wait_for(|held| *held != Some(epoch)) => {
                Next::End(if changed.is_err() { Ended::Stopped } else { Ended::Released })
            }
            Some(join) = self.joining.recv() => Next::Join(join),
            first = self.waiting.recv() => {
                let Some(first) = first else { return Next::End(Ended::Stopped) };
                let mut batch = vec![first];
                while batch.len() < ROUND {
                    let Ok(next) = self.waiting.try_recv() else { break };
                    batch.push(next);
                }
                Next::Batch(batch)
            }
        }
    }

    /// One round. Gives back the commands that did not fit, or all of them if the slot was lost.
    async fn round(
        &mut self,
        batch: Vec<Queued>,
        finisher: &mpsc::Sender<Finishing>,
    ) -> Result<Vec<Queued>, Vec<Queued>> {
        let mut decided: Vec<(Queued, Result<Receipt, Failure>)> = Vec::with_capacity(batch.len());
        let ahead = self.owner.ahead(batch.iter().map(|queued| &queued.meta));
        self.owner.look(ahead).await;
        let mut batch = batch.into_iter();
        while self.owner.has_room() {
            let Some(mut queued) = batch.next() else { break };
            if queued.answer.is_closed() {
                // The caller gave up, and may have been refused elsewhere since: deciding its copy now could do what was
                // refused for certain (mutant `DecidesForNobody` of the model). A repeat under its key begins anew.
                continue;
            }
            let result = self.owner.decide(&queued.meta, &mut queued.command).await;
            if self.shared.mutated(Mutant::EarlyRejection) && result.is_err() {
                let _ = queued.answer.send(result);
                continue;
            }
            decided.push((queued, result));
        }
        let rest: Vec<Queued> = batch.collect();
        let Some(group) = self.owner.close_round() else {
            return self.round_without_events(decided, rest, finisher).await;
        };
        failpoint::reach(failpoint::Place::Decided, self.log).await;
        let appended = self.append_within(group, &mut decided).await;
        match appended {
            Ok(rowed) => {
                finish_with(finisher, Some(rowed), decided).await;
                Ok(rest)
            }
            Err(NotAppended::Lost) => {
                Err(decided.into_iter().map(|(queued, _)| queued).chain(rest).collect())
            }
            Err(NotAppended::Refused(error)) => {
                let failure = not_appended(error);
                for (queued, _) in decided {
                    let _ = queued.answer.send(Err(again(&failure)));
                }
                Ok(rest)
            }
        }
    }

    /// Appends, and tells the callers when it takes longer than they should wait.
    async fn append_within(
        &mut self,
        group: crate::owner::Decided,
        decided: &mut Vec<(Queued, Result<Receipt, Failure>)>,
    ) -> Result<Rowed, NotAppended> {
        let deadline = tokio::time::sleep_until(Instant::now() + ANSWER_WITHIN);
        let append = self.owner.append(group);
        tokio::pin!(append, deadline);
        tokio::select! {
            appended = &mut append => appended,
            () = &mut deadline => {
                for (queued, _) in std::mem::take(decided) {
                    let _ = queued.answer.send(Err(outcome_unknown()));
                }
                append.await
            }
        }
    }

    async fn round_without_events(
        &mut self,
        decided: Vec<(Queued, Result<Receipt, Failure>)>,
        rest: Vec<Queued>,
        finisher: &mpsc::Sender<Finishing>,
    ) -> Result<Vec<Queued>, Vec<Queued>> {
        match self.owner.still_owner().await {
            Ok(true) => {
                finish_with(finisher, None, decided).await;
                Ok(rest)
            }
            Ok(false) => Err(decided.into_iter().map(|(queued, _)| queued).chain(rest).collect()),
            Err(failure) => {
                for (queued, _) in decided {
                    let _ = queued.answer.send(Err(again(&failure)));
                }
                Ok(rest)
            }
        }
    }
}

async fn finish_with(
    finisher: &mpsc::Sender<Finishing>,
    rowed: Option<Rowed>,
    decided: Vec<(Queued, Result<Receipt, Failure>)>,
) {
    let answers = decided.into_iter().map(|(queued, result)| (queued.answer, result)).collect();
    // The second stage ends only after this sender.
    let _ = finisher.send(Finishing { rowed, answers: Answers(answers) }).await;
}

/// The same failure for another caller; its cause is logged once.
fn again(failure: &Failure) -> Failure {
    Failure {
        retry_after: failure.retry_after,
        ..Failure::new(failure.code, failure.reason.clone(), failure.public.clone())
    }
}

/// Writes rows in order and answers, each group however often the store must be asked.
async fn second_stage(shared: Arc<Shared>, mut groups: mpsc::Receiver<Finishing>, applied: Arc<AtomicU64>) {
    while let Some(Finishing { rowed, mut answers }) = groups.recv().await {
        if let Some(rowed) = rowed {
            let since = Instant::now();
            let mut pause = Duration::from_millis(10);
            while let Err(error) = finish(&shared, &rowed).await {
                tracing::warn!(service = %shared.service, %error, "rows of a group wait for the store");
                if since.elapsed() > ANSWER_WITHIN {
                    answers.unknown();
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            applied.store(rowed.last_seq().0, Ordering::Release);
        }
        answers.send();
    }
}
