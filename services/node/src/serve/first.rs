//! The first server of an installation: found, or made once.

use crate::settings::Settings;
use p92_chassis::Transport;
use p92_chassis::status::from_status;
use p92_kernel::{ErrorCode, Failure};
use p92_proto::event::v1::{CommandContext, ReadOptions};
use p92_proto::identity::v1::server_service_client::ServerServiceClient;
use p92_proto::identity::v1::{CreateServerRequest, ListServersRequest, RegistrationPolicy, Server};
use tonic::Status;

/// Under this key it is made; several doors that start at once make one.
const KEY: &str = "the-first-server";

/// The oldest server, if there is one. Every page is read: their order says nothing of age.
pub(crate) async fn oldest(servers: &mut ServerServiceClient<Transport>) -> Result<Option<Server>, Status> {
    let mut request = ListServersRequest {
        options: Some(ReadOptions::default()),
        page_size: 500,
        page_token: String::new(),
    };
    let age = |server: &Server| (server.created_ms, server.id);
    let mut oldest: Option<Server> = None;
    loop {
        let page = servers.list_servers(request.clone()).await?.into_inner();
        oldest = oldest.into_iter().chain(page.servers).min_by_key(age);
        if page.next_page_token.is_empty() {
            return Ok(oldest);
        }
        request.page_token = page.next_page_token;
    }
}

/// The public URL of the first server, if there is one.
pub(super) async fn find(identity: &Transport) -> Result<Option<String>, Failure> {
    let first = oldest(&mut ServerServiceClient::new(identity.clone())).await.map_err(from_status)?;
    Ok(first.map(|first| first.public_url))
}

/// Finds the first server, or makes it at this URL; its public URL.
pub(super) async fn ensure(settings: &Settings, identity: &Transport, url: &str) -> Result<String, Failure> {
    if let Some(url) = find(identity).await? {
        return Ok(url);
    }
    let registration =
        if settings.is_local() { RegistrationPolicy::Open } else { RegistrationPolicy::Approval };
    let domain = settings.domain();
    let request = CreateServerRequest {
        context: Some(CommandContext { idempotency_key: KEY.to_owned(), ..CommandContext::default() }),
        name: domain.clone(),
        domain,
        public_url: url.to_owned(),
        registration: registration.into(),
        ..CreateServerRequest::default()
    };
    match ServerServiceClient::new(identity.clone()).create_server(request).await.map_err(from_status) {
        Ok(_) => Ok(url.to_owned()),
        // Somebody else, set otherwise, was quicker.
        Err(failure) if failure.code == ErrorCode::AlreadyExists => find(identity).await?.ok_or(failure),
        Err(failure) => Err(failure),
    }
}

/// Says on the log that the first server keeps what it was made with.
pub(super) fn compare(stored: &str, asked: &str) {
    if stored != asked {
        // Ids of accounts and posts carry the URL that the server was made with; it does not follow a setting.
        tracing::warn!(stored, asked, "the first server keeps the public URL that it was made with");
    }
}
