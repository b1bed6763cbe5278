//! What strangers reach: the public listener, and nothing behind it.

use crate::world::{Installation, within};
use p92_chassis::server::{self, Limits};
use p92_chassis::transport::{Guarded, Network, Rules};
use p92_chassis::{SystemClock, SystemRandom, Transport};
use p92_kernel::Service;
use p92_node::role::Role;
use p92_proto::api::v1 as api;
use p92_proto::identity::v1::server_service_client::ServerServiceClient;
use p92_proto::identity::v1::{GetServerRequest, get_server_request};
use p92_proto::operator::v1::ListOwnersRequest;
use p92_proto::operator::v1::operator_service_client::OperatorServiceClient;
use p92_proto::posting::v1::GetPostRequest;
use p92_proto::posting::v1::post_service_client::PostServiceClient;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn internal_services_cannot_be_called_through_the_public_listener() {
    let mut all = Installation::new().await;
    let identity = all.start(Role::Identity).await;
    all.found_at(&[&identity]);
    let posting = all.start(Role::Posting).await;
    all.found_at(&[&posting]);
    let timelines = all.start(Role::Timelines).await;
    let ranking = all.start(Role::Ranking).await;
    all.found_at(&[&timelines, &ranking]);
    within(identity.runtime.ready()).await;
    all.make_server(&identity).await;
    let ways = all.ways();
    let to = |service| ways.to(service).unwrap();
    let deps = p92_gateway::Deps::over(
        to(Service::Identity),
        to(Service::Posting),
        to(Service::Timelines),
        to(Service::Ranking),
        Arc::new(SystemClock::default()),
        Arc::new(SystemRandom),
    );
    let stop = CancellationToken::new();
    let home = "http://127.0.0.1".to_owned();
    let gate = p92_gateway::Gate::ending_with(deps, p92_gateway::Config::default(), home, stop.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let services = Guarded::new(p92_gateway::api::services(&gate).await.unwrap(), Rules::PUBLIC);
    tokio::spawn(server::serve(listener, server::grpc(services), Limits::PUBLIC, stop));

    let public = Transport::remote(Network::new([address]).unwrap());
    let post = GetPostRequest { post_id: 1, ..GetPostRequest::default() };
    let refused = PostServiceClient::new(public.clone()).get_post(post.clone()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
    let server = GetServerRequest {
        server: Some(get_server_request::Server::Id(all.server)),
        ..GetServerRequest::default()
    };
    let refused = ServerServiceClient::new(public.clone()).get_server(server.clone()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
    let refused = OperatorServiceClient::new(public.clone()).list_owners(ListOwnersRequest {}).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::Unimplemented);
    // The public contract is there, and the internal one where it belongs.
    let request = api::GetServerRequest::default();
    let asked = api::server_service_client::ServerServiceClient::new(public).get_server(request).await;
    assert_ne!(asked.err().map(|status| status.code()), Some(tonic::Code::Unimplemented));
    assert!(ServerServiceClient::new(identity.transport()).get_server(server).await.is_ok());
    let missing = PostServiceClient::new(posting.transport()).get_post(post).await.unwrap_err();
    assert_eq!(missing.code(), tonic::Code::NotFound);
}
