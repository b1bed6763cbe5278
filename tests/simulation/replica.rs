//! One process: the platform over the remote store, identity, posting and timelines as they are, and a door for callers.

use crate::bus::BadBus;
use crate::calls::Services;
use crate::mail::TICKET;
use crate::store::Remote;
use crate::time::{HostClock, SKEW, Seeded};
use crate::world::{CALL_PORT, Took, World};
use p92_chassis::Transport;
use p92_eventlog::platform::Parts;
use p92_eventlog::{Bus, Platform, Runtime};
use p92_kernel::{Clock, Random};
use p92_storage::memory::Asked;
use p92_storage::{Engine, LogKey};
use rand::RngExt as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use turmoil::net::UdpSocket;

/// Everything that runs in one process.
struct Running {
    runtimes: [Arc<Runtime>; 3],
    services: Services,
}

/// A process, from its start to its crash.
pub async fn run(world: Arc<World>, host: usize) -> turmoil::Result {
    let process = world.start(host);
    let remote = Remote::open(&world, process).await?;
    let bus = BadBus::open(&world, process, crate::origin::shards()).await?;
    let door = Arc::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, CALL_PORT)).await?);
    let ahead = Duration::from_millis(world.chance(50 + host as u64).random_range(0..SKEW));
    let clock: Arc<dyn Clock> = Arc::new(HostClock { ahead });
    let random: Arc<dyn Random> = Arc::new(Seeded::new(world.seed, 1_000 * process.start + host as u64));
    let engine: Arc<dyn Engine> = Arc::new(Asked(remote));
    let Running { runtimes, services } = loop {
        let platform = Platform::start(Parts {
            engine: Arc::clone(&engine),
            bus: Arc::clone(&bus) as Arc<dyn Bus>,
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
            keyring: Arc::new(world.origin.keyring(&engine, &random)),
            shards: crate::origin::shards(),
        });
        world.member(&platform.member, process);
        match begin(&platform).await {
            Ok(running) => break running,
            // The process would end, and be started anew.
            Err(error) => {
                world.line(&format_args!("{process:?} does not start"), &|| error.to_string());
                platform.stopping.cancel();
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    };
    let watching = Arc::clone(&world);
    tokio::spawn(async move {
        loop {
            runtimes.iter().for_each(|runtime| note(&watching, runtime));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    loop {
        let mut ticket = [0; TICKET];
        let (_, from) = door.recv_from(&mut ticket).await?;
        let (world, door, services) = (Arc::clone(&world), Arc::clone(&door), services.clone());
        tokio::spawn(async move {
            world.running(host).await;
            let Some(asked) = world.asked.take(ticket) else { return };
            let answered = services.answer(asked, process).await;
            world.running(host).await;
            let ticket = world.answered.put(answered);
            let _ = door.send_to(&ticket, from).await;
        });
    }
}

/// Starts the services, as the node does.
async fn begin(platform: &Arc<Platform>) -> Result<Running, Box<dyn std::error::Error>> {
    let identity = {
        let deps = p92_identity::Deps { platform: Arc::clone(platform), config: crate::origin::identity() };
        p92_identity::start(deps).await?
    };
    let to_identity = Transport::local(identity.routes());
    let deps = p92_posting::Deps { platform: Arc::clone(platform), identity: to_identity.clone() };
    let posting = p92_posting::run(p92_posting::Config::default(), deps).await?;
    let to_posting = Transport::local(posting.grpc_service());
    let deps = p92_timelines::Deps {
        platform: Arc::clone(platform),
        identity: to_identity.clone(),
        posting: to_posting.clone(),
    };
    let timelines = p92_timelines::run(p92_timelines::Config::default(), deps).await?;
    let runtimes =
        [Arc::clone(identity.runtime()), Arc::clone(posting.runtime()), Arc::clone(timelines.runtime())];
    let to_timelines = Transport::local(timelines.grpc_service());
    let services = Services { identity: to_identity, posting: to_posting, timelines: to_timelines };
    Ok(Running { runtimes, services })
}

fn note(world: &World, runtime: &Runtime) {
    for (shard, epoch, head) in runtime.taken_over() {
        world.took(Took { log: LogKey { service: runtime.service(), shard }, epoch, head });
    }
}
