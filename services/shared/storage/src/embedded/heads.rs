//! The side file: the number of the last synced commit and the head of each log, written after each sync, itself not
//! synced.
//!
//! Its only use is at opening: a store that is behind this file has lost what was acknowledged, by a truncated journal or
//! a copied-back old file. A file that is behind, torn or gone says nothing and refuses nothing.

use crate::engine::LogKey;
use p92_kernel::{Seq, Service, Shard, digest};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The heads of logs.
pub type Heads = BTreeMap<LogKey, Seq>;

/// What was acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The number of a commit that was synced, and so is every one before.
    pub commit: u64,
    pub heads: Heads,
}

/// Its name in the directory.
pub const NAME: &str = "heads";

/// Two places, written in turn, so that a torn write leaves the other one whole. Room for 1,024 shards.
const PLACE: u64 = 128 * 1024;

/// The open side file.
#[derive(Debug)]
pub struct HeadsFile {
    file: File,
    /// Which place is written next.
    place: u64,
}

impl HeadsFile {
    /// Opens it for writing, and notes what was found in the store.
    pub fn open(dir: &Path, found: &Said) -> io::Result<Self> {
        let file =
            OpenOptions::new().write(true).read(true).create(true).truncate(false).open(dir.join(NAME))?;
        let newest = newest(&file)?.map_or(1, |(place, _)| place);
        let mut heads = Self { file, place: 1 - newest };
        heads.write(found)?;
        Ok(heads)
    }

    /// Notes what was acknowledged.
    pub fn write(&mut self, said: &Said) -> io::Result<()> {
        let mut body = Vec::with_capacity(64 + said.heads.len() * 11);
        body.extend_from_slice(&said.commit.to_be_bytes());
        body.extend_from_slice(&u32::try_from(said.heads.len()).unwrap_or(0).to_be_bytes());
        for (log, seq) in &said.heads {
            body.push(number(log.service));
            body.extend_from_slice(&log.shard.0.to_be_bytes());
            body.extend_from_slice(&seq.0.to_be_bytes());
        }
        let sum = digest::leading_u64(&digest::sha256(&body));
        body.extend_from_slice(&sum.to_be_bytes());
        self.file.write_all_at(&body, self.place * PLACE)?;
        self.place = 1 - self.place;
        Ok(())
    }

    /// Makes it durable: worth it once, when the store is closed.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn number(service: Service) -> u8 {
    u8::try_from(Service::ALL.iter().position(|one| *one == service).unwrap_or(0)).unwrap_or(0)
}

/// What the file in a directory says; nothing if there is none.
pub fn read(dir: &Path) -> io::Result<Said> {
    match File::open(dir.join(NAME)) {
        Ok(file) => Ok(newest(&file)?.map(|(_, said)| said).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Said::default()),
        Err(error) => Err(error),
    }
}

/// The newer of the two places, of those that are whole.
fn newest(file: &File) -> io::Result<Option<(u64, Said)>> {
    let mut best: Option<(u64, Said)> = None;
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
        if let Some(said) = parse(&bytes)
            && best.as_ref().is_none_or(|(_, newest)| said.commit > newest.commit)
        {
            best = Some((place, said));
        }
    }
    Ok(best)
}

fn parse(bytes: &[u8]) -> Option<Said> {
    let (commit, rest) = bytes.split_first_chunk::<8>()?;
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
        .then_some(Said { commit: u64::from_be_bytes(*commit), heads })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(commit: u64) -> Said {
        let log = LogKey { service: Service::Ranking, shard: Shard(1_023) };
        Said { commit, heads: Heads::from([(log, Seq(commit * 3))]) }
    }

    #[test]
    fn the_newer_whole_place_counts() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), Said::default());
        let mut file = HeadsFile::open(dir.path(), &said(1)).unwrap();
        for commit in [2, 5, 6] {
            file.write(&said(commit)).unwrap();
            assert_eq!(read(dir.path()).unwrap(), said(commit));
        }
        // A torn write of the next one leaves the last.
        file.file.write_all_at(&[0xff; 20], file.place * PLACE).unwrap();
        assert_eq!(read(dir.path()).unwrap(), said(6));
        file.file.write_all_at(&[0xff; 20], (1 - file.place) * PLACE).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Said::default());
    }

    #[test]
    fn a_file_opened_again_never_overwrites_its_only_whole_place() {
        let dir = tempfile::tempdir().unwrap();
        drop(HeadsFile::open(dir.path(), &said(9)).unwrap());
        let file = HeadsFile::open(dir.path(), &said(9)).unwrap();
        file.file.write_all_at(&[0xff; 20], file.place * PLACE).unwrap();
        assert_eq!(read(dir.path()).unwrap(), said(9));
    }
}
