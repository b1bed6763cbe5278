//! Federation-delivery on a real platform, beside logs of identity and posting that the tests write themselves.

use futures::FutureExt as _;
use p92_chassis::{SystemClock, SystemRandom, Transport};
use p92_eventlog::ground::{Ground, Site};
use p92_eventlog::{Aggregate, CommandMeta, NewEvent, Platform, Poison, Recorded, Runtime, Spec, Stream};
use p92_federation_delivery::{Config, Delivery, Deps, tables};
use p92_kernel::{AccountId, Clock, Id, IdMint, Service, Shard, ShardCount};
use p92_proto::event::v1::{Position, ReadOptions};
use p92_proto::federation_delivery::v1::delivery_service_client::DeliveryServiceClient;
use p92_proto::federation_delivery::v1::*;
use p92_proto::identity::v1 as identity;
use p92_proto::posting::v1::{self as posting, Visibility};
use prost::{Message, Name};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tonic::Status;

pub const HOME: u64 = 77;
const SHARDS: u16 = 2;

/// A stream of another service, of which nothing is known here.
#[derive(Clone, Default)]
struct Foreign;

impl Aggregate for Foreign {
    type Event = NewEvent;

    fn decode(event: &Recorded) -> Result<NewEvent, Poison> {
        Err(Poison::Unreadable { event_type: event.event.r#type.clone(), problem: "not read here".into() })
    }

    fn encode(event: &NewEvent) -> NewEvent {
        event.clone()
    }

    fn evolve(self, _: &NewEvent) -> Self {
        self
    }
}

pub struct World {
    pub platform: Arc<Platform>,
    pub delivery: Delivery,
    client: DeliveryServiceClient<Transport>,
    ground: Ground,
    identity: Arc<Runtime>,
    posting: Arc<Runtime>,
    at: BTreeMap<(String, u32), u64>,
    mints: Vec<IdMint>,
    count: u64,
}

/// The reason that a refusal names.
pub fn reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    p92_chassis::status::from_status(answer.unwrap_err()).reason.into_owned()
}

async fn foreign(platform: &Arc<Platform>, service: Service) -> Arc<Runtime> {
    Runtime::start(platform, Spec { service, views: vec![], consumers: vec![] }).await.unwrap()
}

fn shard_of(id: u64) -> Shard {
    Id::new(id).unwrap().shard()
}

fn pair(one: u64, other: u64) -> Shard {
    let (low, high) = (one.min(other), one.max(other));
    ShardCount::new(SHARDS).unwrap().of_parts(&[&low.to_be_bytes(), &high.to_be_bytes()])
}

impl World {
    pub async fn open(dir: &Path) -> Self {
        let site = Site { name: "federation_delivery", shards: SHARDS, tables: &tables::ALL };
        let clock = Arc::new(SystemClock::default());
        let now = clock.now();
        let ground = Ground::open(dir, site, clock, Arc::new(SystemRandom)).await;
        let platform = Arc::clone(&ground.platform);
        let identity = foreign(&platform, Service::Identity).await;
        let posting = foreign(&platform, Service::Posting).await;
        let deps = Deps { platform: Arc::clone(&platform) };
        let delivery = p92_federation_delivery::run(Config::default(), deps).await.unwrap();
        delivery.runtime().ready().await;
        Self {
            client: DeliveryServiceClient::new(Transport::local(delivery.grpc_service())),
            platform,
            delivery,
            ground,
            identity,
            posting,
            at: BTreeMap::new(),
            mints: (0..SHARDS).map(|shard| IdMint::new(Service::Posting, Shard(shard), now)).collect(),
            count: now.0,
        }
    }

    pub async fn close(self) {
        self.ground.close().await;
    }

    /// An id of some shard.
    pub fn id(&mut self) -> u64 {
        self.count += 1;
        let shard = usize::try_from(self.count % u64::from(SHARDS)).unwrap();
        self.mints[shard].next(self.platform.clock.now()).get()
    }

    /// Appends an event of another service, on a stream of its own, and lets a millisecond go by, so that what comes
    /// next is later.
    async fn append<M: Message + Name>(&mut self, service: Service, shard: Shard, message: &M) {
        self.count += 1;
        let (stream, event) = (Stream::new("foreign", self.count), NewEvent::of(message));
        let runtime = if service == Service::Identity { &self.identity } else { &self.posting };
        let meta = CommandMeta::internal(HOME, String::new());
        let done = runtime.execute(shard, meta, move |round| {
            let (stream, event) = (stream.clone(), event.clone());
            async move { round.emit::<Foreign>(&stream, &[event]).await }.boxed()
        });
        let receipt = done.await.unwrap();
        self.note(&receipt.positions);
    }

    fn note(&mut self, positions: &[p92_kernel::Position]) {
        for position in positions {
            let key = (position.service.name().to_owned(), u32::from(position.shard.0));
            self.at.insert(key, position.seq.0);
        }
        let now = self.platform.clock.now();
        while self.platform.clock.now() <= now {
            std::hint::spin_loop();
        }
    }

    pub fn options(&self) -> Option<ReadOptions> {
        let position = |((service, shard), seq): (&(String, u32), &u64)| Position {
            service: service.clone(),
            shard: *shard,
            seq: *seq,
        };
        let at_least = self.at.iter().map(position).collect();
        Some(ReadOptions { at_least, server_id: HOME, ..ReadOptions::default() })
    }

