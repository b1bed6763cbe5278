//! Homes of somebody whose slot nobody holds.

use crate::world::{Installation, shard_of, spread, within};
use p92_node::role::Role;
use p92_proto::timelines::v1::TimelineSource;

#[tokio::test(flavor = "multi_thread")]
async fn a_home_whose_holder_vanished_is_merged_until_somebody_holds_it() {
    let (all, identity, posting) = Installation::with_posts().await;
    let one = all.start(Role::Timelines).await;
    let other = all.start(Role::Timelines).await;
    spread(&[&one, &other]).await;
    let alice = all.account(&identity, "alice").await;
    let mut viewer = alice;
    for number in 0.. {
        if one.holds().contains(&shard_of(viewer)) && viewer != alice {
            break;
        }
        viewer = all.account(&identity, &format!("v{number}")).await;
    }
    let followed = all.follow(&identity, viewer, alice).await;
    all.note(other.transport(), viewer, &followed).await;
    let (before, receipt) = all.publish(posting.transport(), alice, "before").await.unwrap();
    all.note(other.transport(), viewer, &receipt).await;
    let until_memory = async |posts: &[u64]| {
        let remembered = async {
            loop {
                let (home, source) = all.home(other.transport(), viewer).await;
                assert_eq!(home, posts, "{source:?}");
                if source == TimelineSource::Memory {
                    return;
                }
            }
        };
        within(remembered).await;
    };
    // It is the holder's memory that answers, whoever was asked.
    until_memory(&[before]).await;

    one.kill();
    let meanwhile = all.publish(posting.transport(), alice, "meanwhile").await.unwrap().0;
    // Its slots are nobody's for six seconds and more.
    let (home, source) = all.home(other.transport(), viewer).await;
    assert!(!other.holds().contains(&shard_of(viewer)), "read too late to say anything");
    assert_eq!((home, source), (vec![meanwhile, before], TimelineSource::Merge));
    spread(&[&other]).await;
    until_memory(&[meanwhile, before]).await;
}
