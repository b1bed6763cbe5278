//! What a backup says of itself: a text that people can read, with a sum of its own.
//!
//! ```text
//! A backup of P92. …
//! format 1
//! installation 00ff…
//! shards 16
//! time 1790000000000
//! position identity 0 118
//! table identity_tokens 12
//! file state-00000 81920 <SHA-256>
//! sum <SHA-256 of all lines before>
//! ```

use super::{BackupError, Origin, Positions};
use p92_kernel::{Millis, Seq, Service, Shard, ShardCount, digest};
use p92_storage::LogKey;
use std::collections::BTreeMap;

/// The layout that this build writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub name: String,
    pub bytes: u64,
    pub sha256: [u8; 32],
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub origin: Origin,
    pub positions: Positions,
    /// How many rows of each table of state.
    pub tables: BTreeMap<String, u64>,
    pub files: Vec<File>,
}

impl Manifest {
    /// How many events.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.positions.values().map(|seq| seq.0).sum()
    }

    /// How many rows of state.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tables.values().sum()
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> String {
        let Origin { installation, shards, time_ms } = &self.origin;
        let mut text = format!(
            "A backup of P92, taken {}. `p92 restore` reads it into an empty store.\n\
             The key file is not in it, and must never lie beside it: whoever has both can read everything. Without the\n\
             key file of this installation, nobody can read what is sealed in here. Media: there are none yet.\n\
             format {FORMAT}\ninstallation {installation}\nshards {}\ntime {time_ms}\n",
            Millis(*time_ms).iso8601(),
            shards.get(),
        );
        for (log, seq) in &self.positions {
            text.push_str(&format!("position {} {} {seq}\n", log.service, log.shard));
        }
        for (table, rows) in &self.tables {
            text.push_str(&format!("table {table} {rows}\n"));
        }
        for file in &self.files {
            text.push_str(&format!("file {} {} {}\n", file.name, file.bytes, hex::encode(file.sha256)));
        }
        text.push_str(&format!("sum {}\n", hex::encode(digest::sha256(text.as_bytes()))));
        text
    }

    /// Reads the text.
    pub fn read(text: &str) -> Result<Self, BackupError> {
        let format = text.lines().find_map(|line| line.strip_prefix("format ")?.parse::<u32>().ok());
        if let Some(newer) = format.filter(|format| *format > FORMAT) {
            return Err(BackupError::refused(
                format!("the backup was written by a newer P92 (format {newer}, this one reads {FORMAT})"),
                "restore it with the newer P92; nothing was written",
            ));
        }
        Self::parse(text).ok_or_else(|| {
            BackupError::refused(
                "the manifest of the backup is damaged",
                "take another copy of it; nothing was written",
            )
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (before, sum) = text.strip_suffix('\n')?.rsplit_once("\nsum ")?;
        let before = format!("{before}\n");
        if hex::decode(sum).ok()? != digest::sha256(before.as_bytes()) {
            return None;
        }
        let (mut installation, mut shards, mut time_ms) = (None, None, None);
        let (mut positions, mut tables, mut files) = (Positions::new(), BTreeMap::new(), Vec::new());
        for line in before.lines() {
            match *line.split(' ').collect::<Vec<_>>().as_slice() {
                ["installation", id] => installation = Some(id.to_owned()),
                ["shards", count] => shards = ShardCount::new(count.parse().ok()?),
                ["time", ms] => time_ms = ms.parse().ok(),
                ["position", service, shard, seq] => {
                    let service = Service::from_name(service)?;
                    let log = LogKey { service, shard: Shard(shard.parse().ok()?) };
                    positions.insert(log, Seq(seq.parse().ok()?));
                }
                ["table", name, rows] => {
                    tables.insert(name.to_owned(), rows.parse().ok()?);
                }
                ["file", name, bytes, sha256] => files.push(File {
                    name: name.to_owned(),
                    bytes: bytes.parse().ok()?,
                    sha256: hex::decode(sha256).ok()?.try_into().ok()?,
                }),
                // Words for people, and `format`, which was read first.
                _ => {}
            }
        }
        let origin = Origin { installation: installation?, shards: shards?, time_ms: time_ms? };
        // A name leads nowhere else.
        let inside = files
            .iter()
            .all(|file| file.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        inside.then_some(Self { origin, positions, tables, files })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let log = LogKey { service: Service::FederationDelivery, shard: Shard(3) };
        Manifest {
            origin: Origin {
                installation: "ab".repeat(16),
                shards: ShardCount::default(),
                time_ms: 1_790_000_000_000,
            },
            positions: Positions::from([(log, Seq(77))]),
            tables: BTreeMap::from([("identity_tokens".to_owned(), 12)]),
            files: vec![File { name: "logs-00000".to_owned(), bytes: 9, sha256: [7; 32] }],
        }
    }

    #[test]
    fn it_reads_what_it_wrote() {
        let text = manifest().text();
        assert_eq!(Manifest::read(&text).unwrap(), manifest());
        assert!(text.contains("position federation_delivery 3 77\n"), "{text}");
    }

    #[test]
    fn whatever_was_changed_is_noticed() {
        let text = manifest().text();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(Manifest::read(&changed).is_err(), "byte {at}");
            assert!(Manifest::read(text.get(..at).unwrap()).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_newer_one_is_told_from_a_damaged_one() {
        let newer = manifest().text().replace("format 1\n", "format 2\n");
        let refused = Manifest::read(&newer).unwrap_err().to_string();
        assert!(refused.contains("newer P92"), "{refused}");
    }
}
