//! Findings: what was looked at, how bad it is, and what to do. Both the running server and the command that asks it
//! collect them.

use nix::sys::resource::{Resource, getrlimit};
use p92_eventlog::Bus;
use p92_proto::operator::v1::{Finding, Grade};
use std::fs;
use std::time::Duration;

/// Connections, files and sockets of a busy server.
const FILES: u64 = 4_096;
const MIB: u64 = 1024 * 1024;
/// People see that a post comes late from about here.
const SLOW_HINT: Duration = Duration::from_millis(100);
/// Measures are taken so often; the middle one counts.
pub(crate) const TIMES: usize = 5;

pub(crate) fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}

pub(crate) fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// What was found so far.
#[derive(Clone, Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, grade: Grade, subject: &str, found: String, advice: &str) {
        let (subject, advice) = (subject.to_owned(), advice.to_owned());
        self.0.push(Finding { subject, grade: grade.into(), found, advice });
    }

    /// In order.
    pub fn good(&mut self, subject: &str, found: String) {
        self.add(Grade::Good, subject, found, "");
    }

    /// It works, and should not stay so.
    pub fn doubtful(&mut self, subject: &str, found: String, advice: &str) {
        self.add(Grade::Doubtful, subject, found, advice);
    }

    /// It does not work.
    pub fn broken(&mut self, subject: &str, found: String, advice: &str) {
        self.add(Grade::Broken, subject, found, advice);
    }

    /// What somebody else found.
    pub fn extend(&mut self, others: Vec<Finding>) {
        self.0.extend(others);
    }

    /// All of them, in the order in which things were looked at.
    #[must_use]
    pub fn into_list(self) -> Vec<Finding> {
        self.0
    }
}

/// What the system allows this process: open files and memory.
pub fn limits(found: &mut Findings) {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < FILES => {
            let advice = "raise it: ulimit -n 65536, or LimitNOFILE= in the unit";
            found.doubtful("open files", format!("at most {soft} (hard limit {hard})"), advice);
        }
        Ok((soft, _)) => found.good("open files", format!("at most {soft}")),
        Err(error) => {
            let advice = "see that it is 4,096 or more (ulimit -n): each live stream takes one";
            found.doubtful("open files", format!("the limit cannot be read: {error}"), advice);
        }
    }
    match memory() {
        None => {
            let advice = "see that 256 MiB or more are left; a process that runs out is ended by the system";
            found.doubtful("memory", "it cannot be learned on this system".to_owned(), advice);
        }
        Some(free) if free < 256 * MIB => {
            let advice =
                "give it more, or lower store.cache_mib; a process that runs out is ended by the system";
            found.doubtful("memory", format!("{} MiB are left", free / MIB), advice);
        }
        Some(free) => found.good("memory", format!("{} MiB are left", free / MIB)),
    }
}

/// How long hints to other processes take to be answered for, over a bus that is connected.
pub(crate) async fn round_trips(found: &mut Findings, subject: &str, who: &str, bus: &dyn Bus) {
    let mut times = Vec::new();
    while times.len() < TIMES
        && let Some(asked) = bus.round_trip()
    {
        match asked.await {
            Ok(took) => times.push(took),
            Err(problem) => {
                let advice = "nothing is lost: readers read the logs. May this user ask for streams ($JS.API.STREAM.INFO.*), and has the server JetStream?";
                let text = format!("{who} takes this process, and does not answer a question: {problem}");
                return found.doubtful(subject, text, advice);
            }
        }
    }
    graded(found, subject, &format!("{who} takes this process, and answers"), middle(times));
}

/// A way of hints that takes long costs nothing but time.
pub(crate) fn graded(found: &mut Findings, subject: &str, text: &str, took: Duration) {
    let text = format!("{text} within {}", millis(took));
    if took > SLOW_HINT {
        let advice = "nothing is lost by it; timelines are later. Look at the bus and the way to it";
        found.doubtful(subject, text, advice);
    } else {
        found.good(subject, text);
    }
}

/// Bytes that this process could still take: of the machine, and of its control group if it has a limit.
fn memory() -> Option<u64> {
    let of_machine = fs::read_to_string("/proc/meminfo").ok()?;
    let line = of_machine.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let free = line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024;
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let of_group = || {
        Some(number("/sys/fs/cgroup/memory.max")?.saturating_sub(number("/sys/fs/cgroup/memory.current")?))
    };
    Some(of_group().map_or(free, |group| group.min(free)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_allows_is_learned_here() {
        let mut found = Findings::default();
        limits(&mut found);
        let list = found.into_list();
        assert_eq!(list.iter().map(|one| one.subject.as_str()).collect::<Vec<_>>(), ["open files", "memory"]);
        assert!(
            list.iter().all(|one| one.grade() != Grade::Broken && one.found.contains(char::is_numeric)),
            "{list:?}"
        );
    }
}
