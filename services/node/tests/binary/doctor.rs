//! `p92 doctor`: nothing is wrong with a healthy server, and each fault that is planted is found, graded, and comes with
//! what to do about it.

use crate::running::{Running, p92};
use p92_chassis::health::{Health, Needed};
use p92_chassis::shutdown::{Shutdown, Times};
use p92_chassis::transport::Others;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// Of the machine or of how busy it is, and so not for a test to say.
const OF_THE_MACHINE: [&str; 5] = ["open files", "memory", "disk", "store", "bus"];

/// What a run of the doctor said.
struct Told {
    code: Option<i32>,
    findings: Vec<serde_json::Value>,
}

impl Told {
    /// Runs it. Whatever it finds, what is not good comes with advice, and only what is broken fails the command.
    fn by(mut doctor: Command) -> Self {
        let done = doctor.arg("--json").output().unwrap();
        let text = String::from_utf8(done.stdout).unwrap();
        let findings: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(!findings.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
        let told = Self { code: done.status.code(), findings };
        for finding in &told.findings {
            let good = finding["grade"] == "GRADE_GOOD";
            let advice = finding["advice"].as_str().unwrap_or_default();
            assert_eq!(good, advice.is_empty(), "{finding}");
        }
        let broken = told.findings.iter().any(|finding| finding["grade"] == "GRADE_BROKEN");
        assert_eq!(told.code, Some(i32::from(broken)), "{:?}", told.findings);
        told
    }

    fn of(&self, subject: &str) -> Option<&serde_json::Value> {
        self.findings.iter().find(|finding| finding["subject"] == subject)
    }

    /// What it found about a subject; its grade, and its words.
    fn grade(&self, subject: &str) -> (&str, &str) {
        let finding = self.of(subject).unwrap_or_else(|| panic!("{subject} in {:?}", self.findings));
        (finding["grade"].as_str().unwrap(), finding["found"].as_str().unwrap())
    }

    fn is(&self, subject: &str, grade: &str, words: &str) {
        let (is, found) = self.grade(subject);
        assert!(is == grade && found.contains(words), "{subject} is {is}: {found}");
    }

    /// What is broken, and nothing else is.
    fn broken(&self) -> Vec<&str> {
        let broken = self.findings.iter().filter(|finding| finding["grade"] == "GRADE_BROKEN");
        broken.map(|finding| finding["subject"].as_str().unwrap()).collect()
    }
}

/// The doctor of a data directory. Ports are left to the system, so that nothing else of this machine is looked at.
fn of(data: &Path, words: &[&str]) -> Command {
    let mut command = p92(&["doctor"]);
    command.args(words).arg("--data").arg(data);
    for (name, value) in
        [("P92_HTTP", "127.0.0.1:0"), ("P92_GRPC", "127.0.0.1:0"), ("P92_OPS", "127.0.0.1:0")]
    {
        command.env(name, value);
    }
    command
}

/// The doctor of a server that runs, with its addresses.
fn of_running(node: &Running, data: &Path, words: &[&str]) -> Command {
    let mut command = of(data, words);
    command.env("P92_HTTP", &node.http).env("P92_GRPC", &node.grpc).env("P92_OPS", &node.ops);
    command
}

/// A data directory with a store and its keys, which nobody serves.
fn left(dir: &Path) -> (PathBuf, PathBuf) {
    let data = dir.join("data");
    assert!(Running::start(&data, &[]).stop());
    (data, dir.join("data.keys"))
}

/// A place whose connections are closed at once.
fn nobody() -> (TcpListener, String) {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let closing = held.try_clone().unwrap();
    std::thread::spawn(move || while closing.accept().is_ok() {});
    (held, address)
}

/// The doctor beside a cluster: of peers and of what processes share.
fn beside(store: &str, variables: &[(&str, &str)]) -> Told {
    let dir = tempfile::tempdir().unwrap();
    let mut command = of(&dir.path().join("data"), &["--beside"]);
    command.env("P92_STORE__KIND", "cql").env("P92_STORE__CQL__CONTACT_POINTS", format!("[{store:?}]"));
    command.envs(variables.iter().copied());
    Told::by(command)
}

#[test]
fn nothing_is_wrong_with_a_healthy_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let node = Running::start(&data, &[]);
    let told = Told::by(of_running(&node, &data, &[]));
    assert_eq!(told.code, Some(0));
    for finding in &told.findings {
        let of_machine = OF_THE_MACHINE.iter().any(|subject| finding["subject"] == *subject);
        assert!(of_machine || finding["grade"] == "GRADE_GOOD", "{finding}");
    }
    for looked_at in [
        "server",
        "clock",
        "store",
        "schema",
        "bus",
        "keys",
        "slots",
        "readers",
        "quarantine",
        "data directory",
        "disk",
        "key file",
        "http address",
        "grpc address",
        "ops address",
        "public URL",
    ] {
        assert!(told.of(looked_at).is_some(), "{looked_at}");
    }
    told.is("schema", "GRADE_GOOD", "1, as this build");
    told.is("slots", "GRADE_GOOD", "80 of 80");
    assert!(node.stop());
}

