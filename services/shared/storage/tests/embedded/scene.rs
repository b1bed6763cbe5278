//! What the tests share: a store with known contents, a look at all bytes of a directory, seeded chance.

use p92_kernel::{Seq, Service, Shard, digest};
use p92_storage::conformance::{STATE, STREAMS, VIEW};
use p92_storage::{
    Append, Embedded, EmbeddedConfig, Engine, LogKey, LogRow, ProjectedBatch, ProjectedWrite, RowKey, Side,
    StoreError, TableRef, TableRow, Write,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Opens, or panics.
pub fn open(dir: &Path) -> Arc<Embedded> {
    Embedded::open(EmbeddedConfig::at(dir)).unwrap()
}

/// The refusal of an opening.
pub fn refusal(dir: &Path) -> (String, String) {
    match Embedded::open(EmbeddedConfig::at(dir)) {
        Err(StoreError::Refused { problem, advice }) => (problem, advice),
        other => panic!("not refused: {other:?}"),
    }
}

pub const fn log(service: Service, shard: u16) -> LogKey {
    LogKey { service, shard: Shard(shard) }
}

pub fn group(first: u64, last: u64, id: u8, size: usize) -> LogRow {
    LogRow { first_seq: Seq(first), last_seq: Seq(last), group: [id; 16], events: vec![id; size].into() }
}

pub async fn append(store: &Embedded, log: LogKey, row: &LogRow) {
    assert_eq!(store.append(log, row, &[]).await.unwrap(), Append::Appended);
}

pub fn put(table: TableRef, partition: &str, n: u64, value: Vec<u8>) -> Write {
    let key = RowKey::new(table, partition.to_owned(), n.to_be_bytes().to_vec());
    Write { key, value: Some(value.into()) }
}

/// A seeded source of numbers (xorshift).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n.max(1)
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }
}

/// Everything that a store holds, as far as the tests write it.
#[derive(Debug, PartialEq, Eq)]
pub struct Contents {
    pub logs: BTreeMap<LogKey, Vec<LogRow>>,
    pub tables: Vec<Vec<TableRow>>,
}

fn tables() -> [TableRef; 4] {
    [STATE.only(), STREAMS.only(), VIEW.side(Side::A), VIEW.side(Side::B)]
}

pub async fn read_log(store: &Embedded, log: LogKey) -> Result<Vec<LogRow>, StoreError> {
    let mut rows: Vec<LogRow> = Vec::new();
    loop {
        let after = rows.last().map_or(Seq(0), |row| row.last_seq);
        let part = store.read_log(log, after, 1 << 20).await?;
        if part.is_empty() {
            return Ok(rows);
        }
        rows.extend(part);
    }
}

pub async fn contents(store: &Embedded) -> Result<Contents, StoreError> {
    let mut logs = BTreeMap::new();
    for service in Service::ALL {
        for shard in 0..3 {
            logs.insert(log(service, shard), read_log(store, log(service, shard)).await?);
        }
    }
    let mut all = Vec::new();
    for table in tables() {
        let mut rows = Vec::new();
        let mut after = None;
        loop {
            let page = store.scan_table(table, after.as_ref(), 1_000).await?;
            rows.extend(page.rows);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        all.push(rows);
    }
    Ok(Contents { logs, tables: all })
}

/// Some of everything: rows of each class, conditional ones, projections, logs; `size` bytes each.
pub async fn fill(store: &Embedded, chance: &mut Chance, rounds: u64, size: usize) {
    let at = log(Service::Posting, 1);
    let mut head = read_log(store, at).await.unwrap().last().map_or(0, |row| row.last_seq.0);
    for n in 0..rounds {
        for table in [STATE.only(), STREAMS.only()] {
            store.write(vec![put(table, "rows", head, chance.bytes(size))]).await.unwrap();
        }
        let row = LogRow { events: chance.bytes(size).into(), ..group(head + 1, head + 2, 7, 0) };
        append(store, at, &row).await;
        let checkpoint = RowKey::new(STATE.only(), "checkpoint", "c");
        let from = Seq(store.get(&checkpoint).await.unwrap().map_or(0, |row| row.stamp));
        head += 2;
        let writes = [Side::A, Side::B].map(|side| {
            let write = put(VIEW.side(side), "view", n % 40, chance.bytes(size));
            ProjectedWrite { key: write.key, value: write.value, at: Seq(head) }
        });
        let batch = ProjectedBatch { checkpoint, from, to: Seq(head), writes: writes.to_vec(), note: None };
        store.project(batch).await.unwrap();
    }
    let slot = RowKey::new(STATE.only(), "slot", "s");
    let version = store.get(&slot).await.unwrap().map(|row| row.stamp);
    store.compare_and_set(&slot, version, "held".into()).await.unwrap();
    let identity = log(Service::Identity, 0);
    let head = read_log(store, identity).await.unwrap().last().map_or(0, |row| row.last_seq.0);
    append(store, identity, &group(head + 1, head + 1, 9, 50)).await;
}

/// The files below a directory, in order.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// A digest of every file below a directory.
pub fn all_bytes(dir: &Path) -> BTreeMap<PathBuf, [u8; 32]> {
    files(dir).into_iter().map(|path| (path.clone(), digest::sha256(&fs::read(path).unwrap()))).collect()
}

/// A copy of a directory.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (source, target) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if source.is_dir() {
            copy(&source, &target);
        } else {
            fs::copy(&source, &target).unwrap();
        }
    }
}
