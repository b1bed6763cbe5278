//! Threads of the engine underneath give way to those that answer. Alone in its process: others open stores meanwhile.
#![cfg(target_os = "linux")]
// A test says by a panic what it expected.
#![allow(clippy::unwrap_used)]

use p92_storage::{Embedded, EmbeddedConfig};
use rustix::process::{Pid, getpriority_process};
use std::time::{Duration, Instant};

#[test]
fn the_engine_gives_way_and_nobody_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(EmbeddedConfig::at(dir.path())).unwrap();
    let own = getpriority_process(None).unwrap();
    let named =
        |name: &str, threads: &[(String, i32)]| threads.iter().any(|(found, _)| found.starts_with(name));
    // A thread takes its name itself, once it runs.
    let since = Instant::now();
    let mut threads = all();
    while !named("committer", &threads) && since.elapsed() < Duration::from_secs(30) {
        std::thread::yield_now();
        threads = all();
    }
    assert!(named("committer", &threads), "{threads:?}");
    let (engine, others): (Vec<_>, Vec<_>) =
        threads.into_iter().partition(|(name, _)| name.starts_with("fjall"));
    assert_eq!(engine.len(), 1, "the engine has one thread, under this name");
    assert!(engine.iter().all(|(_, nice)| *nice == (own + 8).min(19)), "{engine:?}");
    assert!(others.iter().all(|(_, nice)| *nice == own), "{others:?}");
    store.close();
}

/// The threads of this process, by name, and how nice each is.
fn all() -> Vec<(String, i32)> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap);
    let told = threads.filter_map(|thread| {
        let id = thread.file_name().to_str()?.parse().ok()?;
        // One that has just ended is not there any more.
        let name = std::fs::read_to_string(thread.path().join("comm")).ok()?;
        Some((name, getpriority_process(Pid::from_raw(id)).ok()?))
    });
    told.collect()
}
