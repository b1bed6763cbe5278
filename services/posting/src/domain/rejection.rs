//! The ways in which a rule of this domain says no.

/// A rule said no. The same command can succeed only if something else changes first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is no such post, or none that the actor may see")]
    NotFound,
    #[error("the actor may do nothing at the moment")]
    NotActive,
    #[error("there is nothing in the post")]
    Blank,
    #[error("the post has {counted} characters, allowed are {allowed}")]
    TooLong { counted: usize, allowed: usize },
    #[error("a text has {bytes} bytes, allowed are {allowed}")]
    TooManyBytes { bytes: usize, allowed: usize },
    #[error("the post mentions more than {allowed} accounts")]
    TooManyMentions { allowed: usize },
    #[error("the post has more than {allowed} tags")]
    TooManyTags { allowed: usize },
    #[error("that is no language code")]
    BadLanguage,
    #[error("a text and a post from elsewhere exclude each other")]
    OriginMismatch,
    #[error("the post from elsewhere names no ActivityPub id, or one that is none")]
    BadObjectId,
    #[error("the post was deleted")]
    Deleted,
    #[error("replies are off")]
    RepliesOff,
    #[error("only followers may reply")]
    RepliesForFollowers,
    #[error("messages are off")]
    MessagesOff,
    #[error("only those who follow each other may send messages")]
    MessagesForMutuals,
    #[error("this kind of account may not boost")]
    BoostRefusedForKind,
    #[error("the post is not for sharing")]
    NotForSharing,
    #[error("a boost cannot be seen by mentioned accounts only")]
    BoostVisibility,
    #[error("the actor blocks the author")]
    BlockingAuthor,
    #[error("more than {allowed} posts would be pinned")]
    TooManyPins { allowed: usize },
    #[error("only the author sees it, so it cannot be pinned")]
    NotForPinning,
    #[error("the post was edited {allowed} times already")]
    TooManyEdits { allowed: u64 },
}
