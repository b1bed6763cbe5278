//! The public API over gRPC: `p92.api.v1`, reflection that tells of nothing else, and health.
//!
//! It translates between the public contract and the internal ones; rules are the services'. A caller is known by the
//! bearer token in `authorization`, the server by `p92-server` or `:authority`.

mod accounts;
mod lists;
mod notifications;
mod posts;
mod relationships;
mod servers;
mod timelines;
mod watch;

use crate::door::caller::{Actor, Caller};
use crate::door::{bearer, host};
use crate::error::Problem;
use crate::gate::Gate;
use crate::mastodon::hydrate::Reader;
use axum::extract::ConnectInfo;
use http::StatusCode;
use p92_kernel::{ErrorCode, Failure, Id};
use p92_proto::api::v1 as api;
use p92_proto::event::v1::CommandContext;
use prost::Message as _;
use std::net::SocketAddr;
use tonic::service::Routes;
use tonic::{Request, Status};

/// Largest message that is taken.
const MESSAGE: usize = 64 * 1024;
/// What reflection may tell of.
const PACKAGES: [&str; 2] = ["p92.api.v1", "google.protobuf"];
const SERVICES: [&str; 6] = [
    "p92.api.v1.AccountService",
    "p92.api.v1.NotificationService",
    "p92.api.v1.PostService",
    "p92.api.v1.RelationshipService",
    "p92.api.v1.ServerService",
    "p92.api.v1.TimelineService",
];

/// The services, over the gate of the other doors.
#[derive(Clone, Debug)]
struct Door {
    gate: Gate,
}

/// Everything that the public port speaks over gRPC.
pub async fn services(gate: &Gate) -> Result<Routes, Failure> {
    let door = Door { gate: gate.clone() };
    let accounts = api::account_service_server::AccountServiceServer::new(door.clone());
    let notifications = api::notification_service_server::NotificationServiceServer::new(door.clone());
    let posts = api::post_service_server::PostServiceServer::new(door.clone());
    let relationships = api::relationship_service_server::RelationshipServiceServer::new(door.clone());
    let servers = api::server_service_server::ServerServiceServer::new(door.clone());
    let timelines = api::timeline_service_server::TimelineServiceServer::new(door);
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
    let routes = Routes::new(accounts.max_decoding_message_size(MESSAGE))
        .add_service(notifications.max_decoding_message_size(MESSAGE))
        .add_service(posts.max_decoding_message_size(MESSAGE))
        .add_service(relationships.max_decoding_message_size(MESSAGE))
        .add_service(servers.max_decoding_message_size(MESSAGE))
        .add_service(timelines.max_decoding_message_size(MESSAGE))
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

/// Ids of a call that takes several.
fn ids(field: &'static str, texts: &[String], most: usize) -> Result<Vec<u64>, Status> {
    if texts.len() > most {
        return Err(wrong(field, "TOO_MANY", &format!("At most {most} at a time.")));
    }
    // What is no id names nothing, and is left out like what does not exist.
    Ok(texts.iter().filter_map(|text| text.parse::<Id>().ok()).map(Id::get).collect())
}

/// The paths of a field mask, each one of these.
fn mask(paths: Option<&prost_types::FieldMask>, known: &[&str]) -> Result<Vec<String>, Status> {
    let paths = paths.map(|mask| mask.paths.clone()).unwrap_or_default();
    if paths.is_empty() {
        return Err(wrong("update_mask", "MASK_NEEDED", "Say in update_mask which fields change."));
    }
    match paths.iter().find(|path| !known.contains(&path.as_str())) {
        Some(path) => {
            let words = format!("`{path}` cannot be changed; what can is {}.", known.join(", "));
            Err(wrong("update_mask", "UNKNOWN_PATH", &words))
        }
        None => Ok(paths),
    }
}

fn moment(ms: u64) -> Option<prost_types::Timestamp> {
    let seconds = i64::try_from(ms / 1_000).ok().filter(|_| ms != 0)?;
    let nanos = i32::try_from(ms % 1_000 * 1_000_000).ok()?;
    Some(prost_types::Timestamp { seconds, nanos })
}

/// A decimal id, empty for none.
fn decimal(id: u64) -> String {
    if id == 0 { String::new() } else { id.to_string() }
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

    /// The account that acts in a call, and the call's key.
    async fn actor<T>(&self, request: &Request<T>, scope: &str) -> Result<(Caller, Actor), Status> {
        let caller = self.caller(request).await?;
        let actor = caller.actor(scope).map_err(status)?;
        Ok((caller, actor))
    }

    /// Context of a command of an actor under the call's key.
    fn command(&self, actor: Actor, request_id: &str) -> Result<Option<CommandContext>, Status> {
        let key = key(request_id)?;
        Ok(Some(self.gate.command(actor.server_id, actor.account_id, actor.app_id, key)))
    }

    async fn reader<'a>(&'a self, caller: &'a Caller, viewer_id: u64) -> Reader<'a> {
        Reader::new(&self.gate, caller, viewer_id).await
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
