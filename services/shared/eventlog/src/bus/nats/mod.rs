//! The bus between processes: NATS JetStream (ARCHITECTURE §3.6).
//!
//! One message per group on `p92.v1.<service>.<shard>`, its body the row of the log. All of it may be lost, purged, deleted
//! or wiped at any moment: it is a hint, made whole again by whoever needs it, and readers read the log meanwhile. A process
//! starts without it and goes on without it.
//!
//! | file | noun |
//! |---|---|
//! | `config`, `login` | where NATS is, and who we are there |
//! | `proof` | by what a message of ours is known |
//! | `queue`, `publisher` | what waits, and the task that sends it |
//! | `listener`, `silence` | one consumer per service, and the clock that watches over it |
//! | `streams` | streams that are made and put right |
//! | `state`, `tally` | what it waits for, and what it has done |
//!
//! What this process publishes it hands to its own listeners at once, and passes over when it comes back over the network.
//! Two installations on one NATS server need two accounts there, since subjects do not name the installation: each would
//! drop what it hears of the other, but be woken for it.

mod config;
mod listener;
mod login;
mod proof;
mod publisher;
mod queue;
mod silence;
mod state;
mod streams;
mod tally;

pub use config::{NatsConfig, NatsTls, QueueLimits, StreamLimits};
pub use login::Login;
pub use proof::BusKey;
pub use state::BusState;
pub use tally::Counts;

use super::Bus;
use super::topics::Topics;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client, ConnectError, ConnectOptions, ServerAddr};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use listener::Listener;
use p92_kernel::{Seq, Service, ShardCount};
use p92_storage::LogKey;
use publisher::Publisher;
use queue::Queue;
use silence::Stands;
use state::State;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use streams::Streams;
use tally::Tallies;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Commands that the driver holds while it connects anew. Messages wait in our queue, where the oldest gives way.
const DRIVER_HOLDS: usize = 512;
/// The longest pause between two attempts at a connection.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a configuration cannot be used. Everything else is waited for.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("no NATS server is named")]
    NoServer,
    #[error("{0:?} is no address of a NATS server: {1}")]
    Address(String, #[source] std::io::Error),
    #[error("an address of a NATS server carries a user or a password; they belong into a file")]
    Secret,
    #[error("NATS cannot be set up: {0}")]
    Driver(#[from] ConnectError),
}

/// What the tasks of the bus share.
#[derive(Debug)]
struct Inner {
    /// Names this bus in its messages.
    id: String,
    name: String,
    key: BusKey,
    in_flight: usize,
    topics: Topics,
    wants: HashMap<Service, Notify>,
    /// For a service that is not there, which cannot be.
    nothing: Notify,
    queue: Queue,
    streams: Streams,
    stands: Stands,
    state: Arc<State>,
    tallies: Arc<Tallies>,
    tasks: TaskTracker,
    closing: CancellationToken,
    stopping: CancellationToken,
}

impl Inner {
    fn wants(&self, service: Service) -> &Notify {
        self.wants.get(&service).unwrap_or(&self.nothing)
    }
}

/// The bus between processes. One per process.
#[derive(Debug)]
pub struct NatsBus {
    inner: Arc<Inner>,
    client: Client,
    publishing: TaskTracker,
}

impl NatsBus {
    /// Begins to connect and returns at once: a server that is away, a wrong password or a missing certificate is waited
    /// for, and [`NatsBus::state`] says so. An error is a configuration that can never work.
    pub async fn connect(config: NatsConfig, shards: ShardCount) -> Result<Arc<Self>, Unusable> {
        let servers = addresses(&config.servers)?;
        let state = Arc::new(State::new(config.servers.join(", ")));
        let tallies = Arc::new(Tallies::new());
        let client = options(&config, &state, &tallies).connect(servers).await?;
        let jetstream = ContextBuilder::new()
            .timeout(config.request_timeout)
            .ack_timeout(config.request_timeout)
            .max_ack_inflight(config.in_flight)
            .build(client.clone());
        let inner = Arc::new(Inner {
            id: hex::encode(rand::random::<[u8; 8]>()),
            name: config.name,
            key: config.key,
            in_flight: config.in_flight.max(1),
            topics: Topics::new(shards),
            wants: Service::ALL.into_iter().map(|service| (service, Notify::new())).collect(),
            nothing: Notify::new(),
            queue: Queue::new(config.queue),
            streams: Streams {
                jetstream,
                limits: config.streams,
                state: Arc::clone(&state),
                tallies: Arc::clone(&tallies),
                turns: tokio::sync::Mutex::default(),
            },
            stands: Stands::default(),
            state,
            tallies,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            stopping: CancellationToken::new(),
        });
        let publishing = TaskTracker::new();
        publishing.spawn(Publisher::new(Arc::clone(&inner)).run());
        for service in Service::ALL {
            inner.tasks.spawn(Listener::new(Arc::clone(&inner), service).run());
        }
        Ok(Arc::new(Self { inner, client, publishing }))
    }

    /// What it waits for, if for anything, and every change of that.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<BusState> {
        self.inner.state.watch()
    }

    /// What it has done since it was made.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.inner.tallies.counts()
    }

    /// How many messages wait to be published.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.queue.len()
    }

    /// Publishes what waits, if that can be done within that time, and ends: at once if there is no connection, since a
    /// hint is worth no wait. Whether all that waited was sent, and acknowledged or refused.
    pub async fn stop(&self, within: Duration) -> bool {
        let until = tokio::time::Instant::now() + within;
        self.inner.closing.cancel();
        self.publishing.close();
        let flushed = tokio::time::timeout_at(until, self.publishing.wait()).await.is_ok();
        self.inner.state.ends();
        self.inner.stopping.cancel();
        self.inner.tasks.close();
        // A consumer that cannot be deleted now is forgotten by the server.
        let _left = tokio::time::timeout_at(until, self.inner.tasks.wait()).await;
        let _drained = tokio::time::timeout_at(until, self.client.drain()).await;
        flushed && self.waiting() == 0
    }
}

