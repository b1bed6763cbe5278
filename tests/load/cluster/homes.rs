//! Homes in the memory of timelines, and posts that are put into them: filled, checked by what timelines counts itself.

use super::crowd::{Crowd, FOLLOWERS, channels};
use super::ground::Ground;
use anyhow::Context as _;
use indicatif::ProgressBar;
use p92_proto::event::v1::CommandContext;
use p92_proto::posting::v1 as posting;
use posting::post_service_client::PostServiceClient;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tonic::transport::Channel;

/// How many posts are under way at once where they are made without the gateways.
const AT_ONCE: usize = 64;
/// How long slots may take to settle, with everybody's memory, after processes came or went.
const SETTLES_WITHIN: Duration = Duration::from_secs(300);
/// How long posts may take into all homes, and how often it is looked.
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(500);

/// What each replica of timelines has delivered, by its name.
pub type Delivered = BTreeMap<String, u64>;

/// What all replicas of timelines have put into homes so far.
pub async fn delivered(ground: &Ground) -> anyhow::Result<Delivered> {
    let mut delivered = Delivered::new();
    for name in ground.all_of("timelines") {
        let count = ground.scrape(&name).await?.sum("p92_timelines_deliveries_total", "");
        let count = count.with_context(|| {
            format!("{name} does not count its deliveries\n  what to do: measure a p92 of this commit")
        })?;
        delivered.insert(name, count as u64);
    }
    Ok(delivered)
}

/// What came since.
pub fn since(now: &Delivered, before: &Delivered) -> Delivered {
    let then = |name: &String| before.get(name).copied().unwrap_or_default();
    now.iter().map(|(name, count)| (name.clone(), count.saturating_sub(then(name)))).collect()
}

/// Waits until so much has come since then; what came, or what had come when it was given up.
pub async fn arrived(
    ground: &Ground,
    before: &Delivered,
    wanted: u64,
    within: Duration,
) -> anyhow::Result<Delivered> {
    let until = Instant::now() + within;
    loop {
        let came = since(&delivered(ground).await?, before);
        if came.values().sum::<u64>() >= wanted || Instant::now() >= until {
            return Ok(came);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Publishes by the followed in turn, as gateways do it but without them.
#[derive(Debug)]
pub struct Publisher {
    posting: Vec<Channel>,
    server_id: u64,
    authors: Vec<u64>,
    /// Begins the keys of its posts: with the keys of another one its posts would be repetitions of that one's.
    name: &'static str,
    next: AtomicUsize,
}

impl Publisher {
    pub async fn new(ground: &Ground, crowd: &Crowd, name: &'static str) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            posting: channels(ground, "posting").await?,
            server_id: crowd.server_id,
            authors: crowd.followed().iter().map(|person| person.id).collect(),
            name,
            next: AtomicUsize::new(0),
        }))
    }

    /// So many posts of each author.
    pub async fn publish(self: &Arc<Self>, of_each: usize) -> anyhow::Result<()> {
        let end = self.next.load(Ordering::Relaxed) + of_each * self.authors.len();
        let tasks: Vec<_> =
            (0..AT_ONCE).map(|hand| tokio::spawn(Arc::clone(self).until(hand, end))).collect();
        for task in tasks {
            task.await??;
        }
        // Each hand took one more than there was to do.
        self.next.store(end, Ordering::Relaxed);
        Ok(())
    }

    async fn until(self: Arc<Self>, hand: usize, end: usize) -> anyhow::Result<()> {
        let channel = self.posting.get(hand % self.posting.len().max(1)).context("no posting")?;
        let mut posts = PostServiceClient::new(channel.clone());
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= end {
                return Ok(());
            }
            let author =
                self.authors.get(number % self.authors.len().max(1)).copied().context("no author")?;
            let request = posting::PublishPostRequest {
                context: Some(CommandContext {
                    server_id: self.server_id,
                    actor_id: author,
                    idempotency_key: format!("{}-{number}", self.name),
                    ..Default::default()
                }),
                text: format!("post {number} of a followed one and a few more words to carry"),
                visibility: posting::Visibility::Public.into(),
                ..Default::default()
            };
            posts.publish_post(request).await.with_context(|| format!("post {number}"))?;
        }
    }
}

/// Brings the homes of all followers into memory, and makes sure of it: one post of each author has to be delivered to
/// all of them. What each replica delivers of these posts.
pub async fn fill(
    ground: &Ground,
    crowd: &Crowd,
    publisher: &Arc<Publisher>,
    bar: &ProgressBar,
) -> anyhow::Result<Delivered> {
    let wanted = (crowd.followed().len() * FOLLOWERS) as u64;
    let until = Instant::now() + SETTLES_WITHIN;
    loop {
        crowd.read_homes(ground, bar, FOLLOWERS).await?;
        let before = delivered(ground).await?;
        publisher.publish(1).await?;
        let came = arrived(ground, &before, wanted, ARRIVES_WITHIN / 10).await?;
        let sum = came.values().sum::<u64>();
        if sum == wanted {
            return Ok(came);
        }
        anyhow::ensure!(
            Instant::now() < until,
            "{} posts were delivered {sum} times, not to {FOLLOWERS} homes each: {came:?}\n  what to do: have nothing \
             else run, since homes are merged and not kept where timelines cannot look at logs every half second; the \
             logs of timelines tell more: slots may still move, or homes be kept twice",
            crowd.followed().len()
        );
    }
}

/// Waits until that many rounds of one post of each author are delivered.
pub async fn rounds(
    ground: &Ground,
    before: &Delivered,
    one: &Delivered,
    rounds: usize,
) -> anyhow::Result<Delivered> {
    let wanted = one.values().sum::<u64>() * rounds as u64;
    let came = arrived(ground, before, wanted, ARRIVES_WITHIN).await?;
    let sum = came.values().sum::<u64>();
    anyhow::ensure!(
        sum >= wanted,
        "{sum} of {wanted} deliveries came within {} s: {came:?}",
        ARRIVES_WITHIN.as_secs()
    );
    Ok(came)
}
