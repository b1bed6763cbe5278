//! `p92 backup` and `p92 restore`: which tables there are, and the embedded store that a backup is restored into.
//!
//! What a backup holds and how it is read is `p92_eventlog::backup`. A directory is restored beside its place and renamed
//! when it is whole, so that nobody serves half of it.

use crate::backing::cql;
use crate::settings::{Settings, StoreKind};
use anyhow::Context as _;
use p92_chassis::{SystemClock, SystemRandom};
use p92_eventlog::KeyFile;
use p92_eventlog::backup::{self, Backup, Origin, Restored, StateTable};
use p92_kernel::{Clock as _, ShardCount};
use p92_storage::cql::Sight;
use p92_storage::{Embedded, EmbeddedConfig};
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Every table of state that is backed up: those of services, and the wrapped keys of the log.
#[must_use]
pub fn state_tables() -> Vec<StateTable> {
    let mut all = p92_identity::backup::state();
    all.extend(backup::own_tables());
    all
}

/// What is restored, and into what.
#[derive(Debug)]
pub struct Target<'a> {
    pub settings: &'a Settings,
    pub data: &'a Path,
    pub keys: &'a Path,
}

/// Looks whether a backup can be restored there, before anything is written. Returns how many accounts' keys the key
/// file cannot open.
///
/// Accounts whose keys it cannot open are taken only if that is accepted.
pub fn look(backup: &Backup, target: &Target<'_>, accept_unreadable: bool) -> anyhow::Result<u64> {
    if target.settings.store.kind == StoreKind::Embedded {
        check_empty(target.data)?;
    }
    let origin = &backup.manifest().origin;
    let clock = SystemClock::default();
    let file = KeyFile::open(target.keys, &origin.installation, false, clock.now(), &SystemRandom).context(
        "the backup has no keys in it; --keys names the key file of the installation that it was taken of",
    )?;
    let (all, closed) = backup::check_keys(backup, &file)?;
    if closed > 0 && !accept_unreadable {
        anyhow::bail!(
            "the key file {} cannot open {closed} of {all} accounts' keys in this backup: they were wrapped before the last rotation\n  what to do: name the key file as it was when the backup was taken, or restore what can still be read with --accept-unreadable; nothing was written",
            target.keys.display()
        );
    }
    Ok(closed)
}

fn check_empty(data: &Path) -> anyhow::Result<()> {
    let filled = match fs::read_dir(data) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", data.display())),
    };
    if filled {
        anyhow::bail!(
            "{} is not empty\n  what to do: name a directory that does not exist with --data, or move this one away; nothing was written",
            data.display()
        );
    }
    Ok(())
}

/// Where a directory is restored before it gets its name.
fn part(data: &Path) -> anyhow::Result<PathBuf> {
    let mut name: OsString = data
        .file_name()
        .with_context(|| format!("{} is no name for a directory", data.display()))?
        .to_owned();
    name.push(".restoring");
    Ok(data.with_file_name(name))
}

/// Restores a backup that was looked at into the store that the settings name.
pub async fn restore_into(
    backup: &Backup,
    target: &Target<'_>,
    watch: &(dyn Fn(Restored) + Sync),
) -> anyhow::Result<Restored> {
    match target.settings.store.kind {
        StoreKind::Embedded => restore_embedded(backup, target.data, watch).await,
        StoreKind::Cql => restore_shared(backup, target, watch).await,
    }
}

/// Into a store that processes share. It is made here, under the id and with the shards of the backup; one of another
/// installation is left as it is.
async fn restore_shared(
    backup: &Backup,
    target: &Target<'_>,
    watch: &(dyn Fn(Restored) + Sync),
) -> anyhow::Result<Restored> {
    let origin = &backup.manifest().origin;
    // One without a schema cannot be looked at, and is nobody's.
    if let Ok(Sight { opened: Some((installation, shards)), .. }) = cql::look(target.settings).await {
        check_same(origin, &installation, shards)?;
    }
    let store = cql::make(target.settings, &origin.installation, origin.shards).await?;
    // Somebody else may have made it meanwhile.
    let restored = match check_same(origin, &store.installation, store.shards) {
        Ok(()) => {
            let now = SystemClock::default().now().0;
            let restored = backup::restore(&*store.engine, backup, &state_tables(), now, watch).await;
            restored.map_err(anyhow::Error::from)
        }
        Err(other) => Err(other),
    };
    tokio::task::spawn_blocking(store.close).await?;
    restored
}

