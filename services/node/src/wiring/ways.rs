//! Network channels to the services that are not in this process.

use crate::role::Role;
use crate::settings::Config;
use p92_chassis::Transport;
use p92_chassis::tls::Credentials;
use p92_chassis::transport::{BadAddress, Network, Others};
use p92_kernel::Service;
use std::collections::BTreeMap;

/// The ways to other processes.
#[derive(Clone, Debug)]
pub struct Ways {
    services: BTreeMap<Service, Transport>,
    /// Replicas of the own service, and holders of slots of others.
    pub others: Others,
}

impl Ways {
    /// The ways that one part needs. Nothing is connected before the first call.
    pub fn of(role: Role, config: &Config, credentials: Option<Credentials>) -> Result<Self, BadAddress> {
        let server_name = config.internal.server_name.clone();
        let others = Others::new(credentials.clone(), server_name.clone());
        let way = |service: &Service| {
            let network = Network::new(config.peers.of(*service))?
                .with_server_name(server_name.as_deref())
                .with_credentials(credentials.clone())
                .with_holders(others.clone());
            Ok((*service, Transport::remote(network)))
        };
        let services = role.asks().iter().map(way).collect::<Result<_, _>>()?;
        Ok(Self { services, others })
    }

    /// The way to a service that the part asks.
    pub fn to(&self, service: Service) -> anyhow::Result<Transport> {
        let way = self.services.get(&service).cloned();
        way.ok_or_else(|| anyhow::anyhow!("no way leads to {service}: `Role::asks` does not name it"))
    }
}
