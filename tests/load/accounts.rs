//! Accounts with tokens, made by the internal contract: signing up thousands by the door would be its own measurement.

use anyhow::Context as _;
use p92_proto::event::v1::{CommandContext, ReadOptions};
use p92_proto::identity::v1 as identity;
use tonic::transport::Channel;

/// What apps ask for.
const SCOPES: [&str; 3] = ["read", "write", "follow"];

/// Somebody with a token.
#[derive(Clone, Debug)]
pub struct Person {
    pub id: u64,
    pub token: String,
}

/// An app of the first server, which gets tokens for whom it makes.
#[derive(Clone, Debug)]
pub struct App {
    pub server_id: u64,
    client_id: String,
}

fn scopes() -> Vec<String> {
    SCOPES.into_iter().map(str::to_owned).collect()
}

impl App {
    /// Registers it.
    pub async fn register(channel: &Channel) -> anyhow::Result<Self> {
        let mut servers = identity::server_service_client::ServerServiceClient::new(channel.clone());
        let list = identity::ListServersRequest {
            options: Some(ReadOptions::default()),
            page_size: 1,
            ..Default::default()
        };
        let known = servers.list_servers(list).await?.into_inner().servers;
        let server_id = known.first().context("no server")?.id;
        let mut apps = identity::app_service_client::AppServiceClient::new(channel.clone());
        let app = identity::RegisterAppRequest {
            server_id,
            name: "load".to_owned(),
            redirect_uris: vec!["urn:ietf:wg:oauth:2.0:oob".to_owned()],
            scopes: scopes(),
            ..Default::default()
        };
        let client_id = apps.register_app(app).await?.into_inner().app.context("no app")?.client_id;
        Ok(Self { server_id, client_id })
    }

    /// Makes the account of this number, and a token. Made again, it is the same account.
    pub async fn sign_up(&self, channel: &Channel, number: usize) -> anyhow::Result<Person> {
        let mut accounts = identity::account_service_client::AccountServiceClient::new(channel.clone());
        let create = identity::CreateAccountRequest {
            context: Some(CommandContext {
                server_id: self.server_id,
                idempotency_key: format!("load-{number}"),
                ..Default::default()
            }),
            handle: format!("load{number}"),
            email: format!("load{number}@example.org"),
            password: "a long password".to_owned(),
            ..Default::default()
        };
        let id = accounts.create_account(create).await?.into_inner().account.context("no account")?.id;
        let mut tokens = identity::token_service_client::TokenServiceClient::new(channel.clone());
        let issue = identity::IssueTokenRequest {
            server_id: self.server_id,
            client_id: self.client_id.clone(),
            account_id: id,
            scopes: scopes(),
            ..Default::default()
        };
        let token = tokens.issue_token(issue).await?.into_inner().token.context("no token")?.secret;
        Ok(Person { id, token })
    }
}
