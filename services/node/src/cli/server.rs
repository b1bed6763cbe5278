//! Commands about servers of this installation.

use super::Common;
use super::show::{failed, table, to_json};
use crate::serve::first;
use clap::{Subcommand, ValueEnum};
use p92_chassis::Transport;
use p92_proto::event::v1::{CommandContext, ReadOptions};
use p92_proto::identity::v1::server_service_client::ServerServiceClient;
use p92_proto::identity::v1::*;

/// Who may sign up.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Registration {
    Open,
    Approval,
    Closed,
}

impl From<Registration> for RegistrationPolicy {
    fn from(registration: Registration) -> Self {
        match registration {
            Registration::Open => Self::Open,
            Registration::Approval => Self::Approval,
            Registration::Closed => Self::Closed,
        }
    }
}

/// What can be done with servers.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A further server in this installation, with its own domain, members, rules and policies.
    Create {
        /// The domain behind the @ of its handles.
        domain: String,
        /// Where people reach it; https://DOMAIN if not given.
        #[arg(long, value_name = "URL")]
        public_url: Option<String>,
        /// Its name; the domain if not given.
        #[arg(long)]
        name: Option<String>,
        /// What it is about.
        #[arg(long, default_value = "")]
        description: String,
        /// A rule; may be given several times.
        #[arg(long = "rule", value_name = "TEXT")]
        rules: Vec<String>,
        /// Who may sign up.
        #[arg(long, default_value = "approval")]
        registration: Registration,
    },
    /// Every server of this installation.
    List,
}

/// The server of a domain, or the first one made if none is named.
pub async fn find(channel: Transport, domain: Option<&str>) -> anyhow::Result<Server> {
    let mut client = ServerServiceClient::new(channel);
    if let Some(domain) = domain {
        let server = Some(get_server_request::Server::Domain(domain.to_owned()));
        let request = GetServerRequest { options: Some(ReadOptions::default()), server };
        let found = client.get_server(request).await.map_err(failed)?.into_inner().server;
        return found.ok_or_else(|| anyhow::anyhow!("the server's answer is empty"));
    }
    let oldest = first::oldest(&mut client).await.map_err(failed)?;
    oldest.ok_or_else(|| anyhow::anyhow!("there is no server yet; make one: p92 server create DOMAIN"))
}

/// Runs a command about servers.
pub async fn run(command: Command, common: &Common) -> anyhow::Result<()> {
    let channel = common.server().await?;
    let mut client = ServerServiceClient::new(channel);
    match command {
        Command::Create { domain, public_url, name, description, rules, registration } => {
            // Without an id: the server numbers its rules itself.
            let rule = |text| Rule { id: 0, text, hint: String::new() };
            let request = CreateServerRequest {
                context: Some(CommandContext::default()),
                public_url: public_url.unwrap_or_else(|| format!("https://{domain}")),
                name: name.unwrap_or_else(|| domain.clone()),
                description,
                rules: rules.into_iter().map(rule).collect(),
                registration: RegistrationPolicy::from(registration).into(),
                domain,
                ..CreateServerRequest::default()
            };
            let server = client.create_server(request).await.map_err(failed)?.into_inner().server;
            let server = server.ok_or_else(|| anyhow::anyhow!("the server's answer is empty"))?;
            if common.json {
                println!("{}", to_json(&server));
            } else {
                println!("{}", server.id);
                eprintln!("{} is open at {}", server.domain, server.public_url);
            }
        }
        Command::List => {
            let request = ListServersRequest {
                options: Some(ReadOptions::default()),
                page_size: 500,
                page_token: String::new(),
            };
            let answer = client.list_servers(request).await.map_err(failed)?.into_inner();
            if common.json {
                println!("{}", to_json(&answer));
                return Ok(());
            }
            let row = |one: Server| {
                let registration = format!("{:?}", one.registration()).to_lowercase();
                vec![one.id.to_string(), one.domain, one.public_url, registration, one.name]
            };
            let rows: Vec<_> = answer.servers.into_iter().map(row).collect();
            table(&["ID", "DOMAIN", "URL", "REGISTRATION", "NAME"], &rows);
        }
    }
    Ok(())
}
