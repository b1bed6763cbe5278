//! `p92 doctor`: findings as people read them, and as machines do.

use super::Common;
use super::show::to_json;
use crate::doctor;
use crate::findings::Findings;
use crate::reach::patient;
use crate::settings::{Flags, StoreKind};
use p92_proto::operator::v1::{ExamineRequest, Finding, Grade};
use std::process::ExitCode;
use tonic::Code;

/// What is looked at.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Give it the flags, variables or file that the server was started with, so that it looks at the same places. If the server runs, it is asked for what only it knows: clock, store, bus, keys, slots, readers, limits."
)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
}

/// Looks at everything.
pub async fn run(args: &Args, common: &Common) -> anyhow::Result<ExitCode> {
    let mut found = Findings::default();
    let settings = match args.flags.load() {
        Ok(settings) => Some(settings),
        Err(problems) => {
            found.broken("settings", problems.to_string(), "p92 config print shows what may be set");
            None
        }
    };
    let runs = ask(&mut found, common).await;
    // Disk, key file and addresses of a server elsewhere are not to be seen from here.
    if let Some(settings) = settings.filter(|_| !is_elsewhere(common)) {
        let has_keys = match settings.store.kind {
            StoreKind::Embedded => doctor::disk(&mut found, &common.data, &settings),
            StoreKind::Cql => {
                let opened = doctor::shared_store(&mut found, &settings).await;
                doctor::shared_bus(&mut found, &settings).await;
                opened
            }
        };
        if has_keys {
            doctor::key_file(&mut found, &settings.keys(&common.data));
        }
        doctor::addresses(&mut found, &settings, runs).await;
    }
    let found = found.into_list();
    if common.json {
        for finding in &found {
            println!("{}", to_json(finding));
        }
    } else {
        found.iter().for_each(show);
    }
    let broken = found.iter().any(|finding| finding.grade() == Grade::Broken);
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Whether the server that is asked may be on another machine.
fn is_elsewhere(common: &Common) -> bool {
    common.operator.is_some() || common.endpoint.is_some()
}

/// Asks the running server; whether there is one.
async fn ask(found: &mut Findings, common: &Common) -> bool {
    let mut client = match common.operators().await {
        Ok(client) => client,
        Err(error) if is_elsewhere(common) => {
            found.broken("server", format!("{error:#}"), "is the address right, and the process running?");
            return false;
        }
        Err(_) => {
            let text = format!(
                "none runs on {}; clock, store, bus, slots and readers were not looked at",
                common.data.display()
            );
            found.doubtful("server", text, "start it: p92 serve, and run this again");
            return false;
        }
    };
    match client.examine(patient(ExamineRequest {})).await {
        Ok(answer) => {
            found.good("server", "it runs and answers".to_owned());
            found.extend(answer.into_inner().findings);
        }
        Err(status) => {
            let advice = match status.code() {
                Code::Unavailable => "is the address right, and the process running?",
                Code::Unauthenticated | Code::PermissionDenied => {
                    "is it a token that the server's file holds?"
                }
                _ => "look into its log",
            };
            found.broken("server", status.message().to_owned(), advice);
        }
    }
    true
}

fn show(finding: &Finding) {
    let mark = match finding.grade() {
        Grade::Good => "good    ",
        Grade::Doubtful | Grade::Unspecified => "doubtful",
        Grade::Broken => "BROKEN  ",
    };
    println!("{mark}  {:<15} {}", finding.subject, finding.found);
    if !finding.advice.is_empty() {
        println!("{:26}→ {}", "", finding.advice);
    }
}
