//! The shapes in which a client can reach a server.

use crate::probe::{self, Probe};
use futures::TryStreamExt as _;
use p92_chassis::server::{self, Limits};
use p92_chassis::status::from_status;
use p92_chassis::transport::{Guarded, Network, Rules, Transport};
use p92_kernel::Failure;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt as _;

pub struct Shape {
    pub name: &'static str,
    pub probe: Probe,
    transport: Transport,
    _stop: Option<DropGuard>,
    _directory: Option<tempfile::TempDir>,
}

impl Shape {
    fn local(probe: Probe) -> Self {
        let transport = Transport::local(probe.server());
        Self { name: "local", probe, transport, _stop: None, _directory: None }
    }

    /// Over TCP, behind this guard.
    pub async fn served(probe: Probe, guarded: Guarded<tonic::service::Routes>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        tokio::spawn(server::serve(listener, server::grpc(guarded), Limits::INTERNAL, stop.clone()));
        let transport = Transport::remote(Network::new([address]).unwrap());
        Self { name: "tcp", probe, transport, _stop: Some(stop.drop_guard()), _directory: None }
    }

    async fn socket(probe: Probe) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a socket");
        let listener = UnixListener::bind(&path).unwrap();
        let stop = CancellationToken::new();
        let guarded = server::grpc(Guarded::new(probe.server(), Rules::INTERNAL));
        tokio::spawn(server::serve(listener, guarded, Limits::INTERNAL, stop.clone()));
        let transport = Transport::remote(Network::socket(path));
        Self { name: "socket", probe, transport, _stop: Some(stop.drop_guard()), _directory: Some(directory) }
    }

    /// By a way made elsewhere, which needs these files.
    pub fn over(name: &'static str, probe: Probe, transport: Transport, files: tempfile::TempDir) -> Self {
        Self { name, probe, transport, _stop: None, _directory: Some(files) }
    }

    /// The same server by a changed way.
    pub fn with(&self, change: impl FnOnce(Transport) -> Transport) -> Self {
        let transport = change(self.transport.clone());
        Self { name: self.name, probe: self.probe.clone(), transport, _stop: None, _directory: None }
    }

    pub fn client(&self) -> HealthClient<Transport> {
        HealthClient::new(self.transport.clone())
    }

    pub async fn check(&self, service: &str) -> Result<i32, Status> {
        Ok(self.client().check(probe::request(service)).await?.into_inner().status)
    }

    /// How many messages came, and what ended them.
    pub async fn watch(&self, service: &str) -> (usize, Option<Failure>) {
        let stream = self.client().watch(probe::request(service)).await.unwrap().into_inner();
        let mut count = 0;
        let end = stream.try_for_each(|_| {
            count += 1;
            futures::future::ready(Ok(()))
        });
        let end = end.await.err().map(from_status);
        (count, end)
    }

    /// The code that a method gets which no generated client asks for.
    pub async fn raw(&self, path: &str) -> Option<Code> {
        let request = http::Request::post(path)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::empty())
            .unwrap();
        let response = self.transport.clone().oneshot(request).await.unwrap();
        Status::from_header_map(response.headers()).map(|status| status.code())
    }
}

/// Every shape, each with a server of its own.
pub async fn shapes() -> Vec<Shape> {
    let (local, tcp, socket) = (Probe::new(), Probe::new(), Probe::new());
    let guarded = Guarded::new(tcp.server(), Rules::INTERNAL);
    let shapes = vec![
        Shape::local(local),
        Shape::served(tcp, guarded).await,
        Shape::socket(socket).await,
        crate::tls::shape(Probe::new()).await,
    ];
    for shape in &shapes {
        shape.probe.reached_by(shape.transport.clone());
    }
    shapes
}
