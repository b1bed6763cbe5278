//! An installation of several processes in one test: each replica has a runtime, a platform and an internal listener of
//! its own, and shares nothing with the others but the store and the bus.

use crate::ground::Ground;
use p92_chassis::Transport;
use p92_chassis::transport::Network;
use p92_eventlog::{NatsBus, Platform, Runtime};
use p92_kernel::{Id, Service, Shard};
use p92_node::role::Role;
use p92_node::serve::internal;
use p92_node::settings::Config;
use p92_node::wiring::{Ways, start_one};
use p92_proto::event::v1::{CommandContext, CommandReceipt, ReadOptions};
use p92_proto::identity::v1 as identity;
use p92_proto::identity::v1::account_service_client::AccountServiceClient;
use p92_proto::identity::v1::relationship_service_client::RelationshipServiceClient;
use p92_proto::identity::v1::server_service_client::ServerServiceClient;
use p92_proto::posting::v1 as posting;
use p92_proto::posting::v1::post_service_client::PostServiceClient;
use p92_proto::timelines::v1 as timelines;
use p92_proto::timelines::v1::timeline_service_client::TimelineServiceClient;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub use crate::ground::SHARDS;

/// Far longer than anything takes; a test that waits so long has failed.
pub async fn within<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(if crate::real::named().is_some() { 240 } else { 60 }), work)
        .await
        .expect("it takes too long")
}

/// What all processes share.
pub struct Installation {
    dir: tempfile::TempDir,
    ground: Ground,
    /// Where each service is reached. Replicas are found by whoever starts later.
    config: Config,
    keys: AtomicU64,
    pub server: u64,
}

/// One process.
pub struct Replica {
    pub role: Role,
    pub address: String,
    pub platform: Arc<Platform>,
    bus: Option<Arc<NatsBus>>,
    pub runtime: Arc<Runtime>,
    stop: CancellationToken,
    listening: Option<tokio::task::JoinHandle<()>>,
    process: Option<tokio::runtime::Runtime>,
}

impl Installation {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ground = Ground::fresh(dir.path()).await;
        let mut config = Config::default();
        // Passwords are no matter here.
        config.identity.hashing.memory_kib = 64;
        config.identity.hashing.passes = 1;
        Self { dir, ground, config, keys: AtomicU64::new(0), server: 0 }
    }

    /// With one replica of identity, one of posting, and a server.
    pub async fn with_posts() -> (Self, Replica, Replica) {
        let mut all = Self::new().await;
        let identity = all.start(Role::Identity).await;
        all.found_at(&[&identity]);
        let posting = all.start(Role::Posting).await;
        all.found_at(&[&posting]);
        within(identity.runtime.ready()).await;
        within(posting.runtime.ready()).await;
        all.make_server(&identity).await;
        (all, identity, posting)
    }

    /// Starts a process, on a runtime of its own, so that it can vanish as a whole.
    pub async fn start(&self, role: Role) -> Replica {
        let (ground, dir, config) = (self.ground.clone(), self.dir.path().to_owned(), self.config.clone());
        let process =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let stop = CancellationToken::new();
        let ended = stop.clone();
        // Driven from outside the runtimes of tests, since a start as the binary has it is bound to one thread.
        let started = tokio::task::spawn_blocking(move || {
            let begin = async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap().to_string();
                let (parts, bus) = ground.open(&dir, (&config, role.name())).await;
                let platform = Platform::start_at(parts, address.clone());
                let ways = Ways::of(role, &config, None).unwrap();
                let one = start_one(role, &platform, &config, &ways).await.unwrap();
                let listening = tokio::spawn(internal(listener, one.routes, ways.others, None, ended));
                (address, platform, bus, one.runtime, listening)
            };
            (process.block_on(begin), process)
        });
        let ((address, platform, bus, runtime, listening), process) = started.await.unwrap();
        let (listening, process) = (Some(listening), Some(process));
        Replica { role, address, platform, bus, runtime, stop, listening, process }
    }

    /// Where whoever starts from now on finds a service.
    pub fn found_at(&mut self, replicas: &[&Replica]) {
        for replica in replicas {
            let names = match replica.role.service().unwrap() {
                Service::Identity => &mut self.config.peers.identity,
                Service::Posting => &mut self.config.peers.posting,
                Service::Timelines => &mut self.config.peers.timelines,
                Service::FederationDelivery => &mut self.config.peers.federation_delivery,
                Service::Ranking => &mut self.config.peers.ranking,
            };
            names.push(replica.address.clone());
        }
    }

    pub fn ways(&self) -> Ways {
        Ways::of(Role::Gateway, &self.config, None).unwrap()
    }

    pub fn context(&self, actor_id: u64) -> Option<CommandContext> {
        let key = format!("k{}", self.keys.fetch_add(1, Ordering::Relaxed));
        Some(CommandContext {
            server_id: self.server,
            actor_id,
            idempotency_key: key,
            ..CommandContext::default()
        })
    }

    pub fn options(&self, viewer_id: u64) -> Option<ReadOptions> {
        Some(ReadOptions { server_id: self.server, viewer_id, ..ReadOptions::default() })
    }

    pub async fn make_server(&mut self, at: &Replica) {
        let request = identity::CreateServerRequest {
            context: self.context(0),
            domain: "one.example".to_owned(),
            name: "One".to_owned(),
            public_url: "https://one.example".to_owned(),
            registration: identity::RegistrationPolicy::Open.into(),
            ..Default::default()
        };
        let made = ServerServiceClient::new(at.transport()).create_server(request).await.unwrap();
        self.server = made.into_inner().server.unwrap().id;
    }

    pub async fn account(&self, at: &Replica, name: &str) -> u64 {
        let request = identity::CreateAccountRequest {
            context: self.context(0),
            handle: name.to_owned(),
            email: format!("{name}@one.example"),
            password: "a long password".to_owned(),
            ..Default::default()
        };
        let made = AccountServiceClient::new(at.transport()).create_account(request).await.unwrap();
        made.into_inner().account.unwrap().id
    }

    pub async fn follow(&self, at: &Replica, who: u64, whom: u64) -> CommandReceipt {
        let request =
            identity::FollowRequest { context: self.context(who), account_id: whom, ..Default::default() };
        let answer = RelationshipServiceClient::new(at.transport()).follow(request).await.unwrap();
        answer.into_inner().receipt.unwrap()
    }

    pub async fn publish(
        &self,
        way: Transport,
        author: u64,
        text: &str,
    ) -> Result<(u64, CommandReceipt), tonic::Status> {
        let request = posting::PublishPostRequest {
            context: self.context(author),
            text: text.to_owned(),
            ..Default::default()
        };
        let answer = PostServiceClient::new(way).publish_post(request).await?.into_inner();
        Ok((answer.post_id, answer.receipt.unwrap()))
    }

    /// Publishes as whoever has a key does: again, as long as nobody is there to do it.
    pub async fn publish_at_last(&self, at: &Replica, author: u64, text: &str) -> u64 {
        let request = posting::PublishPostRequest {
            context: self.context(author),
            text: text.to_owned(),
            ..Default::default()
        };
        let mut posts = PostServiceClient::new(at.transport());
        loop {
            match posts.publish_post(request.clone()).await {
                Ok(answer) => return answer.into_inner().post_id,
                Err(status) => assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}"),
            }
        }
    }

    pub async fn note(&self, way: Transport, viewer_id: u64, receipt: &CommandReceipt) {
        let request = timelines::NoteOwnWriteRequest { viewer_id, positions: receipt.positions.clone() };
        TimelineServiceClient::new(way).note_own_write(request).await.unwrap();
    }

    /// The posts of a viewer's home, and how it was computed.
    pub async fn home(&self, way: Transport, viewer: u64) -> (Vec<u64>, timelines::TimelineSource) {
        let request = timelines::ListHomeRequest { options: self.options(viewer), ..Default::default() };
        let answer = TimelineServiceClient::new(way).list_home(request).await.unwrap().into_inner();
        let source = answer.source();
        (answer.entries.into_iter().map(|entry| entry.post_id).collect(), source)
    }
}

