//! Opening a directory: what must not be opened is refused with what to do about it, and left as it was.
//!
//! The engine underneath changes a directory while it opens it: it cuts journals, removes tables that its manifest does
//! not name, and panics on some damage. So opening goes in three steps, and only the last one changes anything:
//! 1. *Look*: every journal is read ([`journal`]), every manifest compared with its checksum.
//! 2. *Rehearse*: a copy is opened, its tables linked (they never change), of its journals the whole batches; what it
//!    holds is compared with what the side file says was acknowledged.
//! 3. *Open*: the journals are written anew, synced, and put in place; then the directory itself is opened.
//!
//! The journals are written anew because what an ended process wrote may lie in the page cache only: after a sync that
//! failed, pages count as clean though the disk does not have them. To serve them would acknowledge what a power cut can
//! take back.

use super::heads::{self, Heads, Said};
use super::journal::{self, Journal};
use super::layout::{Spaces, means_damage};
use super::marker::{self, Marker};
use super::pace::Pace;
use super::space::MIB;
use super::{EmbeddedConfig, workers};
use crate::StoreError;
use crate::engine::LogKey;
use fjall::compaction::filter::Factory;
use fjall::{CompressionType, Database, LsmError};
use p92_kernel::{Service, ShardCount};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The folder of the engine.
pub const ENGINE: &str = "engine";
/// Where opening is rehearsed.
pub const TRIAL: &str = "trial";

/// An opened directory.
#[derive(Debug)]
pub struct Opened {
    pub spaces: Spaces,
    pub found: Said,
    pub marker: Marker,
    pub fresh: bool,
    pub lock: File,
}

pub fn refused(problem: impl Into<String>, advice: impl Into<String>) -> StoreError {
    StoreError::Refused { problem: problem.into(), advice: advice.into() }
}

pub fn io_refused(dir: &Path, what: &str) -> impl Fn(io::Error) -> StoreError + use<> {
    let place = dir.display().to_string();
    let what = what.to_owned();
    move |error| {
        let advice = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "make room on the disk: opening takes up to 200 MiB for a moment; nothing was lost"
            }
            _ => "look at the permissions and the health of the disk",
        };
        refused(format!("{place}: {what}: {error}"), advice)
    }
}

fn restore(problem: impl Into<String>) -> StoreError {
    refused(problem, "restore the directory from a backup; nothing was changed")
}

/// Opens or makes the directory.
pub fn open(config: &EmbeddedConfig) -> Result<Opened, StoreError> {
    let dir = &config.dir;
    let held = marker::take(dir, config.shards, config.installation.as_deref())?;
    let said = heads::read(dir).map_err(io_refused(dir, "the side file cannot be read"))?;
    let spaces = if held.fresh {
        let spaces = open_engine(config, &dir.join(ENGINE), true)?;
        held.finish(dir)?;
        spaces
    } else {
        open_checked(config, &said)?
    };
    let found = found(&spaces, held.marker.shards)?;
    Ok(Opened { spaces, found, marker: held.marker, fresh: held.fresh, lock: held.lock })
}

/// Opens an engine that stands, if it holds what was acknowledged.
pub fn open_checked(config: &EmbeddedConfig, said: &Said) -> Result<Spaces, StoreError> {
    let dir = &config.dir;
    let engine = dir.join(ENGINE);
    let journals = look(dir, &engine)?;
    rehearse(config, &engine, &journals, said)?;
    renew(&engine, &journals).map_err(io_refused(dir, "the journals cannot be made durable"))?;
    open_engine(config, &engine, true)
}

/// Whether the disk takes and syncs a write, large enough not to fit some last free corner.
pub fn probe(dir: &Path) -> io::Result<()> {
    let path = dir.join("probe");
    let tried = File::create(&path).and_then(|mut file| {
        (0..64).try_for_each(|_| file.write_all(&[0x55; 16 * 1024]))?;
        file.sync_all()
    });
    let removed = fs::remove_file(&path);
    tried.and(removed)
}

pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn look(dir: &Path, engine: &Path) -> Result<Vec<Journal>, StoreError> {
    let failed = io_refused(dir, "the store cannot be read");
    if !engine.join("version").exists() {
        return Err(restore(format!("{} holds no store", engine.display())));
    }
    let folders = fs::read_dir(engine.join("keyspaces")).map_err(&failed)?;
    for folder in folders {
        let folder = folder.map_err(&failed)?.path();
        if !manifest_is_whole(&folder).map_err(&failed)? {
            return Err(restore(format!("{} is damaged", folder.display())));
        }
    }
    let journals = journal::inspect_all(engine).map_err(&failed)?;
    let mut last: Option<&Journal> = None;
    for journal in &journals {
        if let (Some((_, before)), Some((first, _))) = (last.and_then(|last| last.commits), journal.commits)
            && first != before + 1
        {
            let broken = last.and_then(|last| last.broken.as_deref()).unwrap_or("a journal is gone");
            return Err(restore(format!(
                "{}: commits {} to {} are missing before {}: {broken}",
                dir.display(),
                before + 1,
                first - 1,
                journal.path.display()
            )));
        }
        if let Some(broken) = &journal.broken {
            if journal.commits.is_none() && journals.last().is_some_and(|newest| newest.id != journal.id) {
                return Err(restore(format!("{} is damaged: {broken}", journal.path.display())));
            }
            // What was never acknowledged may be torn; whether more is missing, the rehearsal tells.
            tracing::warn!(journal = %journal.path.display(), broken, "a journal ends in what is no batch");
        }
        if journal.commits.is_some() {
            last = Some(journal);
        }
    }
    Ok(journals)
}

