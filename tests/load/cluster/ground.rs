//! The cluster that is measured: brought up in a directory of its own, asked what it counts, and ended whatever happens.
//!
//! In: a binary, and the programs of `deploy/local`, which are called as an operator calls them. Out: processes by name,
//! and where each is. It refuses to know what is measured.

use super::scrape::Scrape;
use crate::cpu;
use crate::http1::Client;
use anyhow::Context as _;
use indicatif::ProgressBar;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Loads are meant here, and so are a thousand passwords: what strangers may do, and how dear a guess is, is told elsewhere.
const SETTINGS: &str = "[gateway.rates]\naccount = 100000000\naddress = 100000000\n\n\
    [identity.hashing]\nmemory_kib = 64\npasses = 1\nwaiting = 10000\n";

/// Cassandra compiles as it does for an operator. `deploy/local/up` has it start quickly instead, at twice the CPU for each
/// statement from then on.
const JAVA_OPTIONS: &str = "P92_JAVA_OPTIONS";
const COMPILES_WELL: &str = "-XX:+UseSerialGC -XX:-UseDynamicNumberOfCompilerThreads";

/// The services that keep logs, and so ask the store.
pub const SERVICES: [&str; 5] = ["identity", "posting", "timelines", "federation-delivery", "ranking"];

const STORE: &str = "Cassandra";

/// How often it is tried to end a cluster.
const ENDINGS: usize = 3;

/// Calls the programs of `deploy/local`, one at a time, and can be told to stop from elsewhere.
#[derive(Debug)]
struct Hands {
    deploy: PathBuf,
    dir: PathBuf,
    turn: Mutex<()>,
    child: Mutex<Option<Child>>,
    over: AtomicBool,
    ended: AtomicBool,
}

/// Whoever held it has failed, and what it guards is true at every moment.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hands {
    fn command(&self, program: &str, words: &[OsString]) -> Command {
        let mut command = Command::new(self.deploy.join(program));
        // A group of its own: Ctrl-C is for us, and we tell what is to end in which order.
        command.args(words).arg("--dir").arg(&self.dir).process_group(0).stdin(Stdio::null());
        if std::env::var_os(JAVA_OPTIONS).is_none() {
            command.env(JAVA_OPTIONS, COMPILES_WELL);
        }
        command
    }

    /// What a program says on its output. It tells on the error output how far it is, and what is wrong.
    fn run(&self, program: &str, words: &[OsString]) -> anyhow::Result<String> {
        let _turn = lock(&self.turn);
        anyhow::ensure!(!self.over.load(Ordering::Acquire), "the cluster is being ended");
        let mut child = self
            .command(program, words)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be run", self.deploy.join(program).display()))?;
        let output = child.stdout.take();
        *lock(&self.child) = Some(child);
        let mut said = String::new();
        if let Some(mut output) = output {
            output.read_to_string(&mut said)?;
        }
        let status = loop {
            // Looked at and let go of under one lock, so that nobody signals an id that is another's by now.
            let mut child = lock(&self.child);
            let ended = child.as_mut().map_or(Ok(None), Child::try_wait)?;
            if let Some(status) = ended {
                *child = None;
                break status;
            }
            drop(child);
            std::thread::sleep(Duration::from_millis(20));
        };
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        anyhow::ensure!(
            status.success(),
            "{} {} ended with {status}; what it says stands above",
            self.deploy.join(program).display(),
            words.join(" ")
        );
        Ok(said)
    }

    /// Nothing more is begun, and what is being begun is given up.
    fn stop(&self) {
        self.over.store(true, Ordering::Release);
        let pid = lock(&self.child).as_ref().and_then(|child| i32::try_from(child.id()).ok());
        if let Some(pid) = pid {
            // As by Ctrl-C: what it began is noted, or ended by itself.
            let _sent = kill(Pid::from_raw(pid), Signal::SIGINT);
        }
    }

    /// Ends the cluster and removes what it wrote, once.
    fn end(&self) -> anyhow::Result<()> {
        self.stop();
        let _turn = lock(&self.turn);
        if self.ended.load(Ordering::Acquire) || !self.dir.exists() {
            return Ok(());
        }
        let mut told = String::new();
        for _ in 0..ENDINGS {
            let status = self.command("down", &["--wipe".into()]).stdout(Stdio::null()).status();
            match status {
                Ok(status) if status.success() => {
                    self.ended.store(true, Ordering::Release);
                    return Ok(());
                }
                // The signal that ends us may have been meant for all that we began, and have met this too.
                Ok(status) => told = status.to_string(),
                Err(error) => told = error.to_string(),
            }
        }
        anyhow::bail!(
            "the cluster was not ended: {told}\n  what to do: {} --wipe --dir {}",
            self.deploy.join("down").display(),
            self.dir.display()
        )
    }
}

