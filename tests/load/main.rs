//! How fast P92 is on this machine, beside what the machine itself can do, in one run.
//!
//! In: the binary of P92 that ships. Out: a table of figures, each with the yardstick that it is judged by (aims in
//! `README.md`). It starts the real server in a directory of its own, drives it as clients do, and refuses to know how it
//! works inside. "Core" means one CPU-second over the client and the server together.

mod accounts;
mod cluster;
mod cpu;
mod http1;
mod node;
mod pages;
mod reach;
mod report;
mod writers;
mod yardstick;

use anyhow::Context as _;
use clap::Parser;
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures P92 beside the limits of this machine.
#[derive(Debug, Parser)]
#[command(
    name = "p92-load",
    after_help = "`tests/load/run` builds what is needed and starts this. Nothing else should run \
meanwhile: figures of a busy machine say nothing."
)]
struct Args {
    #[command(subcommand)]
    shape: Option<Shape>,
    /// The binary that is measured: what ships
    #[arg(long, global = true, env = "P92_BIN", default_value = "target/dist/p92")]
    binary: PathBuf,
    /// Where the data directory is made, on the disk that is to be measured
    #[arg(long, global = true, default_value = ".")]
    on: PathBuf,
    /// A quarter of the time, and figures that jump more
    #[arg(long, global = true)]
    quick: bool,
    /// One line of JSON instead of a table
    #[arg(long, global = true)]
    json: bool,
    /// How often each figure is taken; the median counts
    #[arg(long, global = true, default_value_t = 3)]
    runs: usize,
    /// These figures alone; more than one with commas between
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Rest, Part::Posts, Part::Reach, Part::Pages])]
    only: Vec<Part>,
    /// Serve a yardstick and nothing else; the tool starts itself so
    #[arg(long, hide = true)]
    serve: Option<yardstick::Kind>,
    /// Bytes of the page that the yardstick serves
    #[arg(long, hide = true, default_value_t = 0)]
    bytes: usize,
    /// Socket of the yardstick
    #[arg(long, hide = true)]
    socket: Option<PathBuf>,
}

/// What is measured if not everything in one process.
#[derive(Debug, clap::Subcommand)]
enum Shape {
    /// One service per process, over Cassandra and NATS, which it starts and ends
    Cluster(cluster::Args),
}

/// What may be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Starts and idle memory
    Rest,
    /// Posts by one writer, and what durability costs 64
    Posts,
    /// A post's way into a home, at half of what 64 writers can do
    Reach,
    /// Pages by HTTP and by gRPC
    Pages,
}

/// How long each figure is taken, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub each: Duration,
    pub runs: usize,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if let Some(kind) = args.serve {
        return yardstick::serve(kind, args.bytes, args.socket);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match &args.shape {
        Some(Shape::Cluster(wishes)) => runtime.block_on(cluster::measure(&args, wishes)),
        None => runtime.block_on(measure(&args)),
    }
}

/// Whether there is something to measure; what is to be done if not.
fn is_built(args: &Args) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.binary.exists(),
        "{} is not there\n  what to do: run tests/load/run, or `cargo build --profile dist -p p92-node`",
        args.binary.display()
    );
    Ok(())
}

fn effort(args: &Args) -> Effort {
    Effort { each: Duration::from_secs(if args.quick { 2 } else { 8 }), runs: args.runs.max(1) }
}

fn folder(args: &Args) -> anyhow::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("p92-load-").tempdir_in(&args.on).context("no place for data")
}

async fn measure(args: &Args) -> anyhow::Result<ExitCode> {
    is_built(args)?;
    let effort = effort(args);
    let wants = |part| args.only.contains(&part);
    let folder = folder(args)?;
    let mut report = Report::new(args.json);
    report.step("this disk's sync");
    let sync = yardstick::sync(folder.path(), if args.quick { 100 } else { 400 })?;
    report.disk(&sync);
    if wants(Part::Rest) {
        let starts = node::starts(&args.binary, folder.path(), effort.runs)?;
        report.row("start, empty directory", starts.empty.as_secs_f64() * 1e3, "ms", None);
    }
    report.step("the installation is filled");
    let node = node::Node::start(&args.binary, &folder.path().join("data"))?;
    if wants(Part::Rest) {
        let idle = node.settled(args.quick).await?;
        report.row("idle, resident after 10 s", idle, "MiB", Some((64.0, "at most MiB")));
    }
    let people = node::People::make(&node, writers::MANY + 2).await?;
    if wants(Part::Posts) || wants(Part::Reach) {
        posts(args, effort, &node, &people, &sync, &mut report).await?;
    }
    if wants(Part::Pages) {
        if !wants(Part::Posts) && !wants(Part::Reach) {
            report.step("posts to read");
            writers::run(&node, &people, writers::MANY, Effort { each: Duration::from_secs(1), runs: 1 })
                .await?;
        }
        report.step("home pages by HTTP");
        let page = pages::over_http(&node, &people, effort).await?;
        report.pages("home page of 20 by HTTP", &page, 0.20);
        report.step("pages of 40 ids by gRPC");
        let ids = pages::over_grpc(&node, &people, folder.path(), effort).await?;
        report.pages("page of 40 ids by gRPC", &ids, 0.65);
    }
    if wants(Part::Rest) {
        report.row("resident after all that", node.resident()?, "MiB", None);
        let again = node.again(&args.binary)?.as_secs_f64() * 1e3;
        report.row("start with that data, after kill -9", again, "ms", Some((2_000.0, "at most ms")));
    }
    report.end();
    Ok(ExitCode::SUCCESS)
}

/// Posts that are acknowledged, and their way into a home.
async fn posts(
    args: &Args,
    effort: Effort,
    node: &node::Node,
    people: &node::People,
    sync: &yardstick::Sync,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (posts, reach) = (args.only.contains(&Part::Posts), args.only.contains(&Part::Reach));
    let trip = pages::round_trip(node, effort).await?;
    report.row("round trip of a static page by HTTP, p50", trip.as_secs_f64() * 1e3, "ms", None);
    if posts {
        report.step("posts by one writer");
        let one = writers::run(node, people, 1, effort).await?;
        report.writers(1, &one, sync);
    }
    report.step("posts by 64 writers");
    let many = writers::run(node, people, writers::MANY, effort).await?;
    report.writers(writers::MANY, &many, sync);
    if posts {
        report.step("the same where a sync costs nothing");
        report.durability(&many, writers::in_memory(args, effort).await?.as_ref());
    }
    if reach {
        report.step("posts on their way into a home, at half load");
        let reach = reach::run(node, people, many.per_second / 2.0, effort).await?;
        report.reach(&reach, sync, trip);
    }
    Ok(())
}
