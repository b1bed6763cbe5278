//! Whose directory it is: made once, held by one, refused when it is foreign, newer or not whole.

use crate::scene::{Chance, all_bytes, append, contents, copy, fill, group, log, open, refusal};
use p92_kernel::{Service, ShardCount};
use p92_storage::{Embedded, EmbeddedConfig, Engine, StoreError};
use std::fs;

#[tokio::test]
async fn everything_is_there_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert!(store.is_fresh());
    let installation = store.installation().to_owned();
    let mut chance = Chance::new(1);
    // Opened again and again, so that rows lie in tables, in old journals and in the newest.
    let mut before = contents(&store).await.unwrap();
    drop(store);
    for _ in 0..3 {
        let store = open(dir.path());
        assert!(!store.is_fresh());
        assert_eq!(store.installation(), installation);
        assert_eq!(contents(&store).await.unwrap(), before);
        fill(&store, &mut chance, 30, 500).await;
        before = contents(&store).await.unwrap();
    }
}

#[tokio::test]
async fn the_shards_are_those_of_the_first_start() {
    let dir = tempfile::tempdir().unwrap();
    for (asked, found) in [(4, 4), (16, 4), (1, 4)] {
        let shards = ShardCount::new(asked).unwrap();
        let store = Embedded::open(EmbeddedConfig { shards, ..EmbeddedConfig::at(dir.path()) }).unwrap();
        assert_eq!(store.shards().get(), found);
    }
}

#[test]
fn two_installations_differ() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_ne!(open(one.path()).installation(), open(two.path()).installation());
}

#[test]
fn a_foreign_directory_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("engine")).unwrap();
    fs::write(dir.path().join("engine/0.jnl"), "precious").unwrap();
    let before = all_bytes(dir.path());
    let (problem, _) = refusal(dir.path());
    assert!(problem.contains("not empty and is not a P92 store"), "{problem}");
    assert_eq!(all_bytes(dir.path()), before);
}

#[tokio::test]
async fn a_store_that_lost_its_marker_is_foreign() {
    let dir = tempfile::tempdir().unwrap();
    fill(&open(dir.path()), &mut Chance::new(2), 3, 10).await;
    fs::remove_file(dir.path().join("p92-store")).unwrap();
    let before = all_bytes(dir.path());
    refusal(dir.path());
    assert_eq!(all_bytes(dir.path()), before);
}

#[tokio::test]
async fn a_store_that_lost_its_engine_is_not_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    fill(&open(dir.path()), &mut Chance::new(2), 3, 10).await;
    for lost in ["engine/version", "engine"] {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        let path = copied.path().join(lost);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap()
        } else {
            fs::remove_file(&path).unwrap()
        }
        let before = all_bytes(copied.path());
        let (_, advice) = refusal(copied.path());
        assert!(advice.contains("backup"), "{advice}");
        assert_eq!(all_bytes(copied.path()), before);
    }
}

#[tokio::test]
async fn a_first_start_that_was_cut_off_begins_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    // The marker gets its name last; before, the engine may have come to any point.
    fs::rename(dir.path().join("p92-store"), dir.path().join("p92-store.new")).unwrap();
    for cut in ["nothing", "engine/version", "engine"] {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        let path = copied.path().join(cut);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap()
        } else {
            drop(fs::remove_file(&path))
        }
        let store = open(copied.path());
        assert!(store.is_fresh());
        append(&store, log(Service::Posting, 1), &group(1, 1, 1, 10)).await;
        drop(store);
        assert!(!open(copied.path()).is_fresh());
    }
}

#[tokio::test]
async fn a_directory_is_held_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, log(Service::Posting, 1), &group(1, 1, 1, 10)).await;
    let before = all_bytes(dir.path());
    let (problem, _) = refusal(dir.path());
    assert!(problem.contains("another P92 is running"), "{problem}");
    if cfg!(target_os = "linux") {
        assert!(problem.contains(&std::process::id().to_string()), "{problem}");
    }
    assert_eq!(all_bytes(dir.path()), before);
    append(&store, log(Service::Posting, 1), &group(2, 2, 2, 10)).await;
    store.close();
    assert!(!open(dir.path()).is_fresh());
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.close();
    store.close();
    let read = store.read_log(log(Service::Posting, 1), p92_kernel::Seq(0), 1).await;
    let write = store.append(log(Service::Posting, 1), &group(1, 1, 1, 1), &[]).await;
    for error in [read.unwrap_err(), write.unwrap_err()] {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        assert_eq!(error.outcome(), p92_storage::Outcome::NoEffect);
    }
}

#[test]
fn a_newer_store_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let marker = dir.path().join("p92-store");
    let text = fs::read_to_string(&marker).unwrap();
    fs::write(&marker, text.replace("format 1", "format 2")).unwrap();
    let before = all_bytes(dir.path());
    let (problem, advice) = refusal(dir.path());
    assert!(problem.contains("newer P92") && advice.contains("newer"), "{problem} {advice}");
    assert_eq!(all_bytes(dir.path()), before);
}

#[tokio::test]
async fn what_a_crash_left_behind_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store, &mut Chance::new(3), 5, 100).await;
    let before = contents(&store).await.unwrap();
    drop(store);
    fs::create_dir_all(dir.path().join("trial/keyspaces/9/tables")).unwrap();
    fs::write(dir.path().join("trial/0.jnl"), "half a copy").unwrap();
    fs::write(dir.path().join("engine/0.renewed"), "half a journal").unwrap();
    fs::write(dir.path().join("probe"), "zeros").unwrap();
    assert_eq!(contents(&open(dir.path())).await.unwrap(), before);
    assert!(!dir.path().join("trial").exists());
}
