//! From the moment a post is sent until a follower's home has it, while others write at half of what they could.

use crate::Effort;
use crate::http1::Client;
use crate::node::{Node, People};
use crate::writers::quantile;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long posts took.
#[derive(Clone, Debug)]
pub struct Reach {
    pub p50: Duration,
    pub p99: Duration,
    pub posts: usize,
}

/// Writes at a steady pace until told to stop; whoever falls behind does not catch up.
async fn pace(
    mut client: Client,
    first: Instant,
    every: Duration,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval_at(first.into(), every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        client.post("/api/v1/statuses", "status=beside+the+one+that+is+measured".to_owned()).await?;
    }
    Ok(())
}

/// Measures with `beside` posts a second by others.
pub async fn run(node: &Node, people: &People, beside: f64, effort: Effort) -> anyhow::Result<Reach> {
    let stop = Arc::new(AtomicBool::new(false));
    let writers = people.writers();
    let every = Duration::from_secs_f64(writers.len() as f64 / beside.max(1.0));
    let mut tasks = Vec::new();
    // Each in turn: all at once would be a burst and a pause, not a half load.
    let begin = Instant::now() + Duration::from_millis(500);
    for (number, person) in (0..).zip(writers) {
        let client = Client::connect(&node.http, &person.token).await?;
        let first = begin + every * number / u32::try_from(writers.len())?;
        tasks.push(tokio::spawn(pace(client, first, every, Arc::clone(&stop))));
    }
    let mut took = Vec::new();
    let mut author = Client::connect(&node.http, &people.author()?.token).await?;
    let mut reader = Client::connect(&node.http, &people.reader()?.token).await?;
    let until = Instant::now() + effort.each * u32::try_from(effort.runs)?;
    while Instant::now() < until {
        let began = Instant::now();
        let made = author.post("/api/v1/statuses", "status=the+one+that+is+awaited".to_owned()).await?;
        let made: serde_json::Value = serde_json::from_slice(&made)?;
        let id = made.get("id").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        // Its place is known, so one entry is asked for: the page that has it, whatever others write meanwhile.
        let below = id.parse::<u64>()?.saturating_add(1);
        let path = format!("/api/v1/timelines/home?limit=1&max_id={below}");
        let wanted = format!("\"id\":\"{id}\"");
        loop {
            let page = reader.get(&path).await?;
            if memchr(&page, wanted.as_bytes()) {
                break;
            }
            anyhow::ensure!(
                began.elapsed() < Duration::from_secs(10),
                "post {id} did not reach a home within 10 s"
            );
        }
        took.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await??;
    }
    took.sort();
    Ok(Reach { p50: quantile(&took, 0.5), p99: quantile(&took, 0.99), posts: took.len() })
}

fn memchr(page: &[u8], wanted: &[u8]) -> bool {
    page.windows(wanted.len()).any(|part| part == wanted)
}
