//! A post's life: published, read, edited, pinned, deleted, kept.

use crate::directory::{Directory, HOME};
use crate::installation::{context, keyed, options, reason, reply, start, text};
use p92_proto::identity::v1 as identity;
use p92_proto::posting::v1::*;
use tonic::Code;

#[tokio::test]
async fn a_post_is_shown_as_it_was_typed() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let alice = directory.account("alice", HOME, 0);
    let bob = directory.account("bob", HOME, 1);
    let far = directory.account("carol", 0, 2);
    let posting = start(dir.path(), &directory).await;
    let words = "Hi @bob and @carol@remote.example, see https://example.com/a #Grüße <b>";
    let id = posting.post(alice, words).await;
    let post = posting.seen(bob, id).await.unwrap();
    assert_eq!((post.id, post.author_id, post.author_home_id), (id, alice, HOME));
    assert_eq!(post.text, words);
    assert_eq!(post.object_id, format!("https://p92.example/users/{alice}/posts/{id}"));
    assert_eq!(post.url, format!("https://p92.example/@alice/{id}"));
    assert_eq!(post.visibility(), Visibility::Public);
    assert_eq!(post.conversation_id, id);
    let mentioned: Vec<_> = post.mentions.iter().map(|one| (one.account_id, one.handle.as_str())).collect();
    assert_eq!(mentioned, [(bob, "bob"), (far, "carol@remote.example")]);
    assert_eq!((post.tags[0].name.as_str(), post.tags[0].folded.as_str()), ("Grüße", "grusse"));
    assert!(
        post.html.contains("<a href=\"https://p92.example/@bob\" class=\"u-url mention\">"),
        "{}",
        post.html
    );
    assert!(post.html.contains("&lt;b&gt;") && !post.html.contains("<b>"), "{}", post.html);
    assert_eq!(post.counts, Some(Counts::default()));
    assert_eq!(post.marks, Some(ViewerMarks::default()));
    assert!(posting.seen(0, id).await.unwrap().marks.is_none());
    posting.stop().await;

    let posting = start(dir.path(), &directory).await;
    assert_eq!(posting.seen(bob, id).await, Some(post), "a restart keeps everything");
    posting.stop().await;
}

#[tokio::test]
async fn one_key_is_one_post() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let parent = posting.post(bob, "parent").await;
    let request = PublishPostRequest { context: keyed(alice, "k"), ..reply(alice, parent, "once") };
    let mut client = posting.posts.clone();
    let first = client.publish_post(request.clone()).await.unwrap().into_inner();
    // What was accepted once stays accepted, though its parent is gone by now.
    posting.delete(bob, parent).await.unwrap();
    let again = client.publish_post(request.clone()).await.unwrap().into_inner();
    assert_eq!(again.post_id, first.post_id);
    assert!(again.receipt.unwrap().repeated && !first.receipt.unwrap().repeated);
    let other = PublishPostRequest { text: "twice".into(), ..request.clone() };
    let status = client.publish_post(other).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    let someone_else = PublishPostRequest { context: keyed(bob, "k"), ..text(bob, "mine") };
    assert_ne!(posting.publish(someone_else).await.unwrap(), first.post_id);
    assert_eq!(posting.by_author(alice, alice).await.len(), 1);
    posting.stop().await;
}

