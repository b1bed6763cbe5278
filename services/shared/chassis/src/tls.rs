//! Mutual TLS between the processes of one installation: who has no certificate of ours is not spoken with.
//!
//! Certificates come as files, as orchestrators mount them, and are read again when they change; connections that are
//! open keep what they were opened with. TLS 1.3 only, since both ends are ours. It refuses to know strangers: their
//! TLS ends at the edge of the cluster.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio_rustls::rustls::client::ClientConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ServerConfig, VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{self, RootCertStore};
use tokio_util::sync::CancellationToken;

/// How often the files are looked at. Certificates are renewed days before they expire.
const LOOK: Duration = Duration::from_secs(30);
/// HTTP/2 and nothing else is spoken between services.
const PROTOCOLS: [&[u8]; 1] = [b"h2"];

crate::config! {
    /// Mutual TLS between services. Off unless all three files are named.
    pub struct TlsConfig {
        /// Certificate chain of this process, PEM, its own certificate first.
        pub certificate_path: Option<PathBuf> = None,
        /// Private key of that certificate, PEM.
        pub key_path: Option<PathBuf> = None,
        /// Certificates of the authorities that sign for this installation, PEM. While one replaces another, both.
        pub authority_path: Option<PathBuf> = None,
    }
}

/// The certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("certificate, key and authority are needed together")]
    Incomplete,
    #[error("{0} cannot be read")]
    Unread(PathBuf, #[source] std::io::Error),
    #[error("{0} is not PEM")]
    Malformed(PathBuf, #[source] rustls::pki_types::pem::Error),
    #[error("{0} holds no certificate")]
    Empty(PathBuf),
    #[error("certificate and key cannot be used")]
    Unusable(#[source] rustls::Error),
    #[error("the authorities cannot be used")]
    Authorities(#[source] VerifierBuilderError),
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    authority: PathBuf,
}

/// What the files held when they were last read.
#[derive(PartialEq, Eq)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Vec<u8>,
}

#[derive(Clone)]
struct Ready {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// The certificates of this process, as they are now. Clones are the same.
#[derive(Clone)]
pub struct Credentials {
    files: Arc<Files>,
    now: Arc<RwLock<(Pem, Ready)>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads the files, if any are named.
    pub fn load(config: &TlsConfig) -> Result<Option<Self>, TlsError> {
        let files = match (&config.certificate_path, &config.key_path, &config.authority_path) {
            (None, None, None) => return Ok(None),
            (Some(certificate), Some(key), Some(authority)) => {
                Files { certificate: certificate.clone(), key: key.clone(), authority: authority.clone() }
            }
            _ => return Err(TlsError::Incomplete),
        };
        let pem = files.read()?;
        let ready = files.prepare(&pem)?;
        Ok(Some(Self { files: Arc::new(files), now: Arc::new(RwLock::new((pem, ready))) }))
    }

    /// Reads the files again, and takes what they hold if it can be used. Whether it was new.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let pem = self.files.read()?;
        if self.now.read().0 == pem {
            return Ok(false);
        }
        // Half a renewal (the new certificate beside the old key) is refused here, and taken once it is whole.
        let ready = self.files.prepare(&pem)?;
        *self.now.write() = (pem, ready);
        Ok(true)
    }

    /// Looks at the files until `stop`. What cannot be used leaves what is used, and is said.
    pub async fn watch(self, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        let refused = crate::telemetry::meter("tls")
            .counter("refused_renewals", "Certificates found on disk that could not be used");
        refused.add(0, &[]);
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            match self.reload() {
                Ok(true) => tracing::info!("certificates were renewed"),
                Ok(false) => {}
                Err(error) => {
                    refused.add(1, &[]);
                    let causes = crate::status::chain(&error);
                    tracing::error!(
                        { crate::telemetry::fields::CAUSES } = causes,
                        "certificates were not renewed"
                    );
                }
            }
        }
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.now.read().1.server)
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.now.read().1.client)
    }
}

impl Files {
    fn read(&self) -> Result<Pem, TlsError> {
        let read =
            |path: &PathBuf| std::fs::read(path).map_err(|error| TlsError::Unread(path.clone(), error));
        Ok(Pem {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            authority: read(&self.authority)?,
        })
    }

    fn prepare(&self, pem: &Pem) -> Result<Ready, TlsError> {
        let chain = certificates(&self.certificate, &pem.certificate)?;
        let key = || {
            PrivateKeyDer::from_pem_slice(&pem.key)
                .map_err(|error| TlsError::Malformed(self.key.clone(), error))
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.authority, &pem.authority)? {
            roots.add(certificate).map_err(TlsError::Unusable)?;
        }
        let (roots, provider) = (Arc::new(roots), Arc::new(default_provider()));
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(TlsError::Authorities)?;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Unusable)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key()?)
            .map_err(TlsError::Unusable)?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Unusable)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key()?)
            .map_err(TlsError::Unusable)?;
        server.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        client.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        // A resumed session would outlive the certificates that it was opened with.
        client.resumption = rustls::client::Resumption::disabled();
        server.send_tls13_tickets = 0;
        Ok(Ready { server: Arc::new(server), client: Arc::new(client) })
    }
}

fn certificates(path: &std::path::Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Malformed(path.to_owned(), error))?;
    if found.is_empty() { Err(TlsError::Empty(path.to_owned())) } else { Ok(found) }
}
