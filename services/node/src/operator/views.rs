//! Views: which there are, and their rebuilding.

use super::{Operator, status};
use p92_eventlog::rebuild::{RebuildError, Watch};
use p92_eventlog::{Runtime, error};
use p92_kernel::{ErrorCode, Failure};
use p92_proto::operator::v1::{RebuildViewRequest, RebuildViewResponse, View};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::Status;

pub(super) fn failure(failed: RebuildError) -> Status {
    let later = |text| Failure::unavailable("VIEW_NOT_REBUILT_YET", text, Duration::from_secs(1));
    status(match failed {
        RebuildError::Elsewhere(member) => later(format!(
            "The member {member} rebuilds this view at the moment. Wait until it is done: `p92 owners` shows whether it lives."
        )),
        RebuildError::InVain(whom) => later(format!(
            "The live table answers as before: the rebuild waited in vain for {whom}. Look at its log, or end a member that hangs; then run this again."
        )),
        RebuildError::Disturbed(_) => later(format!(
            "The live table answers as before: {failed}. Run this again when `p92 owners` is steady."
        )),
        RebuildError::Store(failed) => error::store_failure(failed),
        failed @ (RebuildError::Projection(_) | RebuildError::Writer(..) | RebuildError::NoSuchView(_)) => {
            Failure::new(ErrorCode::FailedPrecondition, "VIEW_NOT_REBUILT", failed.to_string())
        }
    })
}

impl Operator {
    pub(super) fn runtime_of(&self, view: &str) -> Result<Arc<Runtime>, Status> {
        let has = |runtime: &&Arc<Runtime>| runtime.views().iter().any(|one| one.table().name == view);
        self.runtimes.iter().find(has).cloned().ok_or_else(|| {
            let text = format!("There is no view {view}. `p92 view list` shows them.");
            status(Failure::new(ErrorCode::NotFound, "NO_SUCH_VIEW", text))
        })
    }

    pub(super) fn views(&self) -> Vec<View> {
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
        views
    }

    /// Begins a rebuild, and tells how far it is.
    pub(super) fn rebuild(
        &self,
        request: RebuildViewRequest,
    ) -> Result<mpsc::Receiver<Result<RebuildViewResponse, Status>>, Status> {
        let RebuildViewRequest { name, verify } = request;
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
                    put_aside: report.left_out,
                    difference: report.difference.unwrap_or_default(),
                }),
                Err(error) => Err(failure(error)),
            };
            let _ = send.send(last).await;
        });
        Ok(receive)
    }
}