impl Bus for NatsBus {
    fn publish(&self, log: LogKey, body: Bytes) {
        self.inner.topics.send(log, body.clone());
        for lost in self.inner.queue.push(log, body) {
            self.inner.tallies.dropped.of(lost.service);
        }
    }

    fn subscribe(&self, log: LogKey) -> BoxStream<'static, Bytes> {
        let listening = self.inner.topics.listen(log);
        self.inner.wants(log.service).notify_one();
        listening
    }

    fn head_stands(&self, log: LogKey, head: Seq) {
        self.inner.stands.head(log, head);
    }

    fn between(&self) -> Option<BusState> {
        Some(self.state().borrow().clone())
    }

    fn round_trip(&self) -> Option<BoxFuture<'_, Result<Duration, String>>> {
        Some(Box::pin(self.inner.streams.round_trip()))
    }
}

fn addresses(servers: &[String]) -> Result<Vec<ServerAddr>, Unusable> {
    if servers.is_empty() {
        return Err(Unusable::NoServer);
    }
    let address = |server: &String| {
        if server.contains('@') {
            return Err(Unusable::Secret);
        }
        server.parse().map_err(|error| Unusable::Address(server.clone(), error))
    };
    servers.iter().map(address).collect()
}

/// Everything explicit: a default of the driver that changes must not change how long we wait.
fn options(config: &NatsConfig, state: &Arc<State>, tallies: &Arc<Tallies>) -> ConnectOptions {
    let (login, board) = (config.login.clone(), Arc::clone(state));
    let mut options = ConnectOptions::with_auth_callback(move |nonce| {
        let (login, board) = (login.clone(), Arc::clone(&board));
        async move {
            let answer = login.answer(&nonce).await;
            board.login(answer.as_ref().err().map(ToString::to_string));
            answer
        }
    });
    let (board, tallies) = (Arc::clone(state), Arc::clone(tallies));
    options = options
        .name(&config.name)
        .custom_inbox_prefix(&config.inbox_prefix)
        .retry_on_initial_connect()
        .max_reconnects(None)
        .connection_timeout(config.connect_timeout)
        .request_timeout(Some(config.request_timeout))
        .ping_interval(config.ping_every)
        .client_capacity(DRIVER_HOLDS)
        .reconnect_delay_callback(pause)
        .require_tls(config.tls.required)
        .event_callback(move |event| {
            if board.event(&event) {
                tallies.reconnects.one();
            }
            async {}
        });
    if let Some(authorities) = &config.tls.authorities {
        options = options.add_root_certificates(authorities.clone());
    }
    if let Some((certificate, key)) = &config.tls.own {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    options
}

/// Twice as long after each attempt, and never long: a server that comes back is found within a second.
fn pause(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1).min(7)).unwrap_or(7);
    if attempts <= 1 { Duration::ZERO } else { (Duration::from_millis(8) * 2_u32.pow(doublings)).min(PAUSE) }
}
