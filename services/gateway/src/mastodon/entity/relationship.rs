//! How two accounts stand, as the viewer may know it.

use super::moment;
use p92_proto::identity::v1::{self as identity, FollowState};
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub struct Relationship {
    pub id: String,
    pub following: bool,
    pub showing_reblogs: bool,
    pub notifying: bool,
    pub languages: Option<Vec<String>>,
    pub followed_by: bool,
    pub blocking: bool,
    pub blocked_by: bool,
    pub muting: bool,
    pub muting_notifications: bool,
    pub muting_expires_at: Option<String>,
    pub requested: bool,
    pub requested_by: bool,
    pub domain_blocking: bool,
    pub endorsed: bool,
    pub note: String,
}

#[must_use]
pub fn relationship(one: &identity::Relationship) -> Relationship {
    let follows = one.following() == FollowState::Following;
    let requested = one.following() == FollowState::Requested;
    Relationship {
        id: one.account_id.to_string(),
        following: follows,
        showing_reblogs: (follows || requested) && one.show_boosts,
        notifying: (follows || requested) && one.notify,
        languages: (!one.languages.is_empty()).then(|| one.languages.clone()),
        followed_by: one.followed_by() == FollowState::Following,
        blocking: one.blocking,
        blocked_by: one.blocked_by,
        muting: one.muting,
        muting_notifications: one.muting_notifications,
        muting_expires_at: moment(one.mute_expires_ms),
        requested,
        requested_by: one.followed_by() == FollowState::Requested,
        domain_blocking: false,
        endorsed: false,
        note: String::new(),
    }
}
