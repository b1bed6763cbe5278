//! The marker: whose directory this is, since when, and that nobody else has it open.
//!
//! In: a directory. Out: the marker, locked, or a refusal that left everything as it was. A first start claims the
//! directory with a marker under another name and gives it its own only when the engine stands; so a first start that
//! was cut off is begun again, while a directory that lost its marker is refused as foreign.

use super::heads;
use super::open::{ENGINE, TRIAL, io_refused, refused, remove, sync_folder};
use crate::StoreError;
use crate::ids::random_id;
use p92_kernel::{ShardCount, digest};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The marker's name in the directory.
const MARKER: &str = "p92-store";
/// Its name until the engine stands.
const CLAIM: &str = "p92-store.new";
/// The layout that this build writes and reads.
pub const FORMAT: u32 = 1;

/// What the directory was given at first start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    pub installation: String,
    pub shards: ShardCount,
}

/// A directory that is ours.
#[derive(Debug)]
pub struct Held {
    pub marker: Marker,
    /// The engine is yet to be made; [`Held::finish`] follows.
    pub fresh: bool,
    /// Held as long as the directory is ours; the kernel lets go of it when the process ends, however it ends.
    pub lock: File,
}

/// Takes the directory, or claims an empty one, under a new id if none is given.
pub fn take(dir: &Path, shards: ShardCount, installation: Option<&str>) -> Result<Held, StoreError> {
    // Nobody else on this machine needs it; one that is there keeps the mode that somebody gave it.
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(io_refused(dir, "the data directory cannot be made"))?;
    if let Some(held) = existing(dir)? {
        return Ok(held);
    }
    check_empty(dir)?;
    let failed = io_refused(dir, "the marker cannot be written");
    let mut claim =
        OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(CLAIM)).map_err(&failed)?;
    lock(dir, &claim)?;
    // Whoever held the claim a moment ago may have finished: then this file is not the claim, and the marker is there.
    if let Some(held) = existing(dir)? {
        fs::remove_file(dir.join(CLAIM)).map_err(&failed)?;
        return Ok(held);
    }
    // What a first start left that was cut off. Nothing of it was ever acknowledged.
    remove(&dir.join(ENGINE)).and_then(|()| remove(&dir.join(TRIAL))).map_err(&failed)?;
    let installation = match installation {
        Some(id) => id.to_owned(),
        None => random_id().map_err(&failed)?,
    };
    let marker = Marker { installation, shards };
    claim
        .set_len(0)
        .and_then(|()| claim.write_all(text(&marker).as_bytes()))
        .and_then(|()| claim.sync_all())
        .map_err(&failed)?;
    Ok(Held { marker, fresh: true, lock: claim })
}

impl Held {
    /// The engine of a fresh directory stands.
    pub fn finish(&self, dir: &Path) -> Result<(), StoreError> {
        fs::rename(dir.join(CLAIM), dir.join(MARKER))
            .and_then(|()| sync_folder(dir))
            .map_err(io_refused(dir, "the marker cannot be written"))
    }
}

fn existing(dir: &Path) -> Result<Option<Held>, StoreError> {
    let mut file = match File::open(dir.join(MARKER)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_refused(dir, "the marker cannot be read")(error)),
    };
    lock(dir, &file)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(io_refused(dir, "the marker cannot be read"))?;
    let marker = read(dir, &String::from_utf8_lossy(&bytes))?;
    if !dir.join(ENGINE).exists() {
        return Err(refused(
            format!("{} has the marker of a P92 store but no {ENGINE} folder", dir.display()),
            "restore the directory from a backup",
        ));
    }
    Ok(Some(Held { marker, fresh: false, lock: file }))
}

fn check_empty(dir: &Path) -> Result<(), StoreError> {
    let failed = io_refused(dir, "the data directory cannot be read");
    let claimed = dir.join(CLAIM).exists();
    for entry in fs::read_dir(dir).map_err(&failed)? {
        let name = entry.map_err(&failed)?.file_name();
        let own = [CLAIM, ENGINE, TRIAL, heads::NAME].iter().any(|own| name == *own);
        if !(claimed && own) {
            return Err(refused(
                format!("{} is not empty and is not a P92 store", dir.display()),
                "name an empty directory, or one that P92 has made",
            ));
        }
    }
    Ok(())
}

/// Taken before anything else is touched: a running P92 must not find its journals exchanged.
fn lock(dir: &Path, file: &File) -> Result<(), StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(fs::TryLockError::WouldBlock) => {
            let who = holder(file).map_or_else(String::new, |pid| format!(" (process {pid})"));
            Err(refused(
                format!("another P92 is running on {}{who}", dir.display()),
                "stop it, or name another directory",
            ))
        }
        Err(fs::TryLockError::Error(error)) => Err(io_refused(dir, "the marker cannot be locked")(error)),
    }
}

/// The process that has the file locked, where the system tells: Linux lists `1: FLOCK ADVISORY WRITE pid dev:inode …`.
fn holder(file: &File) -> Option<u32> {
    let inode = format!(":{}", file.metadata().ok()?.ino());
    fs::read_to_string("/proc/locks").ok()?.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let kind = words.next()?;
        let (pid, place) = (words.nth(2)?, words.next()?);
        (kind == "FLOCK" && place.ends_with(&inode)).then(|| pid.parse().ok()).flatten()
    })
}

fn text(marker: &Marker) -> String {
    format!(
        "A store of P92. Do not change anything in this directory by hand.\nformat {FORMAT}\ninstallation {}\nshards {}\nsum {}\n",
        marker.installation,
        marker.shards.get(),
        sum(marker)
    )
}

fn sum(marker: &Marker) -> String {
    let parts: [&[u8]; 3] =
        [marker.installation.as_bytes(), &marker.shards.get().to_be_bytes(), &FORMAT.to_be_bytes()];
    format!("{:016x}", digest::leading_u64(&digest::of_parts(&parts)))
}

fn read(dir: &Path, text: &str) -> Result<Marker, StoreError> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let damaged = || {
        refused(
            format!("the marker {} is damaged", dir.join(MARKER).display()),
            "restore the directory from a backup; nothing was changed",
        )
    };
    match field("format").and_then(|format| format.parse::<u32>().ok()) {
        Some(FORMAT) => {}
        Some(newer) if newer > FORMAT => {
            return Err(refused(
                format!(
                    "{} was written by a newer P92 (format {newer}, this one reads {FORMAT})",
                    dir.display()
                ),
                "start it with the newer P92",
            ));
        }
        _ => return Err(damaged()),
    }
    let shards = field("shards").and_then(|shards| shards.parse().ok()).and_then(ShardCount::new);
    let installation = field("installation").map(str::to_owned).filter(|id| id.len() == 32);
    let (Some(shards), Some(installation)) = (shards, installation) else { return Err(damaged()) };
    let marker = Marker { installation, shards };
    if field("sum") == Some(&*sum(&marker)) { Ok(marker) } else { Err(damaged()) }
}