#[test]
fn a_key_file_that_others_read_is_doubtful() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let (data, keys) = left(dir.path());
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o644)).unwrap();
    let told = Told::by(of(&data, &[]));
    told.is("key file", "GRADE_DOUBTFUL", "can be read by others");
    assert!(told.of("key file").unwrap()["advice"].as_str().unwrap().contains("chmod 600"));
    assert_eq!(told.code, Some(0), "it works, and should not stay so");
}

#[test]
fn a_key_file_that_is_gone_or_damaged_breaks_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let (data, keys) = left(dir.path());
    std::fs::write(&keys, "nothing").unwrap();
    assert_eq!(Told::by(of(&data, &[])).broken(), ["key file"]);
    std::fs::remove_file(&keys).unwrap();
    let told = Told::by(of(&data, &[]));
    assert_eq!(told.broken(), ["key file"]);
    told.is("key file", "GRADE_BROKEN", keys.to_str().unwrap());
}

#[test]
fn a_disk_below_the_floor_is_broken() {
    let dir = tempfile::tempdir().unwrap();
    let (data, _) = left(dir.path());
    let mut command = of(&data, &[]);
    command.env("P92_STORE__FREE_FLOOR_MIB", "1000000000000");
    let told = Told::by(command);
    assert_eq!(told.broken(), ["disk"]);
    told.is("disk", "GRADE_BROKEN", "writes are refused below 1000000000000");
}

#[test]
fn a_data_directory_that_others_see_is_doubtful() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let (data, _) = left(dir.path());
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    Told::by(of(&data, &[])).is("data directory", "GRADE_DOUBTFUL", "is open to others");
}

#[test]
fn a_port_that_somebody_else_has_is_broken_and_not_when_the_server_is_beside() {
    let dir = tempfile::tempdir().unwrap();
    let (data, _) = left(dir.path());
    let (_held, taken) = nobody();
    let ask = |words: &[&str]| {
        let mut command = of(&data, words);
        command.env("P92_GRPC", &taken);
        Told::by(command)
    };
    let told = ask(&[]);
    assert_eq!(told.broken(), ["grpc address"]);
    told.is("grpc address", "GRADE_BROKEN", &format!("{taken} is taken, and not by this server"));
    let told = ask(&["--beside"]);
    assert!(told.broken().is_empty() && told.of("grpc address").is_none() && told.of("public URL").is_none());
}

#[test]
fn a_listener_that_the_server_does_not_have_is_broken() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let node = Running::start(&data, &[]);
    // Bound and let go of: nobody listens there.
    let other = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut command = of_running(&node, &data, &[]);
    command.env("P92_HTTP", &other);
    let told = Told::by(command);
    assert_eq!(told.broken(), ["http address"]);
    told.is("http address", "GRADE_BROKEN", &other);
    assert!(node.stop());
}

#[test]
fn the_door_is_asked_for_the_first_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let node = Running::start(&data, &[]);
    // As `helm test` asks: the addresses are those of another container.
    let ask = |door: &str, url: &[(&str, &str)]| {
        let mut command = of(&data, &["--beside", "--door", door]);
        command.envs(url.iter().copied());
        Told::by(command)
    };
    let told = ask(&node.http, &[]);
    told.is("door", "GRADE_GOOD", &node.http);
    assert!(told.broken().is_empty() && told.of("http address").is_none(), "{:?}", told.findings);
    let told = ask(&node.http, &[("P92_PUBLIC_URL", "https://social.example")]);
    assert_eq!(told.broken(), ["door"]);
    told.is("door", "GRADE_BROKEN", "knows no server at social.example");
    let (_held, closed) = nobody();
    assert_eq!(ask(&closed, &[]).broken(), ["door"]);
    assert!(node.stop());
}

#[test]
fn a_store_and_a_bus_that_are_away_are_told_each_by_itself() {
    let (_held, store) = nobody();
    let told = beside(&store, &[]);
    told.is("shared store", "GRADE_BROKEN", &store);
    told.is("shared bus", "GRADE_DOUBTFUL", "`local`");
    let (_held, bus) = nobody();
    let told = beside(&store, &[("P92_BUS__KIND", "nats"), ("P92_BUS__URL", &format!("nats://{bus}"))]);
    told.is("shared bus", "GRADE_DOUBTFUL", &bus);
    assert!(!told.broken().contains(&"shared bus"), "nothing is lost without it");
    assert!(told.of("server").is_none(), "nobody is nearer than the peers");
}

