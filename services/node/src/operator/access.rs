//! The operator API on the operators' listener: for whoever shows a token out of a file, and for nobody else.
//!
//! That listener answers probes and gives out measures to whoever can reach it, without TLS; what the operator API shows
//! and does is for few. So without a file of tokens it serves no call of it at all, reading or not: rows and logs tell who
//! follows whom. The file is read at each call: a token is exchanged by writing the new one beside the old one, then
//! taking the old one out. Where tokens would travel in the open, the way there is a tunnel (`kubectl port-forward`), the
//! socket of the data directory, or a service's internal address with certificates (`--endpoint`).

use super::Operator;
use anyhow::Context as _;
use axum::extract::{Request, State};
use axum::response::Response;
use p92_chassis::transport::{Guarded, Rules};
use p92_kernel::{ErrorCode, Failure, digest};
use p92_proto::operator::v1::operator_service_server::OperatorServiceServer;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tower::ServiceExt as _;

/// Shorter ones can be guessed.
const CHARACTERS: usize = 32;

p92_chassis::config! {
    /// Who may use the operator API on the operators' listener. Whoever can open the socket of the data directory, or
    /// shows a certificate at an internal address, needs none of it.
    pub struct Operators {
        /// A file of tokens, one a line, each of at least 32 characters (`openssl rand -hex 32`); read at each call.
        /// Without it the listener serves no operator call.
        pub tokens_path: Option<PathBuf> = None,
    }
}

/// The way in for operators from elsewhere.
#[derive(Clone, Debug)]
pub struct Door {
    tokens: Option<PathBuf>,
    /// There once everything runs.
    server: Arc<OnceLock<Guarded<OperatorServiceServer<Operator>>>>,
    /// The listener has a thread of its own, which must stay free for probes.
    runtime: Handle,
}

impl Door {
    /// A door that is still closed. A file of tokens that cannot be used stops the start.
    pub fn new(settings: &Operators) -> anyhow::Result<Self> {
        if let Some(path) = &settings.tokens_path {
            tokens(path)?;
        }
        let (tokens, server) = (settings.tokens_path.clone(), Arc::default());
        Ok(Self { tokens, server, runtime: Handle::current() })
    }

    /// From now on calls are answered.
    pub fn open(&self, operator: Operator) {
        let server = OperatorServiceServer::new(operator);
        // Set once, at the end of the start.
        let _ = self.server.set(Guarded::new(server, Rules::INTERNAL));
    }

    /// What the operators' listener serves of it.
    pub fn router(self) -> axum::Router {
        use tonic::server::NamedService as _;
        let path = format!("/{}/{{call}}", OperatorServiceServer::<Operator>::NAME);
        axum::Router::new().route(&path, axum::routing::any(answer)).with_state(self)
    }

    fn admit(&self, request: &Request) -> Result<(), Failure> {
        let Some(path) = &self.tokens else {
            let text = "This listener serves no operator calls: `operators.tokens_path` names no tokens. Use the socket \
                        of the data directory (--data), or an internal address (--endpoint).";
            return Err(Failure::new(ErrorCode::PermissionDenied, "OPERATORS_NOT_SERVED", text));
        };
        let shown = request.headers().get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().trim();
        let known = tokens(path).map_err(|error| {
            tracing::error!(error = format!("{error:#}"), "tokens of operators cannot be read");
            Failure::internal("the file of tokens cannot be read")
        })?;
        // Digests are compared, so that time tells nothing of a token.
        let shown = digest::sha256(shown.as_bytes());
        if known.iter().any(|token| digest::sha256(token.as_bytes()) == shown) {
            return Ok(());
        }
        let text = "A token of this installation's operators must come with the call: --token-file.";
        Err(Failure::new(ErrorCode::Unauthenticated, "NOT_AN_OPERATOR", text))
    }
}

/// The tokens of a file.
fn tokens(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the operators' tokens {} cannot be read", path.display()))?;
    let tokens: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if tokens.is_empty() || tokens.iter().any(|token| token.len() < CHARACTERS) {
        anyhow::bail!(
            "{} must hold tokens of at least {CHARACTERS} characters, one a line\n  what to do: openssl rand -hex 32 > {}",
            path.display(),
            path.display()
        );
    }
    Ok(tokens)
}

fn refused(failure: Failure) -> Response {
    p92_chassis::status::to_status(failure).into_http::<axum::body::Body>()
}

async fn answer(State(door): State<Door>, request: Request) -> Response {
    if let Err(failure) = door.admit(&request) {
        return refused(failure);
    }
    let Some(server) = door.server.get().cloned() else {
        let text = "The process is starting.";
        return refused(Failure::unavailable("STARTING", text, Duration::from_secs(1)));
    };
    let call = server.oneshot(request.map(tonic::body::Body::new));
    match door.runtime.spawn(call).await {
        Ok(Ok(response)) => response.map(axum::body::Body::new),
        Ok(Err(never)) => match never {},
        Err(error) => refused(Failure::internal(error)),
    }
}
