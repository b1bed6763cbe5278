//! Commands about client programs and their tokens.

use super::show::{failed, to_json};
use super::{Common, server};
use clap::Subcommand;
use p92_proto::event::v1::ReadOptions;
use p92_proto::identity::v1::account_service_client::AccountServiceClient;
use p92_proto::identity::v1::app_service_client::AppServiceClient;
use p92_proto::identity::v1::token_service_client::TokenServiceClient;
use p92_proto::identity::v1::*;

/// What can be done with apps.
#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// Registers a client program; prints its id and secret.
    Create {
        /// What people see when it asks for access.
        #[arg(long)]
        name: String,
        /// Where people are sent back; may be given several times.
        #[arg(long = "redirect-uri", default_value = "urn:ietf:wg:oauth:2.0:oob")]
        redirect_uris: Vec<String>,
        /// What it may ask for, separated by spaces.
        #[arg(long, default_value = "read write follow push")]
        scopes: String,
        /// The id to give it; a random one if not given.
        #[arg(long, default_value = "")]
        client_id: String,
        /// The secret to give it; a random one if not given.
        #[arg(long, default_value = "")]
        client_secret: String,
        /// The server's domain; the first server if not given.
        #[arg(long)]
        server: Option<String>,
    },
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Issues a token for an account; prints it once.
    Create {
        /// The account's handle.
        #[arg(long)]
        account: String,
        /// The app's client id, which may begin with a hyphen.
        #[arg(long, allow_hyphen_values = true)]
        app: String,
        /// What the token is good for, separated by spaces.
        #[arg(long, default_value = "read write follow push")]
        scopes: String,
        /// The token itself; a random one if not given.
        #[arg(long, default_value = "")]
        value: String,
        /// The server's domain; the first server if not given.
        #[arg(long)]
        server: Option<String>,
    },
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Runs a command about apps.
pub async fn run_app(command: AppCommand, common: &Common) -> anyhow::Result<()> {
    let AppCommand::Create { name, redirect_uris, scopes, client_id, client_secret, server } = command;
    let channel = common.server().await?;
    let server = server::find(channel.clone(), server.as_deref()).await?;
    let request = RegisterAppRequest {
        server_id: server.id,
        name,
        website: String::new(),
        redirect_uris,
        scopes: words(&scopes),
        client_id,
        client_secret,
    };
    let answer = AppServiceClient::new(channel).register_app(request).await.map_err(failed)?.into_inner();
    if common.json {
        println!("{}", to_json(&answer));
        return Ok(());
    }
    println!("client_id {}", answer.app.map(|app| app.client_id).unwrap_or_default());
    println!("client_secret {}", answer.client_secret);
    Ok(())
}

/// Runs a command about tokens.
pub async fn run_token(command: TokenCommand, common: &Common) -> anyhow::Result<()> {
    let TokenCommand::Create { account, app, scopes, value, server } = command;
    let channel = common.server().await?;
    let server = server::find(channel.clone(), server.as_deref()).await?;
    let request = GetAccountRequest {
        options: Some(ReadOptions { server_id: server.id, ..ReadOptions::default() }),
        account: Some(get_account_request::Account::Handle(account)),
    };
    let mut accounts = AccountServiceClient::new(channel.clone());
    let account = accounts.get_account(request).await.map_err(failed)?.into_inner().account;
    let request = IssueTokenRequest {
        server_id: server.id,
        client_id: app,
        account_id: account.map(|account| account.id).unwrap_or_default(),
        scopes: words(&scopes),
        secret: value,
    };
    let answer = TokenServiceClient::new(channel).issue_token(request).await.map_err(failed)?.into_inner();
    if common.json {
        println!("{}", to_json(&answer));
    } else {
        println!("{}", answer.token.map(|token| token.secret).unwrap_or_default());
    }
    Ok(())
}
