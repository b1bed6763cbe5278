//! Identity and posting as timelines asks them, answered from the same history that the tests append to their logs.

use http::{Request, Response};
use p92_proto::event::v1::IdWindow;
use p92_proto::identity::v1 as identity;
use p92_proto::posting::v1 as posting;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::{Code, Status};

/// A post with what the double needs of it.
#[derive(Clone, Debug)]
pub struct StoredPost {
    pub entry: posting::OutboxEntry,
    pub tags: Vec<String>,
}

/// What happened, as views would keep it.
#[derive(Debug, Default)]
pub struct History {
    pub homes: BTreeMap<u64, (u64, identity::AccountState)>,
    pub follows: BTreeMap<(u64, u64), identity::FollowOptions>,
    pub blocks: Vec<(u64, u64)>,
    pub mutes: BTreeMap<(u64, u64), (u64, bool)>,
    pub posts: BTreeMap<u64, StoredPost>,
    /// Post and booster by boost.
    pub boosts: BTreeMap<u64, (u64, u64)>,
    pub now: u64,
    /// Both services answer nothing.
    pub down: bool,
}

fn cut<T>(window: Option<&IdWindow>, default: usize, mut all: Vec<T>, id: impl Fn(&T) -> u64) -> Vec<T> {
    let window = window.copied().unwrap_or_default();
    let below = if window.max_id == 0 { u64::MAX } else { window.max_id };
    all.retain(|entry| id(entry) < below && id(entry) > window.since_id.max(window.min_id));
    all.sort_by_key(|entry| std::cmp::Reverse(id(entry)));
    let limit = if window.limit == 0 { default } else { window.limit as usize };
    if window.min_id != 0 {
        let from = all.len().saturating_sub(limit);
        all.drain(..from);
    }
    all.truncate(limit);
    all
}

impl History {
    fn edges(&self, request: &identity::ListFollowEdgesRequest) -> identity::ListFollowEdgesResponse {
        let edges = self.follows.iter().filter(|((follower, _), _)| *follower == request.account_id);
        let edges = edges.map(|((_, followed), options)| identity::FollowEdge {
            account_id: *followed,
            show_boosts: options.show_boosts,
            languages: options.languages.clone(),
            ..Default::default()
        });
        identity::ListFollowEdgesResponse { edges: edges.collect(), next_page_token: String::new() }
    }

    fn muting(&self, muter: u64, muted: u64) -> Option<bool> {
        let (until, notifications) = self.mutes.get(&(muter, muted))?;
        (*until == 0 || *until > self.now).then_some(*notifications)
    }

    fn restrictions(
        &self,
        request: &identity::ListRestrictionsRequest,
    ) -> identity::ListRestrictionsResponse {
        let me = request.account_id;
        let restriction = |other: &u64| {
            let muting = self.muting(me, *other);
            identity::Restriction {
                account_id: *other,
                blocking: self.blocks.contains(&(me, *other)),
                blocked_by: self.blocks.contains(&(*other, me)),
                muting: muting.is_some(),
                muting_notifications: muting.unwrap_or_default(),
                ..Default::default()
            }
        };
        let restrictions = self.homes.keys().map(restriction);
        let restrictions = restrictions.filter(|r| r.blocking || r.blocked_by || r.muting).collect();
        identity::ListRestrictionsResponse { restrictions, next_page_token: String::new() }
    }

    fn relationships(
        &self,
        request: &identity::GetRelationshipsRequest,
    ) -> identity::GetRelationshipsResponse {
        let me = request.options.as_ref().unwrap().viewer_id;
        let relationships = request.account_ids.iter().map(|other| identity::Relationship {
            account_id: *other,
            following: if self.follows.contains_key(&(me, *other)) { 3 } else { 1 },
            blocking: self.blocks.contains(&(me, *other)),
            blocked_by: self.blocks.contains(&(*other, me)),
            muting: self.muting(me, *other).is_some(),
            muting_notifications: self.muting(me, *other).unwrap_or_default(),
            ..Default::default()
        });
        identity::GetRelationshipsResponse { relationships: relationships.collect() }
    }

