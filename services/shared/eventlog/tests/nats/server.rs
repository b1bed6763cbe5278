//! A NATS server of a test's own, which ends with it; and what a test asks it past the bus.

use async_nats::jetstream;
use p92_eventlog::NatsBus;
use p92_eventlog::bus::nats::{BusKey, BusState, NatsConfig};
use p92_kernel::ShardCount;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than anything here may take.
pub const LONG: Duration = Duration::from_secs(30);

/// A server, running or not. Its port stays, so that it can be found again after a restart.
pub struct Server {
    folder: TempDir,
    port: u16,
    monitor: Option<u16>,
    arguments: Vec<String>,
    child: Option<Child>,
}

/// A port that the system gives to nobody who asks for any, such as the server's own monitor or the end of a connection
/// that goes out; it would be taken before the server has it, or while it is away.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        // Below where the system's own begin (ip(7), `ip_local_port_range`; other systems begin higher). Two runs at once
        // begin at different places.
        let port = 10_000 + u16::try_from((std::process::id() * 97 + next) % 22_000).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Server {
    /// One that runs.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// One that runs, with these arguments besides.
    pub async fn start_with(arguments: &[String]) -> Self {
        let mut server = Self::away();
        server.arguments = arguments.to_vec();
        server.run().await;
        server
    }

    /// One that does not run yet, on a port where nobody listens.
    pub fn away() -> Self {
        let port = free_port();
        Self { folder: TempDir::new().unwrap(), port, monitor: None, arguments: Vec::new(), child: None }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn arguments(&mut self, arguments: &[String]) {
        self.arguments = arguments.to_vec();
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs it, and waits until it answers.
    pub async fn run(&mut self) {
        let Some(program) = std::env::var_os("P92_TEST_NATS_SERVER") else {
            panic!(
                "P92_TEST_NATS_SERVER must name a nats-server of 2.12 or later; \
                 `python3 deploy/local/nats.py get` gets one and prints where it is"
            )
        };
        let ports = self.folder.path().join("ports");
        let _none = std::fs::remove_dir_all(&ports);
        std::fs::create_dir(&ports).unwrap();
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let child = Command::new(&program)
            .args(["-a", "127.0.0.1", "-js", "-m", "-1", "-p", &self.port.to_string()])
            .arg("--store_dir")
            .arg(self.data())
            .arg("--ports_file_dir")
            .arg(&ports)
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{program:?} cannot be run: {error}"));
        let file = ports.join(format!("nats-server_{}.ports", child.id()));
        self.child = Some(child);
        let answers = async {
            loop {
                let told = std::fs::read_to_string(&file).unwrap_or_default();
                if let Some(monitor) = port_of(&told, "monitoring")
                    && TcpStream::connect(self.address()).await.is_ok()
                {
                    return monitor;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let answers = tokio::time::timeout(LONG, answers).await;
        let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        self.monitor = Some(answers.unwrap_or_else(|_| panic!("the server does not answer: {}", log())));
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Takes its data away while it does not run.
    pub fn wipe(&self) {
        assert!(self.child.is_none(), "it runs");
        std::fs::remove_dir_all(self.data()).unwrap();
    }

    /// Sends a signal by name, for those that leave it alive.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// The server's own count of messages that came in and went out, its answers to us included.
    pub async fn messages(&self) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.monitor.unwrap())).await.unwrap();
        stream.write_all(b"GET /varz HTTP/1.0\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let number = |name: &str| -> u64 {
            let rest = text.split_once(&format!("\"{name}\":")).unwrap().1.trim_start();
            rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
        };
        number("in_msgs") + number("out_msgs")
    }

    /// The server past the bus.
    pub async fn client(&self) -> async_nats::Client {
        async_nats::connect(self.address()).await.unwrap()
    }

    /// The same, for its streams.
    pub async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.client().await)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The port of the first address under that name in a ports file.
fn port_of(told: &str, name: &str) -> Option<u16> {
    let list = told.split_once(&format!("\"{name}\""))?.1.split_once(']')?.0;
    let address = list.split('"').find(|part| part.contains("://"))?;
    address.rsplit_once(':')?.1.parse().ok()
}

pub fn shards() -> ShardCount {
    ShardCount::new(2).unwrap()
}

/// The key of the installation whose messages are tried here.
pub const KEY: [u8; 32] = [7; 32];

pub fn config(server: &Server) -> NatsConfig {
    NatsConfig::at(vec![server.address()], "test-1", BusKey::new(&KEY))
}

/// A bus on that server, for two shards.
pub async fn bus(server: &Server) -> Arc<NatsBus> {
    NatsBus::connect(config(server), shards()).await.unwrap()
}

/// Waits until the bus says so; the words with which it came to be.
pub async fn until(bus: &NatsBus, is: impl Fn(&BusState) -> bool) -> String {
    let mut state = bus.state();
    let waited = tokio::time::timeout(LONG, state.wait_for(|state| is(state))).await;
    match waited {
        Ok(state) => state.unwrap().to_string(),
        Err(_) => panic!("the bus says: {}", *bus.state().borrow()),
    }
}

pub async fn connected(bus: &NatsBus) {
    until(bus, |state| *state == BusState::Connected).await;
}

/// Waits until the bus waits for something that these words name.
pub async fn waiting(bus: &NatsBus, words: &str) -> String {
    until(bus, |state| matches!(state, BusState::Waiting(said) if said.contains(words))).await
}

/// Waits until it holds, asked again and again.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let asked = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, asked).await.is_ok(), "{what}");
}
