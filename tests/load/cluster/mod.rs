//! How fast P92 is as a cluster: one service per process, over Cassandra and NATS that it starts and ends itself.
//!
//! In: the binary that ships. Out: the figures whose aims speak of services, each beside what the same store, the same bus
//! and the same loopback do without P92, measured in the same run. How it is measured stands in `tests/load/README.md`.
//!
//! | room | noun |
//! |---|---|
//! | `ground` | the cluster itself, which ends whatever happens |
//! | `crowd` | who writes, who follows whom |
//! | `scrape` | what processes count of themselves |
//! | `store`, `hops` | yardsticks |
//! | `posts`, `homes`, `scale`, `messages` | what is measured |
//! | `rows` | what is printed of it |

mod crowd;
mod ground;
mod homes;
mod hops;
mod messages;
mod posts;
mod rows;
mod scale;
mod scrape;
mod store;

use crate::report::Report;
use crate::{Effort, writers};
use crowd::{Crowd, FOLLOWERS};
use ground::{Commitlog, Ground};
use rows::{Run, Ways, median};
use scrape::Load;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use tokio::signal::unix::{SignalKind, signal};

/// Replicas of timelines while bus messages are counted: row 11 of the aims.
const MANY_TIMELINES: usize = 8;
/// Replicas of timelines otherwise, as of everything else.
const REPLICAS: usize = 2;
/// Logs that bare inserts go to at once: as many as an installation has shards if nobody says otherwise.
const LOGS: i32 = 16;
/// Deliveries that a replica alone is measured with; a quarter of them in a hurry. At 10 million a second and core these
/// are far more than what a process does at rest meanwhile.
const RECORDED: usize = 3_200_000;
/// Of a core; less than that changes no figure by more than its runs differ.
const COMPILES_LITTLE: f64 = 0.1;
/// How long that is waited for.
const WARM_MOST: Duration = Duration::from_secs(360);
/// What every process does once after it has come up is done by then.
const SETTLE: Duration = Duration::from_secs(5);

/// What is wished of a cluster.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// These figures alone; more than one with commas between
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Posts, Part::Reach, Part::Scale, Part::Bus])]
    only: Vec<Part>,
    /// Accounts, who write in turn
    #[arg(long, default_value_t = 1_000)]
    authors: usize,
    /// How many of them have 400 followers each, for deliveries
    #[arg(long, default_value_t = 32)]
    followed: usize,
    /// When the store syncs what it acknowledges
    #[arg(long, value_enum, default_value_t = Commitlog::Group)]
    commitlog: Commitlog,
    /// Where `up` and `down` are
    #[arg(long, hide = true, default_value = "deploy/local")]
    deploy: PathBuf,
}

/// What may be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Posts by 64 writers beside the store alone, and the CPU time of each service
    Posts,
    /// Acknowledgements, and a post's way into a home, at half of that
    Reach,
    /// One timelines replica against two over a recorded log
    Scale,
    /// Messages over the bus for each delivery, with eight timelines replicas
    Bus,
}

/// Measures, and ends the cluster whatever comes of it.
pub async fn measure(args: &crate::Args, wishes: &Args) -> anyhow::Result<ExitCode> {
    crate::is_built(args)?;
    anyhow::ensure!(
        wishes.followed > 0 && wishes.authors > FOLLOWERS + wishes.followed,
        "{} accounts are too few\n  what to do: --authors above {}: {FOLLOWERS} followers, and --followed {} apart from them",
        wishes.authors,
        FOLLOWERS + wishes.followed,
        wishes.followed
    );
    let folder = crate::folder(args)?;
    let mut report = Report::new(args.json);
    let (deploy, commitlog) = (&wishes.deploy, wishes.commitlog);
    let ground = Ground::new(deploy, commitlog, &args.binary, folder.path(), report.bar())?;
    report.begin(&format!("should this be killed, the cluster is ended by {}", ground.way_out()));
    let mut bench = Bench { ground, effort: crate::effort(args), quick: args.quick, wishes: wishes.clone() };
    let measured = tokio::select! {
        measured = bench.all(&mut report) => measured,
        name = interrupted() => Err(anyhow::anyhow!("interrupted by {}", name?)),
    };
    // Before the next line, which waits for whoever draws.
    bench.ground.stop();
    report.begin("the cluster is ended");
    let ground = &bench.ground;
    let ended = tokio::task::block_in_place(|| report.bar().suspend(|| ground.end()));
    report.end();
    if let Err(error) = ended {
        // What it wrote names its processes: without that nobody could end them.
        let kept = folder.keep();
        eprintln!("{error:#}\n  {} is kept", kept.display());
        measured?;
        return Ok(ExitCode::FAILURE);
    }
    measured?;
    Ok(ExitCode::SUCCESS)
}

