//! The state behind every door: clients of the services, what may be remembered for a second, and who has written what.
//!
//! It holds nothing that could not be forgotten: all of it is asked for again.

use crate::config::Config;
use crate::door::caller::Verified;
use crate::door::rates::Limits;
use crate::error::Problem;
use crate::mastodon::fragments::Fragments;
use crate::streaming::sockets::Sockets;
use moka::future::Cache;
use p92_chassis::Transport;
use p92_kernel::{Clock, Random};
use p92_proto::event::v1::{CommandContext, CommandReceipt, Position, ReadOptions};
use p92_proto::identity::v1 as identity;
use p92_proto::posting::v1 as posting;
use p92_proto::ranking::v1::ranking_service_client::RankingServiceClient;
use p92_proto::timelines::v1 as timelines;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long reads of an account carry what it wrote through this process. Views are never that far behind.
const OWN_WRITES: Duration = Duration::from_secs(30);
/// How long the name of an app is remembered.
const APPS: Duration = Duration::from_mins(5);
/// For how long after its last use it is remembered whose a token is.
const BEARERS: Duration = Duration::from_hours(1);
/// Positions remembered per account; the newest per log is what matters.
const OWN_POSITIONS: usize = 64;

/// What the node hands in.
#[derive(Clone, Debug)]
pub struct Deps {
    pub servers: identity::server_service_client::ServerServiceClient<Transport>,
    pub accounts: identity::account_service_client::AccountServiceClient<Transport>,
    pub relationships: identity::relationship_service_client::RelationshipServiceClient<Transport>,
    pub credentials: identity::credential_service_client::CredentialServiceClient<Transport>,
    pub apps: identity::app_service_client::AppServiceClient<Transport>,
    pub tokens: identity::token_service_client::TokenServiceClient<Transport>,
    pub posts: posting::post_service_client::PostServiceClient<Transport>,
    pub reactions: posting::reaction_service_client::ReactionServiceClient<Transport>,
    pub timelines: timelines::timeline_service_client::TimelineServiceClient<Transport>,
    pub rankings: RankingServiceClient<Transport>,
    pub notifications: timelines::notification_service_client::NotificationServiceClient<Transport>,
    pub markers: timelines::marker_service_client::MarkerServiceClient<Transport>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
}

impl Deps {
    /// Clients over one transport per service.
    pub fn over(
        identity: Transport,
        posting: Transport,
        timelines: Transport,
        ranking: Transport,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        use identity::{
            account_service_client::AccountServiceClient, app_service_client::AppServiceClient,
            credential_service_client::CredentialServiceClient,
            relationship_service_client::RelationshipServiceClient,
            server_service_client::ServerServiceClient, token_service_client::TokenServiceClient,
        };
        use posting::{
            post_service_client::PostServiceClient, reaction_service_client::ReactionServiceClient,
        };
        use timelines::{
            marker_service_client::MarkerServiceClient,
            notification_service_client::NotificationServiceClient,
            timeline_service_client::TimelineServiceClient,
        };
        // A thread of 4,096 long posts is larger than the 4 MiB that clients take by default.
        const THREAD: usize = 64 * 1024 * 1024;
        Self {
            servers: ServerServiceClient::new(identity.clone()),
            accounts: AccountServiceClient::new(identity.clone()).max_decoding_message_size(THREAD),
            relationships: RelationshipServiceClient::new(identity.clone()),
            credentials: CredentialServiceClient::new(identity.clone()),
            apps: AppServiceClient::new(identity.clone()),
            tokens: TokenServiceClient::new(identity),
            posts: PostServiceClient::new(posting.clone()).max_decoding_message_size(THREAD),
            reactions: ReactionServiceClient::new(posting).max_decoding_message_size(THREAD),
            timelines: TimelineServiceClient::new(timelines.clone()),
            rankings: RankingServiceClient::new(ranking),
            notifications: NotificationServiceClient::new(timelines.clone()),
            markers: MarkerServiceClient::new(timelines),
            clock,
            random,
        }
    }
}

/// What every handler has at hand. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
pub struct Inner {
    pub deps: Deps,
    pub config: Config,
    /// Public URL of the default server. If its host is a loopback name, every loopback name leads there.
    pub home: String,
    pub limits: Limits,
    pub hosts: Cache<String, Answered<Option<Arc<identity::Server>>>>,
    pub tokens: Cache<[u8; 32], Answered<Arc<Verified>>>,
    /// For which accounts secrets act, for longer: so that the account can be asked for along with the token.
    pub bearers: Cache<[u8; 32], u64>,
    pub usage: Cache<u64, Usage>,
    /// Members that posted within thirty days.
    pub active: Cache<u64, u64>,
    /// Apps never change, by server and id.
    pub apps: Cache<(u64, u64), Arc<identity::App>>,
    pub sockets: Sockets,
    /// Set when the process stops: open streams end, so that it can.
    pub stopping: CancellationToken,
    /// Statuses that are written already, without what the viewer did with them.
    pub fragments: Fragments,
    written: Cache<u64, Arc<Written>>,
}

/// How long an answer that restricts may be believed.
const BELIEVED: Duration = Duration::from_secs(1);

/// An answer, and when its question was asked: what was changed since binds a second after that, however long the answer
/// was on its way.
#[derive(Clone, Debug)]
pub struct Answered<T> {
    asked: Instant,
    told: T,
}

impl<T: Clone> Answered<T> {
    /// The answer to a question that was asked then.
    pub const fn new(asked: Instant, told: T) -> Self {
        Self { asked, told }
    }

    /// The answer, while it may be believed.
    pub fn believed(&self) -> Option<T> {
        (self.asked.elapsed() < BELIEVED).then(|| self.told.clone())
    }
}

