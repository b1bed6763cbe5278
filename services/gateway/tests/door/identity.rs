//! Identity in memory: servers, accounts, relations, sessions, apps, tokens.

use super::world::{World, absent, missing, status};
use p92_kernel::ErrorCode;
use p92_proto::identity::v1::*;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl server_service_server::ServerService for World {
    async fn get_server(&self, request: Request<GetServerRequest>) -> Answer<GetServerResponse> {
        let Some(get_server_request::Server::Host(host)) = request.into_inner().server else {
            return Err(missing());
        };
        let server = self.at("get_server").servers.iter().find(|one| one.web_host == host).cloned();
        Ok(Response::new(GetServerResponse { server: Some(server.ok_or_else(missing)?) }))
    }

    async fn count_members(&self, request: Request<CountMembersRequest>) -> Answer<CountMembersResponse> {
        let server_id = request.into_inner().options.unwrap().server_id;
        let state = self.at("count_members");
        let members = state.accounts.values().filter(|one| one.server_id == server_id).count() as u64;
        Ok(Response::new(CountMembersResponse { members }))
    }

    absent! {
        create_server(CreateServerRequest) -> CreateServerResponse;
        update_server(UpdateServerRequest) -> UpdateServerResponse;
        close_server(CloseServerRequest) -> CloseServerResponse;
        list_servers(ListServersRequest) -> ListServersResponse;
    }
}

#[tonic::async_trait]
impl account_service_server::AccountService for World {
    async fn sign_up(&self, request: Request<SignUpRequest>) -> Answer<SignUpResponse> {
        let request = request.into_inner();
        let server_id = request.context.unwrap().server_id;
        let mut state = self.at("sign_up");
        if state.accounts.values().any(|one| one.server_id == server_id && one.handle == request.handle) {
            return Err(status(ErrorCode::AlreadyExists, "HANDLE_TAKEN", "This handle is taken."));
        }
        let id = state.account(server_id, &request.handle);
        let secret = state.token(server_id, id, &request.scopes.join(" "));
        state.passwords.insert(request.email, (request.password.clone(), id));
        state.passwords.insert(request.handle, (request.password, id));
        let token = IssuedToken { token: state.tokens.get(&secret).cloned(), secret };
        let account = state.accounts.get(&id).cloned();
        Ok(Response::new(SignUpResponse { receipt: state.receipt("identity"), account, token: Some(token) }))
    }

    async fn get_account(&self, request: Request<GetAccountRequest>) -> Answer<GetAccountResponse> {
        let request = request.into_inner();
        let state = self.at("get_account");
        let found = match request.account.unwrap() {
            get_account_request::Account::Id(id) => state.accounts.get(&id),
            get_account_request::Account::Handle(handle) => {
                state.accounts.values().find(|one| one.server_id == 1 && one.handle == handle)
            }
            get_account_request::Account::ActivityPubId(_) => None,
        };
        Ok(Response::new(GetAccountResponse { account: Some(found.cloned().ok_or_else(missing)?) }))
    }

    async fn batch_get_accounts(
        &self,
        request: Request<BatchGetAccountsRequest>,
    ) -> Answer<BatchGetAccountsResponse> {
        let state = self.at("batch_get_accounts");
        let ids = request.into_inner().ids;
        let accounts = ids.iter().filter_map(|id| state.accounts.get(id).cloned()).collect();
        Ok(Response::new(BatchGetAccountsResponse { accounts }))
    }

    async fn list_accounts(&self, request: Request<ListAccountsRequest>) -> Answer<ListAccountsResponse> {
        let server_id = request.into_inner().options.unwrap().server_id;
        let state = self.at("list_accounts");
        let own = state.accounts.values().filter(|one| one.server_id == server_id).cloned();
        let accounts = own.map(|one| AdminAccount { account: Some(one), ..Default::default() }).collect();
        Ok(Response::new(ListAccountsResponse { accounts, next_page_token: String::new() }))
    }

