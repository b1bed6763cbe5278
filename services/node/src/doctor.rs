//! What `p92 doctor` looks at by itself, from where it runs: data directory, disk, key file, the store and the bus that
//! processes share; and in `ways` who listens where.
//!
//! It reads and connects, and changes nothing; an embedded store it leaves to the server that has it open.

pub mod ways;

use crate::backing::{cql, open_bus};
use crate::findings::{Findings, round_trips};
use crate::settings::{BusKind, Settings};
use nix::unistd::{AccessFlags, access};
use p92_eventlog::KeyFile;
use p92_eventlog::bus::nats::{BusKey, BusState};
use p92_kernel::ShardCount;
use p92_storage::cql::{SCHEMA, Sight};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

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
            found.good(
                "shared store",
                format!("{keyspace} at {at}: schema {SCHEMA} with every table, {whose}"),
            );
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

/// The bus between processes: whether a process of this name may connect with these settings, and how fast it answers.
pub async fn shared_bus(found: &mut Findings, settings: &Settings, name: &str) {
    if settings.bus.kind != BusKind::Nats {
        let text = "`local`: other processes find events in the logs, up to a second later".to_owned();
        return found.doubtful(
            "shared bus",
            text,
            "set `bus.kind = nats` and `bus.url`, if there is a NATS server",
        );
    }
    let bus = match open_bus(settings, name, ShardCount::default(), BusKey::of_nobody()).await {
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
        round_trips(found, "shared bus", &format!("NATS at {}", settings.bus.url), &*bus).await;
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
    let mode = std::fs::metadata(path).map(|found| found.permissions().mode()).unwrap_or_default();
    let text = format!("{} of installation {}", path.display(), file.installation);
    if is_closed(mode, access(path, AccessFlags::W_OK).is_ok()) {
        found.good("key file", text);
    } else {
        let advice = "whoever reads it and a copy of the store reads everything: chmod 600";
        found.doubtful("key file", format!("{text} can be read by others"), advice);
    }
}

/// Whether nobody else comes to a key file of this mode. Where we cannot write it, it was mounted for us, and it is by its
/// group that a process without rights over it reads it.
fn is_closed(mode: u32, ours_to_write: bool) -> bool {
    match mode & 0o077 {
        0 => true,
        0o040 => !ours_to_write,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_closed;

    #[test]
    fn a_key_file_is_for_its_process_alone_or_was_mounted_for_its_group() {
        assert!(is_closed(0o100_600, true) && is_closed(0o100_400, false));
        assert!(is_closed(0o100_440, false), "as the chart mounts it");
        assert!(!is_closed(0o100_440, true), "chmod helps");
        for open in [0o100_644, 0o100_444, 0o100_460, 0o100_660] {
            assert!(!is_closed(open, true) && !is_closed(open, false), "{open:o}");
        }
    }
}
