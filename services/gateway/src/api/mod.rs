//! The public API over gRPC: `p92.api.v1`, reflection that tells of nothing else, and health.
//!
//! It translates between the public contract and the internal ones; rules are the services'. A caller is known by the
//! bearer token in `authorization`, the server by `p92-server` or `:authority`.

mod posts;
mod timelines;

use crate::door::caller::Caller;
use crate::door::{bearer, host};
use crate::error::Problem;
use crate::gate::Gate;
use axum::extract::ConnectInfo;
use http::StatusCode;
use p92_kernel::{ErrorCode, Failure, Id};
use p92_proto::api::v1 as api;
use prost::Message as _;
use std::net::SocketAddr;
use tonic::service::Routes;
use tonic::{Request, Status};

/// Largest message that is taken.
const MESSAGE: usize = 64 * 1024;
/// What reflection may tell of.
const PACKAGES: [&str; 2] = ["p92.api.v1", "google.protobuf"];
const SERVICES: [&str; 2] = ["p92.api.v1.PostService", "p92.api.v1.TimelineService"];

/// The services, over the gate of the other doors.
#[derive(Clone, Debug)]
struct Door {
    gate: Gate,
}

/// Everything that the public port speaks over gRPC.
pub async fn services(gate: &Gate) -> Result<Routes, Failure> {
    let door = Door { gate: gate.clone() };
    let posts =
        api::post_service_server::PostServiceServer::new(door.clone()).max_decoding_message_size(MESSAGE);
    let timelines =
        api::timeline_service_server::TimelineServiceServer::new(door).max_decoding_message_size(MESSAGE);
    let (reporter, health) = tonic_health::server::health_reporter();
    for name in SERVICES {
        reporter.set_service_status(name, tonic_health::ServingStatus::Serving).await;
    }
    let mut files =
        prost_types::FileDescriptorSet::decode(p92_proto::DESCRIPTORS).map_err(Failure::internal)?;
    files.file.retain(|file| PACKAGES.contains(&file.package()));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_file_descriptor_set(files.clone())
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = Routes::new(posts)
        .add_service(timelines)
        .add_service(health)
        .add_service(reflection().build_v1().map_err(Failure::internal)?)
        .add_service(reflection().build_v1alpha().map_err(Failure::internal)?);
    Ok(routes.into_axum_router().layer(axum::middleware::map_request(keep_authority)).into())
}

/// Handlers see no URI: what it says of the server is kept for them.
async fn keep_authority(mut request: axum::extract::Request) -> axum::extract::Request {
    if let Some(authority) = request.uri().authority().cloned() {
        request.extensions_mut().insert(authority);
    }
    request
}

/// A problem as rich status; what is ours alone says nothing but that.
fn status(problem: Problem) -> Status {
    let code = match problem.status {
        StatusCode::UNAUTHORIZED => ErrorCode::Unauthenticated,
        StatusCode::FORBIDDEN => ErrorCode::PermissionDenied,
        StatusCode::NOT_FOUND | StatusCode::MISDIRECTED_REQUEST => ErrorCode::NotFound,
        StatusCode::TOO_MANY_REQUESTS => ErrorCode::ResourceExhausted,
        StatusCode::SERVICE_UNAVAILABLE => ErrorCode::Unavailable,
        StatusCode::NOT_IMPLEMENTED => ErrorCode::Unimplemented,
        status if status.is_client_error() => ErrorCode::InvalidArgument,
        _ => ErrorCode::Internal,
    };
    let retry_after = problem.retry_after;
    let reason = problem.reason.into_string();
    p92_chassis::status::to_status(Failure { retry_after, ..Failure::new(code, reason, problem.error) })
}

fn wrong(field: &'static str, reason: &'static str, words: &str) -> Status {
    p92_chassis::status::to_status(Failure::invalid(field, reason, words))
}

/// A decimal id. What is no id names nothing.
fn id(text: &str) -> Result<u64, Status> {
    text.parse::<Id>().map(Id::get).map_err(|_| status(Problem::not_found()))
}

fn key(request_id: &str) -> Result<Option<&str>, Status> {
    if request_id.len() > 255 {
        return Err(wrong("request_id", "KEY_TOO_LONG", "The request id is longer than 255 bytes."));
    }
    Ok((!request_id.is_empty()).then_some(request_id))
}

impl Door {
    /// Who calls which server; counted like every request.
    async fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        self.recognise(request).await.map_err(status)
    }

    async fn recognise<T>(&self, request: &Request<T>) -> Result<Caller, Problem> {
        let headers = request.metadata().clone().into_headers();
        let authority = request.extensions().get::<http::uri::Authority>().map(|one| one.as_str().to_owned());
        let named =
            headers.get("p92-server").and_then(|value| value.to_str().ok()).map(str::to_ascii_lowercase);
        let host = match named.or(authority) {
            Some(host) => host,
            None => host::of_request(&headers, &http::Uri::default())?,
        };
        let server = self.gate.server_at(&host).await?;
        let token = match bearer(&headers)? {
            Some(secret) => Some(self.gate.verify(server.id, secret).await?),
            None => None,
        };
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        let address = peer.or_else(|| request.remote_addr()).map(|peer| peer.ip().to_canonical());
        let caller = Caller { server, token, address };
        self.gate.limits.count(&caller).map_err(|standing| crate::door::rates::too_many(&standing))?;
        Ok(caller)
    }
}
