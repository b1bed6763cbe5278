//! Counts equal a recount, and views a rebuild, after random histories.

use crate::directory::{Directory, HOME};
use crate::installation::{Installation, options, reply, start, text};
use p92_proto::posting::v1::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::collections::{BTreeMap, BTreeSet};

/// What the history should have left behind, kept the plainest way.
#[derive(Default)]
struct Model {
    posts: BTreeMap<u64, (u64, u64, Visibility)>,
    likes: BTreeSet<(u64, u64)>,
    boosts: BTreeMap<(u64, u64), u64>,
    bookmarks: BTreeSet<(u64, u64)>,
}

const VISIBILITIES: [Visibility; 4] =
    [Visibility::Public, Visibility::Unlisted, Visibility::Followers, Visibility::Direct];

async fn step(posting: &Installation, model: &mut Model, accounts: &[u64], dice: (u8, u16, u16, u8)) {
    let (what, who, which, how) = dice;
    let actor = accounts[usize::from(who) % accounts.len()];
    let post = model.posts.keys().nth(usize::from(which) % model.posts.len().max(1)).copied();
    let visibility = VISIBILITIES[usize::from(how) % 4];
    match (what % 10, post) {
        (0 | 1, Some(parent)) => {
            let request = reply(actor, parent, "a reply #tag");
            if let Ok(id) =
                posting.publish(PublishPostRequest { visibility: visibility.into(), ..request }).await
            {
                model.posts.insert(id, (actor, parent, visibility));
            }
        }
        (2 | 3, Some(post)) => {
            if posting.like(actor, post).await.is_ok() {
                model.likes.insert((post, actor));
            }
        }
        (4, Some(post)) => {
            posting.unlike(actor, post).await;
            model.likes.remove(&(post, actor));
        }
        (5, Some(post)) => {
            if let Ok(boost) = posting.boost(actor, post).await {
                model.boosts.insert((post, actor), boost);
            }
        }
        (6, Some(post)) => {
            posting.unboost(actor, post).await;
            model.boosts.remove(&(post, actor));
        }
        (7, Some(post)) if posting.seen(actor, post).await.is_some() => {
            posting.bookmark(actor, post).await;
            model.bookmarks.insert((post, actor));
        }
        (8, Some(post)) if how % 3 == 0 => {
            let author = model.posts[&post].0;
            posting.delete(author, post).await.unwrap();
            model.posts.remove(&post);
            model.likes.retain(|(liked, _)| *liked != post);
            model.boosts.retain(|(boosted, _), _| *boosted != post);
            model.bookmarks.retain(|(marked, _)| *marked != post);
        }
        _ => {
            let request =
                PublishPostRequest { visibility: visibility.into(), ..text(actor, "a post #tag @a0") };
            let id = posting.publish(request).await.unwrap();
            model.posts.insert(id, (actor, 0, visibility));
        }
    }
}

fn recount(model: &Model, post: u64) -> Counts {
    let open = |visibility: &Visibility| matches!(visibility, Visibility::Public | Visibility::Unlisted);
    Counts {
        likes: model.likes.iter().filter(|(liked, _)| *liked == post).count() as u64,
        boosts: model.boosts.keys().filter(|(boosted, _)| *boosted == post).count() as u64,
        replies: model.posts.values().filter(|(_, parent, v)| *parent == post && open(v)).count() as u64,
    }
}

async fn compare(posting: &Installation, model: &Model, accounts: &[u64]) {
    for (id, (author, ..)) in &model.posts {
        let post = posting.seen(*author, *id).await.unwrap();
        assert_eq!(post.counts, Some(recount(model, *id)), "post {id}");
    }
    for account in accounts {
        let request = GetAuthorStatsRequest { options: options(0), author_ids: vec![*account] };
        let stats = posting.posts.clone().get_author_stats(request).await.unwrap().into_inner().stats;
        let posts = model.posts.values().filter(|(by, _, v)| by == account && *v != Visibility::Direct);
        let boosts = model.boosts.keys().filter(|(_, by)| by == account);
        assert_eq!(stats[0].posts, (posts.count() + boosts.count()) as u64, "account {account}");
        let likes = ListLikesRequest { options: options(*account), window: None };
        let likes = posting.reactions.clone().list_likes(likes).await.unwrap().into_inner().posts;
        assert_eq!(likes.len(), model.likes.iter().filter(|(_, by)| by == account).count().min(20));
    }
    let request = GetServerStatsRequest { options: options(0) };
    let all = posting.posts.clone().get_server_stats(request).await.unwrap().into_inner().posts;
    let posts = model.posts.values().filter(|(.., v)| *v != Visibility::Direct).count();
    assert_eq!(all, (posts + model.boosts.len()) as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_equal_a_recount_and_views_a_rebuild() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new();
    let accounts: Vec<u64> = (0..6).map(|n| directory.account(&format!("a{n}"), HOME, n % 4)).collect();
    {
        let mut world = directory.0.lock();
        let pairs = accounts.iter().flat_map(|a| accounts.iter().map(move |b| (*a, *b)));
        world.follows.extend(pairs.filter(|(a, b)| a != b));
    }
    let mut posting = start(dir.path(), &directory).await;
    let mut model = Model::default();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for round in 0..3 {
        for _ in 0..150 {
            let dice = any::<(u8, u16, u16, u8)>().new_tree(&mut runner).unwrap().current();
            step(&posting, &mut model, &accounts, dice).await;
        }
        posting.settled("posting.clearing", p92_kernel::Service::Posting).await;
        compare(&posting, &model, &accounts).await;
        if round == 1 {
            posting.stop().await;
            posting = start(dir.path(), &directory).await;
            compare(&posting, &model, &accounts).await;
        }
    }
    assert!(model.posts.len() > 50 && !model.likes.is_empty() && !model.boosts.is_empty());
    for table in p92_posting::tables::all() {
        let silent = std::sync::Arc::new(|_, _| {});
        let report = posting.posting.runtime().rebuild(table.name, true, silent).await.unwrap();
        assert_eq!(report.difference, None, "{}", table.name);
        // Nobody pins here, and nothing comes from elsewhere.
        let empty = ["posting_pins", "posting_uris"].contains(&table.name);
        assert!(report.compared > 0 || empty, "{}: {report:?}", table.name);
    }
    compare(&posting, &model, &accounts).await;
    posting.stop().await;
}
