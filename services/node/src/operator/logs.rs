//! Events as they stand in logs: of one stream, of all of them, from now on. Sealed parts stay sealed.

use super::{Operator, status, store};
use p92_eventlog::event::position_to_wire;
use p92_eventlog::{GroupStream, Platform, Recorded, heads, keys, tables};
use p92_kernel::{ErrorCode, Failure, Seq, Service};
use p92_proto::event::v1::{Event, EventGroup};
use p92_proto::operator::v1::{ReadLogsResponse, TailEventsResponse};
use p92_storage::{Direction, LogKey, Range, Scan};
use prost::Message as _;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

type Send<T> = mpsc::Sender<Result<T, Status>>;

impl Operator {
    /// The events of one stream up to a time; 0 for all.
    pub(super) async fn events_of(&self, stream: &str, as_of_ms: u64) -> Result<Vec<Event>, Status> {
        let (mut events, mut later) = (Vec::new(), 0_u64);
        for service in Service::ALL {
            let mut scan = Scan {
                table: tables::streams(service).only(),
                partition: keys::stream_partition(stream),
                range: Range::all(),
                direction: Direction::Forward,
                limit: 1_000,
                after: None,
            };
            loop {
                let page = self.platform.engine.scan(&scan).await.map_err(store)?;
                for (_, row) in page.rows {
                    let event = Event::decode(row.value).map_err(|error| status(Failure::internal(error)))?;
                    if as_of_ms == 0 || event.time_ms <= as_of_ms {
                        events.push(event);
                    } else {
                        later += 1;
                    }
                }
                match page.next {
                    Some(next) => scan.after = Some(next),
                    None => break,
                }
            }
        }
        if !events.is_empty() {
            return Ok(events);
        }
        let text = if later > 0 {
            format!("The stream {stream} began after that time: {later} events came later.")
        } else {
            format!("There is no stream {stream}. Streams are named kind/id, for example post/123.")
        };
        Err(status(Failure::new(ErrorCode::NotFound, "NO_SUCH_STREAM", text)))
    }

    /// Tells the events of every log from now on.
    pub(super) async fn tail(&self, send: &Send<TailEventsResponse>) -> Result<(), Status> {
        for runtime in &self.runtimes {
            let service = runtime.service();
            let heads = heads::read_heads(&*self.platform.engine, service).await.map_err(store)?;
            for shard in self.platform.shards.all() {
                let log = LogKey { service, shard };
                let after = heads.get(&shard).copied().unwrap_or_default();
                let groups = GroupStream::new(&self.platform, log, after);
                tokio::spawn(tell_groups(groups, send.clone(), self.platform.stopping.clone()));
            }
        }
        Ok(())
    }

    /// Tells the rows of every log up to its head of this moment.
    pub(super) async fn rows_of_logs(&self, send: Send<ReadLogsResponse>) -> Result<(), Status> {
        let mut all = Vec::new();
        for service in Service::ALL {
            let heads = heads::read_heads(&*self.platform.engine, service).await.map_err(store)?;
            all.extend(heads.into_iter().map(|(shard, head)| (LogKey { service, shard }, head)));
        }
        let platform = Arc::clone(&self.platform);
        tokio::spawn(async move {
            for (log, head) in all {
                if let Err(failed) = tell_rows(&platform, log, head, &send).await {
                    let _ = send.send(Err(failed)).await;
                    return;
                }
            }
        });
        Ok(())
    }
}

/// Tells the rows of one log. It judges nothing: a gap is told as the gap that it is.
async fn tell_rows(
    platform: &Platform,
    log: LogKey,
    head: Seq,
    send: &Send<ReadLogsResponse>,
) -> Result<(), Status> {
    const AT_ONCE: usize = 1024 * 1024;
    let mut at = Seq(0);
    while at < head {
        let rows = platform.engine.read_log(log, at, AT_ONCE).await.map_err(store)?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            at = row.last_seq;
            if row.first_seq > head {
                break;
            }
            let group = EventGroup::decode(row.events);
            let group = group.map_err(|error| status(Failure::internal(error)))?;
            let events = group.events.into_iter().map(Event::decode);
            let told = ReadLogsResponse {
                service: log.service.name().to_owned(),
                shard: u32::from(log.shard.0),
                head: head.0,
                first_seq: row.first_seq.0,
                last_seq: row.last_seq.0,
                group_id: prost::bytes::Bytes::copy_from_slice(&row.group),
                events: events.collect::<Result<_, _>>().map_err(|error| status(Failure::internal(error)))?,
            };
            if send.send(Ok(told)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn tell_groups(mut groups: GroupStream, send: Send<TailEventsResponse>, stopping: CancellationToken) {
    loop {
        let group = tokio::select! {
            () = stopping.cancelled() => return,
            () = send.closed() => return,
            group = groups.next() => group,
        };
        let events = match group {
            Ok(group) => group.events,
            Err(error) => {
                let _ = send.send(Err(store(error))).await;
                return;
            }
        };
        for Recorded { position, event, .. } in events {
            let told = TailEventsResponse { position: Some(position_to_wire(position)), event: Some(event) };
            if send.send(Ok(told)).await.is_err() {
                return;
            }
        }
    }
}