/// When the store syncs what it acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Commitlog {
    /// Before it answers, those of 5 ms together: what P92 promises
    Group,
    /// Before it answers, at once
    Batch,
    /// Every ten seconds: a node that is killed forgets what it has acknowledged
    Periodic,
}

impl Commitlog {
    const fn word(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Batch => "batch",
            Self::Periodic => "periodic",
        }
    }
}

/// The cluster.
#[derive(Debug)]
pub struct Ground {
    hands: Arc<Hands>,
    commitlog: Commitlog,
    binary: PathBuf,
    settings: PathBuf,
    bar: ProgressBar,
    told: Value,
}

impl Ground {
    /// Where it will be; nothing is started yet.
    pub fn new(
        deploy: &Path,
        commitlog: Commitlog,
        binary: &Path,
        folder: &Path,
        bar: ProgressBar,
    ) -> anyhow::Result<Self> {
        let deploy = deploy.canonicalize().with_context(|| {
            format!("{} is not there\n  what to do: run it at the root of the checkout", deploy.display())
        })?;
        let settings = folder.join("p92.toml");
        std::fs::write(&settings, SETTINGS)?;
        let hands = Hands {
            deploy,
            dir: folder.canonicalize()?.join("cluster"),
            turn: Mutex::default(),
            child: Mutex::default(),
            over: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        };
        let binary = binary.canonicalize()?;
        Ok(Self { hands: Arc::new(hands), commitlog, binary, settings, bar, told: Value::Null })
    }

    /// How it can be ended by hand.
    pub fn way_out(&self) -> String {
        format!("{} --wipe --dir {}", self.hands.deploy.join("down").display(), self.hands.dir.display())
    }

    async fn call(&self, program: &'static str, words: Vec<OsString>) -> anyhow::Result<String> {
        let (hands, bar) = (Arc::clone(&self.hands), self.bar.clone());
        // It draws lines of its own, and takes as long as it takes.
        tokio::task::spawn_blocking(move || bar.suspend(|| hands.run(program, &words))).await?
    }

    /// Starts what is missing of a cluster with so many replicas of timelines, and two of everything else.
    pub async fn up(&mut self, timelines: usize) -> anyhow::Result<()> {
        let mut words: Vec<OsString> = ["up", "--json", "--commitlog", self.commitlog.word(), "--of"]
            .into_iter()
            .map(Into::into)
            .collect();
        words.push(format!("timelines={timelines}").into());
        words.extend([OsStr::new("--binary").into(), self.binary.clone().into()]);
        words.extend([OsStr::new("--settings").into(), self.settings.clone().into()]);
        self.told = serde_json::from_str(&self.call("cluster.py", words).await?)?;
        Ok(())
    }

    /// Signals processes at one moment: by one call of a program each, the first would be ahead of the others.
    pub fn signal(&self, names: &[String], which: Signal) -> anyhow::Result<()> {
        for name in names {
            let pid = self.pid(name)?;
            // Its command line names its directory, so an id that is another's by now is noticed.
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let ours = String::from_utf8_lossy(&words).contains(&*self.hands.dir.to_string_lossy());
            anyhow::ensure!(
                ours,
                "{name} has ended\n  what to do: look at its log below {}",
                self.hands.dir.display()
            );
            kill(Pid::from_raw(i32::try_from(pid)?), which)?;
        }
        Ok(())
    }

    /// Does something with one process: `stop`, `start`, `restart`.
    pub async fn one(&mut self, action: &str, name: &str) -> anyhow::Result<()> {
        self.call("cluster.py", vec![action.into(), name.into()]).await?;
        let told = self.call("cluster.py", vec!["status".into(), "--json".into()]).await?;
        self.told = serde_json::from_str(&told)?;
        Ok(())
    }

