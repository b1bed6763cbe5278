//! What a post is, what accounts do with it, who may: functions of their arguments, nothing else.
//!
//! No clock, no randomness, no store, no key: ids, times and sealed contents are handed in.

pub mod draft;
pub mod post;
pub mod reaction;
pub mod rejection;
pub mod rules;
pub mod sanitize;
pub mod text;

pub use rejection::Rejection;
pub use rules::Visibility;

use p92_kernel::{AccountId, PostId, ServerId};

/// Kind of an account, as its server's policies know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A remote account that states none.
    #[default]
    Unstated,
    Personal,
    Creator,
    Corporate,
}

/// Why something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Whoever made it took it back.
    TakenBack,
    /// The account of whoever made it was erased.
    AccountErased,
    /// The post that it belonged to was deleted.
    PostDeleted,
}

/// What a post answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    pub post: PostId,
    pub author: AccountId,
}

/// An account in the role in which it acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    pub id: AccountId,
    /// Where it is at home; `None` for elsewhere.
    pub home: Option<ServerId>,
    pub kind: Kind,
}
