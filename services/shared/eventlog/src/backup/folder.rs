//! The files of a backup: records with their lengths in front, in pieces with a checksum each, and the manifest.
//!
//! A backup is written beside its place and renamed when everything is synced, so what stands under its name is whole.
//! Before anything is restored, every byte of it is read and held against the manifest.

use super::manifest::{File, Manifest};
use super::{BackupError, Origin, Positions};
use aws_lc_rs::digest::{Context, SHA256};
use p92_kernel::{Seq, Service, Shard};
use p92_proto::event::v1::BackupRecord;
use p92_proto::event::v1::backup_record::Record;
use p92_storage::LogKey;
use prost::Message;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write as _};
use std::path::{Path, PathBuf};

/// The manifest's name. It is written last.
const MANIFEST: &str = "p92-backup";
/// A file is closed when it has this many bytes.
const FILE_BYTES: u64 = 64 * 1024 * 1024;
/// No record is larger: a group has at most 512 KiB of events, a row of state less.
const RECORD_BYTES: u64 = 16 * 1024 * 1024;

/// The two kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    State,
    Logs,
}

impl Kind {
    const fn of(record: &Record) -> Self {
        match record {
            Record::Log(_) => Self::Logs,
            Record::State(_) | Record::Checkpoint(_) => Self::State,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Logs => "logs",
        }
    }
}

/// What records add up to. Writer and reader count in the same way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    heads: Positions,
    tables: BTreeMap<String, u64>,
}

impl Tally {
    /// False if the record cannot stand where it does.
    fn add(&mut self, record: &Record) -> bool {
        match record {
            Record::Log(row) => {
                let Some(log) = log_of(&row.service, row.shard) else { return false };
                let head = self.heads.entry(log).or_default();
                let follows = row.first_seq == head.next().0 && row.last_seq >= row.first_seq;
                *head = Seq(row.last_seq);
                follows
            }
            Record::State(row) => {
                *self.tables.entry(row.table.clone()).or_default() += 1;
                true
            }
            Record::Checkpoint(one) => log_of(&one.service, one.shard).is_some(),
        }
    }
}

/// The log that a record names.
pub(super) fn log_of(service: &str, shard: u32) -> Option<LogKey> {
    Some(LogKey { service: Service::from_name(service)?, shard: Shard(u16::try_from(shard).ok()?) })
}

struct Open {
    name: String,
    path: PathBuf,
    file: BufWriter<fs::File>,
    hash: Context,
    bytes: u64,
}

/// A backup that is being written. Dropped before it is finished, it leaves nothing.
pub struct Draft {
    place: PathBuf,
    part: PathBuf,
    origin: Origin,
    open: BTreeMap<Kind, Open>,
    files: Vec<File>,
    tally: Tally,
    finished: bool,
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Draft {
    /// Begins a backup that will stand at `place`, where nothing is yet.
    pub fn begin(place: &Path, origin: Origin) -> Result<Self, BackupError> {
        check_place(place)?;
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = place.with_file_name(name);
        clear_part(&part)?;
        fs::create_dir_all(&part).map_err(BackupError::io(&part, "made"))?;
        let (open, files, tally) = (BTreeMap::new(), Vec::new(), Tally::default());
        Ok(Self { place: place.to_owned(), part, origin, open, files, tally, finished: false })
    }

    /// Adds a record.
    pub fn add(&mut self, record: &BackupRecord) -> Result<(), BackupError> {
        let Some(inner) = &record.record else {
            return Err(BackupError::refused(
                "the server gave out a record that this P92 does not know",
                "take the backup with the P92 that serves",
            ));
        };
        let kind = Kind::of(inner);
        if !self.tally.add(inner) {
            return Err(BackupError::refused(
                "the server gave out a row of a log that does not follow on the one before",
                "look for damage: p92 doctor; then run the backup again",
            ));
        }
        let mut open = match self.open.remove(&kind) {
            Some(open) => open,
            None => self.file(kind)?,
        };
        let bytes = record.encode_length_delimited_to_vec();
        open.file.write_all(&bytes).map_err(BackupError::io(&open.path, "written"))?;
        open.hash.update(&bytes);
        open.bytes += bytes.len() as u64;
        if open.bytes >= FILE_BYTES {
            return self.close(open);
        }
        self.open.insert(kind, open);
        Ok(())
    }

    fn file(&self, kind: Kind) -> Result<Open, BackupError> {
        let before = self.files.iter().filter(|file| file.name.starts_with(kind.name())).count();
        let name = format!("{}-{before:05}", kind.name());
        let path = self.part.join(&name);
        let file = fs::File::create_new(&path).map_err(BackupError::io(&path, "made"))?;
        Ok(Open { name, path, file: BufWriter::new(file), hash: Context::new(&SHA256), bytes: 0 })
    }

    fn close(&mut self, open: Open) -> Result<(), BackupError> {
        let Open { name, path, file, hash, bytes } = open;
        let written = BackupError::io(&path, "written");
        let file = file.into_inner().map_err(|error| written(error.into_error()))?;
        file.sync_all().map_err(BackupError::io(&path, "synced"))?;
        self.files.push(File { name, bytes, sha256: sum(hash) });
        Ok(())
    }

    /// Bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let open: u64 = self.open.values().map(|open| open.bytes).sum();
        self.files.iter().map(|file| file.bytes).sum::<u64>() + open
    }

