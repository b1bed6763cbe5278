//! The way to servers elsewhere: one HTTP/2 connection to each address that a name has, used in turn.
//!
//! Names are asked again every few seconds, so replicas that come and go are noticed without a proxy in between. An
//! address that does not connect is passed over for a while, and the call goes to the next one: nothing of it was
//! sent. A call of which something was sent is never repeated here, since only its maker knows whether it may be.
//! It refuses to know what the servers serve.

use super::BoxError;
use super::passing::Others;
use super::peers::Peers;
use super::reach::{Connector, Target};
use super::route::{self, Known};
use crate::tls::Credentials;
use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use p92_kernel::Shard;
use parking_lot::Mutex;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::body::Body;
use tower::Service;

/// A connection that answers no ping for `KEEPALIVE + PATIENCE` is dead, and the calls on it fail.
const KEEPALIVE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(5);
/// Enough for 1 GiB/s at a round trip of 4 ms; the default of 64 KiB would be 16 MiB/s.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Addresses that one call tries at most.
const TRIES: usize = 3;

/// The text is not `host:port`, with or without `http://` before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address; it should look like `host:port`")]
pub struct BadAddress(pub String);

/// The addresses of one service, and the connections to them.
#[derive(Clone)]
pub struct Network {
    client: Client<Connector, Shared>,
    peers: Arc<Peers>,
    server_name: Option<Arc<str>>,
    /// Where the holders of slots are reached, and which of them are known.
    holders: Option<(Others, Arc<Known>)>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("peers", &self.peers).finish_non_exhaustive()
    }
}

impl Network {
    /// The way to whatever these names stand for: `host:port`, each with one or many addresses.
    pub fn new<I>(names: I) -> Result<Self, BadAddress>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let names =
            names.into_iter().map(|name| host_and_port(name.as_ref())).collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            return Err(BadAddress(String::new()));
        }
        Ok(Self::over(Peers::named(names)))
    }

    /// The same way, spoken over mutual TLS.
    #[must_use]
    pub fn with_credentials(self, credentials: Option<Credentials>) -> Self {
        Self { client: client(&self.peers, credentials, self.server_name.clone()), ..self }
    }

    /// Servers show a certificate for this name, wherever they were found. To be said before the credentials.
    #[must_use]
    pub fn with_server_name(self, name: Option<&str>) -> Self {
        Self { server_name: name.map(Into::into), ..self }
    }

    /// Calls go to the holder of the slot that they are about (see `route`), if earlier answers told who that is.
    #[must_use]
    pub fn with_holders(self, others: Others) -> Self {
        Self { holders: Some((others, Arc::default())), ..self }
    }

    /// The way to a process on this machine that listens on a socket in the file system.
    #[must_use]
    pub fn socket(path: impl Into<std::path::PathBuf>) -> Self {
        Self::over(Peers::fixed(Target::Socket(path.into())))
    }

    fn over(peers: Peers) -> Self {
        let peers = Arc::new(peers);
        Self { client: client(&peers, None, None), peers, server_name: None, holders: None }
    }

    /// Offers a request to the addresses in turn, until one has taken something of it.
    pub(super) async fn offer(&self, head: &http::request::Parts, body: &Shared) -> Reach {
        let unresolved = Peers::refresh(&self.peers).await;
        let mut tried = Vec::new();
        let mut refused = None;
        while tried.len() < TRIES
            && let Some(target) = self.peers.pick(&tried)
        {
            let mut again = Request::new(body.clone());
            *again.method_mut() = head.method.clone();
            *again.headers_mut() = head.headers.clone();
            *again.version_mut() = http::Version::HTTP_2;
            *again.uri_mut() = match uri(&target, head.uri.path_and_query()) {
                Ok(uri) => uri,
                Err(error) => return Reach::Broken(error.into()),
            };
            match self.client.request(again).await {
                Ok(response) => {
                    self.peers.reached(&target);
                    return Reach::Answered(response.map(Body::new));
                }
                Err(error) if error.is_connect() && body.untouched() => {
                    self.peers.failed(&target);
                    tried.push(target);
                    refused = Some(error);
                }
                Err(error) if unprocessed(&error) => return Reach::Unreached(Unreached::Refused(error)),
                Err(error) => return Reach::Broken(error.into()),
            }
        }
        Reach::Unreached(refused.map_or_else(|| Unreached::Unknown(unresolved), Unreached::Refused))
    }

    /// Offers a request to the holder of the slot that it is about, then to whoever is there.
    async fn ask(&self, about: Option<Shard>, head: &http::request::Parts, body: &Shared) -> Reach {
        let Some((others, known)) = &self.holders else { return self.offer(head, body).await };
        if let Some(shard) = about
            && let Some(holder) = known.holder(shard)
            && let Some(network) = others.at(&holder)
        {
            match network.offer(head, body).await {
                Reach::Unreached(_) if body.untouched() => known.forget(shard),
                // Perhaps it ended: the next call asks whoever is there.
                left @ (Reach::Unreached(_) | Reach::Broken(_)) => {
                    known.forget(shard);
                    return left;
                }
                reach => return reach.learn(known),
            }
        }
        self.offer(head, body).await.learn(known)
    }
}

