//! The server that is measured, and the people on it.

use crate::accounts::{App, Person};
use crate::cpu;
use crate::http1::Client;
use anyhow::Context as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tonic::transport::Channel;

/// Loads are meant here; what strangers may do is limited elsewhere.
const SETTINGS: &str = "[gateway.rates]\naccount = 100000000\naddress = 100000000\n";

/// A running server.
#[derive(Debug)]
pub struct Node {
    child: Child,
    data: PathBuf,
    /// `127.0.0.1:PORT`.
    pub http: String,
    /// From the start of the process to its ready line.
    pub took: Duration,
}

impl Node {
    /// Starts the binary over a directory.
    pub fn start(binary: &Path, data: &Path) -> anyhow::Result<Self> {
        let settings = data.with_extension("toml");
        std::fs::write(&settings, SETTINGS)?;
        let log = std::fs::File::create(data.with_extension("log"))?;
        let began = Instant::now();
        let mut command = Command::new(binary);
        command.args([
            "serve",
            "--json",
            "--http",
            "127.0.0.1:0",
            "--grpc",
            "127.0.0.1:0",
            "--ops",
            "127.0.0.1:0",
        ]);
        command.arg("--data").arg(data).arg("--config").arg(&settings).env_remove("P92_BIN");
        let mut child =
            command.stdout(Stdio::piped()).stderr(log).spawn().context("the server cannot be started")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let took = began.elapsed();
        let ready: serde_json::Value = serde_json::from_str(&line)
            .with_context(|| format!("it did not start; see {}", data.display()))?;
        let url = ready.get("url").and_then(serde_json::Value::as_str).context("no address")?;
        let http = url.trim_start_matches("http://").to_owned();
        Ok(Self { child, data: data.to_owned(), http, took })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory, in MiB.
    pub fn resident(&self) -> anyhow::Result<f64> {
        cpu::resident(self.id())
    }

    /// Resident memory of a server that has nothing to do.
    pub async fn settled(&self, quick: bool) -> anyhow::Result<f64> {
        tokio::time::sleep(Duration::from_secs(if quick { 2 } else { 10 })).await;
        self.resident()
    }

    /// The way to the internal services.
    pub async fn internal(&self) -> anyhow::Result<Channel> {
        p92_node::socket::connect(&self.data).await
    }

    /// Ends it as a power cut would, and starts it again; how long that took.
    pub fn again(mut self, binary: &Path) -> anyhow::Result<Duration> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(Self::start(binary, &self.data)?.took)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Ended already, or given up.
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

/// How long starts take.
#[derive(Clone, Copy, Debug)]
pub struct Starts {
    /// Over a directory that does not exist yet; the median.
    pub empty: Duration,
}

/// Starts the server over new directories.
pub fn starts(binary: &Path, folder: &Path, runs: usize) -> anyhow::Result<Starts> {
    let mut took = Vec::new();
    for run in 0..runs {
        took.push(Node::start(binary, &folder.join(format!("start-{run}")))?.took);
    }
    took.sort();
    Ok(Starts { empty: took.get(took.len() / 2).copied().unwrap_or_default() })
}

/// Everybody in this run.
#[derive(Debug)]
pub struct People {
    pub all: Vec<Person>,
}

impl People {
    /// Makes accounts with tokens; the first one follows all others.
    pub async fn make(node: &Node, count: usize) -> anyhow::Result<Self> {
        let channel = node.internal().await?;
        let app = App::register(&channel).await?;
        let mut all = Vec::new();
        for number in 0..count {
            all.push(app.sign_up(&channel, number).await?);
        }
        let people = Self { all };
        people.follow(node).await?;
        Ok(people)
    }

    async fn follow(&self, node: &Node) -> anyhow::Result<()> {
        let (reader, others) = self.all.split_first().context("nobody")?;
        let mut client = Client::connect(&node.http, &reader.token).await?;
        for other in others {
            client.post(&format!("/api/v1/accounts/{}/follow", other.id), "reblogs=true".to_owned()).await?;
        }
        Ok(())
    }

    /// Who reads: follows everybody else.
    pub fn reader(&self) -> anyhow::Result<&Person> {
        self.all.first().context("nobody")
    }

    /// Those who write, the last one left out.
    pub fn writers(&self) -> &[Person] {
        self.all.get(1..self.all.len().saturating_sub(1)).unwrap_or_default()
    }

    /// Whose posts are awaited.
    pub fn author(&self) -> anyhow::Result<&Person> {
        self.all.last().context("nobody")
    }
}
