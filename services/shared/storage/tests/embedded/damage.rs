//! What was acknowledged is there, or the store says that it is not: never silently less, never other bytes, never a panic.

use crate::scene::{
    Chance, Contents, all_bytes, append, contents, copy, files, fill, group, log, open, refusal,
};
use p92_kernel::Service;
use p92_storage::conformance::STATE;
use p92_storage::{Embedded, EmbeddedConfig, Engine, Outcome, RowKey, StoreError};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The newest journal, and where its batches end.
fn journal(dir: &Path) -> (PathBuf, u64) {
    let path = files(dir).into_iter().rfind(|path| path.extension().is_some_and(|e| e == "jnl"));
    let path = path.unwrap();
    let bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    (path, end)
}

fn cut(path: &Path, length: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

fn flip(path: &Path, at: u64, mask: u8) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ mask], at).unwrap();
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let at = log(Service::Posting, 2);
    let store = open(dir.path());
    for n in 1..=20 {
        append(&store, at, &group(n, n, 1, 200)).await;
    }
    drop(store);
    let (path, end) = journal(dir.path());
    cut(&path, end - 900);
    let before = all_bytes(dir.path());
    let (problem, advice) = refusal(dir.path());
    assert!(problem.contains("posting/2") && problem.contains("up to 20 were acknowledged"), "{problem}");
    assert!(advice.contains("backup") && advice.contains("heads"), "{advice}");
    assert_eq!(all_bytes(dir.path()), before);
    // The loss is accepted by name, and the log goes on where it ends now.
    fs::remove_file(dir.path().join("heads")).unwrap();
    let store = open(dir.path());
    let rows = crate::scene::read_log(&store, at).await.unwrap();
    assert!(!rows.is_empty() && rows.len() < 20, "{}", rows.len());
    let next = rows.len() as u64 + 1;
    append(&store, at, &group(next, next, 2, 10)).await;
}

#[tokio::test]
async fn state_that_lost_its_end_is_refused_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let token = RowKey::new(STATE.only(), "tokens", "revoked");
    for version in 0..10 {
        let expected = (version > 0).then_some(version);
        store.compare_and_set(&token, expected, vec![9; 100].into()).await.unwrap();
    }
    drop(store);
    let (path, end) = journal(dir.path());
    cut(&path, end - 10);
    let before = all_bytes(dir.path());
    let (problem, _) = refusal(dir.path());
    assert!(problem.contains("commits are there, but"), "{problem}");
    assert_eq!(all_bytes(dir.path()), before);
}

#[tokio::test]
async fn an_older_copy_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store, &mut Chance::new(4), 5, 100).await;
    drop(store);
    let old = tempfile::tempdir().unwrap();
    copy(&dir.path().join("engine"), old.path());
    fill(&open(dir.path()), &mut Chance::new(5), 5, 100).await;
    fs::remove_dir_all(dir.path().join("engine")).unwrap();
    copy(old.path(), &dir.path().join("engine"));
    let (problem, _) = refusal(dir.path());
    assert!(problem.contains("older copy"), "{problem}");
}

/// A batch that was never acknowledged may reach the disk in parts. What came before it stands, whatever the parts are.
#[tokio::test]
async fn a_torn_last_batch_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let at = log(Service::Posting, 2);
    let store = open(dir.path());
    append(&store, at, &group(1, 1, 1, 200)).await;
    drop(store);
    let heads = fs::read(dir.path().join("heads")).unwrap();
    let (path, whole) = journal(dir.path());
    let store = open(dir.path());
    append(&store, at, &group(2, 2, 2, 40_000)).await;
    drop(store);
    // As if the process had ended before it noted, and told, that the second group was synced.
    fs::write(dir.path().join("heads"), heads).unwrap();
    let (_, end) = journal(dir.path());
    let mut chance = Chance::new(6);
    for trial in 0..24 {
        let torn = tempfile::tempdir().unwrap();
        copy(dir.path(), torn.path());
        let path = torn.path().join(path.strip_prefix(dir.path()).unwrap());
        let place = whole + chance.below(end - whole);
        if trial % 2 == 0 {
            cut(&path, place);
        } else {
            // A page that did not reach the disk, though the ones after it did.
            let hole = vec![0; usize::try_from(chance.below(5_000).min(end - place)).unwrap().max(1)];
            OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&hole, place).unwrap();
        }
        let store = open(torn.path());
        let rows = crate::scene::read_log(&store, at).await.unwrap();
        let first = group(1, 1, 1, 200);
        assert!(rows == [first.clone()] || rows == [first, group(2, 2, 2, 40_000)], "{} rows", rows.len());
        append(&store, at, &group(2, 2, 2, 40_000)).await;
        drop(store);
        let store = open(torn.path());
        assert_eq!(crate::scene::read_log(&store, at).await.unwrap().len(), 2);
    }
}

/// The places at which batches of a journal end, by their trailer and what follows it.
fn ends(journal: &[u8]) -> Vec<usize> {
    let places = journal.windows(4).enumerate().filter(|(_, bytes)| bytes == b"FJL\x03");
    places.map(|(at, _)| at + 4).filter(|end| matches!(journal.get(*end), None | Some(0 | 1))).collect()
}

