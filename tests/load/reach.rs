//! From the moment a post is sent until a follower's home has it, while others write at half of what they could.

use crate::Effort;
use crate::http1::{Client, Events};
use crate::node::{Node, People};
use crate::writers::{Turns, quantile};
use anyhow::Context as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// What takes longer does not come.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);

/// How long posts took.
#[derive(Clone, Debug)]
pub struct Reach {
    pub p50: Duration,
    pub p99: Duration,
    pub posts: usize,
}

/// Writes at a steady pace until told to stop; whoever falls behind does not catch up. The time of each answer.
async fn pace(
    mut client: Client,
    turns: Arc<Turns>,
    first: Instant,
    every: Duration,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Vec<Duration>> {
    let mut ticks = tokio::time::interval_at(first.into(), every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut took = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let began = Instant::now();
        turns.post(&mut client).await?;
        took.push(began.elapsed());
    }
    Ok(took)
}

/// Others who write while something is measured.
#[derive(Debug)]
pub struct Beside {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<anyhow::Result<Vec<Duration>>>>,
}

impl Beside {
    /// They begin, with so many posts a second in all.
    pub fn start(writers: Vec<(Client, Arc<Turns>)>, per_second: f64) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let count = writers.len();
        let every = Duration::from_secs_f64(count as f64 / per_second.max(1.0));
        // Each in turn: all at once would be a burst and a pause, not a half load.
        let begin = Instant::now() + Duration::from_millis(500);
        let mut tasks = Vec::new();
        for (number, (client, turns)) in (0..).zip(writers) {
            let first = begin + every * number / u32::try_from(count)?;
            tasks.push(tokio::spawn(pace(client, turns, first, every, Arc::clone(&stop))));
        }
        Ok(Self { stop, tasks })
    }

    /// They end; the times of all answers.
    pub async fn end(mut self) -> anyhow::Result<Vec<Duration>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut took = Vec::new();
        for task in std::mem::take(&mut self.tasks) {
            took.extend(task.await??);
        }
        took.sort();
        Ok(took)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // If what was measured failed, nobody writes on.
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// When a post was where, counted from its sending.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub acknowledged: Duration,
    pub home: Duration,
}

/// One post after the other until then, each awaited on the reader's stream, which tells what has come into the home. That
/// the home has it is looked at too, and not timed.
pub async fn told(
    author: &mut Client,
    reader: &mut Client,
    mut stream: Events,
    until: Instant,
) -> anyhow::Result<Vec<Arrival>> {
    let (tell, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let listens = tokio::spawn(async move {
        while let Some(data) = stream.next().await? {
            let told = Instant::now();
            let post = serde_json::from_str::<serde_json::Value>(&data).unwrap_or_default();
            let id = post.get("id").and_then(serde_json::Value::as_str).map(str::to_owned);
            if let Some(id) = id
                && tell.send((id, told)).is_err()
            {
                break;
            }
        }
        anyhow::Ok(())
    });
    // The stream is there before its watch is: until something was told, nothing counts.
    while heard.is_empty() {
        anyhow::ensure!(Instant::now() < until, "nothing was told on the stream of the reader");
        awaited(author, Instant::now()).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut arrived = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        let (id, acknowledged) = awaited(author, began).await?;
        let home = loop {
            let next = tokio::time::timeout_at((began + ARRIVES_WITHIN).into(), heard.recv()).await;
            let next = next.with_context(|| format!("post {id} was not told of within 10 s"))?;
            let (post, told) = next.context("the stream of the reader ended")?;
            if post == id {
                break told.saturating_duration_since(began);
            }
        };
        let page = reader.get(&just_that(&id)?).await?;
        anyhow::ensure!(has(&page, &id), "post {id} was told of, and is not in the home");
        arrived.push(Arrival { acknowledged, home });
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    listens.abort();
    Ok(arrived)
}

/// Sends the post that is awaited; its id, and how long its acknowledgement took.
async fn awaited(author: &mut Client, began: Instant) -> anyhow::Result<(String, Duration)> {
    let made = author.post("/api/v1/statuses", "status=the+one+that+is+awaited".to_owned()).await?;
    let acknowledged = began.elapsed();
    let made: serde_json::Value = serde_json::from_slice(&made)?;
    let id = made.get("id").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    Ok((id, acknowledged))
}

/// The page of a home that has a post if the home has it: its place is known, so one entry is asked for, whatever others
/// write meanwhile.
fn just_that(id: &str) -> anyhow::Result<String> {
    let below = id.parse::<u64>()?.saturating_add(1);
    Ok(format!("/api/v1/timelines/home?limit=1&max_id={below}"))
}

fn has(page: &[u8], id: &str) -> bool {
    let wanted = format!("\"id\":\"{id}\"");
    page.windows(wanted.len()).any(|part| part == wanted.as_bytes())
}

/// One post after the other until then, each awaited in the reader's home.
pub async fn arrivals(
    author: &mut Client,
    reader: &mut Client,
    until: Instant,
) -> anyhow::Result<Vec<Arrival>> {
    let mut arrived = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        let (id, acknowledged) = awaited(author, began).await?;
        let path = just_that(&id)?;
        while !has(&reader.get(&path).await?, &id) {
            anyhow::ensure!(began.elapsed() < ARRIVES_WITHIN, "post {id} did not reach a home within 10 s");
        }
        arrived.push(Arrival { acknowledged, home: began.elapsed() });
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(arrived)
}

/// Measures with `beside` posts a second by others.
pub async fn run(node: &Node, people: &People, beside: f64, effort: Effort) -> anyhow::Result<Reach> {
    let mut writers = Vec::new();
    for person in people.writers() {
        writers.push((Client::connect(&node.http, &person.token).await?, Turns::of(vec![person.clone()])));
    }
    let others = Beside::start(writers, beside)?;
    let mut author = Client::connect(&node.http, &people.author()?.token).await?;
    let mut reader = Client::connect(&node.http, &people.reader()?.token).await?;
    let until = Instant::now() + effort.each * u32::try_from(effort.runs)?;
    let arrived = arrivals(&mut author, &mut reader, until).await?;
    others.end().await?;
    let mut took: Vec<Duration> = arrived.iter().map(|arrival| arrival.home).collect();
    took.sort();
    Ok(Reach { p50: quantile(&took, 0.5), p99: quantile(&took, 0.99), posts: took.len() })
}
