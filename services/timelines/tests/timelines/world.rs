//! Timelines on a real platform, beside logs of identity and posting that the tests write themselves.

use crate::double::{Double, StoredPost};
use futures::FutureExt as _;
use p92_chassis::{SystemClock, SystemRandom, Transport};
use p92_eventlog::ground::{Ground, Site};
use p92_eventlog::{Aggregate, CommandMeta, NewEvent, Platform, Poison, Recorded, Runtime, Spec, Stream};
use p92_kernel::{IdMint, Millis, Service, Shard, ShardCount};
use p92_proto::event::v1::{CommandContext, IdWindow, Position, ReadOptions};
use p92_proto::identity::v1 as identity;
use p92_proto::posting::v1 as posting;
use p92_proto::timelines::v1 as proto;
use p92_proto::timelines::v1::marker_service_client::MarkerServiceClient;
use p92_proto::timelines::v1::notification_service_client::NotificationServiceClient;
use p92_proto::timelines::v1::timeline_service_client::TimelineServiceClient;
use p92_timelines::{Config, Deps, Timelines};
use prost::{Message, Name};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub const SERVER: u64 = 77;
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
    _ground: Option<Ground>,
    pub timelines: Timelines,
    pub double: Double,
    identity: Arc<Runtime>,
    posting: Arc<Runtime>,
    home: TimelineServiceClient<Transport>,
    pub notes: NotificationServiceClient<Transport>,
    pub markers: MarkerServiceClient<Transport>,
    at: BTreeMap<(String, u32), u64>,
    mints: Vec<IdMint>,
    streams: u64,
}

/// What a post is like, besides public and plain.
#[derive(Clone, Debug, Default)]
pub struct Like {
    pub visibility: Option<posting::Visibility>,
    pub answers: u64,
    pub names: Vec<u64>,
    pub tags: Vec<&'static str>,
    pub home: Option<u64>,
    pub language: &'static str,
}

async fn foreign(platform: &Arc<Platform>, service: Service) -> Arc<Runtime> {
    Runtime::start(platform, Spec { service, views: vec![], consumers: vec![] }).await.unwrap()
}

impl World {
    pub async fn open(dir: &Path, double: Double) -> Self {
        let site = Site { name: "timelines", shards: SHARDS, tables: &p92_timelines::tables() };
        let clock = Arc::new(SystemClock::default());
        let ground = Ground::open(dir, site, clock, Arc::new(SystemRandom)).await;
        let world = Self::over(Arc::clone(&ground.platform), double).await;
        Self { _ground: Some(ground), ..world }
    }

    /// On a platform that a test has made.
    pub async fn over(platform: Arc<Platform>, double: Double) -> Self {
        let now = platform.clock.now();
        let identity = foreign(&platform, Service::Identity).await;
        let posting = foreign(&platform, Service::Posting).await;
        let there = Transport::local(double.clone());
        let deps = Deps { platform: Arc::clone(&platform), identity: there.clone(), posting: there };
        let config = Config { entries_power: 4, recent_posts: 60, ..Config::default() };
        let timelines = p92_timelines::run(config, deps).await.unwrap();
        let here = Transport::local(timelines.grpc_service());
        double.history().now = now.0;
        Self {
            platform,
            _ground: None,
            identity,
            posting,
            home: TimelineServiceClient::new(here.clone()),
            notes: NotificationServiceClient::new(here.clone()),
            markers: MarkerServiceClient::new(here),
            timelines,
            double,
            at: BTreeMap::new(),
            mints: (0..SHARDS).map(|shard| IdMint::new(Service::Posting, Shard(shard), now)).collect(),
            streams: now.0,
        }
    }

    pub fn id(&mut self, shard: Shard) -> u64 {
        let now = Millis(self.platform.clock.now().0);
        self.mints[usize::from(shard.0)].next(now).get()
    }

    /// Appends an event of another service, on a stream of its own.
    async fn append<M: Message + Name>(&mut self, service: Service, shard: Shard, message: &M) {
        self.append_event(service, shard, NewEvent::of(message)).await;
    }

    /// Appends an event that says this, in whatever version.
    pub async fn append_event(&mut self, service: Service, shard: Shard, event: NewEvent) {
        self.streams += 1;
        let stream = Stream::new("foreign", self.streams);
        let runtime = if service == Service::Identity { &self.identity } else { &self.posting };
        let meta = CommandMeta::internal(SERVER, String::new());
        let done = runtime.execute(shard, meta, move |round| {
            let (stream, event) = (stream.clone(), event.clone());
            async move { round.emit::<Foreign>(&stream, &[event]).await }.boxed()
        });
        let receipt = done.await.unwrap();
        for position in receipt.positions {
            let key = (position.service.name().to_owned(), u32::from(position.shard.0));
            self.at.insert(key, position.seq.0);
        }
    }

    pub fn positions(&self) -> Vec<Position> {
        let positions = self.at.iter();
        positions
            .map(|((service, shard), seq)| Position { service: service.clone(), shard: *shard, seq: *seq })
            .collect()
    }