impl Replica {
    /// The way to this process and no other.
    pub fn transport(&self) -> Transport {
        Transport::remote(Network::new([&self.address]).unwrap())
    }

    pub fn holds(&self) -> Vec<Shard> {
        self.platform.membership.slots().borrow().keys().map(|(_, shard)| *shard).collect()
    }

    /// Stops as a process does that gets SIGTERM: hands over while it passes on, then stops listening, then leaves.
    pub async fn stop(mut self) {
        let (platform, bus, stop) = (Arc::clone(&self.platform), self.bus.take(), self.stop.clone());
        let (process, listening) = (self.process.take().unwrap(), self.listening.take().unwrap());
        let left = process.spawn(async move {
            platform.membership.retire().await.unwrap();
            stop.cancel();
            // Whatever is under way is answered first.
            listening.await.unwrap();
            platform.stop().await;
            if let Some(bus) = bus {
                bus.stop(Duration::from_secs(2)).await;
            }
        });
        within(left).await.unwrap();
        process.shutdown_background();
    }

    /// Vanishes, as a process does that is killed: nothing is handed over, nobody is told.
    pub fn kill(mut self) {
        self.process.take().unwrap().shutdown_background();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.shutdown_background();
        }
    }
}

/// Waits until the slots of a service are spread over these replicas as they should be.
pub async fn spread(replicas: &[&Replica]) {
    let service = replicas[0].role.service().unwrap();
    let all = async {
        for replica in replicas {
            let members: Vec<String> = replicas.iter().map(|one| one.platform.member.clone()).collect();
            let mut holders = replica.platform.membership.holders();
            let settled = holders.wait_for(|holders| {
                let held: BTreeMap<_, _> = holders
                    .iter()
                    .filter(|((of, _), holder)| *of == service && members.contains(&holder.member))
                    .collect();
                held.len() == usize::from(SHARDS)
                    && members.iter().all(|member| held.values().any(|holder| holder.member == *member))
            });
            settled.await.unwrap();
        }
    };
    within(all).await;
    for replica in replicas {
        within(replica.runtime.ready()).await;
    }
}

pub fn shard_of(id: u64) -> Shard {
    Id::new(id).unwrap().shard()
}
