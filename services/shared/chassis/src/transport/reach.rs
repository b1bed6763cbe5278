//! Where one server stands, and how a connection to it is opened.
//!
//! It refuses to know names: they are asked elsewhere, and what arrives here is an address.

use super::BoxError;
use super::peers::Peers;
use crate::tls::Credentials;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tower::Service;

/// Within one network a connection takes milliseconds or never comes.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a server stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Address(SocketAddr),
    Socket(PathBuf),
}

impl Target {
    /// What stands for it in a URI, and so in the pool of connections. A path is written in hexadecimal.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Address(address) => address.to_string(),
            Self::Socket(path) => {
                use std::os::unix::ffi::OsStrExt as _;
                path.as_os_str().as_bytes().iter().fold("socket-".to_owned(), |mut text, byte| {
                    text.push_str(&format!("{byte:02x}"));
                    text
                })
            }
        }
    }

    fn of(uri: &Uri) -> Option<Self> {
        let authority = uri.authority()?.as_str();
        let Some(hex) = authority.strip_prefix("socket-") else {
            return authority.parse().ok().map(Self::Address);
        };
        use std::os::unix::ffi::OsStringExt as _;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let bytes = hex.as_bytes().chunks(2).map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        });
        Some(Self::Socket(std::ffi::OsString::from_vec(bytes.collect::<Option<Vec<u8>>>()?).into()))
    }
}

/// Opens connections, secured if this process has credentials.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) peers: Arc<Peers>,
    pub(super) credentials: Option<Credentials>,
    /// The name that servers' certificates carry, if it is not the one they were found by.
    pub(super) server_name: Option<Arc<str>>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Wire>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Wire>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let target = Target::of(&uri).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
            let open = async {
                let wire = open(&target).await?;
                match (&this.credentials, target) {
                    // A socket in the file system is guarded by its permissions.
                    (None, _) | (_, Target::Socket(_)) => Ok(wire),
                    (Some(credentials), target) => {
                        let name = this.server_name.clone().or_else(|| this.peers.host_of(&target));
                        secure(credentials, name, wire).await
                    }
                }
            };
            let wire = tokio::time::timeout(PATIENCE, open).await.map_err(io::Error::from)??;
            Ok(TokioIo::new(wire))
        })
    }
}

/// The server shows a certificate for the name by which it was found, and we show ours.
async fn secure(credentials: &Credentials, host: Option<Arc<str>>, wire: Wire) -> io::Result<Wire> {
    let name = host
        .and_then(|host| ServerName::try_from(host.to_string()).ok())
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let stream = TlsConnector::from(credentials.client()).connect(name, wire).await?;
    Ok(Wire(Box::new(stream)))
}

async fn open(target: &Target) -> io::Result<Wire> {
    Ok(match target {
        Target::Address(address) => {
            let stream = TcpStream::connect(address).await?;
            // Calls are small and wait for their answer; there is nothing to collect.
            stream.set_nodelay(true)?;
            Wire(Box::new(stream))
        }
        Target::Socket(path) => Wire(Box::new(UnixStream::connect(path).await?)),
    })
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open connection, of whatever kind.
pub(super) struct Wire(Box<dyn Stream>);

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn a_target_survives_its_uri() {
        for target in [
            Target::Address("127.0.0.1:80".parse().unwrap()),
            Target::Address("[::1]:80".parse().unwrap()),
            Target::Socket("/run/p92/operator socket".into()),
        ] {
            let uri = format!("http://{}/x", target.authority()).parse().unwrap();
            assert_eq!(Target::of(&uri), Some(target));
        }
    }
}
