//! What stands before a history begins: a server and its accounts, made once by the real services on a still store.
//!
//! Made beforehand since passwords are hashed on a thread of their own, whose end no seed decides.

use crate::time::{EPOCH, Seeded, StageClock};
use futures::future::BoxFuture;
use p92_chassis::Transport;
use p92_eventlog::platform::Parts;
use p92_eventlog::{KeyFile, Keyring, LocalBus, Platform};
use p92_identity::config::{Config, Hashing};
use p92_kernel::{Clock, Millis, Random, ShardCount};
use p92_proto::event::v1::CommandContext;
use p92_proto::identity::v1::account_service_client::AccountServiceClient;
use p92_proto::identity::v1::server_service_client::ServerServiceClient;
use p92_proto::identity::v1::{CreateAccountRequest, CreateServerRequest, RegistrationPolicy};
use p92_storage::Engine;
use p92_storage::memory::{Asked, Memory, MemoryConfig};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

const INSTALLATION: &str = "simulation";
/// Accounts of the world.
const ACCOUNTS: usize = 4;

/// The shards of each log: few, so that much happens in each.
pub fn shards() -> ShardCount {
    ShardCount::new(2).expect("two are a number of shards")
}

/// Cheap hashes: what they cost is tried elsewhere.
pub fn identity() -> Config {
    let hashing = Hashing { memory_kib: 64, passes: 1, at_once: 2, waiting: 200 };
    Config { hashing, ..Config::default() }
}

/// The beginning of every history.
#[derive(Debug)]
pub struct Origin {
    pub memory: Memory,
    pub server: u64,
    pub accounts: Vec<u64>,
    keys: PathBuf,
    /// Removed with the process.
    _folder: tempfile::TempDir,
}

/// The one beginning.
pub fn origin() -> &'static Origin {
    static ORIGIN: OnceLock<Origin> = OnceLock::new();
    ORIGIN.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder for keys");
        let keys = folder.path().join("keys");
        let memory = Arc::new(Memory::new(MemoryConfig::default()));
        let made = stage(1, Arc::clone(&memory), keys.clone(), EPOCH, |platform| Box::pin(make(platform)));
        let memory = memory.copy(MemoryConfig::default());
        Origin { memory, server: made.0, accounts: made.1, keys, _folder: folder }
    })
}

impl Origin {
    /// The keyring of another process of this installation.
    pub fn keyring(&self, engine: &Arc<dyn Engine>, random: &Arc<dyn Random>) -> Keyring {
        let file =
            KeyFile::open(&self.keys, INSTALLATION, false, EPOCH, &**random).expect("the keys are there");
        Keyring::new(Arc::clone(engine), Arc::clone(random), file)
    }

    /// The key file.
    pub const fn keys(&self) -> &PathBuf {
        &self.keys
    }
}

/// Does something with a platform of its own on a still store, in time that passes as it waits, beginning at `from`.
pub fn stage<T>(
    seed: u64,
    memory: Arc<Memory>,
    keys: PathBuf,
    from: Millis,
    act: impl FnOnce(Arc<Platform>) -> BoxFuture<'static, T>,
) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_be_bytes()));
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async move {
        let clock: Arc<dyn Clock> = Arc::new(StageClock::from(from));
        let random: Arc<dyn Random> = Arc::new(Seeded::new(seed, 7));
        let fresh = !keys.exists();
        let file = KeyFile::open(&keys, INSTALLATION, fresh, from, &*random).expect("keys");
        let engine: Arc<dyn Engine> = Arc::new(Asked(memory));
        let keyring = Arc::new(Keyring::new(Arc::clone(&engine), Arc::clone(&random), file));
        let bus = Arc::new(LocalBus::new(shards()));
        let platform = Platform::start(Parts { engine, bus, clock, random, keyring, shards: shards() });
        let done = act(Arc::clone(&platform)).await;
        platform.stop().await;
        done
    })
}

async fn make(platform: Arc<Platform>) -> (u64, Vec<u64>) {
    let deps = p92_identity::Deps { platform, config: identity() };
    let identity = p92_identity::start(deps).await.expect("identity starts");
    identity.runtime().ready().await;
    let transport = Transport::local(identity.routes());
    let request = CreateServerRequest {
        context: Some(CommandContext::default()),
        name: "p92.example".to_owned(),
        domain: "p92.example".to_owned(),
        public_url: "https://p92.example".to_owned(),
        registration: RegistrationPolicy::Open.into(),
        ..CreateServerRequest::default()
    };
    let answer = ServerServiceClient::new(transport.clone()).create_server(request).await;
    let server = answer.expect("a server").into_inner().server.expect("a server").id;
    let mut accounts = Vec::new();
    for number in 0..ACCOUNTS {
        let request = CreateAccountRequest {
            context: Some(CommandContext { server_id: server, ..CommandContext::default() }),
            handle: format!("person{number}"),
            email: format!("person{number}@mail.example"),
            password: "correct horse".to_owned(),
            ..CreateAccountRequest::default()
        };
        let answer = AccountServiceClient::new(transport.clone()).create_account(request).await;
        accounts.push(answer.expect("an account").into_inner().account.expect("an account").id);
    }
    (server, accounts)
}
