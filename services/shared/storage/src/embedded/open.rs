//! Opening a directory: the marker says whose it is, a trial on a copy says whether it is whole, and what must not be
//! opened is refused with what to do, and left as it was.

use super::EmbeddedConfig;
use super::heads::{self, Heads};
use super::layout::Spaces;
use super::space::MIB;
use crate::StoreError;
use crate::engine::LogKey;
use fjall::Database;
use p92_kernel::{Service, ShardCount, digest};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// The marker's name in the directory.
const MARKER: &str = "p92-store";
/// The folder of the engine.
const ENGINE: &str = "engine";
/// Where a trial is opened.
const TRIAL: &str = "trial";
/// The layout that this build writes and reads.
const FORMAT: u32 = 1;

/// What the directory was given at first start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    pub installation: String,
    pub shards: ShardCount,
}

/// An opened directory.
#[derive(Debug)]
pub struct Opened {
    pub spaces: Spaces,
    pub heads: Heads,
    pub marker: Marker,
    pub fresh: bool,
    /// Held as long as the directory is ours; the kernel lets go of it when the process ends, however it ends.
    pub lock: fs::File,
}

fn refused(problem: impl Into<String>, advice: impl Into<String>) -> StoreError {
    StoreError::Refused { problem: problem.into(), advice: advice.into() }
}

fn io_refused(dir: &Path, what: &str) -> impl Fn(io::Error) -> StoreError {
    let place = dir.display().to_string();
    let what = what.to_owned();
    move |error| {
        refused(format!("{place}: {what}: {error}"), "look at the permissions and the health of the disk")
    }
}

/// Opens or makes the directory.
pub fn open(config: &EmbeddedConfig) -> Result<Opened, StoreError> {
    let dir = &config.dir;
    fs::create_dir_all(dir).map_err(io_refused(dir, "the data directory cannot be made"))?;
    let (marker, fresh) = match read_marker(dir)? {
        Some(marker) => (marker, false),
        None => (make_marker(dir, config.shards)?, true),
    };
    let lock = lock(dir)?;
    let engine = dir.join(ENGINE);
    if !fresh && !engine.exists() {
        return Err(refused(
            format!("{} has the marker of a P92 store but no {ENGINE} folder", dir.display()),
            "restore the directory from a backup",
        ));
    }
    let said = heads::read(dir).map_err(io_refused(dir, "the side file cannot be read"))?;
    if !said.is_empty() {
        try_on_copy(config, &engine, &said)?;
    }
    if engine.exists() {
        renew_journals(&engine).map_err(io_refused(dir, "the journals cannot be made durable"))?;
    }
    let spaces = open_engine(config, &engine)?;
    let heads = heads_of(&spaces, marker.shards)?;
    Ok(Opened { spaces, heads, marker, fresh, lock })
}

/// Whether the disk takes and syncs a write.
pub fn probe(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join("probe");
    let tried = fs::File::create(&path).and_then(|mut file| {
        file.write_all(&[0; 4_096])?;
        file.sync_all()
    });
    tried.and_then(|()| fs::remove_file(&path)).map_err(io_refused(dir, "the disk still refuses writes"))
}

/// Opens the engine of a directory that was closed after a failed write.
pub fn reopen(config: &EmbeddedConfig) -> Result<Spaces, StoreError> {
    let engine = config.dir.join(ENGINE);
    renew_journals(&engine).map_err(io_refused(&config.dir, "the journals cannot be made durable"))?;
    // The engine's own threads let go of the folder a moment after its handle.
    let mut tries = 0;
    loop {
        match open_engine(config, &engine) {
            Err(_) if tries < 100 => {
                tries += 1;
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            opened => return opened,
        }
    }
}

fn read_marker(dir: &Path) -> Result<Option<Marker>, StoreError> {
    let path = dir.join(MARKER);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut entries =
                fs::read_dir(dir).map_err(io_refused(dir, "the data directory cannot be read"))?;
            if entries.next().is_some() {
                return Err(refused(
                    format!("{} is not empty and is not a P92 store", dir.display()),
                    "name an empty directory with --data, or one that P92 has made",
                ));
            }
            return Ok(None);
        }
        Err(error) => return Err(io_refused(dir, "the marker cannot be read")(error)),
    };
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let format = field("format").and_then(|format| format.parse::<u32>().ok());
    match format {
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
        _ => return Err(damaged_marker(dir)),
    }
    let shards = field("shards").and_then(|shards| shards.parse().ok()).and_then(ShardCount::new);
    let installation = field("installation").map(str::to_owned).filter(|id| id.len() == 32);
    let sum = field("sum");
    match (shards, installation) {
        (Some(shards), Some(installation)) if sum == Some(&*marker_sum(&installation, shards)) => {
            Ok(Some(Marker { installation, shards }))
        }
        _ => Err(damaged_marker(dir)),
    }
}

