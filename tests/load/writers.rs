//! Posts by writers that each wait for their answer before they write the next one.

use crate::http1::Client;
use crate::node::{Node, People};
use crate::{Args, Effort, cpu};
use std::time::{Duration, Instant};

/// How many write at once in the second figure.
pub const MANY: usize = 64;

/// What writers saw.
#[derive(Clone, Debug)]
pub struct Written {
    /// Acknowledged posts.
    pub per_second: f64,
    pub per_core: f64,
    /// Of all answers, sorted.
    pub latencies: Vec<Duration>,
}

impl Written {
    pub fn at(&self, share: f64) -> Duration {
        quantile(&self.latencies, share)
    }
}

/// A quantile of sorted durations.
pub fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// One writer until the end; the time of each answer.
async fn write(mut client: Client, until: Instant, number: usize) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::new();
    while Instant::now() < until {
        let text = format!("status=writer+{number}+post+{}+a+few+more+words+to+carry", took.len());
        let began = Instant::now();
        client.post("/api/v1/statuses", text).await?;
        took.push(began.elapsed());
    }
    Ok(took)
}

/// The median of several runs.
pub async fn run(node: &Node, people: &People, writers: usize, effort: Effort) -> anyhow::Result<Written> {
    let mut runs = Vec::new();
    for _ in 0..effort.runs {
        runs.push(once(node, people, writers, effort.each).await?);
    }
    runs.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    runs.into_iter().nth(effort.runs / 2).ok_or_else(|| anyhow::anyhow!("nothing was run"))
}

/// The figure of many writers on a file system in memory; `None` where there is none.
pub async fn in_memory(args: &Args, effort: Effort) -> anyhow::Result<Option<Written>> {
    let Ok(folder) = tempfile::Builder::new().prefix("p92-load-").tempdir_in("/dev/shm") else {
        return Ok(None);
    };
    let node = Node::start(&args.binary, &folder.path().join("data"))?;
    let people = People::make(&node, MANY + 2).await?;
    run(&node, &people, MANY, effort).await.map(Some)
}

async fn once(node: &Node, people: &People, writers: usize, each: Duration) -> anyhow::Result<Written> {
    let mut clients = Vec::new();
    for person in people.writers().iter().take(writers) {
        clients.push(Client::connect(&node.http, &person.token).await?);
    }
    let processes = [node.id(), std::process::id()];
    let (began, before) = (Instant::now(), cpu::used(&processes)?);
    let tasks: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(number, client)| tokio::spawn(write(client, began + each, number)))
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let (took, used) = (began.elapsed(), cpu::used(&processes)?.saturating_sub(before));
    let count = latencies.len() as f64;
    latencies.sort();
    Ok(Written {
        per_second: count / took.as_secs_f64(),
        per_core: count / used.as_secs_f64().max(0.01),
        latencies,
    })
}
