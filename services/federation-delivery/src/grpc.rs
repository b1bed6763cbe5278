//! The service of the contract: decode, call, encode.

use crate::app::App;
use p92_chassis::status::to_status;
use p92_kernel::Failure;
use p92_proto::federation_delivery::v1 as proto;
use p92_proto::federation_delivery::v1::delivery_service_server::DeliveryService;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The door.
#[derive(Clone, Debug)]
pub struct Door(pub Arc<App>);

fn answer<T>(result: Result<T, Failure>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(to_status)
}

#[tonic::async_trait]
impl DeliveryService for Door {
    async fn get_delivery_plan(
        &self,
        request: Request<proto::GetDeliveryPlanRequest>,
    ) -> Result<Response<proto::GetDeliveryPlanResponse>, Status> {
        answer(self.0.plans(request.into_inner()).await)
    }

    async fn list_follower_hosts(
        &self,
        request: Request<proto::ListFollowerHostsRequest>,
    ) -> Result<Response<proto::ListFollowerHostsResponse>, Status> {
        answer(self.0.follower_hosts(request.into_inner()).await)
    }

    async fn list_peers(
        &self,
        request: Request<proto::ListPeersRequest>,
    ) -> Result<Response<proto::ListPeersResponse>, Status> {
        answer(self.0.peers(request.into_inner()).await)
    }
}
