//! Findings: what was looked at, how bad it is, and what to do. Both the running server and the command that asks it
//! collect them.

use nix::sys::resource::{Resource, getrlimit};
use p92_proto::operator::v1::{Finding, Grade};
use std::fs;

/// Connections, files and sockets of a busy server.
const FILES: u64 = 4_096;
const MIB: u64 = 1024 * 1024;

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
        Err(error) => found.doubtful("open files", format!("the limit cannot be read: {error}"), ""),
    }
    match memory() {
        None => found.doubtful("memory", "it cannot be learned on this system".to_owned(), ""),
        Some(free) if free < 256 * MIB => {
            let advice =
                "give it more, or lower store.cache_mib; a process that runs out is ended by the system";
            found.doubtful("memory", format!("{} MiB are left", free / MIB), advice);
        }
        Some(free) => found.good("memory", format!("{} MiB are left", free / MIB)),
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
