//! What `p92 doctor` looks at by itself, on its own machine: data directory, disk, key file, own addresses, and the store and
//! the bus that processes share.
//!
//! It reads and connects, and changes nothing; an embedded store it leaves to the server that has it open.

use crate::backing::{cql, open_bus};
use crate::findings::Findings;
use crate::settings::{BusKind, Settings};
use p92_eventlog::KeyFile;
use p92_eventlog::bus::nats::BusState;
use p92_kernel::ShardCount;
use p92_storage::cql::Sight;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(3);
const MIB: u64 = 1024 * 1024;

/// The data directory and the disk that it is on; whether there is a store, which needs its keys.
pub fn disk(found: &mut Findings, data: &Path, settings: &Settings) -> bool {
    if !data.join("p92-store").exists() {
        let advice = "name the right one with --data, or start it for the first time: p92 serve";
        found.doubtful("data directory", format!("{} holds no store", data.display()), advice);
        return false;
    }
    match std::fs::metadata(data).map(|found| found.permissions().mode() & 0o077) {
        Ok(0) => found.good("data directory", data.display().to_string()),
        Ok(_) => {
            let advice = "nobody else on this machine needs it: chmod 700";
            found.doubtful("data directory", format!("{} is open to others", data.display()), advice);
        }
        Err(error) => {
            found.broken("data directory", format!("{}: {error}", data.display()), "look at its permissions")
        }
    }
    match nix::sys::statvfs::statvfs(data) {
        Ok(system) => {
            let free = system.blocks_available().saturating_mul(system.fragment_size()) / MIB;
            let floor = settings.store.free_floor_mib;
            let text = format!("{free} MiB are free; writes are refused below {floor}");
            if free < floor {
                found.broken(
                    "disk",
                    text,
                    "make room: reading works, nothing is lost, writing begins again by itself",
                );
            } else if free < floor.saturating_mul(4) {
                found.doubtful("disk", text, "make room soon");
            } else {
                found.good("disk", text);
            }
        }
        Err(error) => {
            found.broken("disk", format!("its free space cannot be learned: {error}"), "look at the disk")
        }
    }
    true
}

/// The store that processes share; whether anything was ever in it, which needs its keys.
pub async fn shared_store(found: &mut Findings, settings: &Settings) -> bool {
    let at = settings.store.cql.contact_points.join(", ");
    match tokio::time::timeout(PATIENCE * 5, cql::look(settings)).await {
        Ok(Ok(Sight { opened, syncs })) => {
            let whose = match &opened {
                Some((installation, shards)) => {
                    format!("installation {installation}, {} shards", shards.get())
                }
                None => "it was never opened".to_owned(),
            };
            let keyspace = &settings.store.cql.keyspace;
            found.good("shared store", format!("{keyspace} at {at}: every table, {whose}"));
            durability(found, syncs.as_deref());
            opened.is_some()
        }
        Ok(Err(error)) => {
            let advice = "start the store or make its tables (p92 migrate); is `store.cql` right?";
            found.broken("shared store", format!("{error:#}"), advice);
            true
        }
        Err(_) => {
            let text = format!("{at} does not answer within {} s", (PATIENCE * 5).as_secs());
            found.broken("shared store", text, "look at the store and the way to it");
            true
        }
    }
}

/// Whether a node of the store remembers what it acknowledged when it is killed: a quorum of nodes that forget is none.
fn durability(found: &mut Findings, syncs: Option<&str>) {
    let subject = "store's syncs";
    match syncs {
        Some(mode @ ("batch" | "group")) => found.good(subject, format!("commitlog_sync: {mode}")),
        Some(mode) => {
            let text =
                format!("commitlog_sync: {mode}; a node that is killed forgets what it acknowledged last");
            found.doubtful(subject, text, "set commitlog_sync to batch (Cassandra: or group) on each node");
        }
        None => found.doubtful(subject, "the store does not say".to_owned(), "look at its commitlog_sync"),
    }
}