/// Whether the server said that it did nothing of a call (RFC 9113, sections 6.8 and 8.7): it was leaving.
fn unprocessed(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (*error).source()).any(|error| {
        error.downcast_ref::<h2::Error>().is_some_and(|error| {
            let leaving = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            error.is_remote() && (leaving || refused)
        })
    })
}

/// What came of offering a request.
pub(super) enum Reach {
    Answered(Response<Body>),
    /// Nobody did anything of it.
    Unreached(Unreached),
    /// Something of it was sent, and it is not known what came of it.
    Broken(BoxError),
}

impl Reach {
    fn learn(self, known: &Known) -> Self {
        if let Self::Answered(response) = &self {
            known.learn(response.headers());
        }
        self
    }
}

fn client(
    peers: &Arc<Peers>,
    credentials: Option<Credentials>,
    server_name: Option<Arc<str>>,
) -> Client<Connector, Shared> {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_only(true)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEPALIVE)
        .http2_keep_alive_timeout(PATIENCE)
        .http2_keep_alive_while_idle(true)
        .build(Connector { peers: Arc::clone(peers), credentials, server_name })
}

/// No address answered, and why the last one did not.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreached {
    #[error("no address is known")]
    Unknown(#[source] Option<std::io::Error>),
    #[error("no address could be reached, or it was leaving")]
    Refused(#[source] hyper_util::client::legacy::Error),
}

impl Service<Request<Body>> for Network {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (network, about) = (self.clone(), route::shard());
        Box::pin(async move {
            let (head, body) = request.into_parts();
            match network.ask(about, &head, &Shared::new(body)).await {
                Reach::Answered(response) => Ok(response),
                Reach::Unreached(error) => Err(error.into()),
                Reach::Broken(error) => Err(error),
            }
        })
    }
}

fn uri(target: &Target, path: Option<&PathAndQuery>) -> Result<Uri, http::Error> {
    Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(target.authority())
        .path_and_query(path.cloned().unwrap_or_else(|| PathAndQuery::from_static("/")))
        .build()
}

/// Host and port of `host:port` or `http://host:port`.
pub fn host_and_port(text: &str) -> Result<(String, u16), BadAddress> {
    let bad = || BadAddress(text.to_owned());
    let bare = text.strip_prefix("http://").unwrap_or(text);
    let authority: Authority = bare.trim_end_matches('/').parse().map_err(|_| bad())?;
    let port = authority.port_u16().ok_or_else(bad)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || authority.as_str().contains('@') { Err(bad()) } else { Ok((host.to_owned(), port)) }
}

/// A body that can be offered to a second connection as long as the first one has taken nothing of it.
#[derive(Clone)]
pub(super) struct Shared {
    body: Arc<Mutex<Body>>,
    touched: Arc<AtomicBool>,
}

impl Shared {
    pub(super) fn new(body: Body) -> Self {
        Self { body: Arc::new(Mutex::new(body)), touched: Arc::new(AtomicBool::new(false)) }
    }

    fn untouched(&self) -> bool {
        !self.touched.load(Ordering::Acquire)
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        self.touched.store(true, Ordering::Release);
        Pin::new(&mut *self.body.lock()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.lock().size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused() {
        assert_eq!(host_and_port("posting:8093"), Ok(("posting".to_owned(), 8093)));
        assert_eq!(host_and_port("http://127.0.0.1:1/"), Ok(("127.0.0.1".to_owned(), 1)));
        assert_eq!(host_and_port("[::1]:80"), Ok(("::1".to_owned(), 80)));
        for bad in ["", "posting", ":80", "https://a:1", "a:99999", "a:1/path", "u@a:1"] {
            assert_eq!(host_and_port(bad), Err(BadAddress(bad.to_owned())));
        }
    }

    #[tokio::test]
    async fn nobody_there_is_told_as_unavailable() {
        // A port that was free a moment ago, and that nobody listens on.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let transport = super::super::Transport::remote(Network::new([format!("127.0.0.1:{port}")]).unwrap());
        let mut client = tonic_health::pb::health_client::HealthClient::new(transport);
        let status = client.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap_err();
        let failure = crate::status::from_status(status);
        assert_eq!(
            (failure.code, failure.reason.as_ref()),
            (p92_kernel::ErrorCode::Unavailable, "SERVICE_UNAVAILABLE")
        );
        assert!(failure.retry_after.is_some());
    }
}
