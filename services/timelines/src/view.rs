//! Views: events of timelines, posting and identity as rows.

use crate::consumer::{Note, notes_of_follows, notes_of_posts};
use crate::domain::marker::Markers;
use crate::domain::notification::{Event, SetAside};
use crate::tables::{self, Scope};
use crate::wire::list_to_wire;
use async_trait::async_trait;
use bytes::Bytes;
use p92_eventlog::{Aggregate, Poison, ProjectionError, Recorded, Rows, View};
use p92_kernel::Service;
use p92_proto::posting::v1 as posting;
use p92_proto::timelines::v1::{Marker, Notification, NotificationType, PublicPostRow, SetAsideRow};
use p92_storage::{Direction, Range, Table};
use prost::Message as _;
use std::sync::Arc;

/// Every view of timelines.
#[must_use]
pub fn all() -> Vec<Arc<dyn View>> {
    vec![
        Arc::new(MarkerView),
        Arc::new(SetAsideView),
        Arc::new(PostNotes),
        Arc::new(FollowNotes),
        Arc::new(PublicPosts),
    ]
}

/// How far accounts have read their lists.
#[derive(Debug)]
struct MarkerView;

#[async_trait]
impl View for MarkerView {
    fn table(&self) -> &'static Table {
        &tables::MARKERS
    }

    fn source(&self) -> Service {
        Service::Timelines
    }

    fn wants(&self, event_type: &str) -> bool {
        event_type == "p92.timelines.v1.MarkerSet"
    }

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        let set = <Markers as Aggregate>::decode(event)?;
        let timeline = list_to_wire(set.list);
        let (partition, clustering) = (tables::of_account(set.account), tables::at_id(timeline as u64));
        let before: Option<Marker> = rows.get_message(partition.clone(), clustering.clone()).await?;
        let marker = Marker {
            timeline: timeline.into(),
            last_read_id: set.last_read,
            version: before.map_or(1, |before| before.version + 1),
            updated_ms: event.event.time_ms,
        };
        rows.put_message(partition, clustering, &marker);
        Ok(())
    }
}

/// What accounts set aside of their notifications.
#[derive(Debug)]
struct SetAsideView;

#[async_trait]
impl View for SetAsideView {
    fn table(&self) -> &'static Table {
        &tables::SET_ASIDE
    }

    fn source(&self) -> Service {
        Service::Timelines
    }

    fn wants(&self, event_type: &str) -> bool {
        matches!(
            event_type,
            "p92.timelines.v1.NotificationsCleared" | "p92.timelines.v1.NotificationDismissed"
        )
    }

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        match <SetAside as Aggregate>::decode(event)? {
            Event::Cleared { account, up_to } => {
                let partition = tables::of_account(account);
                rows.put_message(partition, tables::at_id(0), &SetAsideRow { up_to_id: up_to });
            }
            Event::Dismissed { account, notification } => {
                let partition = tables::of_account(account);
                rows.put_message(partition, tables::at_id(notification), &SetAsideRow { up_to_id: 0 });
            }
        }
        Ok(())
    }
}

/// Notifications out of posting's log.
#[derive(Debug)]
struct PostNotes;

#[async_trait]
impl View for PostNotes {
    fn table(&self) -> &'static Table {
        &tables::NOTES_OF_POSTS
    }

    fn source(&self) -> Service {
        Service::Posting
    }

    fn wants(&self, event_type: &str) -> bool {
        matches!(
            event_type,
            "p92.posting.v1.PostPublished"
                | "p92.posting.v1.PostEdited"
                | "p92.posting.v1.PostDeleted"
                | "p92.posting.v1.PostLiked"
                | "p92.posting.v1.PostUnliked"
                | "p92.posting.v1.PostBoosted"
                | "p92.posting.v1.PostUnboosted"
        )
    }

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        note(notes_of_posts(event)?, rows).await
    }
}

/// Notifications out of identity's log.
#[derive(Debug)]
struct FollowNotes;

#[async_trait]
impl View for FollowNotes {
    fn table(&self) -> &'static Table {
        &tables::NOTES_OF_FOLLOWS
    }

    fn source(&self) -> Service {
        Service::Identity
    }

    fn wants(&self, event_type: &str) -> bool {
        matches!(
            event_type,
            "p92.identity.v1.FollowStarted"
                | "p92.identity.v1.FollowRequested"
                | "p92.identity.v1.FollowAccepted"
                | "p92.identity.v1.FollowRequestEnded"
                | "p92.identity.v1.FollowEnded"
        )
    }

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        note(notes_of_follows(event)?, rows).await
    }
}

