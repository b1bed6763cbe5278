//! The engine's own threads: flushing and compaction give way to whoever waits for an answer.
//!
//! They come in bursts of hundreds of milliseconds, and on a machine that is half busy everybody would wait behind them.
//! They still get their share of a full one, and a writer waits for them before they fall far behind (`committer`). It
//! must not know what they do.

/// Added to the niceness of the process: a sixth of the weight of a thread that answers (sched(7)). At 15 it starved under
/// load, and a start afterwards took four seconds.
#[cfg(target_os = "linux")]
const NICER: i32 = 8;

/// Lets the `count` threads that an engine has just begun give way. Where that is not to be had, all stay alike.
#[cfg(target_os = "linux")]
pub fn give_way(count: usize) {
    use std::time::Duration;
    let mut moved = 0;
    // A new thread takes its name itself, once it runs: on a busy machine that is not at once.
    for _ in 0..2_000 {
        moved += engine_threads().into_iter().filter(|thread| make_nicer(*thread)).count();
        if moved >= count {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    tracing::debug!(moved, count, "not all threads of the engine give way");
}

/// Whether a thread gives way from now on and did not before. Linux keeps a niceness for each thread, under its id.
#[cfg(target_os = "linux")]
fn make_nicer(thread: i32) -> bool {
    use rustix::process::{Pid, getpriority_process, setpriority_process};
    let wanted = getpriority_process(None).unwrap_or_default().saturating_add(NICER).min(19);
    let Some(id) = Pid::from_raw(thread) else { return false };
    let before = getpriority_process(Some(id)).unwrap_or(wanted);
    before < wanted && setpriority_process(Some(id), wanted).is_ok()
}

/// Elsewhere the scheduler is not asked.
#[cfg(not(target_os = "linux"))]
pub fn give_way(_count: usize) {}

/// The threads that the engine underneath has begun, by the name that it gives them.
#[cfg(target_os = "linux")]
fn engine_threads() -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let named = threads.flatten().filter(|thread| {
        std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name.starts_with("fjall:"))
    });
    named.filter_map(|thread| thread.file_name().to_str()?.parse().ok()).collect()
}