    fn facts(
        &self,
        request: &identity::BatchGetAccountFactsRequest,
    ) -> identity::BatchGetAccountFactsResponse {
        let accounts = request.ids.iter().filter_map(|id| {
            let (home, state) = self.homes.get(id)?;
            Some(identity::AccountFacts {
                id: *id,
                server_id: *home,
                state: (*state).into(),
                ..Default::default()
            })
        });
        identity::BatchGetAccountFactsResponse { accounts: accounts.collect() }
    }

    fn outboxes(&self, request: &posting::ListOutboxesRequest) -> posting::ListOutboxesResponse {
        let posts = self.posts.values().map(|post| post.entry.clone());
        let boosts = self.boosts.iter().map(|(id, (post, booster))| posting::OutboxEntry {
            id: *id,
            author_id: *booster,
            visibility: posting::Visibility::Public.into(),
            ..self.posts[post].entry.clone()
        });
        let entries = posts.chain(boosts).filter(|entry| {
            request.author_ids.contains(&entry.author_id)
                && (request.include_direct || entry.visibility != i32::from(posting::Visibility::Direct))
        });
        let entries = cut(request.window.as_ref(), 20, entries.collect(), |entry| entry.id);
        posting::ListOutboxesResponse { entries }
    }

    fn tagged(&self, request: &posting::ListByTagRequest) -> posting::ListByTagResponse {
        let public = i32::from(posting::Visibility::Public);
        let tagged = self.posts.values().filter(|post| {
            post.entry.visibility == public && post.tags.contains(&request.tag.to_lowercase())
        });
        let tagged = tagged.map(|post| post.entry.clone()).collect();
        posting::ListByTagResponse { entries: cut(request.window.as_ref(), 20, tagged, |entry| entry.id) }
    }

    fn boosted_by(&self, request: &posting::ListBoostedByRequest) -> posting::ListBoostedByResponse {
        let boosts = self.boosts.iter().filter(|(_, (post, _))| *post == request.post_id);
        let reactors = boosts.map(|(id, (_, by))| posting::Reactor { account_id: *by, reaction_id: *id });
        posting::ListBoostedByResponse {
            reactors: cut(request.window.as_ref(), 40, reactors.collect(), |reactor| reactor.reaction_id),
        }
    }
}

/// Both services behind one transport.
#[derive(Clone, Debug, Default)]
pub struct Double(pub Arc<Mutex<History>>);

impl Double {
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap()
    }
}

async fn unary<Q, A>(history: Double, request: Request<Body>, answer: fn(&History, &Q) -> A) -> Response<Body>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + Default + 'static,
{
    let handler = tower::service_fn(move |request: tonic::Request<Q>| {
        let history = history.clone();
        async move {
            let history = history.history();
            if history.down {
                return Err(Status::unavailable("down"));
            }
            Ok(tonic::Response::new(answer(&history, request.get_ref())))
        }
    });
    tonic::server::Grpc::new(tonic_prost::ProstCodec::<A, Q>::default()).unary(handler, request).await
}

impl tower::Service<Request<Body>> for Double {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let history = self.clone();
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            Ok(match path.rsplit('/').next().unwrap_or_default() {
                "ListFollowEdges" => unary(history, request, History::edges).await,
                "ListRestrictions" => unary(history, request, History::restrictions).await,
                "GetRelationships" => unary(history, request, History::relationships).await,
                "BatchGetAccountFacts" => unary(history, request, History::facts).await,
                "ListOutboxes" => unary(history, request, History::outboxes).await,
                "ListByTag" => unary(history, request, History::tagged).await,
                "ListBoostedBy" => unary(history, request, History::boosted_by).await,
                other => Status::new(Code::Unimplemented, other).into_http(),
            })
        })
    }
}
