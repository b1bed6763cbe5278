//! One replica of timelines against two, over a recorded log with nothing else running.
//!
//! The replicas are paused, posts are written into the log, and the writers end. Then the replicas go on and catch up: what
//! each has used until all is delivered is what it costs. Homes stay in memory meanwhile, as they do in a process that is
//! stopped for a moment; a replica that starts anew would not deliver these posts at all, since it reads posting's log from
//! where it stands and merges what was before.

use super::crowd::Crowd;
use super::ground::Ground;
use super::homes::{Delivered, Publisher, delivered, rounds};
use crate::cpu;
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What others have still to do for posts is done by then.
const QUIET: Duration = Duration::from_secs(3);

/// What the replicas did.
#[derive(Clone, Debug)]
pub struct CaughtUp {
    /// By replica: deliveries per CPU-second of it, everything counted that it did until the end.
    pub per_core: BTreeMap<String, f64>,
    /// The same without what it uses at rest in that time.
    pub per_core_busy: BTreeMap<String, f64>,
    pub posts: usize,
}

impl CaughtUp {
    /// The mean of all replicas.
    pub fn mean(figures: &BTreeMap<String, f64>) -> f64 {
        figures.values().sum::<f64>() / figures.len().max(1) as f64
    }
}

fn used(ground: &Ground, names: &[String]) -> anyhow::Result<Vec<Duration>> {
    names.iter().map(|name| cpu::exactly(ground.pid(name)?)).collect()
}

/// Has the replicas catch up with `of_each` posts of each followed author; `one` is what each delivers of one round.
pub async fn run(
    ground: &Ground,
    crowd: &Crowd,
    publisher: &Arc<Publisher>,
    one: &Delivered,
    of_each: usize,
) -> anyhow::Result<CaughtUp> {
    let names = ground.all_of("timelines");
    let (began, before) = (Instant::now(), used(ground, &names)?);
    tokio::time::sleep(QUIET).await;
    let rest: Vec<f64> = used(ground, &names)?
        .iter()
        .zip(before)
        .map(|(now, then)| now.saturating_sub(then).as_secs_f64() / began.elapsed().as_secs_f64())
        .collect();
    let counted = delivered(ground).await?;
    ground.signal(&names, Signal::SIGSTOP)?;
    let written = publisher.publish(of_each).await;
    if written.is_ok() {
        tokio::time::sleep(QUIET).await;
    }
    let before = used(ground, &names)?;
    ground.signal(&names, Signal::SIGCONT)?;
    written?;
    let began = Instant::now();
    let came = rounds(ground, &counted, one, of_each).await?;
    let (after, took) = (used(ground, &names)?, began.elapsed().as_secs_f64());
    let (mut per_core, mut per_core_busy) = (BTreeMap::new(), BTreeMap::new());
    for (((name, now), then), rest) in names.iter().zip(after).zip(before).zip(rest) {
        let deliveries = came.get(name).copied().unwrap_or_default() as f64;
        let seconds = now.saturating_sub(then).as_secs_f64();
        per_core.insert(name.clone(), deliveries / seconds.max(1e-6));
        per_core_busy.insert(name.clone(), deliveries / (seconds - rest * took).max(1e-6));
    }
    Ok(CaughtUp { per_core, per_core_busy, posts: of_each * crowd.followed().len() })
}
