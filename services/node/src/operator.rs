//! The operator API: looks into logs, readers, views, tables and keys of this process.
//!
//! It changes nothing that a command could change, except that it rebuilds views and rotates keys.

use futures::stream::{BoxStream, StreamExt as _};
use p92_eventlog::event::position_to_wire;
use p92_eventlog::rebuild::{RebuildError, Watch};
use p92_eventlog::{GroupStream, Platform, Recorded, Runtime, quarantine, tables};
use p92_kernel::{ErrorCode, Failure, Position, Seq, Service, Shard};
use p92_proto::operator::v1::operator_service_server::OperatorService;
use p92_proto::operator::v1::*;
use p92_storage::{Class, Direction, Key, LogKey, Range, Scan, Side};
use prost::Message as _;
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

/// The logs of this process, for operators.
#[derive(Clone, Debug)]
pub struct Operator {
    pub platform: Arc<Platform>,
    pub runtimes: Vec<Arc<Runtime>>,
    /// Tables of services besides their views.
    pub tables: Vec<&'static p92_storage::Table>,
}

fn status(failure: Failure) -> Status {
    p92_chassis::status::to_status(failure)
}

fn store(error: p92_storage::StoreError) -> Status {
    status(p92_eventlog::error::store_failure(error))
}

impl Operator {
    fn all_tables(&self) -> Vec<&'static p92_storage::Table> {
        let views = self.runtimes.iter().flat_map(|runtime| runtime.views()).map(|view| view.table());
        let mut all: Vec<_> = views.chain(tables::all()).chain(self.tables.iter().copied()).collect();
        all.sort_by_key(|table| table.name);
        all.dedup_by_key(|table| table.name);
        all
    }

    fn runtime_of(&self, view: &str) -> Result<Arc<Runtime>, Status> {
        let has = |runtime: &&Arc<Runtime>| runtime.views().iter().any(|one| one.table().name == view);
        self.runtimes.iter().find(has).cloned().ok_or_else(|| {
            status(Failure::new(
                ErrorCode::NotFound,
                "NO_SUCH_VIEW",
                format!("There is no view {view}. `p92 view list` shows them."),
            ))
        })
    }
}

fn table_to_wire(table: &p92_storage::Table) -> Table {
    let class = match table.class {
        Class::Log => "log",
        Class::State => "state",
        Class::View => "view",
    };
    Table {
        name: table.name.to_owned(),
        class: class.to_owned(),
        row: table.row.to_owned(),
        serves: table.serves.to_owned(),
    }
}

fn rebuild_failure(error: RebuildError) -> Status {
    status(match error {
        RebuildError::NotHeld(shard) => Failure::unavailable(
            "SHARD_NOT_HELD",
            format!("Shard {shard} is not held by this process. Ask the one that holds it: `p92 owners`."),
            std::time::Duration::from_secs(1),
        ),
        RebuildError::Store(error) => p92_eventlog::error::store_failure(error),
        error @ (RebuildError::Projection(_) | RebuildError::NoSuchView(_)) => {
            Failure::new(ErrorCode::FailedPrecondition, "VIEW_NOT_REBUILT", error.to_string())
        }
    })
}

#[tonic::async_trait]
impl OperatorService for Operator {
    async fn list_lag(&self, _: Request<ListLagRequest>) -> Result<Response<ListLagResponse>, Status> {
        let marks = self.platform.progress.all();
        let head = |log: LogKey| {
            let owner = marks.iter().find(|(mark, _)| mark.log == log && mark.reader.is_empty());
            owner.map_or(Seq(0), |(_, seq)| *seq)
        };
        let mut lags: Vec<Lag> = marks
            .iter()
            .map(|(mark, seq)| Lag {
                service: mark.log.service.name().to_owned(),
                shard: u32::from(mark.log.shard.0),
                reader: mark.reader.to_string(),
                head: head(mark.log).0,
                applied: seq.0,
            })
            .collect();
        lags.sort_by(|a, b| (&a.service, &a.reader, a.shard).cmp(&(&b.service, &b.reader, b.shard)));
        Ok(Response::new(ListLagResponse { lags }))
    }

    async fn list_owners(
        &self,
        _: Request<ListOwnersRequest>,
    ) -> Result<Response<ListOwnersResponse>, Status> {
        let slots = self.platform.membership.slots().borrow().clone();
        let owner = |((service, shard), epoch): ((Service, Shard), u64)| Owner {
            service: service.name().to_owned(),
            shard: u32::from(shard.0),
            member: self.platform.member.clone(),
            epoch,
        };
        Ok(Response::new(ListOwnersResponse { owners: slots.into_iter().map(owner).collect() }))
    }