    /// Events written so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.tally.heads.values().map(|head| head.0).sum()
    }

    /// Makes it a backup, if it is whole up to these positions.
    pub fn finish(mut self, positions: &Positions) -> Result<Manifest, BackupError> {
        if *positions != self.tally.heads {
            return Err(BackupError::refused(
                "the server's positions are not where the logs end that it gave out",
                "run the backup again",
            ));
        }
        for open in std::mem::take(&mut self.open).into_values() {
            self.close(open)?;
        }
        self.files.sort_by(|a, b| a.name.cmp(&b.name));
        let manifest = Manifest {
            origin: self.origin.clone(),
            positions: positions.clone(),
            tables: std::mem::take(&mut self.tally.tables),
            files: std::mem::take(&mut self.files),
        };
        let path = self.part.join(MANIFEST);
        let mut file = fs::File::create_new(&path).map_err(BackupError::io(&path, "made"))?;
        file.write_all(manifest.text().as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(BackupError::io(&path, "written"))?;
        sync_folder(&self.part)?;
        check_place(&self.place)?;
        fs::rename(&self.part, &self.place).map_err(BackupError::io(&self.place, "put in its place"))?;
        self.finished = true;
        sync_folder(parent(&self.place))?;
        Ok(manifest)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.finished {
            // If it stays, the next backup to this place removes it.
            let _ = fs::remove_dir_all(&self.part);
        }
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn sync_folder(folder: &Path) -> Result<(), BackupError> {
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(BackupError::io(folder, "synced"))
}

fn check_place(place: &Path) -> Result<(), BackupError> {
    if place.file_name().is_none() {
        let problem = format!("{} is no name for a backup", place.display());
        return Err(BackupError::refused(problem, "name a directory that does not exist yet"));
    }
    let empty = match fs::read_dir(place) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    if empty {
        return Ok(());
    }
    let problem = format!("{} is there already", place.display());
    Err(BackupError::refused(problem, "name a directory that does not exist yet, or move that one away"))
}

/// Removes what a backup left that was cut off, and nothing else.
fn clear_part(part: &Path) -> Result<(), BackupError> {
    let failed = BackupError::io(part, "cleared");
    let entries = match fs::read_dir(part) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let name = entry.map_err(&failed)?.file_name().to_string_lossy().into_owned();
        let ours =
            name == MANIFEST || [Kind::State, Kind::Logs].iter().any(|kind| name.starts_with(kind.name()));
        if !ours {
            let problem = format!("{} holds what no backup left there: {name}", part.display());
            return Err(BackupError::refused(problem, "move it away, or name another directory"));
        }
    }
    fs::remove_dir_all(part).map_err(failed)
}

fn sum(hash: Context) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(hash.finish().as_ref()) {
        *to = *from;
    }
    out
}

/// A backup of which every byte was read and found as the manifest says.
#[derive(Debug)]
pub struct Backup {
    folder: PathBuf,
    manifest: Manifest,
}