#[tokio::test]
async fn bad_posts_are_refused_precisely() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let alice = directory.account("alice", HOME, 0);
    let posting = start(dir.path(), &directory).await;
    let refused = async |request: PublishPostRequest| reason(&posting.publish(request).await.unwrap_err());
    assert_eq!(refused(text(alice, " \n ")).await, "TEXT_BLANK");
    assert_eq!(refused(text(alice, &"x".repeat(501))).await, "TEXT_TOO_LONG");
    assert_eq!(refused(text(alice, &"e\u{301}".repeat(5_000))).await, "TEXT_TOO_LARGE");
    let language = PublishPostRequest { language: Some("gibberish".into()), ..text(alice, "x") };
    assert_eq!(refused(language).await, "BAD_LANGUAGE");
    assert_eq!(refused(reply(alice, 77, "x")).await, "NOT_FOUND");
    assert_eq!(refused(reply(alice, u64::MAX, "x")).await, "NOT_FOUND");
    assert_eq!(refused(text(0, "x")).await, "NO_ACTOR");
    assert_eq!(refused(text(4_242, "x")).await, "ACCOUNT_NOT_ACTIVE");
    let remote = PublishPostRequest { remote: Some(RemoteOrigin::default()), ..text(alice, "x") };
    assert_eq!(refused(remote).await, "ORIGIN_MISMATCH");
    assert!(posting.by_author(alice, alice).await.is_empty());
    directory.policies(HOME, |policies| policies.post_characters = 1_000);
    posting.post(alice, &"x".repeat(1_000)).await;
    posting.stop().await;
}

#[tokio::test]
async fn what_a_post_does_not_say_is_as_its_author_prefers() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let alice = directory.account("alice", HOME, 0);
    let posting = start(dir.path(), &directory).await;
    let mut client = posting.posts.clone();
    let mut publish =
        async |request| client.publish_post(request).await.unwrap().into_inner().post.expect("it is shown");
    let said = |post: &Post| (post.visibility(), post.sensitive, post.language.clone());
    let plain = publish(text(alice, "as it comes")).await;
    assert_eq!(said(&plain), (Visibility::Public, false, String::new()));
    directory.set(alice, |account| account.locked = true);
    assert_eq!(publish(text(alice, "locked")).await.visibility(), Visibility::Followers);
    let preferences =
        identity::Preferences { language: "eo".into(), sensitive: true, ..identity::Preferences::default() };
    directory.set(alice, |account| {
        account.preferences = Some(preferences);
        account.preferences.as_mut().unwrap().set_visibility(identity::Visibility::Unlisted);
    });
    let preferred = publish(text(alice, "as I like it")).await;
    assert_eq!(said(&preferred), (Visibility::Unlisted, true, "eo".into()));
    let request = PublishPostRequest {
        visibility: Visibility::Public.into(),
        sensitive: Some(false),
        language: Some(String::new()),
        ..text(alice, "said")
    };
    assert_eq!(said(&publish(request).await), (Visibility::Public, false, String::new()));
    // What is answered is what is read later.
    assert_eq!(posting.seen(alice, preferred.id).await, Some(preferred));
    posting.stop().await;
}

#[tokio::test]
async fn a_repeat_answers_with_the_post_even_if_preferences_changed() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let alice = directory.account("alice", HOME, 0);
    let posting = start(dir.path(), &directory).await;
    let request = PublishPostRequest { context: keyed(alice, "k"), ..text(alice, "once") };
    let mut client = posting.posts.clone();
    let first = client.publish_post(request.clone()).await.unwrap().into_inner();
    directory.set(alice, |account| account.locked = true);
    let again = client.publish_post(request.clone()).await.unwrap().into_inner();
    assert!(again.receipt.unwrap().repeated);
    assert_eq!(again.post, first.post);
    // Who may not act any more is answered, and shown nothing.
    directory.set(alice, |account| account.set_state(identity::AccountState::Suspended));
    let suspended = client.publish_post(request).await.unwrap().into_inner();
    assert_eq!((suspended.post_id, suspended.post), (first.post_id, None));
    posting.stop().await;
}

fn edit(author: u64, post_id: u64, words: &str) -> EditPostRequest {
    EditPostRequest { context: context(author), post_id, text: words.into(), ..EditPostRequest::default() }
}

