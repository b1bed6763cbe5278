//! The door for other services: decode, call, encode.

mod posts;
mod reactions;

use crate::app::App;
use p92_kernel::Failure;
use p92_proto::posting::v1;
use p92_proto::posting::v1::ending_service_server::EndingService;
use tonic::{Request, Response, Status};

/// The services of posting.
#[derive(Clone, Debug)]
pub struct Door(pub App);

#[tonic::async_trait]
impl EndingService for Door {
    async fn end_all(
        &self,
        request: Request<v1::EndAllRequest>,
    ) -> Result<Response<v1::EndAllResponse>, Status> {
        answer(self.0.end_all(inner(request)).await.map(|()| v1::EndAllResponse {}))
    }
}

/// An answer of the app as the wire has it.
fn answer<T>(result: Result<T, Failure>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(p92_chassis::status::to_status)
}

/// Refuses lists that are longer than the contract says.
fn at_most<T>(list: &[T], most: usize, field: &'static str) -> Result<(), Failure> {
    if list.len() <= most {
        return Ok(());
    }
    Err(Failure::invalid(field, "TOO_MANY", format!("At most {most} at once.")))
}

/// What a request holds.
fn inner<T>(request: Request<T>) -> T {
    request.into_inner()
}
