//! Ranking on a real platform, and a log of posting.

use futures::FutureExt as _;
use p92_chassis::{SystemRandom, Transport};
use p92_eventlog::ground::{Ground, Site};
use p92_eventlog::{Aggregate, CommandMeta, NewEvent, Platform, Poison, Recorded, Runtime, Spec, Stream};
use p92_kernel::{AccountId, Clock, Id, IdMint, Millis, Service, Shard};
use p92_proto::event::v1::{Position, ReadOptions};
use p92_proto::posting::v1::{self as posting, SealedTag, Visibility};
use p92_proto::ranking::v1::ranking_service_client::RankingServiceClient;
use p92_proto::ranking::v1::*;
use p92_ranking::{Config, Deps, Ranking, tables};
use prost::{Message, Name};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tonic::Status;

pub const HOME: u64 = 77;
pub const OTHER: u64 = 78;
const SHARDS: u16 = 2;

/// 2026-01-10, 12:00 UTC.
const NOON: u64 = 1_768_046_400_000;
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Time goes on from a noon, so that no test meets midnight.
#[derive(Debug)]
struct FromNoon;

impl Clock for FromNoon {
    fn now(&self) -> Millis {
        Millis(NOON + u64::try_from(STARTED.elapsed().as_millis()).unwrap())
    }

    fn monotonic(&self) -> Duration {
        STARTED.elapsed()
    }
}

/// A stream of posting, of which nothing is known here.
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

/// A post as it was published.
#[derive(Clone, Debug)]
pub struct Posted {
    pub id: u64,
    pub author: u64,
    pub server: u64,
    pub visibility: Visibility,
    pub tags: Vec<String>,
}

pub struct World {
    pub ranking: Ranking,
    client: RankingServiceClient<Transport>,
    platform: Arc<Platform>,
    ground: Ground,
    posting: Arc<Runtime>,
    at: BTreeMap<u32, u64>,
    minted: BTreeMap<u64, IdMint>,
}

impl World {
    pub async fn open(dir: &Path) -> Self {
        let site = Site { name: "ranking", shards: SHARDS, tables: &tables::ALL };
        let ground = Ground::open(dir, site, Arc::new(FromNoon), Arc::new(SystemRandom)).await;
        let platform = Arc::clone(&ground.platform);
        let spec = Spec { service: Service::Posting, views: vec![], consumers: vec![] };
        let posting = Runtime::start(&platform, spec).await.unwrap();
        posting.ready().await;
        let deps = Deps { platform: Arc::clone(&platform) };
        let ranking = p92_ranking::run(Config::default(), deps).await.unwrap();
        ranking.runtime().ready().await;
        let client = RankingServiceClient::new(Transport::local(ranking.grpc_service()));
        let (at, minted) = (BTreeMap::new(), BTreeMap::new());
        Self { ranking, client, platform, ground, posting, at, minted }
    }

    pub async fn close(self) {
        self.ground.close().await;
    }

    pub fn now(&self) -> u64 {
        self.platform.clock.now().0
    }

    fn mint(&mut self, millis: u64, shard: Shard) -> u64 {
        let key = millis * u64::from(SHARDS) + u64::from(shard.0);
        let mint =
            self.minted.entry(key).or_insert_with(|| IdMint::new(Service::Posting, shard, Millis(millis)));
        mint.next(Millis(millis)).get()
    }

    /// An account whose shard is the rest of its number.
    pub fn account(&self, number: u16) -> u64 {
        let born = Millis(1_000_000 + u64::from(number) * 10);
        IdMint::new(Service::Identity, Shard(number % SHARDS), born).next(born).get()
    }

    /// A post with tags, published so many days ago.
    pub async fn publish(&mut self, author: u64, days_ago: u64, tags: &[&str]) -> Posted {
        self.publish_as(author, HOME, Visibility::Public, days_ago, tags).await
    }

