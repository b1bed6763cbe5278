//! Follows, blocks and mutes.

use crate::world::{World, by, config, keyed, reason, seen_by};
use p92_eventlog::owner::read_groups;
use p92_identity::Config;
use p92_kernel::{Seq, Service, Shard};
use p92_proto::event::v1::{CommandReceipt, IdWindow};
use p92_proto::identity::v1::*;
use p92_storage::LogKey;
use std::time::Duration;

fn follow(server: u64, from: u64, to: u64) -> FollowRequest {
    FollowRequest { context: Some(by(server, from)), account_id: to, ..Default::default() }
}

async fn followers(
    world: &mut World,
    server: u64,
    viewer: u64,
    of: u64,
    window: IdWindow,
) -> (Vec<FollowEdge>, bool) {
    let request =
        ListFollowersRequest { options: Some(seen_by(server, viewer)), account_id: of, window: Some(window) };
    let answer = world.relations.list_followers(request).await.unwrap().into_inner();
    (answer.edges, answer.more)
}

/// Types of the events of the group at a receipt's position.
async fn appended(world: &World, receipt: &CommandReceipt) -> Vec<String> {
    let position = &receipt.positions[0];
    let log = LogKey { service: Service::Identity, shard: Shard(position.shard as u16) };
    let groups = read_groups(&world.platform, log, Seq(0), None).await.unwrap();
    let group = groups.iter().find(|group| group.last_seq() >= Seq(position.seq)).unwrap();
    let name = |event: &p92_eventlog::Recorded| event.event_type().rsplit('.').next().unwrap().to_owned();
    group.events.iter().map(name).collect()
}

#[tokio::test]
async fn an_open_account_is_followed_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let (ann, ben) = (world.member(server, "ann").await, world.member(server, "ben").await);
    let stands = world.follow(server, ann, ben).await;
    assert_eq!(
        (stands.following(), stands.show_boosts, stands.notify),
        (FollowState::Following, true, false)
    );
    assert_eq!(world.counts(ben).await, (1, 0, 0));
    assert_eq!(world.counts(ann).await, (0, 1, 0));
    assert_eq!(world.relationship(server, ben, ann).await.followed_by(), FollowState::Following);
    let (edges, more) = followers(&mut world, server, 0, ben, IdWindow::default()).await;
    assert_eq!(
        (edges.len(), edges[0].account_id, edges[0].follow_id, more),
        (1, ann, stands.follow_id, false)
    );
    // Once more changes nothing; otherwise changes how it is.
    let again = world.relations.follow(follow(server, ann, ben)).await.unwrap().into_inner();
    assert!(again.receipt.unwrap().positions.is_empty());
    let quiet = FollowRequest {
        show_boosts: Some(false),
        notify: Some(true),
        set_languages: true,
        languages: vec!["de".to_owned()],
        ..follow(server, ann, ben)
    };
    let changed = world.relations.follow(quiet).await.unwrap().into_inner().relationship.unwrap();
    assert_eq!((changed.follow_id, changed.show_boosts, changed.notify), (stands.follow_id, false, true));
    let edges = ListFollowEdgesRequest {
        account_id: ann,
        direction: FollowDirection::Following as i32,
        ..Default::default()
    };
    let edges = world.relations.list_follow_edges(edges).await.unwrap().into_inner().edges;
    assert_eq!((edges[0].account_id, edges[0].languages.clone()), (ben, vec!["de".to_owned()]));
    let unfollow = UnfollowRequest { context: Some(by(server, ann)), account_id: ben };
    world.relations.unfollow(unfollow).await.unwrap();
    assert_eq!((world.counts(ben).await, world.counts(ann).await), ((0, 0, 0), (0, 0, 0)));
    assert_eq!(world.relationship(server, ann, ben).await.following(), FollowState::None);
    world.close().await;
}

