//! Identity on a real platform, asked through its generated clients.

use p92_chassis::{SystemClock, SystemRandom, Transport};
use p92_eventlog::Platform;
use p92_eventlog::ground::{Ground, Site};
use p92_identity::config::Hashing;
use p92_identity::{Config, Deps, Identity};
use p92_kernel::{Clock, Failure, Millis};
use p92_proto::event::v1::{CommandContext, ReadOptions};
use p92_proto::identity::v1::account_service_client::AccountServiceClient;
use p92_proto::identity::v1::app_service_client::AppServiceClient;
use p92_proto::identity::v1::credential_service_client::CredentialServiceClient;
use p92_proto::identity::v1::relationship_service_client::RelationshipServiceClient;
use p92_proto::identity::v1::server_service_client::ServerServiceClient;
use p92_proto::identity::v1::token_service_client::TokenServiceClient;
use p92_proto::identity::v1::*;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The machine's clock, some time ahead.
#[derive(Debug, Default)]
pub struct AheadClock {
    system: SystemClock,
    ahead_ms: AtomicU64,
}

impl AheadClock {
    pub fn pass(&self, time: Duration) {
        self.ahead_ms.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for AheadClock {
    fn now(&self) -> Millis {
        Millis(self.system.now().0 + self.ahead_ms.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        self.system.monotonic()
    }
}

pub struct World {
    ground: Ground,
    pub platform: Arc<Platform>,
    pub identity: Identity,
    pub clock: Arc<AheadClock>,
    pub servers: ServerServiceClient<Transport>,
    pub accounts: AccountServiceClient<Transport>,
    pub relations: RelationshipServiceClient<Transport>,
    pub credentials: CredentialServiceClient<Transport>,
    pub apps: AppServiceClient<Transport>,
    pub tokens: TokenServiceClient<Transport>,
}

/// Cheap hashes: what they cost is tried elsewhere.
pub fn config() -> Config {
    let hashing = Hashing { memory_kib: 64, passes: 1, at_once: 2, waiting: 200 };
    Config { hashing, ..Config::default() }
}

impl World {
    pub async fn open(dir: &Path, config: Config) -> Self {
        let site = Site { name: "identity", shards: 4, tables: &p92_identity::tables() };
        let clock = Arc::new(AheadClock::default());
        let ground = Ground::open(dir, site, clock.clone(), Arc::new(SystemRandom)).await;
        let platform = Arc::clone(&ground.platform);
        let identity = p92_identity::start(Deps { platform: platform.clone(), config }).await.unwrap();
        identity.runtime().ready().await;
        let transport = Transport::local(identity.routes());
        Self {
            ground,
            platform,
            identity,
            clock,
            servers: ServerServiceClient::new(transport.clone()),
            accounts: AccountServiceClient::new(transport.clone()),
            relations: RelationshipServiceClient::new(transport.clone()),
            credentials: CredentialServiceClient::new(transport.clone()),
            apps: AppServiceClient::new(transport.clone()),
            tokens: TokenServiceClient::new(transport),
        }
    }

    pub async fn close(self) {
        self.ground.close().await;
    }

    /// An open server.
    pub async fn server(&mut self, domain: &str) -> u64 {
        self.server_with(domain, RegistrationPolicy::Open, None).await
    }

    pub async fn server_with(
        &mut self,
        domain: &str,
        registration: RegistrationPolicy,
        policies: Option<ServerPolicies>,
    ) -> u64 {
        let request = CreateServerRequest {
            domain: domain.to_owned(),
            public_url: format!("https://{domain}"),
            registration: registration as i32,
            policies,
            ..Default::default()
        };
        self.servers.create_server(request).await.unwrap().into_inner().server.unwrap().id
    }

    /// A member, made by the operator.
    pub async fn member(&mut self, server: u64, handle: &str) -> u64 {
        self.member_with(server, handle, |_| {}).await
    }

    pub async fn member_with(
        &mut self,
        server: u64,
        handle: &str,
        change: impl FnOnce(&mut CreateAccountRequest),
    ) -> u64 {
        let mut request = CreateAccountRequest {
            context: Some(by(server, 0)),
            handle: handle.to_owned(),
            email: format!("{handle}@mail.example"),
            password: "correct horse".to_owned(),
            ..Default::default()
        };
        change(&mut request);
        self.accounts.create_account(request).await.unwrap().into_inner().account.unwrap().id
    }

    pub fn sign_up_request(&self, server: u64, handle: &str) -> SignUpRequest {
        SignUpRequest {
            context: Some(by(server, 0)),
            handle: handle.to_owned(),
            email: format!("{handle}@mail.example"),
            password: "correct horse".to_owned(),
            agreement: true,
            ..Default::default()
        }
    }

    /// An app with every scope.
    pub async fn app(&mut self, server: u64) -> (App, String) {
        let request = RegisterAppRequest {
            server_id: server,
            name: "Phone".to_owned(),
            redirect_uris: vec!["https://app.example/cb".to_owned()],
            scopes: ["read", "write", "follow", "push"].map(str::to_owned).to_vec(),
            ..Default::default()
        };
        let answer = self.apps.register_app(request).await.unwrap().into_inner();
        (answer.app.unwrap(), answer.client_secret)
    }

    pub async fn get(&mut self, server: u64, viewer: u64, id: u64) -> Result<Account, Failure> {
        let account = Some(get_account_request::Account::Id(id));
        let request = GetAccountRequest { options: Some(seen_by(server, viewer)), account };
        self.accounts
            .get_account(request)
            .await
            .map(|answer| answer.into_inner().account.unwrap())
            .map_err(failure)
    }

    pub async fn by_handle(&mut self, server: u64, handle: &str) -> Result<Account, Failure> {
        let account = Some(get_account_request::Account::Handle(handle.to_owned()));
        let request = GetAccountRequest { options: Some(seen_by(server, 0)), account };
        self.accounts
            .get_account(request)
            .await
            .map(|answer| answer.into_inner().account.unwrap())
            .map_err(failure)
    }

    pub async fn follow(&mut self, server: u64, from: u64, to: u64) -> Relationship {
        let request = FollowRequest { context: Some(by(server, from)), account_id: to, ..Default::default() };
        self.relations.follow(request).await.unwrap().into_inner().relationship.unwrap()
    }

    pub async fn relationship(&mut self, server: u64, from: u64, to: u64) -> Relationship {
        let request = GetRelationshipsRequest { options: Some(seen_by(server, from)), account_ids: vec![to] };
        let answer = self.relations.get_relationships(request).await.unwrap().into_inner();
        answer.relationships.into_iter().next().unwrap()
    }

    pub async fn counts(&mut self, account: u64) -> (u64, u64, u64) {
        let request = BatchCountFollowsRequest { account_ids: vec![account], ..Default::default() };
        let counts = self.relations.batch_count_follows(request).await.unwrap().into_inner().counts;
        (counts[0].followers, counts[0].following, counts[0].requests)
    }

    /// Whether some bytes stand anywhere in the store.
    pub async fn stands_in_store(&self, canary: &str) -> bool {
        self.ground.holds(canary.as_bytes()).await
    }
}

/// Somebody acts at a server.
pub fn by(server: u64, actor: u64) -> CommandContext {
    CommandContext { server_id: server, actor_id: actor, ..Default::default() }
}

/// The same under a key.
pub fn keyed(server: u64, actor: u64, key: &str) -> CommandContext {
    CommandContext { idempotency_key: key.to_owned(), ..by(server, actor) }
}

/// Somebody looks at a server.
pub fn seen_by(server: u64, viewer: u64) -> ReadOptions {
    ReadOptions { server_id: server, viewer_id: viewer, ..Default::default() }
}

/// A status as the failure that it carries.
pub fn failure(status: tonic::Status) -> Failure {
    p92_chassis::status::from_status(status)
}

/// The reason of what must have failed.
pub fn reason<T: std::fmt::Debug>(answer: Result<tonic::Response<T>, tonic::Status>) -> String {
    failure(answer.unwrap_err()).reason.into_owned()
}
