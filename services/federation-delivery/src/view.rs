//! Views: events of identity and posting as rows. Functions of events alone; each row has one writing shard.

use crate::consumer::{self, Fate};
use crate::domain::Spans;
use crate::tables;
use crate::wire::{spans_in, spans_out};
use async_trait::async_trait;
use p92_eventlog::{ProjectionError, Recorded, Rows, View};
use p92_kernel::Service;
use p92_proto::federation_delivery::v1::{FollowerRow, RemoteRow, Suspension};
use p92_storage::Table;
use std::sync::Arc;

/// Every view of federation-delivery.
#[must_use]
pub fn all() -> Vec<Arc<dyn View>> {
    vec![Arc::new(Activities), Arc::new(Followers), Arc::new(Remotes)]
}

/// What local accounts did with posts.
#[derive(Debug)]
struct Activities;

#[async_trait]
impl View for Activities {
    fn table(&self) -> &'static Table {
        &tables::ACTIVITIES
    }

    fn source(&self) -> Service {
        Service::Posting
    }

    fn wants(&self, event_type: &str) -> bool {
        consumer::makes_activity(event_type)
    }

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        if let Some(row) = consumer::activity_of(event)? {
            // Everything of one post stands in one log, so its places there order it.
            rows.put_message(tables::of(row.post_id), tables::at(event.position.seq.0), &row);
        }
        Ok(())
    }
}

/// Remote followers of local accounts. A pair's events stand in one log.
#[derive(Debug)]
struct Followers;

#[async_trait]
impl View for Followers {
    fn table(&self) -> &'static Table {
        &tables::FOLLOWERS
    }

    fn source(&self) -> Service {
        Service::Identity
    }

    fn wants(&self, event_type: &str) -> bool {
        consumer::moves_followers(event_type)
    }

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        let Some(edge) = consumer::edge_of(event)? else { return Ok(()) };
        let (partition, clustering) = (tables::of(edge.followed), tables::at(edge.follower));
        let before: Option<FollowerRow> = rows.get_message(partition.clone(), clustering.clone()).await?;
        if before.is_none() && !edge.begins {
            return Ok(());
        }
        let mut held = spans_in(&before.unwrap_or_default().held);
        step(&mut held, edge.begins, event.event.time_ms);
        rows.put_message(partition, clustering, &FollowerRow { held: spans_out(&held) });
        Ok(())
    }
}

fn step(spans: &mut Spans, begins: bool, at: u64) {
    if begins {
        spans.begin(at);
    } else {
        spans.end(at);
    }
}

/// Accounts elsewhere, and how many there are at each host.
#[derive(Debug)]
struct Remotes;

#[async_trait]
impl View for Remotes {
    fn table(&self) -> &'static Table {
        &tables::REMOTES
    }

    fn source(&self) -> Service {
        Service::Identity
    }

    fn wants(&self, event_type: &str) -> bool {
        consumer::concerns_remotes(event_type)
    }

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        let Some((account, fate)) = consumer::fate_of(event)? else { return Ok(()) };
        let before: Option<RemoteRow> = rows.get_message(tables::remote(account), "").await?;
        let row = match (fate, before) {
            (Fate::Known { host, addresses }, None) => {
                count(event, &host, true, rows).await?;
                RemoteRow { host, activity_pub: addresses, ..RemoteRow::default() }
            }
            // Nobody is born twice; and of a local account only its birth says that it is one.
            (Fate::Known { .. }, Some(_)) | (_, None) => return Ok(()),
            (Fate::Moved { addresses }, Some(row)) => RemoteRow { activity_pub: addresses, ..row },
            (Fate::Suspended { scope }, Some(row)) => suspended(row, scope, true, event.event.time_ms),
            (Fate::Restored { scope }, Some(row)) => suspended(row, scope, false, event.event.time_ms),
            (Fate::Erased, Some(row)) if row.erased_ms != 0 => return Ok(()),
            (Fate::Erased, Some(row)) => {
                count(event, &row.host, false, rows).await?;
                // The host stays, for what must be taken back there.
                RemoteRow { activity_pub: None, erased_ms: event.event.time_ms, ..row }
            }
        };
        rows.put_message(tables::remote(account), "", &row);
        Ok(())
    }
}

/// One account more or fewer at a host, by the count of the shard that writes it.
async fn count(event: &Recorded, host: &str, more: bool, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
    let (partition, clustering) = (tables::hosts(event.position.shard), tables::host(host));
    let before: Option<RemoteRow> = rows.get_message(partition.clone(), clustering.clone()).await?;
    let before = before.map_or(0, |row| row.accounts);
    let accounts = if more { before + 1 } else { before.saturating_sub(1) };
    if accounts == 0 {
        rows.delete(partition, clustering);
    } else {
        let row = RemoteRow { host: host.to_owned(), accounts, ..RemoteRow::default() };
        rows.put_message(partition, clustering, &row);
    }
    Ok(())
}

fn suspended(mut row: RemoteRow, scope: u64, begins: bool, at: u64) -> RemoteRow {
    let known = row.suspensions.iter_mut().find(|one| one.scope_server_id == scope);
    match known {
        Some(one) => {
            let mut held = spans_in(&one.held);
            step(&mut held, begins, at);
            one.held = spans_out(&held);
        }
        None if begins => {
            let mut held = Spans::default();
            held.begin(at);
            row.suspensions.push(Suspension { scope_server_id: scope, held: spans_out(&held) });
        }
        None => {}
    }
    row
}
