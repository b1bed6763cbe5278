//! What is wrong with the ways to store and bus, as far as the settings alone tell.
//!
//! It refuses to connect: whether somebody answers there is seen when it is tried.

use super::cluster::{BusKind, ClientTls, StoreKind};
use super::{BusConfig, Config, Cql};

type Problem = (&'static str, String);

/// Everything that is wrong: key and problem, each.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    if config.store.kind == StoreKind::Cql {
        of_store(&config.store.cql, &mut problems);
    }
    if config.bus.kind == BusKind::Nats {
        of_bus(&config.bus, &mut problems);
    }
    problems
}

fn of_store(cql: &Cql, problems: &mut Vec<Problem>) {
    let points = &cql.contact_points;
    if points.is_empty() {
        problems.push(("store.cql.contact_points", "name at least one node, as `host:port`".to_owned()));
    }
    for point in points.iter().filter(|point| !is_address(point)) {
        problems.push(("store.cql.contact_points", format!("{point:?} should look like `host:port`")));
    }
    if !p92_storage::cql::is_name(&cql.keyspace) {
        let text = format!("{:?} should be lower snake case, at most 48 characters", cql.keyspace);
        problems.push(("store.cql.keyspace", text));
    }
    if cql.replication == 0 {
        problems.push(("store.cql.replication", "no copy is no store; 3 is usual".to_owned()));
    }
    match (&cql.username, &cql.password) {
        (Some(_), None) => problems.push((
            "store.cql.password",
            "a user is named, and no password; `password_file` names a file that holds it".to_owned(),
        )),
        (None, Some(_)) => {
            problems.push(("store.cql.username", "a password is named, and nobody whose it is".to_owned()));
        }
        _ => {}
    }
    of_tls(&cql.tls, ["store.cql.tls.authority_path", "store.cql.tls.certificate_path"], problems);
}

fn of_bus(bus: &BusConfig, problems: &mut Vec<Problem>) {
    if bus.servers().is_empty() {
        problems.push(("bus.url", "name a server, such as nats://nats:4222".to_owned()));
    }
    if bus.credentials_path.is_some() && bus.nkey_path.is_some() {
        let text = "`bus.nkey_path` is set too; a process is one or the other there".to_owned();
        problems.push(("bus.credentials_path", text));
    }
    of_tls(&bus.tls, ["bus.tls.authority_path", "bus.tls.certificate_path"], problems);
}

fn of_tls(tls: &ClientTls, [authority, certificate]: [&'static str; 2], problems: &mut Vec<Problem>) {
    let ClientTls { authority_path, certificate_path, key_path } = tls;
    if certificate_path.is_some() != key_path.is_some() {
        problems.push((certificate, "a certificate and its key are named together, or neither".to_owned()));
    }
    if authority_path.is_none() && certificate_path.is_some() {
        let text = "not set, so there is no TLS in which the certificate could be shown".to_owned();
        problems.push((authority, text));
    }
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}