#[tokio::test]
async fn a_locked_account_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let ann = world.member(server, "ann").await;
    let carl = world.member(server, "carl").await;
    let ben = world.member_with(server, "ben", |request| request.locked = true).await;
    for from in [ann, carl] {
        assert_eq!(world.follow(server, from, ben).await.following(), FollowState::Requested);
    }
    assert_eq!(world.counts(ben).await, (0, 0, 2));
    let requests = ListFollowRequestsRequest { options: Some(seen_by(server, ben)), window: None };
    let waiting = world.relations.list_follow_requests(requests.clone()).await.unwrap().into_inner();
    assert_eq!(waiting.edges.iter().map(|edge| edge.account_id).collect::<Vec<_>>(), [carl, ann]);
    let accept = |who: u64| AcceptFollowRequest { context: Some(by(server, ben)), account_id: who };
    let reject = |who: u64| RejectFollowRequest { context: Some(by(server, ben)), account_id: who };
    world.relations.accept_follow(accept(ann)).await.unwrap();
    world.relations.reject_follow(reject(carl)).await.unwrap();
    assert_eq!(world.counts(ben).await, (1, 0, 0));
    assert_eq!(world.relationship(server, ann, ben).await.following(), FollowState::Following);
    assert_eq!(world.relationship(server, carl, ben).await.following(), FollowState::None);
    assert_eq!(reason(world.relations.accept_follow(accept(carl)).await), "NOT_FOUND");
    assert_eq!(reason(world.relations.reject_follow(reject(ann)).await), "NOT_FOUND");
    let remove = RemoveFollowerRequest { context: Some(by(server, ben)), account_id: ann };
    world.relations.remove_follower(remove).await.unwrap();
    assert_eq!(world.counts(ben).await, (0, 0, 0));
    let none = world.relations.list_follow_requests(requests).await.unwrap().into_inner();
    assert!(none.edges.is_empty());
    world.close().await;
}

#[tokio::test]
async fn a_block_ends_both_follows_in_one_append() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let (ann, ben) = (world.member(server, "ann").await, world.member(server, "ben").await);
    world.follow(server, ann, ben).await;
    world.follow(server, ben, ann).await;
    let block =
        BlockRequest { context: Some(keyed(server, ann, "b")), account_id: ben, ..Default::default() };
    let first = world.relations.block(block.clone()).await.unwrap().into_inner();
    let receipt = first.receipt.unwrap();
    assert_eq!(appended(&world, &receipt).await, ["BlockStarted", "FollowEnded", "FollowEnded"]);
    let stands = first.relationship.unwrap();
    assert!(stands.blocking && stands.following() == FollowState::None);
    assert_eq!((world.counts(ann).await, world.counts(ben).await), ((0, 0, 0), (0, 0, 0)));
    let repeated = world.relations.block(block).await.unwrap().into_inner().receipt.unwrap();
    assert_eq!((repeated.repeated, repeated.positions), (true, receipt.positions));
    assert_eq!(reason(world.relations.follow(follow(server, ben, ann)).await), "BLOCKED");
    assert_eq!(reason(world.relations.follow(follow(server, ann, ben)).await), "BLOCKING");
    let seen = world.relationship(server, ben, ann).await;
    assert!(seen.blocked_by && !seen.blocking);
    let blocks = ListBlocksRequest { options: Some(seen_by(server, ann)), window: None };
    let blocks = world.relations.list_blocks(blocks).await.unwrap().into_inner().blocks;
    assert_eq!(blocks.iter().map(|block| block.account_id).collect::<Vec<_>>(), [ben]);
    let restrictions = |of: u64| ListRestrictionsRequest { account_id: of, ..Default::default() };
    let against = world.relations.list_restrictions(restrictions(ben)).await.unwrap().into_inner();
    assert!(against.restrictions.len() == 1 && against.restrictions[0].blocked_by);
    let unblock = UnblockRequest { context: Some(by(server, ann)), account_id: ben };
    world.relations.unblock(unblock).await.unwrap();
    world.follow(server, ben, ann).await;
    world.close().await;
}

