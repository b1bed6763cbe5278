//! Who sees what: every viewer, every visibility, every relation, compared with the rule as it is told to people.

use crate::directory::{Directory, HOME};
use crate::installation::{Installation, options, reason, start, text};
use p92_proto::identity::v1::{AccountState, MessagePolicy};
use p92_proto::posting::v1::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use tonic::Code;

/// How a viewer stands to the author, and what became of the author.
#[derive(Clone, Debug)]
struct Case {
    stranger: bool,
    own: bool,
    follows: bool,
    mentioned: bool,
    blocked: bool,
    blocks: bool,
    mutes: bool,
    suspended: bool,
    visibility: Visibility,
}

fn case() -> impl Strategy<Value = Case> {
    let visibility = prop::sample::select(vec![
        Visibility::Public,
        Visibility::Unlisted,
        Visibility::Followers,
        Visibility::Direct,
    ]);
    (any::<[bool; 8]>(), visibility).prop_map(|(flags, visibility)| {
        let [stranger, own, follows, mentioned, blocked, blocks, mutes, suspended] = flags;
        Case { stranger, own, follows, mentioned, blocked, blocks, mutes, suspended, visibility }
    })
}

impl Case {
    /// The rule in the words of the page that people read.
    fn may_see(&self) -> bool {
        let everybody = matches!(self.visibility, Visibility::Public | Visibility::Unlisted);
        if self.suspended {
            return false;
        }
        if self.stranger {
            return everybody;
        }
        if self.own {
            return true;
        }
        if self.blocked {
            return false;
        }
        everybody || self.mentioned || (self.visibility == Visibility::Followers && self.follows)
    }
}

/// Whether each way to the post shows it.
async fn ways(posting: &Installation, viewer: u64, author: u64, post_id: u64) -> Vec<(&'static str, bool)> {
    let mut client = posting.posts.clone();
    let many = GetPostsRequest { options: options(viewer), post_ids: vec![post_id] };
    let many = client.get_posts(many).await.unwrap().into_inner().posts;
    let thread = client.get_context(GetContextRequest { options: options(viewer), post_id }).await;
    let history = client.get_history(GetHistoryRequest { options: options(viewer), post_id }).await;
    let source = client.get_source(GetSourceRequest { options: options(viewer), post_id }).await;
    let liked_by = ListLikedByRequest { options: options(viewer), post_id, window: None };
    let liked_by = posting.reactions.clone().list_liked_by(liked_by).await;
    for status in
        [thread.as_ref().err(), history.as_ref().err(), source.as_ref().err(), liked_by.as_ref().err()]
    {
        assert!(status.is_none_or(|status| status.code() == Code::NotFound), "{status:?}");
    }
    vec![
        ("one", posting.seen(viewer, post_id).await.is_some()),
        ("many", !many.is_empty()),
        ("profile", posting.by_author(viewer, author).await.iter().any(|post| post.id == post_id)),
        ("thread", thread.is_ok()),
        ("history", history.is_ok()),
        ("source", source.is_ok()),
        ("liked by", liked_by.is_ok()),
    ]
}

#[tokio::test]
async fn nobody_sees_more_than_he_may() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let posting = start(dir.path(), &directory).await;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for n in 0..96_u16 {
        let case = case().new_tree(&mut runner).unwrap().current();
        let author = directory.account(&format!("author{n}"), HOME, n % 4);
        let other = directory.account(&format!("viewer{n}"), HOME, (n + 1) % 4);
        let viewer = if case.stranger {
            0
        } else if case.own {
            author
        } else {
            other
        };
        {
            let mut world = directory.0.lock();
            let mut relate =
                |yes: bool,
                 set: fn(&mut crate::directory::World) -> &mut std::collections::BTreeSet<(u64, u64)>,
                 pair| {
                    if yes {
                        set(&mut world).insert(pair);
                    }
                };
            relate(case.follows, |world| &mut world.follows, (other, author));
            relate(case.blocked, |world| &mut world.blocks, (author, other));
            relate(case.mutes, |world| &mut world.mutes, (other, author));
        }
        let words = if case.mentioned { format!("hi @viewer{n}") } else { "hi".into() };
        // Whom one blocks one cannot mention, so the block comes after the post.
        let block = directory.0.lock().blocks.remove(&(author, other));
        let request = PublishPostRequest { visibility: case.visibility.into(), ..text(author, &words) };
        let id = posting.publish(request).await.unwrap();
        {
            let mut world = directory.0.lock();
            if block {
                world.blocks.insert((author, other));
            }
            if case.blocks {
                world.blocks.insert((other, author));
            }
            if case.suspended {
                world.accounts.get_mut(&author).unwrap().set_state(AccountState::Suspended);
            }
        }
        for (way, shown) in ways(&posting, viewer, author, id).await {
            assert_eq!(shown, case.may_see(), "{way}: {case:?}");
        }
    }
    posting.stop().await;
}

#[tokio::test]
async fn who_cannot_be_judged_is_shown_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let alice = directory.account("alice", HOME, 0);
    let posting = start(dir.path(), &directory).await;
    let post_id = posting.post(alice, "hi").await;
    directory.0.lock().down = true;
    let mut client = posting.posts.clone();
    let one = client.get_post(GetPostRequest { options: options(0), post_id }).await.unwrap_err();
    let many = GetPostsRequest { options: options(0), post_ids: vec![post_id] };
    let many = client.get_posts(many).await.unwrap_err();
    assert_eq!((one.code(), many.code()), (Code::Unavailable, Code::Unavailable));
    assert_eq!(posting.publish(text(alice, "more")).await.unwrap_err().code(), Code::Unavailable);
    directory.0.lock().down = false;
    assert_eq!(posting.by_author(0, alice).await.len(), 1);
    posting.stop().await;
}

#[tokio::test]
async fn messages_follow_the_policy() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let direct =
        |words: &str| PublishPostRequest { visibility: Visibility::Direct.into(), ..text(alice, words) };
    directory.policies(HOME, |policies| policies.set_messages(MessagePolicy::Off));
    let refused = posting.publish(direct("@bob psst")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "MESSAGES_OFF"));
    posting.publish(direct("a note to @alice herself")).await.unwrap();
    directory.policies(HOME, |policies| policies.set_messages(MessagePolicy::Mutuals));
    assert_eq!(reason(&posting.publish(direct("@bob psst")).await.unwrap_err()), "MESSAGES_FOR_MUTUALS");
    directory.0.lock().follows.extend([(alice, bob), (bob, alice)]);
    posting.publish(direct("@bob psst")).await.unwrap();
    posting.stop().await;
}

#[tokio::test]
async fn whom_one_blocks_one_does_not_mention() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    directory.0.lock().blocks.insert((alice, bob));
    let posting = start(dir.path(), &directory).await;
    let id = posting.post(alice, "@bob hm").await;
    let post = posting.seen(alice, id).await.unwrap();
    assert!(post.mentions.is_empty());
    assert_eq!(post.html, "<p>@bob hm</p>");
    posting.stop().await;
}

#[tokio::test]
async fn a_suspended_account_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let id = posting.post(alice, "hi").await;
    directory.set(bob, |account| account.set_state(AccountState::Suspended));
    assert_eq!(reason(&posting.publish(text(bob, "hi")).await.unwrap_err()), "ACCOUNT_NOT_ACTIVE");
    assert_eq!(reason(&posting.like(bob, id).await.unwrap_err()), "ACCOUNT_NOT_ACTIVE");
    posting.stop().await;
}
