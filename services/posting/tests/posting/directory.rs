//! Identity as its contract describes it, as far as posting asks: accounts, servers, relationships, in memory.
//!
//! Identity is another service, so the real one is not to be had here; the whole node is tested with it elsewhere.

use futures::future::BoxFuture;
use p92_chassis::Transport;
use p92_kernel::{AccountId, Id, IdMint, Millis, Service, Shard};
use p92_proto::identity::v1::account_service_server::{AccountService, AccountServiceServer};
use p92_proto::identity::v1::relationship_service_server::{RelationshipService, RelationshipServiceServer};
use p92_proto::identity::v1::*;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tonic::{Request, Response, Status};

#[derive(Default)]
pub struct World {
    pub accounts: BTreeMap<u64, Account>,
    pub servers: BTreeMap<u64, Server>,
    pub follows: BTreeSet<(u64, u64)>,
    pub blocks: BTreeSet<(u64, u64)>,
    pub mutes: BTreeSet<(u64, u64)>,
    pub down: bool,
    mints: BTreeMap<u16, IdMint>,
}

#[derive(Clone, Default)]
pub struct Directory(pub Arc<Mutex<World>>);

pub const HOME: u64 = 1_000;

impl Directory {
    pub fn new() -> Self {
        let directory = Self::default();
        directory.server(HOME, "p92.example");
        directory
    }

    pub fn transport(&self) -> Transport {
        let routes = tonic::service::Routes::new(AccountServiceServer::new(self.clone()))
            .add_service(RelationshipServiceServer::new(self.clone()));
        Transport::local(routes)
    }

    pub fn server(&self, id: u64, domain: &str) {
        let policies = ServerPolicies {
            replies: ReplyPolicy::Everyone.into(),
            messages: MessagePolicy::Everyone.into(),
            boost_kinds: vec![AccountKind::Personal.into()],
            ..ServerPolicies::default()
        };
        let server = Server {
            id,
            domain: domain.into(),
            web_host: domain.into(),
            public_url: format!("https://{domain}"),
            policies: Some(policies),
            ..Server::default()
        };
        self.0.lock().servers.insert(id, server);
    }

    pub fn policies(&self, server: u64, change: impl FnOnce(&mut ServerPolicies)) {
        let mut world = self.0.lock();
        change(world.servers.get_mut(&server).unwrap().policies.as_mut().unwrap());
    }

    /// An account of a server, or of elsewhere if that is 0.
    pub fn account(&self, handle: &str, server: u64, shard: u16) -> u64 {
        let mut world = self.0.lock();
        let moment = Millis(1_700_000_000_000 + world.accounts.len() as u64);
        let mint =
            world.mints.entry(shard).or_insert_with(|| IdMint::new(Service::Identity, Shard(shard), moment));
        let id = mint.next(moment).get();
        let domain = world.servers.get(&server).map_or("remote.example".into(), |s| s.domain.clone());
        let activity_pub = ActivityPubIds {
            id: format!("https://{domain}/users/{id}"),
            url: format!("https://{domain}/@{handle}"),
            ..ActivityPubIds::default()
        };
        let account = Account {
            id,
            server_id: server,
            handle: handle.into(),
            domain,
            kind: if server == 0 { AccountKind::Unspecified } else { AccountKind::Personal }.into(),
            state: AccountState::Active.into(),
            activity_pub: Some(activity_pub),
            ..Account::default()
        };
        world.accounts.insert(id, account);
        id
    }

    pub fn set(&self, account: u64, change: impl FnOnce(&mut Account)) {
        change(self.0.lock().accounts.get_mut(&account).unwrap());
    }

    fn asked<T>(&self, request: Request<T>) -> Result<(T, parking_lot::MutexGuard<'_, World>), Status> {
        let world = self.0.lock();
        if world.down { Err(Status::unavailable("down")) } else { Ok((request.into_inner(), world)) }
    }
}

fn facts(account: &Account) -> AccountFacts {
    AccountFacts {
        id: account.id,
        server_id: account.server_id,
        kind: account.kind,
        state: account.state,
        locked: account.locked,
        ..AccountFacts::default()
    }
}

impl World {
    fn relationship(&self, viewer: u64, other: u64) -> Relationship {
        let state = |yes| if yes { FollowState::Following } else { FollowState::None }.into();
        Relationship {
            account_id: other,
            following: state(self.follows.contains(&(viewer, other))),
            followed_by: state(self.follows.contains(&(other, viewer))),
            blocking: self.blocks.contains(&(viewer, other)),
            blocked_by: self.blocks.contains(&(other, viewer)),
            muting: self.mutes.contains(&(viewer, other)),
            ..Relationship::default()
        }
    }

    fn policies(&self, account: &Account) -> Option<ServerPolicies> {
        self.servers.get(&account.server_id).and_then(|server| server.policies.clone())
    }
}

macro_rules! not_asked {
    ($($method:ident($request:ident) -> $response:ident;)+) => {
        $(
            // Written out, since the attribute of the trait does not look into macros.
            fn $method<'life, 'call>(
                &'life self,
                _: Request<$request>,
            ) -> BoxFuture<'call, Result<Response<$response>, Status>>
            where
                'life: 'call,
                Self: 'call,
            {
                Box::pin(async { Err(Status::unimplemented(stringify!($method))) })
            }
        )+
    };
}

#[tonic::async_trait]
impl AccountService for Directory {
    async fn get_actor(
        &self,
        request: Request<GetActorRequest>,
    ) -> Result<Response<GetActorResponse>, Status> {
        let (request, world) = self.asked(request)?;
        let id = request.options.unwrap_or_default().viewer_id;
        let account = world.accounts.get(&id).cloned().ok_or_else(|| Status::not_found("account"))?;
        Ok(Response::new(GetActorResponse {
            facts: Some(facts(&account)),
            home: world.servers.get(&account.server_id).cloned(),
            activity_pub: account.activity_pub,
            preferences: account.preferences,
        }))
    }

