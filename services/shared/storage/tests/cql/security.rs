//! Who we are to the store, and whom we believe: a server of its own with passwords and certificates on both sides.
//!
//! Started by `deploy/local/cassandra.py`, since the server of the run asks nobody for anything.

use p92_storage::conformance::{STATE, TABLES};
use p92_storage::cql::{CqlTls, CqlUser, OpenError, Password, Step, migrate};
use p92_storage::{CqlConfig, CqlEngine, Engine, RowKey, StoreError};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

fn launcher() -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).unwrap();
    let mut command = Command::new("python3");
    command.arg(root.join("deploy/local/cassandra.py")).stdin(Stdio::null());
    command
}

struct Server {
    dir: TempDir,
    address: String,
}

impl Server {
    fn start(files: &Files) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = launcher();
        command.args(["start", "--authenticate", "--tls-require-client", "--dir"]).arg(dir.path());
        command.arg("--tls-identity").arg(&files.server).arg("--tls-ca").arg(&files.authority);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let address = text.split("\"address\": \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        Self { dir, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stopped =
            launcher().args(["stop", "--kill", "--dir"]).arg(self.dir.path()).stdout(Stdio::null()).status();
        assert!(stopped.is_ok_and(|status| status.success()), "the server was not stopped");
    }
}

struct Files {
    authority: PathBuf,
    /// Certificate and key of the server.
    server: PathBuf,
    client: (PathBuf, PathBuf),
    /// The same, but for its time, which is over.
    expired: (PathBuf, PathBuf),
    /// Of an authority that nobody believes.
    strangers: PathBuf,
    stranger: (PathBuf, PathBuf),
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn files(dir: &Path) -> Files {
    let (ours, strangers) = (authority("ours"), authority("strangers"));
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let signed = |name: &str, by: &CertifiedIssuer<'static, KeyPair>, until: i32| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        (params.signed_by(&key, by).unwrap().pem(), key.serialize_pem())
    };
    // The server's certificate bears a name and not its address.
    let (certificate, key) = signed("store.example", &ours, 4_096);
    let server = write("server.pem", format!("{key}{certificate}{}", ours.pem()));
    let pair = |name: &str, by: &CertifiedIssuer<'static, KeyPair>, until: i32| {
        let (certificate, key) = signed("client.example", by, until);
        (write(&format!("{name}.pem"), certificate), write(&format!("{name}-key.pem"), key))
    };
    Files {
        client: pair("client", &ours, 4_096),
        expired: pair("expired", &ours, 2_020),
        stranger: pair("stranger", &strangers, 4_096),
        authority: write("ours.pem", ours.pem()),
        strangers: write("strangers.pem", strangers.pem()),
        server,
    }
}

async fn refusal(config: &CqlConfig) -> StoreError {
    match CqlEngine::open(config, &TABLES).await {
        Err(OpenError::Store(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_is_known_comes_in_and_only_who_is_believed_is_spoken_to() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let server = Server::start(&files);
    let mut config = CqlConfig::at([server.address.clone()]);
    config.replication = 1;
    config.user = Some(CqlUser { name: "cassandra".to_owned(), password: Password::fixed("cassandra") });
    let tls = CqlTls {
        authority: files.authority.clone(),
        identity: Some(files.client.clone()),
        server_name: Some("store.example".to_owned()),
    };
    config.tls = Some(tls.clone());
    migrate(&config, &TABLES, Step::Expand).await.unwrap();
    let engine = CqlEngine::open(&config, &TABLES).await.unwrap();
    let key = RowKey::new(STATE.only(), "p", "c");
    engine.insert_if_absent(&key, "v".into()).await.unwrap();
    assert!(engine.get(&key).await.unwrap().is_some());

    let with = |tls: CqlTls| CqlConfig { tls: Some(tls), ..config.clone() };
    let mut wrong = config.clone();
    wrong.user = Some(CqlUser { name: "cassandra".to_owned(), password: Password::fixed("guessed") });
    let error = refusal(&wrong).await;
    assert!(matches!(error, StoreError::Refused { .. }), "{error}");
    assert!(!format!("{error} {wrong:?}").contains("guessed"), "a password is told");
    let error = refusal(&CqlConfig { user: None, ..config.clone() }).await;
    assert!(matches!(error, StoreError::Refused { .. }), "{error}");

    let unbelieved = [
        // Not encrypted at all.
        CqlConfig { tls: None, ..config.clone() },
        // Another authority, the address instead of the name, another name.
        with(CqlTls { authority: files.strangers.clone(), ..tls.clone() }),
        with(CqlTls { server_name: None, ..tls.clone() }),
        with(CqlTls { server_name: Some("other.example".to_owned()), ..tls.clone() }),
        // The server does not believe us.
        with(CqlTls { identity: None, ..tls.clone() }),
        with(CqlTls { identity: Some(files.stranger.clone()), ..tls.clone() }),
        with(CqlTls { identity: Some(files.expired.clone()), ..tls.clone() }),
    ];
    for config in unbelieved {
        let error = refusal(&config).await;
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    }
    let missing = with(CqlTls { authority: folder.path().join("none.pem"), ..tls.clone() });
    let error = refusal(&missing).await;
    assert!(matches!(&error, StoreError::Refused { problem, .. } if problem.contains("none.pem")), "{error}");
}