/// Ctrl-C, or whoever ends processes in order.
async fn interrupted() -> anyhow::Result<&'static str> {
    let (mut keys, mut order, mut gone) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    Ok(tokio::select! {
        _ = keys.recv() => "SIGINT",
        _ = order.recv() => "SIGTERM",
        _ = gone.recv() => "SIGHUP",
    })
}

/// One measurement of a cluster.
struct Bench {
    ground: Ground,
    effort: Effort,
    quick: bool,
    wishes: Args,
}

impl Bench {
    fn wants(&self, part: Part) -> bool {
        self.wishes.only.contains(&part)
    }

    async fn all(&mut self, report: &mut Report) -> anyhow::Result<()> {
        report.begin("a cluster comes up");
        self.ground.up(REPLICAS).await?;
        report.begin("the installation is filled");
        let (authors, followed) = (self.wishes.authors, self.wishes.followed);
        let crowd = Crowd::make(&self.ground, &report.bar(), authors, followed).await?;
        let store = Arc::new(Store::open(&self.ground.store()?).await?);
        if self.wants(Part::Posts) || self.wants(Part::Reach) {
            let runs = self.posts(report, &crowd, &store).await?;
            if self.wants(Part::Reach) {
                self.reach(report, &crowd, &store, &runs).await?;
            }
        }
        if self.wants(Part::Scale) || self.wants(Part::Bus) {
            report.begin("followers follow");
            crowd.follow(&self.ground, &report.bar(), FOLLOWERS).await?;
        }
        if self.wants(Part::Scale) {
            self.scale(report, &crowd).await?;
        }
        if self.wants(Part::Bus) {
            self.messages(report, &crowd).await?;
        }
        Ok(())
    }

    /// Posts, and next to each run what the store does alone.
    async fn posts(
        &self,
        report: &mut Report,
        crowd: &Crowd,
        store: &Arc<Store>,
    ) -> anyhow::Result<Vec<Run>> {
        let each = self.effort.each;
        report.begin("what is asked at rest");
        tokio::time::sleep(SETTLE).await;
        let rest = posts::at_rest(&self.ground, each).await?;
        self.warm(report, crowd, store, &rest).await?;
        let mut runs = Vec::new();
        for run in 1..=self.effort.runs {
            report.begin(&format!("posts by {} writers, run {run} of {}", writers::MANY, self.effort.runs));
            let turns = crowd.turns(format!("posts-{run}"));
            let posted = posts::run(&self.ground, &turns, &rest, each).await?;
            report.begin("the same without log and services, and bare conditional inserts");
            let bare = store.bare_posts(&posted.asked, writers::MANY, crowd.len(), each / 2).await?;
            let bytes = group_bytes(&posted.asked);
            let one = store.inserts(1, bytes, each / 4).await?;
            let many = store.inserts(LOGS, bytes, each / 2).await?;
            runs.push(Run { posted, bare, one, many });
        }
        if self.wants(Part::Posts) {
            rows::posts(report, &runs, crowd.len(), LOGS);
        }
        Ok(runs)
    }

    /// All of that, uncounted, until the store's compiler has come to rest: after a minute it still takes a quarter of the
    /// machine, from P92 and from the yardsticks in unequal shares.
    async fn warm(
        &self,
        report: &mut Report,
        crowd: &Crowd,
        store: &Arc<Store>,
        rest: &Load,
    ) -> anyhow::Result<()> {
        let (each, began) = (self.effort.each, Instant::now());
        let most = if self.quick { WARM_MOST / 4 } else { WARM_MOST };
        let mut busy = f64::INFINITY;
        for round in 1.. {
            if busy < COMPILES_LITTLE || began.elapsed() > most {
                break;
            }
            let words =
                if busy.is_finite() { format!(", which took {busy:.2} of a core") } else { String::new() };
            report.begin(&format!("until the store's compiler rests{words}"));
            let (start, before) = (Instant::now(), self.ground.compiled()?);
            let turns = crowd.turns(format!("warm-{round}"));
            let posted = posts::run(&self.ground, &turns, rest, each).await?;
            store.bare_posts(&posted.asked, writers::MANY, crowd.len(), each / 2).await?;
            store.inserts(LOGS, group_bytes(&posted.asked), each / 4).await?;
            busy = (self.ground.compiled()?.saturating_sub(before)).as_secs_f64()
                / start.elapsed().as_secs_f64();
        }
        report.row("the store's compiler at the begin of all runs", busy * 100.0, "% of a core", None);
        Ok(())
    }

