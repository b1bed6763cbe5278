//! `p92 backup` and `p92 restore`: what people see of them.

use super::Common;
use super::show::failed;
use crate::backup::{Target, look, restore_into};
use crate::settings::Flags;
use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use p92_eventlog::backup::{Backup, Draft, Manifest, Origin, Positions, Restored};
use p92_eventlog::event::position_from_wire;
use p92_eventlog::progress::log_of;
use p92_kernel::{Millis, ShardCount};
use p92_proto::operator::v1::TakeBackupRequest;
use p92_proto::operator::v1::take_backup_response::Piece;
use serde_json::json;
use std::cell::Cell;
use std::path::PathBuf;

/// Where a backup is written.
#[derive(Debug, Args)]
#[command(
    after_help = "The server goes on meanwhile. In the backup: every event up to one position per log, names, passwords, tokens, and the wrapped keys of accounts and posts. Not in it: views, which follow from events, and the key file.\n\nKeep a copy of the key file (DATA.keys) elsewhere: without it nobody can read what is sealed in the backup, and together with it anybody can. `p92 keys rotate` closes every backup that was taken before: from then on it opens only with the key file as it was. Destroy those copies within 30 days, so that what was erased here cannot be read there.\n\nThen: p92 restore DIR --data EMPTY --keys COPY-OF-THE-KEY-FILE"
)]
pub struct BackupArgs {
    /// The directory to make. It has its name only when it is whole.
    #[arg(value_name = "DIR")]
    place: PathBuf,
}

/// What is restored.
#[derive(Debug, Args)]
#[command(
    after_help = "Every byte of the backup is checked before the first one is written. The store is the one that the settings name: an empty or missing --data directory, or the keyspace of a cluster, which is made if it is missing (no `p92 migrate` before: that would give it another id) and whose services do not run. --keys is the key file as it was when the backup was taken. Views are built anew at the first start, which takes longer for it. The restored store is the same installation: do not let both serve.\n\nThen: p92 serve --data DATA --keys FILE, and p92 view rebuild NAME --verify to compare"
)]
pub struct RestoreArgs {
    /// The directory that `p92 backup` made.
    #[arg(value_name = "DIR")]
    place: PathBuf,
    /// Restore even if the key file cannot open some accounts' keys: what they wrote stays unreadable.
    #[arg(long)]
    accept_unreadable: bool,
    #[command(flatten)]
    flags: Flags,
}

/// How far it is: a bar for people on a terminal, a line of JSON per phase for machines.
struct Phases {
    json: bool,
    bar: ProgressBar,
    name: &'static str,
}

impl Phases {
    fn new(json: bool) -> Self {
        Self { json, bar: ProgressBar::hidden(), name: "" }
    }

