//! What all hosts of one history share, since they are one process: mail, what was noted, what is broken on purpose.
//!
//! Hosts learn nothing from each other through it. Only the network, the store and those who check afterwards use it.

use crate::calls::{Answered, Asked};
use crate::mail::Mail;
use crate::origin::Origin;
use crate::time::chance;
use crate::weather::Weather;
use bytes::Bytes;
use p92_eventlog::tables;
use p92_kernel::{Seq, digest};
use p92_proto::event::v1::OwnershipRow;
use p92_storage::memory::{Answer, Memory, MemoryConfig, Request};
use p92_storage::{Append, Conditional, GroupId, LogKey, StoreError};
use parking_lot::Mutex;
use prost::Message as _;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The replicas.
pub const HOSTS: [&str; 3] = ["north", "east", "south"];
/// The store's host.
pub const STORE: &str = "store";
/// The clients' host.
pub const CLIENTS: &str = "clients";

/// Ports: of the store and of those who ask it, of the bus, of callers.
pub const STORE_PORT: u16 = 9_042;
pub const BUS_PORT: u16 = 4_222;
pub const CALL_PORT: u16 = 8_093;

/// A process: a host, and how often it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    pub host: usize,
    pub start: u64,
}

/// A request on its way to the store.
#[derive(Debug)]
pub struct ToStore {
    pub from: Process,
    pub number: u64,
    pub request: Request,
}

/// An answer on its way back.
#[derive(Debug)]
pub struct FromStore {
    pub number: u64,
    pub answer: Result<Answer, StoreError>,
}

/// What is broken on purpose about one host.
#[derive(Debug, Default)]
pub struct Trouble {
    /// Nothing of it runs.
    pub paused: AtomicBool,
    /// The store does not hear it about members and ownership: it goes on, and all others think that it is dead.
    pub unheard: AtomicBool,
}

/// Somebody took a log over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Took {
    pub log: LogKey,
    pub epoch: u64,
    pub head: Seq,
}

/// A group that landed.
#[derive(Clone, Copy, Debug)]
pub struct Landed {
    pub log: LogKey,
    pub last_seq: Seq,
    pub at: Duration,
    /// The last epoch under which its process held the log, as the store knew then.
    pub epoch: u64,
}

/// One history.
#[derive(Debug)]
pub struct World {
    pub seed: u64,
    pub origin: &'static Origin,
    pub memory: Arc<Memory>,
    pub requests: Mail<ToStore>,
    pub answers: Mail<FromStore>,
    pub asked: Mail<Asked>,
    pub answered: Mail<Answered>,
    pub hints: Mail<(LogKey, Bytes)>,
    pub trouble: [Trouble; HOSTS.len()],
    /// Set in the end: no more faults.
    pub calm: Arc<AtomicBool>,
    starts: [AtomicU64; HOSTS.len()],
    noted: Arc<Mutex<Noted>>,
    trace: Mutex<Trace>,
}

/// What the store and the replicas noted for those who check.
#[derive(Debug, Default)]
pub struct Noted {
    members: BTreeMap<String, Process>,
    /// Whose group it is.
    groups: BTreeMap<GroupId, Process>,
    epochs: BTreeMap<(LogKey, Process), u64>,
    pub took: Vec<Took>,
    pub landed: BTreeMap<GroupId, Landed>,
}

/// A running number over everything that was asked and answered, and when.
#[derive(Debug, Default)]
struct Trace {
    number: u64,
    lines: u64,
    printed: bool,
}

/// A number that two values have in common if they look the same: equal histories have equal traces.
fn fingerprint(value: &dyn Debug) -> u64 {
    digest::leading_u64(&digest::sha256(format!("{value:?}").as_bytes()))
}