    async fn batch_get_account_facts(
        &self,
        request: Request<BatchGetAccountFactsRequest>,
    ) -> Result<Response<BatchGetAccountFactsResponse>, Status> {
        let (request, world) = self.asked(request)?;
        let accounts = request.ids.iter().filter_map(|id| world.accounts.get(id)).map(facts).collect();
        Ok(Response::new(BatchGetAccountFactsResponse { accounts }))
    }

    async fn resolve_handles(
        &self,
        request: Request<ResolveHandlesRequest>,
    ) -> Result<Response<ResolveHandlesResponse>, Status> {
        let (request, world) = self.asked(request)?;
        let server = request.options.unwrap_or_default().server_id;
        let named = |handle: &str| {
            let (name, domain) = match handle.split_once('@') {
                Some((name, domain)) => (name.to_owned(), domain.to_owned()),
                None => (handle.to_owned(), world.servers.get(&server)?.domain.clone()),
            };
            let same = |one: &&Account| one.handle.eq_ignore_ascii_case(&name) && one.domain == domain;
            world.accounts.values().find(same).cloned()
        };
        let found = request.handles.iter().filter_map(|handle| {
            Some(ResolvedHandle { handle: handle.clone(), account: Some(named(handle)?) })
        });
        Ok(Response::new(ResolveHandlesResponse { handles: found.collect() }))
    }

    not_asked! {
        sign_up(SignUpRequest) -> SignUpResponse;
        create_account(CreateAccountRequest) -> CreateAccountResponse;
        get_account(GetAccountRequest) -> GetAccountResponse;
        register_remote_account(RegisterRemoteAccountRequest) -> RegisterRemoteAccountResponse;
        confirm_email(ConfirmEmailRequest) -> ConfirmEmailResponse;
        approve_account(ApproveAccountRequest) -> ApproveAccountResponse;
        limit_account(LimitAccountRequest) -> LimitAccountResponse;
        suspend_account(SuspendAccountRequest) -> SuspendAccountResponse;
        restore_account(RestoreAccountRequest) -> RestoreAccountResponse;
        erase_account(EraseAccountRequest) -> EraseAccountResponse;
        set_role(SetRoleRequest) -> SetRoleResponse;
        set_kind(SetKindRequest) -> SetKindResponse;
        update_profile(UpdateProfileRequest) -> UpdateProfileResponse;
        batch_get_accounts(BatchGetAccountsRequest) -> BatchGetAccountsResponse;
        search_accounts(SearchAccountsRequest) -> SearchAccountsResponse;
        list_accounts(ListAccountsRequest) -> ListAccountsResponse;
        get_admin_account(GetAdminAccountRequest) -> GetAdminAccountResponse;
    }
}

#[tonic::async_trait]
impl RelationshipService for Directory {
    async fn get_relationships(
        &self,
        request: Request<GetRelationshipsRequest>,
    ) -> Result<Response<GetRelationshipsResponse>, Status> {
        let (request, world) = self.asked(request)?;
        let viewer = request.options.unwrap_or_default().viewer_id;
        let known = request.account_ids.iter().filter(|id| world.accounts.contains_key(id));
        let relationships = known.map(|id| world.relationship(viewer, *id)).collect();
        Ok(Response::new(GetRelationshipsResponse { relationships }))
    }

    async fn check_interactions(
        &self,
        request: Request<CheckInteractionsRequest>,
    ) -> Result<Response<CheckInteractionsResponse>, Status> {
        let (request, world) = self.asked(request)?;
        let actor = world.accounts.get(&request.actor_id).ok_or_else(|| Status::not_found("account"))?;
        let targets = request.target_ids.iter().filter_map(|id| world.accounts.get(id));
        let interactions = targets.map(|target| Interaction {
            target: Some(facts(target)),
            policies: world.policies(target),
            relationship: Some(world.relationship(actor.id, target.id)),
        });
        Ok(Response::new(CheckInteractionsResponse {
            actor: Some(facts(actor)),
            policies: world.policies(actor),
            interactions: interactions.collect(),
        }))
    }

    not_asked! {
        follow(FollowRequest) -> FollowResponse;
        unfollow(UnfollowRequest) -> UnfollowResponse;
        accept_follow(AcceptFollowRequest) -> AcceptFollowResponse;
        reject_follow(RejectFollowRequest) -> RejectFollowResponse;
        remove_follower(RemoveFollowerRequest) -> RemoveFollowerResponse;
        block(BlockRequest) -> BlockResponse;
        unblock(UnblockRequest) -> UnblockResponse;
        mute(MuteRequest) -> MuteResponse;
        unmute(UnmuteRequest) -> UnmuteResponse;
        list_followers(ListFollowersRequest) -> ListFollowersResponse;
        list_following(ListFollowingRequest) -> ListFollowingResponse;
        list_follow_requests(ListFollowRequestsRequest) -> ListFollowRequestsResponse;
        list_blocks(ListBlocksRequest) -> ListBlocksResponse;
        list_mutes(ListMutesRequest) -> ListMutesResponse;
        batch_count_follows(BatchCountFollowsRequest) -> BatchCountFollowsResponse;
        list_follow_edges(ListFollowEdgesRequest) -> ListFollowEdgesResponse;
        list_restrictions(ListRestrictionsRequest) -> ListRestrictionsResponse;
    }
}

pub fn account_id(raw: u64) -> AccountId {
    AccountId(Id::new(raw).unwrap())
}