    pub fn options(&self, viewer: u64) -> Option<ReadOptions> {
        Some(ReadOptions { at_least: self.positions(), viewer_id: viewer, server_id: SERVER })
    }

    pub fn context(actor: u64, key: &str) -> Option<CommandContext> {
        Some(CommandContext {
            server_id: SERVER,
            actor_id: actor,
            idempotency_key: key.to_owned(),
            ..Default::default()
        })
    }

    pub fn account_at(&mut self, home: u64) -> u64 {
        let shard = Shard(u16::try_from(self.double.history().homes.len()).unwrap() % SHARDS);
        let id = self.id(shard);
        self.double.history().homes.insert(id, (home, identity::AccountState::Active));
        id
    }

    pub fn account(&mut self) -> u64 {
        self.account_at(SERVER)
    }

    fn pair(one: u64, other: u64) -> Shard {
        let (low, high) = (one.min(other), one.max(other));
        ShardCount::new(SHARDS).unwrap().of_parts(&[&low.to_be_bytes(), &high.to_be_bytes()])
    }

    pub async fn follow(&mut self, follower: u64, followed: u64) {
        self.follow_with(follower, followed, true).await;
    }

    pub async fn follow_with(&mut self, follower: u64, followed: u64, show_boosts: bool) {
        let options = identity::FollowOptions { show_boosts, ..Default::default() };
        self.follow_as(follower, followed, options).await;
    }

    pub async fn follow_as(&mut self, follower: u64, followed: u64, options: identity::FollowOptions) {
        self.double.history().follows.insert((follower, followed), options.clone());
        let event = identity::FollowStarted {
            follow_id: self.id(Shard(0)),
            follower_id: follower,
            followed_id: followed,
            follower_server_id: SERVER,
            followed_server_id: SERVER,
            options: Some(options),
            ..Default::default()
        };
        self.append(Service::Identity, Self::pair(follower, followed), &event).await;
    }

    pub async fn request_follow(&mut self, follower: u64, followed: u64) {
        let event = identity::FollowRequested {
            follower_id: follower,
            followed_id: followed,
            followed_server_id: SERVER,
            ..Default::default()
        };
        self.append(Service::Identity, Self::pair(follower, followed), &event).await;
    }

    pub async fn unfollow(&mut self, follower: u64, followed: u64) {
        self.double.history().follows.remove(&(follower, followed));
        let event =
            identity::FollowEnded { follower_id: follower, followed_id: followed, ..Default::default() };
        self.append(Service::Identity, Self::pair(follower, followed), &event).await;
    }

    pub async fn block(&mut self, blocker: u64, blocked: u64) {
        self.double.history().blocks.push((blocker, blocked));
        let event = identity::BlockStarted { blocker_id: blocker, blocked_id: blocked, ..Default::default() };
        self.append(Service::Identity, Self::pair(blocker, blocked), &event).await;
    }

    pub async fn unblock(&mut self, blocker: u64, blocked: u64) {
        self.double.history().blocks.retain(|pair| *pair != (blocker, blocked));
        let event = identity::BlockEnded { blocker_id: blocker, blocked_id: blocked, ..Default::default() };
        self.append(Service::Identity, Self::pair(blocker, blocked), &event).await;
    }

    pub async fn mute(&mut self, muter: u64, muted: u64, expires_ms: u64) {
        self.double.history().mutes.insert((muter, muted), (expires_ms, true));
        let event = identity::MuteStarted {
            muter_id: muter,
            muted_id: muted,
            notifications: true,
            expires_ms,
            ..Default::default()
        };
        self.append(Service::Identity, Self::pair(muter, muted), &event).await;
    }

    pub async fn suspend(&mut self, account: u64) {
        let home = (SERVER, identity::AccountState::Suspended);
        self.double.history().homes.insert(account, home);
        let event =
            identity::AccountSuspended { account_id: account, server_id: SERVER, scope_server_id: SERVER };
        self.append(Service::Identity, p92_kernel::Id::new(account).unwrap().shard(), &event).await;
    }

    pub async fn post(&mut self, author: u64, like: Like) -> u64 {
        let shard = p92_kernel::Id::new(author).unwrap().shard();
        let id = self.id(shard);
        let visibility = i32::from(like.visibility.unwrap_or(posting::Visibility::Public));
        let home = like.home.unwrap_or(SERVER);
        let answered = self.double.history().posts.get(&like.answers).map_or(0, |post| post.entry.author_id);
        let entry = posting::OutboxEntry {
            id,
            author_id: author,
            author_home_id: home,
            post_id: id,
            post_author_id: author,
            visibility,
            in_reply_to_id: like.answers,
            in_reply_to_author_id: answered,
            mentioned_ids: like.names.clone(),
            post_visibility: visibility,
            is_reply: like.answers != 0,
            language: like.language.to_owned(),
            ..Default::default()
        };
        let tags: Vec<String> = like.tags.iter().map(|tag| (*tag).to_owned()).collect();
        self.double.history().posts.insert(id, StoredPost { entry, tags: tags.clone() });
        let event = posting::PostPublished {
            post_id: id,
            author_id: author,
            author_home_id: home,
            visibility,
            in_reply_to_id: like.answers,
            in_reply_to_author_id: answered,
            mentioned_ids: like.names,
            language: like.language.to_owned(),
            tags: tags.iter().map(|_| posting::SealedTag::default()).collect(),
            ..Default::default()
        };
        self.append(Service::Posting, shard, &event).await;
        id
    }

