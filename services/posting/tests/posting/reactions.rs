//! Likes, boosts, bookmarks: once each, taken back, listed, refused where a policy says so.

use crate::directory::{Directory, HOME};
use crate::installation::{Installation, context, keyed, newest, options, reason, start, text};
use p92_proto::identity::v1::AccountKind;
use p92_proto::posting::v1::*;
use tonic::Code;

async fn likes(posting: &Installation, viewer: u64) -> Vec<u64> {
    let request = ListLikesRequest { options: options(viewer), window: newest(0) };
    let posts = posting.reactions.clone().list_likes(request).await.unwrap().into_inner().posts;
    posts.into_iter().map(|one| one.post.unwrap().id).collect()
}

async fn bookmarks(posting: &Installation, viewer: u64) -> Vec<u64> {
    let request = ListBookmarksRequest { options: options(viewer), window: newest(0) };
    let posts = posting.reactions.clone().list_bookmarks(request).await.unwrap().into_inner().posts;
    posts.into_iter().map(|one| one.post.unwrap().id).collect()
}

#[tokio::test]
async fn marks_are_made_once_and_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let (first, second) = (posting.post(alice, "first").await, posting.post(alice, "second").await);
    for _ in 0..2 {
        posting.like(bob, first).await.unwrap();
        posting.bookmark(bob, first).await;
    }
    posting.like(bob, second).await.unwrap();
    let boost = posting.boost(bob, first).await.unwrap();
    assert_eq!(posting.boost(bob, first).await.unwrap(), boost, "the same boost stands");
    let post = posting.seen(bob, first).await.unwrap();
    assert_eq!(post.counts, Some(Counts { likes: 1, boosts: 1, replies: 0 }));
    let marks = ViewerMarks { liked: true, boosted: true, bookmarked: true, pinned: false, boost_id: boost };
    assert_eq!(post.marks, Some(marks));
    assert_eq!(posting.seen(alice, first).await.unwrap().marks, Some(ViewerMarks::default()));
    let only = |viewer, post_ids: Vec<u64>| GetMarksRequest { options: options(viewer), post_ids };
    let told = posting.posts.clone().get_marks(only(bob, vec![7, first, second])).await.unwrap().into_inner();
    let liked = ViewerMarks { liked: true, ..ViewerMarks::default() };
    assert_eq!(told.marks, [ViewerMarks::default(), marks, liked], "one for each id, in their order");
    let told = posting.posts.clone().get_marks(only(alice, vec![first])).await.unwrap().into_inner();
    assert_eq!(told.marks, [ViewerMarks::default()], "another's marks are not told");
    let many = posting.posts.clone().get_marks(only(bob, vec![1; 201])).await.unwrap_err();
    assert_eq!(many.code(), Code::InvalidArgument);
    assert_eq!(likes(&posting, bob).await, [second, first]);
    assert_eq!(bookmarks(&posting, bob).await, [first]);
    let liked_by = ListLikedByRequest { options: options(alice), post_id: first, window: None };
    let reactors = posting.reactions.clone().list_liked_by(liked_by).await.unwrap().into_inner().reactors;
    assert_eq!(reactors.iter().map(|one| one.account_id).collect::<Vec<_>>(), [bob]);
    let boosted_by = ListBoostedByRequest { options: options(alice), post_id: boost, window: None };
    let reactors = posting.reactions.clone().list_boosted_by(boosted_by).await.unwrap().into_inner().reactors;
    assert_eq!(reactors, [Reactor { account_id: bob, reaction_id: boost }]);
    posting.unlike(bob, first).await;
    posting.unlike(bob, first).await;
    posting.unboost(bob, first).await;
    let unbookmark = UnbookmarkRequest { context: context(bob), post_id: first };
    posting.reactions.clone().unbookmark(unbookmark).await.unwrap();
    let post = posting.seen(bob, first).await.unwrap();
    assert_eq!((post.counts, post.marks), (Some(Counts::default()), Some(ViewerMarks::default())));
    assert_eq!((likes(&posting, bob).await, bookmarks(&posting, bob).await), (vec![second], vec![]));
    assert!(posting.seen(bob, boost).await.is_none());
    posting.stop().await;
}

