//! Gives out a backup piece by piece, at the speed of whoever takes it.

use super::{Operator, status};
use p92_eventlog::backup::{self, BackupError};
use p92_eventlog::event::position_to_wire;
use p92_eventlog::{error, heads};
use p92_kernel::{ErrorCode, Failure, Position, Service};
use p92_proto::operator::v1::take_backup_response::Piece;
use p92_proto::operator::v1::{BackupBegun, BackupEnded, BackupRecords, TakeBackupResponse};
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::Status;

type Send = mpsc::Sender<Result<TakeBackupResponse, Status>>;

fn piece(piece: Piece) -> Result<TakeBackupResponse, Status> {
    Ok(TakeBackupResponse { piece: Some(piece) })
}

fn failure(failed: BackupError) -> Status {
    status(match failed {
        BackupError::Store(failed) => error::store_failure(failed),
        failed => Failure::new(ErrorCode::FailedPrecondition, "NO_BACKUP", failed.to_string()),
    })
}

impl Operator {
    /// Begins a backup.
    pub(super) fn take_backup(&self) -> mpsc::Receiver<Result<TakeBackupResponse, Status>> {
        // Each piece has a quarter of a MiB: this is what waits for a slow taker.
        let (send, receive) = mpsc::channel(4);
        let operator = self.clone();
        tokio::spawn(async move {
            if let Err(failed) = operator.give_out(&send).await {
                tracing::warn!(error = %failed, "a backup was not finished");
                let _ = send.send(Err(failed)).await;
            }
        });
        receive
    }

    async fn give_out(&self, send: &Send) -> Result<(), Status> {
        let platform = &self.platform;
        let mut events = 0;
        for service in Service::ALL {
            let heads = heads::read_heads(&*platform.engine, service).await.map_err(super::store)?;
            events += heads.values().map(|seq| seq.0).sum::<u64>();
        }
        let begun = BackupBegun {
            installation: platform.keyring.installation(),
            shards: u32::from(platform.shards.get()),
            time_ms: platform.clock.now().0,
            events,
        };
        let gone = |_| Status::cancelled("whoever takes the backup has gone");
        send.send(piece(Piece::Begun(begun))).await.map_err(gone)?;
        let (records, mut pieces) = mpsc::channel(1);
        let (engine, shards) = (Arc::clone(&platform.engine), platform.shards);
        let taking = tokio::spawn(async move {
            let state = crate::backup::state_tables();
            backup::take(&*engine, shards, &state, records).await
        });
        while let Some(records) = pieces.recv().await {
            send.send(piece(Piece::Records(BackupRecords { records }))).await.map_err(gone)?;
        }
        let positions = taking.await.map_err(|error| status(Failure::internal(error)))?.map_err(failure)?;
        let positions = positions
            .into_iter()
            .map(|(log, seq)| position_to_wire(Position { service: log.service, shard: log.shard, seq }));
        let ended = BackupEnded { positions: positions.collect() };
        send.send(piece(Piece::Ended(ended))).await.map_err(gone)
    }
}
