//! What ends takes with it what belongs to it: a post its key and its reactions, an account everything.

use crate::directory::{Directory, HOME, account_id};
use crate::installation::{Installation, options, reply, start};
use p92_eventlog::{Aggregate, CommandMeta, NewEvent, Poison, Recorded, Runtime, Spec, Stream};
use p92_kernel::Service;
use p92_proto::event::v1::Event;
use p92_proto::identity::v1::{AccountErased, AccountState};
use p92_proto::posting::v1::*;
use p92_storage::{Direction, Range, RowKey, Scan};
use std::sync::Arc;

fn canary() -> String {
    format!("canary{:032x}", rand::random::<u128>())
}

async fn content_key(posting: &Installation, post: u64) -> bool {
    let scan = Scan {
        table: p92_eventlog::tables::content_keys(Service::Posting).only(),
        partition: p92_storage::Key::new().text(&format!("post/{post}")).build(),
        range: Range::all(),
        direction: Direction::Forward,
        limit: 1,
        after: None,
    };
    !posting.platform.engine.scan(&scan).await.unwrap().rows.is_empty()
}

#[tokio::test]
async fn a_deleted_post_takes_its_key_and_its_reactions_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let accounts: Vec<u64> = (0..8).map(|n| directory.account(&format!("a{n}"), HOME, n % 4)).collect();
    let posting = start(dir.path(), &directory).await;
    let (word, tag) = (canary(), canary());
    let id = posting.post(accounts[0], &format!("{word} #{tag}")).await;
    let answer = posting.publish(reply(accounts[1], id, "an answer")).await.unwrap();
    let mut boosts = Vec::new();
    for account in &accounts {
        posting.like(*account, id).await.unwrap();
        posting.bookmark(*account, id).await;
        boosts.push(posting.boost(*account, id).await.unwrap());
    }
    assert!(content_key(&posting, id).await);
    posting.delete(accounts[0], id).await.unwrap();
    posting.settled("posting.clearing", Service::Posting).await;
    assert!(!content_key(&posting, id).await, "the key is destroyed");
    for (account, boost) in accounts.iter().zip(boosts) {
        assert!(posting.seen(0, boost).await.is_none());
        let entries = posting.by_author(*account, *account).await;
        assert!(entries.iter().all(|entry| entry.id == answer), "no boost is left: {entries:?}");
    }
    let request =
        ListOutboxesRequest { options: options(0), author_ids: accounts.clone(), ..Default::default() };
    let entries = posting.posts.clone().list_outboxes(request).await.unwrap().into_inner().entries;
    assert_eq!(entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), [answer]);
    assert_eq!(posting.thread(0, answer).await.tombstones[0].id, id);
    let ground = posting.stop().await;
    for needle in [&word, &tag] {
        assert!(!ground.holds(needle.as_bytes()).await, "{needle} is in the store");
    }
    assert!(ground.holds(format!("post/{id}").as_bytes()).await, "the search itself finds what is there");
}

/// The one event of identity that posting listens to, as identity's log would have it.
#[derive(Clone, Default)]
struct Erased;

impl Aggregate for Erased {
    type Event = AccountErased;

    fn decode(event: &Recorded) -> Result<AccountErased, Poison> {
        event.decode()
    }

    fn encode(event: &AccountErased) -> NewEvent {
        NewEvent::of(event)
    }

    fn evolve(self, _: &AccountErased) -> Self {
        self
    }
}

async fn erase(posting: &Installation, identity: &Arc<Runtime>, account: u64) {
    posting.directory.set(account, |account| account.set_state(AccountState::Erased));
    let stream = Stream::new("account", account);
    let meta = CommandMeta::internal(HOME, String::new());
    let receipt = identity
        .execute(account_id(account).shard(), meta, move |round| {
            let stream = stream.clone();
            Box::pin(async move {
                let event = AccountErased { account_id: account, ..AccountErased::default() };
                round.emit::<Erased>(&stream, &[event]).await
            })
        })
        .await
        .unwrap();
    assert_eq!(receipt.positions.len(), 1);
    posting.settled("posting.erasure", Service::Identity).await;
    posting.settled("posting.clearing", Service::Posting).await;
}

#[tokio::test]
async fn an_erased_account_leaves_nothing_that_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let spec = Spec { service: Service::Identity, views: vec![], consumers: vec![] };
    let identity = Runtime::start(&posting.platform, spec).await.unwrap();
    identity.ready().await;
    let word = canary();
    let bobs = posting.post(bob, "bob's").await;
    let mut own = Vec::new();
    for n in 0..10 {
        own.push(posting.post(alice, &format!("{word} {n} #{word}")).await);
    }
    let answer = posting.publish(reply(bob, own[0], "an answer")).await.unwrap();
    posting.like(alice, bobs).await.unwrap();
    posting.bookmark(alice, bobs).await;
    let boost = posting.boost(alice, bobs).await.unwrap();
    posting.like(bob, own[0]).await.unwrap();
    erase(&posting, &identity, alice).await;
    for id in own.iter().chain([&boost]) {
        assert!(posting.seen(bob, *id).await.is_none());
        assert!(!content_key(&posting, *id).await);
    }
    assert_eq!(posting.seen(0, bobs).await.unwrap().counts, Some(Counts::default()));
    let request = ListOutboxesRequest { options: options(0), author_ids: vec![alice], ..Default::default() };
    assert!(posting.posts.clone().list_outboxes(request).await.unwrap().into_inner().entries.is_empty());
    assert!(posting.seen(0, answer).await.is_some(), "what others wrote is theirs");
    // After a replay of everything nothing has come back.
    for table in p92_posting::tables::all() {
        let silent = Arc::new(|_, _| {});
        let report = posting.posting.runtime().rebuild(table.name, true, silent).await.unwrap();
        assert_eq!(report.difference, None, "{}", table.name);
    }
    assert!(posting.seen(bob, own[3]).await.is_none());
    unreadable(&posting, alice).await;
    let table = p92_eventlog::tables::subject_keys(Service::Posting).only();
    let key = RowKey::new(table, p92_storage::Key::new().num(alice), bytes::Bytes::new());
    let row = posting.platform.engine.get(&key).await.unwrap().unwrap();
    assert!(row.value.is_empty(), "the key of the account is destroyed, and nobody makes another");
    assert!(!posting.stop().await.holds(word.as_bytes()).await);
}

/// Nothing that was ever sealed for the account can be opened.
async fn unreadable(posting: &Installation, account: u64) {
    let mut sealed = 0;
    for shard in posting.platform.shards.all() {
        let log = p92_storage::LogKey { service: Service::Posting, shard };
        let groups =
            p92_eventlog::owner::read_groups(&posting.platform, log, p92_kernel::Seq(0), None).await.unwrap();
        for event in groups.iter().flat_map(|group| &group.events) {
            if !event.is::<PostPublished>() {
                continue;
            }
            let Event { payload, .. } = &event.event;
            let post: PostPublished = prost::Message::decode(payload.clone()).unwrap();
            let opened =
                posting.platform.keyring.open(Service::Posting, &post.content.unwrap()).await.unwrap();
            assert_eq!(opened.is_some(), post.author_id != account);
            sealed += usize::from(post.author_id == account);
        }
    }
    assert!(sealed > 0);
}