/// A journal is exchanged for a new one at 64 MB; here one is taken apart into two.
#[tokio::test]
async fn journals_must_follow_each_other() {
    let dir = tempfile::tempdir().unwrap();
    fill(&open(dir.path()), &mut Chance::new(9), 10, 100).await;
    let store = open(dir.path());
    let expected = contents(&store).await.unwrap();
    drop(store);
    let (path, _) = journal(dir.path());
    let bytes = fs::read(&path).unwrap();
    let ends = ends(&bytes);
    let middle = ends.len() / 2;
    let newer = path.with_file_name("7.jnl");
    let cases: [(&[u8], usize, bool); 5] = [
        // What the older one holds, where the newer one begins, and whether that is whole.
        (&bytes[..ends[middle]], ends[middle], true),
        (&bytes[..ends[middle] + 20], ends[middle], true),
        (&bytes[..ends[middle - 1]], ends[middle], false),
        (&bytes[..ends[middle] - 10], ends[middle], false),
        (b"\xff", ends[middle], false),
    ];
    for (n, (older, begin, whole)) in cases.into_iter().enumerate() {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        let at = |path: &Path| copied.path().join(path.strip_prefix(dir.path()).unwrap());
        fs::write(at(&path), older).unwrap();
        fs::write(at(&newer), &bytes[begin..]).unwrap();
        let found = verdict(copied.path(), &expected).await;
        assert_eq!(found, Ok(whole), "case {n}");
    }
}

/// Large enough that each keyspace has tables, and that journals hold what no table holds yet.
async fn template(large: bool) -> (TempDir, Contents) {
    let dir = tempfile::tempdir().unwrap();
    let mut chance = Chance::new(7);
    let (memtable_kib, size) = if large { (8 * 1024, 60_000) } else { (64, 800) };
    let config = EmbeddedConfig { memtable_kib, ..EmbeddedConfig::at(dir.path()) };
    fill(&Embedded::open(config).unwrap(), &mut chance, 250, size).await;
    let store = open(dir.path());
    fill(&store, &mut chance, 20, 300).await;
    let contents = contents(&store).await.unwrap();
    (dir, contents)
}

/// Opens a damaged copy. `Ok(true)`: all is there. `Ok(false)`: it said that it is damaged.
async fn verdict(dir: &Path, expected: &Contents) -> Result<bool, String> {
    let before = all_bytes(dir);
    let store = match Embedded::open(EmbeddedConfig::at(dir)) {
        Err(StoreError::Refused { .. }) if all_bytes(dir) == before => return Ok(false),
        Err(StoreError::Refused { problem, .. }) => return Err(format!("refused and changed: {problem}")),
        Err(StoreError::Damaged(_)) => return Ok(false),
        Err(other) => return Err(format!("another error: {other}")),
        Ok(store) => store,
    };
    match contents(&store).await {
        Ok(found) if found == *expected => {
            let at = log(Service::Ranking, 0);
            let appended = store.append(at, &group(1, 1, 1, 10), &[]).await;
            appended.map(|_| true).map_err(|error| format!("whole, but takes no writes: {error}"))
        }
        Ok(_) => Err("other data".to_owned()),
        Err(StoreError::Damaged(_)) => Ok(false),
        Err(error) if error.outcome() == Outcome::NoEffect => Err(format!("another error: {error}")),
        Err(error) => Err(error.to_string()),
    }
}

/// `P92_DAMAGE_TRIALS` asks for more than the usual few per file, `P92_DAMAGE_SEED` for other ones, `P92_DAMAGE_LARGE` for
/// a store of 80 MB.
#[tokio::test]
async fn damaged_files_are_noticed() {
    let ask = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let (trials, seed) = (ask("P92_DAMAGE_TRIALS").unwrap_or(2), ask("P92_DAMAGE_SEED").unwrap_or(8));
    let (template, expected) = template(ask("P92_DAMAGE_LARGE").is_some()).await;
    let mut chance = Chance::new(seed);
    let (mut whole, mut noticed) = (0, 0);
    for path in files(template.path()) {
        let name = path.strip_prefix(template.path()).unwrap();
        let length = fs::metadata(&path).unwrap().len();
        for _ in 0..trials {
            let dir = tempfile::tempdir().unwrap();
            copy(template.path(), dir.path());
            let damaged = dir.path().join(name);
            let place = chance.below(length);
            let what = match (chance.below(4), length) {
                (_, 0) | (3, _) => {
                    cut(&damaged, place);
                    format!("cut at {place}")
                }
                _ => {
                    let mask = 1 << chance.below(8);
                    flip(&damaged, place, mask);
                    format!("byte {place} of {length} flipped by {mask:#x}")
                }
            };
            match verdict(dir.path(), &expected).await {
                Ok(true) => whole += 1,
                Ok(false) => noticed += 1,
                Err(problem) => panic!("{}: {what} (seed {seed}): {problem}", name.display()),
            }
        }
    }
    println!("{whole} whole, {noticed} noticed");
    assert!(noticed > 0 && whole > 0, "{whole} whole, {noticed} noticed");
}
