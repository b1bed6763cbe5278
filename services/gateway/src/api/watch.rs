//! A timeline as it happens: one subscription per call.
//!
//! It ends with words: UNAUTHENTICATED when the token may no longer look, UNAVAILABLE when the process stops or the watch
//! ended for good.

use super::notifications::shaped;
use super::posts::post;
use super::status;
use crate::door::caller::{Actor, Caller};
use crate::error::Problem;
use crate::gate::Gate;
use crate::mastodon::hydrate::Reader;
use crate::streaming::channel::Channel;
use crate::streaming::feed::{Change, Feed, Shape, Told, notes_of, posts_of, token_ends};
use api::watch_timeline_response::Change as Shown;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::StatusCode;
use p92_proto::api::v1 as api;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// What a token needs to watch.
pub const SCOPE: &str = "read:statuses";
/// Events that wait for a slow client before the watch itself waits.
const WAITING: usize = 64;
/// How long a client that does not read may take to be told why its stream ends.
const FAREWELL: Duration = Duration::from_secs(5);

type Event = Result<api::WatchTimelineResponse, Status>;

/// Changes as messages of the public API.
struct Messages;

impl Shape for Messages {
    type Event = Event;

    async fn shape(&self, reader: &Reader<'_>, told: &[Told]) -> Result<Vec<Event>, Problem> {
        let posts: HashMap<u64, api::Post> =
            posts_of(reader, told).await?.iter().map(|one| (one.id, post(one))).collect();
        let notes: HashMap<String, api::Notification> =
            shaped(reader, &notes_of(told)).await?.into_iter().map(|one| (one.id.clone(), one)).collect();
        let event = |told: &Told| {
            let shown = match &told.change {
                Change::Entry(id) => posts.get(id).cloned().map(Shown::Post),
                Change::Edited(id) => posts.get(id).cloned().map(Shown::EditedPost),
                Change::Gone(id) => Some(Shown::GonePostId(id.to_string())),
                Change::Notified(note) => notes.get(&note.id.to_string()).cloned().map(Shown::Notification),
                Change::Nothing => None,
            };
            // What may not be seen still moves the cursor.
            let change = Some(shown.unwrap_or(Shown::StillHere(api::StillHere {})));
            Ok(api::WatchTimelineResponse { cursor: told.cursor.clone(), change })
        };
        Ok(told.iter().map(event).collect())
    }
}

/// Opens a subscription of an actor.
pub fn open(
    gate: &Gate,
    caller: Caller,
    actor: Actor,
    channel: Channel,
    cursor: Bytes,
) -> Result<BoxStream<'static, Event>, Problem> {
    let place = gate.sockets.take(actor.account_id, gate.config.sockets_per_account)?;
    let (events, waiting) = mpsc::channel(WAITING);
    let feed = Feed {
        gate: gate.clone(),
        caller: caller.clone(),
        viewer_id: actor.account_id,
        channel,
        shape: Messages,
        cursor,
        events: events.clone(),
    };
    let gate = gate.clone();
    tokio::spawn(async move {
        let _place = place;
        let why = tokio::select! {
            () = feed.run() => unavailable("The watch has ended; open it again with the last cursor."),
            () = token_ends(&gate, &caller, SCOPE) => if gate.stopping.is_cancelled() {
                unavailable("The process stops; open the watch again with the last cursor.")
            } else {
                Problem::unauthenticated()
            },
        };
        // Whoever has left needs no words.
        let _told = events.send_timeout(Err(status(why)), FAREWELL).await;
    });
    Ok(ReceiverStream::new(waiting).boxed())
}

fn unavailable(words: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "WATCH_ENDED", words)
}
