//! Live streams of homes: what memory's fan-out brings, judged when it is sent. How a stream goes on elsewhere is in
//! `trail`.

use super::App;
use super::clients::Question;
use super::holder::{Otherwise, heard_of, told_of};
use super::live::{Signal, What};
use super::trail::Trail;
use crate::consumer;
use crate::domain::entry::Key;
use crate::domain::memory::Change;
use crate::domain::memory::page::Watched;
use crate::domain::memory::partition::Moment;
use crate::domain::window::Window;
use crate::error;
use crate::wire::entry_to_wire;
use p92_eventlog::membership::Holder as MemberHolder;
use p92_kernel::{Failure, Seq, Service, Shard};
use p92_proto::event::v1::ReadOptions;
use p92_proto::timelines::v1 as proto;
use p92_proto::timelines::v1::watch_home_response::Change as Sent;
use p92_storage::LogKey;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};

/// After this long without anything a sign of life is sent, and the viewer's own standing is looked at.
pub(super) const SILENCE: Duration = Duration::from_secs(3);
/// How long memory may be in doubt before the stream ends.
const DOUBT: Duration = Duration::from_secs(4);

/// One open watch on a home.
pub struct HomeWatch {
    app: Arc<App>,
    options: ReadOptions,
    came: mpsc::Receiver<Signal>,
    heard: broadcast::Receiver<Signal>,
    /// Who holds which slot.
    holders: watch::Receiver<BTreeMap<(Service, Shard), MemberHolder>>,
    trail: Trail,
    /// Posts that were sent lately: of these edits and ends are told.
    shown: HashSet<u64>,
    /// To be sent before anything else.
    first: VecDeque<proto::WatchHomeResponse>,
}

impl std::fmt::Debug for HomeWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HomeWatch").finish_non_exhaustive()
    }
}

impl Drop for HomeWatch {
    fn drop(&mut self) {
        self.came.close();
        if self.app.holder.live.sweep(self.options.viewer_id) {
            self.app.holder.memory.watch(self.options.viewer_id, false);
            // Somebody may have come meanwhile: his flag must stand.
            if self.app.holder.live.is_watched(self.options.viewer_id) {
                self.app.holder.memory.watch(self.options.viewer_id, true);
            }
        }
    }
}

impl App {
    /// Opens a watch on the viewer's home.
    pub async fn watch_home(
        self: &Arc<Self>,
        request: proto::WatchHomeRequest,
    ) -> Result<HomeWatch, Failure> {
        let options = request.options.clone().unwrap_or_default();
        let viewer = options.viewer_id;
        if viewer == 0 {
            return Err(error::no_viewer());
        }
        self.holder.is_asked(viewer, Otherwise::Refused)?;
        let options = self.with_noted(&options);
        if !self.holder.wait_until_it_may(viewer, DOUBT).await {
            return Err(error::watch_again());
        }
        let (came, heard) = (self.holder.live.watch_home(viewer), self.holder.live.watch_all());
        self.holder.memory.watch(viewer, true);
        self.metrics.watch("home");
        let mut watch = HomeWatch {
            app: Arc::clone(self),
            options,
            came,
            heard,
            holders: self.runtime.platform().membership.holders(),
            trail: Trail::begin(&self.holder.marks, self.runtime.platform().shards),
            shown: HashSet::new(),
            first: VecDeque::new(),
        };
        watch.begin(&request).await?;
        Ok(watch)
    }
}

impl HomeWatch {
    fn question(&self) -> Question {
        App::question(&ReadOptions { at_least: Vec::new(), ..self.options.clone() })
    }

    async fn begin(&mut self, request: &proto::WatchHomeRequest) -> Result<(), Failure> {
        self.check_viewer().await?;
        let begun = Trail::settled(&self.app.holder.marks).await;
        if request.cursor.is_empty() {
            self.past(request.after_id, request.notifications_after_id).await?;
        } else {
            self.trail.take_up(&request.cursor)?;
            self.replay(&begun).await?;
        }
        self.trail.replayed(begun);
        self.first.push_back(self.message(Sent::StillHere(proto::StillHere {})));
        Ok(())
    }

