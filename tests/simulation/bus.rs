//! The bus: within a process at once, to the others as datagrams; one message in ten is dropped, one doubled, and they
//! overtake each other.

use crate::mail::TICKET;
use crate::world::{BUS_PORT, HOSTS, Process, World};
use bytes::Bytes;
use futures::stream::BoxStream;
use p92_eventlog::{Bus, LocalBus};
use p92_kernel::ShardCount;
use p92_storage::LogKey;
use parking_lot::Mutex;
use rand::RngExt as _;
use rand::rngs::StdRng;
use std::net::Ipv4Addr;
use std::sync::Arc;
use turmoil::net::UdpSocket;

/// The bus as one process has it.
#[derive(Debug)]
pub struct BadBus {
    world: Arc<World>,
    host: usize,
    inner: LocalBus,
    socket: UdpSocket,
    random: Mutex<StdRng>,
}

impl BadBus {
    pub async fn open(
        world: &Arc<World>,
        process: Process,
        shards: ShardCount,
    ) -> std::io::Result<Arc<Self>> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, BUS_PORT)).await?;
        let random = Mutex::new(world.chance(100 + process.host as u64 + process.start * 10));
        let inner = LocalBus::new(shards);
        let bus = Arc::new(Self { world: Arc::clone(world), host: process.host, inner, socket, random });
        let listening = Arc::clone(&bus);
        tokio::spawn(async move {
            let mut ticket = [0; TICKET];
            while listening.socket.recv_from(&mut ticket).await.is_ok() {
                listening.world.running(listening.host).await;
                if let Some((log, body)) = listening.world.hints.take(ticket) {
                    listening.inner.publish(log, body);
                }
            }
        });
        Ok(bus)
    }

    fn times(&self) -> usize {
        if self.world.calm.load(std::sync::atomic::Ordering::SeqCst) {
            return 1;
        }
        match self.random.lock().random_range(0..10) {
            0 => 0,
            1 => 2,
            _ => 1,
        }
    }
}

impl Bus for BadBus {
    fn publish(&self, log: LogKey, body: Bytes) {
        for (host, name) in HOSTS.iter().enumerate() {
            for _ in 0..self.times() {
                if host == self.host {
                    self.inner.publish(log, body.clone());
                } else {
                    let ticket = self.world.hints.put((log, body.clone()));
                    // A message that cannot be sent is a lost one.
                    let _ = self.socket.try_send_to(&ticket, (*name, BUS_PORT));
                }
            }
        }
    }

    fn subscribe(&self, log: LogKey) -> BoxStream<'static, Bytes> {
        self.inner.subscribe(log)
    }
}
