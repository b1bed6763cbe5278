//! Domain ↔ contract: total in both directions for what this build writes, `Poison` for what cannot be.

mod posts;
mod reactions;
#[cfg(test)]
mod tests;

pub use posts::published_to_wire;

use crate::domain::{EndReason, Kind, ReplyTo, Visibility};
use p92_eventlog::{Poison, Recorded};
use p92_kernel::{AccountId, Id, PostId, ServerId};
use p92_proto::identity::v1::AccountKind;
use p92_proto::posting::v1;

/// A visibility as messages carry it.
#[must_use]
pub const fn visibility_to_wire(visibility: Visibility) -> v1::Visibility {
    match visibility {
        Visibility::Public => v1::Visibility::Public,
        Visibility::Unlisted => v1::Visibility::Unlisted,
        Visibility::Followers => v1::Visibility::Followers,
        Visibility::Direct => v1::Visibility::Direct,
    }
}

/// A visibility out of a message; `None` if it is not said.
#[must_use]
pub const fn visibility_from_wire(visibility: v1::Visibility) -> Option<Visibility> {
    match visibility {
        v1::Visibility::Unspecified => None,
        v1::Visibility::Public => Some(Visibility::Public),
        v1::Visibility::Unlisted => Some(Visibility::Unlisted),
        v1::Visibility::Followers => Some(Visibility::Followers),
        v1::Visibility::Direct => Some(Visibility::Direct),
    }
}

/// A kind out of a message.
#[must_use]
pub const fn kind_from_wire(kind: AccountKind) -> Kind {
    match kind {
        AccountKind::Unspecified => Kind::Unstated,
        AccountKind::Personal => Kind::Personal,
        AccountKind::Creator => Kind::Creator,
        AccountKind::Corporate => Kind::Corporate,
    }
}

const fn kind_to_wire(kind: Kind) -> AccountKind {
    match kind {
        Kind::Unstated => AccountKind::Unspecified,
        Kind::Personal => AccountKind::Personal,
        Kind::Creator => AccountKind::Creator,
        Kind::Corporate => AccountKind::Corporate,
    }
}

pub const fn reason_to_wire(reason: EndReason) -> v1::EndReason {
    match reason {
        EndReason::TakenBack => v1::EndReason::TakenBack,
        EndReason::AccountErased => v1::EndReason::AccountErased,
        EndReason::PostDeleted => v1::EndReason::PostDeleted,
    }
}

fn home_to_wire(home: Option<ServerId>) -> u64 {
    home.map_or(0, ServerId::get)
}

fn ids_to_wire(ids: &[AccountId]) -> Vec<u64> {
    ids.iter().map(|id| id.get()).collect()
}

/// Reads the fields of one event, and says which one cannot be.
struct Fields<'a>(&'a Recorded);

impl Fields<'_> {
    fn account(&self, raw: u64) -> Result<AccountId, Poison> {
        AccountId::new(raw).ok_or_else(|| self.0.unreadable(format!("{raw} is no account")))
    }

    fn post(&self, raw: u64) -> Result<PostId, Poison> {
        PostId::new(raw).ok_or_else(|| self.0.unreadable(format!("{raw} is no post")))
    }

    fn id(&self, raw: u64) -> Result<Id, Poison> {
        Id::new(raw).ok_or_else(|| self.0.unreadable(format!("{raw} is no id")))
    }

    fn accounts(&self, raw: &[u64]) -> Result<Vec<AccountId>, Poison> {
        raw.iter().map(|raw| self.account(*raw)).collect()
    }

    fn visibility(&self, visibility: v1::Visibility) -> Result<Visibility, Poison> {
        visibility_from_wire(visibility).ok_or_else(|| self.0.unreadable("it does not say who may see it"))
    }

    fn reason(&self, reason: v1::EndReason) -> Result<EndReason, Poison> {
        match reason {
            v1::EndReason::Unspecified => Err(self.0.unreadable("it does not say why")),
            v1::EndReason::TakenBack => Ok(EndReason::TakenBack),
            v1::EndReason::AccountErased => Ok(EndReason::AccountErased),
            v1::EndReason::PostDeleted => Ok(EndReason::PostDeleted),
        }
    }

    fn reply(&self, post: u64, author: u64) -> Result<Option<ReplyTo>, Poison> {
        if post == 0 {
            return Ok(None);
        }
        Ok(Some(ReplyTo { post: self.post(post)?, author: self.account(author)? }))
    }
}

fn reply_to_wire(reply: Option<ReplyTo>) -> (u64, u64) {
    reply.map_or((0, 0), |reply| (reply.post.get(), reply.author.get()))
}
