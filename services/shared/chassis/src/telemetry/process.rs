//! What the process itself uses: memory, descriptors, processor time, tasks.
//!
//! Read from `/proc` when asked; where there is none, nothing is told rather than something wrong.

use super::fields;
use opentelemetry::global;
use opentelemetry::metrics::Meter;
use std::time::Instant;

/// Ticks of `/proc/self/stat` in a second: USER_HZ, which is 100 on every architecture that we build for (proc(5)).
const TICKS: f64 = 100.0;

/// Makes the instruments. They live as long as the meter's provider.
pub(super) fn observe(runtime: Option<tokio::runtime::Handle>) {
    let meter = global::meter(fields::SCOPE);
    let started = Instant::now();
    gauge(&meter, "p92_process_resident_bytes", "Memory that is in use", resident);
    gauge(&meter, "p92_process_open_fds", "Open file descriptors", open_fds);
    gauge(&meter, "p92_process_uptime_seconds", "Time since the start", move || {
        Some(started.elapsed().as_secs())
    });
    if let Some(runtime) = runtime {
        gauge(&meter, "p92_process_tasks", "Tasks that have not ended", move || {
            u64::try_from(runtime.metrics().num_alive_tasks()).ok()
        });
    }
    let _cpu = meter
        .f64_observable_counter("p92_process_cpu_seconds")
        .with_description("Processor time, of user and system together")
        .with_callback(|observer| {
            if let Some(seconds) = cpu() {
                observer.observe(seconds, &[]);
            }
        })
        .build();
}

fn gauge(
    meter: &Meter,
    name: &'static str,
    about: &'static str,
    read: impl Fn() -> Option<u64> + Send + Sync + 'static,
) {
    let _gauge = meter
        .u64_observable_gauge(name)
        .with_description(about)
        .with_callback(move |observer| {
            if let Some(value) = read() {
                observer.observe(value, &[]);
            }
        })
        .build();
}

fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

fn open_fds() -> Option<u64> {
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is the directory that is being read.
    u64::try_from(count.saturating_sub(1)).ok()
}

fn cpu() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold spaces; what follows it does not.
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_ascii_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn linux_tells() {
        assert!(resident().unwrap() > 100_000);
        let file = tempfile::tempfile().unwrap();
        assert!(open_fds().unwrap() >= 1);
        drop(file);
        assert!(cpu().unwrap() >= 0.0);
    }
}
