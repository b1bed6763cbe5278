//! The engine of simulations: tables and logs in memory, without a disk, and faults where a plan wants them.
//!
//! It behaves as CQL does: whoever opens it proves nothing about others, each row of a projection is guarded by its own
//! position, and the checkpoint is written last. With [`MemoryConfig::atomic`] a projection is one write, as embedded.
//! Nothing in it depends on chance, on wall time or on a thread, so the same calls give the same answers. It is no
//! store for anybody's data: what it calls durable lives as long as it does. Nothing that ships is built with it (feature
//! `memory`).
//!
//! | room | noun |
//! |---|---|
//! | `request` | the port's operations as values |
//! | `shelf` | what stands, and what one step does to it |
//! | `faults` | what may go wrong |

mod faults;
mod request;
mod shelf;

pub use faults::{Fault, Faults};
pub use request::{Answer, Ask, Asked, Request};

use crate::engine::{
    Append, Capabilities, LogKey, LogRow, ProjectedBatch, ProjectedWrite, Projection, Write,
};
use crate::limits::check_partition;
use crate::{Outcome, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use p92_kernel::Seq;
use parking_lot::Mutex;
use shelf::Shelf;
use std::sync::Arc;
use std::time::Duration;

/// How a memory behaves.
#[derive(Clone, Debug, Default)]
pub struct MemoryConfig {
    /// Whether a projected batch is one write.
    pub atomic: bool,
    /// What goes wrong; nothing if not given.
    pub faults: Option<Arc<dyn Faults>>,
}

/// A store in memory. An engine by [`Asked`]; clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    shelf: Arc<Mutex<Shelf>>,
    config: MemoryConfig,
}

impl Memory {
    /// An empty one.
    #[must_use]
    pub fn new(config: MemoryConfig) -> Self {
        Self { shelf: Arc::default(), config }
    }

    /// Another one that holds at this moment what this one holds.
    #[must_use]
    pub fn copy(&self, config: MemoryConfig) -> Self {
        Self { shelf: Arc::new(Mutex::new(self.shelf.lock().clone())), config }
    }
}

#[async_trait]
impl Ask for Memory {
    fn capabilities(&self) -> Capabilities {
        Capabilities { atomic_projection: self.config.atomic, exclusive: false }
    }

    async fn ask(&self, request: Request) -> Result<Answer, StoreError> {
        const ALL: usize = usize::MAX;
        let fault = self.config.faults.as_ref().map_or(Fault::Sound, |faults| faults.next(&request));
        match fault {
            Fault::Sound => self.perform(request, ALL).await,
            Fault::Late { before, after } => {
                pause(before).await;
                let answer = self.perform(request, ALL).await;
                pause(after).await;
                answer
            }
            Fault::Refused => Err(unavailable("refused", Outcome::NoEffect)),
            Fault::Lost { told } => {
                pause(told).await;
                Err(unavailable("lost on its way", Outcome::Unknown))
            }
            Fault::Unanswered { told } => {
                self.perform(request, ALL).await?;
                pause(told).await;
                Err(unavailable("its answer was lost", Outcome::Unknown))
            }
            Fault::Lands { told, after } => {
                let memory = self.clone();
                tokio::spawn(async move {
                    pause(after).await;
                    // Nobody waits for this answer any more.
                    let _ = memory.perform(request, ALL).await;
                });
                pause(told).await;
                Err(unavailable("still on its way", Outcome::Unknown))
            }
            Fault::Torn { steps } => {
                self.perform(request, steps).await?;
                Err(unavailable("perhaps half done", Outcome::Unknown))
            }
        }
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

fn unavailable(reason: &str, outcome: Outcome) -> StoreError {
    StoreError::Unavailable { reason: reason.to_owned(), outcome }
}

impl Memory {
    /// Does what is asked: at most `steps` of it, if it has several.
    async fn perform(&self, request: Request, steps: usize) -> Result<Answer, StoreError> {
        let Some(faults) = self.config.faults.clone() else { return self.done(request, steps).await };
        let answer = self.done(request.clone(), steps).await?;
        faults.happened(&request, &answer);
        Ok(answer)
    }

    async fn done(&self, request: Request, steps: usize) -> Result<Answer, StoreError> {
        let shelf = || self.shelf.lock();
        Ok(match request {
            Request::Get(key) => Answer::Row(shelf().get(&key)?),
            Request::GetMany(keys) => {
                Answer::Rows(keys.iter().map(|key| shelf().get(key)).collect::<Result<_, _>>()?)
            }
            Request::Scan(scan) => Answer::Page(shelf().scan(&scan)?),
            Request::ScanTable { table, after, limit } => {
                Answer::Table(shelf().scan_table(table, after.as_ref(), limit)?)
            }
            Request::Clear(table) => {
                shelf().clear(table);
                Answer::Done
            }
            Request::Write(writes) => {
                check_partition(&writes)?;
                shelf().write(&writes)?;
                Answer::Done
            }
            Request::Destroy(key) => {
                shelf().destroy(&key)?;
                Answer::Done
            }
            Request::Insert { key, value } => Answer::Conditional(shelf().set(&key, None, &value)?),
            Request::Set { key, expected, value } => {
                Answer::Conditional(shelf().set(&key, expected, &value)?)
            }
            Request::Delete { key, expected } => Answer::Conditional(shelf().delete(&key, expected)?),
            Request::Project(batch) if self.config.atomic => Answer::Projection(self.at_once(&batch)?),
            Request::Project(batch) => Answer::Projection(self.row_by_row(batch, steps).await?),
            Request::Append { log, row, before } => {
                Answer::Append(self.append(log, &row, &before, steps).await?)
            }
            Request::LogRow { log, first_seq } => Answer::LogRow(shelf().log_row(log, first_seq)),
            Request::ReadLog { log, after, max_bytes } => {
                Answer::Log(shelf().read_log(log, after, max_bytes))
            }
        })
    }

    /// A projection as embedded does it.
    fn at_once(&self, batch: &ProjectedBatch) -> Result<Projection, StoreError> {
        let mut shelf = self.shelf.lock();
        let stands = shelf.get(&batch.checkpoint)?.map_or(Seq(0), |row| Seq(row.stamp));
        if stands != batch.from {
            return Ok(Projection::Refused { stands });
        }
        for write in batch.writes.iter().chain([&checkpoint(batch)]) {
            shelf.put_in_order(write)?;
        }
        Ok(Projection::Applied)
    }

    /// A projection as CQL does it: others may look between two rows.
    async fn row_by_row(&self, batch: ProjectedBatch, steps: usize) -> Result<Projection, StoreError> {
        let last = checkpoint(&batch);
        for write in batch.note.iter().chain(&batch.writes).chain([&last]).take(steps) {
            self.shelf.lock().put_at(write)?;
            tokio::task::yield_now().await;
        }
        Ok(Projection::Applied)
    }

    async fn append(
        &self,
        log: LogKey,
        row: &LogRow,
        before: &[Write],
        steps: usize,
    ) -> Result<Append, StoreError> {
        for write in before.iter().take(steps) {
            self.shelf.lock().write(std::slice::from_ref(write))?;
            tokio::task::yield_now().await;
        }
        if steps <= before.len() {
            return Err(unavailable("perhaps half done", Outcome::Unknown));
        }
        Ok(self.shelf.lock().append(log, row))
    }
}

fn checkpoint(batch: &ProjectedBatch) -> ProjectedWrite {
    ProjectedWrite { key: batch.checkpoint.clone(), value: Some(Bytes::new()), at: batch.to }
}
