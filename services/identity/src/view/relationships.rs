//! Views of relationships: how two stand to each other, lists, and counts that equal a recount.

use super::own_view;
use crate::domain::Relationship;
use crate::domain::relationship::{Event, Options, Pair};
use crate::tables::{self, List};
use crate::wire::relationship::{is_relationship_event, options_out};
use crate::wire::rows::{relationship_in, relationship_out};
use async_trait::async_trait;
use bytes::Bytes;
use p92_eventlog::{Aggregate, ProjectionError, Recorded, Rows, View};
use p92_kernel::Shard;
use p92_proto::identity::v1;
use p92_storage::Key;

fn read(event: &Recorded) -> Result<Event, ProjectionError> {
    Ok(<Relationship as Aggregate>::decode(event)?)
}

/// What two accounts are to each other, under each of them.
#[derive(Clone, Copy, Debug)]
pub struct Relationships;

#[async_trait]
impl View for Relationships {
    own_view!(RELATIONSHIPS, is_relationship_event);

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        let event = read(event)?;
        for pair in [event.pair(), event.pair().back()] {
            let (partition, clustering) = tables::relationship(pair);
            let row = rows.get_message::<v1::RelationshipRow>(partition.clone(), clustering.clone()).await?;
            let state = relationship_in(row.unwrap_or_default()).evolve(&event);
            if state.is_empty() {
                rows.delete(partition, clustering);
            } else {
                rows.put_message(partition, clustering, &relationship_out(&state));
            }
        }
        Ok(())
    }
}

/// Lists of follows, requests, blocks and mutes.
#[derive(Clone, Copy, Debug)]
pub struct Edges;

fn put(rows: &mut Rows<'_>, list: List, account: u64, id: u64, row: &v1::EdgeRow) {
    let (partition, clustering) = tables::edge(account, list, id);
    rows.put_message(partition, clustering, row);
}

fn delete(rows: &mut Rows<'_>, list: List, account: u64, id: u64) {
    let (partition, clustering) = tables::edge(account, list, id);
    rows.delete(partition, clustering);
}

fn put_follow(rows: &mut Rows<'_>, lists: (List, List), pair: Pair, id: u64, options: &Options) {
    let row = |account_id| v1::EdgeRow {
        account_id,
        options: Some(options_out(options)),
        ..v1::EdgeRow::default()
    };
    put(rows, lists.0, pair.from, id, &row(pair.to));
    put(rows, lists.1, pair.to, id, &row(pair.from));
}

fn delete_follow(rows: &mut Rows<'_>, lists: (List, List), pair: Pair, id: u64) {
    delete(rows, lists.0, pair.from, id);
    delete(rows, lists.1, pair.to, id);
}

const HOLDING: (List, List) = (List::Following, List::Followers);
const WAITING: (List, List) = (List::Requested, List::Requests);

#[async_trait]
impl View for Edges {
    own_view!(EDGES, is_relationship_event);

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        match read(event)? {
            Event::FollowRequested { edge, options, .. } => {
                put_follow(rows, WAITING, edge.pair, edge.id, &options);
            }
            Event::FollowStarted { edge, options, .. } => {
                put_follow(rows, HOLDING, edge.pair, edge.id, &options);
            }
            Event::FollowAccepted { edge, options } => {
                delete_follow(rows, WAITING, edge.pair, edge.id);
                put_follow(rows, HOLDING, edge.pair, edge.id, &options);
            }
            Event::FollowChanged { id, pair, options, requested } => {
                put_follow(rows, if requested { WAITING } else { HOLDING }, pair, id, &options);
            }
            Event::FollowRequestEnded { id, pair, .. } => delete_follow(rows, WAITING, pair, id),
            Event::FollowEnded { id, pair, .. } => delete_follow(rows, HOLDING, pair, id),
            Event::BlockStarted { id, pair, .. } => {
                let row = |account_id| v1::EdgeRow { account_id, ..v1::EdgeRow::default() };
                put(rows, List::Blocks, pair.from, id, &row(pair.to));
                put(rows, List::BlockedBy, pair.to, id, &row(pair.from));
            }
            Event::BlockEnded { id, pair } => {
                delete(rows, List::Blocks, pair.from, id);
                delete(rows, List::BlockedBy, pair.to, id);
            }
            Event::MuteStarted { pair, mute } => {
                let row = v1::EdgeRow {
                    account_id: pair.to,
                    options: None,
                    notifications: mute.notifications,
                    expires_ms: mute.expires_ms,
                };
                put(rows, List::Mutes, pair.from, mute.id, &row);
            }
            Event::MuteEnded { id, pair } => delete(rows, List::Mutes, pair.from, id),
        }
        Ok(())
    }
}

/// Counts of follows and requests.
#[derive(Clone, Copy, Debug)]
pub struct Counts;

#[derive(Clone, Copy, Default)]
struct Change {
    followers: i64,
    following: i64,
    requests: i64,
}

async fn add(rows: &mut Rows<'_>, account: u64, shard: Shard, change: Change) -> Result<(), ProjectionError> {
    let (partition, clustering) = (tables::id(account), Key::new().small(shard.0).build());
    let row = rows.get_message::<v1::FollowCountsRow>(partition.clone(), clustering.clone()).await?;
    let row = row.unwrap_or_default();
    let row = v1::FollowCountsRow {
        followers: row.followers.saturating_add_signed(change.followers),
        following: row.following.saturating_add_signed(change.following),
        requests: row.requests.saturating_add_signed(change.requests),
    };
    if row == v1::FollowCountsRow::default() {
        rows.delete(partition, clustering);
    } else {
        rows.put_message(partition, clustering, &row);
    }
    Ok(())
}

#[async_trait]
impl View for Counts {
    own_view!(COUNTS, is_relationship_event);

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        let (holding, waiting) = match read(event)? {
            Event::FollowRequested { .. } => (0, 1),
            Event::FollowStarted { .. } => (1, 0),
            Event::FollowAccepted { .. } => (1, -1),
            Event::FollowRequestEnded { .. } => (0, -1),
            Event::FollowEnded { .. } => (-1, 0),
            Event::FollowChanged { .. }
            | Event::BlockStarted { .. }
            | Event::BlockEnded { .. }
            | Event::MuteStarted { .. }
            | Event::MuteEnded { .. } => return Ok(()),
        };
        let shard = event.position.shard;
        let pair = read(event)?.pair();
        if holding != 0 {
            add(rows, pair.from, shard, Change { following: holding, ..Change::default() }).await?;
        }
        let change = Change { followers: holding, requests: waiting, ..Change::default() };
        add(rows, pair.to, shard, change).await
    }
}

/// A clustering key of an edge, back as its id.
pub fn edge_id(clustering: &Bytes) -> Option<u64> {
    p92_storage::KeyReader::new(clustering).desc().ok()
}
