//! Who may speak with whom when certificates are mounted.

use crate::probe::{self, Probe};
use crate::shapes::Shape;
use p92_chassis::server::{self, Limits};
use p92_chassis::tls::{Credentials, TlsConfig, TlsError};
use p92_chassis::transport::{Guarded, Network, Rules, Transport};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_health::pb::health_client::HealthClient;

/// An authority that signs for one installation.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Mounts a certificate for this name, its key, and the authority, as an orchestrator would.
    pub fn mount(&self, directory: &Path, name: &str) -> TlsConfig {
        self.mount_params(directory, CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    fn mount_params(&self, directory: &Path, params: CertificateParams) -> TlsConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let write = |file: &str, text: String| {
            std::fs::write(directory.join(file), text).unwrap();
            Some(directory.join(file))
        };
        TlsConfig {
            certificate_path: write("tls.crt", certificate.pem()),
            key_path: write("tls.key", key.serialize_pem()),
            authority_path: write("ca.crt", self.0.pem()),
        }
    }

    pub fn credentials(&self, name: &str) -> (Credentials, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let config = self.mount(directory.path(), name);
        (Credentials::load(&config).unwrap().unwrap(), directory)
    }
}

/// A server with these credentials, and its port.
async fn serve(probe: &Probe, credentials: Credentials) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let guarded = server::grpc(Guarded::new(probe.server(), Rules::INTERNAL));
    let stop = CancellationToken::new();
    tokio::spawn(server::serve_secured(listener, guarded, Limits::INTERNAL, stop, Some(credentials)));
    port
}

fn client(port: u16, credentials: Option<Credentials>) -> HealthClient<Transport> {
    let network = Network::new([format!("127.0.0.1:{port}")]).unwrap().with_credentials(credentials);
    HealthClient::new(Transport::remote(network))
}

async fn call(port: u16, credentials: Option<Credentials>) -> Result<i32, Code> {
    let answer = client(port, credentials).check(probe::request("ok")).await;
    answer.map(|answer| answer.into_inner().status).map_err(|status| status.code())
}

/// The same server as in every other shape.
pub async fn shape(probe: Probe) -> Shape {
    let authority = Authority::new();
    let ((credentials, files), port_of) = (authority.credentials("localhost"), probe.clone());
    let port = serve(&port_of, credentials.clone()).await;
    // `localhost` may have two addresses, of which one has no listener.
    let network = Network::new([format!("localhost:{port}")]).unwrap().with_credentials(Some(credentials));
    Shape::over("mutual TLS", probe, Transport::remote(network), files)
}

#[tokio::test]
async fn only_who_the_same_authority_signed_for_is_spoken_with() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (credentials, _files) = ours.credentials("127.0.0.1");
    let (foreign, _theirs) = theirs.credentials("127.0.0.1");
    // It knows whom we trust, and shows what somebody else has signed.
    let (trusting, shown) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut config = theirs.mount(shown.path(), "127.0.0.1");
    config.authority_path = ours.mount(trusting.path(), "127.0.0.1").authority_path;
    let trusting = Credentials::load(&config).unwrap();
    let probe = Probe::new();
    let port = serve(&probe, credentials.clone()).await;
    for stranger in [None, Some(foreign.clone()), trusting] {
        assert_eq!(call(port, stranger).await, Err(Code::Unavailable));
    }
    assert!(!probe.was_called());
    assert_eq!(call(port, Some(credentials)).await, Ok(1));

    let impostor = Probe::new();
    let port = serve(&impostor, foreign).await;
    let (credentials, _files) = ours.credentials("127.0.0.1");
    assert_eq!(call(port, Some(credentials)).await, Err(Code::Unavailable));
    assert!(!impostor.was_called());
}

#[tokio::test]
async fn a_server_must_carry_the_name_that_it_is_asked_by() {
    let authority = Authority::new();
    let (other, _files) = authority.credentials("other.example");
    let probe = Probe::new();
    let port = serve(&probe, other.clone()).await;
    assert_eq!(call(port, Some(other)).await, Err(Code::Unavailable));
    assert!(!probe.was_called());
}

