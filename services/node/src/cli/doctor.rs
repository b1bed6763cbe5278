//! `p92 doctor`: findings as people read them, and as machines do.

use super::Common;
use super::show::to_json;
use crate::doctor::{self, ways};
use crate::findings::Findings;
use crate::reach::patient;
use crate::role::Role;
use crate::settings::{Flags, Settings, StoreKind};
use p92_proto::operator::v1::{ExamineRequest, Finding, Grade};
use std::process::ExitCode;
use std::time::Duration;
use tonic::Code;

/// What is looked at, and from where.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Give it the flags, variables or file that the server was started with, so that it looks at the same places. If the server
runs, it is asked for what only it knows: clock, store, bus, keys, slots, readers, limits.

Listeners are looked for where this command runs:
  p92 doctor                       of a server that runs everything, here
  p92 doctor posting               of one part, here: its own listeners, its store, bus and keys, and the peers that it asks
  p92 doctor --beside              of none: the server is next to this command, in another container
  p92 doctor --operator HOST:PORT  of none, and nothing else of here: the process is elsewhere and answers for itself
  p92 doctor --endpoint HOST:PORT  likewise
With PART the process is here, however it is asked. Services that `peers` names are asked for their health wherever they are.")]
pub struct Args {
    /// The part that runs here, as in `p92 serve PART`; everything in one process if not said
    #[arg(value_enum)]
    part: Option<Role>,
    /// The server is beside this command and not where it runs: its listeners and the public URL are not looked for here
    #[arg(long)]
    beside: bool,
    /// Where the door of that server is reached from here; it is asked for the server of `public_url`
    #[arg(long, value_name = "HOST:PORT", requires = "beside")]
    door: Option<String>,
    #[command(flatten)]
    flags: Flags,
}

/// Looks at everything.
pub async fn run(args: &Args, common: &Common) -> anyhow::Result<ExitCode> {
    let mut found = Findings::default();
    let loaded = match args.part {
        Some(part) => args.flags.load_for(part),
        None => args.flags.load(),
    };
    let settings = match loaded {
        Ok(settings) => Some(settings),
        Err(problems) => {
            found.broken("settings", problems.to_string(), "p92 config print shows what may be set");
            None
        }
    };
    let runs = ask(&mut found, args, common, settings.as_ref()).await;
    // What is here of a server elsewhere says nothing of it.
    if let Some(settings) = settings.filter(|_| args.part.is_some() || !is_elsewhere(common)) {
        look(&mut found, args, common, &settings, runs).await;
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

/// Looks at what can be seen from here.
async fn look(found: &mut Findings, args: &Args, common: &Common, settings: &Settings, runs: bool) {
    // The door keeps nothing.
    if args.part != Some(Role::Gateway) {
        let has_keys = match settings.store.kind {
            StoreKind::Embedded => doctor::disk(found, &common.data, settings),
            StoreKind::Cql => {
                let opened = doctor::shared_store(found, settings).await;
                // The bus may know each service by itself, and the doctor too.
                let name = args.part.map_or("doctor", Role::name);
                doctor::shared_bus(found, settings, name).await;
                opened
            }
        };
        if has_keys {
            doctor::key_file(found, &settings.keys(&common.data));
        }
    }
    if !args.beside {
        ways::listeners(found, settings, args.part, runs).await;
    }
    ways::peers(found, settings).await;
    if let Some(address) = &args.door {
        ways::door(found, settings, address).await;
    }
}

/// Whether the server that is asked may be on another machine.
fn is_elsewhere(common: &Common) -> bool {
    common.operator.is_some() || common.endpoint.is_some()
}

/// Asks the running server; whether there is one.
async fn ask(found: &mut Findings, args: &Args, common: &Common, settings: Option<&Settings>) -> bool {
    if !is_elsewhere(common) {
        if let (Some(part), Some(settings)) = (args.part, settings) {
            return ask_part(found, part, settings).await;
        }
        // Beside a cluster nobody is nearer than its peers, which are asked below.
        if args.beside && settings.is_some_and(|settings| settings.store.kind == StoreKind::Cql) {
            return false;
        }
    }
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
        Err(status) if status.code() == Code::Unimplemented => {
            let text = "it runs, and does not answer operators there; clock, bus, slots and readers were not looked at";
            let advice =
                "name tokens for them (`operators.tokens_path`) and use --operator, or certificates (`tls`)";
            found.doubtful("server", text.to_owned(), advice);
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

/// Asks the `ops` listener of a part that runs here, which has no socket; whether there is one.
async fn ask_part(found: &mut Findings, part: Role, settings: &Settings) -> bool {
    let ops = settings.ops.to_string();
    let asked = tokio::time::timeout(Duration::from_secs(5), crate::ops::read(&ops, &ops, "/readyz")).await;
    let report: Option<serde_json::Value> = match asked {
        Ok(Ok(answer)) => answer.split("\r\n\r\n").nth(1).and_then(|body| serde_json::from_str(body).ok()),
        _ => None,
    };
    let name = part.name();
    let Some(report) = report.filter(|report| report.get("ready").is_some()) else {
        let advice = format!("start it: p92 serve {name}, and run this again");
        found.doubtful("server", format!("no {name} answers at {ops}"), &advice);
        return false;
    };
    let none = Vec::new();
    let conditions = report.get("conditions").and_then(|all| all.as_array()).unwrap_or(&none);
    let unmet = conditions.iter().filter(|one| one.get("met") == Some(&false.into()));
    let word =
        |one: &serde_json::Value, key| one.get(key).and_then(|text| text.as_str()).unwrap_or("?").to_owned();
    let waits =
        unmet.map(|one| format!("{}: {}", word(one, "name"), word(one, "reason"))).collect::<Vec<_>>();
    match (report.get("ready") == Some(&true.into()), waits.is_empty()) {
        (true, true) => found.good("server", format!("{name} runs and is ready")),
        (true, false) => {
            let advice = "it serves, less well; see what is found of it below";
            found.doubtful("server", format!("{name} is ready; {}", waits.join("; ")), advice);
        }
        (false, _) => {
            let text = format!("{name} runs and is not ready; {}", waits.join("; "));
            found.broken(
                "server",
                text,
                "it goes on by itself once that is there; see what is found of it below",
            );
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
