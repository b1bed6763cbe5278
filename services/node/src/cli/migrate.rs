//! `p92 migrate`: the schema of a store that processes share, brought to what this build wants.

use super::Common;
use crate::backing::{Waiting, cql, make_keys};
use crate::settings::{Flags, Settings, StoreKind};
use p92_chassis::{HumanDuration, SystemClock, SystemRandom};
use p92_storage::cql::{Migrated, Progress, SCHEMA, Step};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// What is migrated, and how long for it is waited.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
When to run it:
  before the first start       p92 migrate, p92 keys init, then the services
  before an upgrade            p92 migrate of the new version; services of the old one go on meanwhile
  when no old version runs     p92 migrate --contract of the new one drops what only the old one used

It may be run again, or twice at once: one runs, the others wait and then find nothing to do. Services that start before
it wait for it and are not ready until it is done. It reads the settings of the store, `store.kind` and `store.cql`, from
the same variables and file as the services: P92_STORE__KIND=cql P92_STORE__CQL__CONTACT_POINTS='[\"db:9042\"]' p92 migrate
An embedded store needs none of this.")]
pub struct Args {
    /// Drop tables of views that no service declares any more. Only when no process of an older version runs
    #[arg(long)]
    contract: bool,
    /// How long to wait for a store that does not answer yet, `0s` not at all
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    wait: HumanDuration,
    /// Also make the key file, if it is not there and nothing was sealed yet (`p92 keys init`)
    #[arg(long)]
    with_keys: bool,
    /// The file of the keys that seal personal content, for --with-keys [default: DATA.keys]
    #[arg(long, value_name = "FILE", requires = "with_keys")]
    keys: Option<String>,
    /// A TOML file with any of the settings
    #[arg(long, env = "P92_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Migrates, and says what was done.
pub(super) async fn run(args: Args, common: &Common) -> anyhow::Result<()> {
    let Args { contract, wait, with_keys, keys, config } = args;
    let settings = Flags::of_store(config, keys).load()?;
    if settings.store.kind == StoreKind::Embedded {
        return nothing_needed(common, with_keys);
    }
    let step = if contract { Step::Contract } else { Step::Expand };
    let made = Mutex::new(BTreeSet::new());
    let watch = |progress: Progress<'_>| {
        if let Progress::Makes { table, .. } = progress {
            made.lock().insert(table.to_owned());
        }
        tell(progress);
    };
    let says = |reason: &str| eprintln!("waiting: {reason}");
    let waiting = waiting(wait.into(), &says);
    let mut done = cql::migrate(&settings, step, &waiting, &watch).await?;
    // Also what an attempt made that was cut off later.
    done.made = made.into_inner().into_iter().collect();
    // The first opening gives the store its id and its number of shards: better now than by whichever service is first.
    let store = cql::open(&settings, &waiting).await?;
    let keys = if with_keys {
        let clock = SystemClock::default();
        Some(make_keys(&settings, &common.data, &store, &clock, &SystemRandom).await?)
    } else {
        None
    };
    if common.json {
        let done = serde_json::json!({
            "keyspace": settings.store.cql.keyspace, "schema": done.from.max(SCHEMA), "from": done.from,
            "made": done.made, "dropped": done.dropped, "left": done.left,
            "installation": store.installation, "shards": store.shards.get(), "keys_made": keys,
        });
        println!("{done}");
    } else {
        print(&settings, &done);
        println!("installation {}, {} shards", store.installation, store.shards.get());
        let path = settings.keys(&common.data);
        match keys {
            Some(true) => println!(
                "the keys are in {}; every service needs this file, and no backup of the store",
                path.display()
            ),
            Some(false) => println!("the keys in {} were there already", path.display()),
            None => {}
        }
    }
    Ok(())
}

fn waiting<'a>(time: Duration, says: &'a (dyn Fn(&str) + Send + Sync)) -> Waiting<'a> {
    if time.is_zero() { Waiting::not() } else { Waiting::within(time, says) }
}

fn nothing_needed(common: &Common, with_keys: bool) -> anyhow::Result<()> {
    if common.json {
        println!("{}", serde_json::json!({ "store": "embedded", "made": [], "dropped": [], "left": [] }));
    } else {
        println!(
            "nothing to do: an embedded store makes what it needs when it is opened (`store.kind` is `embedded`)"
        );
        if with_keys {
            println!("its keys are made at its first start, by `p92 serve`");
        }
    }
    Ok(())
}

/// Progress goes where it is no part of what a script reads.
fn tell(progress: Progress<'_>) {
    match progress {
        Progress::Waits => eprintln!("another migration is running; this one goes on when that has ended"),
        Progress::MakesKeyspace { copies } => {
            eprintln!("making the keyspace, with {copies} copies of each row");
        }
        Progress::Makes { table, at, of } => eprintln!("making {table} ({at} of {of})"),
        Progress::Drops { table } => eprintln!("dropping {table}"),
    }
}

fn print(settings: &Settings, done: &Migrated) {
    let keyspace = &settings.store.cql.keyspace;
    if done.from >= SCHEMA && done.made.is_empty() && done.dropped.is_empty() {
        println!("nothing to do: the keyspace {keyspace} has schema {} and every table", done.from);
    } else {
        let was = if done.from == 0 { "none".to_owned() } else { done.from.to_string() };
        println!("the keyspace {keyspace} has schema {} (before: {was})", done.from.max(SCHEMA));
        println!("made {} tables, dropped {}", done.made.len(), done.dropped.len());
    }
    if !done.left.is_empty() {
        println!("left {} tables that this build does not use: {}", done.left.len(), done.left.join(", "));
    }
}
