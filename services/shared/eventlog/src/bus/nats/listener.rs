//! One consumer per service and process, and the supervisor that watches over it.
//!
//! It asks for the logs that somebody in this process listens to, and hands each message to all who do: the number of
//! messages depends on processes, not on shards or readers. The consumer is ordered in the sense of the server (a pull
//! consumer in memory, without durable state and acknowledgements). The driver's own ordered consumer is not used: it makes
//! itself anew inside, reports neither a deleted stream nor missed heartbeats, and after a wipe asks the new stream for the
//! old sequence. Here whatever happens ends the consumer, and the next begins with what is new: gaps are for the readers,
//! who see them by their sequence numbers and read the log.

use super::silence::Silence;
use super::state::Link;
use super::{Inner, publisher, streams};
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, StreamError, pull};
use async_nats::jetstream::stream::ConsumerError;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::stream::StreamExt as _;
use p92_kernel::{Service, Shard};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// How often the supervisor looks.
const LOOK: Duration = Duration::from_millis(250);
/// At a start many readers begin at once; one consumer is made for all of them.
const GATHER: Duration = Duration::from_millis(30);
/// After a failure.
const AGAIN: Duration = Duration::from_millis(500);
/// A consumer that brings more than anybody wants is exchanged after this long: readers come back.
const TOO_MUCH: Duration = Duration::from_secs(10);
/// Messages that one pull asks for. It is also what may wait here unread; the next pull goes out at half of it.
const BATCH: usize = 512;
/// How long a pull stays open, and how often the server says meanwhile that it is still there.
const PULL: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The server forgets a consumer without pulls after this long.
const FORGET: Duration = Duration::from_secs(30);