    /// Half of that load, and next to each run the ways that a post takes.
    async fn reach(
        &self,
        report: &mut Report,
        crowd: &Crowd,
        store: &Arc<Store>,
        posted: &[Run],
    ) -> anyhow::Result<()> {
        crowd.follow(&self.ground, &report.bar(), 1).await?;
        let beside = median(posted.iter().map(|run| run.posted.per_second)) / 2.0;
        let asked = posted.first().map(|run| run.posted.asked.clone()).unwrap_or_default();
        let (bytes, each) = (group_bytes(&asked), self.effort.each);
        let bus = self.ground.bus("address")?;
        let mut runs = Vec::new();
        for run in 1..=self.effort.runs {
            report.begin(&format!("posts into a home at half load, run {run} of {}", self.effort.runs));
            let ways = Ways {
                insert: store.inserts(1, bytes, each / 4).await?.p50,
                bus: hops::bus(&bus, bytes, each / 4).await?,
                call: hops::call(each / 4).await?,
            };
            let turns = crowd.turns(format!("half-{run}"));
            runs.push((ways, posts::half(&self.ground, crowd, &turns, beside, self.effort).await?));
        }
        rows::half(report, &runs, beside);
        Ok(())
    }

    /// Two replicas of timelines over a recorded log, then one.
    async fn scale(&mut self, report: &mut Report, crowd: &Crowd) -> anyhow::Result<()> {
        let publisher = homes::Publisher::new(&self.ground, crowd, "homes-scale").await?;
        let deliveries = if self.quick { RECORDED / 4 } else { RECORDED };
        let of_each = (deliveries / FOLLOWERS / crowd.followed().len()).max(1);
        let mut figures = [Vec::new(), Vec::new()];
        for (figures, words) in figures.iter_mut().zip(["two replicas", "one replica"]) {
            let running = self.ground.all_of("timelines");
            if let ([_, more @ ..], "one replica") = (running.as_slice(), words) {
                for name in more {
                    self.ground.one("stop", name).await?;
                }
            }
            report.begin(&format!("homes into the memory of {words} of timelines"));
            let one = homes::fill(&self.ground, crowd, &publisher, &report.bar()).await?;
            for run in 1..=self.effort.runs {
                report.begin(&format!("a recorded log, {words}, run {run} of {}", self.effort.runs));
                figures.push(scale::run(&self.ground, crowd, &publisher, &one, of_each).await?);
            }
        }
        let [two, one] = &figures;
        rows::scale(report, two, one);
        Ok(())
    }

    /// Eight replicas of timelines, and what crosses the bus.
    async fn messages(&mut self, report: &mut Report, crowd: &Crowd) -> anyhow::Result<()> {
        report.begin("more replicas of timelines");
        self.ground.up(MANY_TIMELINES).await?;
        let publisher = homes::Publisher::new(&self.ground, crowd, "homes-bus").await?;
        report.begin("homes into memory");
        homes::fill(&self.ground, crowd, &publisher, &report.bar()).await?;
        let mut runs = Vec::new();
        for run in 1..=self.effort.runs {
            report.begin(&format!("messages over the bus, run {run} of {}", self.effort.runs));
            let name = format!("bus-{run}");
            runs.push(messages::run(&self.ground, crowd, name, self.effort.each).await?);
        }
        rows::messages(report, &runs, MANY_TIMELINES);
        Ok(())
    }
}

/// Bytes of the events of one post: what a bare insert and a bare message carry.
fn group_bytes(asked: &Load) -> usize {
    // Appends are counted for each post, so these are the bytes of its share of a group.
    (asked.get("append").bytes as usize).max(1)
}
