//! Encryption towards the store: whom we believe, and who we are.
//!
//! In: PEM files. Out: what the driver takes. It must not know what is sent.
//!
//! The driver checks certificates against the address that it connects to. Where nodes share a name instead, the check is
//! made against that name; nothing else about it changes. Files are looked at for each connection.

use super::config::CqlTls;
use crate::StoreError;
use parking_lot::RwLock;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// The driver's side of encrypted connections. Files that cannot be used at the first look are refused.
pub fn client(tls: &CqlTls) -> Result<Arc<ClientConfig>, StoreError> {
    let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
    let name = tls.server_name.clone().map(ServerName::try_from).transpose();
    let name = name.map_err(|error| StoreError::Refused {
        problem: format!("{:?} is no name that a certificate could bear: {error}", tls.server_name),
        advice: "name what the store's certificates bear, such as a host name".to_owned(),
    })?;
    let papers = Arc::new(Papers::open(tls.clone(), name, Arc::clone(&provider))?);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&tls.authority, &error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&papers) as Arc<dyn ServerCertVerifier>)
        .with_client_cert_resolver(papers);
    Ok(Arc::new(config))
}

/// What the files said when they were read.
#[derive(Debug)]
struct Read {
    stamps: Vec<Option<(SystemTime, u64)>>,
    verifier: Arc<WebPkiServerVerifier>,
    identity: Option<Arc<CertifiedKey>>,
}

/// Whom we believe and who we are, read again when the files have changed: connections live for weeks, certificates do not.
#[derive(Debug)]
struct Papers {
    tls: CqlTls,
    /// The name that certificates must bear, whatever address they are shown at; without it they must bear the address.
    name: Option<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
    read: RwLock<Arc<Read>>,
}

impl Papers {
    fn open(
        tls: CqlTls,
        name: Option<ServerName<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, StoreError> {
        let read = RwLock::new(Arc::new(read(&tls, &provider)?));
        Ok(Self { tls, name, provider, read })
    }

    /// What holds for a connection that is made now. A renewal that is half written is taken when it is whole.
    fn now(&self) -> Arc<Read> {
        let known = Arc::clone(&self.read.read());
        if stamps(&self.tls) == known.stamps {
            return known;
        }
        match read(&self.tls, &self.provider) {
            Ok(renewed) => {
                let renewed = Arc::new(renewed);
                *self.read.write() = Arc::clone(&renewed);
                renewed
            }
            Err(error) => {
                tracing::warn!(%error, "renewed certificates towards the store cannot be used; the old ones stay");
                known
            }
        }
    }
}

/// When each file was written, and how long it is.
fn stamps(tls: &CqlTls) -> Vec<Option<(SystemTime, u64)>> {
    let identity = tls.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
    let stamp = |path: &PathBuf| {
        let about = std::fs::metadata(path).ok()?;
        Some((about.modified().ok()?, about.len()))
    };
    std::iter::once(&tls.authority).chain(identity).map(stamp).collect()
}

fn read(tls: &CqlTls, provider: &Arc<CryptoProvider>) -> Result<Read, StoreError> {
    // Before the files: what is written meanwhile is read at the next connection.
    let stamps = stamps(tls);
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.authority)? {
        roots.add(certificate).map_err(|error| unusable(&tls.authority, &error))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| unusable(&tls.authority, &error))?;
    let identity = match &tls.identity {
        None => None,
        Some((certificate, key)) => {
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
            let own = CertifiedKey::from_der(certificates(certificate)?, secret, provider);
            Some(Arc::new(own.map_err(|error| unusable(certificate, &error))?))
        }
    };
    Ok(Read { stamps, verifier, identity })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match found {
        Ok(certificates) if certificates.is_empty() => Err(unusable(path, &"no certificate in it")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(path, &error)),
    }
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Refused {
        problem: format!("{} cannot be used towards the store: {error}", path.display()),
        advice: "name readable PEM files: authority, and certificate and key that belong together".to_owned(),
    }
}

impl ResolvesClientCert for Papers {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.now().identity.clone()
    }

    fn has_certs(&self) -> bool {
        self.tls.identity.is_some()
    }
}

impl ServerCertVerifier for Papers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        address: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = self.name.as_ref().unwrap_or(address);
        self.now().verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.now().verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.now().verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::server::WebPkiClientVerifier;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    /// An authority with a server that asks for certificates of the same, and a pair for a client.
    struct Side {
        authority: String,
        server: Arc<ServerConfig>,
        client: (String, String),
    }

    fn side() -> Side {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let signed = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            (params.signed_by(&key, &authority).unwrap(), key)
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let (certificate, key) = signed("store.example");
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let (certificate, key) = signed("client.example");
        let client = (certificate.pem(), key.serialize_pem());
        Side { authority: authority.pem(), server: Arc::new(server), client }
    }

    /// Whether the two come to speak with each other.
    async fn meets(client: &Arc<ClientConfig>, side: &Side) -> bool {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (here, there) = tokio::io::duplex(64 * 1024);
        let accept = async {
            let mut stream = TlsAcceptor::from(Arc::clone(&side.server)).accept(there).await?;
            stream.write_all(b"x").await?;
            stream.flush().await
        };
        let connect = async {
            let name = ServerName::try_from("store.example").unwrap();
            let mut stream = TlsConnector::from(Arc::clone(client)).connect(name, here).await?;
            // Only a byte from the other side says that it takes us too.
            stream.read_u8().await
        };
        let (accepted, connected) = tokio::join!(accept, connect);
        accepted.is_ok() && connected.is_ok()
    }

    #[tokio::test]
    async fn renewed_files_hold_from_the_next_connection_on() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let write = |side: &Side| {
            std::fs::write(at("ca.pem"), &side.authority).unwrap();
            std::fs::write(at("own.pem"), &side.client.0).unwrap();
            std::fs::write(at("own-key.pem"), &side.client.1).unwrap();
        };
        let (before, after) = (side(), side());
        write(&before);
        let tls = CqlTls {
            authority: at("ca.pem"),
            identity: Some((at("own.pem"), at("own-key.pem"))),
            server_name: None,
        };
        let config = client(&tls).unwrap();
        assert!(meets(&config, &before).await && !meets(&config, &after).await);
        // A renewal that is not whole.
        std::fs::write(at("own.pem"), "no certificate").unwrap();
        assert!(meets(&config, &before).await, "what held before holds on");
        write(&after);
        assert!(meets(&config, &after).await && !meets(&config, &before).await);
        std::fs::remove_file(at("ca.pem")).unwrap();
        assert!(meets(&config, &after).await);
    }
}