    fn begin(&mut self, name: &'static str, total: u64, unit: &str) -> anyhow::Result<()> {
        self.name = name;
        if self.json {
            println!("{}", json!({ "phase": name, "total": total, "unit": unit }));
            return Ok(());
        }
        let numbers = if unit == "bytes" { "{bytes}/{total_bytes}" } else { "{pos}/{len}" };
        let template = format!("{{msg}} {{wide_bar}} {numbers} {unit} {{eta}}");
        self.bar = ProgressBar::new(total).with_style(ProgressStyle::with_template(&template)?);
        self.bar.set_message(name);
        Ok(())
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn told(manifest: &Manifest) -> serde_json::Value {
    let positions = manifest.positions.iter().map(
        |(log, seq)| json!({ "service": log.service.name(), "shard": log.shard.0, "seq": seq.0.to_string() }),
    );
    json!({
        "installation": manifest.origin.installation,
        "shards": manifest.origin.shards.get(),
        "time": Millis(manifest.origin.time_ms).iso8601(),
        "events": manifest.events().to_string(),
        "rows": manifest.rows().to_string(),
        "bytes": manifest.files.iter().map(|file| file.bytes).sum::<u64>().to_string(),
        "keys": false,
        "positions": positions.collect::<Vec<_>>(),
    })
}

/// Takes a backup of the running server.
pub async fn backup(args: BackupArgs, common: &Common) -> anyhow::Result<()> {
    let mut client = common.operators().await?;
    let mut pieces = client.take_backup(TakeBackupRequest {}).await.map_err(failed)?.into_inner();
    let mut phases = Phases::new(common.json);
    let mut draft: Option<Draft> = None;
    let manifest = loop {
        let piece = pieces.message().await.map_err(failed)?.and_then(|told| told.piece);
        match (piece, &mut draft) {
            (Some(Piece::Begun(begun)), None) => {
                let shards = u16::try_from(begun.shards).ok().and_then(ShardCount::new);
                let shards = shards.context("the server has a number of shards that cannot be")?;
                let origin = Origin { installation: begun.installation, shards, time_ms: begun.time_ms };
                draft = Some(Draft::begin(&args.place, origin)?);
                phases.begin("taking the backup", begun.events, "events")?;
            }
            (Some(Piece::Records(records)), Some(draft)) => {
                for record in &records.records {
                    draft.add(record)?;
                }
                phases.bar.set_position(draft.events());
            }
            (Some(Piece::Ended(ended)), Some(_)) => {
                let position = |one| position_from_wire(one).map(|at| (log_of(at), at.seq));
                let positions = ended.positions.iter().map(position).collect::<Option<Positions>>();
                let positions = positions.context("the server told a position that cannot be")?;
                let draft = draft.take().context("a backup that was never begun")?;
                break draft.finish(&positions)?;
            }
            _ => anyhow::bail!("the server ended before the backup did; nothing is left of it: run it again"),
        }
    };
    phases.end();
    if common.json {
        println!("{}", json!({ "done": true, "backup": args.place, "manifest": told(&manifest) }));
        return Ok(());
    }
    println!(
        "{}: {} events and {} rows of state, as of {}",
        args.place.display(),
        manifest.events(),
        manifest.rows(),
        Millis(manifest.origin.time_ms).iso8601()
    );
    println!("the key file is not in it: keep a copy of it elsewhere, never beside the backup");
    Ok(())
}

/// Restores a backup into an empty data directory.
pub async fn restore(args: RestoreArgs, common: &Common) -> anyhow::Result<()> {
    let settings = args.flags.load()?;
    let mut phases = Phases::new(common.json);
    phases.begin("checking the backup", 0, "bytes")?;
    let bar = phases.bar.clone();
    let place = args.place.clone();
    let checked = tokio::task::spawn_blocking(move || {
        let shown = Cell::new(0);
        Backup::open(&place, &|done, total| {
            // A bar moves a hundred times, not once per record.
            if done >= shown.get() + total / 100 {
                shown.set(done);
                bar.set_length(total);
                bar.set_position(done);
            }
        })
    });
    let backup = checked.await??;
    phases.end();
    let manifest = backup.manifest().clone();
    let keys = settings.keys(&common.data);
    let target = Target { settings: &settings, data: &common.data, keys: &keys };
    let closed = look(&backup, &target, args.accept_unreadable)?;
    phases.begin("restoring", manifest.events() + manifest.rows(), "rows and events")?;
    let bar = phases.bar.clone();
    let watch = move |done: Restored| bar.set_position(done.events + done.rows);
    let restored = restore_into(&backup, &target, &watch).await?;
    phases.end();
    if common.json {
        let said = json!({
            "done": true, "data": common.data, "events": restored.events.to_string(),
            "rows": restored.rows.to_string(), "unreadable": closed, "manifest": told(&manifest),
        });
        println!("{said}");
        return Ok(());
    }
    println!(
        "{}: {} events and {} rows of state, as of {}",
        common.data.display(),
        restored.events,
        restored.rows,
        Millis(manifest.origin.time_ms).iso8601()
    );
    if closed > 0 {
        println!("{closed} accounts' content cannot be read: the key file does not open their keys");
    }
    println!("start it: p92 serve --data {} --keys {}", common.data.display(), keys.display());
    Ok(())
}
