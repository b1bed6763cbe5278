//! The operator API: looks into logs, readers, views, tables and keys of the installation.
//!
//! It changes nothing that a command could change, except that it rebuilds views, rotates keys, and settles what was put
//! aside. What it tells of logs, readers and slots it reads from the store, so any process may be asked; what only a
//! process knows (places kept in memory), it tells of its own.
//!
//! | room | noun |
//! |---|---|
//! | `access` | who may ask from elsewhere |
//! | `standing` | lags, owners, members |
//! | `logs` | events as they stand in logs |
//! | `views` | views and their rebuilding |
//! | `tables` | rows as they stand in tables |
//! | `aside` | what readers put aside, and what becomes of it |
//! | `examine` | what a process finds about what it needs |
//! | `backup` | what cannot be computed anew, given out |

pub mod access;
mod aside;
mod backup;
mod examine;
mod logs;
mod standing;
mod tables;
mod views;

use futures::stream::{BoxStream, StreamExt as _};
use p92_eventlog::{Platform, Runtime};
use p92_kernel::{ErrorCode, Failure};
use p92_proto::operator::v1::operator_service_server::OperatorService;
use p92_proto::operator::v1::*;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
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

type Answer<T> = Result<Response<T>, Status>;
type Told<T> = BoxStream<'static, Result<T, Status>>;

fn told<T: Send + 'static>(receive: mpsc::Receiver<Result<T, Status>>) -> Answer<Told<T>> {
    Ok(Response::new(ReceiverStream::new(receive).boxed()))
}

#[tonic::async_trait]
impl OperatorService for Operator {
    async fn list_lag(&self, _: Request<ListLagRequest>) -> Answer<ListLagResponse> {
        Ok(Response::new(ListLagResponse { lags: self.lags().await? }))
    }

    async fn list_owners(&self, _: Request<ListOwnersRequest>) -> Answer<ListOwnersResponse> {
        Ok(Response::new(self.owners().await?))
    }

    async fn list_views(&self, _: Request<ListViewsRequest>) -> Answer<ListViewsResponse> {
        Ok(Response::new(ListViewsResponse { views: self.views() }))
    }

    type RebuildViewStream = Told<RebuildViewResponse>;

    async fn rebuild_view(&self, request: Request<RebuildViewRequest>) -> Answer<Self::RebuildViewStream> {
        told(self.rebuild(request.into_inner())?)
    }

    async fn read_events(&self, request: Request<ReadEventsRequest>) -> Answer<ReadEventsResponse> {
        let ReadEventsRequest { stream, as_of_ms } = request.into_inner();
        Ok(Response::new(ReadEventsResponse { events: self.events_of(&stream, as_of_ms).await? }))
    }

    type TailEventsStream = Told<TailEventsResponse>;

    async fn tail_events(&self, _: Request<TailEventsRequest>) -> Answer<Self::TailEventsStream> {
        let (send, receive) = mpsc::channel(256);
        self.tail(&send).await?;
        told(receive)
    }

    type ReadLogsStream = Told<ReadLogsResponse>;

    async fn read_logs(&self, _: Request<ReadLogsRequest>) -> Answer<Self::ReadLogsStream> {
        let (send, receive) = mpsc::channel(64);
        self.rows_of_logs(send).await?;
        told(receive)
    }

    async fn list_quarantine(
        &self,
        request: Request<ListQuarantineRequest>,
    ) -> Answer<ListQuarantineResponse> {
        let events = self.put_aside(request.into_inner().with_dropped).await?;
        Ok(Response::new(ListQuarantineResponse { events }))
    }

    async fn retry_quarantine(
        &self,
        request: Request<RetryQuarantineRequest>,
    ) -> Answer<RetryQuarantineResponse> {
        let RetryQuarantineRequest { reader, stream } = request.into_inner();
        Ok(Response::new(self.retry(&reader, &stream).await?))
    }

    async fn drop_quarantine(
        &self,
        request: Request<DropQuarantineRequest>,
    ) -> Answer<DropQuarantineResponse> {
        let DropQuarantineRequest { reader, stream } = request.into_inner();
        Ok(Response::new(DropQuarantineResponse { dropped: self.drop_aside(&reader, &stream).await? }))
    }

    async fn list_tables(&self, _: Request<ListTablesRequest>) -> Answer<ListTablesResponse> {
        let tables = self.all_tables().into_iter().map(tables::to_wire).collect();
        Ok(Response::new(ListTablesResponse { tables }))
    }

    async fn get_table_row(&self, request: Request<GetTableRowRequest>) -> Answer<GetTableRowResponse> {
        Ok(Response::new(self.row(request.into_inner()).await?))
    }

    async fn scan_table(&self, request: Request<ScanTableRequest>) -> Answer<ScanTableResponse> {
        Ok(Response::new(self.page(request.into_inner()).await?))
    }

    async fn rotate_keys(&self, _: Request<RotateKeysRequest>) -> Answer<RotateKeysResponse> {
        let wrapped = self.platform.keyring.rotate(&*self.platform.clock).await;
        let wrapped = wrapped.map_err(|error| {
            status(Failure::new(ErrorCode::FailedPrecondition, "KEYS_NOT_ROTATED", error.to_string()))
        })?;
        Ok(Response::new(RotateKeysResponse { wrapped }))
    }

    type TakeBackupStream = Told<TakeBackupResponse>;

    async fn take_backup(&self, _: Request<TakeBackupRequest>) -> Answer<Self::TakeBackupStream> {
        told(Self::take_backup(self))
    }

    async fn examine(&self, _: Request<ExamineRequest>) -> Answer<ExamineResponse> {
        Ok(Response::new(ExamineResponse { findings: self.findings().await }))
    }
}
