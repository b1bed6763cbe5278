//! Replies: their place, their policy, their parents that went.

use crate::directory::{Directory, HOME};
use crate::installation::{reason, reply, start, text};
use p92_eventlog::owner::read_groups;
use p92_kernel::{PostId, Seq, Service};
use p92_proto::identity::v1::{AccountState, ReplyPolicy};
use p92_proto::posting::v1::*;
use p92_storage::LogKey;

fn ids(posts: &[Post]) -> Vec<u64> {
    posts.iter().map(|post| post.id).collect()
}

#[tokio::test]
async fn a_thread_is_read_in_order_and_keeps_its_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let accounts: Vec<u64> = (0..4).map(|n| directory.account(&format!("a{n}"), HOME, n)).collect();
    let posting = start(dir.path(), &directory).await;
    let root = posting.post(accounts[0], "root").await;
    let one = posting.publish(reply(accounts[1], root, "one")).await.unwrap();
    let two = posting.publish(reply(accounts[2], root, "two")).await.unwrap();
    let deep = posting.publish(reply(accounts[3], one, "deep")).await.unwrap();
    let deeper = posting.publish(reply(accounts[0], deep, "deeper")).await.unwrap();
    let thread = posting.thread(accounts[0], root).await;
    assert_eq!(ids(&thread.descendants), [one, deep, deeper, two]);
    assert_eq!(ids(&posting.thread(0, deeper).await.ancestors), [root, one, deep]);
    let post = posting.seen(0, deeper).await.unwrap();
    assert_eq!((post.in_reply_to_id, post.in_reply_to_author_id), (deep, accounts[3]));
    assert_eq!(post.conversation_id, root);
    assert_eq!(posting.seen(0, root).await.unwrap().counts.unwrap().replies, 2);

    posting.delete(accounts[1], one).await.unwrap();
    let thread = posting.thread(0, root).await;
    assert_eq!(ids(&thread.descendants), [deep, deeper, two]);
    let gone: Vec<_> = thread.tombstones.iter().map(|gone| (gone.id, gone.in_reply_to_id)).collect();
    assert_eq!(gone, [(one, root)], "its replies keep their place");
    assert_eq!(ids(&posting.thread(0, deeper).await.ancestors), [root, deep]);
    assert_eq!(posting.seen(0, root).await.unwrap().counts.unwrap().replies, 1);

    directory.0.lock().mutes.insert((accounts[0], accounts[3]));
    assert_eq!(ids(&posting.thread(accounts[0], root).await.descendants), [deeper, two]);
    directory.set(accounts[2], |account| account.set_state(AccountState::Limited));
    assert_eq!(ids(&posting.thread(accounts[1], root).await.descendants), [deep, deeper]);
    posting.stop().await;
}

#[tokio::test]
async fn what_is_for_few_is_not_counted() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let root = posting.post(alice, "root").await;
    for visibility in [Visibility::Unlisted, Visibility::Followers, Visibility::Direct] {
        let request = reply(bob, root, "@alice hm");
        posting.publish(PublishPostRequest { visibility: visibility.into(), ..request }).await.unwrap();
    }
    assert_eq!(posting.seen(0, root).await.unwrap().counts.unwrap().replies, 1);
    assert_eq!(posting.thread(0, root).await.descendants.len(), 1);
    assert_eq!(posting.thread(alice, root).await.descendants.len(), 3, "the author is mentioned in all");
    posting.stop().await;
}

#[tokio::test]
async fn replies_follow_the_policy() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    directory.server(2_000, "other.example");
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    let near = directory.account("near", 2_000, 2);
    let posting = start(dir.path(), &directory).await;
    let root = posting.post(alice, "root").await;
    let refused = async |request| reason(&posting.publish(request).await.unwrap_err());
    directory.policies(HOME, |policies| policies.set_replies(ReplyPolicy::Off));
    assert_eq!(refused(reply(bob, root, "no")).await, "REPLIES_OFF");
    assert_eq!(refused(reply(near, root, "no")).await, "REPLIES_OFF", "the parent's home has a word");
    posting.publish(reply(alice, root, "my own")).await.unwrap();
    let elsewhere = posting.post(near, "over there").await;
    assert_eq!(refused(reply(bob, elsewhere, "no")).await, "REPLIES_OFF", "so has the replier's");
    directory.policies(HOME, |policies| policies.set_replies(ReplyPolicy::Followers));
    assert_eq!(refused(reply(bob, root, "no")).await, "REPLIES_FOR_FOLLOWERS");
    directory.0.lock().follows.insert((bob, alice));
    posting.publish(reply(bob, root, "yes")).await.unwrap();
    posting.stop().await;
}

#[tokio::test]
async fn one_cannot_answer_what_one_cannot_see() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let hidden = PublishPostRequest { visibility: Visibility::Followers.into(), ..text(alice, "for few") };
    let hidden = posting.publish(hidden).await.unwrap();
    let open = posting.post(alice, "for all").await;
    let refused = async |request| reason(&posting.publish(request).await.unwrap_err());
    assert_eq!(refused(reply(bob, hidden, "hm")).await, "NOT_FOUND");
    directory.0.lock().blocks.insert((alice, bob));
    assert_eq!(refused(reply(bob, open, "hm")).await, "NOT_FOUND");
    posting.stop().await;
}

#[tokio::test]
async fn a_reply_to_a_boost_answers_the_post() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let root = posting.post(alice, "root").await;
    let boost = posting.boost(bob, root).await.unwrap();
    let answer = posting.publish(reply(bob, boost, "to the post")).await.unwrap();
    assert_eq!(posting.seen(0, answer).await.unwrap().in_reply_to_id, root);
    posting.stop().await;
}

#[tokio::test]
async fn a_reply_waits_for_its_parent() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let root = posting.posts.clone().publish_post(text(alice, "root")).await.unwrap().into_inner();
    let stands = root.receipt.unwrap().positions;
    let answer = posting.publish(reply(bob, root.post_id, "after it")).await.unwrap();
    let log = LogKey { service: Service::Posting, shard: PostId::new(answer).unwrap().shard() };
    let groups = read_groups(&posting.platform, log, Seq(0), None).await.unwrap();
    let event =
        groups.iter().flat_map(|group| &group.events).find(|event| event.is::<PostPublished>()).unwrap();
    assert_eq!(event.event.after, stands, "readers apply the parent's event first");
    posting.stop().await;
}
