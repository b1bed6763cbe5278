//! The public API through generated clients.

use super::world::{HOST, World};
use p92_chassis::Transport;
use p92_gateway::{Config, Gate, api::services};
use p92_proto::api::v1 as api;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

pub async fn door(world: &World) -> Transport {
    Transport::local(services(&Gate::new(world.deps(), Config::default())).await.unwrap())
}

pub fn call<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("p92-server", HOST.parse().unwrap());
    if !token.is_empty() {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

fn hello(request_id: &str) -> api::CreatePostRequest {
    api::CreatePostRequest {
        request_id: request_id.to_owned(),
        text: "hello".to_owned(),
        visibility: api::Visibility::Public.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_post_is_made_once_shown_listed_and_deleted() {
    let world = World::new();
    let (_, token) = world.member("ann", "read write");
    let transport = door(&world).await;
    let mut posts = api::post_service_client::PostServiceClient::new(transport.clone());
    let mut timelines = api::timeline_service_client::TimelineServiceClient::new(transport);
    let made = posts.create_post(call(hello("k"), &token)).await.unwrap().into_inner().post.unwrap();
    let again = posts.create_post(call(hello("k"), &token)).await.unwrap().into_inner().post.unwrap();
    assert_eq!(made.id, again.id);
    let asked = api::GetPostRequest { post_id: made.id.clone() };
    let shown = posts.get_post(call(asked.clone(), "")).await.unwrap().into_inner().post.unwrap();
    assert_eq!((shown.html.as_str(), shown.create_time.unwrap().seconds), ("<p>hello</p>", 1_790_000_000));

    posts.create_post(call(hello("l"), &token)).await.unwrap();
    let first = api::ListHomePostsRequest { page_size: 1, page_token: String::new() };
    let first = timelines.list_home_posts(call(first, &token)).await.unwrap().into_inner();
    let second = api::ListHomePostsRequest { page_size: 1, page_token: first.next_page_token };
    let second = timelines.list_home_posts(call(second, &token)).await.unwrap().into_inner();
    assert_ne!(first.posts[0].id, made.id);
    assert_eq!(second.posts[0].id, made.id);

    let delete = api::DeletePostRequest { request_id: String::new(), post_id: made.id };
    posts.delete_post(call(delete, &token)).await.unwrap();
    assert_eq!(posts.get_post(call(asked, &token)).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn refusals_say_why() {
    let world = World::new();
    let (_, reader) = world.member("ann", "read");
    let (_, writer) = world.member("bob", "write");
    let mut posts = api::post_service_client::PostServiceClient::new(door(&world).await);
    let silent = api::CreatePostRequest { visibility: 0, ..hello("") };
    for (message, token, code, reason) in [
        (hello(""), "", Code::Unauthenticated, "INVALID_TOKEN"),
        (hello(""), "wrong", Code::Unauthenticated, "INVALID_TOKEN"),
        (hello(""), &reader, Code::PermissionDenied, "INSUFFICIENT_SCOPE"),
        (silent, &writer, Code::InvalidArgument, "VISIBILITY_NEEDED"),
        (hello(&"k".repeat(256)), &writer, Code::InvalidArgument, "KEY_TOO_LONG"),
    ] {
        let status = posts.create_post(call(message, token)).await.unwrap_err();
        let info = status.get_error_details().error_info().cloned().unwrap();
        assert_eq!((status.code(), info.reason.as_str(), info.domain.as_str()), (code, reason, "p92"));
    }
    assert!(world.state().posts.is_empty());
    posts.create_post(call(hello(""), &writer)).await.unwrap();
    assert_eq!(world.state().posts.len(), 1);
}

#[tokio::test]
async fn reflection_tells_of_nothing_internal() {
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest as Ask;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse as Told;
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    };
    let mut client = ServerReflectionClient::new(door(&World::new()).await);
    let asks = [
        Ask::ListServices(String::new()),
        Ask::FileContainingSymbol("p92.api.v1.Post".to_owned()),
        Ask::FileContainingSymbol("p92.identity.v1.Account".to_owned()),
    ];
    let asks = asks.map(|ask| ServerReflectionRequest { host: String::new(), message_request: Some(ask) });
    let mut told = client.server_reflection_info(futures::stream::iter(asks)).await.unwrap().into_inner();
    let Some(Told::ListServicesResponse(list)) = told.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list");
    };
    let names: Vec<String> = list.service.into_iter().map(|one| one.name).collect();
    assert!(names.contains(&"p92.api.v1.PostService".to_owned()));
    let public = ["p92.api.v1.", "grpc.health.", "grpc.reflection."];
    assert!(names.iter().all(|name| public.iter().any(|start| name.starts_with(start))), "{names:?}");
    let found = told.message().await.unwrap().unwrap().message_response;
    assert!(matches!(found, Some(Told::FileDescriptorResponse(_))));
    let hidden = told.message().await;
    let shown = matches!(
        hidden.as_ref().map(|one| one.as_ref().and_then(|one| one.message_response.as_ref())),
        Ok(Some(Told::FileDescriptorResponse(_)))
    );
    assert!(!shown, "{hidden:?}");
}
