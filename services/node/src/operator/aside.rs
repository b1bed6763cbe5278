//! What readers put aside: shown, tried again, dropped. Decisions stand in the store, so any process may be asked; the
//! reader acts on them wherever it runs.

use super::{Operator, status, store, views};
use p92_eventlog::event::position_to_wire;
use p92_eventlog::rebuild::RebuildError;
use p92_eventlog::settle::{self, Aside};
use p92_eventlog::{Runtime, View, quarantine};
use p92_kernel::{ErrorCode, Failure, Service};
use p92_proto::event::v1::{Event, Position, QuarantineRow, Settling};
use p92_proto::operator::v1::{Quarantined, RetryQuarantineResponse};
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;

/// How long a reader may take to act on a decision; it looks every second.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(200);
/// A stream that goes on meanwhile may need another round.
const ROUNDS: u32 = 5;

fn to_wire(reader: String, row: QuarantineRow) -> Quarantined {
    Quarantined {
        reader,
        settling: row.settling().into(),
        position: Some(Position { service: row.service, shard: row.shard, seq: row.seq }),
        event: Event::decode(row.event).ok(),
        problem: row.problem,
        time_ms: row.time_ms,
    }
}

fn nothing(reader: &str, stream: &str) -> Status {
    let text = format!("{reader} has put nothing of {stream} aside. `p92 quarantine` shows what is.");
    status(Failure::new(ErrorCode::NotFound, "NOT_IN_QUARANTINE", text))
}

impl Operator {
    pub(super) async fn put_aside(&self, with_dropped: bool) -> Result<Vec<Quarantined>, Status> {
        let all = quarantine::list(&self.platform).await.map_err(store)?;
        let shown = all.into_iter().filter(|(_, row)| with_dropped || !quarantine::is_dropped(row));
        Ok(shown.map(|(reader, row)| to_wire(reader, row)).collect())
    }

    async fn waiting(&self, reader: &str, stream: &str) -> Result<Vec<Aside>, Status> {
        settle::waiting(&self.platform, reader, stream).await.map_err(store)
    }

    /// The service whose views a reader writes, if it does: it must run in this process.
    fn writer_of_views(&self, reader: &str) -> Result<Option<&Arc<Runtime>>, Status> {
        let mut services = Service::ALL.into_iter();
        let Some(service) = services.find(|one| settle::reader_of_views(*one) == reader) else {
            return Ok(None);
        };
        let here = self.runtimes.iter().find(|runtime| runtime.service() == service);
        here.map(Some).ok_or_else(|| {
            let text = format!("Views of {service} are rebuilt by {service}: ask one of its processes.");
            status(Failure::new(ErrorCode::FailedPrecondition, "ANOTHER_SERVICE", text))
        })
    }

    pub(super) async fn retry(&self, reader: &str, stream: &str) -> Result<RetryQuarantineResponse, Status> {
        let views = self.writer_of_views(reader)?;
        let first = self.waiting(reader, stream).await?;
        if first.is_empty() {
            return Err(nothing(reader, stream));
        }
        tracing::warn!(
            reader,
            stream,
            events = first.len(),
            "an operator has events of a quarantine tried again"
        );
        let mut applied = 0;
        for _ in 0..ROUNDS {
            let before = self.waiting(reader, stream).await?;
            for one in &before {
                one.note(&self.platform, Settling::Retry, None).await.map_err(store)?;
            }
            match views {
                Some(runtime) => {
                    // It goes on when the caller goes: half a rebuild is of no use to anybody.
                    let (operator, runtime, events) = (self.clone(), Arc::clone(runtime), before.clone());
                    let rebuilt = tokio::spawn(async move { operator.rebuild_with(&runtime, &events).await });
                    rebuilt.await.map_err(|error| status(Failure::internal(error)))??;
                }
                None => self.until_tried(reader, stream).await?,
            }
            let left = self.waiting(reader, stream).await?;
            let still = |one: &&Aside| before.iter().any(|was| was.event.position == one.event.position);
            let failed = left.iter().filter(still).count();
            applied += before.len().saturating_sub(failed) as u64;
            if failed > 0 || left.is_empty() && self.released(reader, stream).await? {
                let problem = left.first().map(|one| one.row.problem.clone()).unwrap_or_default();
                return Ok(RetryQuarantineResponse { applied, left: left.len() as u64, problem });
            }
        }
        let left = self.waiting(reader, stream).await?.len() as u64;
        let problem = "the stream goes on faster than it is settled; run this again".to_owned();
        Ok(RetryQuarantineResponse { applied, left, problem })
    }

