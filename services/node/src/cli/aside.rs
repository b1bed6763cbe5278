//! `p92 quarantine`: what readers put aside, tried again or dropped.

use super::Common;
use super::show::{failed, table, to_json};
use crate::reach::patient;
use clap::Subcommand;
use p92_proto::operator::v1::*;
use std::process::ExitCode;

/// What can be done with what was put aside.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What was put aside, reader by reader. The same as no command.
    List {
        /// Also what was dropped.
        #[arg(long)]
        all: bool,
    },
    /// Apply a stream's events after all, in order, after what was wrong has been mended. Exits with 1 if one still
    /// cannot be applied; it and those behind it stay.
    #[command(
        after_help = "A reader that does effects (posting.erasure) does them again itself. A reader that writes views (timelines.views) has its views rebuilt: rows follow from events in their order."
    )]
    Retry {
        /// The reader, as `p92 quarantine` names it.
        reader: String,
        /// kind/id
        stream: String,
    },
    /// Skip a stream's events for this reader, for ever. They stay in the log, and in `p92 quarantine list --all`.
    #[command(
        after_help = "Later events of the stream are applied again. Rebuilds of the reader's views skip the same events."
    )]
    Drop {
        /// The reader, as `p92 quarantine` names it.
        reader: String,
        /// kind/id
        stream: String,
        /// Yes, skip them.
        #[arg(long)]
        yes: bool,
    },
}

/// Runs a command about the quarantine.
pub async fn run(command: Option<Command>, common: &Common) -> anyhow::Result<ExitCode> {
    match command.unwrap_or(Command::List { all: false }) {
        Command::List { all } => list(all, common).await?,
        Command::Retry { reader, stream } => {
            let request = RetryQuarantineRequest { reader, stream: stream.clone() };
            let answer = common
                .operators()
                .await?
                .retry_quarantine(patient(request))
                .await
                .map_err(failed)?
                .into_inner();
            if common.json {
                println!("{}", to_json(&answer));
            } else {
                println!("{stream}: {} events applied, {} still put aside", answer.applied, answer.left);
            }
            if answer.left > 0 {
                eprintln!("{}", answer.problem);
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Drop { reader, stream, yes } => {
            if !yes {
                anyhow::bail!(
                    "this skips events for ever; say --yes if that is meant, or mend what is wrong and retry"
                );
            }
            let request = DropQuarantineRequest { reader, stream };
            let answer = common
                .operators()
                .await?
                .drop_quarantine(patient(request))
                .await
                .map_err(failed)?
                .into_inner();
            if common.json {
                println!("{}", to_json(&answer));
            } else {
                shown(answer.dropped);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(all: bool, common: &Common) -> anyhow::Result<()> {
    let request = ListQuarantineRequest { with_dropped: all };
    let answer = common.operators().await?.list_quarantine(request).await.map_err(failed)?.into_inner();
    if common.json {
        println!("{}", to_json(&answer));
    } else if answer.events.is_empty() {
        println!("nothing is in quarantine");
    } else {
        shown(answer.events);
        println!(
            "\nmend what is wrong, then: p92 quarantine retry READER STREAM; or skip: p92 quarantine drop READER STREAM --yes"
        );
    }
    Ok(())
}

fn shown(events: Vec<Quarantined>) {
    let row = |one: Quarantined| {
        let settling = match one.settling() {
            p92_proto::event::v1::Settling::Dropped => "dropped",
            p92_proto::event::v1::Settling::Retry => "to be tried again",
            p92_proto::event::v1::Settling::Unspecified => "",
        };
        let event = one.event.unwrap_or_default();
        let place =
            one.position.map(|at| format!("{}/{} {}", at.service, at.shard, at.seq)).unwrap_or_default();
        let problem = if one.problem.is_empty() { "behind the one above".to_owned() } else { one.problem };
        vec![one.reader, event.stream, event.version.to_string(), place, settling.to_owned(), problem]
    };
    let rows: Vec<_> = events.into_iter().map(row).collect();
    table(&["READER", "STREAM", "VERSION", "LOG AND PLACE", "", "PROBLEM"], &rows);
}
