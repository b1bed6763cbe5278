//! A page of home: out of memory where memory may answer, else merged.

use super::App;
use super::clients::Question;
use super::holder::Otherwise;
use crate::domain::entry::Entry;
use crate::domain::memory::page::{Answer, minute_of};
use crate::domain::memory::partition::Moment;
use crate::domain::window::Window;
use crate::error;
use p92_eventlog::event::position_from_wire;
use p92_kernel::{Failure, Position};
use p92_proto::event::v1 as event;
use p92_proto::timelines::v1::TimelineSource;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;

/// How long memory is waited for before a page is merged.
const WAIT: Duration = Duration::from_secs(2);
/// How long memory is waited for when it was asked for by name.
const WAIT_FORCED: Duration = Duration::from_secs(5);
/// How long an own write is remembered: by then every reader has it, or reads are refused anyway.
const NOTED_FOR: Duration = Duration::from_secs(60);

/// What viewers have just done, by viewer.
#[derive(Debug, Default)]
pub struct Noted(Mutex<HashMap<u64, (Duration, Vec<event::Position>)>>);

impl Noted {
    /// Remembers positions of a viewer's own writes.
    pub fn note(&self, viewer: u64, positions: Vec<event::Position>, now: Duration) {
        const MANY: usize = 10_000;
        const EACH: usize = 64;
        let mut noted = self.0.lock();
        if noted.len() > MANY {
            noted.retain(|_, (at, _)| now.saturating_sub(*at) < NOTED_FOR);
        }
        let (at, all) = noted.entry(viewer).or_default();
        if now.saturating_sub(*at) >= NOTED_FOR {
            all.clear();
        }
        *at = now;
        // What names no log cannot be waited for, and would make every later read fail.
        for position in positions.into_iter().filter(|position| position_from_wire(position).is_some()) {
            // One position per log is enough: the furthest.
            let same = |known: &&mut event::Position| {
                known.service == position.service && known.shard == position.shard
            };
            if let Some(known) = all.iter_mut().find(same) {
                known.seq = known.seq.max(position.seq);
            } else if all.len() < EACH {
                all.push(position);
            }
        }
    }

    fn of(&self, viewer: u64) -> Vec<event::Position> {
        self.0.lock().get(&viewer).map(|(_, positions)| positions.clone()).unwrap_or_default()
    }
}

impl App {
    /// Remembers what a viewer has just done: his later reads wait for it. For the holder of his slot, who is asked then.
    pub fn note_own_write(&self, viewer: u64, positions: Vec<event::Position>) -> Result<(), Failure> {
        self.holder.is_asked(viewer, Otherwise::Here)?;
        self.noted.note(viewer, positions, self.runtime.platform().clock.monotonic());
        Ok(())
    }

    /// What a read of this viewer must show: what it asks for, and what he has just done. The holder of his slot knows
    /// that, and is the one to be asked; if he cannot be, what is read here is no older than what was asked for.
    pub(crate) fn at_holder(&self, options: &event::ReadOptions) -> Result<event::ReadOptions, Failure> {
        self.holder.is_asked(options.viewer_id, Otherwise::Here)?;
        Ok(self.with_noted(options))
    }

    /// What a read asks for, and what its viewer told this process.
    pub(crate) fn with_noted(&self, options: &event::ReadOptions) -> event::ReadOptions {
        let mut options = options.clone();
        options.at_least.extend(self.noted.of(options.viewer_id));
        options
    }

    /// A page of the viewer's home, and how it was computed.
    pub async fn list_home(
        &self,
        options: &event::ReadOptions,
        window: Window,
        forced: TimelineSource,
    ) -> Result<(Vec<Entry<u64>>, TimelineSource), Failure> {
        if options.viewer_id == 0 {
            return Err(error::no_viewer());
        }
        let options = self.at_holder(options)?;
        let question = Self::question(&options);
        if forced != TimelineSource::Merge
            && let Some(page) = self.remembered(&question, &window, forced).await?
        {
            self.metrics.page("memory");
            return Ok((page, TimelineSource::Memory));
        }
        if forced == TimelineSource::Memory {
            return Err(error::memory_may_not());
        }
        self.metrics.page("merge");
        let page = self.merges.page(&question, window).await?;
        Ok((page, TimelineSource::Merge))
    }