impl Backup {
    /// Reads all of it. `watch` is told bytes read and bytes there are.
    pub fn open(folder: &Path, watch: &dyn Fn(u64, u64)) -> Result<Self, BackupError> {
        let path = folder.join(MANIFEST);
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let problem = format!("{} is no backup: it has no {MANIFEST}", folder.display());
                return Err(BackupError::refused(
                    problem,
                    "name the directory that `p92 backup` made; nothing was written",
                ));
            }
            Err(error) => return Err(BackupError::io(&path, "read")(error)),
        };
        let backup = Self { folder: folder.to_owned(), manifest: Manifest::read(&text)? };
        backup.check(watch)?;
        Ok(backup)
    }

    /// What it says of itself.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn check(&self, watch: &dyn Fn(u64, u64)) -> Result<(), BackupError> {
        let total = self.manifest.files.iter().map(|file| file.bytes).sum();
        let (mut done, mut tally) = (0, Tally::default());
        for file in &self.manifest.files {
            let path = self.folder.join(&file.name);
            let found = match fs::metadata(&path) {
                Ok(found) => found.len(),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(damaged(&path, "is missing".to_owned()));
                }
                Err(error) => return Err(BackupError::io(&path, "read")(error)),
            };
            if found != file.bytes {
                return Err(damaged(&path, format!("has {found} bytes, not {}", file.bytes)));
            }
            let mut records = Records::open(&path)?;
            let mut in_order = true;
            while let Some(record) = records.read()? {
                in_order &= record.record.is_some_and(|record| tally.add(&record));
                watch(done + records.read, total);
            }
            if sum(records.hash) != file.sha256 {
                return Err(damaged(&path, "is not what was written".to_owned()));
            }
            if !in_order {
                return Err(damaged(&path, "holds a record that does not belong there".to_owned()));
            }
            done += file.bytes;
            watch(done, total);
        }
        if tally.heads != self.manifest.positions || tally.tables != self.manifest.tables {
            return Err(damaged(&self.folder, "does not hold what its manifest says".to_owned()));
        }
        Ok(())
    }

    /// Its rows of state and checkpoints.
    pub fn state(&self) -> impl Iterator<Item = Result<BackupRecord, BackupError>> + '_ {
        self.records(Kind::State)
    }

    /// Its rows of logs, those of each log in order.
    pub fn logs(&self) -> impl Iterator<Item = Result<BackupRecord, BackupError>> + '_ {
        self.records(Kind::Logs)
    }

    fn records(&self, kind: Kind) -> impl Iterator<Item = Result<BackupRecord, BackupError>> + '_ {
        let files = self.manifest.files.iter().filter(move |file| file.name.starts_with(kind.name()));
        files.flat_map(|file| match Records::open(&self.folder.join(&file.name)) {
            Ok(records) => Whole::Records(records),
            Err(error) => Whole::Failed(Some(error)),
        })
    }
}

fn damaged(path: &Path, problem: String) -> BackupError {
    let problem = format!("the backup is damaged: {} {problem}", path.display());
    BackupError::refused(problem, "take another copy of it; nothing was written")
}

enum Whole {
    Records(Records),
    Failed(Option<BackupError>),
}

impl Iterator for Whole {
    type Item = Result<BackupRecord, BackupError>;
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Records(records) => records.next(),
            Self::Failed(error) => error.take().map(Err),
        }
    }
}

/// The records of one file.
struct Records {
    path: PathBuf,
    file: BufReader<fs::File>,
    hash: Context,
    /// Bytes of records so far.
    read: u64,
}

impl Records {
    fn open(path: &Path) -> Result<Self, BackupError> {
        let file = fs::File::open(path).map_err(BackupError::io(path, "read"))?;
        let file = BufReader::with_capacity(256 * 1024, file);
        Ok(Self { path: path.to_owned(), file, hash: Context::new(&SHA256), read: 0 })
    }

    /// The length of the next record, seven bits a byte, the lowest first; `None` at the end of the file.
    fn length(&mut self) -> Result<Option<u64>, BackupError> {
        let mut length = 0_u64;
        for at in 0..10 {
            let mut byte = [0; 1];
            let read = self.file.read(&mut byte).map_err(BackupError::io(&self.path, "read"))?;
            if read == 0 && at == 0 {
                return Ok(None);
            }
            self.hash.update(byte.get(..read).unwrap_or_default());
            let [bits] = byte;
            length |= u64::from(bits & 0x7f) << (7 * at).min(63);
            if read == 1 && bits < 0x80 {
                return Ok(Some(length));
            }
            if read == 0 {
                break;
            }
        }
        Err(damaged(&self.path, "ends within a record".to_owned()))
    }

    fn read(&mut self) -> Result<Option<BackupRecord>, BackupError> {
        let Some(length) = self.length()? else { return Ok(None) };
        if length > RECORD_BYTES {
            return Err(damaged(&self.path, format!("holds a record of {length} bytes")));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.file.read_exact(&mut bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => damaged(&self.path, "ends within a record".to_owned()),
            _ => BackupError::io(&self.path, "read")(error),
        })?;
        self.hash.update(&bytes);
        self.read += length;
        let record = BackupRecord::decode(prost::bytes::Bytes::from(bytes));
        record.map(Some).map_err(|error| damaged(&self.path, format!("holds what is no record: {error}")))
    }
}

impl Iterator for Records {
    type Item = Result<BackupRecord, BackupError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