#[tokio::test]
async fn replicas_without_names_share_one() {
    let authority = Authority::new();
    let (credentials, _files) = authority.credentials("p92.internal");
    let port = serve(&Probe::new(), credentials.clone()).await;
    let named = |name| {
        let network = Network::new([format!("127.0.0.1:{port}")]).unwrap().with_server_name(Some(name));
        HealthClient::new(Transport::remote(network.with_credentials(Some(credentials.clone()))))
    };
    assert!(named("p92.internal").check(probe::request("ok")).await.is_ok());
    assert!(named("p92.elsewhere").check(probe::request("ok")).await.is_err());
}

#[tokio::test]
async fn who_is_out_of_date_is_refused_both_ways() {
    let authority = Authority::new();
    let (good, _files) = authority.credentials("127.0.0.1");
    let directory = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let expired = Credentials::load(&authority.mount_params(directory.path(), params)).unwrap();
    let probe = Probe::new();
    let port = serve(&probe, good.clone()).await;
    assert_eq!(call(port, expired.clone()).await, Err(Code::Unavailable));
    let port = serve(&probe, expired.unwrap()).await;
    assert_eq!(call(port, Some(good)).await, Err(Code::Unavailable));
    assert!(!probe.was_called());
}

#[tokio::test]
async fn a_renewal_is_taken_once_it_is_whole() {
    let (old, new) = (Authority::new(), Authority::new());
    let (server, mounted) = old.credentials("127.0.0.1");
    let (before, _before) = old.credentials("127.0.0.1");
    let (after, _after) = new.credentials("127.0.0.1");
    let probe = Probe::new();
    let port = serve(&probe, server.clone()).await;
    let mut open = client(port, Some(before.clone()));
    open.check(probe::request("ok")).await.unwrap();
    assert!(!server.reload().unwrap(), "nothing is new");

    let key = std::fs::read(mounted.path().join("tls.key")).unwrap();
    new.mount(mounted.path(), "127.0.0.1");
    let renewed = std::fs::read(mounted.path().join("tls.key")).unwrap();
    std::fs::write(mounted.path().join("tls.key"), key).unwrap();
    assert!(matches!(server.reload(), Err(TlsError::Unusable(_))), "a certificate beside another's key");
    assert_eq!(call(port, Some(before.clone())).await, Ok(1));

    std::fs::write(mounted.path().join("tls.key"), renewed).unwrap();
    assert!(server.reload().unwrap());
    assert_eq!(call(port, Some(before)).await, Err(Code::Unavailable));
    assert_eq!(call(port, Some(after)).await, Ok(1));
    open.check(probe::request("ok")).await.unwrap();
}

/// Nobody tells a process that its certificates were renewed: it looks.
#[tokio::test]
async fn a_renewal_is_noticed_by_the_files_alone() {
    let (old, new) = (Authority::new(), Authority::new());
    let (server, mounted) = old.credentials("127.0.0.1");
    let (before, _before) = old.credentials("127.0.0.1");
    let (after, _after) = new.credentials("127.0.0.1");
    let probe = Probe::new();
    let port = serve(&probe, server.clone()).await;
    let stop = CancellationToken::new();
    let watching = tokio::spawn(server.watch(stop.clone()));
    assert_eq!(call(port, Some(before.clone())).await, Ok(1));
    assert_eq!(call(port, Some(after.clone())).await, Err(Code::Unavailable));

    new.mount(mounted.path(), "127.0.0.1");
    assert_eq!(call(port, Some(before.clone())).await, Ok(1), "not looked at yet");
    // Longer than between two looks; nobody calls meanwhile, since time jumps.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(31)).await;
    tokio::time::resume();
    assert_eq!(call(port, Some(before)).await, Err(Code::Unavailable));
    assert_eq!(call(port, Some(after)).await, Ok(1));
    stop.cancel();
    watching.await.unwrap();
}

#[test]
fn half_a_configuration_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Authority::new().mount(directory.path(), "a.example");
    config.key_path = None;
    assert!(matches!(Credentials::load(&config), Err(TlsError::Incomplete)));
    assert!(Credentials::load(&TlsConfig::default()).unwrap().is_none());
    let mut config = Authority::new().mount(directory.path(), "a.example");
    config.certificate_path.clone_from(&config.key_path);
    assert!(matches!(Credentials::load(&config), Err(TlsError::Empty(_))));
}
