//! The contract's services: decode, call, encode. A failure becomes a status here and nowhere else.

use crate::app::App;
use p92_chassis::status::to_status;
use p92_proto::identity::v1;
use p92_proto::identity::v1::account_service_server::{AccountService, AccountServiceServer};
use p92_proto::identity::v1::app_service_server::{AppService, AppServiceServer};
use p92_proto::identity::v1::credential_service_server::{CredentialService, CredentialServiceServer};
use p92_proto::identity::v1::ending_service_server::{EndingService, EndingServiceServer};
use p92_proto::identity::v1::relationship_service_server::{RelationshipService, RelationshipServiceServer};
use p92_proto::identity::v1::server_service_server::{ServerService, ServerServiceServer};
use p92_proto::identity::v1::token_service_server::{TokenService, TokenServiceServer};
use std::sync::Arc;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// The app behind the services.
#[derive(Clone, Debug)]
pub struct Grpc(Arc<App>);

/// Every service of identity.
pub fn routes(app: &Arc<App>) -> Routes {
    let grpc = Grpc(Arc::clone(app));
    Routes::new(ServerServiceServer::new(grpc.clone()))
        .add_service(AccountServiceServer::new(grpc.clone()))
        .add_service(RelationshipServiceServer::new(grpc.clone()))
        .add_service(CredentialServiceServer::new(grpc.clone()))
        .add_service(AppServiceServer::new(grpc.clone()))
        .add_service(TokenServiceServer::new(grpc.clone()))
        .add_service(EndingServiceServer::new(grpc))
}

/// Each call of a service is the app's method of the same name.
macro_rules! service {
    ($trait:ident { $($method:ident: $request:ident => $response:ident),+ $(,)? }) => {
        #[tonic::async_trait]
        impl $trait for Grpc {
            $(
                async fn $method(
                    &self,
                    request: Request<v1::$request>,
                ) -> Result<Response<v1::$response>, Status> {
                    self.0.$method(request.into_inner()).await.map(Response::new).map_err(to_status)
                }
            )+
        }
    };
}

service!(ServerService {
    create_server: CreateServerRequest => CreateServerResponse,
    update_server: UpdateServerRequest => UpdateServerResponse,
    close_server: CloseServerRequest => CloseServerResponse,
    get_server: GetServerRequest => GetServerResponse,
    list_servers: ListServersRequest => ListServersResponse,
    count_members: CountMembersRequest => CountMembersResponse,
});

service!(AccountService {
    sign_up: SignUpRequest => SignUpResponse,
    create_account: CreateAccountRequest => CreateAccountResponse,
    register_remote_account: RegisterRemoteAccountRequest => RegisterRemoteAccountResponse,
    confirm_email: ConfirmEmailRequest => ConfirmEmailResponse,
    approve_account: ApproveAccountRequest => ApproveAccountResponse,
    limit_account: LimitAccountRequest => LimitAccountResponse,
    suspend_account: SuspendAccountRequest => SuspendAccountResponse,
    restore_account: RestoreAccountRequest => RestoreAccountResponse,
    erase_account: EraseAccountRequest => EraseAccountResponse,
    set_role: SetRoleRequest => SetRoleResponse,
    set_kind: SetKindRequest => SetKindResponse,
    update_profile: UpdateProfileRequest => UpdateProfileResponse,
    get_account: GetAccountRequest => GetAccountResponse,
    get_actor: GetActorRequest => GetActorResponse,
    batch_get_accounts: BatchGetAccountsRequest => BatchGetAccountsResponse,
    batch_get_account_facts: BatchGetAccountFactsRequest => BatchGetAccountFactsResponse,
    resolve_handles: ResolveHandlesRequest => ResolveHandlesResponse,
    search_accounts: SearchAccountsRequest => SearchAccountsResponse,
    list_accounts: ListAccountsRequest => ListAccountsResponse,
    get_admin_account: GetAdminAccountRequest => GetAdminAccountResponse,
});

service!(RelationshipService {
    follow: FollowRequest => FollowResponse,
    unfollow: UnfollowRequest => UnfollowResponse,
    accept_follow: AcceptFollowRequest => AcceptFollowResponse,
    reject_follow: RejectFollowRequest => RejectFollowResponse,
    remove_follower: RemoveFollowerRequest => RemoveFollowerResponse,
    block: BlockRequest => BlockResponse,
    unblock: UnblockRequest => UnblockResponse,
    mute: MuteRequest => MuteResponse,
    unmute: UnmuteRequest => UnmuteResponse,
    get_relationships: GetRelationshipsRequest => GetRelationshipsResponse,
    list_followers: ListFollowersRequest => ListFollowersResponse,
    list_following: ListFollowingRequest => ListFollowingResponse,
    list_follow_requests: ListFollowRequestsRequest => ListFollowRequestsResponse,
    list_blocks: ListBlocksRequest => ListBlocksResponse,
    list_mutes: ListMutesRequest => ListMutesResponse,
    batch_count_follows: BatchCountFollowsRequest => BatchCountFollowsResponse,
    list_follow_edges: ListFollowEdgesRequest => ListFollowEdgesResponse,
    list_restrictions: ListRestrictionsRequest => ListRestrictionsResponse,
    check_interactions: CheckInteractionsRequest => CheckInteractionsResponse,
});

service!(EndingService {
    end_relationship: EndRelationshipRequest => EndRelationshipResponse,
});

service!(CredentialService {
    check_password: CheckPasswordRequest => CheckPasswordResponse,
    change_password: ChangePasswordRequest => ChangePasswordResponse,
    reset_password: ResetPasswordRequest => ResetPasswordResponse,
    create_session: CreateSessionRequest => CreateSessionResponse,
    verify_session: VerifySessionRequest => VerifySessionResponse,
    list_sessions: ListSessionsRequest => ListSessionsResponse,
    revoke_session: RevokeSessionRequest => RevokeSessionResponse,
});

service!(AppService {
    register_app: RegisterAppRequest => RegisterAppResponse,
    get_app: GetAppRequest => GetAppResponse,
    batch_get_apps: BatchGetAppsRequest => BatchGetAppsResponse,
});

service!(TokenService {
    check_authorization: CheckAuthorizationRequest => CheckAuthorizationResponse,
    authorize: AuthorizeRequest => AuthorizeResponse,
    exchange_code: ExchangeCodeRequest => ExchangeCodeResponse,
    grant_client_credentials: GrantClientCredentialsRequest => GrantClientCredentialsResponse,
    grant_password: GrantPasswordRequest => GrantPasswordResponse,
    issue_token: IssueTokenRequest => IssueTokenResponse,
    revoke_token: RevokeTokenRequest => RevokeTokenResponse,
    verify_token: VerifyTokenRequest => VerifyTokenResponse,
    list_tokens: ListTokensRequest => ListTokensResponse,
    revoke_token_by_id: RevokeTokenByIdRequest => RevokeTokenByIdResponse,
});
