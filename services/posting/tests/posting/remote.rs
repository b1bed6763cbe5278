//! Posts and reactions from elsewhere come in by the same commands.

use crate::directory::{Directory, HOME};
use crate::installation::{context, options, reason, reply, start, text};
use p92_kernel::PostId;
use p92_proto::identity::v1::{MessagePolicy, ReplyPolicy};
use p92_proto::posting::v1::*;

const PUBLISHED: u64 = 1_600_000_000_000;

fn origin(object_id: &str, html: &str) -> RemoteOrigin {
    RemoteOrigin {
        object_id: object_id.into(),
        url: format!("{object_id}/page"),
        published_ms: PUBLISHED,
        html: html.into(),
        ..RemoteOrigin::default()
    }
}

fn arrives(author: u64, origin: RemoteOrigin) -> PublishPostRequest {
    PublishPostRequest { remote: Some(origin), ..text(author, "") }
}

#[tokio::test]
async fn a_post_from_elsewhere_keeps_its_name_and_date() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (far, alice) = (directory.account("far", 0, 2), directory.account("alice", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let mut origin = origin("https://remote.example/1", "<p>Hi <script>alert(1)</script><b>you</b></p>");
    origin.tags = ["Tag", "tag", "no tag"].map(|name| Tag { name: name.into(), ..Tag::default() }).into();
    origin.mentions = vec![Mention { account_id: alice, handle: "alice".into(), ..Mention::default() }];
    let id = posting.publish(arrives(far, origin.clone())).await.unwrap();
    let named = PostId::new(id).unwrap();
    assert!(named.0.is_remote_post() && named.0.millis().0 == PUBLISHED);
    let post = posting.seen(0, id).await.unwrap();
    assert_eq!((post.object_id.as_str(), post.author_home_id), ("https://remote.example/1", 0));
    assert_eq!((post.html.as_str(), post.text.as_str()), ("<p>Hi <b>you</b></p>", ""));
    assert_eq!((post.created_ms, post.tags.len(), post.mentions.len()), (PUBLISHED, 1, 1));
    assert_eq!(posting.publish(arrives(far, origin.clone())).await.unwrap(), id, "one object is one post");
    let request =
        ResolveUrisRequest { options: options(0), uris: vec![origin.object_id.clone(), origin.url.clone()] };
    let found = posting.posts.clone().resolve_uris(request).await.unwrap().into_inner().uris;
    assert!(found.iter().all(|one| one.post_id == id));
    let silent = std::sync::Arc::new(|_, _| {});
    let report = posting.posting.runtime().rebuild("posting_uris", true, silent).await.unwrap();
    assert_eq!((report.compared, report.difference), (2, None));
    let answer = posting.publish(reply(alice, id, "hello there")).await.unwrap();
    assert_eq!(posting.seen(0, answer).await.unwrap().in_reply_to_object_id, "https://remote.example/1");
    let edit = EditPostRequest {
        context: context(far),
        post_id: id,
        remote: Some(RemoteOrigin { html: "<p>Bye</p>".into(), ..origin.clone() }),
        ..EditPostRequest::default()
    };
    posting.posts.clone().edit_post(edit).await.unwrap();
    assert_eq!(posting.seen(0, id).await.unwrap().html, "<p>Bye</p>");
    posting.delete(far, id).await.unwrap();
    let again = posting.publish(arrives(far, origin)).await.unwrap_err();
    assert_eq!(reason(&again), "POST_DELETED", "what was deleted does not come back");
    posting.stop().await;
}

#[tokio::test]
async fn nobody_elsewhere_takes_the_name_of_a_post_made_here() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (far, alice) = (directory.account("far", 0, 2), directory.account("alice", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let id = posting.post(alice, "mine").await;
    let name = posting.seen(0, id).await.unwrap().object_id;
    let taken = posting.publish(arrives(far, origin(&name, "<p>not mine</p>"))).await.unwrap_err();
    assert_eq!(reason(&taken), "BAD_ACTIVITY_PUB_ID");
    // One that ends alike is another's.
    let other =
        posting.publish(arrives(far, origin(&format!("https://remote.example/{id}"), "<p>x</p>"))).await;
    let other = other.unwrap();
    let uris =
        vec![name.clone(), format!("https://remote.example/{id}"), format!("https://nowhere.example/{id}")];
    let request = ResolveUrisRequest { options: options(0), uris };
    let found = posting.posts.clone().resolve_uris(request).await.unwrap().into_inner().uris;
    assert_eq!(found.iter().map(|one| one.post_id).collect::<Vec<_>>(), [id, other, 0]);
    let page = RemoteOrigin { url: name.clone(), ..origin("https://remote.example/2", "<p>x</p>") };
    let shown = posting.publish(arrives(far, page)).await.unwrap();
    assert_eq!(posting.seen(0, shown).await.unwrap().url, "", "a page elsewhere is none of its own");
    let request = ResolveUrisRequest { options: options(0), uris: vec![name.clone()] };
    let found = posting.posts.clone().resolve_uris(request).await.unwrap().into_inner().uris;
    assert_eq!(found.first().map(|one| one.post_id), Some(id));
    posting.delete(alice, id).await.unwrap();
    let taken = posting.publish(arrives(far, origin(&name, "<p>not mine</p>"))).await;
    assert_eq!(reason(&taken.unwrap_err()), "BAD_ACTIVITY_PUB_ID");
    posting.stop().await;
}

#[tokio::test]
async fn reactions_from_elsewhere_count() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (far, alice) = (directory.account("far", 0, 2), directory.account("alice", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let id = posting.post(alice, "hi").await;
    let remote = |n: u8| {
        Some(RemoteReaction {
            activity_id: format!("https://remote.example/act/{n}"),
            published_ms: PUBLISHED,
        })
    };
    let mut client = posting.reactions.clone();
    let like = LikeRequest { context: context(far), post_id: id, remote: remote(1) };
    client.like(like.clone()).await.unwrap();
    let nameless = LikeRequest { remote: None, ..like };
    assert_eq!(reason(&client.like(nameless).await.unwrap_err()), "ORIGIN_MISMATCH");
    let boost = BoostRequest { context: context(far), post_id: id, remote: remote(2), ..Default::default() };
    // The policy on kinds is for members; its home decides about a remote account.
    let boost = client.boost(boost).await.unwrap().into_inner().boost_id;
    let shown = posting.seen(0, boost).await.unwrap();
    assert_eq!((shown.object_id.as_str(), shown.created_ms), ("https://remote.example/act/2", PUBLISHED));
    assert_eq!(posting.seen(0, id).await.unwrap().counts, Some(Counts { likes: 1, boosts: 1, replies: 0 }));
    posting.stop().await;
}

#[tokio::test]
async fn policies_hold_for_what_comes_from_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (far, alice) = (directory.account("far", 0, 2), directory.account("alice", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let id = posting.post(alice, "hi").await;
    directory.policies(HOME, |policies| {
        policies.set_replies(ReplyPolicy::Off);
        policies.set_messages(MessagePolicy::Off);
    });
    let refused = async |request| reason(&posting.publish(request).await.unwrap_err());
    let answer = arrives(far, origin("https://remote.example/2", "hm"));
    assert_eq!(refused(PublishPostRequest { in_reply_to_id: id, ..answer }).await, "REPLIES_OFF");
    let mut message = origin("https://remote.example/3", "psst");
    message.mentions = vec![Mention { account_id: alice, ..Mention::default() }];
    let message = PublishPostRequest { visibility: Visibility::Direct.into(), ..arrives(far, message) };
    assert_eq!(refused(message).await, "MESSAGES_OFF");
    for bad in ["", "javascript:alert(1)", "not a url", "https://", "https://a.example@b.example/1"] {
        assert_eq!(refused(arrives(far, origin(bad, "x"))).await, "BAD_ACTIVITY_PUB_ID", "{bad}");
    }
    assert_eq!(refused(text(far, "typed here")).await, "ORIGIN_MISMATCH");
    let huge = "x".repeat(200 * 1_024);
    assert_eq!(refused(arrives(far, origin("https://remote.example/4", &huge))).await, "TEXT_TOO_LARGE");
    posting.stop().await;
}
