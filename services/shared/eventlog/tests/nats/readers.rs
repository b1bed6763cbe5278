//! The real reader over the real bus: whatever happens to NATS, each event is applied once and in order.

use crate::server::{Server, bus, connected, eventually};
use crate::world::{claim, open, platform_on, spec};
use p92_eventlog::{GroupStream, Runtime};
use p92_kernel::{Seq, Service, Shard};
use p92_storage::LogKey;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

const LOG: LogKey = LogKey { service: Service::Posting, shard: Shard(1) };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_lost_with_its_data_loses_and_doubles_nothing() {
    let mut server = Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (owns, reads) = (bus(&server).await, bus(&server).await);
    let owner = platform_on(dir.path(), &store, store.clone(), owns.clone());
    let reader = platform_on(dir.path(), &store, store.clone(), reads.clone());
    let runtime = Runtime::start(&owner, spec()).await.unwrap();
    runtime.ready().await;

    let applied = Arc::new(Mutex::new(Vec::<u64>::new()));
    let mut groups = GroupStream::new(&reader, LOG, Seq(0));
    let into = Arc::clone(&applied);
    let following = tokio::spawn(async move {
        loop {
            let group = groups.next().await.unwrap();
            into.lock().extend(group.events.iter().map(|event| event.position.seq.0));
        }
    });
    let (done, claimed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writing = tokio::spawn({
        let (runtime, done, claimed) = (Arc::clone(&runtime), Arc::clone(&done), Arc::clone(&claimed));
        async move {
            let mut last = Seq(0);
            while !done.load(Relaxed) {
                let register = claimed.fetch_add(1, Relaxed) + 1;
                let receipt = claim(&runtime, LOG.shard, register, 1, "").await.unwrap();
                last = receipt.positions.iter().map(|position| position.seq).max().unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            last
        }
    });
    let heard = async || {
        let (before, wrote) = (reads.counts().received, claimed.load(Relaxed));
        eventually("hints reach the reader while commands go on", async || {
            reads.counts().received > before + 20 && claimed.load(Relaxed) > wrote + 20
        })
        .await;
    };
    heard().await;
    for _ in 0..3 {
        server.kill();
        server.wipe();
        let wrote = claimed.load(Relaxed);
        eventually("commands go on without NATS", async || claimed.load(Relaxed) > wrote + 50).await;
        server.run().await;
        heard().await;
    }
    done.store(true, Relaxed);
    let last = writing.await.unwrap();
    eventually("the reader is at the head", async || applied.lock().last() == Some(&last.0)).await;
    connected(&reads).await;
    assert_eq!(*applied.lock(), (1..=last.0).collect::<Vec<_>>());
    eprintln!("{} events, {} of them hinted; {:?}", last, reads.counts().received, reads.counts());
    following.abort();
    reader.stop().await;
    owner.stop().await;
}
