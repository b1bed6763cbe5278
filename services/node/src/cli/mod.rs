//! The command line: a contract that scripts of others call (P92.md §4).

mod account;
mod aside;
mod backup;
mod delivery;
mod doctor;
mod inspect;
mod keys;
mod migrate;
mod moment;
mod server;
mod show;
mod tables;
mod token;

use crate::settings::Flags;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// A decentralized social network for instances too large for one database.
#[derive(Debug, Parser)]
#[command(name = "p92", version, about, propagate_version = true)]
#[command(
    after_help = "First steps:\n  p92 serve\n  p92 account create alice --email alice@example.org --password 'a long one' --role owner"
)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// The data directory; with it the socket by which commands reach the running server.
    #[arg(long, global = true, default_value = "./p92-data", env = "P92_DATA", value_name = "DIR")]
    pub data: PathBuf,
    /// Where the service is that the command is for, if it is no server of this machine: the internal address of
    /// identity for accounts, apps, tokens and servers. Certificates are those of the settings (`tls`).
    #[arg(long, global = true, env = "P92_ENDPOINT", value_name = "HOST:PORT")]
    pub endpoint: Option<String>,
    /// The ops listener of a process elsewhere, for commands that look into logs, tables, readers and views, and for
    /// backup and doctor.
    #[arg(long, global = true, env = "P92_OPERATOR", value_name = "HOST:PORT", requires = "token_file")]
    pub operator: Option<String>,
    /// The file of a token that the process takes for one of its operators (`operators.tokens_path`).
    #[arg(long, global = true, env = "P92_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Print data as JSON, for machines.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server: everything in one process, or one part of it.
    Serve(Box<crate::serve::What>),
    /// Make accounts, look at them, and moderate them.
    #[command(subcommand)]
    Account(account::Command),
    /// Register client programs.
    #[command(subcommand)]
    App(token::AppCommand),
    /// Issue access tokens.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Create further servers in this installation, and look at them.
    #[command(subcommand)]
    Server(server::Command),
    /// Rebuild views from the log, and compare them.
    #[command(subcommand)]
    View(inspect::ViewCommand),
    /// Read the log, decoded; sealed parts stay sealed.
    #[command(subcommand)]
    Events(inspect::EventsCommand),
    /// Look into tables.
    #[command(subcommand)]
    Table(tables::TableCommand),
    /// What other hosts must get. Nothing is sent yet.
    #[command(subcommand)]
    Delivery(delivery::Command),
    /// Keys that seal personal content.
    #[command(subcommand)]
    Keys(inspect::KeysCommand),
    /// Make or change the tables of a store that processes share, before they start.
    Migrate(migrate::Args),
    /// How far readers are behind the heads of their logs.
    Lag,
    /// Who holds which slot.
    Owners,
    /// Events that could not be applied: look, try again, or skip.
    Quarantine {
        #[command(subcommand)]
        command: Option<aside::Command>,
    },
    /// Copy everything that cannot be computed anew into a directory, while the server runs.
    Backup(backup::BackupArgs),
    /// Make an empty data directory into what a backup holds.
    Restore(backup::RestoreArgs),
    /// Show or check the settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at everything that a server needs, and say what to do about what is wrong. Exits with 1 if something does
    /// not work.
    Doctor(Box<doctor::Args>),
    /// Ask the running server whether it serves.
    Health {
        /// Address of the ops listener.
        #[arg(long, default_value = "127.0.0.1:9092", env = "P92_OPS")]
        ops: String,
    },
}

/// Commands about the settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting as it is in force, secrets hidden.
    Print(Box<Flags>),
    /// Say what is wrong with the settings, or nothing.
    Check(Box<Flags>),
}

/// Runs one command. The error says what to do next.
pub async fn run(cli: Cli) -> anyhow::Result<std::process::ExitCode> {
    let Cli { common, command } = cli;
    match command {
        Command::Serve(what) => return crate::serve::serve(&what, &common).await,
        Command::Account(command) => account::run(command, &common).await?,
        Command::App(command) => token::run_app(command, &common).await?,
        Command::Token(command) => token::run_token(command, &common).await?,
        Command::Server(command) => server::run(command, &common).await?,
        Command::View(command) => return inspect::run_view(command, &common).await,
        Command::Events(command) => inspect::run_events(command, &common).await?,
        Command::Table(command) => return tables::run(command, &common).await,
        Command::Delivery(command) => delivery::run(command, &common).await?,
        Command::Keys(command) => inspect::run_keys(command, &common).await?,
        Command::Migrate(args) => Box::pin(migrate::run(args, &common)).await?,
        Command::Lag => inspect::lag(&common).await?,
        Command::Owners => inspect::owners(&common).await?,
        Command::Quarantine { command } => return aside::run(command, &common).await,
        Command::Backup(args) => backup::backup(args, &common).await?,
        Command::Restore(args) => backup::restore(args, &common).await?,
        Command::Config(ConfigCommand::Print(flags)) => print!("{}", flags.load()?.print()?),
        Command::Config(ConfigCommand::Check(flags)) => {
            flags.load()?;
            println!("the settings are in order");
        }
        Command::Doctor(args) => return doctor::run(&args, &common).await,
        Command::Health { ops } => return crate::ops::ask(&ops, common.json).await,
    }
    Ok(std::process::ExitCode::SUCCESS)
}
