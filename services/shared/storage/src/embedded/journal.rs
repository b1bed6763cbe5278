//! A look at the journals of the engine underneath, before it opens them and without changing them.
//!
//! In: a journal. Out: how far it holds whole batches, and which commits. The engine's own recovery is not enough for us:
//! - it cuts a journal at the first record that it cannot read, silently, even in the middle;
//! - it refuses to open at all when the last batch, never acknowledged, reached the disk with a hole in it, which an
//!   ordinary power cut can do: pages of one write reach the disk in any order;
//! - the head of a batch, with its sequence number, stands outside its checksum.
//!
//! A journal is a row of batches, numbers little-endian: `1 · items u32 · sequence u64`, then items `2 · kind u8 ·
//! compression u8 · keyspace u64 · key length u16 · value length u32 · stored length u32 · key · value` (or, never written
//! here, `4 · keyspace u64`), then `3 · xxh3 of the items u64 · "FJL" 3`. Behind them zeros: space kept for more.

use super::layout;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

const TRAILER: [u8; 4] = *b"FJL\x03";

/// What a journal holds.
#[derive(Debug)]
pub struct Journal {
    pub path: PathBuf,
    pub id: u64,
    /// Bytes of whole batches from its beginning.
    pub whole: u64,
    /// The first and the last commit in them.
    pub commits: Option<(u64, u64)>,
    /// What is wrong behind them, if it is not just unused space.
    pub broken: Option<String>,
}

/// The journals of an engine, oldest first.
pub fn inspect_all(engine: &Path) -> io::Result<Vec<Journal>> {
    let mut journals = Vec::new();
    for entry in std::fs::read_dir(engine)? {
        let path = entry?.path();
        let id = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse().ok());
        if let Some(id) = id {
            journals.push(inspect(path, id)?);
        }
    }
    journals.sort_by_key(|journal| journal.id);
    Ok(journals)
}

fn inspect(path: PathBuf, id: u64) -> io::Result<Journal> {
    let file = File::open(&path)?;
    let size = file.metadata()?.len();
    let mut reader = Reader { from: BufReader::with_capacity(256 * 1024, file), at: 0, size };
    let mut journal = Journal { path, id, whole: 0, commits: None, broken: None };
    let mut last_sequence = None;
    loop {
        match reader.batch() {
            Ok(None) => return Ok(journal),
            Ok(Some(batch)) => {
                if let Err(problem) = fits(&batch, last_sequence, journal.commits) {
                    journal.broken = Some(format!("{problem}, at byte {}", journal.whole));
                    return Ok(journal);
                }
                last_sequence = Some(batch.sequence);
                if let Some((commit, _)) = batch.tally {
                    journal.commits = Some((journal.commits.map_or(commit, |(first, _)| first), commit));
                }
                journal.whole = reader.at;
            }
            Err(Stop::Broken(problem)) => {
                journal.broken = Some(format!("{problem}, at byte {}", journal.whole));
                return Ok(journal);
            }
            Err(Stop::Io(error)) => return Err(error),
        }
    }
}

/// Sequence numbers rise, and each lies between the floors that its own batch and the next one carry in their checksums;
/// commits are counted one by one.
fn fits(batch: &Batch, last_sequence: Option<u64>, commits: Option<(u64, u64)>) -> Result<(), &'static str> {
    let floor = batch.tally.map_or(0, |(_, floor)| floor);
    if batch.sequence < floor
        || last_sequence.is_some_and(|last| last >= batch.sequence || floor <= last && floor > 0)
    {
        return Err("a sequence number that cannot be");
    }
    match (batch.tally, commits) {
        (Some((commit, _)), Some((_, last))) if commit != last + 1 => Err("commits are missing"),
        _ => Ok(()),
    }
}

struct Batch {
    sequence: u64,
    tally: Option<(u64, u64)>,
}

enum Stop {
    Broken(&'static str),
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Broken("it ends inside a batch"),
            _ => Self::Io(error),
        }
    }
}

struct Reader<R> {
    from: R,
    at: u64,
    size: u64,
}

impl<R: Read> Reader<R> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut out = [0; N];
        self.from.read_exact(&mut out)?;
        self.at += N as u64;
        Ok(out)
    }

    fn bytes(&mut self, length: u64) -> Result<Vec<u8>, Stop> {
        // A damaged length must not become an allocation.
        if length > self.size.saturating_sub(self.at) {
            return Err(Stop::Broken("a length beyond its end"));
        }
        let mut out = vec![0; usize::try_from(length).unwrap_or(0)];
        self.from.read_exact(&mut out)?;
        self.at += length;
        Ok(out)
    }

    /// The next batch; `None` at the end or where nothing but zeros follows.
    fn batch(&mut self) -> Result<Option<Batch>, Stop> {
        if self.at == self.size {
            return Ok(None);
        }
        match self.take()? {
            [1] => {}
            [0] => return self.unused(),
            _ => return Err(Stop::Broken("no batch begins")),
        }
        let items = u32::from_le_bytes(self.take()?);
        let sequence = u64::from_le_bytes(self.take()?);
        let mut sum = Xxh3::new();
        let mut tally = None;
        for _ in 0..items {
            match self.take()? {
                [2] => self.item(&mut sum, &mut tally)?,
                [4] => {
                    sum.update(&[4]);
                    sum.update(&self.take::<8>()?);
                }
                _ => return Err(Stop::Broken("no item begins")),
            }
        }
        if self.take()? != [3] {
            return Err(Stop::Broken("a batch does not end"));
        }
        if u64::from_le_bytes(self.take()?) != sum.digest() || self.take()? != TRAILER {
            return Err(Stop::Broken("a checksum does not match"));
        }
        Ok(Some(Batch { sequence, tally }))
    }

    fn item(&mut self, sum: &mut Xxh3, tally: &mut Option<(u64, u64)>) -> Result<(), Stop> {
        let head: [u8; 20] = self.take()?;
        let [_, compression, _, _, _, _, _, _, _, _, k0, k1, v0, v1, v2, v3, s0, s1, s2, s3] = head;
        let value_length = u32::from_le_bytes([v0, v1, v2, v3]);
        let stored_length = u32::from_le_bytes([s0, s1, s2, s3]);
        // Nothing here grows by more than a value may: a batch holds a few MiB.
        if compression > 1 || value_length > 1 << 30 || (compression == 0 && value_length != stored_length) {
            return Err(Stop::Broken("an item that cannot be"));
        }
        let key = self.bytes(u64::from(u16::from_le_bytes([k0, k1])))?;
        let value = self.bytes(u64::from(stored_length))?;
        sum.update(&[2]);
        sum.update(&head);
        sum.update(&key);
        sum.update(&value);
        if key == layout::TALLY {
            *tally = layout::read_tally(&value);
        }
        Ok(())
    }

    /// Nothing but zeros may follow.
    fn unused(&mut self) -> Result<Option<Batch>, Stop> {
        // Compared chunk by chunk: up to 64 MiB of them are usual.
        const ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];
        let mut chunk = ZEROS;
        loop {
            match self.from.read(&mut chunk)? {
                0 => return Ok(None),
                n if chunk.get(..n) == ZEROS.get(..n) => {}
                _ => return Err(Stop::Broken("unused space is not empty")),
            }
        }
    }
}
