//! Settings of a process that shares its installation with others: store, bus, where it listens for them, where they are.

use crate::role::Role;
use p92_chassis::Secret;
use p92_kernel::Service;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Which store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreKind {
    /// A directory of this process alone.
    #[default]
    Embedded,
    /// ScyllaDB or Cassandra, shared by all.
    Cql,
}

/// Which bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BusKind {
    /// Within this process. Others read the log instead, a second later.
    #[default]
    Local,
    /// NATS JetStream.
    Nats,
}

/// How many replicas of the store must have taken or answered something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consistency {
    /// A majority of those of the own datacenter.
    #[default]
    LocalQuorum,
    /// A majority of all.
    Quorum,
}

/// Who agrees on the next slot of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogSerial {
    /// All datacenters.
    #[default]
    Serial,
    /// The own datacenter alone. Only where all processes of a service are in one: two datacenters would both win a slot.
    LocalSerial,
}

p92_chassis::config! {
    /// ScyllaDB or Cassandra, for `store.kind = "cql"`.
    pub struct Cql {
        /// Nodes to begin with, `host:port`; the others are found through them.
        pub contact_points: Vec<String> = vec!["127.0.0.1:9042".to_owned()],
        /// The keyspace.
        pub keyspace: String = "p92".to_owned(),
        /// The datacenter whose nodes are asked. It may be left out where there is only one.
        pub datacenter: Option<String> = None,
        /// Copies of each row; `p92 migrate` makes the keyspace with so many, and they can be changed there alone.
        pub replication: u8 = 3,
        /// How many replicas must have taken or answered something.
        pub consistency: Consistency = Consistency::LocalQuorum,
        /// Who agrees on the slots of logs: `serial`, or `local-serial` where all processes are in one datacenter.
        pub log_serial: LogSerial = LogSerial::Serial,
        /// Who this process is there; nobody if not set.
        pub username: Option<String> = None,
        /// The password. `password_file` names a file that holds it.
        pub password: Option<Secret> = None,
        /// TLS to the store.
        pub tls: ClientTls,
        /// A name that the certificates of all nodes carry; if not set, each carries the address at which it is reached.
        pub server_name: Option<String> = None,
    }
}

p92_chassis::config! {
    /// The bus between processes.
    pub struct BusConfig {
        /// `local` or `nats`.
        pub kind: BusKind = BusKind::Local,
        /// Where NATS is: one address, or several with commas between them.
        pub url: String = "nats://127.0.0.1:4222".to_owned(),
        /// A file with the credentials of this process, as `nsc` writes it.
        pub credentials_path: Option<PathBuf> = None,
        /// A file with the seed of this process's key.
        pub nkey_path: Option<PathBuf> = None,
        /// TLS to NATS.
        pub tls: ClientTls,
    }
}

p92_chassis::config! {
    /// TLS to a server that is not P92.
    pub struct ClientTls {
        /// Certificates of the authorities that may sign for the server, PEM; naming them switches TLS on.
        pub authority_path: Option<PathBuf> = None,
        /// Certificate chain of this process, PEM, if the server asks for one.
        pub certificate_path: Option<PathBuf> = None,
        /// Private key of that certificate, PEM.
        pub key_path: Option<PathBuf> = None,
    }
}

p92_chassis::config! {
    /// Where other processes of the installation reach this one. Never for strangers.
    pub struct Internal {
        /// Address of the listener.
        pub listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8094)),
        /// How other replicas reach it, `host:port`; the listener's own address if not set. With TLS, this process's
        /// certificate carries the host.
        pub advertise: Option<String> = None,
        /// A name that every certificate of the installation carries, if they carry no hosts.
        pub server_name: Option<String> = None,
    }
}

