//! The session with the store, and the three ways in which it is asked.
//!
//! In: a configuration. Out: a session whose every statement is marked: read, write or conditional. It must not know any
//! table.
//!
//! The session has no generator of timestamps: conditional writes take theirs from the agreement of the replicas, and all
//! others carry one of ours in the statement.

use super::config::{Consistency, CqlConfig, LogSerial};
use super::{outcome, tls};
use crate::StoreError;
use scylla::client::execution_profile::{ExecutionProfile, ExecutionProfileHandle};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::{DefaultRetryPolicy, FallthroughRetryPolicy, RetryPolicy};
use scylla::statement::{Consistency as Level, SerialConsistency};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Emptying a table and changing the schema wait for all nodes.
const SLOW: Duration = Duration::from_secs(70);

/// A session with its ways of asking.
pub struct Connection {
    pub session: Session,
    /// Reads, and writes that carry their timestamp: tried again on another node where the driver's policy says that it
    /// helps, since twice is the same as once.
    pub repeatable: ExecutionProfileHandle,
    /// Conditional writes on names, versions and ownership. Never tried again by the driver.
    pub conditional: ExecutionProfileHandle,
    /// Conditional writes on slots of logs. Likewise.
    pub log: ExecutionProfileHandle,
    /// Truncation and DDL, which take longer.
    pub slow: ExecutionProfileHandle,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Consistency {
    const fn level(self) -> Level {
        match self {
            Self::LocalQuorum => Level::LocalQuorum,
            Self::Quorum => Level::Quorum,
        }
    }
}

fn profile(
    config: &CqlConfig,
    retries: Arc<dyn RetryPolicy>,
    serial: SerialConsistency,
    timeout: Duration,
) -> ExecutionProfileHandle {
    let mut nodes = DefaultPolicy::builder().token_aware(true);
    if let Some(datacenter) = &config.datacenter {
        // Another datacenter would answer at its own quorum, which knows nothing of this one's.
        nodes = nodes.prefer_datacenter(datacenter.clone()).permit_dc_failover(false);
    }
    ExecutionProfile::builder()
        .consistency(config.consistency.level())
        .serial_consistency(Some(serial))
        .request_timeout(Some(timeout))
        .retry_policy(retries)
        .load_balancing_policy(nodes.build())
        .build()
        .into_handle()
}

/// Opens a session. What an operator must cure is [`StoreError::Refused`]; the rest may be waited for.
pub async fn connect(config: &CqlConfig) -> Result<Connection, StoreError> {
    if config.nodes.is_empty() || !super::place::is_name(&config.keyspace) {
        return Err(StoreError::Refused {
            problem: format!("a store of {} nodes in the keyspace {:?}", config.nodes.len(), config.keyspace),
            advice: "name at least one node as host:port, and a keyspace in lower snake case".to_owned(),
        });
    }
    let serial = match config.log_serial {
        LogSerial::Serial => SerialConsistency::Serial,
        LogSerial::LocalSerial => SerialConsistency::LocalSerial,
    };
    let timeout = config.request_timeout;
    let again = || -> Arc<dyn RetryPolicy> { Arc::new(DefaultRetryPolicy::new()) };
    let once = || -> Arc<dyn RetryPolicy> { Arc::new(FallthroughRetryPolicy::new()) };
    let repeatable = profile(config, again(), SerialConsistency::Serial, timeout);
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.nodes)
        .connection_timeout(config.connect_timeout)
        .hostname_resolution_timeout(Some(config.connect_timeout))
        .keepalive_interval(Duration::from_secs(10))
        .keepalive_timeout(Duration::from_secs(10))
        .tcp_nodelay(true)
        .schema_agreement_timeout(SLOW)
        .keyspaces_to_fetch([&config.keyspace])
        .default_execution_profile_handle(repeatable.clone());
    if let Some(user) = &config.user {
        builder = builder.authenticator_provider(Arc::new(user.clone()));
    }
    if let Some(tls) = &config.tls {
        builder = builder.tls_context(Some(tls::client(tls)?));
    }
    let session = builder.build().await.map_err(|error| outcome::connect(&config.nodes, &error))?;
    let state = session.get_cluster_state();
    let nodes = state.get_nodes_info().iter();
    let there: BTreeSet<&str> = nodes.filter_map(|node| node.datacenter.as_deref()).collect();
    check_near(config.datacenter.as_deref(), &there)?;
    Ok(Connection {
        session,
        repeatable,
        conditional: profile(config, once(), SerialConsistency::Serial, timeout),
        log: profile(config, once(), serial, timeout),
        slow: profile(config, once(), SerialConsistency::Serial, SLOW),
    })
}

/// Nobody is ever asked in a datacenter that is not there, and no statement says why. Where there are several and none is
/// named, each statement would be at the quorum of another one, and none would see what was acknowledged in the others.
fn check_near(named: Option<&str>, there: &BTreeSet<&str>) -> Result<(), StoreError> {
    let list = || Vec::from_iter(there.iter().copied()).join(", ");
    let (problem, advice) = match named {
        // A node that does not tell is no proof.
        Some(named) if there.is_empty() || there.contains(named) => return Ok(()),
        None if there.len() < 2 => return Ok(()),
        Some(named) => (
            format!("the store has no datacenter {named:?}"),
            format!("name the one whose nodes are near: {}", list()),
        ),
        None => (
            format!("the store has several datacenters, {}, and none of them is named", list()),
            "name the one whose nodes are near, the same for every process".to_owned(),
        ),
    };
    Err(StoreError::Refused { problem, advice })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datacenter_is_named_where_there_are_several_and_only_one_that_is_there() {
        let (none, one, two) = (BTreeSet::new(), BTreeSet::from(["near"]), BTreeSet::from(["near", "far"]));
        for (named, there) in
            [(None, &none), (None, &one), (Some("near"), &none), (Some("near"), &one), (Some("far"), &two)]
        {
            assert!(check_near(named, there).is_ok(), "{named:?} of {there:?}");
        }
        for (named, there, says) in [
            (Some("there"), &two, "no datacenter \"there\""),
            (Some("far"), &one, "no datacenter \"far\""),
            (None, &two, "several datacenters, far, near"),
        ] {
            let error = check_near(named, there).unwrap_err();
            let StoreError::Refused { problem, advice } = error else { panic!("{error}") };
            assert!(problem.contains(says) && advice.contains("near"), "{problem}: {advice}");
        }
    }
}
