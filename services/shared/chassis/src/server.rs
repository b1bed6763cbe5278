//! How a process listens: one accept loop for gRPC, HTTP and streams, with limits, and an end that loses no answer.
//!
//! Every listener of P92 goes through here, so that what a slow or hostile peer can hold is bounded in one place. It
//! refuses to know what is served, and who the peer is beyond its address.

use crate::tls::Credentials;
use axum::extract::ConnectInfo;
use axum::serve::Listener;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body as HttpBody, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::TcpConnectInfo;
use tower::{Service, ServiceExt as _};

/// How long the kernel's queue must have been empty before the listener is closed.
const LATECOMERS: Duration = Duration::from_millis(20);
/// How long a peer that has just come may take to ask when the server ends.
const FIRST_WORD: Duration = Duration::from_millis(500);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What one listener gives to all its peers together and to each of them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections; more wait in the kernel's queue.
    pub connections: usize,
    /// Calls and streams under way on one connection.
    pub streams: u32,
    /// Bytes of the headers of one request.
    pub headers: u32,
    /// From the opening of a connection to its first request, and from a request's first byte to its last header.
    pub patience: Duration,
    /// Silence after which a peer is asked whether it lives, and how long it may take to answer.
    pub keepalive: (Duration, Duration),
}

impl Limits {
    /// Peers of the same installation: few connections, and all calls of a process on each.
    pub const INTERNAL: Self = Self {
        connections: 4_096,
        streams: 65_536,
        headers: 64 << 10,
        patience: Duration::from_secs(10),
        keepalive: (Duration::from_secs(10), Duration::from_secs(5)),
    };
    /// Probes and those who read measures.
    pub const OPERATORS: Self = Self { connections: 64, streams: 16, headers: 16 << 10, ..Self::INTERNAL };
    /// Strangers.
    pub const PUBLIC: Self = Self {
        connections: 16_384,
        streams: 128,
        headers: 32 << 10,
        patience: Duration::from_secs(10),
        keepalive: (Duration::from_secs(30), Duration::from_secs(15)),
    };
}

/// Serves until `stop`, then accepts nothing more and returns when every request under way has its answer. Whoever
/// calls it bounds that wait; dropped, it closes what is still open.
///
/// `service` is an `axum::Router` or a `transport::Guarded` gRPC server behind `grpc`.
pub async fn serve<L, S, B>(listener: L, service: S, limits: Limits, stop: CancellationToken)
where
    L: Listener,
    L::Io: Peer,
    S: Service<Request<axum::body::Body>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    serve_secured(listener, service, limits, stop, None).await;
}

/// The same over mutual TLS, if there are credentials.
pub async fn serve_secured<L, S, B>(
    mut listener: L,
    service: S,
    limits: Limits,
    stop: CancellationToken,
    credentials: Option<Credentials>,
) where
    L: Listener,
    L::Io: Peer,
    S: Service<Request<axum::body::Body>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let (tasks, leave, closed) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
    let _close_on_drop = closed.clone().drop_guard();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((place, listener.accept().await))
        };
        let accepted = match stop.run_until_cancelled(accepted).await {
            Some(accepted) => accepted,
            None => latecomer(&mut listener, &places).await,
        };
        let Some((place, (io, _))) = accepted else { break };
        let connection = connection(io, service.clone(), limits, leave.clone(), credentials.clone());
        let closed = closed.clone();
        tasks.spawn(async move {
            tokio::select! { () = connection => {}, () = closed.cancelled() => {} }
            drop(place);
        });
    }
    // Peers hear that they should leave when nobody can come any more: whoever hears it calls again at once, and finds
    // a port that refuses, which tells him that nothing was done.
    drop(listener);
    leave.cancel();
    tasks.close();
    tasks.wait().await;
}

/// A peer that the kernel has let in before we ended, and that may have asked already.
async fn latecomer<L: Listener>(
    listener: &mut L,
    places: &Arc<Semaphore>,
) -> Option<(OwnedSemaphorePermit, (L::Io, L::Addr))> {
    let place = Arc::clone(places).try_acquire_owned().ok()?;
    Some((place, tokio::time::timeout(LATECOMERS, listener.accept()).await.ok()?))
}

