//! Posts by many writers through all gateways in turn: how many are acknowledged, what they cost, and how soon they are
//! acknowledged and in a home at half of that.

use super::crowd::{Crowd, doors};
use super::ground::Ground;
use super::scrape::Load;
use crate::http1::Client;
use crate::reach::{Arrival, Beside, told};
use crate::writers::{MANY, Turns, at_once};
use crate::{Effort, cpu};
use anyhow::Context as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What readers and writers of rows have not done when the last post is acknowledged, they have done by then.
const TRAIL: Duration = Duration::from_secs(2);

/// Posts of one run.
#[derive(Clone, Debug)]
pub struct Posted {
    pub per_second: f64,
    /// Times of answers, sorted.
    pub latencies: Vec<Duration>,
    /// CPU time of each role while they were made.
    pub cpu: Vec<(&'static str, Duration)>,
    /// What one post asks of the store, without what is asked at rest.
    pub asked: Load,
}

async fn writers(ground: &Ground, turns: &Arc<Turns>) -> anyhow::Result<Vec<(Client, Arc<Turns>)>> {
    Ok(doors(ground, MANY).await?.into_iter().map(|door| (door, Arc::clone(turns))).collect())
}

fn used(ground: &Ground) -> anyhow::Result<Vec<(&'static str, Duration)>> {
    ground.roles()?.into_iter().map(|(role, pids)| Ok((role, cpu::used(&pids)?))).collect()
}

/// What is asked of the store in a second when nobody does anything.
pub async fn at_rest(ground: &Ground, each: Duration) -> anyhow::Result<Load> {
    let (began, before) = (Instant::now(), Load::of(ground).await?);
    tokio::time::sleep(each).await;
    let asked = Load::of(ground).await?.since(&before);
    Ok(asked.by(began.elapsed().as_secs_f64()))
}

/// Everybody in turn, by as many writers as there are connections.
pub async fn run(ground: &Ground, turns: &Arc<Turns>, rest: &Load, each: Duration) -> anyhow::Result<Posted> {
    let writers = writers(ground, turns).await?;
    let (began, asked, before) = (Instant::now(), Load::of(ground).await?, used(ground)?);
    let (latencies, took) = at_once(writers, each).await?;
    let cpu = used(ground)?;
    let cpu = cpu.into_iter().zip(before).map(|((role, now), (_, then))| (role, now.saturating_sub(then)));
    let cpu = cpu.collect();
    tokio::time::sleep(TRAIL).await;
    let asked = Load::of(ground).await?.since(&asked);
    let asked = asked.without(rest, began.elapsed().as_secs_f64()).by(latencies.len() as f64);
    Ok(Posted { per_second: latencies.len() as f64 / took.as_secs_f64(), latencies, cpu, asked })
}

/// What was seen at half load.
#[derive(Clone, Debug)]
pub struct Half {
    /// Of all who write, sorted.
    pub acknowledged: Vec<Duration>,
    /// Of the one whose posts are awaited.
    pub arrivals: Vec<Arrival>,
}

/// One author's posts on their way into a follower's home, while all others write so many a second.
pub async fn half(
    ground: &Ground,
    crowd: &Crowd,
    turns: &Arc<Turns>,
    beside: f64,
    effort: Effort,
) -> anyhow::Result<Half> {
    let gateways = ground.addresses("gateway", "http")?;
    // Through different doors, so that nothing that one of them remembers is a short cut.
    let (first, last) = (gateways.first().context("no gateway")?, gateways.last().context("no gateway")?);
    let mut author = Client::connect(first, &crowd.awaited()?.token).await?;
    let mut reader = Client::connect(last, &crowd.readers(1).first().context("nobody")?.token).await?;
    // The first page fills the home.
    reader.get("/api/v1/timelines/home?limit=1").await?;
    let stream = Client::connect(last, &crowd.readers(1).first().context("nobody")?.token).await?;
    let stream = stream.events("/api/v1/streaming/user").await?;
    let others = Beside::start(writers(ground, turns).await?, beside)?;
    // They begin one after the other.
    tokio::time::sleep(TRAIL).await;
    let arrivals = told(&mut author, &mut reader, stream, Instant::now() + effort.each).await?;
    let acknowledged = others.end().await?;
    anyhow::ensure!(!arrivals.is_empty() && !acknowledged.is_empty(), "nothing was posted at half load");
    Ok(Half { acknowledged, arrivals })
}