impl World {
    pub fn new(seed: u64, tears: bool, origin: &'static Origin) -> Arc<Self> {
        let calm = Arc::new(AtomicBool::new(false));
        let noted = Arc::new(Mutex::new(Noted::default()));
        let weather = Weather::new(seed, tears, Arc::clone(&calm), Arc::clone(&noted));
        let config = MemoryConfig { atomic: false, faults: Some(Arc::new(weather)) };
        let printed = std::env::var_os("P92_SIMULATION_TRACE").is_some();
        Arc::new(Self {
            seed,
            origin,
            memory: Arc::new(origin.memory.copy(config)),
            requests: Mail::default(),
            answers: Mail::default(),
            asked: Mail::default(),
            answered: Mail::default(),
            hints: Mail::default(),
            trouble: Default::default(),
            calm,
            starts: Default::default(),
            noted,
            trace: Mutex::new(Trace { printed, ..Trace::default() }),
        })
    }

    /// A generator for one purpose of this history.
    pub fn chance(&self, purpose: u64) -> StdRng {
        chance(self.seed, purpose)
    }

    /// A host starts anew.
    pub fn start(&self, host: usize) -> Process {
        Process { host, start: self.starts[host].fetch_add(1, Ordering::SeqCst) + 1 }
    }

    /// Under which name a process is a member.
    pub fn member(&self, member: &str, process: Process) {
        self.noted.lock().members.insert(member.to_owned(), process);
    }

    /// Waits while a host is paused. Whatever it wants of others, and they of it, waits here.
    pub async fn running(&self, host: usize) {
        while self.trouble[host].paused.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Somebody took a log over.
    pub fn took(&self, took: Took) {
        let mut noted = self.noted.lock();
        if !noted.took.contains(&took) {
            noted.took.push(took);
        }
    }

    /// What was noted.
    pub fn noted(&self) -> Noted {
        std::mem::take(&mut *self.noted.lock())
    }

    /// A process asks the store.
    pub fn asks(&self, from: Process, request: &Request) {
        if let Request::Append { row, .. } = request {
            self.noted.lock().groups.insert(row.group, from);
        }
    }

    /// The store has answered.
    pub fn stored(&self, from: Process, request: &Request, answer: &Result<Answer, StoreError>) {
        let at = turmoil::sim_elapsed().unwrap_or_default();
        let (asked, told) = (fingerprint(request), fingerprint(answer));
        self.line(&format_args!("{at:?} {from:?} {asked:x} {told:x}"), &|| {
            format!("{request:?} -> {answer:?}")
        });
    }

    /// Adds a line to the trace.
    pub fn line(&self, line: &dyn Debug, more: &dyn Fn() -> String) {
        let mut trace = self.trace.lock();
        if trace.printed {
            println!("{line:?} {}", more());
        }
        trace.number = trace.number.rotate_left(5) ^ fingerprint(line);
        trace.lines += 1;
    }

    /// The number of the trace, and how many lines it has.
    pub fn trace(&self) -> (u64, u64) {
        let trace = self.trace.lock();
        (trace.number, trace.lines)
    }
}

impl Noted {
    /// Whose name among the members it is.
    pub fn process(&self, member: &str) -> Option<Process> {
        self.members.get(member).copied()
    }

    /// Something has happened in the store, whoever was told.
    pub fn happened(&mut self, at: Duration, request: &Request, answer: &Answer) {
        match (request, answer) {
            (Request::Append { log, row, .. }, Answer::Append(Append::Appended)) => {
                let process = self.groups.get(&row.group);
                let epoch = process.and_then(|process| self.epochs.get(&(*log, *process)).copied());
                let epoch = epoch.unwrap_or(0);
                let landed = Landed { log: *log, last_seq: row.last_seq, at, epoch };
                self.landed.entry(row.group).or_insert(landed);
            }
            (Request::Set { key, value, .. }, Answer::Conditional(Conditional::Applied))
                if key.table.table.name == tables::OWNERSHIP.name =>
            {
                let Ok(row) = OwnershipRow::decode(value.clone()) else { return };
                let Some(process) = self.members.get(&row.member).copied() else { return };
                let log = crate::check::logs()
                    .into_iter()
                    .find(|log| tables::ownership_key(log.service, log.shard) == *key);
                if let Some(log) = log {
                    self.epochs.insert((log, process), row.epoch);
                }
            }
            _ => {}
        }
    }
}