/// What an account wrote through this process: where it stands in the logs, and when the last of it was answered.
#[derive(Debug)]
struct Written {
    positions: Vec<Position>,
    at: Instant,
}

/// How many members and posts a server has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub members: u64,
    pub posts: u64,
}

impl std::ops::Deref for Gate {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Gate {
    #[must_use]
    pub fn new(deps: Deps, config: Config) -> Self {
        Self::ending_with(deps, config, "http://127.0.0.1:8092".to_owned(), CancellationToken::new())
    }

    /// The same, at this home, with open streams that end when the process stops.
    #[must_use]
    pub fn ending_with(deps: Deps, config: Config, home: String, stopping: CancellationToken) -> Self {
        let second = Duration::from(config.cache).min(BELIEVED);
        let brief = |most: u64| Cache::builder().max_capacity(most).time_to_live(second);
        let limits = Limits::new(&config.rates);
        Self(Arc::new(Inner {
            home,
            limits,
            hosts: Cache::builder().max_capacity(10_000).time_to_live(second).build(),
            tokens: brief(100_000).build(),
            bearers: Cache::builder().max_capacity(100_000).time_to_idle(BEARERS).build(),
            apps: Cache::builder().max_capacity(10_000).time_to_live(APPS).build(),
            usage: Cache::builder().max_capacity(1_000).time_to_live(Duration::from_mins(1)).build(),
            active: Cache::builder().max_capacity(1_000).time_to_live(Duration::from_hours(1)).build(),
            written: Cache::builder().max_capacity(100_000).time_to_live(OWN_WRITES).build(),
            fragments: Fragments::new(second),
            sockets: Sockets::default(),
            stopping,
            deps,
            config,
        }))
    }

    /// Options of a read at a server by a viewer (0 for a stranger), which sees what the viewer has written.
    pub async fn read(&self, server_id: u64, viewer_id: u64) -> ReadOptions {
        let written = if viewer_id == 0 { None } else { self.written.get(&viewer_id).await };
        let at_least = written.map(|written| written.positions.clone()).unwrap_or_default();
        ReadOptions { at_least, viewer_id, server_id }
    }

    /// The context of a command under the caller's key, or under a new one.
    #[must_use]
    pub fn command(&self, server_id: u64, actor_id: u64, app_id: u64, key: Option<&str>) -> CommandContext {
        let idempotency_key = key.map_or_else(|| self.new_key(), str::to_owned);
        CommandContext { server_id, actor_id, app_id, idempotency_key, ..CommandContext::default() }
    }

    /// A key that nobody had before.
    #[must_use]
    pub fn new_key(&self) -> String {
        hex::encode(p92_kernel::clock::random_bytes::<16>(&*self.deps.random))
    }

    /// Notes what an account wrote: its later reads here show it.
    pub async fn remember(&self, account_id: u64, receipt: Option<&CommandReceipt>) {
        let Some(receipt) = receipt.filter(|receipt| !receipt.positions.is_empty()) else { return };
        let before = self.written.get(&account_id).await.map(|written| written.positions.clone());
        let positions = newest(before.unwrap_or_default(), &receipt.positions);
        self.written.insert(account_id, Arc::new(Written { positions, at: Instant::now() })).await;
    }

    /// The same for what changes a home: also tells the holder of the account's slot, before the caller is answered.
    pub async fn tell(&self, account_id: u64, receipt: Option<&CommandReceipt>) {
        self.remember(account_id, receipt).await;
        self.note(account_id, receipt).await;
    }

    /// Tells the holder of an account's slot what the account wrote.
    ///
    /// The write is done whatever happens here, so the caller is not told that it failed; reads through this process
    /// carry the positions themselves.
    pub async fn note(&self, account_id: u64, receipt: Option<&CommandReceipt>) {
        let Some(receipt) = receipt.filter(|receipt| !receipt.positions.is_empty()) else { return };
        let note =
            timelines::NoteOwnWriteRequest { viewer_id: account_id, positions: receipt.positions.clone() };
        if let Err(status) = self.deps.timelines.clone().note_own_write(note).await {
            tracing::warn!(code = ?status.code(), "the holder of a slot was not told of a write");
        }
    }

    /// When an account last wrote through this process, if it did of late.
    pub async fn wrote(&self, account_id: u64) -> Option<Instant> {
        self.written.get(&account_id).await.map(|written| written.at)
    }

    /// The key under which a secret may be remembered.
    #[must_use]
    pub fn secret_key(server_id: u64, secret: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(server_id.to_be_bytes());
        hash.update(secret.as_bytes());
        hash.finalize().into()
    }
}

/// The larger of the positions per log.
fn newest(mut known: Vec<Position>, more: &[Position]) -> Vec<Position> {
    for position in more {
        match known.iter_mut().find(|one| one.service == position.service && one.shard == position.shard) {
            Some(one) => one.seq = one.seq.max(position.seq),
            None => known.push(position.clone()),
        }
    }
    let surplus = known.len().saturating_sub(OWN_POSITIONS);
    known.drain(..surplus);
    known
}

/// The answer of a call, or the problem that it met.
pub fn ask<T>(answer: Result<tonic::Response<T>, tonic::Status>) -> Result<T, Problem> {
    answer.map(tonic::Response::into_inner).map_err(Problem::from)
}

/// The part of an answer that must be there.
pub fn there<T>(part: Option<T>) -> Result<T, Problem> {
    part.ok_or_else(|| p92_kernel::Failure::internal("an answer lacks its main part").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_believed_for_a_second_from_its_question_on() {
        let asked = |ago| Instant::now().checked_sub(Duration::from_millis(ago)).unwrap();
        assert_eq!(Answered::new(asked(0), 7).believed(), Some(7));
        assert_eq!(Answered::new(asked(1_000), 7).believed(), None, "however late it came");
    }
}
