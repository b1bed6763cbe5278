//! What operators look at first: lag, owners, views, events.

use super::Common;
use super::show::{decode, failed, table, to_json};
use crate::reach::{Operators, patient};
use crate::settings::Flags;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use p92_proto::event::v1::Event;
use p92_proto::operator::v1::*;
use std::process::ExitCode;

/// Commands about views.
#[derive(Debug, Subcommand)]
pub enum ViewCommand {
    /// Every view, with the service whose events it is a function of.
    List,
    /// Replay the log into the view's other table, then let that one answer. Nothing stops meanwhile.
    Rebuild {
        /// The view, as `p92 view list` names it.
        name: String,
        /// Compare both tables row by row first; exits with 1 if any row differs.
        #[arg(long)]
        verify: bool,
    },
}

/// Commands about events.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// The events of one stream, for example post/123.
    Read {
        /// kind/id
        stream: String,
        /// Only events up to this moment: 2026-01-31T12:00:00Z, 2026-01-31, or milliseconds since 1970
        #[arg(long, value_name = "TIME", value_parser = super::moment::parse)]
        as_of: Option<u64>,
    },
    /// The events of every log, from now on.
    Tail,
    /// Every log from its first row to its head, a row a line, as JSON.
    Log,
}

/// Commands about keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make the key file of the installation, once, before its services start. One that is there stays.
    Init(Box<Flags>),
    /// Make a new rotating key and drop the old ones: copies of the store made before can no longer be opened with the
    /// key file.
    Rotate,
}

