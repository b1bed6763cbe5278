//! How the bus between processes is reached and bounded. Whoever reads settings fills it; it reads nothing itself.

use super::login::Login;
use super::proof::BusKey;
use std::path::PathBuf;
use std::time::Duration;

/// Where NATS is, who we are there, and what streams may take.
#[derive(Clone, Debug)]
pub struct NatsConfig {
    /// Addresses of servers, `host:port`, `nats://host:port` or `tls://host:port`. One that answers is enough.
    pub servers: Vec<String>,
    /// The name of the connection, for those who look at the server: a service and its replica.
    pub name: String,
    /// What the names of inboxes begin with. In a cluster each service has its own and may listen to no other's, so that
    /// no service reads answers that are meant for another.
    pub inbox_prefix: String,
    /// Who we are.
    pub login: Login,
    /// How we know that the server is the right one.
    pub tls: NatsTls,
    /// How messages of this installation are known from others.
    pub key: BusKey,
    /// What the stream of each service may take.
    pub streams: StreamLimits,
    /// How much may wait to be published; what is older than this much is dropped.
    pub queue: QueueLimits,
    /// How long an attempt at a connection may take, with its greeting.
    pub connect_timeout: Duration,
    /// How long the server may take to answer a question or to acknowledge a message.
    pub request_timeout: Duration,
    /// How often a silent connection is tried. Two answers that are missing end it.
    pub ping_every: Duration,
    /// How many published messages may wait for their acknowledgement at once.
    pub in_flight: usize,
}

impl NatsConfig {
    /// Servers without credentials, and defaults for everything else.
    #[must_use]
    pub fn at(servers: Vec<String>, name: impl Into<String>, key: BusKey) -> Self {
        Self {
            servers,
            name: name.into(),
            inbox_prefix: "_INBOX".to_owned(),
            login: Login::Nobody,
            tls: NatsTls::default(),
            key,
            streams: StreamLimits::default(),
            queue: QueueLimits::default(),
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(2),
            ping_every: Duration::from_secs(10),
            in_flight: 256,
        }
    }
}

/// Certificates. Files are read anew for each connection, so what is exchanged on disk holds from the next one on.
#[derive(Clone, Debug, Default)]
pub struct NatsTls {
    /// Refuses a connection that is not encrypted, whatever the server offers.
    pub required: bool,
    /// Authorities that may vouch for the server (PEM); without one, those of the system.
    pub authorities: Option<PathBuf>,
    /// Our own certificate and its key (PEM), for a server that asks for one.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// Limits of a stream. It is a hint that is read within milliseconds, so it may be small: whoever comes too late reads
/// the log. They are set aside in the server's memory for each of the five services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    pub max_age: Duration,
    pub max_bytes: u32,
    pub max_messages: u32,
    /// Copies in a cluster of NATS servers: 1, 3 or 5. More than one buys little, since readers need none.
    pub replicas: u8,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(60),
            max_bytes: 32 * 1024 * 1024,
            max_messages: 65_536,
            replicas: 1,
        }
    }
}

/// Limits of what waits to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    pub messages: usize,
    pub bytes: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { messages: 4_096, bytes: 16 * 1024 * 1024 }
    }
}
