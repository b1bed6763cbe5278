//! The door for other services: decode, call, encode.

mod posts;
mod reactions;

use crate::app::App;
use p92_kernel::Failure;
use tonic::{Request, Response, Status};

/// Both services of posting.
#[derive(Clone, Debug)]
pub struct Door(pub App);

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
