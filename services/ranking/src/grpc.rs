//! The service of the contract: decode, call, encode.

use crate::app::App;
use p92_chassis::status::to_status;
use p92_proto::ranking::v1 as proto;
use p92_proto::ranking::v1::ranking_service_server::RankingService;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The door.
#[derive(Clone, Debug)]
pub struct Door(pub Arc<App>);

#[tonic::async_trait]
impl RankingService for Door {
    async fn list_trending_tags(
        &self,
        request: Request<proto::ListTrendingTagsRequest>,
    ) -> Result<Response<proto::ListTrendingTagsResponse>, Status> {
        self.0.trending_tags(request.into_inner()).await.map(Response::new).map_err(to_status)
    }
}