p92_chassis::config! {
    /// Where the services are: `host:port` each. A name may stand for many addresses, which are used in turn.
    pub struct PeersConfig {
        /// Identity.
        pub identity: Vec<String> = Vec::new(),
        /// Posting.
        pub posting: Vec<String> = Vec::new(),
        /// Timelines.
        pub timelines: Vec<String> = Vec::new(),
        /// Federation-delivery.
        pub federation_delivery: Vec<String> = Vec::new(),
        /// Ranking.
        pub ranking: Vec<String> = Vec::new(),
    }
}

impl PeersConfig {
    /// Where a service is.
    #[must_use]
    pub fn of(&self, service: Service) -> &[String] {
        match service {
            Service::Identity => &self.identity,
            Service::Posting => &self.posting,
            Service::Timelines => &self.timelines,
            Service::FederationDelivery => &self.federation_delivery,
            Service::Ranking => &self.ranking,
        }
    }
}

impl Internal {
    /// What this process tells others to call, when its listener stands at `bound`.
    #[must_use]
    pub fn address(&self, bound: SocketAddr) -> String {
        self.advertise.clone().unwrap_or_else(|| bound.to_string())
    }

    /// What is wrong with it, for a process that shares this store: key and problem.
    fn problem(&self, store: &super::Store) -> Option<(&'static str, String)> {
        let is_here =
            |node: &String| super::is_loopback(node.rsplit_once(':').map_or(node, |(host, _)| host));
        let is_elsewhere = store.kind == StoreKind::Cql && !store.cql.contact_points.iter().all(is_here);
        match &self.advertise {
            None if self.listen.ip().is_loopback() && is_elsewhere => Some((
                "internal.listen",
                format!(
                    "{} is reached from this machine alone, and the store is not on it; listen where others of the installation come in, and say the address by `internal.advertise` (if all of them are here: this one)",
                    self.listen
                ),
            )),
            None if self.listen.ip().is_unspecified() => Some((
                "internal.listen",
                format!(
                    "{} is every address of this machine; say by `internal.advertise` which one others call",
                    self.listen
                ),
            )),
            Some(text) if p92_chassis::transport::Network::new([text]).is_err() => {
                Some(("internal.advertise", format!("{text:?} should look like `host:port`")))
            }
            _ => None,
        }
    }
}

impl BusConfig {
    /// The addresses of its servers.
    #[must_use]
    pub fn servers(&self) -> Vec<String> {
        self.url.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
    }
}

impl ClientTls {
    /// What this process shows of itself.
    #[must_use]
    pub fn own(&self) -> Option<(PathBuf, PathBuf)> {
        self.certificate_path.clone().zip(self.key_path.clone())
    }
}

/// What one service needs and does not have: key and problem, each.
pub(super) fn problems_of(config: &super::Config, role: Role) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    for service in role.asks() {
        let key = match service {
            Service::Identity => "peers.identity",
            Service::Posting => "peers.posting",
            Service::Timelines => "peers.timelines",
            Service::FederationDelivery => "peers.federation_delivery",
            Service::Ranking => "peers.ranking",
        };
        let names = config.peers.of(*service);
        if names.is_empty() {
            problems.push((key, format!("{} asks {service}; say where it is", role.name())));
        } else if let Err(error) = p92_chassis::transport::Network::new(names) {
            problems.push((key, error.to_string()));
        }
    }
    if role.service().is_some() {
        problems.extend(config.internal.problem(&config.store));
        if config.store.kind == StoreKind::Embedded {
            problems.push((
                "store.kind",
                "an embedded store belongs to one process: `p92 serve` runs everything on it, one service needs `cql`"
                    .to_owned(),
            ));
        }
    }
    problems
}

/// What a process that runs everything needs and does not have: nothing on a store of its own. One that others share,
/// it shares like anybody: they must be able to reach it.
pub(super) fn problems_of_whole(config: &super::Config) -> Vec<(&'static str, String)> {
    match config.store.kind {
        StoreKind::Embedded => Vec::new(),
        StoreKind::Cql => config.internal.problem(&config.store).into_iter().collect(),
    }
}
