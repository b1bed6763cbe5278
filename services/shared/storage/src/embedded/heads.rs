//! The side file: the head of each log after each synced batch, itself not synced.
//!
//! Its only use is at opening: a log that is shorter than this file says has lost what was acknowledged, by a truncated
//! journal or a copied-back old file. A file that is behind, torn or gone says nothing and refuses nothing.

use crate::engine::LogKey;
use p92_kernel::{Seq, Service, Shard, digest};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The heads of logs.
pub type Heads = BTreeMap<LogKey, Seq>;

/// Its name in the directory.
pub const NAME: &str = "heads";

/// Two places, written in turn, so that a torn write leaves the other one whole.
const PLACE: u64 = 128 * 1024;

/// The open side file.
#[derive(Debug)]
pub struct HeadsFile {
    file: File,
    generation: u64,
}

impl HeadsFile {
    /// Opens it for writing.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let file =
            OpenOptions::new().write(true).read(true).create(true).truncate(false).open(dir.join(NAME))?;
        let generation = read_file(&file)?.map_or(0, |(generation, _)| generation);
        Ok(Self { file, generation })
    }

    /// Notes the heads.
    pub fn write(&mut self, heads: &Heads) -> io::Result<()> {
        self.generation += 1;
        let mut body = Vec::with_capacity(64 + heads.len() * 11);
        body.extend_from_slice(&self.generation.to_be_bytes());
        body.extend_from_slice(&u32::try_from(heads.len()).unwrap_or(0).to_be_bytes());
        for (log, seq) in heads {
            body.push(number(log.service));
            body.extend_from_slice(&log.shard.0.to_be_bytes());
            body.extend_from_slice(&seq.0.to_be_bytes());
        }
        let sum = digest::leading_u64(&digest::sha256(&body));
        body.extend_from_slice(&sum.to_be_bytes());
        self.file.write_all_at(&body, (self.generation % 2) * PLACE)
    }
}

fn number(service: Service) -> u8 {
    u8::try_from(Service::ALL.iter().position(|one| *one == service).unwrap_or(0)).unwrap_or(0)
}

/// What the file in a directory says; empty if there is none.
pub fn read(dir: &Path) -> io::Result<Heads> {
    match File::open(dir.join(NAME)) {
        Ok(file) => Ok(read_file(&file)?.map(|(_, heads)| heads).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Heads::new()),
        Err(error) => Err(error),
    }
}

fn read_file(file: &File) -> io::Result<Option<(u64, Heads)>> {
    let mut best: Option<(u64, Heads)> = None;
    for place in 0..2 {
        let mut bytes = vec![0; usize::try_from(PLACE).unwrap_or(0)];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, place * PLACE + filled as u64)? {
                0 => break,
                n => filled += n,
            }
        }
        bytes.truncate(filled);
        if let Some(found) = parse(&bytes)
            && best.as_ref().is_none_or(|(generation, _)| found.0 > *generation)
        {
            best = Some(found);
        }
    }
    Ok(best)
}

fn parse(bytes: &[u8]) -> Option<(u64, Heads)> {
    let (generation, rest) = bytes.split_first_chunk::<8>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut heads = Heads::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let ([service], after) = rest.split_first_chunk::<1>()?;
        let (shard, after) = after.split_first_chunk::<2>()?;
        let (seq, after) = after.split_first_chunk::<8>()?;
        let service = *Service::ALL.get(usize::from(*service))?;
        heads.insert(
            LogKey { service, shard: Shard(u16::from_be_bytes(*shard)) },
            Seq(u64::from_be_bytes(*seq)),
        );
        rest = after;
    }
    let (sum, _) = rest.split_first_chunk::<8>()?;
    let body = bytes.get(..bytes.len() - rest.len())?;
    (digest::leading_u64(&digest::sha256(body)) == u64::from_be_bytes(*sum))
        .then_some((u64::from_be_bytes(*generation), heads))
}