    async fn update_profile(&self, request: Request<UpdateProfileRequest>) -> Answer<UpdateProfileResponse> {
        let request = request.into_inner();
        let mut state = self.at("update_profile");
        let change = request.account.unwrap();
        let account = state.accounts.get_mut(&request.context.unwrap().actor_id).unwrap();
        for path in request.update_mask.unwrap().paths {
            match path.as_str() {
                "display_name" => account.display_name.clone_from(&change.display_name),
                "note" => account.note.clone_from(&change.note),
                "fields" => account.fields.clone_from(&change.fields),
                "locked" => account.locked = change.locked,
                "preferences.visibility" => {
                    account.preferences.get_or_insert_default().visibility =
                        change.preferences.as_ref().unwrap().visibility;
                }
                other => panic!("a path that no test sends: {other}"),
            }
        }
        let account = Some(account.clone());
        Ok(Response::new(UpdateProfileResponse { receipt: state.receipt("identity"), account }))
    }

    async fn search_accounts(
        &self,
        request: Request<SearchAccountsRequest>,
    ) -> Answer<SearchAccountsResponse> {
        let query = request.into_inner().query;
        let state = self.at("search_accounts");
        let accounts =
            state.accounts.values().filter(|one| one.handle.starts_with(&query)).cloned().collect();
        Ok(Response::new(SearchAccountsResponse { accounts }))
    }
    absent! {
        create_account(CreateAccountRequest) -> CreateAccountResponse;
        register_remote_account(RegisterRemoteAccountRequest) -> RegisterRemoteAccountResponse;
        confirm_email(ConfirmEmailRequest) -> ConfirmEmailResponse;
        approve_account(ApproveAccountRequest) -> ApproveAccountResponse;
        limit_account(LimitAccountRequest) -> LimitAccountResponse;
        suspend_account(SuspendAccountRequest) -> SuspendAccountResponse;
        restore_account(RestoreAccountRequest) -> RestoreAccountResponse;
        erase_account(EraseAccountRequest) -> EraseAccountResponse;
        set_role(SetRoleRequest) -> SetRoleResponse;
        set_kind(SetKindRequest) -> SetKindResponse;
        get_actor(GetActorRequest) -> GetActorResponse;
        batch_get_account_facts(BatchGetAccountFactsRequest) -> BatchGetAccountFactsResponse;
        resolve_handles(ResolveHandlesRequest) -> ResolveHandlesResponse;
        get_admin_account(GetAdminAccountRequest) -> GetAdminAccountResponse;
    }
}