    /// Rebuilds every view that wants these events, with them; then they are aside no more. If one still cannot be
    /// applied, they stay aside, and views that were rebuilt before have the events that they could apply.
    async fn rebuild_with(&self, runtime: &Arc<Runtime>, events: &[Aside]) -> Result<(), Status> {
        let wants = |view: &&Arc<dyn View>| {
            let wanted =
                |one: &Aside| one.log().service == view.source() && view.wants(one.event.event_type());
            events.iter().any(wanted)
        };
        for view in runtime.views().iter().filter(wants) {
            if let Err(failed) = runtime.rebuild(view.table().name, false, Arc::new(|_, _| {})).await {
                // Why it is aside is what the event itself fails with, not what kept the rebuild from trying.
                let problem = matches!(failed, RebuildError::Projection(_) | RebuildError::Writer(..))
                    .then(|| failed.to_string());
                for (at, one) in events.iter().enumerate() {
                    let problem = problem.as_deref().filter(|_| at == 0);
                    one.note(&self.platform, Settling::Unspecified, problem).await.map_err(store)?;
                }
                tracing::error!(
                    view = view.table().name,
                    problem = %failed,
                    "a view cannot be rebuilt with what was put aside"
                );
                return if problem.is_some() { Ok(()) } else { Err(views::failure(failed)) };
            }
        }
        for one in events {
            let (stream, seq) = (&one.event.event.stream, one.event.position.seq);
            tracing::warn!(reader = one.reader, stream, %seq, "an event was taken out of quarantine: views were rebuilt with it");
            one.remove(&self.platform).await.map_err(store)?;
        }
        Ok(())
    }

    /// Until the reader has tried everything that it was asked to try.
    async fn until_tried(&self, reader: &str, stream: &str) -> Result<(), Status> {
        let tried = async {
            loop {
                let waiting = self.waiting(reader, stream).await?;
                if waiting.iter().all(|one| one.settling() != Settling::Retry) {
                    return Ok(());
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, tried).await.map_err(|_| {
            let text = format!(
                "{reader} has not come to it yet. It will; `p92 lag` and the log say for what it waits."
            );
            status(Failure::unavailable("NOT_SETTLED_YET", text, Duration::from_secs(5)))
        })?
    }

    /// Whether nothing of the stream was put aside while its reader had time to see that nothing is any more.
    async fn released(&self, reader: &str, stream: &str) -> Result<bool, Status> {
        tokio::time::sleep(settle::LOOK_EVERY + LOOK).await;
        Ok(self.waiting(reader, stream).await?.is_empty())
    }

    pub(super) async fn drop_aside(&self, reader: &str, stream: &str) -> Result<Vec<Quarantined>, Status> {
        let mut dropped = Vec::new();
        for _ in 0..ROUNDS {
            for one in self.waiting(reader, stream).await? {
                let (position, event_type) = (position_to_wire(one.event.position), one.event.event_type());
                tracing::warn!(
                    reader,
                    stream,
                    seq = position.seq,
                    event_type,
                    "an operator drops an event: its reader skips it"
                );
                one.note(&self.platform, Settling::Dropped, None).await.map_err(store)?;
                dropped.push(to_wire(one.reader, one.row));
            }
            if dropped.is_empty() {
                return Err(nothing(reader, stream));
            }
            if self.released(reader, stream).await? {
                break;
            }
        }
        Ok(dropped)
    }
}