/// A process that tells its health at an internal listener, as every service does.
struct Peer {
    health: Health,
    address: String,
    stop: CancellationToken,
}

impl Peer {
    async fn start() -> Self {
        let health = Health::new(Shutdown::new(Times::ALONE));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap().to_string(), CancellationToken::new());
        let routes = Routes::new(health.grpc());
        tokio::spawn(p92_node::serve::internal(listener, routes, Others::default(), None, stop.clone()));
        Self { health, address, stop }
    }
}

/// The doctor asked on a thread of its own, while this one's tasks answer it.
async fn asking(peers: String) -> Told {
    let (_held, store) = nobody();
    let ask = move || beside(&store, &[("P92_PEERS__FEDERATION_DELIVERY", &peers)]);
    tokio::task::spawn_blocking(ask).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_peer_is_asked_how_it_stands() {
    const SUBJECT: &str = "peer federation_delivery";
    let (first, second) = (Peer::start().await, Peer::start().await);
    let (ready, waits) = (
        first.health.condition("a store", Needed::ToServe),
        second.health.condition("a store", Needed::ToServe),
    );
    first.health.complete();
    second.health.complete();
    ready.met();
    let both = format!("[{:?}, {:?}]", first.address, second.address);
    let told = asking(both.clone()).await;
    told.is(SUBJECT, "GRADE_DOUBTFUL", &format!("{} serves, {} is not ready", first.address, second.address));
    waits.met();
    let told = asking(both).await;
    told.is(SUBJECT, "GRADE_GOOD", &format!("{} serves, {} serves", first.address, second.address));
    waits.unmet("it is away");
    let told = asking(format!("[{:?}]", second.address)).await;
    told.is(SUBJECT, "GRADE_BROKEN", "is not ready");
    assert!(told.of(SUBJECT).unwrap()["advice"].as_str().unwrap().contains("p92 health"));
    first.stop.cancel();
    second.stop.cancel();
}

#[test]
fn a_peer_that_does_not_answer_is_broken() {
    const SUBJECT: &str = "peer posting";
    let (_held, store) = nobody();
    let (_mute, closes) = nobody();
    let told = beside(&store, &[("P92_PEERS__POSTING", &format!("[{closes:?}]"))]);
    told.is(SUBJECT, "GRADE_BROKEN", "does not say how it stands");
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let told = beside(&store, &[("P92_PEERS__POSTING", &format!("[{gone:?}]"))]);
    told.is(SUBJECT, "GRADE_BROKEN", "does not answer");
    assert!(told.of(SUBJECT).unwrap()["advice"].as_str().unwrap().contains("p92 serve posting"));
    // An empty label is no name, so no resolver is asked.
    let told = beside(&store, &[("P92_PEERS__POSTING", r#"["..:1"]"#)]);
    told.is(SUBJECT, "GRADE_BROKEN", "does not resolve");
}

#[test]
fn a_part_that_runs_here_is_asked_what_it_waits_for_and_its_own_listeners_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let (_held, store) = nobody();
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (ops, internal) = (free(), free());
    let set = |command: &mut Command| {
        command.env("P92_STORE__KIND", "cql").env("P92_STORE__CQL__CONTACT_POINTS", format!("[{store:?}]"));
        command.env("P92_OPS", &ops).env("P92_INTERNAL__LISTEN", &internal);
        command.env("P92_INTERNAL__ADVERTISE", &internal);
    };
    let ask = || {
        let mut command = of(&dir.path().join("data"), &["identity"]);
        set(&mut command);
        Told::by(command)
    };
    let told = ask();
    told.is("server", "GRADE_DOUBTFUL", &format!("no identity answers at {ops}"));
    told.is("internal address", "GRADE_GOOD", "is free");
    told.is("own address", "GRADE_GOOD", "resolves");
    let mut serve = p92(&["serve", "identity"]);
    set(&mut serve);
    let mut child = serve.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let log = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let waits = log.map(Result::unwrap).find(|line| line.contains("the start waits for the store"));
    assert!(waits.is_some());
    let told = ask();
    told.is("server", "GRADE_BROKEN", "identity runs and is not ready; store: ");
    told.is("internal address", "GRADE_GOOD", &internal);
    told.is("ops address", "GRADE_GOOD", &ops);
    told.is("own address", "GRADE_DOUBTFUL", "does not say how it stands");
    assert!(told.of("http address").is_none(), "identity has none");
    let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn settings_that_are_wrong_and_what_a_part_lacks_are_findings() {
    let mut command = p92(&["doctor"]);
    command.env("P92_STORE__SHARD", "4");
    Told::by(command).is("settings", "GRADE_BROKEN", "store.shard");
    Told::by(p92(&["doctor", "timelines"])).is("settings", "GRADE_BROKEN", "peers.identity");
}
