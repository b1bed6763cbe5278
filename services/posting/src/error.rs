//! Rejections as failures: code, reason and words for the public.

use crate::domain::Rejection;
use p92_kernel::{ErrorCode, Failure};

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        use ErrorCode::{FailedPrecondition, PermissionDenied};
        match &rejection {
            Rejection::NotFound => Self::not_found("post"),
            Rejection::NotActive => Self::new(
                PermissionDenied,
                "ACCOUNT_NOT_ACTIVE",
                "This account may not do that at the moment.",
            ),
            Rejection::Blank => Self::invalid("text", "TEXT_BLANK", "There is nothing in the post."),
            Rejection::TooLong { counted, allowed } => Self::invalid(
                "text",
                "TEXT_TOO_LONG",
                format!("A post has at most {allowed} characters, this one has {counted}."),
            ),
            Rejection::TooManyBytes { allowed, .. } => {
                Self::invalid("text", "TEXT_TOO_LARGE", format!("A text has at most {allowed} bytes."))
            }
            Rejection::TooManyMentions { allowed } => Self::invalid(
                "text",
                "TOO_MANY_MENTIONS",
                format!("A post mentions at most {allowed} accounts."),
            ),
            Rejection::TooManyTags { allowed } => {
                Self::invalid("text", "TOO_MANY_TAGS", format!("A post has at most {allowed} tags."))
            }
            Rejection::BadLanguage => {
                Self::invalid("language", "BAD_LANGUAGE", "A language is named by its ISO 639 code.")
            }
            Rejection::OriginMismatch => Self::invalid(
                "remote",
                "ORIGIN_MISMATCH",
                "Local accounts send text, accounts from elsewhere what their home published.",
            ),
            Rejection::BadObjectId => Self::invalid(
                "remote",
                "BAD_ACTIVITY_PUB_ID",
                "An ActivityPub id is an https or http URL of at most 2000 bytes.",
            ),
            Rejection::Deleted => Self::new(FailedPrecondition, "POST_DELETED", "This post was deleted."),
            Rejection::RepliesOff => {
                Self::new(FailedPrecondition, "REPLIES_OFF", "Replies are switched off here.")
            }
            Rejection::RepliesForFollowers => {
                Self::new(FailedPrecondition, "REPLIES_FOR_FOLLOWERS", "Only followers may reply here.")
            }
            Rejection::MessagesOff => {
                Self::new(FailedPrecondition, "MESSAGES_OFF", "Direct posts are switched off here.")
            }
            Rejection::MessagesForMutuals => Self::new(
                FailedPrecondition,
                "MESSAGES_FOR_MUTUALS",
                "Only accounts that follow each other may send each other direct posts here.",
            ),
            Rejection::BoostRefusedForKind => Self::new(
                PermissionDenied,
                "BOOST_REFUSED_FOR_KIND",
                "Accounts of this kind may not boost on this server.",
            ),
            Rejection::NotForSharing => {
                Self::new(PermissionDenied, "NOT_FOR_SHARING", "This post may not be shared.")
            }
            Rejection::BoostVisibility => Self::invalid(
                "visibility",
                "BAD_BOOST_VISIBILITY",
                "A boost is public, unlisted, or for followers.",
            ),
            Rejection::BlockingAuthor => {
                Self::new(PermissionDenied, "BLOCKING_AUTHOR", "You block the author of this post.")
            }
            Rejection::TooManyPins { allowed } => Self::new(
                FailedPrecondition,
                "TOO_MANY_PINS",
                format!("At most {allowed} posts can be pinned."),
            ),
            Rejection::NotForPinning => {
                Self::new(FailedPrecondition, "NOT_FOR_PINNING", "A direct post cannot be pinned.")
            }
            Rejection::TooManyEdits { allowed } => Self::new(
                ErrorCode::ResourceExhausted,
                "TOO_MANY_EDITS",
                format!("A post can be edited {allowed} times."),
            ),
        }
        .because(rejection)
    }
}
