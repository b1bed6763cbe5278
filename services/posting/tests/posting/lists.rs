//! Pages: windows, filters, and outboxes merged for timelines.

use crate::directory::{Directory, HOME};
use crate::installation::{options, reply, start, text};
use p92_proto::event::v1::IdWindow;
use p92_proto::posting::v1::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

#[tokio::test]
async fn a_profile_is_filtered_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let bobs = posting.post(bob, "bob's").await;
    let own = posting.post(alice, "own #Tag").await;
    let to_self = posting.publish(reply(alice, own, "more")).await.unwrap();
    let to_bob = posting.publish(reply(alice, bobs, "hi #tag")).await.unwrap();
    let boost = posting.boost(alice, bobs).await.unwrap();
    let asked = ListByAuthorRequest { options: options(bob), author_id: alice, ..Default::default() };
    let ids = async |request: ListByAuthorRequest| -> Vec<u64> {
        posting.list(request).await.iter().map(|post| post.id).collect()
    };
    assert_eq!(ids(asked.clone()).await, [boost, to_bob, to_self, own]);
    let no_replies = ListByAuthorRequest { exclude_replies: true, ..asked.clone() };
    assert_eq!(ids(no_replies).await, [boost, to_self, own]);
    let no_boosts = ListByAuthorRequest { exclude_boosts: true, ..asked.clone() };
    assert_eq!(ids(no_boosts).await, [to_bob, to_self, own]);
    let tagged = ListByAuthorRequest { tagged: "#TAG".into(), ..asked.clone() };
    assert_eq!(ids(tagged).await, [to_bob, own]);
    assert!(ids(ListByAuthorRequest { only_media: true, ..asked.clone() }).await.is_empty());
    let window = |window| ListByAuthorRequest { window: Some(window), ..asked.clone() };
    assert_eq!(ids(window(IdWindow { limit: 2, ..Default::default() })).await, [boost, to_bob]);
    assert_eq!(ids(window(IdWindow { max_id: to_bob, limit: 1, ..Default::default() })).await, [to_self]);
    assert_eq!(
        ids(window(IdWindow { min_id: own, limit: 2, ..Default::default() })).await,
        [to_bob, to_self]
    );
    assert_eq!(
        ids(window(IdWindow { since_id: own, limit: 2, ..Default::default() })).await,
        [boost, to_bob]
    );
    posting.stop().await;
}

#[tokio::test]
async fn a_page_is_full_though_much_of_it_is_hidden() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let (alice, bob) = (directory.account("alice", HOME, 0), directory.account("bob", HOME, 1));
    let posting = start(dir.path(), &directory).await;
    let mut open = Vec::new();
    for n in 0..40 {
        let visibility = if n % 8 == 0 { Visibility::Public } else { Visibility::Followers };
        let request = PublishPostRequest { visibility: visibility.into(), ..text(alice, "hm") };
        let id = posting.publish(request).await.unwrap();
        if n % 8 == 0 {
            open.push(id);
        }
    }
    let window = Some(IdWindow { limit: 4, ..Default::default() });
    let request =
        ListByAuthorRequest { options: options(bob), author_id: alice, window, ..Default::default() };
    let shown: Vec<u64> = posting.list(request).await.iter().map(|post| post.id).collect();
    assert_eq!(shown, open.iter().rev().take(4).copied().collect::<Vec<_>>());
    posting.stop().await;
}

#[tokio::test]
async fn outboxes_are_merged_by_id() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let authors: Vec<u64> = (0..7).map(|n| directory.account(&format!("a{n}"), HOME, n % 4)).collect();
    let far = directory.account("far", 0, 1);
    let posting = start(dir.path(), &directory).await;
    let mut all = Vec::new();
    for n in 0..60_usize {
        // Some write far more than others.
        let author = authors[n * n % 7 % (n % 7 + 1)];
        all.push((posting.post(author, "hm").await, author));
        if n % 10 == 0 {
            let booster = authors[(n / 10) % 7];
            if let Ok(boost) = posting.boost(booster, all[n / 2].0).await {
                all.push((boost, booster));
            }
        }
    }
    for (n, year) in [(1_u64, 2_003_u64), (2, 2_015), (3, 2_021)] {
        let origin = RemoteOrigin {
            object_id: format!("https://remote.example/{n}"),
            published_ms: (year - 1_970) * 365 * 24 * 3_600 * 1_000,
            html: "<p>old</p>".into(),
            ..RemoteOrigin::default()
        };
        let request = PublishPostRequest { remote: Some(origin), ..text(far, "") };
        all.push((posting.publish(request).await.unwrap(), far));
    }
    all.sort_unstable_by(|a, b| b.cmp(a));
    all.dedup();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let windows = (0..all.len(), 0..all.len(), 1_u32..30, 0_u8..4);
    for _ in 0..120 {
        let (high, low, limit, kind) = windows.new_tree(&mut runner).unwrap().current();
        let (max_id, above) = (all[high.min(low)].0, all[high.max(low)].0);
        let window = match kind {
            0 => IdWindow { limit, ..Default::default() },
            1 => IdWindow { max_id, limit, ..Default::default() },
            2 => IdWindow { max_id, since_id: above, limit, ..Default::default() },
            _ => IdWindow { min_id: above, limit, ..Default::default() },
        };
        let followed: Vec<u64> = authors.iter().skip(low % 3).copied().chain([far]).collect();
        let request = ListOutboxesRequest {
            options: options(0),
            author_ids: followed.clone(),
            window: Some(window),
            include_direct: false,
        };
        let entries = posting.posts.clone().list_outboxes(request).await.unwrap().into_inner().entries;
        let found: Vec<u64> = entries.iter().map(|entry| entry.id).collect();
        let floor = window.since_id.max(window.min_id);
        let within = |id: u64| id > floor && (window.max_id == 0 || id < window.max_id);
        let mut expected: Vec<u64> =
            all.iter().filter(|(id, by)| within(*id) && followed.contains(by)).map(|(id, _)| *id).collect();
        if window.min_id > 0 {
            expected = expected.split_off(expected.len().saturating_sub(limit as usize));
        }
        expected.truncate(limit as usize);
        assert_eq!(found, expected, "{window:?}");
    }
    posting.stop().await;
}