fn event_to_json(event: &Event) -> serde_json::Value {
    let mut json = to_json(event);
    if let Some(fields) = json.as_object_mut() {
        fields.remove("payload");
        fields.insert("says".to_owned(), decode(&event.r#type, &event.payload));
    }
    json
}

/// Runs a command about views.
pub async fn run_view(command: ViewCommand, common: &Common) -> anyhow::Result<ExitCode> {
    let mut client = common.operators().await?;
    match command {
        ViewCommand::List => {
            let answer = client.list_views(ListViewsRequest {}).await.map_err(failed)?.into_inner();
            if common.json {
                println!("{}", to_json(&answer));
                return Ok(ExitCode::SUCCESS);
            }
            let row = |view: View| vec![view.name, view.service, view.source, view.serves];
            let rows: Vec<_> = answer.views.into_iter().map(row).collect();
            table(&["VIEW", "SERVICE", "SOURCE", "SERVES"], &rows);
            Ok(ExitCode::SUCCESS)
        }
        ViewCommand::Rebuild { name, verify } => rebuild(&mut client, name, verify, common).await,
    }
}

async fn rebuild(
    client: &mut Operators,
    name: String,
    verify: bool,
    common: &Common,
) -> anyhow::Result<ExitCode> {
    let request = RebuildViewRequest { name: name.clone(), verify };
    let mut steps = client.rebuild_view(request).await.map_err(failed)?.into_inner();
    let bar = if common.json { ProgressBar::hidden() } else { ProgressBar::new(0) };
    bar.set_style(ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} events {eta}")?);
    bar.set_message(name.clone());
    while let Some(step) = steps.message().await.map_err(failed)? {
        bar.set_length(step.total.max(step.events));
        bar.set_position(step.events);
        if !step.done {
            continue;
        }
        bar.finish_and_clear();
        if common.json {
            println!("{}", to_json(&step));
        } else if verify {
            println!("{name}: {} events replayed, {} rows compared", step.events, step.compared);
        } else {
            println!("{name}: {} events replayed", step.events);
        }
        if step.put_aside > 0 && !common.json {
            println!(
                "{} events are not in it: they were put aside or dropped (p92 quarantine)",
                step.put_aside
            );
        }
        if step.difference.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        eprintln!("first difference: {}\nthe rebuilt table answers from now on", step.difference);
        return Ok(ExitCode::FAILURE);
    }
    anyhow::bail!("the server ended before the rebuild did; run it again")
}

/// Runs a command about events.
pub async fn run_events(command: EventsCommand, common: &Common) -> anyhow::Result<()> {
    let mut client = common.operators().await?;
    match command {
        EventsCommand::Read { stream, as_of } => {
            let request = ReadEventsRequest { stream, as_of_ms: as_of.unwrap_or_default() };
            let answer = client.read_events(request).await.map_err(failed)?.into_inner();
            for event in &answer.events {
                let json = event_to_json(event);
                println!(
                    "{}",
                    if common.json { json.to_string() } else { serde_json::to_string_pretty(&json)? }
                );
            }
        }
        EventsCommand::Log => {
            let mut rows = client.read_logs(ReadLogsRequest {}).await.map_err(failed)?.into_inner();
            while let Some(row) = rows.message().await.map_err(failed)? {
                let events: Vec<_> = row.events.iter().map(event_to_json).collect();
                let mut json = to_json(&row);
                if let Some(fields) = json.as_object_mut() {
                    fields.insert("events".to_owned(), events.into());
                }
                println!("{json}");
            }
        }
        EventsCommand::Tail => {
            let mut events = client.tail_events(TailEventsRequest {}).await.map_err(failed)?.into_inner();
            while let Some(told) = events.message().await.map_err(failed)? {
                let (Some(position), Some(event)) = (told.position, told.event) else { continue };
                let json = event_to_json(&event);
                println!("{}/{} {} {json}", position.service, position.shard, position.seq);
            }
        }
    }
    Ok(())
}

/// Runs a command about keys.
pub async fn run_keys(command: KeysCommand, common: &Common) -> anyhow::Result<()> {
    if let KeysCommand::Init(flags) = command {
        return super::keys::init(&flags, common).await;
    }
    let request = patient(RotateKeysRequest {});
    let answer = common.operators().await?.rotate_keys(request).await.map_err(failed)?.into_inner();
    if common.json {
        println!("{}", to_json(&answer));
    } else {
        println!("{} keys of accounts were wrapped anew; the old rotating keys are gone", answer.wrapped);
    }
    Ok(())
}

/// How far readers are behind.
pub async fn lag(common: &Common) -> anyhow::Result<()> {
    let answer = common.operators().await?.list_lag(ListLagRequest {}).await.map_err(failed)?.into_inner();
    if common.json {
        println!("{}", to_json(&answer));
        return Ok(());
    }
    let row = |lag: Lag| {
        let reader = match (lag.reader, lag.memory) {
            (reader, _) if reader.is_empty() => "(owner)".to_owned(),
            (reader, true) => format!("{reader} (memory of this process)"),
            (reader, false) => reader,
        };
        let behind = lag.head.saturating_sub(lag.applied);
        vec![
            lag.service,
            lag.shard.to_string(),
            reader,
            lag.head.to_string(),
            lag.applied.to_string(),
            behind.to_string(),
        ]
    };
    let rows: Vec<_> = answer.lags.into_iter().map(row).collect();
    table(&["LOG", "SHARD", "READER", "HEAD", "APPLIED", "BEHIND"], &rows);
    Ok(())
}

/// Who holds which slot.
pub async fn owners(common: &Common) -> anyhow::Result<()> {
    let answer =
        common.operators().await?.list_owners(ListOwnersRequest {}).await.map_err(failed)?.into_inner();
    if common.json {
        println!("{}", to_json(&answer));
        return Ok(());
    }
    let row = |owner: &Owner| {
        let member = if owner.member.is_empty() { "(nobody)" } else { &owner.member };
        vec![owner.service.clone(), owner.shard.to_string(), member.to_owned(), owner.epoch.to_string()]
    };
    let rows: Vec<_> = answer.owners.iter().map(row).collect();
    table(&["SERVICE", "SHARD", "MEMBER", "EPOCH"], &rows);
    println!();
    let row = |member: Member| {
        let silent = member
            .silent_ms
            .map_or("not seen yet".to_owned(), |ms| format!("{}.{} s", ms / 1000, ms % 1000 / 100));
        let address = if member.address.is_empty() { "(this process)".to_owned() } else { member.address };
        vec![member.id, address, member.slots.to_string(), silent, member.services.join(" ")]
    };
    let rows: Vec<_> = answer.members.into_iter().map(row).collect();
    table(&["MEMBER", "ADDRESS", "SLOTS", "SILENT FOR", "SERVICES"], &rows);
    Ok(())
}