    /// An account at a domain, which takes activities at a host, as identity would make it known.
    pub async fn remote_at(&mut self, domain: &str, ids: identity::ActivityPubIds) -> u64 {
        let account = self.id();
        let (host, stream) = (domain.to_owned(), Stream::new("account", account));
        let meta = CommandMeta::internal(HOME, String::new());
        let done = self.identity.execute(shard_of(account), meta, move |round| {
            let (host, stream, ids) = (host.clone(), stream.clone(), ids.encode_to_vec());
            async move {
                let subject = AccountId::new(account).unwrap();
                let sealed = round.seal(subject, &stream, "activity_pub", &ids).await?;
                let born = identity::AccountCreated {
                    account_id: account,
                    host,
                    activity_pub: Some(sealed),
                    ..Default::default()
                };
                round.emit::<Foreign>(&stream, &[NewEvent::of(&born)]).await
            }
            .boxed()
        });
        let receipt = done.await.unwrap();
        self.note(&receipt.positions);
        account
    }

    pub async fn remote(&mut self, host: &str) -> u64 {
        let name = self.id();
        let ids = identity::ActivityPubIds {
            id: format!("https://{host}/users/{name}"),
            inbox: format!("https://{host}/users/{name}/inbox"),
            shared_inbox: format!("https://{host}/inbox"),
            ..Default::default()
        };
        self.remote_at(host, ids).await
    }

    pub async fn follows(&mut self, follower: u64, followed: u64) {
        let event = identity::FollowStarted {
            follow_id: self.id(),
            follower_id: follower,
            followed_id: followed,
            followed_server_id: HOME,
            ..Default::default()
        };
        self.append(Service::Identity, pair(follower, followed), &event).await;
    }

    pub async fn relation<M: Message + Name>(&mut self, one: u64, other: u64, event: &M) {
        self.append(Service::Identity, pair(one, other), event).await;
    }

    pub async fn ends(&mut self, follower: u64, followed: u64, why: identity::FollowEnd) {
        let event = identity::FollowEnded {
            follower_id: follower,
            followed_id: followed,
            reason: why.into(),
            ..Default::default()
        };
        self.relation(follower, followed, &event).await;
    }

    pub async fn of_account<M: Message + Name>(&mut self, account: u64, event: &M) {
        self.append(Service::Identity, shard_of(account), event).await;
    }

    pub async fn of_post<M: Message + Name>(&mut self, post: u64, event: &M) {
        self.append(Service::Posting, shard_of(post), event).await;
    }

    pub async fn publish(&mut self, author: u64, visibility: Visibility, mentioned: &[u64]) -> u64 {
        let post = posting::PostPublished { visibility: visibility.into(), ..Default::default() };
        let post = posting::PostPublished { author_id: author, mentioned_ids: mentioned.to_vec(), ..post };
        self.publish_as(posting::PostPublished { author_home_id: HOME, ..post }).await
    }

    pub async fn publish_as(&mut self, post: posting::PostPublished) -> u64 {
        let post_id = self.id();
        let object_id = format!("https://here.example/ap/posts/{post_id}");
        self.of_post(post_id, &posting::PostPublished { post_id, object_id, ..post }).await;
        post_id
    }

    pub async fn delete(&mut self, author: u64, post: u64) {
        let event = posting::PostDeleted {
            post_id: post,
            author_id: author,
            author_home_id: HOME,
            visibility: Visibility::Public.into(),
            ..Default::default()
        };
        self.of_post(post, &event).await;
    }

    pub async fn plans(&self, post: u64) -> Vec<DeliveryPlan> {
        let request = GetDeliveryPlanRequest { options: self.options(), post_id: post, activity_id: 0 };
        self.client.clone().get_delivery_plan(request).await.unwrap().into_inner().plans
    }

    pub async fn ask(&self, request: GetDeliveryPlanRequest) -> Result<GetDeliveryPlanResponse, Status> {
        self.client.clone().get_delivery_plan(request).await.map(tonic::Response::into_inner)
    }

    /// Kinds of what happened to a post, each with its hosts.
    pub async fn told(&self, post: u64) -> Vec<(ActivityKind, Vec<String>)> {
        let hosts = |plan: &DeliveryPlan| plan.destinations.iter().map(|one| one.host.clone()).collect();
        self.plans(post).await.iter().map(|plan| (plan.kind(), hosts(plan))).collect()
    }

    pub async fn follower_hosts(&self, account: u64) -> Vec<(String, u64)> {
        let request = ListFollowerHostsRequest { options: self.options(), account_id: account };
        let hosts = self.client.clone().list_follower_hosts(request).await.unwrap().into_inner().hosts;
        hosts.into_iter().map(|one| (one.host, one.followers)).collect()
    }

    pub async fn peers(&self, size: u32, token: &str) -> Result<ListPeersResponse, Status> {
        let request =
            ListPeersRequest { options: self.options(), page_size: size, page_token: token.to_owned() };
        self.client.clone().list_peers(request).await.map(tonic::Response::into_inner)
    }

    pub async fn ask_hosts(&self, account: u64) -> Result<ListFollowerHostsResponse, Status> {
        let request = ListFollowerHostsRequest { options: self.options(), account_id: account };
        self.client.clone().list_follower_hosts(request).await.map(tonic::Response::into_inner)
    }
}
