//! A tiny installation in memory behind the contracts: what the doubles of the services share.

use p92_chassis::{SystemClock, SystemRandom, Transport};
use p92_gateway::{Config, Deps};
use p92_kernel::{ErrorCode, Failure};
use p92_proto::event::v1::{CommandReceipt, Position};
use p92_proto::identity::v1 as identity;
use p92_proto::posting::v1 as posting;
use p92_proto::ranking::v1::TrendingTag;
use p92_proto::ranking::v1::ranking_service_server::RankingServiceServer;
use p92_proto::timelines::v1 as timelines;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::broadcast;
use tonic::Status;

pub const HOST: &str = "one.example";
pub const OTHER: &str = "two.example";

/// A method that no test needs: it says so.
macro_rules! absent {
    ($($name:ident($request:ty) -> $response:ty;)*) => { $(
        fn $name<'life, 'out>(
            &'life self,
            _: tonic::Request<$request>,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<tonic::Response<$response>, tonic::Status>> + Send + 'out>>
        where
            'life: 'out,
            Self: 'out,
        {
            Box::pin(async { Err(tonic::Status::unimplemented(stringify!($name))) })
        }
    )* };
}
pub(crate) use absent;

#[derive(Default)]
pub struct State {
    next: u64,
    seq: u64,
    pub servers: Vec<identity::Server>,
    pub accounts: BTreeMap<u64, identity::Account>,
    pub apps: Vec<(identity::App, String)>,
    pub codes: HashMap<String, (identity::AuthorizationAsked, u64, Vec<String>)>,
    pub tokens: HashMap<String, identity::Token>,
    pub passwords: HashMap<String, (String, u64)>,
    pub sessions: HashMap<String, identity::Session>,
    pub follows: BTreeSet<(u64, u64)>,
    pub blocks: BTreeSet<(u64, u64)>,
    pub mutes: BTreeMap<(u64, u64), u64>,
    pub requests: BTreeSet<(u64, u64)>,
    pub posts: BTreeMap<u64, posting::Post>,
    pub likes: BTreeSet<(u64, u64)>,
    pub keys: HashMap<String, u64>,
    pub notes: Vec<timelines::Notification>,
    /// What trends on which server.
    pub trends: BTreeMap<u64, Vec<TrendingTag>>,
    pub markers: BTreeMap<i32, timelines::Marker>,
    /// Names of calls, in their order.
    pub calls: Vec<&'static str>,
    /// Positions that timelines was told of.
    pub told: Vec<Position>,
    /// Positions that the last read carried.
    pub at_least: Vec<Position>,
    /// Cursors with which watches were opened.
    pub cursors: Vec<Vec<u8>>,
}

#[derive(Clone)]
pub struct World {
    state: Arc<Mutex<State>>,
    /// What watches tell; `None` breaks them.
    pub live: broadcast::Sender<Option<timelines::WatchHomeResponse>>,
}

pub fn status(code: ErrorCode, reason: &'static str, words: &str) -> Status {
    p92_chassis::status::to_status(Failure::new(code, reason, words))
}

pub fn missing() -> Status {
    status(ErrorCode::NotFound, "NOT_FOUND", "There is no such thing.")
}

impl State {
    pub fn id(&mut self) -> u64 {
        self.next += 1;
        (1_790_000_000_000 << 21) | self.next
    }

    pub fn receipt(&mut self, service: &str) -> Option<CommandReceipt> {
        self.seq += 1;
        let position = Position { service: service.to_owned(), shard: 1, seq: self.seq };
        Some(CommandReceipt { positions: vec![position], repeated: false })
    }

    pub fn facts(&self, id: u64) -> Option<identity::AccountFacts> {
        let one = self.accounts.get(&id)?;
        Some(identity::AccountFacts { id, server_id: one.server_id, state: one.state, ..Default::default() })
    }

    pub fn account(&mut self, server_id: u64, handle: &str) -> u64 {
        let id = self.id();
        let domain = self.servers.iter().find(|one| one.id == server_id).unwrap().domain.clone();
        let url = format!("https://{domain}/@{handle}");
        let account = identity::Account {
            id,
            server_id,
            handle: handle.to_owned(),
            domain,
            state: identity::AccountState::Active.into(),
            created_ms: 1_790_000_000_007,
            activity_pub: Some(identity::ActivityPubIds { id: url.clone(), url, ..Default::default() }),
            ..Default::default()
        };
        self.accounts.insert(id, account);
        id
    }

    pub fn token(&mut self, server_id: u64, account_id: u64, scopes: &str) -> String {
        let id = self.id();
        let secret = format!("secret-{id}");
        let scopes = scopes.split(' ').map(str::to_owned).collect();
        let token =
            identity::Token { id, server_id, app_id: 7, account_id, scopes, created_ms: 1_790_000_000_000 };
        self.tokens.insert(secret.clone(), token);
        secret
    }

    pub fn post(&mut self, author_id: u64, text: &str, visibility: posting::Visibility) -> u64 {
        let id = self.id();
        let author = self.accounts.get(&author_id).unwrap();
        let post = posting::Post {
            id,
            author_id,
            author_home_id: author.server_id,
            object_id: format!("https://{}/posts/{id}", author.domain),
            url: format!("https://{}/@{}/{id}", author.domain, author.handle),
            visibility: visibility.into(),
            text: text.to_owned(),
            html: format!("<p>{text}</p>"),
            created_ms: 1_790_000_000_000,
            app_id: 7,
            ..Default::default()
        };
        self.posts.insert(id, post);
        id
    }
}

impl World {
    pub fn new() -> Self {
        let server = |id, host: &str| identity::Server {
            id,
            domain: host.to_owned(),
            web_host: host.to_owned(),
            public_url: format!("https://{host}"),
            name: "One".to_owned(),
            rules: vec![identity::Rule { id: 1, text: "Be kind.".to_owned(), hint: String::new() }],
            registration: identity::RegistrationPolicy::Open.into(),
            languages: vec!["en".to_owned()],
            state: identity::ServerState::Active.into(),
            ..Default::default()
        };
        let state = State { servers: vec![server(1, HOST), server(2, OTHER)], ..Default::default() };
        Self { state: Arc::new(Mutex::new(state)), live: broadcast::channel(64).0 }
    }

    pub fn at(&self, call: &'static str) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap();
        state.calls.push(call);
        state
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// An account at the first server and a token for it.
    pub fn member(&self, handle: &str, scopes: &str) -> (u64, String) {
        let mut state = self.state();
        let id = state.account(1, handle);
        let token = state.token(1, id, scopes);
        (id, token)
    }

    pub fn router_with(&self, config: Config) -> axum::Router {
        p92_gateway::router(self.deps(), config)
    }

    pub fn deps(&self) -> Deps {
        use identity::{
            account_service_server::AccountServiceServer, app_service_server::AppServiceServer,
            credential_service_server::CredentialServiceServer,
            relationship_service_server::RelationshipServiceServer,
            server_service_server::ServerServiceServer, token_service_server::TokenServiceServer,
        };
        let of_identity = tonic::service::Routes::new(ServerServiceServer::new(self.clone()))
            .add_service(AccountServiceServer::new(self.clone()))
            .add_service(RelationshipServiceServer::new(self.clone()))
            .add_service(CredentialServiceServer::new(self.clone()))
            .add_service(AppServiceServer::new(self.clone()))
            .add_service(TokenServiceServer::new(self.clone()));
        let of_posting =
            tonic::service::Routes::new(posting::post_service_server::PostServiceServer::new(self.clone()))
                .add_service(posting::reaction_service_server::ReactionServiceServer::new(self.clone()));
        let of_timelines = tonic::service::Routes::new(
            timelines::timeline_service_server::TimelineServiceServer::new(self.clone()),
        )
        .add_service(timelines::notification_service_server::NotificationServiceServer::new(self.clone()))
        .add_service(timelines::marker_service_server::MarkerServiceServer::new(self.clone()));
        let of_ranking = tonic::service::Routes::new(RankingServiceServer::new(self.clone()));
        Deps::over(
            Transport::local(of_identity),
            Transport::local(of_posting),
            Transport::local(of_timelines),
            Transport::local(of_ranking),
            Arc::new(SystemClock::default()),
            Arc::new(SystemRandom),
        )
    }
}
