//! Posts by writers that each wait for their answer before they write the next one.

use crate::accounts::Person;
use crate::http1::Client;
use crate::node::{Node, People};
use crate::{Args, Effort, cpu};
use anyhow::Context as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// Whose post is the next: each of some people in turn.
#[derive(Debug)]
pub struct Turns {
    people: Vec<Person>,
    next: AtomicUsize,
    keys: Option<String>,
}

impl Turns {
    /// Posts without keys.
    pub fn of(people: Vec<Person>) -> Arc<Self> {
        Arc::new(Self { people, next: AtomicUsize::new(0), keys: None })
    }

    /// Each post has a key of its own, which begins with `name`.
    pub fn keyed(people: Vec<Person>, name: String) -> Arc<Self> {
        Arc::new(Self { people, next: AtomicUsize::new(0), keys: Some(name) })
    }

    /// The next one posts, over this connection.
    pub async fn post(&self, client: &mut Client) -> anyhow::Result<()> {
        const PATH: &str = "/api/v1/statuses";
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let person =
            self.people.get(number % self.people.len().max(1)).context("nobody is there to write")?;
        client.speak_for(&person.token);
        let form = format!("status=post+{number}+of+a+writer+and+a+few+more+words+to+carry");
        match &self.keys {
            Some(name) => client.post_keyed(PATH, form, &format!("{name}-{number}")).await?,
            None => client.post(PATH, form).await?,
        };
        Ok(())
    }
}

/// One writer until the end; the time of each answer.
async fn write(mut client: Client, until: Instant, turns: Arc<Turns>) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        turns.post(&mut client).await?;
        took.push(began.elapsed());
    }
    Ok(took)
}

/// All of these at once, each over its connection; the times of all answers, sorted, and how long it took in all.
pub async fn at_once(
    writers: Vec<(Client, Arc<Turns>)>,
    each: Duration,
) -> anyhow::Result<(Vec<Duration>, Duration)> {
    let began = Instant::now();
    let tasks: Vec<_> =
        writers.into_iter().map(|(client, turns)| tokio::spawn(write(client, began + each, turns))).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let took = began.elapsed();
    latencies.sort();
    Ok((latencies, took))
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
        clients.push((Client::connect(&node.http, &person.token).await?, Turns::of(vec![person.clone()])));
    }
    let processes = [node.id(), std::process::id()];
    let before = cpu::used(&processes)?;
    let (latencies, took) = at_once(clients, each).await?;
    let used = cpu::used(&processes)?.saturating_sub(before);
    let count = latencies.len() as f64;
    Ok(Written {
        per_second: count / took.as_secs_f64(),
        per_core: count / used.as_secs_f64().max(0.01),
        latencies,
    })
}
