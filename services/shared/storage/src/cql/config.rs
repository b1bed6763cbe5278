//! How a CQL store is reached, and how certain its answers are to be.

use super::login::CqlUser;
use p92_kernel::ShardCount;
use std::path::PathBuf;
use std::time::Duration;

/// How many replicas acknowledge a read or a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Most replicas of the datacenter. Right as long as one datacenter serves; others are a copy to fail over to.
    #[default]
    LocalQuorum,
    /// Most replicas of all datacenters. Needed when more than one serves at once, so that an owner in one sees what one
    /// in another was acknowledged.
    Quorum,
}

/// Who agrees on the slots of logs. Claims of names are always agreed on by all datacenters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogSerial {
    /// All datacenters.
    #[default]
    Serial,
    /// One datacenter. Only where the owners of each shard are pinned to it: two datacenters would both win a slot.
    LocalSerial,
}

/// Files of an encrypted connection, all PEM. Read anew once they have changed, for the next connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CqlTls {
    /// Who may have signed the nodes' certificates.
    pub authority: PathBuf,
    /// Our certificate and its key, where the nodes ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the nodes' certificates bear. Without it each must bear the address under which the node is reached,
    /// which is hard to keep where addresses change.
    pub server_name: Option<String>,
}

/// How a CQL store is opened.
#[derive(Clone, Debug)]
pub struct CqlConfig {
    /// Some nodes, `host:port`; the others are learned from these.
    pub nodes: Vec<String>,
    /// Lower snake case.
    pub keyspace: String,
    /// The datacenter whose nodes are asked. Needed when there are several.
    pub datacenter: Option<String>,
    /// Copies of each row in the datacenter; used when the keyspace is made.
    pub replication: u8,
    /// Used at first start only; later the store says.
    pub shards: ShardCount,
    /// The id that a store without one is given, as when a backup is restored into it; a new one if not said.
    pub installation: Option<String>,
    pub consistency: Consistency,
    pub log_serial: LogSerial,
    pub user: Option<CqlUser>,
    pub tls: Option<CqlTls>,
    /// Longer than the server's own timeouts: otherwise answers that it would give are missed, and outcomes are unknown
    /// that it knows.
    pub request_timeout: Duration,
    pub connect_timeout: Duration,
    /// How long an append of unknown outcome is repeated before its caller is told.
    pub append_budget: Duration,
    /// How long a migration's runner must be silent before another takes its place.
    pub lease_silence: Duration,
    /// How long a migration waits for another's.
    pub lease_wait: Duration,
}

impl CqlConfig {
    /// Defaults for one datacenter.
    #[must_use]
    pub fn at(nodes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            nodes: nodes.into_iter().map(Into::into).collect(),
            keyspace: "p92".to_owned(),
            datacenter: None,
            replication: 3,
            shards: ShardCount::default(),
            installation: None,
            consistency: Consistency::default(),
            log_serial: LogSerial::default(),
            user: None,
            tls: None,
            request_timeout: Duration::from_secs(12),
            connect_timeout: Duration::from_secs(5),
            append_budget: Duration::from_secs(5),
            lease_silence: Duration::from_secs(15),
            lease_wait: Duration::from_secs(600),
        }
    }
}
