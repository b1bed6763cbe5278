//! Pages per core, beside the same bytes without anything behind them.

use crate::http1::Client;
use crate::node::{Node, People};
use crate::writers::quantile;
use crate::yardstick::{Kind, Yard};
use crate::{Effort, cpu};
use anyhow::Context as _;
use p92_proto::event::v1::{IdWindow, ReadOptions};
use p92_proto::timelines::v1 as timelines;
use std::path::Path;
use std::time::{Duration, Instant};
use timelines::timeline_service_client::TimelineServiceClient;
use tonic::transport::Channel;

/// Connections by HTTP, and calls at once over one connection by gRPC.
const AT_ONCE: usize = 8;

/// A figure and its yardstick.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    pub per_core: f64,
    pub bare_per_core: f64,
    pub bytes: usize,
}

/// One page after the other over each of these, for a time; pages per CPU-second of these processes.
async fn rate<C, F>(clients: Vec<C>, processes: &[u32], each: Duration, ask: F) -> anyhow::Result<f64>
where
    C: Send + 'static,
    F: AsyncPage<C>,
{
    let (began, before) = (Instant::now(), cpu::used(processes)?);
    let until = began + each;
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let ask = ask.clone();
            tokio::spawn(async move {
                let mut pages = 0_u64;
                while Instant::now() < until {
                    ask.page(&mut client).await?;
                    pages += 1;
                }
                anyhow::Ok(pages)
            })
        })
        .collect();
    let mut pages = 0;
    for task in tasks {
        pages += task.await??;
    }
    Ok(pages as f64 / cpu::used(processes)?.saturating_sub(before).as_secs_f64().max(0.01))
}

/// How a page is asked for.
trait AsyncPage<C>: Clone + Send + 'static {
    fn page(&self, client: &mut C) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// A path by HTTP.
#[derive(Clone)]
struct Get(&'static str);

impl AsyncPage<Client> for Get {
    async fn page(&self, client: &mut Client) -> anyhow::Result<()> {
        client.get(self.0).await.map(drop)
    }
}

/// A page of ids of one viewer's home.
#[derive(Clone, Copy)]
struct Home(u64);

impl AsyncPage<TimelineServiceClient<Channel>> for Home {
    async fn page(&self, client: &mut TimelineServiceClient<Channel>) -> anyhow::Result<()> {
        let window = Some(IdWindow { limit: 40, ..IdWindow::default() });
        let options = Some(ReadOptions { viewer_id: self.0, ..ReadOptions::default() });
        let asked = timelines::ListHomeRequest { options, window, source: 0 };
        let page = client.list_home(asked).await?.into_inner();
        anyhow::ensure!(page.entries.len() == 40, "a page of {} entries", page.entries.len());
        Ok(())
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// A home page of 20 whole statuses, beside a static page of as many bytes.
pub async fn over_http(node: &Node, people: &People, effort: Effort) -> anyhow::Result<Pages> {
    const PATH: &str = "/api/v1/timelines/home?limit=20";
    let token = people.reader()?.token.clone();
    let page = Client::connect(&node.http, &token).await?.get(PATH).await?;
    let statuses: Vec<serde_json::Value> = serde_json::from_slice(&page)?;
    anyhow::ensure!(statuses.len() == 20, "a home page of {} statuses", statuses.len());
    let bytes = page.len();
    let yard = Yard::start(Kind::Http, bytes, None)?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..effort.runs {
        for (host, id, figures) in [(&node.http, node.id(), &mut ours), (&yard.address, yard.id(), &mut bare)]
        {
            let mut clients = Vec::new();
            for _ in 0..AT_ONCE {
                clients.push(Client::connect(host, &token).await?);
            }
            figures.push(rate(clients, &[id, std::process::id()], effort.each / 2, Get(PATH)).await?);
        }
    }
    Ok(Pages { per_core: median(ours), bare_per_core: median(bare), bytes })
}

/// A page of 40 ids over the internal contract, beside the same answer from a bare tonic server.
pub async fn over_grpc(node: &Node, people: &People, folder: &Path, effort: Effort) -> anyhow::Result<Pages> {
    let viewer = people.reader()?.id;
    let ours = TimelineServiceClient::new(node.internal().await?);
    // The first page fills the home.
    Home(viewer).page(&mut ours.clone()).await.context("the home page of ids")?;
    let data = folder.join("bare");
    std::fs::create_dir(&data)?;
    let yard = Yard::start(Kind::Grpc, 40, Some(data.join("p92.sock")))?;
    let bare = TimelineServiceClient::new(p92_node::socket::connect(&data).await?);
    let (mut figures, mut bare_figures) = (Vec::new(), Vec::new());
    for _ in 0..effort.runs {
        for (client, id, figures) in [(&ours, node.id(), &mut figures), (&bare, yard.id(), &mut bare_figures)]
        {
            let clients = vec![client.clone(); AT_ONCE * 4];
            figures.push(rate(clients, &[id, std::process::id()], effort.each / 2, Home(viewer)).await?);
        }
    }
    Ok(Pages { per_core: median(figures), bare_per_core: median(bare_figures), bytes: 0 })
}

/// How long a request to a bare server takes, at the median.
pub async fn round_trip(_node: &Node, effort: Effort) -> anyhow::Result<Duration> {
    let yard = Yard::start(Kind::Http, 2_000, None)?;
    let mut client = Client::connect(&yard.address, "").await?;
    let mut took = Vec::new();
    let until = Instant::now() + effort.each / 4;
    while Instant::now() < until {
        let began = Instant::now();
        client.get("/").await?;
        took.push(began.elapsed());
    }
    took.sort();
    Ok(quantile(&took, 0.5))
}