/// `current` names a manifest and has its checksum, which the engine underneath does not compare: `version u64 ·
/// xxh3-128 · kind u8`, little-endian. A folder without one was never used.
fn manifest_is_whole(folder: &Path) -> io::Result<bool> {
    let mut bytes = Vec::new();
    match File::open(folder.join("current")) {
        Ok(file) => file.take(64).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    let Some((version, rest)) = bytes.split_first_chunk::<8>() else { return Ok(false) };
    let Some((sum, _)) = rest.split_first_chunk::<16>() else { return Ok(false) };
    match fs::read(folder.join(format!("v{}", u64::from_le_bytes(*version)))) {
        Ok(manifest) => Ok(xxhash_rust::xxh3::xxh3_128(&manifest) == u128::from_le_bytes(*sum)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn rehearse(
    config: &EmbeddedConfig,
    engine: &Path,
    journals: &[Journal],
    said: &Said,
) -> Result<(), StoreError> {
    let trial = config.dir.join(TRIAL);
    let failed = io_refused(&config.dir, "the copy on which opening is rehearsed cannot be made");
    remove(&trial).map_err(&failed)?;
    let rehearsed = copy_engine(engine, &trial, journals).map_err(&failed).and_then(|()| {
        let spaces = open_engine(config, &trial, false)?;
        compare(config, &spaces, said, journals)
    });
    remove(&trial).map_err(&failed)?;
    rehearsed
}

fn compare(
    config: &EmbeddedConfig,
    spaces: &Spaces,
    said: &Said,
    journals: &[Journal],
) -> Result<(), StoreError> {
    let dir = &config.dir;
    let broken = journals
        .iter()
        .find_map(|journal| Some(format!("; {}: {}", journal.path.display(), journal.broken.as_ref()?)));
    let lost = |what: String| {
        refused(
            format!(
                "{}: {what}: the store has been damaged or is an older copy{}",
                dir.display(),
                broken.as_deref().unwrap_or_default()
            ),
            format!(
                "restore the directory from a backup; to accept the loss instead, delete {} and start again. \
                 Nothing was changed",
                dir.join(heads::NAME).display()
            ),
        )
    };
    for (log, head) in &said.heads {
        let found = spaces.last_log_row(*log)?.map_or(0, |row| row.last_seq.0);
        if found < head.0 {
            let name = format!("{}/{}", log.service, log.shard);
            return Err(lost(format!(
                "the log {name} ends at {found}, but events up to {head} were acknowledged"
            )));
        }
    }
    let tally = spaces.tally()?;
    if tally < said.commit {
        return Err(lost(format!("{tally} commits are there, but {} were acknowledged", said.commit)));
    }
    Ok(())
}

fn copy_engine(from: &Path, to: &Path, journals: &[Journal]) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_engine(&source, &target, journals)?;
        } else if from.ends_with("tables") {
            // Not every file system links; then the tables are copied, which takes its time.
            fs::hard_link(&source, &target).or_else(|_| fs::copy(&source, &target).map(drop))?;
        } else if let Some(journal) = journals.iter().find(|journal| journal.path == source) {
            copy_whole(journal, &target)?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

fn copy_whole(journal: &Journal, target: &Path) -> io::Result<File> {
    let mut new = File::create(target)?;
    let copied = io::copy(&mut File::open(&journal.path)?.take(journal.whole), &mut new)?;
    if copied == journal.whole { Ok(new) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn renew(engine: &Path, journals: &[Journal]) -> io::Result<()> {
    for journal in journals {
        let new = journal.path.with_extension("renewed");
        copy_whole(journal, &new)?.sync_all()?;
        fs::rename(&new, &journal.path)?;
    }
    sync_folder(engine)
}

fn open_engine(config: &EmbeddedConfig, engine: &Path, serve: bool) -> Result<Spaces, StoreError> {
    let compression = if config.compression { CompressionType::Lz4 } else { CompressionType::None };
    // One is enough for what one committer writes. Of several the first only flushes, and while another compacts it
    // passes every request to compact on to itself, without a pause.
    let threads = 1;
    let opening = || -> fjall::Result<Spaces> {
        let pace = Pace::default();
        let factory: Arc<dyn Factory> = Arc::new(pace.clone());
        let database = Database::builder(engine)
            .cache_size(if serve { config.cache_mib * MIB } else { MIB })
            .journal_compression(compression)
            .max_journaling_size(64 * MIB)
            .manual_journal_persist(true)
            .worker_threads(threads)
            .with_compaction_filter_factories(Arc::new(move |_| Some(Arc::clone(&factory))))
            .open()?;
        Spaces::of_database(database, config, pace)
    };
    let place = config.dir.display();
    // The threads of an engine that was closed let go of its folder a moment after its handle.
    for _ in 0..50 {
        // The engine asserts on some kinds of damage; a panic at opening is damage, not a bug of ours.
        match catch_unwind(AssertUnwindSafe(opening)) {
            Ok(Ok(spaces)) => {
                workers::give_way(threads);
                return Ok(spaces);
            }
            Ok(Err(fjall::Error::Locked)) => std::thread::sleep(Duration::from_millis(20)),
            Ok(Err(fjall::Error::Io(error) | fjall::Error::Storage(LsmError::Io(error))))
                if !means_damage(&error) =>
            {
                return Err(io_refused(&config.dir, "it cannot be opened")(error));
            }
            Ok(Err(error)) => return Err(restore(format!("{place} cannot be opened: {error}"))),
            Err(_) => return Err(restore(format!("{place} is damaged and cannot be opened"))),
        }
    }
    Err(refused(format!("{place} is still held"), "stop the process that holds it"))
}

/// What a store holds.
pub fn found(spaces: &Spaces, shards: ShardCount) -> Result<Said, StoreError> {
    let mut heads = Heads::new();
    for service in Service::ALL {
        for shard in shards.all() {
            let log = LogKey { service, shard };
            if let Some(row) = spaces.last_log_row(log)? {
                heads.insert(log, row.last_seq);
            }
        }
    }
    Ok(Said { commit: spaces.tally()?, heads })
}
