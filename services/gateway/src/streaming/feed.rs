//! One subscription: watches at timelines, reads what changed, hands on events in their shape.
//!
//! A watch that breaks is opened again where it stopped. What cannot be kept up with waits: the watch is not read on
//! until the client has taken what it was sent.

use super::channel::Channel;
use crate::door::caller::{Caller, covers};
use crate::error::Problem;
use crate::gate::Gate;
use crate::mastodon::hydrate::Reader;
use crate::mastodon::notifications::shaped;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};
use p92_proto::timelines::v1 as timelines;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use timelines::watch_home_response::Change as Home;
use timelines::watch_public_response::Change as Public;
use tokio::sync::mpsc::Sender;

/// Changes that are read with one call, if they are there.
const TOGETHER: usize = 40;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often an open stream's token is looked at again.
pub const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What a client is told.
#[derive(Clone, Debug)]
pub struct Event {
    pub name: &'static str,
    pub payload: String,
    /// Which subscription it belongs to.
    pub label: Arc<Vec<String>>,
}

/// Something that happened, whichever watch told it.
enum Change {
    Entry(u64),
    Edited(u64),
    Gone(u64),
    Notified(timelines::Notification),
    Nothing,
}

/// The subscription is over: its client left, or may not look any more.
struct Ended;

type Changes = BoxStream<'static, Result<(Bytes, Change), tonic::Status>>;

/// A subscription that runs until its client leaves, or it may not look any more.
pub struct Feed {
    pub gate: Gate,
    pub caller: Caller,
    pub viewer_id: u64,
    pub channel: Channel,
    pub events: Sender<Event>,
}

impl Feed {
    /// Runs to the end. An answer means that the subscription was refused or has ended for good.
    pub async fn run(self) {
        let leave = self.events.clone();
        tokio::select! {
            () = self.follow() => {}
            () = leave.closed() => {}
        }
    }

    async fn follow(&self) {
        let mut cursor = Bytes::new();
        let mut pause = FIRST_PAUSE;
        loop {
            match self.watch(&cursor).await {
                Ok(changes) => match self.drain(changes, &mut cursor).await {
                    Ok(0) => {}
                    Ok(_) => pause = FIRST_PAUSE,
                    Err(Ended) => return,
                },
                Err(status) if is_final(&status) => return,
                Err(status) => tracing::debug!(code = ?status.code(), "a watch could not be opened"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn watch(&self, cursor: &Bytes) -> Result<Changes, tonic::Status> {
        let options = Some(self.gate.read_as(&self.caller, self.viewer_id).await);
        let mut client = self.gate.deps.timelines.clone();
        let (local, remote, only_media, tag) = match &self.channel {
            Channel::User | Channel::Notifications => {
                let request =
                    timelines::WatchHomeRequest { options, cursor: cursor.clone(), ..Default::default() };
                let stream = client.watch_home(request).await?.into_inner();
                return Ok(stream.map(|told| told.map(of_home)).boxed());
            }
            Channel::Public { local, remote, media } => (*local, *remote, *media, String::new()),
            Channel::Tag { tag, local } => (*local, false, false, tag.clone()),
        };
        let request = timelines::WatchPublicRequest { options, local, remote, only_media, tag };
        let stream = client.watch_public(request).await?.into_inner();
        Ok(stream.map(|told| told.map(|told| (Bytes::new(), of_public(told)))).boxed())
    }

    /// Hands everything on until the watch ends; how many changes that were.
    async fn drain(&self, changes: Changes, cursor: &mut Bytes) -> Result<usize, Ended> {
        let mut handed = 0;
        let mut chunks = changes.ready_chunks(TOGETHER);
        while let Some(chunk) = chunks.next().await {
            let mut ready = Vec::new();
            let mut end = None;
            let mut reached = cursor.clone();
            for told in chunk {
                match told {
                    Ok((at, change)) => {
                        if !at.is_empty() {
                            reached = at;
                        }
                        ready.push(change);
                    }
                    Err(status) => end = Some(status),
                }
            }
            match self.shape(&ready).await {
                Ok(events) => {
                    for event in events {
                        self.events.send(event).await.map_err(|_| Ended)?;
                    }
                    handed += ready.len();
                    *cursor = reached;
                }
                // Not shown yet: the watch is opened again at the old place.
                Err(problem) if problem.status.is_server_error() => return Ok(handed),
                Err(_) => return Err(Ended),
            }
            match end {
                Some(status) if is_final(&status) => return Err(Ended),
                Some(_) => return Ok(handed),
                None => {}
            }
        }
        Ok(handed)
    }

    async fn shape(&self, changes: &[Change]) -> Result<Vec<Event>, Problem> {
        let wants_notes = self.wants_notifications();
        let wants_posts = self.channel != Channel::Notifications;
        let ids: Vec<u64> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Entry(id) | Change::Edited(id) if wants_posts => Some(*id),
                _ => None,
            })
            .collect();
        let notes: Vec<timelines::Notification> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Notified(note) if wants_notes => Some(*note),
                _ => None,
            })
            .collect();
        let reader = Reader::new(&self.gate, &self.caller, self.viewer_id).await;
        let posts = if ids.is_empty() { Vec::new() } else { reader.posts(&ids).await? };
        let statuses: HashMap<String, String> =
            reader.statuses(&posts).await?.into_iter().map(|one| (one.id.clone(), json(&one))).collect();
        let notes: HashMap<String, String> =
            shaped(&reader, &notes).await?.into_iter().map(|one| (one.id.clone(), json(&one))).collect();
        let label = Arc::new(self.channel.label());
        let event = |name, payload| Event { name, payload, label: Arc::clone(&label) };
        let told = changes.iter().filter_map(|change| match change {
            Change::Entry(id) => statuses.get(&id.to_string()).map(|text| event("update", text.clone())),
            Change::Edited(id) => {
                statuses.get(&id.to_string()).map(|text| event("status.update", text.clone()))
            }
            Change::Gone(id) if wants_posts => Some(event("delete", id.to_string())),
            Change::Notified(note) => {
                notes.get(&note.id.to_string()).map(|text| event("notification", text.clone()))
            }
            Change::Gone(_) | Change::Nothing => None,
        });
        Ok(told.collect())
    }