#[tokio::test]
async fn an_edit_keeps_what_was_before() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let mut client = posting.posts.clone();
    let id = posting.post(alice, "first #one").await;
    let born = posting.seen(alice, id).await.unwrap();
    client.edit_post(edit(alice, id, "second #two @bob")).await.unwrap();
    let unchanged = client.edit_post(edit(alice, id, "second #two @bob")).await.unwrap().into_inner();
    assert!(unchanged.receipt.unwrap().positions.is_empty(), "the same again is no edit");
    let post = posting.seen(bob, id).await.unwrap();
    assert_eq!((post.text.as_str(), post.created_ms), ("second #two @bob", born.created_ms));
    assert_eq!((&post.url, &post.object_id), (&born.url, &born.object_id));
    assert!(post.edited_ms >= post.created_ms && post.mentions.len() == 1);
    let history = client.get_history(GetHistoryRequest { options: options(bob), post_id: id }).await.unwrap();
    let shown: Vec<_> =
        history.into_inner().revisions.into_iter().map(|one| (one.number, one.html)).collect();
    assert_eq!(shown.len(), 2);
    assert!(shown[0].1.contains("first") && shown[1].1.contains("second"), "{shown:?}");
    let source = client.get_source(GetSourceRequest { options: options(alice), post_id: id }).await.unwrap();
    assert_eq!(source.into_inner().text, "second #two @bob");
    let tagged = async |tag: &str| {
        let request = ListByTagRequest { options: options(0), tag: tag.into(), window: None };
        posting.posts.clone().list_by_tag(request).await.unwrap().into_inner().entries.len()
    };
    assert_eq!((tagged("One").await, tagged("TWO").await), (0, 1));
    assert_eq!(client.edit_post(edit(bob, id, "mine")).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(client.edit_post(edit(alice, 5, "none")).await.unwrap_err().code(), Code::NotFound);
    posting.stop().await;
}

#[tokio::test]
async fn pins_stand_on_the_profile() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let pin = async |actor: u64, post_id: u64| {
        posting.posts.clone().pin_post(PinPostRequest { context: context(actor), post_id }).await
    };
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(posting.post(alice, &format!("post {n}")).await);
    }
    assert_eq!(pin(bob, ids[0]).await.unwrap_err().code(), Code::NotFound);
    for id in &ids[..5] {
        pin(alice, *id).await.unwrap();
    }
    assert_eq!(reason(&pin(alice, ids[5]).await.unwrap_err()), "TOO_MANY_PINS");
    let unpin = UnpinPostRequest { context: context(alice), post_id: ids[0] };
    posting.posts.clone().unpin_post(unpin).await.unwrap();
    pin(alice, ids[5]).await.unwrap();
    posting.delete(alice, ids[1]).await.unwrap();
    let request =
        ListByAuthorRequest { options: options(bob), author_id: alice, pinned: true, ..Default::default() };
    let pinned: Vec<u64> = posting.list(request).await.iter().map(|post| post.id).collect();
    assert_eq!(pinned, [ids[5], ids[4], ids[3], ids[2]], "the one pinned last comes first");
    assert!(posting.seen(alice, ids[5]).await.unwrap().marks.unwrap().pinned);
    posting.stop().await;
}

#[tokio::test]
async fn a_deleted_post_is_gone_for_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let id = posting.post(alice, "gone soon #tag").await;
    let uri = posting.seen(alice, id).await.unwrap();
    assert_eq!(posting.delete(bob, id).await.unwrap_err().code(), Code::NotFound);
    posting.delete(alice, id).await.unwrap();
    assert!(posting.seen(alice, id).await.is_none());
    assert_eq!(posting.delete(alice, id).await.unwrap_err().code(), Code::NotFound);
    assert!(posting.by_author(alice, alice).await.is_empty());
    let request = ListByTagRequest { options: options(0), tag: "tag".into(), window: None };
    assert!(posting.posts.clone().list_by_tag(request).await.unwrap().into_inner().entries.is_empty());
    let request =
        ResolveUrisRequest { options: options(0), uris: vec![uri.object_id, uri.url, "https://x".into()] };
    let found = posting.posts.clone().resolve_uris(request).await.unwrap().into_inner().uris;
    let found: Vec<_> = found.iter().map(|one| (one.post_id, one.deleted)).collect();
    assert_eq!(found, [(id, true), (0, false), (0, false)]);
    let history = GetHistoryRequest { options: options(alice), post_id: id };
    assert_eq!(posting.posts.clone().get_history(history).await.unwrap_err().code(), Code::NotFound);
    posting.stop().await;
}