#[tokio::test]
async fn a_mute_ends_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let (ann, ben) = (world.member(server, "ann").await, world.member(server, "ben").await);
    let mute = |duration_ms: u64, notifications: Option<bool>| MuteRequest {
        context: Some(by(server, ann)),
        account_id: ben,
        notifications,
        duration_ms,
    };
    let stands = world.relations.mute(mute(60_000, None)).await.unwrap().into_inner().relationship.unwrap();
    assert!(stands.muting && stands.muting_notifications && stands.mute_expires_ms > 0);
    assert!(world.relationship(server, ben, ann).await.muted_by);
    let list = ListMutesRequest { options: Some(seen_by(server, ann)), window: None };
    let mutes = world.relations.list_mutes(list.clone()).await.unwrap().into_inner().mutes;
    assert_eq!((mutes.len(), mutes[0].account_id), (1, ben));
    world.clock.pass(Duration::from_secs(61));
    let later = world.relationship(server, ann, ben).await;
    assert!(!later.muting && later.mute_expires_ms == 0);
    assert!(world.relations.list_mutes(list.clone()).await.unwrap().into_inner().mutes.is_empty());
    let restrictions = ListRestrictionsRequest { account_id: ann, ..Default::default() };
    let none = world.relations.list_restrictions(restrictions).await.unwrap().into_inner();
    assert!(none.restrictions.is_empty());
    let forever =
        world.relations.mute(mute(0, Some(false))).await.unwrap().into_inner().relationship.unwrap();
    assert!(forever.muting && !forever.muting_notifications && forever.mute_expires_ms == 0);
    assert_eq!(world.relations.list_mutes(list).await.unwrap().into_inner().mutes.len(), 1);
    let unmute = UnmuteRequest { context: Some(by(server, ann)), account_id: ben };
    world.relations.unmute(unmute).await.unwrap();
    assert!(!world.relationship(server, ann, ben).await.muting);
    assert_eq!(reason(world.relations.mute(mute(u64::MAX, None)).await), "MUTE_TOO_LONG");
    world.close().await;
}

#[tokio::test]
async fn bad_relations_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), Config { most_following: 1, ..config() }).await;
    let server = world.server("a.example").await;
    let (ann, ben) = (world.member(server, "ann").await, world.member(server, "ben").await);
    let carl = world.member(server, "carl").await;
    for (request, expected) in [
        (follow(server, ann, ann), "ONESELF"),
        (follow(server, ann, 0), "NOT_FOUND"),
        (follow(server, ann, u64::MAX), "NOT_FOUND"),
        (follow(server, ann, 12_345), "NOT_FOUND"),
        (follow(server, 0, ben), "ACTOR_NEEDED"),
        (follow(server, 12_345, ben), "ACTOR_NEEDED"),
        (
            FollowRequest { set_languages: true, languages: vec!["!".into()], ..follow(server, ann, ben) },
            "BAD_LANGUAGES",
        ),
    ] {
        assert_eq!(reason(world.relations.follow(request).await), expected);
    }
    world.follow(server, ann, ben).await;
    assert_eq!(reason(world.relations.follow(follow(server, ann, carl)).await), "TOO_MANY_FOLLOWS");
    let suspend = SuspendAccountRequest { context: Some(by(server, 0)), account_id: carl };
    world.accounts.suspend_account(suspend).await.unwrap();
    assert_eq!(reason(world.relations.follow(follow(server, ben, carl)).await), "NOT_FOUND");
    assert_eq!(reason(world.relations.follow(follow(server, carl, ben)).await), "ACCOUNT_SUSPENDED");
    let many = GetRelationshipsRequest { options: Some(seen_by(server, ann)), account_ids: vec![1; 1_001] };
    assert_eq!(reason(world.relations.get_relationships(many).await), "TOO_MANY");
    world.close().await;
}

