//! One subscription: watches at timelines, and hands on what changed in the shape of a door.
//!
//! A watch that breaks is opened again where it stopped. What cannot be kept up with waits: the watch is not read on
//! until the client has taken what it was sent. It refuses to know how a door writes an event.

use super::channel::Channel;
use crate::door::caller::{Caller, covers};
use crate::error::Problem;
use crate::gate::Gate;
use crate::mastodon::hydrate::Reader;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};
use p92_proto::timelines::v1 as timelines;
use std::future::Future;
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

/// Something that happened, whichever watch told it.
#[derive(Clone, Debug)]
pub enum Change {
    Entry(u64),
    Edited(u64),
    Gone(u64),
    Notified(timelines::Notification),
    /// A sign of life, or something that this subscription does not want.
    Nothing,
}

/// A change, and where a watch goes on behind it.
#[derive(Clone, Debug)]
pub struct Told {
    /// Empty within what was before the watch: whoever breaks off there begins again.
    pub cursor: Bytes,
    pub change: Change,
}

/// What a door makes of changes.
pub trait Shape: Send + Sync + 'static {
    type Event: Send + 'static;
    /// Events for these changes, read for the viewer; what he may not see is left out. A server error means: not now.
    fn shape(
        &self,
        reader: &Reader<'_>,
        told: &[Told],
    ) -> impl Future<Output = Result<Vec<Self::Event>, Problem>> + Send;
}

/// The posts that changes name, by one call.
pub async fn posts_of(
    reader: &Reader<'_>,
    told: &[Told],
) -> Result<Vec<p92_proto::posting::v1::Post>, Problem> {
    let named = |told: &Told| match told.change {
        Change::Entry(id) | Change::Edited(id) => Some(id),
        _ => None,
    };
    let ids: Vec<u64> = told.iter().filter_map(named).collect();
    if ids.is_empty() { Ok(Vec::new()) } else { reader.posts(&ids).await }
}

/// The notifications among changes.
#[must_use]
pub fn notes_of(told: &[Told]) -> Vec<timelines::Notification> {
    let note = |told: &Told| match told.change {
        Change::Notified(note) => Some(note),
        _ => None,
    };
    told.iter().filter_map(note).collect()
}

/// The subscription is over: its client left, or may not look any more.
struct Ended;

type Changes = BoxStream<'static, Result<Told, tonic::Status>>;

/// A subscription that runs until its client leaves, or it may not look any more.
pub struct Feed<S: Shape> {
    pub gate: Gate,
    pub caller: Caller,
    pub viewer_id: u64,
    pub channel: Channel,
    pub shape: S,
    /// Where to go on; empty for only what happens from now on.
    pub cursor: Bytes,
    pub events: Sender<S::Event>,
}

impl<S: Shape> Feed<S> {
    /// Runs to the end. An answer means that the subscription was refused or has ended for good.
    pub async fn run(self) {
        let leave = self.events.clone();
        tokio::select! {
            () = self.follow() => {}
            () = leave.closed() => {}
        }
    }

    async fn follow(&self) {
        let mut cursor = self.cursor.clone();
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
        let cursor = cursor.clone();
        let request = timelines::WatchPublicRequest { options, local, remote, only_media, tag, cursor };
        let stream = client.watch_public(request).await?.into_inner();
        Ok(stream.map(|told| told.map(of_public)).boxed())
    }

    /// Hands everything on until the watch ends; how many changes that were.
    async fn drain(&self, changes: Changes, cursor: &mut Bytes) -> Result<usize, Ended> {
        let mut handed = 0;
        let mut chunks = changes.ready_chunks(TOGETHER);
        while let Some(chunk) = chunks.next().await {
            let mut ready = Vec::new();
            let mut end = None;
            for told in chunk {
                match told {
                    Ok(told) => ready.push(self.wanted(told)),
                    Err(status) => end = Some(status),
                }
            }
            let reader = Reader::new(&self.gate, &self.caller, self.viewer_id).await;
            match self.shape.shape(&reader, &ready).await {
                Ok(events) => {
                    for event in events {
                        self.events.send(event).await.map_err(|_| Ended)?;
                    }
                    handed += ready.len();
                    if let Some(told) = ready.into_iter().rfind(|told| !told.cursor.is_empty()) {
                        *cursor = told.cursor;
                    }
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

    /// The change, or nothing in its place if this subscription does not want it.
    fn wanted(&self, told: Told) -> Told {
        let wanted = match told.change {
            Change::Notified(_) => self.wants_notifications(),
            _ => self.channel != Channel::Notifications,
        };
        if wanted { told } else { Told { change: Change::Nothing, ..told } }
    }

    fn wants_notifications(&self) -> bool {
        let home = matches!(self.channel, Channel::User | Channel::Notifications);
        let scopes = self.caller.token.as_ref().map(|verified| verified.token.scopes.as_slice());
        home && covers(scopes.unwrap_or_default(), "read:notifications")
    }
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

fn of_home(told: timelines::WatchHomeResponse) -> Told {
    let change = match told.change {
        Some(Home::Entry(entry)) => Change::Entry(entry.id),
        Some(Home::EditedPostId(id)) => Change::Edited(id),
        Some(Home::Gone(gone)) => Change::Gone(if gone.boost_id == 0 { gone.post_id } else { gone.boost_id }),
        Some(Home::Notification(note)) => Change::Notified(note),
        Some(Home::StillHere(_)) | None => Change::Nothing,
    };
    Told { cursor: told.cursor, change }
}

fn of_public(told: timelines::WatchPublicResponse) -> Told {
    let change = match told.change {
        Some(Public::Entry(entry)) => Change::Entry(entry.id),
        Some(Public::EditedPostId(id)) => Change::Edited(id),
        Some(Public::DeletedPostId(id)) => Change::Gone(id),
        Some(Public::StillHere(_)) | None => Change::Nothing,
    };
    Told { cursor: told.cursor, change }
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