    /// What stands above ids that the client knows.
    async fn past(&mut self, after: u64, notifications_after: u64) -> Result<(), Failure> {
        const MOST: usize = 400;
        if after != 0 {
            let window = Window::asked(0, 0, after, MOST);
            let unspecified = proto::TimelineSource::Unspecified;
            let (mut page, _) = self.app.list_home(&self.options, window, unspecified).await?;
            page.reverse();
            for entry in page {
                self.remember(entry.id, entry.post);
                self.first.push_back(without_cursor(Sent::Entry(entry_to_wire(&entry))));
            }
        }
        if notifications_after != 0 {
            let window = Window::asked(0, 0, notifications_after, MOST);
            let filter = super::notifications::Filter::default();
            let mut page = self.app.list_notifications(&self.options, window, &filter).await?;
            page.reverse();
            for notification in page {
                self.remember(notification.id, 0);
                self.first.push_back(without_cursor(Sent::Notification(notification)));
            }
        }
        Ok(())
    }

    /// What the logs say between a cursor and here.
    async fn replay(&mut self, upto: &BTreeMap<LogKey, Seq>) -> Result<(), Failure> {
        let platform = Arc::clone(self.app.runtime.platform());
        for (log, from, upto) in self.trail.behind(upto)? {
            for group in Trail::missed(&platform, log, from).await? {
                for event in group.events.iter().filter(|event| event.position.seq <= upto) {
                    self.replay_event(event).await?;
                }
                if group.last_seq() <= upto {
                    self.trail.told(log, group.last_seq());
                }
            }
        }
        Ok(())
    }

    async fn replay_event(&mut self, event: &p92_eventlog::Recorded) -> Result<(), Failure> {
        let log = p92_eventlog::progress::log_of(event.position);
        for what in self.signals(event)? {
            let signal = Signal { log, seq: event.position.seq, what };
            if let Some(message) = self.heed(&signal).await? {
                self.first.push_back(message);
            }
        }
        Ok(())
    }

    /// What an event would have told this watcher.
    fn signals(&self, event: &p92_eventlog::Recorded) -> Result<Vec<What>, Failure> {
        let change = match event.position.service {
            Service::Posting => consumer::changes_of_posts(event),
            _ => consumer::changes_of_accounts(event),
        };
        let change = change.map_err(Failure::internal)?;
        let viewer = self.options.viewer_id;
        // What the fan-out would have brought: what others wrote has no place here.
        let came = match &change {
            Some(Change::Posted { id, facts }) => Some((Key::post(*id), facts.author)),
            Some(Change::Boosted { id, booster, .. }) => Some((Key::boost(*id), *booster)),
            _ => None,
        };
        let came = came.filter(|(_, by)| *by == viewer || self.app.holder.memory.follows(viewer, *by));
        let mut signals: Vec<What> = came.into_iter().map(|(key, _)| What::Came(key)).collect();
        let told = told_of(event).map_err(Failure::internal)?;
        signals.extend(told.into_iter().filter(|(to, _)| *to == viewer).map(|(_, what)| what));
        signals.extend(heard_of(event, change.as_ref()).map_err(Failure::internal)?);
        Ok(signals)
    }

    /// The next message; `None` when the process stops.
    pub async fn next(&mut self) -> Option<Result<proto::WatchHomeResponse, Failure>> {
        if let Some(message) = self.first.pop_front() {
            return Some(Ok(message));
        }
        let stopping = self.app.runtime.platform().stopping.clone();
        loop {
            self.note_ends();
            let signal = tokio::select! {
                () = stopping.cancelled() => return Some(Err(error::watch_again())),
                signal = self.came.recv() => signal,
                heard = self.heard.recv() => heard.ok(),
                Ok(()) = self.holders.changed() => {
                    // Another holds the slot: the stream goes on there, from the cursor that was sent last.
                    match self.app.holder.is_asked(self.options.viewer_id, Otherwise::Refused) {
                        Ok(()) => continue,
                        Err(_moved) => return Some(Err(error::watch_again())),
                    }
                }
                () = tokio::time::sleep(SILENCE) => {
                    let checked = self.check_viewer().await;
                    return Some(checked.map(|()| self.message(Sent::StillHere(proto::StillHere {}))));
                }
            };
            // Too slow, and told so by the channel: it opens again where it was.
            let Some(signal) = signal else { return Some(Err(error::watch_again())) };
            if self.trail.is_replayed(signal.log, signal.seq) {
                continue;
            }
            match self.heed(&signal).await {
                Ok(Some(message)) => return Some(Ok(message)),
                Ok(None) => {}
                Err(failure) => return Some(Err(failure)),
            }
        }
    }