/// A gRPC server as `serve` takes it.
pub fn grpc<S>(
    server: S,
) -> impl Service<
    Request<axum::body::Body>,
    Response = Response<tonic::body::Body>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<tonic::body::Body>, Infallible>> + Send + 'static,
> + Clone
+ Send
+ 'static
where
    S: Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    server.map_request(|request: Request<axum::body::Body>| request.map(tonic::body::Body::new))
}

/// One peer, from its first byte on.
async fn connection<I, S, B>(
    io: I,
    service: S,
    limits: Limits,
    leave: CancellationToken,
    credentials: Option<Credentials>,
) where
    I: Peer,
    S: Service<Request<axum::body::Body>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    io.prepare();
    let addresses = io.addresses();
    let Some(credentials) = credentials else {
        return converse(io, addresses, service, limits, leave).await;
    };
    let handshake = TlsAcceptor::from(credentials.server()).accept(io);
    match tokio::time::timeout(limits.patience, handshake).await {
        Ok(Ok(io)) => converse(io, addresses, service, limits, leave).await,
        Ok(Err(error)) => tracing::warn!(error = %error, "a peer could not show who it is"),
        Err(_elapsed) => {}
    }
}

/// One peer, until it or we have had enough.
async fn converse<I, S, B>(
    io: I,
    (peer, local): (Option<SocketAddr>, Option<SocketAddr>),
    service: S,
    limits: Limits,
    leave: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<axum::body::Body>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let spoke = CancellationToken::new();
    let service = service.map_request({
        let spoke = spoke.clone();
        move |request: Request<Incoming>| {
            spoke.cancel();
            let mut request = request.map(axum::body::Body::new);
            if let Some(peer) = peer {
                request.extensions_mut().insert(ConnectInfo(peer));
            }
            request.extensions_mut().insert(TcpConnectInfo { local_addr: local, remote_addr: peer });
            request
        }
    });
    let builder = protocol(limits);
    let mut connection =
        pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), TowerToHyperService::new(service)));
    // hyper bounds the time of headers once it knows the protocol, but not the time until then.
    let mut silent = pin!(tokio::time::sleep(limits.patience));
    let mut waiting = true;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = leave.cancelled() => {
                // Before it has read the protocol, hyper would drop the connection, and the request on its way here.
                let spoken = tokio::time::timeout(FIRST_WORD, spoke.cancelled());
                tokio::select! { ended = connection.as_mut() => break ended, _ = spoken => {} }
                connection.as_mut().graceful_shutdown();
                break connection.await;
            }
            () = silent.as_mut(), if waiting => {
                if !spoke.is_cancelled() {
                    return;
                }
                waiting = false;
            }
        }
    };
    if let Err(error) = ended {
        // Peers break off as they like; what matters was counted with the call.
        tracing::debug!(error = %error, "a connection broke");
    }
}

fn protocol(limits: Limits) -> auto::Builder<TokioExecutor> {
    let (interval, timeout) = limits.keepalive;
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.patience).max_buf_size(
        usize::try_from(limits.headers).unwrap_or(usize::MAX).max(
            // The least that hyper takes.
            8 << 10,
        ),
    );
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.headers)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(interval)
        .keep_alive_timeout(timeout);
    builder
}

/// A connection that knows its two ends.
pub trait Peer: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The other end's address and ours, if this kind of connection has any.
    fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        (None, None)
    }

    /// What is to be set before it is used.
    fn prepare(&self) {}
}

impl Peer for TcpStream {
    fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        (self.peer_addr().ok(), self.local_addr().ok())
    }

    fn prepare(&self) {
        // Answers are whole when they are written; there is nothing to collect. A closed socket refuses, and that
        // will be noticed by the first read.
        let _refused = self.set_nodelay(true);
    }
}

impl Peer for UnixStream {}
