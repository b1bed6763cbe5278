//! Rows ↔ domain, and back to the contract. Total: a row that says what cannot be is damage.

use crate::domain::span::Span;
use crate::domain::{Activity, Kind, Reason, Remote, Spans, Visibility};
use p92_kernel::Failure;
use p92_proto::federation_delivery::v1 as proto;
use p92_proto::posting::v1 as posting;

/// A row as what happened.
pub fn activity_in(row: proto::ActivityRow) -> Result<Activity, Failure> {
    let kind = kind_in(row.kind()).ok_or_else(|| damaged("kind"))?;
    let visibility = visibility_in(row.visibility()).ok_or_else(|| damaged("visibility"))?;
    Ok(Activity {
        id: row.activity_id,
        kind,
        post: row.post_id,
        actor: row.actor_id,
        home: row.actor_home_id,
        visibility,
        mentioned: row.mentioned_ids,
        toward: row.toward_id,
        reaction: row.reaction_id,
        object_id: row.object_id,
        time: row.time_ms,
    })
}

fn damaged(what: &'static str) -> Failure {
    Failure::internal(format!("a row of an activity without {what}"))
}

const fn kind_in(kind: proto::ActivityKind) -> Option<Kind> {
    use proto::ActivityKind as Wire;
    Some(match kind {
        Wire::Unspecified => return None,
        Wire::Create => Kind::Create,
        Wire::Update => Kind::Update,
        Wire::Delete => Kind::Delete,
        Wire::Announce => Kind::Announce,
        Wire::UndoAnnounce => Kind::UndoAnnounce,
        Wire::Like => Kind::Like,
        Wire::UndoLike => Kind::UndoLike,
    })
}

/// A kind as the contract says it.
#[must_use]
pub const fn kind_out(kind: Kind) -> proto::ActivityKind {
    use proto::ActivityKind as Wire;
    match kind {
        Kind::Create => Wire::Create,
        Kind::Update => Wire::Update,
        Kind::Delete => Wire::Delete,
        Kind::Announce => Wire::Announce,
        Kind::UndoAnnounce => Wire::UndoAnnounce,
        Kind::Like => Wire::Like,
        Kind::UndoLike => Wire::UndoLike,
    }
}

/// A visibility of posting; `None` if it was not said.
#[must_use]
pub const fn visibility_in(visibility: posting::Visibility) -> Option<Visibility> {
    Some(match visibility {
        posting::Visibility::Unspecified => return None,
        posting::Visibility::Public => Visibility::Public,
        posting::Visibility::Unlisted => Visibility::Unlisted,
        posting::Visibility::Followers => Visibility::Followers,
        posting::Visibility::Direct => Visibility::Direct,
    })
}

/// And back.
#[must_use]
pub const fn visibility_out(visibility: Visibility) -> posting::Visibility {
    match visibility {
        Visibility::Public => posting::Visibility::Public,
        Visibility::Unlisted => posting::Visibility::Unlisted,
        Visibility::Followers => posting::Visibility::Followers,
        Visibility::Direct => posting::Visibility::Direct,
    }
}

/// A reason as the contract says it.
#[must_use]
pub const fn reason_out(reason: Reason) -> proto::DeliveryReason {
    use proto::DeliveryReason as Wire;
    match reason {
        Reason::Follower => Wire::Follower,
        Reason::Mentioned => Wire::Mentioned,
        Reason::ParentAuthor => Wire::ParentAuthor,
        Reason::Author => Wire::Author,
        Reason::ReachedBefore => Wire::ReachedBefore,
    }
}

/// Spans out of a row.
#[must_use]
pub fn spans_in(spans: &[proto::Span]) -> Spans {
    Spans(spans.iter().map(|span| Span { from: span.from_ms, until: span.until_ms }).collect())
}

/// Spans for a row.
#[must_use]
pub fn spans_out(spans: &Spans) -> Vec<proto::Span> {
    spans.0.iter().map(|span| proto::Span { from_ms: span.from, until_ms: span.until }).collect()
}

/// What plans need of an account elsewhere.
#[must_use]
pub fn remote_in(row: &proto::RemoteRow) -> Remote {
    let spans = |one: &proto::Suspension| (one.scope_server_id, spans_in(&one.held));
    Remote { suspended: row.suspensions.iter().map(spans).collect(), erased: row.erased_ms }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_round_trip() {
        for kind in 1..=7 {
            let kind = proto::ActivityKind::try_from(kind).unwrap();
            assert_eq!(kind_out(kind_in(kind).unwrap()), kind);
        }
        for visibility in 1..=4 {
            let visibility = posting::Visibility::try_from(visibility).unwrap();
            assert_eq!(visibility_out(visibility_in(visibility).unwrap()), visibility);
        }
        assert!(activity_in(proto::ActivityRow::default()).is_err());
    }

    proptest! {
        #[test]
        fn spans_round_trip(spans in prop::collection::vec(any::<(u64, u64)>(), 0..5)) {
            let spans = Spans(spans.into_iter().map(|(from, until)| Span { from, until }).collect());
            prop_assert_eq!(spans_in(&spans_out(&spans)), spans);
        }
    }
}
