//! The store's host, and how a replica asks it over the simulated network.

use crate::mail::TICKET;
use crate::world::{FromStore, HOSTS, Process, STORE, STORE_PORT, ToStore, World};
use async_trait::async_trait;
use p92_eventlog::tables;
use p92_storage::memory::{Answer, Ask, Request};
use p92_storage::{Capabilities, Outcome, RowKey, StoreError};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use turmoil::net::UdpSocket;

/// How long a replica waits for an answer. What it asked may happen later all the same.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers requests, each by itself: one may overtake another.
pub async fn serve(world: Arc<World>) -> turmoil::Result {
    let socket = Arc::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, STORE_PORT)).await?);
    loop {
        let mut ticket = [0; TICKET];
        let (_, from) = socket.recv_from(&mut ticket).await?;
        let Some(ToStore { from: process, number, request }) = world.requests.take(ticket) else { continue };
        if world.trouble[process.host].unheard.load(Ordering::SeqCst) && of_members(&request) {
            continue;
        }
        let (world, socket) = (Arc::clone(&world), Arc::clone(&socket));
        tokio::spawn(async move {
            let answer = world.memory.ask(request.clone()).await;
            world.stored(process, &request, &answer);
            let ticket = world.answers.put(FromStore { number, answer });
            // Whoever asked may be gone.
            let _ = socket.send_to(&ticket, from).await;
        });
    }
}

/// Whether it is about who lives and who holds what.
fn of_members(request: &Request) -> bool {
    let of = |key: &RowKey| is_of_members(key.table.table.name);
    match request {
        Request::Get(key)
        | Request::Insert { key, .. }
        | Request::Set { key, .. }
        | Request::Destroy(key)
        | Request::Delete { key, .. } => of(key),
        Request::GetMany(keys) => keys.iter().any(of),
        Request::Scan(scan) => is_of_members(scan.table.table.name),
        _ => false,
    }
}

fn is_of_members(table: &str) -> bool {
    table == tables::MEMBERS.name || table == tables::OWNERSHIP.name
}

/// The way of one process to the store.
#[derive(Debug)]
pub struct Remote {
    world: Arc<World>,
    process: Process,
    socket: UdpSocket,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    number: u64,
    answers: BTreeMap<u64, oneshot::Sender<Result<Answer, StoreError>>>,
}

impl Remote {
    /// Opens the way, and hands out what comes back.
    pub async fn open(world: &Arc<World>, process: Process) -> std::io::Result<Arc<Self>> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, STORE_PORT)).await?;
        let remote = Arc::new(Self { world: Arc::clone(world), process, socket, waiting: Mutex::default() });
        let listening = Arc::clone(&remote);
        tokio::spawn(async move {
            let mut ticket = [0; TICKET];
            while listening.socket.recv_from(&mut ticket).await.is_ok() {
                let Some(letter) = listening.world.answers.take(ticket) else { continue };
                let waits = listening.waiting.lock().answers.remove(&letter.number);
                if let Some(waits) = waits {
                    let _ = waits.send(letter.answer);
                }
            }
        });
        Ok(remote)
    }
}

const fn changes(request: &Request) -> bool {
    !matches!(
        request,
        Request::Get(_)
            | Request::GetMany(_)
            | Request::Scan(_)
            | Request::ScanTable { .. }
            | Request::LogRow { .. }
            | Request::ReadLog { .. }
    )
}

#[async_trait]
impl Ask for Remote {
    fn capabilities(&self) -> Capabilities {
        self.world.memory.capabilities()
    }

    async fn ask(&self, request: Request) -> Result<Answer, StoreError> {
        self.world.running(self.process.host).await;
        let outcome = if changes(&request) { Outcome::Unknown } else { Outcome::NoEffect };
        let (answer, answered) = oneshot::channel();
        let number = {
            let mut waiting = self.waiting.lock();
            waiting.number += 1;
            let number = waiting.number;
            waiting.answers.insert(number, answer);
            number
        };
        self.world.asks(self.process, &request);
        let ticket = self.world.requests.put(ToStore { from: self.process, number, request });
        let sent = self.socket.send_to(&ticket, (STORE, STORE_PORT)).await;
        let waited = tokio::time::timeout(PATIENCE, answered).await;
        self.world.running(self.process.host).await;
        self.waiting.lock().answers.remove(&number);
        match (sent, waited) {
            (Ok(_), Ok(Ok(answer))) => answer,
            _ => Err(StoreError::Unavailable {
                reason: format!("{} waited in vain", HOSTS[self.process.host]),
                outcome,
            }),
        }
    }
}