async fn note(notes: Vec<Note>, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
    for note in notes {
        match note {
            Note::Told(notification) => tell(&notification, rows).await?,
            Note::PostCauseGone { post, kind, account } => {
                let cause = tables::cause(kind as u16, account);
                untell(tables::caused_by_post(post), cause, rows).await?;
            }
            Note::FollowGone { follower, followed } => {
                untell(tables::caused_by_follow(follower, followed), Bytes::new(), rows).await?;
            }
            Note::PostGone { post } => {
                let partition = tables::caused_by_post(post);
                let mut range = Range::all();
                loop {
                    let found = rows.scan(partition.clone(), range, Direction::Forward, 500).await?;
                    let Some((last, _)) = found.last() else { break };
                    // The smallest key behind the last one: what is deleted by now need not be passed over again.
                    let from = [last.as_ref(), &[0]].concat();
                    range = Range { from: Some(from.into()), to: None };
                    for (clustering, _) in found {
                        untell(partition.clone(), clustering, rows).await?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Where the cause of a notification is kept, so that its end finds it.
fn cause_of(notification: &Notification) -> (Bytes, Bytes) {
    let Notification { r#type, recipient_id, account_id, post_id, .. } = *notification;
    if post_id == 0 {
        return (tables::caused_by_follow(account_id, recipient_id), Bytes::new());
    }
    let mention = r#type == i32::from(NotificationType::Mention);
    let account = if mention { recipient_id } else { account_id };
    (tables::caused_by_post(post_id), tables::cause(u16::try_from(r#type).unwrap_or(0), account))
}

async fn tell(notification: &Notification, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
    let (partition, clustering) = cause_of(notification);
    // A cause that comes again replaces what it caused before: one notification per recipient and cause.
    untell(partition.clone(), clustering.clone(), rows).await?;
    rows.put_message(partition, clustering, notification);
    let recipient = tables::recipient(notification.recipient_id);
    rows.put_message(recipient, tables::at_id(notification.id), notification);
    Ok(())
}

async fn untell(partition: Bytes, clustering: Bytes, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
    let told: Option<Notification> = rows.get_message(partition.clone(), clustering.clone()).await?;
    if let Some(told) = told {
        rows.delete(tables::recipient(told.recipient_id), tables::at_id(told.id));
        rows.delete(partition, clustering);
    }
    Ok(())
}

/// Public posts, of everybody and of each server.
#[derive(Debug)]
struct PublicPosts;

#[async_trait]
impl View for PublicPosts {
    fn table(&self) -> &'static Table {
        &tables::PUBLIC
    }

    fn source(&self) -> Service {
        Service::Posting
    }

    fn wants(&self, event_type: &str) -> bool {
        matches!(event_type, "p92.posting.v1.PostPublished" | "p92.posting.v1.PostDeleted")
    }

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        if event.is::<posting::PostDeleted>() {
            let post: posting::PostDeleted = event.decode()?;
            for (partition, clustering) in places(event, post.post_id, post.author_home_id) {
                rows.delete(partition, clustering);
            }
            return Ok(());
        }
        let Some((id, row)) = public_post(event)? else { return Ok(()) };
        let day = tables::day_of(id);
        for (partition, clustering) in places(event, id, row.server_id) {
            rows.put(partition, clustering, row.encode_to_vec());
        }
        for scope in scopes(row.server_id) {
            let place = tables::day_and_shard(day, event.position.shard);
            rows.put_message(tables::public_days(scope), place, &PublicPostRow::default());
        }
        Ok(())
    }
}

/// A post of public timelines: public, and no reply to somebody else.
pub fn public_post(event: &Recorded) -> Result<Option<(u64, PublicPostRow)>, Poison> {
    let post: posting::PostPublished = event.decode()?;
    let is_reply = post.in_reply_to_id != 0 || !post.in_reply_to_object_id.is_empty();
    let to_others = is_reply && post.in_reply_to_author_id != post.author_id;
    if post.visibility != i32::from(posting::Visibility::Public) || to_others {
        return Ok(None);
    }
    let row = PublicPostRow { author_id: post.author_id, server_id: post.author_home_id, has_media: false };
    Ok(Some((post.post_id, row)))
}

fn scopes(server: u64) -> Vec<Scope> {
    if server == 0 { vec![Scope::Everybody] } else { vec![Scope::Everybody, Scope::Members(server)] }
}

fn places(event: &Recorded, id: u64, server: u64) -> Vec<(Bytes, Bytes)> {
    let (day, shard) = (tables::day_of(id), event.position.shard);
    scopes(server)
        .into_iter()
        .map(|scope| (tables::public_day(scope, day, shard), tables::at_id(id)))
        .collect()
}
