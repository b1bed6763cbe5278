//! Views of servers, and of streams whose names are still to be claimed.

use super::{bad_row, own_view};
use crate::domain::Server;
use crate::tables::{self, SERVERS};
use crate::wire::rows::{server_in, server_out};
use crate::wire::server::is_server_event;
use async_trait::async_trait;
use bytes::Bytes;
use p92_eventlog::{Aggregate, Poison, ProjectionError, Recorded, Rows, View};
use p92_proto::identity::v1;
use p92_storage::Key;

/// Servers by id.
#[derive(Clone, Copy, Debug)]
pub struct Servers;

#[async_trait]
impl View for Servers {
    own_view!(SERVERS, is_server_event);

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        let Some(id) = event.stream().and_then(|stream| stream.id()) else { return Ok(()) };
        let (partition, clustering) = (tables::servers(), tables::id(id.get()));
        let row = rows.get_message::<v1::ServerRow>(partition.clone(), clustering.clone()).await?;
        let state = match row {
            Some(row) => server_in(row).map_err(|why| bad_row(&SERVERS, why))?,
            None => Server::default(),
        };
        let state = Aggregate::evolve(state, &<Server as Aggregate>::decode(event)?);
        rows.put_message(partition, clustering, &server_out(&state));
        Ok(())
    }
}

/// Streams whose names are still to be claimed.
#[derive(Clone, Copy, Debug)]
pub struct Unfinished;

fn begins_or_ends(event_type: &str) -> bool {
    const TYPES: [&str; 7] = [
        "p92.identity.v1.AccountCreated",
        "p92.identity.v1.HandleGranted",
        "p92.identity.v1.HandleRefused",
        "p92.identity.v1.AccountErased",
        "p92.identity.v1.ServerCreated",
        "p92.identity.v1.ServerNamesGranted",
        "p92.identity.v1.ServerNamesRefused",
    ];
    TYPES.contains(&event_type)
}

/// Whether a claim begins with the event.
fn begins(event: &Recorded) -> Result<bool, Poison> {
    if event.is::<v1::ServerCreated>() {
        return Ok(true);
    }
    if !event.is::<v1::AccountCreated>() {
        return Ok(false);
    }
    // The handle of a remote account is given elsewhere.
    Ok(event.decode::<v1::AccountCreated>()?.server_id != 0)
}

#[async_trait]
impl View for Unfinished {
    own_view!(UNFINISHED, begins_or_ends);

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        let Some(stream) = event.stream() else { return Ok(()) };
        let partition = tables::unfinished(event.position.shard);
        let clustering: Bytes = Key::new().text(stream.as_str()).build();
        if begins(event)? {
            let row = v1::UnfinishedRow { stream: stream.as_str().to_owned() };
            rows.put_message(partition, clustering, &row);
        } else if rows.get(partition.clone(), clustering.clone()).await?.is_some() {
            rows.delete(partition, clustering);
        }
        Ok(())
    }
}