/// The bus between processes: whether this machine may connect with these settings.
pub async fn shared_bus(found: &mut Findings, settings: &Settings) {
    if settings.bus.kind != BusKind::Nats {
        let text = "`local`: other processes find events in the logs, up to a second later".to_owned();
        return found.doubtful(
            "shared bus",
            text,
            "set `bus.kind = nats` and `bus.url`, if there is a NATS server",
        );
    }
    let bus = match open_bus(settings, "doctor", ShardCount::default()).await {
        Ok(bus) => bus,
        Err(error) => {
            return found.broken("shared bus", format!("{error:#}"), "look at `bus` in the settings");
        }
    };
    let Some(bus) = bus.between else { return };
    let mut state = bus.state();
    let connected = state.wait_for(|state| *state == BusState::Connected);
    let connected = tokio::time::timeout(PATIENCE, connected).await.is_ok();
    let words = bus.state().borrow().to_string();
    if connected {
        found.good("shared bus", format!("NATS at {} takes this process", settings.bus.url));
    } else {
        let advice = "nothing is lost without it, and timelines are up to a second later; is `bus` right?";
        found.doubtful("shared bus", words, advice);
    }
    bus.stop(PATIENCE).await;
}

/// The key file, as the file that it is.
pub fn key_file(found: &mut Findings, path: &Path) {
    let file = match KeyFile::look(path) {
        Ok(file) => file,
        Err(error) => {
            let advice = "restore it from its own backup; --keys names another place";
            return found.broken("key file", error.to_string(), advice);
        }
    };
    let mode = std::fs::metadata(path).map(|found| found.permissions().mode() & 0o077).unwrap_or_default();
    let text = format!("{} of installation {}", path.display(), file.installation);
    if mode == 0 {
        found.good("key file", text);
    } else {
        let advice = "whoever reads it and a copy of the store reads everything: chmod 600";
        found.doubtful("key file", format!("{text} can be read by others"), advice);
    }
}

/// Whether somebody listens at each of the server's own addresses, and at the public one.
pub async fn addresses(found: &mut Findings, settings: &Settings, runs: bool) {
    for (name, address) in [("http", settings.http), ("grpc", settings.grpc), ("ops", settings.ops)] {
        let subject = format!("{name} address");
        if address.port() == 0 {
            found.doubtful(
                &subject,
                "the system chooses the port".to_owned(),
                "name one, so that others find it",
            );
            continue;
        }
        match reach(address).await {
            Ok(()) if runs => found.good(&subject, address.to_string()),
            Ok(()) => {
                let advice = "the server could not start: end the other one, or name another address";
                found.broken(&subject, format!("{address} is taken, and not by this server"), advice);
            }
            Err(error) if runs => {
                let advice =
                    "is it what the server was started with? Give doctor the same flags, variables or file";
                found.broken(&subject, format!("nobody answers at {address}: {error}"), advice);
            }
            Err(_) => found.good(&subject, format!("{address} is free")),
        }
    }
    public(found, settings, runs).await;
}

async fn public(found: &mut Findings, settings: &Settings, runs: bool) {
    let Some(url) = settings.public_url() else {
        return found.good("public URL", "none is set: this server is for this machine".to_owned());
    };
    let parsed: Option<http::Uri> = url.parse().ok();
    let host = parsed.as_ref().and_then(|url| url.host()).unwrap_or_default().to_owned();
    let port = parsed.as_ref().and_then(|url| url.port_u16());
    let port = port.unwrap_or(if url.starts_with("https") { 443 } else { 80 });
    let looked = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host.as_str(), port))).await;
    let addresses: Vec<SocketAddr> = match looked {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            let advice = "make a DNS record for it that leads here";
            return found.broken("public URL", format!("{host} does not resolve: {error}"), advice);
        }
        Err(_) => {
            return found.broken(
                "public URL",
                format!("{host} does not resolve within 3 s"),
                "look at the resolver",
            );
        }
    };
    let mut last = String::new();
    for address in addresses {
        match reach(address).await {
            Ok(()) => {
                return found.good(
                    "public URL",
                    format!("{url}: {address} listens (what it says was not looked at)"),
                );
            }
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    let advice = "is the proxy in front running, and does it pass to the http address?";
    if runs {
        found.broken("public URL", format!("{url}: nobody listens ({last})"), advice);
    } else {
        found.doubtful("public URL", format!("{url}: nobody listens ({last})"), advice);
    }
}

async fn reach(address: SocketAddr) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer within 3 s".to_owned()),
    }
}