fn relation(world: &World, viewer: u64, other: u64) -> Relationship {
    let state = world.state();
    let follow =
        |a, b| if state.follows.contains(&(a, b)) { FollowState::Following } else { FollowState::None };
    Relationship {
        account_id: other,
        following: follow(viewer, other).into(),
        followed_by: follow(other, viewer).into(),
        show_boosts: true,
        blocking: state.blocks.contains(&(viewer, other)),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl relationship_service_server::RelationshipService for World {
    async fn follow(&self, request: Request<FollowRequest>) -> Answer<FollowResponse> {
        let request = request.into_inner();
        let actor = request.context.unwrap().actor_id;
        let receipt = {
            let mut state = self.at("follow");
            if !state.accounts.contains_key(&request.account_id) {
                return Err(missing());
            }
            state.follows.insert((actor, request.account_id));
            state.receipt("identity")
        };
        Ok(Response::new(FollowResponse {
            receipt,
            relationship: Some(relation(self, actor, request.account_id)),
        }))
    }

    async fn unfollow(&self, request: Request<UnfollowRequest>) -> Answer<UnfollowResponse> {
        let request = request.into_inner();
        let actor = request.context.unwrap().actor_id;
        self.at("unfollow").follows.remove(&(actor, request.account_id));
        let receipt = self.state().receipt("identity");
        Ok(Response::new(UnfollowResponse {
            receipt,
            relationship: Some(relation(self, actor, request.account_id)),
        }))
    }

    async fn block(&self, request: Request<BlockRequest>) -> Answer<BlockResponse> {
        let request = request.into_inner();
        let actor = request.context.unwrap().actor_id;
        self.at("block").blocks.insert((actor, request.account_id));
        let receipt = self.state().receipt("identity");
        Ok(Response::new(BlockResponse {
            receipt,
            relationship: Some(relation(self, actor, request.account_id)),
        }))
    }

    async fn mute(&self, request: Request<MuteRequest>) -> Answer<MuteResponse> {
        let request = request.into_inner();
        let actor = request.context.unwrap().actor_id;
        self.at("mute").mutes.insert((actor, request.account_id), request.duration_ms);
        let receipt = self.state().receipt("identity");
        let relationship = Some(Relationship { muting: true, ..relation(self, actor, request.account_id) });
        Ok(Response::new(MuteResponse { receipt, relationship }))
    }

    async fn list_mutes(&self, request: Request<ListMutesRequest>) -> Answer<ListMutesResponse> {
        let viewer = request.into_inner().options.unwrap().viewer_id;
        let state = self.at("list_mutes");
        let own = state.mutes.iter().filter(|((by, _), _)| *by == viewer);
        let mutes = own.map(|((_, of), for_ms)| Restriction {
            id: of + 1,
            account_id: *of,
            mute_expires_ms: 1_790_000_000_000 + for_ms,
            ..Default::default()
        });
        Ok(Response::new(ListMutesResponse { mutes: mutes.collect(), more: false }))
    }

    async fn list_blocks(&self, request: Request<ListBlocksRequest>) -> Answer<ListBlocksResponse> {
        let viewer = request.into_inner().options.unwrap().viewer_id;
        let state = self.at("list_blocks");
        let own = state.blocks.iter().filter(|(by, _)| *by == viewer);
        let blocks =
            own.map(|(_, of)| Restriction { id: of + 1, account_id: *of, ..Default::default() }).collect();
        Ok(Response::new(ListBlocksResponse { blocks, more: false }))
    }

    async fn list_follow_requests(
        &self,
        request: Request<ListFollowRequestsRequest>,
    ) -> Answer<ListFollowRequestsResponse> {
        let viewer = request.into_inner().options.unwrap().viewer_id;
        let state = self.at("list_follow_requests");
        let asked = state.requests.iter().filter(|(_, of)| *of == viewer);
        let edges =
            asked.map(|(by, _)| FollowEdge { follow_id: by + 1, account_id: *by, ..Default::default() });
        Ok(Response::new(ListFollowRequestsResponse { edges: edges.collect(), more: false }))
    }

    async fn accept_follow(&self, request: Request<AcceptFollowRequest>) -> Answer<AcceptFollowResponse> {
        let request = request.into_inner();
        let actor = request.context.unwrap().actor_id;
        let receipt = {
            let mut state = self.at("accept_follow");
            if !state.requests.remove(&(request.account_id, actor)) {
                return Err(missing());
            }
            state.follows.insert((request.account_id, actor));
            state.receipt("identity")
        };
        Ok(Response::new(AcceptFollowResponse {
            receipt,
            relationship: Some(relation(self, actor, request.account_id)),
        }))
    }

    async fn list_following(&self, request: Request<ListFollowingRequest>) -> Answer<ListFollowingResponse> {
        let id = request.into_inner().account_id;
        let state = self.at("list_following");
        let whom = state.follows.iter().filter(|(by, _)| *by == id);
        let edges =
            whom.map(|(_, of)| FollowEdge { follow_id: of + 1, account_id: *of, ..Default::default() });
        Ok(Response::new(ListFollowingResponse { edges: edges.collect(), more: false }))
    }

    async fn get_relationships(
        &self,
        request: Request<GetRelationshipsRequest>,
    ) -> Answer<GetRelationshipsResponse> {
        let request = request.into_inner();
        let viewer = request.options.unwrap().viewer_id;
        let relationships = request.account_ids.into_iter().map(|id| relation(self, viewer, id)).collect();
        Ok(Response::new(GetRelationshipsResponse { relationships }))
    }

    async fn list_followers(&self, request: Request<ListFollowersRequest>) -> Answer<ListFollowersResponse> {
        let id = request.into_inner().account_id;
        let state = self.at("list_followers");
        let who = state.follows.iter().filter(|(_, followed)| *followed == id);
        let edges =
            who.map(|(by, _)| FollowEdge { follow_id: by + 1_000, account_id: *by, ..Default::default() });
        Ok(Response::new(ListFollowersResponse { edges: edges.collect(), more: false }))
    }
    absent! {
        reject_follow(RejectFollowRequest) -> RejectFollowResponse;
        remove_follower(RemoveFollowerRequest) -> RemoveFollowerResponse;
        unblock(UnblockRequest) -> UnblockResponse;
        unmute(UnmuteRequest) -> UnmuteResponse;
        batch_count_follows(BatchCountFollowsRequest) -> BatchCountFollowsResponse;
        list_follow_edges(ListFollowEdgesRequest) -> ListFollowEdgesResponse;
        list_restrictions(ListRestrictionsRequest) -> ListRestrictionsResponse;
        check_interactions(CheckInteractionsRequest) -> CheckInteractionsResponse;
    }
}

#[tonic::async_trait]
impl credential_service_server::CredentialService for World {
    async fn create_session(&self, request: Request<CreateSessionRequest>) -> Answer<CreateSessionResponse> {
        let request = request.into_inner();
        let mut state = self.at("create_session");
        let wrong = || status(ErrorCode::Unauthenticated, "BAD_CREDENTIALS", "Login or password is wrong.");
        let (password, account_id) = state.passwords.get(&request.login).cloned().ok_or_else(wrong)?;
        if password != request.password {
            return Err(wrong());
        }
        let id = state.id();
        let session = Session { id, server_id: 1, account_id, expires_ms: u64::MAX, ..Default::default() };
        let secret = format!("session{id}");
        state.sessions.insert(secret.clone(), session.clone());
        Ok(Response::new(CreateSessionResponse {
            session: Some(session),
            secret,
            state: AccountState::Active.into(),
        }))
    }

    async fn verify_session(&self, request: Request<VerifySessionRequest>) -> Answer<VerifySessionResponse> {
        let request = request.into_inner();
        let state = self.at("verify_session");
        let session =
            state.sessions.get(&request.secret).filter(|one| one.server_id == request.server_id).cloned();
        let session = session.ok_or_else(|| status(ErrorCode::Unauthenticated, "INVALID_SESSION", "No."))?;
        let account = state.facts(session.account_id);
        Ok(Response::new(VerifySessionResponse { session: Some(session), account }))
    }
    absent! {
        check_password(CheckPasswordRequest) -> CheckPasswordResponse;
        change_password(ChangePasswordRequest) -> ChangePasswordResponse;
        reset_password(ResetPasswordRequest) -> ResetPasswordResponse;
        list_sessions(ListSessionsRequest) -> ListSessionsResponse;
        revoke_session(RevokeSessionRequest) -> RevokeSessionResponse;
    }
}

#[tonic::async_trait]
impl app_service_server::AppService for World {
    async fn register_app(&self, request: Request<RegisterAppRequest>) -> Answer<RegisterAppResponse> {
        let request = request.into_inner();
        let mut state = self.at("register_app");
        let id = state.id();
        let scopes = if request.scopes.is_empty() { vec!["read".to_owned()] } else { request.scopes };
        let app = App {
            id,
            server_id: request.server_id,
            client_id: format!("client{id}"),
            name: request.name,
            website: request.website,
            redirect_uris: request.redirect_uris,
            scopes,
            created_ms: 1,
        };
        let client_secret = format!("app-secret{id}");
        state.apps.push((app.clone(), client_secret.clone()));
        Ok(Response::new(RegisterAppResponse { app: Some(app), client_secret }))
    }

    async fn get_app(&self, request: Request<GetAppRequest>) -> Answer<GetAppResponse> {
        let Some(get_app_request::App::Id(id)) = request.into_inner().app else { return Err(missing()) };
        let app = self.at("get_app").apps.iter().find(|(app, _)| app.id == id).map(|(app, _)| app.clone());
        Ok(Response::new(GetAppResponse { app: Some(app.ok_or_else(missing)?) }))
    }

    async fn batch_get_apps(&self, request: Request<BatchGetAppsRequest>) -> Answer<BatchGetAppsResponse> {
        drop(self.at("batch_get_apps"));
        let ids = request.into_inner().ids;
        let apps =
            ids.iter().map(|id| App { id: *id, name: "An app".to_owned(), ..Default::default() }).collect();
        Ok(Response::new(BatchGetAppsResponse { apps }))
    }
    absent! {}
}

impl World {
    fn app(&self, server_id: u64, client_id: &str) -> Result<(App, String), Status> {
        let state = self.state();
        let found =
            state.apps.iter().find(|(app, _)| app.client_id == client_id && app.server_id == server_id);
        found.cloned().ok_or_else(|| status(ErrorCode::Unauthenticated, "INVALID_CLIENT", "Unknown client."))
    }
}

#[tonic::async_trait]
impl token_service_server::TokenService for World {
    async fn check_authorization(
        &self,
        request: Request<CheckAuthorizationRequest>,
    ) -> Answer<CheckAuthorizationResponse> {
        let request = request.into_inner();
        let asked = request.asked.unwrap();
        let (app, _) = self.app(request.server_id, &asked.client_id)?;
        if !app.redirect_uris.contains(&asked.redirect_uri) {
            return Err(status(
                ErrorCode::InvalidArgument,
                "INVALID_REDIRECT_URI",
                "The redirect URI is not registered.",
            ));
        }
        if !asked.scopes.iter().all(|scope| app.scopes.contains(scope)) {
            return Err(status(
                ErrorCode::InvalidArgument,
                "INVALID_SCOPE",
                "The scope is more than the app may have.",
            ));
        }
        Ok(Response::new(CheckAuthorizationResponse { app: Some(app), scopes: asked.scopes }))
    }

    async fn authorize(&self, request: Request<AuthorizeRequest>) -> Answer<AuthorizeResponse> {
        let request = request.into_inner();
        let asked = request.asked.unwrap();
        let mut state = self.at("authorize");
        let code = format!("code{}", state.id());
        let scopes = asked.scopes.clone();
        state.codes.insert(code.clone(), (asked, request.account_id, scopes));
        Ok(Response::new(AuthorizeResponse { code }))
    }

    async fn exchange_code(&self, request: Request<ExchangeCodeRequest>) -> Answer<ExchangeCodeResponse> {
        let request = request.into_inner();
        self.app(request.server_id, &request.client_id)?;
        let mut state = self.at("exchange_code");
        let refused = || status(ErrorCode::InvalidArgument, "INVALID_GRANT", "The grant is not valid.");
        let (asked, account_id, scopes) = state.codes.remove(&request.code).ok_or_else(refused)?;
        if asked.redirect_uri != request.redirect_uri || asked.client_id != request.client_id {
            return Err(refused());
        }
        let secret = state.token(request.server_id, account_id, &scopes.join(" "));
        let token = IssuedToken { token: state.tokens.get(&secret).cloned(), secret };
        Ok(Response::new(ExchangeCodeResponse { token: Some(token) }))
    }

    async fn grant_client_credentials(
        &self,
        request: Request<GrantClientCredentialsRequest>,
    ) -> Answer<GrantClientCredentialsResponse> {
        let request = request.into_inner();
        let (_, secret) = self.app(request.server_id, &request.client_id)?;
        if secret != request.client_secret {
            return Err(status(ErrorCode::Unauthenticated, "INVALID_CLIENT", "The secret is wrong."));
        }
        let mut state = self.at("grant_client_credentials");
        let secret = state.token(request.server_id, 0, &request.scopes.join(" "));
        let token = IssuedToken { token: state.tokens.get(&secret).cloned(), secret };
        Ok(Response::new(GrantClientCredentialsResponse { token: Some(token) }))
    }

    async fn revoke_token(&self, request: Request<RevokeTokenRequest>) -> Answer<RevokeTokenResponse> {
        let request = request.into_inner();
        self.app(request.server_id, &request.client_id)?;
        self.at("revoke_token").tokens.remove(&request.secret);
        Ok(Response::new(RevokeTokenResponse {}))
    }

    async fn verify_token(&self, request: Request<VerifyTokenRequest>) -> Answer<VerifyTokenResponse> {
        let request = request.into_inner();
        let state = self.at("verify_token");
        let token =
            state.tokens.get(&request.secret).filter(|one| one.server_id == request.server_id).cloned();
        let token = token.ok_or_else(|| status(ErrorCode::Unauthenticated, "INVALID_TOKEN", "No."))?;
        let account = state.facts(token.account_id);
        Ok(Response::new(VerifyTokenResponse { token: Some(token), account }))
    }
    absent! {
        grant_password(GrantPasswordRequest) -> GrantPasswordResponse;
        issue_token(IssueTokenRequest) -> IssueTokenResponse;
        list_tokens(ListTokensRequest) -> ListTokensResponse;
        revoke_token_by_id(RevokeTokenByIdRequest) -> RevokeTokenByIdResponse;
    }
}