    /// Nothing more is begun, and what is being begun is given up.
    pub fn stop(&self) {
        self.hands.stop();
    }

    /// Ends it and removes what it wrote.
    pub fn end(&self) -> anyhow::Result<()> {
        self.hands.end()
    }

    /// The replicas of a role that run.
    pub fn all_of(&self, role: &str) -> Vec<String> {
        let processes = self.told.get("processes").and_then(Value::as_object);
        let runs = |one: &Value| one.get("pid").is_some_and(Value::is_u64);
        let is_one = |name: &str| name.rsplit_once('-').is_some_and(|(of, _)| of == role);
        let all = processes.into_iter().flatten();
        all.filter(|(name, one)| is_one(name) && runs(one)).map(|(name, _)| name.clone()).collect()
    }

    fn process(&self, name: &str) -> Option<&Value> {
        self.told.get("processes")?.get(name)
    }

    /// The id of a process.
    pub fn pid(&self, name: &str) -> anyhow::Result<u32> {
        id_of(self.process(name)).with_context(|| format!("{name} does not run"))
    }

    /// Where a listener of a process is.
    pub fn address(&self, name: &str, listener: &str) -> anyhow::Result<String> {
        let address = self.process(name).and_then(|one| one.get(listener)).and_then(Value::as_str);
        address.map(str::to_owned).with_context(|| format!("{name} has no {listener} listener"))
    }

    /// Where the replicas of a role listen.
    pub fn addresses(&self, role: &str, listener: &str) -> anyhow::Result<Vec<String>> {
        self.all_of(role).iter().map(|name| self.address(name, listener)).collect()
    }

    /// Where the store is.
    pub fn store(&self) -> anyhow::Result<String> {
        let first = self.told.get("store").and_then(|nodes| nodes.get(0));
        let address = first.and_then(|node| node.get("address")).and_then(Value::as_str);
        address.map(str::to_owned).context("the store is nowhere")
    }

    /// Where the bus is: `address`, or the `monitor` that tells what it has counted.
    pub fn bus(&self, what: &str) -> anyhow::Result<String> {
        let address = self.told.get("bus").and_then(|bus| bus.get(what)).and_then(Value::as_str);
        address.map(str::to_owned).with_context(|| format!("NATS has no {what}"))
    }

    /// Roles with the ids of their processes; the store and the bus are roles too.
    pub fn roles(&self) -> anyhow::Result<Vec<(&'static str, Vec<u32>)>> {
        let mut roles = Vec::new();
        for role in ["gateway"].into_iter().chain(SERVICES) {
            let pids = self.all_of(role).iter().map(|name| self.pid(name)).collect::<Result<_, _>>()?;
            roles.push((role, pids));
        }
        let nodes = self.told.get("store").and_then(Value::as_array);
        roles.push((STORE, nodes.into_iter().flatten().filter_map(|node| id_of(Some(node))).collect()));
        roles.push(("NATS", id_of(self.told.get("bus")).into_iter().collect()));
        Ok(roles)
    }

    /// CPU time that the compilers of the store's nodes have used so far.
    pub fn compiled(&self) -> anyhow::Result<Duration> {
        let roles = self.roles()?;
        let nodes = roles.iter().filter(|(role, _)| *role == STORE).flat_map(|(_, pids)| pids);
        let used: Duration =
            nodes.map(|id| cpu::of_threads(*id, "CompilerThre")).sum::<anyhow::Result<_>>()?;
        anyhow::ensure!(!used.is_zero(), "what the store's compiler uses cannot be seen in /proc");
        Ok(used)
    }

    /// What a process tells of itself.
    pub async fn scrape(&self, name: &str) -> anyhow::Result<Scrape> {
        let text = Client::connect(&self.address(name, "ops")?, "").await?.get("/metrics").await?;
        Ok(Scrape(String::from_utf8_lossy(&text).into_owned()))
    }
}

fn id_of(one: Option<&Value>) -> Option<u32> {
    one?.get("pid")?.as_u64().and_then(|pid| u32::try_from(pid).ok())
}

impl Drop for Ground {
    fn drop(&mut self) {
        // Ended already, unless something went wrong that nobody foresaw.
        if let Err(error) = self.end() {
            eprintln!("{error:#}");
        }
    }
}
