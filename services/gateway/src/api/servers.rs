//! The public call about the server that is called.

use super::Door;
use p92_proto::api::v1 as api;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl api::server_service_server::ServerService for Door {
    async fn get_server(
        &self,
        request: Request<api::GetServerRequest>,
    ) -> Result<Response<api::GetServerResponse>, Status> {
        let server = self.caller(&request).await?.server;
        let server = api::Server {
            domain: server.domain.clone(),
            public_url: server.public_url.clone(),
            name: server.name.clone(),
            description: server.description.clone(),
            rules: server.rules.iter().map(|rule| rule.text.clone()).collect(),
            // Both enums have the same values on purpose.
            registration: server.registration,
            post_characters: server.policies.as_ref().map_or(0, |policies| policies.post_characters),
            contact_email: server.contact_email.clone(),
            languages: server.languages.clone(),
        };
        Ok(Response::new(api::GetServerResponse { server: Some(server) }))
    }
}
