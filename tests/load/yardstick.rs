//! What this machine does without P92: its disk's sync, a static page, a bare gRPC answer.
//!
//! The bare servers are processes of their own, as P92 is, so that both pay for the way between processes.

use anyhow::Context as _;
use p92_proto::timelines::v1 as timelines;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use timelines::timeline_service_server::{TimelineService, TimelineServiceServer};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Which bare server.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Kind {
    Http,
    Grpc,
}

/// How long a sync takes after an append of 4 KiB.
#[derive(Clone, Copy, Debug)]
pub struct Sync {
    pub p50: Duration,
    pub p99: Duration,
}

/// Appends and syncs, in the folder that the store will be in.
pub fn sync(folder: &Path, times: usize) -> anyhow::Result<Sync> {
    let path = folder.join("sync");
    let mut file = std::fs::File::create(&path)?;
    let mut took = Vec::new();
    for _ in 0..times {
        let began = Instant::now();
        file.write_all(&[0x55; 4096])?;
        file.sync_data()?;
        took.push(began.elapsed());
    }
    std::fs::remove_file(&path)?;
    took.sort();
    Ok(Sync { p50: crate::writers::quantile(&took, 0.5), p99: crate::writers::quantile(&took, 0.99) })
}

/// A bare server that runs.
#[derive(Debug)]
pub struct Yard {
    child: Child,
    /// `127.0.0.1:PORT`; empty for one on a socket in the file system.
    pub address: String,
}

impl Yard {
    /// Starts this program again as a bare server.
    pub fn start(kind: Kind, bytes: usize, socket: Option<PathBuf>) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let name = match kind {
            Kind::Http => "http",
            Kind::Grpc => "grpc",
        };
        command.args(["--serve", name, "--bytes", &bytes.to_string()]);
        if let Some(socket) = socket {
            command.arg("--socket").arg(socket);
        }
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut address)?;
        Ok(Self { child, address: address.trim().to_owned() })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Serves until it is ended.
pub fn serve(kind: Kind, bytes: usize, socket: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        match kind {
            Kind::Http => {
                let page = bytes::Bytes::from(vec![b'x'; bytes]);
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
                println!("{}", listener.local_addr()?);
                let router = axum::Router::new().fallback(move || std::future::ready(page.clone()));
                axum::serve(listener, router).await?;
            }
            Kind::Grpc => {
                let entry = |id| timelines::TimelineEntry {
                    id: 3_765_389_381_058_197_512 + id,
                    post_id: 3_765_389_381_058_197_512 + id,
                    author_id: 3_765_389_381_058_197_512,
                    ..Default::default()
                };
                let page = timelines::ListHomeResponse {
                    entries: (0..bytes as u64).map(entry).collect(),
                    source: 1,
                };
                let server =
                    tonic::transport::Server::builder().add_service(TimelineServiceServer::new(Bare(page)));
                match socket {
                    Some(socket) => {
                        let listener = tokio::net::UnixListener::bind(socket)?;
                        println!();
                        server.serve_with_incoming(UnixListenerStream::new(listener)).await?;
                    }
                    None => {
                        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
                        println!("{}", listener.local_addr()?);
                        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                        server.serve_with_incoming(incoming).await?;
                    }
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Answers with one page, whatever is asked.
struct Bare(timelines::ListHomeResponse);

#[tonic::async_trait]
impl TimelineService for Bare {
    type WatchHomeStream = tokio_stream::Empty<Result<timelines::WatchHomeResponse, Status>>;
    type WatchPublicStream = tokio_stream::Empty<Result<timelines::WatchPublicResponse, Status>>;

    async fn list_home(
        &self,
        _: Request<timelines::ListHomeRequest>,
    ) -> Result<Response<timelines::ListHomeResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }

    async fn list_public(
        &self,
        _: Request<timelines::ListPublicRequest>,
    ) -> Result<Response<timelines::ListPublicResponse>, Status> {
        Err(Status::unimplemented("a yardstick has one answer"))
    }

    async fn list_tag(
        &self,
        _: Request<timelines::ListTagRequest>,
    ) -> Result<Response<timelines::ListTagResponse>, Status> {
        Err(Status::unimplemented("a yardstick has one answer"))
    }

    async fn watch_home(
        &self,
        _: Request<timelines::WatchHomeRequest>,
    ) -> Result<Response<Self::WatchHomeStream>, Status> {
        Err(Status::unimplemented("a yardstick has one answer"))
    }

    async fn watch_public(
        &self,
        _: Request<timelines::WatchPublicRequest>,
    ) -> Result<Response<Self::WatchPublicStream>, Status> {
        Err(Status::unimplemented("a yardstick has one answer"))
    }

    async fn note_own_write(
        &self,
        _: Request<timelines::NoteOwnWriteRequest>,
    ) -> Result<Response<timelines::NoteOwnWriteResponse>, Status> {
        Err(Status::unimplemented("a yardstick has one answer"))
    }
}
