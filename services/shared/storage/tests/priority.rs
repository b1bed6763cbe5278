//! Threads of the engine underneath give way to those that answer. Alone in its process: others open stores meanwhile.
#![cfg(target_os = "linux")]

use p92_storage::{Embedded, EmbeddedConfig};
use rustix::process::{Pid, getpriority_process};

#[test]
fn the_engine_gives_way_and_nobody_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(EmbeddedConfig::at(dir.path())).unwrap();
    let own = getpriority_process(None).unwrap();
    let (mut nicer, mut alike) = (0, Vec::new());
    for thread in std::fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap) {
        let id: i32 = thread.file_name().to_str().unwrap().parse().unwrap();
        let name = std::fs::read_to_string(thread.path().join("comm")).unwrap();
        let nice = getpriority_process(Pid::from_raw(id)).unwrap();
        if name.starts_with("fjall") {
            assert_eq!(nice, (own + 8).min(19), "{name}");
            nicer += 1;
        } else {
            alike.push((name, nice));
        }
    }
    assert_eq!(nicer, 1, "the engine has one thread, under this name");
    assert!(alike.iter().any(|(name, _)| name.starts_with("committer")), "{alike:?}");
    assert!(alike.iter().all(|(_, nice)| *nice == own), "{alike:?}");
    store.close();
}