    /// `None` if memory may not or cannot answer.
    async fn remembered(
        &self,
        question: &Question,
        window: &Window,
        forced: TimelineSource,
    ) -> Result<Option<Vec<Entry<u64>>>, Failure> {
        // Each round learns what the one before lacked; who lacks more is served by a merge.
        const ROUNDS: usize = 6;
        let (holder, viewer) = (&self.holder, question.viewer);
        let by_name = forced == TimelineSource::Memory;
        if by_name {
            holder.wait_until_it_may(viewer, WAIT_FORCED).await;
        }
        if !holder.may_answer(viewer) || !self.memory_reached(&question.at_least).await? {
            return Ok(None);
        }
        for _ in 0..ROUNDS {
            let changed = holder.changed.notified();
            // Judged at this moment: waiting may have taken its time.
            let may =
                holder.may_answer(viewer) || by_name && holder.wait_until_it_may(viewer, WAIT_FORCED).await;
            if !may {
                return Ok(None);
            }
            let at = Moment { now: self.now(), server: question.server };
            match holder.memory.page(viewer, window, at) {
                Answer::Page(page) => return Ok(Some(page)),
                Answer::Past => return Ok(None),
                Answer::Unfilled => self.fill(viewer, at.now).await?,
                Answer::Lacks(posts) => self.learn_boosts(viewer, &posts).await?,
                Answer::Busy => {
                    if tokio::time::timeout(WAIT, changed).await.is_err() {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Waits for positions in memory, but not for long.
    async fn memory_reached(&self, positions: &[event::Position]) -> Result<bool, Failure> {
        let positions: Option<Vec<Position>> = positions.iter().map(position_from_wire).collect();
        let positions = positions.ok_or_else(|| {
            Failure::invalid("options.at_least", "BAD_POSITION", "A position names a log that cannot be.")
        })?;
        let all = async {
            for position in positions {
                self.holder.marks.wait(position).await;
            }
        };
        Ok(tokio::time::timeout(WAIT, all).await.is_ok())
    }

    /// Gives a viewer a ring: it takes what comes from now on, then what was before is merged in.
    async fn fill(&self, viewer: u64, now: u64) -> Result<(), Failure> {
        let _alone = self.merges.alone(viewer).await;
        let memory = &self.holder.memory;
        let at = Moment { now, server: 0 };
        if memory.page(viewer, &Window::newest(1), at) != Answer::Unfilled {
            return Ok(());
        }
        let Some(ticket) = memory.begin_fill(viewer, minute_of(now)) else { return Ok(()) };
        // Nothing that memory has applied before the ring began may be missing in what is merged in.
        let question = self.holder.question(viewer);
        match self.merges.candidates(&question, memory.ring_size()).await {
            Ok((candidates, whole)) => memory.end_fill(viewer, ticket, &candidates, whole),
            Err(failure) => {
                memory.drop_ring(viewer);
                self.holder.changed.notify_waiters();
                return Err(failure);
            }
        }
        self.holder.changed.notify_waiters();
        Ok(())
    }

    /// Learns every boost of posts whose boosts are not all known.
    pub(crate) async fn learn_boosts(&self, viewer: u64, posts: &[u64]) -> Result<(), Failure> {
        let asked = self.holder.memory.ask();
        let question = self.holder.question(viewer);
        for post in posts {
            let boosts = self.clients.boosts(&question, *post, u64::MAX).await?;
            self.holder.memory.learn_boosts(*post, &boosts, asked);
        }
        Ok(())
    }
}