    async fn list_views(&self, _: Request<ListViewsRequest>) -> Result<Response<ListViewsResponse>, Status> {
        let of = |runtime: &Arc<Runtime>| -> Vec<View> {
            let view = |view: &Arc<dyn p92_eventlog::View>| View {
                name: view.table().name.to_owned(),
                service: runtime.service().name().to_owned(),
                source: view.source().name().to_owned(),
                serves: view.table().serves.to_owned(),
            };
            runtime.views().iter().map(view).collect()
        };
        let mut views: Vec<View> = self.runtimes.iter().flat_map(of).collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Response::new(ListViewsResponse { views }))
    }

    type RebuildViewStream = BoxStream<'static, Result<RebuildViewResponse, Status>>;

    async fn rebuild_view(
        &self,
        request: Request<RebuildViewRequest>,
    ) -> Result<Response<Self::RebuildViewStream>, Status> {
        let RebuildViewRequest { name, verify } = request.into_inner();
        let runtime = self.runtime_of(&name)?;
        let (send, receive) = mpsc::channel(64);
        let told = send.clone();
        let watch: Watch = Arc::new(move |events, total| {
            // A caller that reads slowly misses a step of the bar, nothing else.
            let _ =
                told.try_send(Ok(RebuildViewResponse { events, total, ..RebuildViewResponse::default() }));
        });
        // It goes on when the caller goes: half a rebuild is of no use to anybody.
        tokio::spawn(async move {
            let last = match runtime.rebuild(&name, verify, watch).await {
                Ok(report) => Ok(RebuildViewResponse {
                    events: report.events,
                    total: report.events,
                    done: true,
                    compared: report.compared,
                    difference: report.difference.unwrap_or_default(),
                }),
                Err(error) => Err(rebuild_failure(error)),
            };
            let _ = send.send(last).await;
        });
        Ok(Response::new(tokio_stream::wrappers::ReceiverStream::new(receive).boxed()))
    }

    async fn read_events(
        &self,
        request: Request<ReadEventsRequest>,
    ) -> Result<Response<ReadEventsResponse>, Status> {
        let stream = request.into_inner().stream;
        let mut events = Vec::new();
        for service in Service::ALL {
            let mut scan = Scan {
                table: tables::streams(service).only(),
                partition: Key::new().text(&stream).build(),
                range: Range::all(),
                direction: Direction::Forward,
                limit: 1_000,
                after: None,
            };
            loop {
                let page = self.platform.engine.scan(&scan).await.map_err(store)?;
                for (_, row) in page.rows {
                    let event = p92_proto::event::v1::Event::decode(row.value);
                    events.push(event.map_err(|error| status(Failure::internal(error)))?);
                }
                match page.next {
                    Some(next) => scan.after = Some(next),
                    None => break,
                }
            }
        }
        if events.is_empty() {
            let text =
                format!("There is no stream {stream}. Streams are named kind/id, for example post/123.");
            return Err(status(Failure::new(ErrorCode::NotFound, "NO_SUCH_STREAM", text)));
        }
        Ok(Response::new(ReadEventsResponse { events }))
    }

    type TailEventsStream = BoxStream<'static, Result<TailEventsResponse, Status>>;

    async fn tail_events(
        &self,
        _: Request<TailEventsRequest>,
    ) -> Result<Response<Self::TailEventsStream>, Status> {
        let (send, receive) = mpsc::channel(256);
        for runtime in &self.runtimes {
            let heads = p92_eventlog::heads::read_heads(&*self.platform.engine, runtime.service()).await;
            let heads = heads.map_err(store)?;
            for shard in self.platform.shards.all() {
                let log = LogKey { service: runtime.service(), shard };
                let after = heads.get(&shard).copied().unwrap_or_default();
                let groups = GroupStream::new(&self.platform, log, after);
                tokio::spawn(tail(groups, send.clone(), self.platform.stopping.clone()));
            }
        }
        Ok(Response::new(tokio_stream::wrappers::ReceiverStream::new(receive).boxed()))
    }

    type ReadLogsStream = BoxStream<'static, Result<ReadLogsResponse, Status>>;

    async fn read_logs(&self, _: Request<ReadLogsRequest>) -> Result<Response<Self::ReadLogsStream>, Status> {
        let mut heads = Vec::new();
        for runtime in &self.runtimes {
            let service = runtime.service();
            let found = p92_eventlog::heads::read_heads(&*self.platform.engine, service).await;
            heads.extend(
                found.map_err(store)?.into_iter().map(|(shard, head)| (LogKey { service, shard }, head)),
            );
        }
        let (send, receive) = mpsc::channel(64);
        let platform = Arc::clone(&self.platform);
        tokio::spawn(async move {
            for (log, head) in heads {
                if let Err(failed) = tell_rows(&platform, log, head, &send).await {
                    let _ = send.send(Err(failed)).await;
                    return;
                }
            }
        });
        Ok(Response::new(tokio_stream::wrappers::ReceiverStream::new(receive).boxed()))
    }

    async fn list_quarantine(
        &self,
        _: Request<ListQuarantineRequest>,
    ) -> Result<Response<ListQuarantineResponse>, Status> {
        let mut events = Vec::new();
        for (reader, row) in quarantine::list(&self.platform).await.map_err(store)? {
            events.push(Quarantined {
                reader,
                position: Some(p92_proto::event::v1::Position {
                    service: row.service,
                    shard: row.shard,
                    seq: row.seq,
                }),
                event: p92_proto::event::v1::Event::decode(row.event).ok(),
                problem: row.problem,
                time_ms: row.time_ms,
            });
        }
        Ok(Response::new(ListQuarantineResponse { events }))
    }

    async fn list_tables(
        &self,
        _: Request<ListTablesRequest>,
    ) -> Result<Response<ListTablesResponse>, Status> {
        let tables = self.all_tables().into_iter().map(table_to_wire).collect();
        Ok(Response::new(ListTablesResponse { tables }))
    }

    async fn scan_table(
        &self,
        request: Request<ScanTableRequest>,
    ) -> Result<Response<ScanTableResponse>, Status> {
        let ScanTableRequest { name, page_size, page_token } = request.into_inner();
        let table = self.all_tables().into_iter().find(|table| table.name == name).ok_or_else(|| {
            let text = format!("There is no table {name}. `p92 table list` shows them.");
            status(Failure::new(ErrorCode::NotFound, "NO_SUCH_TABLE", text))
        })?;
        let side = match table.class {
            Class::View => {
                self.runtime_of(table.name).map_or(Side::A, |runtime| runtime.answering_side(table))
            }
            Class::Log | Class::State => Side::Only,
        };
        let limit = p92_kernel::PageSize::clamp(page_size, 100, 1_000).get();
        let after = (!page_token.is_empty()).then_some(page_token);
        let page = self.platform.engine.scan_table(table.side(side), after.as_ref(), limit).await;
        let page = page.map_err(store)?;
        let rows = page.rows.into_iter().map(|row| TableRow {
            partition: row.partition,
            clustering: row.clustering,
            stamp: row.row.stamp,
            value: row.row.value,
        });
        Ok(Response::new(ScanTableResponse {
            table: Some(table_to_wire(table)),
            rows: rows.collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn rotate_keys(
        &self,
        _: Request<RotateKeysRequest>,
    ) -> Result<Response<RotateKeysResponse>, Status> {
        let wrapped = self.platform.keyring.rotate(&*self.platform.clock).await;
        let wrapped = wrapped.map_err(|error| {
            status(Failure::new(ErrorCode::FailedPrecondition, "KEYS_NOT_ROTATED", error.to_string()))
        })?;
        Ok(Response::new(RotateKeysResponse { wrapped }))
    }
}

/// Tells the rows of one log. It judges nothing: a gap is told as the gap that it is.
async fn tell_rows(
    platform: &Platform,
    log: LogKey,
    head: Seq,
    send: &mpsc::Sender<Result<ReadLogsResponse, Status>>,
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
            let group = p92_proto::event::v1::EventGroup::decode(row.events);
            let group = group.map_err(|error| status(Failure::internal(error)))?;
            let events = group.events.into_iter().map(p92_proto::event::v1::Event::decode);
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

async fn tail(
    mut groups: GroupStream,
    send: mpsc::Sender<Result<TailEventsResponse, Status>>,
    stopping: tokio_util::sync::CancellationToken,
) {
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
            let told = TailEventsResponse { position: Some(wire(position)), event: Some(event) };
            if send.send(Ok(told)).await.is_err() {
                return;
            }
        }
    }
}

fn wire(position: Position) -> p92_proto::event::v1::Position {
    position_to_wire(position)
}
