//! What lies under a process and may be shared with others, from its opening to its end: the store, the bus.
//!
//! A store that is away or behind is waited for, and whoever asks is told so; a bus that is away is told and not waited
//! for. It refuses to know what is served.

use super::base::Base;
use crate::backing::{Backing, OpenBus, OpenStore, Waiting, open_all};
use crate::cli::Common;
use crate::settings::Settings;
use p92_chassis::health::{Condition, Needed};
use p92_eventlog::bus::nats::BusState;
use p92_eventlog::{NatsBus, Platform};
use p92_kernel::Service;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the store is asked whether it answers, and how long it may take.
const ASK_EVERY: Duration = Duration::from_secs(2);
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// How long the bus may take to send what waits: less than a last step of the process may.
const BUS_ENDS_WITHIN: Duration = Duration::from_secs(2);

/// Opens what is under a process of this name. It waits for the store for as long as it takes.
pub(super) async fn open(
    settings: &Settings,
    common: &Common,
    name: &str,
    base: &Base,
    store: &Condition,
) -> anyhow::Result<Backing> {
    let shows = |reason: &str| store.unmet(reason.to_owned());
    let says = |reason: &str| tracing::warn!(reason, "the start waits for the store");
    let backing = open_all(settings, &common.data, name, &Waiting::ever(&shows, &says)).await?;
    let keys = Arc::clone(&backing.parts.keyring);
    if !backing.parts.engine.capabilities().exclusive {
        // Another process may exchange the file.
        base.shutdown.spawn("the key file", keys.watch(base.shutdown.stopping()));
    }
    if let Some(bus) = &backing.bus.between {
        let condition = base.health.condition("bus", Needed::ToServeWell);
        base.shutdown
            .spawn("watching the bus", watch_bus(Arc::clone(bus), condition, base.shutdown.stopping()));
    }
    Ok(backing)
}

/// The last steps: slots first, since groups under way are published; then the bus, then the store.
pub(super) fn end(base: &Base, platform: Arc<Platform>, bus: OpenBus, store: OpenStore) {
    base.joined.store(true, Ordering::Release);
    let (tasks, stop) = (platform.tasks.clone(), base.shutdown.stopping());
    base.shutdown.spawn("the tasks of the event log", async move {
        tokio::select! {
            () = tasks.broken() => Err("one has panicked, and its shard would be served by nobody"),
            () = stop.cancelled() => Ok(()),
        }
    });
    base.shutdown.finally("hand slots over, finish groups", async move {
        platform.stop().await;
        Ok(())
    });
    if let Some(bus) = bus.between {
        base.shutdown.finally("send what waits on the bus", async move {
            if !bus.stop(BUS_ENDS_WITHIN).await {
                // Nothing is lost: readers read the logs.
                tracing::warn!("hints were left unsent; readers find the events in the logs");
            }
            Ok(())
        });
    }
    base.shutdown.finally("close the store", async move {
        tokio::task::spawn_blocking(store.close).await.map_err(|error| error.to_string())
    });
}

/// Whether the store answers a small question now; why not.
async fn ask_store(platform: &Platform) -> Result<(), String> {
    let heads = p92_eventlog::heads::read_heads(&*platform.engine, Service::Identity);
    match tokio::time::timeout(ANSWERS_WITHIN, heads).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("the store does not answer: {error}")),
        Err(_elapsed) => Err(format!("the store did not answer within {} s", ANSWERS_WITHIN.as_secs())),
    }
}

/// Waits until the store answers: what was opened may be away again.
pub(super) async fn wait_for_store(platform: &Platform, condition: &Condition) {
    while let Err(problem) = ask_store(platform).await {
        tracing::warn!(problem, "the start waits for the store");
        condition.unmet(problem);
        tokio::time::sleep(ASK_EVERY).await;
    }
    condition.met();
}

/// Tells whether the store answers, until `stop`.
pub(super) async fn watch_store(platform: Arc<Platform>, condition: Condition, stop: CancellationToken) {
    let mut tick = tokio::time::interval(ASK_EVERY);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        match ask_store(&platform).await {
            Ok(()) => condition.met(),
            Err(problem) => condition.unmet(problem),
        }
    }
}

/// Tells whether hints travel, until `stop`.
async fn watch_bus(bus: Arc<NatsBus>, condition: Condition, stop: CancellationToken) {
    let mut state = bus.state();
    loop {
        match state.borrow_and_update().clone() {
            BusState::Connected => condition.met(),
            BusState::Waiting(words) => condition.unmet(words),
        }
        // The bus lives as long as it is held here.
        if !matches!(stop.run_until_cancelled(state.changed()).await, Some(Ok(()))) {
            break;
        }
    }
    stop.cancelled().await;
}