    /// If nothing waits to be sent, everything applied by now was sent.
    fn note_ends(&mut self) {
        let ends = self.app.holder.marks.ends();
        if self.came.is_empty() && self.heard.is_empty() {
            self.trail.all_sent(ends);
        }
    }

    fn remember(&mut self, id: u64, post: u64) {
        const SHOWN: usize = 1_000;
        self.trail.send(id);
        if self.shown.len() >= SHOWN {
            self.shown.clear();
        }
        if post != 0 {
            self.shown.insert(post);
        }
    }

    fn message(&self, change: Sent) -> proto::WatchHomeResponse {
        proto::WatchHomeResponse { cursor: self.trail.cursor(), change: Some(change) }
    }

    /// What a signal is to the viewer at this moment.
    async fn heed(&mut self, signal: &Signal) -> Result<Option<proto::WatchHomeResponse>, Failure> {
        let viewer = self.options.viewer_id;
        let change = match &signal.what {
            What::Came(key) if self.trail.is_sent(key.id()) => None,
            What::Came(key) => self.entry(*key).await?.map(|entry| {
                self.remember(entry.id, entry.post_id);
                Sent::Entry(entry)
            }),
            What::Told(note) if self.trail.is_sent(note.id) => None,
            What::Told(note) => {
                let note = self.notification(note).await?;
                note.inspect(|note| self.remember(note.id, 0)).map(Sent::Notification)
            }
            What::Edited { post, author } => {
                self.concerns(*post, *author).then_some(Sent::EditedPostId(*post))
            }
            What::Gone { post, boost, by } => self
                .concerns(*post, *by)
                .then_some(Sent::Gone(proto::EntryGone { post_id: *post, boost_id: *boost })),
            What::StateChanged { account } => {
                if *account == viewer {
                    self.check_viewer().await?;
                }
                None
            }
            What::Public { .. } => None,
        };
        Ok(change.map(|change| self.message(change)))
    }

    fn concerns(&self, post: u64, author: u64) -> bool {
        let viewer = self.options.viewer_id;
        author == viewer || self.shown.contains(&post) || self.app.holder.memory.follows(viewer, author)
    }

    /// A candidate as an entry, judged by a memory that is fresh now.
    async fn entry(&self, key: Key) -> Result<Option<proto::TimelineEntry>, Failure> {
        let viewer = self.options.viewer_id;
        for _ in 0..3 {
            if !self.app.holder.wait_until_it_may(viewer, DOUBT).await {
                return Err(error::watch_again());
            }
            let at = Moment { now: self.app.now(), server: self.options.server_id };
            match self.app.holder.memory.judge(viewer, key, at) {
                Watched::Shown(entry) => return Ok(Some(entry_to_wire(&entry))),
                Watched::Hidden => return Ok(None),
                Watched::Lacks(post) => self.app.learn_boosts(viewer, &[post]).await?,
                Watched::Forgotten => return self.merged(key).await,
            }
        }
        Ok(None)
    }

    /// The same out of the views of others: of what was written before this process began memory knows nothing.
    async fn merged(&self, key: Key) -> Result<Option<proto::TimelineEntry>, Failure> {
        let alone = Window {
            below: key.id().saturating_add(1),
            above: key.id().saturating_sub(1),
            ..Window::newest(1)
        };
        let (page, _) = self.app.list_home(&self.options, alone, proto::TimelineSource::Merge).await?;
        Ok(page.first().map(entry_to_wire))
    }

    async fn notification(&self, note: &proto::Notification) -> Result<Option<proto::Notification>, Failure> {
        let standings = self.app.clients.standings(&self.question(), [note.account_id]).await?;
        let shown = standings.get(&note.account_id).is_some_and(|standing| standing.notifies);
        Ok(shown.then_some(*note))
    }

    /// Whoever is suspended or gone watches no more.
    async fn check_viewer(&self) -> Result<(), Failure> {
        let question = Question { viewer: 0, ..self.question() };
        let standings = self.app.clients.standings(&question, [self.options.viewer_id]).await?;
        let gone = standings.get(&self.options.viewer_id).is_none_or(|standing| standing.barred);
        if gone { Err(error::no_viewer()) } else { Ok(()) }
    }
}

/// A part of what was before: whoever breaks off in it begins again with the ids that he knows.
const fn without_cursor(change: Sent) -> proto::WatchHomeResponse {
    proto::WatchHomeResponse { cursor: bytes::Bytes::new(), change: Some(change) }
}