#[tokio::test]
async fn a_boost_is_an_entry_that_wraps_a_post() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let id = posting.post(alice, "worth it").await;
    let boost = posting.boost(bob, id).await.unwrap();
    let shown = posting.seen(0, boost).await.unwrap();
    assert_eq!((shown.id, shown.author_id), (boost, bob));
    assert_eq!(shown.object_id, format!("https://p92.example/users/{bob}/boosts/{boost}"));
    assert_eq!(shown.boosted.unwrap().text, "worth it");
    // A boost stands for its post in every command.
    posting.like(alice, boost).await.unwrap();
    assert_eq!(posting.seen(0, id).await.unwrap().counts.unwrap().likes, 1);
    let outbox: Vec<u64> = posting.by_author(0, bob).await.iter().map(|post| post.id).collect();
    assert_eq!(outbox, [boost]);
    directory.0.lock().blocks.insert((alice, bob));
    assert!(posting.seen(bob, boost).await.is_none(), "what it wraps is hidden from him");
    posting.unboost(bob, boost).await;
    assert!(posting.seen(0, boost).await.is_none());
    posting.stop().await;
}

#[tokio::test]
async fn a_policy_refuses_boosts_of_a_kind_but_never_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, shop) = (directory.account("alice", HOME, 0), directory.account("shop", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let id = posting.post(alice, "worth it").await;
    let boost = posting.boost(shop, id).await.unwrap();
    directory.set(shop, |account| account.set_kind(AccountKind::Corporate));
    assert!(posting.seen(0, boost).await.is_some(), "old boosts stay");
    let other = posting.post(alice, "another").await;
    let status = posting.boost(shop, other).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "BOOST_REFUSED_FOR_KIND"));
    assert_eq!(posting.seen(shop, other).await.unwrap().counts.unwrap().boosts, 0);
    posting.unboost(shop, id).await;
    assert_eq!(posting.seen(0, id).await.unwrap().counts.unwrap().boosts, 0);
    posting.stop().await;
}

#[tokio::test]
async fn what_is_for_few_is_not_shared() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    directory.0.lock().follows.insert((bob, alice));
    let posting = start(dir.path(), &directory).await;
    let request = PublishPostRequest { visibility: Visibility::Followers.into(), ..text(alice, "for few") };
    let id = posting.publish(request).await.unwrap();
    assert_eq!(reason(&posting.boost(bob, id).await.unwrap_err()), "NOT_FOR_SHARING");
    let own = posting.boost(alice, id).await.unwrap();
    assert_eq!(posting.seen(bob, own).await.unwrap().visibility(), Visibility::Followers);
    assert!(posting.seen(0, own).await.is_none());
    let request = PublishPostRequest { visibility: Visibility::Direct.into(), ..text(alice, "@bob psst") };
    let id = posting.publish(request).await.unwrap();
    assert_eq!(reason(&posting.boost(bob, id).await.unwrap_err()), "NOT_FOR_SHARING");
    posting.like(bob, id).await.unwrap();
    directory.0.lock().blocks.insert((bob, alice));
    let open = posting.post(alice, "for all").await;
    assert_eq!(reason(&posting.like(bob, open).await.unwrap_err()), "BLOCKING_AUTHOR");
    posting.stop().await;
}

#[tokio::test]
async fn a_repeated_key_boosts_once() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let post_id = posting.post(alice, "worth it").await;
    let request = BoostRequest { context: keyed(bob, "k"), post_id, ..BoostRequest::default() };
    let mut client = posting.reactions.clone();
    let first = client.boost(request.clone()).await.unwrap().into_inner();
    directory.set(bob, |account| account.set_kind(AccountKind::Creator));
    let again = client.boost(request).await.unwrap().into_inner();
    assert_eq!(again.boost_id, first.boost_id);
    assert!(again.receipt.unwrap().repeated);
    posting.stop().await;
}
