//! What trends, where, and why; that it ends with the posts; that it is a function of the log.

use crate::world::{HOME, OTHER, World};
use p92_proto::event::v1::ReadOptions;
use p92_proto::posting::v1::Visibility;
use p92_proto::ranking::v1::*;
use std::sync::Arc;

fn names(trends: &[(String, u64, u64)]) -> Vec<&str> {
    trends.iter().map(|(name, ..)| name.as_str()).collect()
}

#[tokio::test]
async fn a_tag_of_three_members_trends_on_their_server_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path()).await;
    for number in 1..=3 {
        let author = world.account(number);
        world.publish(author, 0, &["River", "alone"]).await;
    }
    // One person alone, however often; and what is not for everybody.
    let loud = world.account(9);
    for _ in 0..20 {
        world.publish(loud, 0, &["mine"]).await;
    }
    for number in 1..=4 {
        let author = world.account(number);
        world.publish_as(author, HOME, Visibility::Unlisted, 0, &["quiet"]).await;
        world.publish_as(author, HOME, Visibility::Followers, 0, &["quiet"]).await;
        // Posts from elsewhere are of no server here.
        world.publish_as(author, 0, Visibility::Public, 0, &["elsewhere"]).await;
    }
    let author = world.account(1);
    world.publish(author, 0, &["river"]).await;
    let here = world.named(HOME).await;
    assert_eq!(here[0].1, 4, "{here:?}");
    assert!(here[0].0.eq_ignore_ascii_case("river") && here[0].2 == 3);
    assert_eq!(names(&here)[1..], ["alone"], "{here:?}");
    assert_eq!(world.named(OTHER).await, []);
    world.close().await;
}

#[tokio::test]
async fn two_members_are_too_few_and_a_third_makes_it_trend() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path()).await;
    for number in 1..=2 {
        let author = world.account(number);
        world.publish(author, 0, &["few"]).await;
    }
    assert_eq!(world.named(HOME).await, []);
    let third = world.account(3);
    world.publish(third, 0, &["few"]).await;
    assert_eq!(names(&world.named(HOME).await), ["few"]);
    world.close().await;
}

#[tokio::test]
async fn what_is_there_every_day_does_not_trend_and_the_explanation_says_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path()).await;
    for days_ago in (0..7).rev() {
        for number in 1..=4 {
            let author = world.account(number);
            world.publish(author, days_ago, &["morning"]).await;
            if days_ago == 0 {
                world.publish(author, 0, &["storm"]).await;
                world.publish(author, 0, &["storm"]).await;
            }
        }
    }
    let trends = world.trends(HOME).await;
    let storm = trends.iter().find(|tag| tag.name == "storm").unwrap();
    assert_eq!(trends[0].name, "storm");
    let why = storm.explanation.unwrap();
    assert_eq!((why.rule(), why.recent_weight, why.baseline_weight), (TrendRule::Rising, 8_000, 0));
    assert_eq!((why.accounts, why.accounts_needed, why.score), (4, 3, 64_000));
    assert_eq!((storm.days.len(), storm.days[0].uses, storm.days[0].accounts), (7, 8, 4));
    assert!(storm.days[0].day_ms.is_multiple_of(86_400_000) && why.computed_ms >= storm.days[0].day_ms);
    // What was computed can be computed again from the record.
    if let Some(morning) = trends.iter().find(|tag| tag.name == "morning") {
        let why = morning.explanation.unwrap();
        assert!(why.baseline_weight > 0 && why.score < 64_000 / 4, "{why:?}");
        let rise = why.recent_weight - why.baseline_weight;
        assert_eq!(why.score, rise * rise / (why.baseline_weight + 1_000));
        assert!(morning.days.iter().all(|day| (day.uses, day.accounts) == (4, 4)));
    }
    world.close().await;
}

#[tokio::test]
async fn edits_and_deletions_take_uses_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path()).await;
    let (mut posts, mut twins) = (Vec::new(), Vec::new());
    for number in 1..=3 {
        let author = world.account(number);
        posts.push(world.publish(author, 0, &["gone", "stays"]).await);
        twins.push(world.publish(author, 0, &["twin"]).await);
    }
    assert_eq!(names(&world.named(HOME).await), ["gone", "stays", "twin"]);
    world.edit(&mut posts[0], &["stays", "new"]).await;
    assert_eq!(names(&world.named(HOME).await), ["stays", "twin"]);
    let keep = world.publish(posts[1].author, 0, &["stays"]).await;
    world.delete(&posts[1]).await;
    assert_eq!(world.named(HOME).await[0], ("stays".to_owned(), 3, 3), "another post of the author counts");
    world.delete(&posts[2]).await;
    assert_eq!(names(&world.named(HOME).await), ["twin"]);
    // Deleted once more, nothing more is taken.
    world.delete(&posts[2]).await;
    world.delete(&keep).await;
    assert_eq!(world.named(HOME).await, [("twin".to_owned(), 3, 3)]);
    // The name is still known when the post that spelt it last is gone.
    let extra = world.account(4);
    let last = world.publish(extra, 0, &["twin"]).await;
    world.delete(&last).await;
    assert_eq!(names(&world.named(HOME).await), ["twin"]);
    world.close().await;
}

#[tokio::test]
async fn rebuilt_and_restarted_everything_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path()).await;
    for number in 1..=5 {
        let author = world.account(number);
        let mut post = world.publish(author, u64::from(number) % 3, &["one", "two"]).await;
        world.publish(author, 0, &["two", "three"]).await;
        match number {
            1 => world.edit(&mut post, &["three"]).await,
            2 => world.delete(&post).await,
            _ => {}
        }
    }
    let before = world.named(HOME).await;
    assert!(before.len() >= 2, "{before:?}");
    for view in p92_ranking::tables::ALL {
        let report = world.ranking.runtime().rebuild(view.name, true, Arc::new(|_, _| ())).await.unwrap();
        assert_eq!(report.difference, None);
        assert!(report.compared > 10, "{}", report.compared);
    }
    for _ in 0..2 {
        assert_eq!(world.named(HOME).await, before);
        world.close().await;
        world = World::open(dir.path()).await;
    }
    world.close().await;
}

#[tokio::test]
async fn pages_go_on_and_no_server_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path()).await;
    let tags: Vec<String> = (0..12).map(|n| format!("tag{n:02}")).collect();
    for number in 1..=3 {
        let author = world.account(number);
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        world.publish(author, 0, &tags).await;
    }
    assert_eq!(world.named(HOME).await.len(), 12);
    let page = |skip, page_size, server_id| {
        let options = Some(ReadOptions { server_id, ..Default::default() });
        ListTrendingTagsRequest { options, page_size, skip }
    };
    let first = world.ask(page(0, 0, HOME)).await.unwrap();
    let rest = world.ask(page(10, 100, HOME)).await.unwrap();
    let all: Vec<String> = first.iter().chain(&rest).map(|tag| tag.name.clone()).collect();
    assert_eq!((first.len(), all), (10, tags));
    assert!(world.ask(page(u32::MAX, 0, HOME)).await.unwrap().is_empty());
    assert_eq!(world.ask(page(0, 0, 0)).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    world.close().await;
}