    fn wants_notifications(&self) -> bool {
        let home = matches!(self.channel, Channel::User | Channel::Notifications);
        let scopes = self.caller.token.as_ref().map(|verified| verified.token.scopes.as_slice());
        home && covers(scopes.unwrap_or_default(), "read:notifications")
    }
}

fn json<T: Serialize>(one: &T) -> String {
    serde_json::to_string(one).unwrap_or_default()
}

/// Whether a watch must not be opened again.
fn is_final(status: &tonic::Status) -> bool {
    use tonic::Code;
    matches!(
        status.code(),
        Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::NotFound
            | Code::Unimplemented
    )
}

fn of_home(told: timelines::WatchHomeResponse) -> (Bytes, Change) {
    let change = match told.change {
        Some(Home::Entry(entry)) => Change::Entry(entry.id),
        Some(Home::EditedPostId(id)) => Change::Edited(id),
        Some(Home::Gone(gone)) => Change::Gone(if gone.boost_id == 0 { gone.post_id } else { gone.boost_id }),
        Some(Home::Notification(note)) => Change::Notified(note),
        Some(Home::StillHere(_)) | None => Change::Nothing,
    };
    (told.cursor, change)
}

fn of_public(told: timelines::WatchPublicResponse) -> Change {
    match told.change {
        Some(Public::Entry(entry)) => Change::Entry(entry.id),
        Some(Public::EditedPostId(id)) => Change::Edited(id),
        Some(Public::DeletedPostId(id)) => Change::Gone(id),
        Some(Public::StillHere(_)) | None => Change::Nothing,
    }
}

/// Waits until a token may no longer look, or the process stops.
pub async fn token_ends(gate: &Gate, caller: &Caller, scope: &str) {
    let Some(token) = &caller.token else { return };
    let watch = async {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            match gate.verify(caller.server.id, &token.secret).await {
                Ok(token) => {
                    let caller = Caller { token: Some(token), ..caller.clone() };
                    if caller.actor(scope).is_err() {
                        return;
                    }
                }
                Err(problem) if problem.status.is_client_error() => return,
                // Identity does not answer: who cannot be judged is let go.
                Err(_) => return,
            }
        }
    };
    tokio::select! {
        () = watch => {}
        () = gate.stopping.cancelled() => {}
    }
}