/// Why there is no consumer.
#[derive(Debug, thiserror::Error)]
enum Unopened {
    #[error(transparent)]
    Stream(#[from] streams::Missing),
    #[error("its consumer cannot be made: {0}")]
    Consumer(#[from] ConsumerError),
    #[error("its consumer cannot be asked: {0}")]
    Pull(#[from] StreamError),
}

/// Why a consumer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Other logs are listened to.
    Wanted,
    /// The connection is gone, or another.
    Link,
    /// The server or the driver says that it is broken.
    Broken,
    /// A head moved and nothing came.
    Silent,
}

struct Subscription {
    shards: BTreeSet<Shard>,
    name: String,
    messages: pull::Stream,
}

/// The listener of one service.
pub(super) struct Listener {
    inner: Arc<Inner>,
    service: Service,
    silence: Silence,
    had_one: bool,
}

impl Listener {
    pub(super) fn new(inner: Arc<Inner>, service: Service) -> Self {
        Self { inner, service, silence: Silence::new(), had_one: false }
    }

    /// Runs until the bus stops.
    pub(super) async fn run(mut self) {
        let inner = Arc::clone(&self.inner);
        tokio::select! {
            () = inner.stopping.cancelled() => {}
            () = self.listen() => {}
        }
    }

    async fn listen(&mut self) {
        let mut before: Option<Subscription> = None;
        loop {
            let shards = self.wanted(&mut before).await;
            let Some(link) = self.connected().await else { return };
            let opened = self.open(shards).await;
            // What the one before holds came before the new one was made.
            if let Some(old) = before.take() {
                self.leave(old);
            }
            let mut now = match opened {
                Ok(subscription) => subscription,
                Err(problem) => {
                    self.inner.state.stream(self.service, Some(problem.to_string()));
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            let end = self.follow(&mut now, link).await;
            tracing::debug!(service = %self.service, ?end, "a consumer of the bus ended");
            match end {
                End::Wanted => before = Some(now),
                End::Silent => {
                    tracing::warn!(service = %self.service, "the bus is silent while the log grows; the consumer is made anew");
                    self.leave(now);
                }
                End::Broken => tokio::time::sleep(GATHER).await,
                End::Link => {}
            }
        }
    }

    /// The shards to whose logs somebody listens; waits until there is one.
    async fn wanted(&mut self, before: &mut Option<Subscription>) -> BTreeSet<Shard> {
        loop {
            let shards = self.inner.topics.listened(self.service);
            if !shards.is_empty() {
                return shards;
            }
            if let Some(old) = before.take() {
                self.leave(old);
            }
            self.inner.wants(self.service).notified().await;
            tokio::time::sleep(GATHER).await;
        }
    }

    async fn connected(&self) -> Link {
        let mut links = self.inner.state.links();
        links.wait_for(Option::is_some).await.ok().and_then(|link| *link)
    }

    async fn open(&mut self, shards: BTreeSet<Shard>) -> Result<Subscription, Unopened> {
        let inner = Arc::clone(&self.inner);
        inner.streams.ensure(self.service).await?;
        let all = shards.len() == usize::from(inner.topics.shards().get());
        let mut config = pull::Config {
            description: Some(inner.name.clone()),
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::None,
            max_deliver: 1,
            inactive_threshold: FORGET,
            num_replicas: 1,
            memory_storage: true,
            ..pull::Config::default()
        };
        if all {
            config.filter_subject = streams::subjects(self.service);
        } else {
            let subject = |shard: &Shard| {
                streams::subject(p92_storage::LogKey { service: self.service, shard: *shard })
            };
            config.filter_subjects = shards.iter().map(subject).collect();
        }
        let consumer =
            inner.streams.jetstream.create_consumer_on_stream(config, streams::name(self.service)).await?;
        inner.stands.begin(self.service);
        self.silence.begin();
        let pulls = consumer.stream().max_messages_per_batch(BATCH).expires(PULL).heartbeat(HEARTBEAT);
        let messages = pulls.messages().await?;
        if std::mem::replace(&mut self.had_one, true) {
            inner.tallies.resubscriptions.of(self.service);
        }
        Ok(Subscription { shards, name: consumer.cached_info().name.clone(), messages })
    }

    /// Hands out what comes, until something is wrong with the consumer.
    async fn follow(&mut self, subscription: &mut Subscription, link: u64) -> End {
        let inner = Arc::clone(&self.inner);
        let mut links = inner.state.links();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut too_much: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                _ = links.wait_for(|now| *now != Some(link)) => return End::Link,
                () = inner.wants(self.service).notified() => look.reset_after(GATHER),
                _ = look.tick() => {
                    let wanted = inner.topics.listened(self.service);
                    if !wanted.is_subset(&subscription.shards) {
                        return End::Wanted;
                    }
                    if wanted == subscription.shards {
                        too_much = None;
                    } else if too_much.get_or_insert_with(Instant::now).elapsed() >= TOO_MUCH {
                        return End::Wanted;
                    }
                    if self.silence.is_too_long(&inner.stands, self.service, &wanted) {
                        return End::Silent;
                    }
                }
                message = subscription.messages.next() => match message {
                    Some(Ok(message)) => self.deliver(&message),
                    Some(Err(problem)) => {
                        tracing::debug!(service = %self.service, %problem, "a consumer of the bus is broken");
                        return End::Broken;
                    }
                    None => return End::Broken,
                },
            }
        }
    }

    fn deliver(&mut self, message: &Message) {
        self.silence.heard();
        self.inner.tallies.received.of(self.service);
        if !self.inner.key.is_proven(&message.payload, message.headers.as_ref()) {
            return self.inner.tallies.unproven.of(self.service);
        }
        let Some(log) = streams::log(self.service, &message.subject) else { return };
        self.inner.stands.delivered(log, message.payload.clone());
        let from = message.headers.as_ref().and_then(|headers| headers.get(publisher::FROM));
        if from.is_some_and(|from| from.as_str() == self.inner.id) {
            return;
        }
        // A copy, so that an event that is kept does not keep the connection's read buffer with it.
        self.inner.topics.send(log, Bytes::copy_from_slice(&message.payload));
    }

    /// Lets go of a consumer whose place another takes. The server would forget it by itself, only later.
    fn leave(&mut self, mut old: Subscription) {
        while let Some(Some(Ok(message))) = old.messages.next().now_or_never() {
            self.deliver(&message);
        }
        let (inner, service) = (Arc::clone(&self.inner), self.service);
        self.inner.tasks.spawn(async move {
            let deleted =
                inner.streams.jetstream.delete_consumer_from_stream(&old.name, streams::name(service));
            if let Err(error) = deleted.await {
                tracing::debug!(%service, %error, "a consumer of the bus is left to be forgotten");
            }
        });
    }
}