fn check_same(origin: &Origin, installation: &str, shards: ShardCount) -> anyhow::Result<()> {
    if installation == origin.installation && shards == origin.shards {
        return Ok(());
    }
    anyhow::bail!(
        "the store is of installation {installation} with {} shards, the backup of {} with {}\n  what to do: name a keyspace that does not exist with `store.cql.keyspace`, and it is made; nothing was written",
        shards.get(),
        origin.installation,
        origin.shards.get()
    )
}

async fn restore_embedded(
    backup: &Backup,
    data: &Path,
    watch: &(dyn Fn(Restored) + Sync),
) -> anyhow::Result<Restored> {
    let part = part(data)?;
    let origin = &backup.manifest().origin;
    let mut config = EmbeddedConfig::at(&part);
    config.shards = origin.shards;
    config.installation = Some(origin.installation.clone());
    clear(&config)?;
    let store = Embedded::open(config)?;
    let now = SystemClock::default().now().0;
    let restored = backup::restore(&*store, backup, &state_tables(), now, watch).await;
    tokio::task::spawn_blocking(move || store.close()).await?;
    let restored = match restored {
        Ok(restored) => restored,
        Err(error) => {
            // If it stays, the next restore to this place removes it.
            let _ = fs::remove_dir_all(&part);
            return Err(error.into());
        }
    };
    check_empty(data)?;
    let moved = || format!("{} cannot be put in its place, {}", part.display(), data.display());
    fs::rename(&part, data).with_context(moved)?;
    let folder = data.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).with_context(moved)?;
    Ok(restored)
}

/// Removes what a restore left that was cut off: a store, and nobody in it. Anything else is not ours.
fn clear(config: &EmbeddedConfig) -> anyhow::Result<()> {
    match fs::read_dir(&config.dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", config.dir.display())),
        Ok(_) => {}
    }
    // Opening it proves both.
    let left = Embedded::open(config.clone())
        .with_context(|| format!("{} was left by another restore, or is none", config.dir.display()))?;
    left.close();
    fs::remove_dir_all(&config.dir).with_context(|| format!("{} cannot be removed", config.dir.display()))
}

#[cfg(test)]
mod tests {
    use p92_eventlog::tables;
    use p92_storage::Class;
    use std::collections::BTreeSet;

    #[test]
    fn each_table_of_state_is_backed_up_or_written_anew() {
        let mut known: BTreeSet<&str> = super::state_tables().iter().map(|one| one.table.name).collect();
        // Checkpoints and quarantine are backed up for readers of effects; the rest follows from logs, or is of
        // processes and tables that are not there any more.
        let own = [
            &tables::APPLIED,
            &tables::TIMES,
            &tables::CHECKPOINTS,
            &tables::NOTES,
            &tables::QUARANTINE,
            &tables::MEMBERS,
            &tables::OWNERSHIP,
            &tables::VIEW_POINTERS,
            &tables::VIEW_WRITERS,
            &tables::VIEW_NOTED,
            &tables::RESTORING,
            &tables::PROBES,
        ];
        known.extend(own.map(|table| table.name));
        // As `wiring` names them: the other services have views alone.
        let services = [p92_identity::tables(), p92_posting::tables::all().to_vec()];
        let all = services.concat().into_iter().chain(tables::all());
        let forgotten: Vec<_> = all
            .filter(|table| table.class == Class::State && !known.contains(table.name))
            .map(|table| table.name)
            .collect();
        assert!(forgotten.is_empty(), "{forgotten:?} would be lost by a restore");
    }
}
