//! The bus between processes: settings as its client takes them.
//!
//! It refuses to wait: a server that is away is found later, and readers read the logs meanwhile.

use crate::settings::BusConfig;
use anyhow::Context as _;
use p92_eventlog::bus::NatsBus;
use p92_eventlog::bus::nats::{BusKey, Login, NatsConfig, NatsTls};
use p92_kernel::ShardCount;
use std::sync::Arc;

/// Begins to connect, under the name of what the process is.
pub(super) async fn connect(
    settings: &BusConfig,
    name: &str,
    shards: ShardCount,
    key: BusKey,
) -> anyhow::Result<Arc<NatsBus>> {
    NatsBus::connect(config(settings, name, key), shards).await.context("`bus.url`")
}

fn config(settings: &BusConfig, name: &str, key: BusKey) -> NatsConfig {
    let mut config = NatsConfig::at(settings.servers(), format!("p92 {name}"), key);
    // Each service may be given the right to listen to its own inboxes and to no other's.
    config.inbox_prefix = format!("_INBOX_{name}");
    config.login = match (&settings.credentials_path, &settings.nkey_path) {
        (Some(file), _) => Login::Credentials { file: file.clone() },
        (None, Some(seed)) => Login::Nkey { seed: seed.clone() },
        (None, None) => Login::Nobody,
    };
    config.tls = NatsTls {
        required: settings.tls.authority_path.is_some(),
        authorities: settings.tls.authority_path.clone(),
        own: settings.tls.own(),
    };
    config
}
