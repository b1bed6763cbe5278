//! Notifications, and what Mastodon calls their types.

use super::account::Account;
use super::status::Status;
use p92_proto::timelines::v1::NotificationType;
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub struct Notification {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub group_key: String,
    pub created_at: String,
    pub account: Account,
    pub status: Option<Status>,
}

const NAMES: [(NotificationType, &str); 5] = [
    (NotificationType::Mention, "mention"),
    (NotificationType::Follow, "follow"),
    (NotificationType::FollowRequest, "follow_request"),
    (NotificationType::Like, "favourite"),
    (NotificationType::Boost, "reblog"),
];

/// What Mastodon calls it; `None` for a type that this version does not know.
#[must_use]
pub fn name_of(kind: NotificationType) -> Option<&'static str> {
    NAMES.iter().find(|(one, _)| *one == kind).map(|(_, name)| *name)
}

/// The type of that name; `None` for those that do not happen here.
#[must_use]
pub fn type_of(name: &str) -> Option<NotificationType> {
    NAMES.iter().find(|(_, one)| *one == name).map(|(kind, _)| *kind)
}