    pub async fn delete(&mut self, post: u64) {
        let boosts: Vec<u64> = {
            let history = self.double.history();
            history.boosts.iter().filter(|(_, (of, _))| *of == post).map(|(id, _)| *id).collect()
        };
        for boost in boosts {
            self.unboost(boost).await;
        }
        let Some(stored) = self.double.history().posts.remove(&post) else { return };
        let event = posting::PostDeleted {
            post_id: post,
            author_id: stored.entry.author_id,
            author_home_id: stored.entry.author_home_id,
            mentioned_ids: stored.entry.mentioned_ids,
            visibility: stored.entry.visibility,
            ..Default::default()
        };
        self.append(Service::Posting, p92_kernel::Id::new(post).unwrap().shard(), &event).await;
    }

    pub async fn boost(&mut self, by: u64, post: u64) -> u64 {
        let shard = p92_kernel::Id::new(post).unwrap().shard();
        let id = self.id(shard);
        let of = self.double.history().posts[&post].entry.clone();
        self.double.history().boosts.insert(id, (post, by));
        let event = posting::PostBoosted {
            boost_id: id,
            post_id: post,
            actor_id: by,
            author_id: of.post_author_id,
            author_home_id: of.author_home_id,
            visibility: posting::Visibility::Public.into(),
            post_visibility: of.post_visibility,
            in_reply_to_id: of.in_reply_to_id,
            in_reply_to_author_id: of.in_reply_to_author_id,
            is_reply: of.is_reply,
            mentioned_ids: of.mentioned_ids,
            language: of.language,
            ..Default::default()
        };
        self.append(Service::Posting, shard, &event).await;
        id
    }

    pub async fn unboost(&mut self, boost: u64) {
        let Some((post, by)) = self.double.history().boosts.remove(&boost) else { return };
        let event =
            posting::PostUnboosted { boost_id: boost, post_id: post, actor_id: by, ..Default::default() };
        self.append(Service::Posting, p92_kernel::Id::new(post).unwrap().shard(), &event).await;
    }

    pub async fn like(&mut self, by: u64, post: u64, likes: bool) {
        let author = self.double.history().posts[&post].entry.author_id;
        let shard = p92_kernel::Id::new(post).unwrap().shard();
        if likes {
            let event = posting::PostLiked {
                post_id: post,
                actor_id: by,
                author_id: author,
                author_home_id: SERVER,
                ..Default::default()
            };
            self.append(Service::Posting, shard, &event).await;
        } else {
            let event = posting::PostUnliked { post_id: post, actor_id: by, ..Default::default() };
            self.append(Service::Posting, shard, &event).await;
        }
    }

    pub async fn page(
        &self,
        viewer: u64,
        window: IdWindow,
        source: proto::TimelineSource,
    ) -> Result<Vec<proto::TimelineEntry>, tonic::Status> {
        let request = proto::ListHomeRequest {
            options: self.options(viewer),
            window: Some(window),
            source: source.into(),
        };
        Ok(self.home.clone().list_home(request).await?.into_inner().entries)
    }

    /// The newest ids of a home, and which way they came, if the reader does not choose it.
    pub async fn newest(&self, viewer: u64) -> Result<(Vec<u64>, proto::TimelineSource), tonic::Status> {
        let window = Some(IdWindow { limit: 8, ..Default::default() });
        let request = proto::ListHomeRequest { options: self.options(viewer), window, ..Default::default() };
        let page = self.home.clone().list_home(request).await?.into_inner();
        Ok((page.entries.iter().map(|entry| entry.id).collect(), page.source()))
    }

    /// The newest ids of a home, which must be the same both ways.
    pub async fn home(&self, viewer: u64) -> Vec<u64> {
        let window = IdWindow { limit: 8, ..Default::default() };
        let merged = self.page(viewer, window, proto::TimelineSource::Merge).await.unwrap();
        let remembered = self.page(viewer, window, proto::TimelineSource::Memory).await.unwrap();
        assert_eq!(merged, remembered);
        merged.iter().map(|entry| entry.id).collect()
    }

    pub async fn notifications(&self, viewer: u64) -> Vec<proto::Notification> {
        let request = proto::ListNotificationsRequest { options: self.options(viewer), ..Default::default() };
        self.notes.clone().list_notifications(request).await.unwrap().into_inner().notifications
    }

    pub fn timelines_client(&self) -> TimelineServiceClient<Transport> {
        self.home.clone()
    }
}