    pub async fn publish_as(
        &mut self,
        author: u64,
        server: u64,
        visibility: Visibility,
        days_ago: u64,
        tags: &[&str],
    ) -> Posted {
        let id = self.mint(self.now() - days_ago * 86_400_000, Id::new(author).unwrap().shard());
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let posted = Posted { id, author, server, visibility, tags };
        self.append(&posted, &posted.tags, |sealed| posting::PostPublished {
            post_id: id,
            author_id: author,
            author_home_id: server,
            visibility: visibility.into(),
            tags: sealed,
            ..Default::default()
        })
        .await;
        posted
    }

    pub async fn edit(&mut self, post: &mut Posted, tags: &[&str]) {
        let previous = post.tags.iter().map(|tag| self.key(tag)).collect();
        post.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        self.append(post, &post.tags, |sealed| posting::PostEdited {
            post_id: post.id,
            author_id: post.author,
            author_home_id: post.server,
            visibility: post.visibility.into(),
            tags: sealed,
            previous_tag_keys: previous,
            ..Default::default()
        })
        .await;
    }

    pub async fn delete(&mut self, post: &Posted) {
        let keys = post.tags.iter().map(|tag| self.key(tag)).collect();
        self.append(post, &[], |_| posting::PostDeleted {
            post_id: post.id,
            author_id: post.author,
            author_home_id: post.server,
            visibility: post.visibility.into(),
            tag_keys: keys,
            ..Default::default()
        })
        .await;
        let stream = Stream::new("post", post.id);
        self.platform.keyring.destroy_content(Service::Posting, &stream).await.unwrap();
    }

    fn key(&self, tag: &str) -> bytes::Bytes {
        bytes::Bytes::copy_from_slice(&self.platform.keyring.blind("tag", tag.to_lowercase().as_bytes()))
    }

    /// Appends what is made of these sealed tags to the log of posting.
    async fn append<M: Message + Name>(
        &mut self,
        post: &Posted,
        tags: &[String],
        made: impl FnOnce(Vec<SealedTag>) -> M,
    ) {
        let (shard, stream) = (Id::new(post.id).unwrap().shard(), Stream::new("post", post.id));
        let subject = AccountId::new(post.author).unwrap();
        let keyring = Arc::clone(&self.platform.keyring);
        let mut sealed = Vec::new();
        for tag in tags {
            let (key, write) = keyring.key_to_seal(Service::Posting, subject, &stream).await.unwrap();
            if let Some(write) = write {
                self.platform.engine.write(vec![write]).await.unwrap();
            }
            let name = keyring.seal(&key, subject, &stream, "tag", tag.as_bytes()).unwrap();
            sealed.push(SealedTag { key: self.key(tag), name: Some(name) });
        }
        let event = NewEvent::of(&made(sealed));
        let meta = CommandMeta::internal(post.server, String::new());
        let done = self.posting.execute(shard, meta, move |round| {
            let (stream, event) = (stream.clone(), event.clone());
            async move { round.emit::<Foreign>(&stream, &[event]).await }.boxed()
        });
        for position in done.await.unwrap().positions {
            self.at.insert(u32::from(position.shard.0), position.seq.0);
        }
    }

    pub async fn ask(&self, request: ListTrendingTagsRequest) -> Result<Vec<TrendingTag>, Status> {
        Ok(self.client.clone().list_trending_tags(request).await?.into_inner().tags)
    }

    pub async fn trends(&self, server: u64) -> Vec<TrendingTag> {
        let position = |(shard, seq): (&u32, &u64)| Position {
            service: Service::Posting.name().to_owned(),
            shard: *shard,
            seq: *seq,
        };
        let at_least = self.at.iter().map(position).collect();
        let options = Some(ReadOptions { at_least, server_id: server, ..Default::default() });
        self.ask(ListTrendingTagsRequest { options, page_size: 100, skip: 0 }).await.unwrap()
    }

    /// Names of what trends, with uses and accounts of the whole week.
    pub async fn named(&self, server: u64) -> Vec<(String, u64, u64)> {
        let sum = |tag: &TrendingTag, what: fn(&TagDay) -> u64| tag.days.iter().map(what).sum();
        let trends = self.trends(server).await;
        trends.iter().map(|tag| (tag.name.clone(), sum(tag, |d| d.uses), sum(tag, |d| d.accounts))).collect()
    }
}