/// Taken before anything else is touched: a running P92 must not find its journals exchanged.
fn lock(dir: &Path) -> Result<fs::File, StoreError> {
    let file = fs::File::open(dir.join(MARKER)).map_err(io_refused(dir, "the marker cannot be opened"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(refused(
            format!("another P92 is running on {}", dir.display()),
            "stop it, or name another directory with --data",
        )),
        Err(fs::TryLockError::Error(error)) => Err(io_refused(dir, "the marker cannot be locked")(error)),
    }
}

fn damaged_marker(dir: &Path) -> StoreError {
    refused(
        format!("the marker {} is damaged", dir.join(MARKER).display()),
        "restore the directory from a backup; nothing was changed",
    )
}

fn marker_sum(installation: &str, shards: ShardCount) -> String {
    let sum =
        digest::of_parts(&[installation.as_bytes(), &shards.get().to_be_bytes(), &FORMAT.to_be_bytes()]);
    format!("{:016x}", digest::leading_u64(&sum))
}

fn make_marker(dir: &Path, shards: ShardCount) -> Result<Marker, StoreError> {
    let failed = io_refused(dir, "the marker cannot be written");
    let mut random = [0_u8; 16];
    fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).map_err(&failed)?;
    let installation: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!(
        "A store of P92. Do not change anything in this directory by hand.\nformat {FORMAT}\ninstallation {installation}\nshards {}\nsum {}\n",
        shards.get(),
        marker_sum(&installation, shards)
    );
    let new = dir.join("p92-store.new");
    let mut file = fs::File::create(&new).map_err(&failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(&failed)?;
    // The engine's folder first: a marker without one means that something was lost.
    fs::create_dir_all(dir.join(ENGINE)).map_err(&failed)?;
    fs::rename(&new, dir.join(MARKER)).map_err(&failed)?;
    sync_folder(dir).map_err(&failed)?;
    Ok(Marker { installation, shards })
}

fn sync_folder(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// Writes every journal anew and syncs it.
///
/// What an ended process wrote may lie in the page cache only, and after a sync that failed pages count as clean though
/// the disk does not have them. Reading them and serving what they say would acknowledge what a power cut can take back.
fn renew_journals(engine: &Path) -> io::Result<()> {
    for entry in fs::read_dir(engine)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "jnl") {
            let new = path.with_extension("renewed");
            fs::copy(&path, &new)?;
            fs::File::open(&new)?.sync_all()?;
            fs::rename(&new, &path)?;
        } else if path.extension().is_some_and(|ending| ending == "renewed") {
            fs::remove_file(&path)?;
        }
    }
    sync_folder(engine)
}

/// Opening truncates a journal at the first record that does not check. So whether everything is there that should be is
/// tried on a copy; the tables, which never change, are linked.
fn try_on_copy(config: &EmbeddedConfig, engine: &Path, said: &Heads) -> Result<(), StoreError> {
    let trial = config.dir.join(TRIAL);
    let failed = io_refused(&config.dir, "the trial copy cannot be made");
    remove(&trial).map_err(&failed)?;
    copy_engine(engine, &trial).map_err(&failed)?;
    let looked = look(config, &trial, said);
    remove(&trial).map_err(&failed)?;
    looked
}

fn look(config: &EmbeddedConfig, trial: &Path, said: &Heads) -> Result<(), StoreError> {
    let spaces = open_engine(config, trial)?;
    for (log, head) in said {
        let found = spaces.last_log_row(*log)?.map_or(0, |row| row.last_seq.0);
        if found < head.0 {
            return Err(refused(
                format!(
                    "the log {}/{} ends at {found}, but events up to {} were acknowledged: the store has been damaged or is an older copy",
                    log.service, log.shard, head.0
                ),
                format!(
                    "restore the directory from a backup; to accept the loss instead, delete {} and start again",
                    config.dir.join(heads::NAME).display()
                ),
            ));
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn copy_engine(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_engine(&source, &target)?;
        } else if from.ends_with("tables") {
            fs::hard_link(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

fn open_engine(config: &EmbeddedConfig, engine: &Path) -> Result<Spaces, StoreError> {
    let opening = || -> fjall::Result<Spaces> {
        let database = Database::builder(engine)
            .cache_size(config.cache_mib * MIB)
            .max_journaling_size(64 * MIB)
            .manual_journal_persist(true)
            .worker_threads(2)
            .open()?;
        Spaces::of(database, config.compression)
    };
    // The engine asserts on some kinds of damage; a panic at opening is damage, not a bug of ours.
    let opened = catch_unwind(AssertUnwindSafe(opening));
    let advice = "restore the directory from a backup; nothing was changed";
    match opened {
        Ok(Ok(spaces)) => Ok(spaces),
        Ok(Err(error)) => Err(refused(format!("{} cannot be opened: {error}", config.dir.display()), advice)),
        Err(_) => Err(refused(format!("{} is damaged and cannot be opened", config.dir.display()), advice)),
    }
}

fn heads_of(spaces: &Spaces, shards: ShardCount) -> Result<Heads, StoreError> {
    let mut heads = Heads::new();
    for service in Service::ALL {
        for shard in shards.all() {
            let log = LogKey { service, shard };
            if let Some(row) = spaces.last_log_row(log)? {
                heads.insert(log, row.last_seq);
            }
        }
    }
    Ok(heads)
}
