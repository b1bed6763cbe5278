//! Passing a call on to the replica that holds the slot it is about, once.
//!
//! It stands before a whole service: a method decides as if nobody else were there, and fails with
//! [`p92_kernel::Elsewhere`] as the cause if another replica holds the slot. Nothing was done then, so the same bytes can
//! go there. A call that was passed on is never passed on again. While a slot moves nobody holds it, and the call waits
//! here, no longer than its deadline: a move is no error to a client.
//! It refuses to know methods, messages and slots.

use super::network::{Network, Reach, Shared};
use super::route::{self, PASSED_ON, Told};
use super::{deadline, lost};
use crate::status::{HERE_TOO, to_status};
use crate::tls::Credentials;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use p92_kernel::{ErrorCode, Failure};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Service, ServiceExt as _};

/// Bytes of a request that are kept for a second try: as much as a server decodes, and a frame's head.
const KEPT: usize = (4 << 20) + 5;
/// How long a call waits for a slot that nobody holds. A holder that hangs is taken for dead after six seconds.
const PATIENCE: Duration = Duration::from_secs(12);
/// Left for the answer when waiting ends at the call's own deadline.
const ANSWERING: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// How long the holder is asked for what can be answered here too.
const LONGEST_FOR_A_CHOICE: Duration = Duration::from_secs(1);
/// Addresses whose connections are kept; more than any installation has replicas of one service.
const OTHERS: usize = 1_024;

/// The other replicas of an installation, by the addresses that they tell. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Others {
    known: Arc<Mutex<HashMap<String, Network>>>,
    credentials: Option<Credentials>,
    server_name: Option<Arc<str>>,
}

impl Others {
    /// Reached over mutual TLS if there are credentials. `server_name` is the name that every certificate carries; if
    /// there is none, the host of the address is.
    #[must_use]
    pub fn new(credentials: Option<Credentials>, server_name: Option<String>) -> Self {
        Self { known: Arc::default(), credentials, server_name: server_name.map(Into::into) }
    }

    pub(super) fn at(&self, address: &str) -> Option<Network> {
        let mut known = self.known.lock();
        if let Some(network) = known.get(address) {
            return Some(network.clone());
        }
        let network = Network::new([address]).ok()?;
        let network = network.with_server_name(self.server_name.as_deref());
        let network = network.with_credentials(self.credentials.clone());
        if known.len() >= OTHERS {
            known.clear();
        }
        known.insert(address.to_owned(), network.clone());
        Some(network)
    }
}

/// A service whose slots may be held by other replicas.
#[derive(Clone, Debug)]
pub struct PassOn<S> {
    server: S,
    others: Others,
}

impl<S> PassOn<S> {
    /// Stands before `tonic::service::Routes`, behind the guard.
    #[must_use]
    pub const fn new(server: S, others: Others) -> Self {
        Self { server, others }
    }
}

impl<S> Service<Request<Body>> for PassOn<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (server, others) = (self.server.clone(), self.others.clone());
        if request.headers().contains_key(PASSED_ON) {
            return Box::pin(route::passed_on(server.oneshot(request)));
        }
        Box::pin(async move {
            let (head, body) = request.into_parts();
            match Kept::of(body).await {
                Ok(body) => Ok(Passing { server, others, head, body }.answer().await),
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

/// One call, until somebody has answered it.
struct Passing<S> {
    server: S,
    others: Others,
    head: Parts,
    body: Kept,
}

/// What came of asking the holder.
enum Asked {
    Answered(Response<Body>),
    /// It does not hold the slot any more, or cannot be reached; nothing was done.
    NotThere,
}

impl<S> Passing<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    async fn answer(&self) -> Response<Body> {
        let patience = deadline::left().map_or(PATIENCE, |left| left.saturating_sub(ANSWERING).min(PATIENCE));
        let until = Instant::now() + patience;
        let mut pause = PAUSE;
        loop {
            let response = self.here().await;
            let Some(told) = elsewhere(&response) else { return response };
            let here_too = response.headers().contains_key(HERE_TOO);
            if let Some(owner) = told.owner()
                && let Asked::Answered(mut answered) = self.ask(owner, here_too).await
            {
                told.write(answered.headers_mut());
                return answered;
            }
            if here_too {
                return route::passed_on(self.here()).await;
            }
            if Instant::now() + pause >= until {
                return response;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn here(&self) -> Response<Body> {
        match self.server.clone().oneshot(self.request()).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// What can be answered here too is not left to a holder that hangs, or that ended with the question in its hands.
    async fn ask(&self, owner: &str, here_too: bool) -> Asked {
        if !here_too {
            return self.there(owner, false).await;
        }
        let asked = tokio::time::timeout(LONGEST_FOR_A_CHOICE, self.there(owner, true)).await;
        asked.unwrap_or(Asked::NotThere)
    }

    async fn there(&self, owner: &str, here_too: bool) -> Asked {
        let Some(network) = self.others.at(owner) else { return Asked::NotThere };
        let request = self.request();
        let (mut head, body) = request.into_parts();
        head.headers.insert(PASSED_ON, HeaderValue::from_static("1"));
        if let Some(left) = deadline::left() {
            deadline::write(&mut head.headers, left);
        }
        match network.offer(&head, &Shared::new(body)).await {
            Reach::Answered(response) if elsewhere(&response).is_some() => Asked::NotThere,
            Reach::Answered(response) => Asked::Answered(response),
            Reach::Unreached(error) => {
                tracing::debug!(owner, error = %error, "the holder of a slot cannot be reached");
                Asked::NotThere
            }
            Reach::Broken(error) if here_too => {
                tracing::debug!(owner, error, "the holder of a slot ended while it was asked");
                Asked::NotThere
            }
            Reach::Broken(error) => Asked::Answered(to_status(lost(error)).into_http()),
        }
    }

    fn request(&self) -> Request<Body> {
        Request::from_parts(self.head.clone(), self.body.again())
    }
}

/// Who holds the slot, if that is why nothing was done.
fn elsewhere(response: &Response<Body>) -> Option<Told> {
    let told = Told::of(response.headers())?;
    let status = Status::from_header_map(response.headers())?;
    (status.code() == Code::Unavailable).then_some(told)
}

/// A request that can be offered again, in one piece. It came in frames of which some were empty; sent on as they came,
/// h2 takes them for a flood, and closes the connection after a hundred, with all calls that are under way on it.
#[derive(Debug)]
struct Kept(Bytes);

impl Kept {
    async fn of(body: Body) -> Result<Self, Status> {
        let too_large = || {
            let words = "The request is too large.";
            to_status(Failure::new(ErrorCode::ResourceExhausted, "REQUEST_TOO_LARGE", words))
        };
        match Limited::new(body, KEPT).collect().await {
            Ok(whole) => Ok(Self(whole.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
            Err(error) => Err(error.downcast::<Status>().map_or_else(Status::from_error, |status| *status)),
        }
    }

    fn again(&self) -> Body {
        if self.0.is_empty() { Body::empty() } else { Body::new(Full::new(self.0.clone())) }
    }
}
