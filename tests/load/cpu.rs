//! CPU time of processes: what "core" is measured in.

use anyhow::Context as _;
use std::time::Duration;

/// CPU time that processes have used so far, those of their threads included.
pub fn used(processes: &[u32]) -> anyhow::Result<Duration> {
    processes.iter().map(|id| of(*id)).sum()
}

/// CPU time of one process to the nanosecond, as the scheduler counts it for each thread; that of threads which have ended
/// is not in it, so it is for processes whose threads stay. Where the kernel does not tell, it is [`used`].
pub fn exactly(id: u32) -> anyhow::Result<Duration> {
    let used = of_threads(id, "")?;
    if used.is_zero() { of(id) } else { Ok(used) }
}

/// The same of those threads of a process whose names contain a word. Where the kernel does not tell, it is nothing.
pub fn of_threads(id: u32, word: &str) -> anyhow::Result<Duration> {
    let threads =
        std::fs::read_dir(format!("/proc/{id}/task")).with_context(|| format!("process {id} is gone"))?;
    let mut nanoseconds = 0;
    for thread in threads {
        let path = thread?.path();
        // A thread may end between the look at the list and this one.
        let Ok(name) = std::fs::read_to_string(path.join("comm")) else { continue };
        let Ok(told) = std::fs::read_to_string(path.join("schedstat")) else { continue };
        if name.contains(word) {
            nanoseconds += told.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0);
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

fn of(id: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))
        .with_context(|| format!("process {id} is gone"))?;
    // The second field is a name in parentheses that may hold spaces; user and system time are the 14th and 15th.
    let rest = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: u64 =
        rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100);
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// Resident memory of a process, in MiB.
pub fn resident(id: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
