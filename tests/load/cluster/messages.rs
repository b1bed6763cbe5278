//! Messages over the bus for each delivery, as the bus itself counts them.

use super::crowd::{Crowd, FOLLOWERS, doors};
use super::ground::Ground;
use super::homes::{arrived, delivered};
use crate::http1::Client;
use crate::writers::{MANY, Turns, at_once};
use anyhow::Context as _;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How long the last posts may take into all homes.
const WITHIN: Duration = Duration::from_secs(30);

/// What crossed the bus.
#[derive(Clone, Copy, Debug)]
pub struct Crossed {
    pub posts: usize,
    /// In and out, whatever they were for.
    pub messages: u64,
    /// What timelines counted.
    pub counted: u64,
}

impl Crossed {
    /// Posts, times their followers.
    pub const fn deliveries(&self) -> f64 {
        (self.posts * FOLLOWERS) as f64
    }
}

/// Messages that came to NATS and went from it so far: publishes, acknowledgements, deliveries, requests.
async fn counted(ground: &Ground) -> anyhow::Result<u64> {
    let monitor = ground.bus("monitor")?;
    let told = Client::connect(&monitor, "").await?.get("/varz").await?;
    let told: Value = serde_json::from_slice(&told)?;
    let of = |name: &str| {
        told.get(name).and_then(Value::as_u64).with_context(|| format!("NATS does not tell its {name}"))
    };
    Ok(of("in_msgs")? + of("out_msgs")?)
}

/// Posts of the followed, by many writers through the gateways, until all are in the homes of their followers.
pub async fn run(ground: &Ground, crowd: &Crowd, name: String, each: Duration) -> anyhow::Result<Crossed> {
    let turns = Turns::keyed(crowd.followed().to_vec(), name);
    let writers = doors(ground, MANY).await?.into_iter().map(|door| (door, Arc::clone(&turns))).collect();
    let (before, already) = (counted(ground).await?, delivered(ground).await?);
    let (latencies, _) = at_once(writers, each).await?;
    let posts = latencies.len();
    let came = arrived(ground, &already, (posts * FOLLOWERS) as u64, WITHIN).await?;
    let messages = counted(ground).await?.saturating_sub(before);
    Ok(Crossed { posts, messages, counted: came.values().sum() })
}