#[tokio::test]
async fn lists_are_paged_by_window() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let star = world.member(server, "star").await;
    let mut ids = Vec::new();
    for n in 0..25 {
        let fan = world.member(server, &format!("fan{n}")).await;
        ids.push(world.follow(server, fan, star).await.follow_id);
    }
    let mut newest_first = ids.clone();
    newest_first.sort_unstable_by(|a, b| b.cmp(a));
    let read = |edges: &[FollowEdge]| edges.iter().map(|edge| edge.follow_id).collect::<Vec<_>>();
    let mut down = Vec::new();
    let mut max_id = 0;
    loop {
        let window = IdWindow { max_id, limit: 7, ..Default::default() };
        let (edges, more) = followers(&mut world, server, 0, star, window).await;
        down.extend(read(&edges));
        max_id = edges.last().map_or(0, |edge| edge.follow_id);
        if !more || edges.is_empty() {
            break;
        }
    }
    assert_eq!(down, newest_first);
    let above = newest_first[10];
    let window = IdWindow { min_id: above, limit: 4, ..Default::default() };
    let (edges, _) = followers(&mut world, server, 0, star, window).await;
    assert_eq!(read(&edges), newest_first[6..10]);
    let window = IdWindow { since_id: above, limit: 4, ..Default::default() };
    let (edges, _) = followers(&mut world, server, 0, star, window).await;
    assert_eq!(read(&edges), newest_first[..4]);
    let edges = |page_token: String| ListFollowEdgesRequest {
        account_id: star,
        direction: FollowDirection::Followers as i32,
        page_size: 10,
        page_token,
        ..Default::default()
    };
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let page = world.relations.list_follow_edges(edges(token)).await.unwrap().into_inner();
        all.extend(read(&page.edges));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(all, newest_first);
    assert_eq!(reason(world.relations.list_follow_edges(edges("x".to_owned())).await), "BAD_PAGE_TOKEN");
    world.close().await;
}

#[tokio::test]
async fn who_hides_his_follows_hides_them_from_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let server = world.server("a.example").await;
    let (ann, ben) = (world.member(server, "ann").await, world.member(server, "ben").await);
    world.follow(server, ben, ann).await;
    let hide = UpdateProfileRequest {
        context: Some(by(server, ann)),
        update_mask: Some(prost_types::FieldMask { paths: vec!["hide_follows".to_owned()] }),
        account: Some(Account { hide_follows: true, ..Default::default() }),
    };
    world.accounts.update_profile(hide).await.unwrap();
    assert!(followers(&mut world, server, ben, ann, IdWindow::default()).await.0.is_empty());
    assert_eq!(followers(&mut world, server, ann, ann, IdWindow::default()).await.0.len(), 1);
    world.close().await;
}

#[tokio::test]
async fn what_decides_an_interaction_comes_in_one_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), config()).await;
    let policies = Some(ServerPolicies { replies: ReplyPolicy::Followers as i32, ..Default::default() });
    let a = world.server("a.example").await;
    let b = world.server_with("b.example", RegistrationPolicy::Open, policies).await;
    let (ann, ben) = (world.member(a, "ann").await, world.member(b, "ben").await);
    let block = BlockRequest { context: Some(by(b, ben)), account_id: ann, ..Default::default() };
    world.relations.block(block).await.unwrap();
    let request =
        CheckInteractionsRequest { options: Some(seen_by(a, 0)), actor_id: ann, target_ids: vec![ben, 99] };
    let answer = world.relations.check_interactions(request).await.unwrap().into_inner();
    assert_eq!((answer.actor.unwrap().kind(), answer.interactions.len()), (AccountKind::Personal, 1));
    assert_eq!(answer.policies.unwrap().replies(), ReplyPolicy::Everyone);
    let interaction = &answer.interactions[0];
    assert_eq!(interaction.policies.as_ref().unwrap().replies(), ReplyPolicy::Followers);
    assert!(interaction.relationship.as_ref().unwrap().blocked_by);
    world.close().await;
}
