//! A wire to the server that can be cut: requests still pass, and from some moment on no answer does.
//!
//! It counts what passed, so that a test knows, without waiting for a while, that a request has arrived and what the
//! server answered to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What stands in an answer to a conditional write, and in no other.
const APPLIED: &[u8] = b"[applied]";

#[derive(Default)]
pub struct Wire {
    /// Ends the connection instead of passing on the answer to a conditional write.
    cuts: AtomicBool,
    /// Such answers that were cut off.
    pub cut: AtomicU64,
}

impl Wire {
    /// Answers to conditional writes are lost from now on, or no more.
    pub fn cut_answers(&self, cuts: bool) {
        self.cuts.store(cuts, Ordering::SeqCst);
    }
}

/// A proxy in front of the server.
pub async fn start(server: String) -> (SocketAddr, Arc<Wire>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let wire = Arc::new(Wire::default());
    let shared = Arc::clone(&wire);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (server, wire) = (server.clone(), Arc::clone(&shared));
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(&server).await else { return };
                join(client, server, &wire).await;
            });
        }
    });
    (address, wire)
}

async fn join(client: TcpStream, server: TcpStream, wire: &Wire) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = async move {
        tokio::io::copy(&mut from_client, &mut to_server).await.ok();
    };
    let answers = async {
        // An answer is a frame: nine bytes of head, and a body whose length the last four of these say.
        let mut head = [0_u8; 9];
        while from_server.read_exact(&mut head).await.is_ok() {
            let length = u32::from_be_bytes(head[5..].try_into().unwrap());
            let mut body = vec![0; usize::try_from(length).unwrap()];
            if from_server.read_exact(&mut body).await.is_err() {
                return;
            }
            let frame = [head.as_slice(), &body].concat();
            let decides = frame.windows(APPLIED.len()).any(|part| part == APPLIED);
            if decides && wire.cuts.load(Ordering::SeqCst) {
                wire.cut.fetch_add(1, Ordering::SeqCst);
                return;
            }
            if to_client.write_all(&frame).await.is_err() {
                return;
            }
        }
    };
    // Whichever ends first takes the other with it.
    tokio::select! { () = requests => {}, () = answers => {} }
}
