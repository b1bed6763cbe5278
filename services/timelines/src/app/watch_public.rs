//! Live streams of public and tag timelines: what everybody hears, judged when it is sent. How a stream goes on elsewhere is
//! in `trail`.

use super::App;
use super::holder::heard_of;
use super::live::{Signal, What};
use super::public::Origin;
use super::trail::Trail;
use super::watch::SILENCE;
use crate::{consumer, error};
use bytes::Bytes;
use p92_eventlog::Recorded;
use p92_kernel::{Failure, Seq, Service};
use p92_proto::event::v1::ReadOptions;
use p92_proto::timelines::v1 as proto;
use p92_storage::LogKey;
use proto::watch_public_response::Change;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use tokio::sync::broadcast;

/// One open watch on a public or tag timeline.
#[derive(Debug)]
pub struct PublicWatch {
    app: Arc<App>,
    options: ReadOptions,
    origin: Origin,
    tag: String,
    heard: broadcast::Receiver<Signal>,
    trail: Trail,
    /// Posts that were sent lately: of these edits and ends are told.
    shown: HashSet<u64>,
    /// To be sent before anything else.
    first: VecDeque<proto::WatchPublicResponse>,
}

impl App {
    /// Opens a watch on a public or tag timeline, or goes on with one behind a cursor.
    pub async fn watch_public(
        self: &Arc<Self>,
        options: ReadOptions,
        origin: Origin,
        tag: String,
        cursor: &Bytes,
    ) -> Result<PublicWatch, Failure> {
        self.metrics.watch("public");
        let mut watch = PublicWatch {
            app: Arc::clone(self),
            options,
            origin,
            tag,
            heard: self.holder.live.watch_all(),
            trail: Trail::begin(&self.holder.marks, self.runtime.platform().shards),
            shown: HashSet::new(),
            first: VecDeque::new(),
        };
        watch.begin(cursor).await?;
        Ok(watch)
    }
}

impl PublicWatch {
    async fn begin(&mut self, cursor: &Bytes) -> Result<(), Failure> {
        let begun = Trail::settled(&self.app.holder.marks).await;
        if !cursor.is_empty() {
            self.trail.take_up(cursor)?;
            self.shown = self.trail.shown().collect();
            self.replay(&begun).await?;
        }
        self.trail.replayed(begun);
        self.first.push_back(self.message(Change::StillHere(proto::StillHere {})));
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

    async fn replay_event(&mut self, event: &Recorded) -> Result<(), Failure> {
        // Of identity's events none is told here.
        if event.position.service != Service::Posting {
            return Ok(());
        }
        let change = consumer::changes_of_posts(event).map_err(Failure::internal)?;
        for what in heard_of(event, change.as_ref()).map_err(Failure::internal)? {
            if let Some(change) = self.heed(&what).await? {
                self.first.push_back(self.message(change));
            }
        }
        Ok(())
    }

    fn message(&self, change: Change) -> proto::WatchPublicResponse {
        proto::WatchPublicResponse { cursor: self.trail.cursor(), change: Some(change) }
    }

    /// The next message.
    pub async fn next(&mut self) -> Option<Result<proto::WatchPublicResponse, Failure>> {
        if let Some(message) = self.first.pop_front() {
            return Some(Ok(message));
        }
        let stopping = self.app.runtime.platform().stopping.clone();
        loop {
            let ends = self.app.holder.marks.ends();
            if self.heard.is_empty() {
                self.trail.all_sent(ends);
            }
            let heard = tokio::select! {
                () = stopping.cancelled() => return Some(Err(error::watch_again())),
                heard = self.heard.recv() => heard,
                () = tokio::time::sleep(SILENCE) => {
                    return Some(Ok(self.message(Change::StillHere(proto::StillHere {}))));
                }
            };
            // Too slow, and told so by the channel: it opens again where it was.
            let Ok(signal) = heard else { return Some(Err(error::watch_again())) };
            if self.trail.is_replayed(signal.log, signal.seq) {
                continue;
            }
            match self.heed(&signal.what).await {
                Ok(Some(change)) => return Some(Ok(self.message(change))),
                Ok(None) => {}
                Err(failure) => return Some(Err(failure)),
            }
        }
    }

    async fn heed(&mut self, what: &What) -> Result<Option<Change>, Failure> {
        const SHOWN: usize = 1_000;
        Ok(match *what {
            What::Public { post, author, server, to_others, tagged } => {
                if self.trail.is_sent(post) || !self.is_shown(post, author, server, to_others, tagged).await?
                {
                    return Ok(None);
                }
                if self.shown.len() >= SHOWN {
                    self.shown.clear();
                }
                self.shown.insert(post);
                self.trail.send(post);
                self.trail.show(post);
                Some(Change::Entry(proto::TimelineEntry {
                    id: post,
                    post_id: post,
                    author_id: author,
                    ..proto::TimelineEntry::default()
                }))
            }
            What::Edited { post, .. } if self.shown.contains(&post) => Some(Change::EditedPostId(post)),
            What::Gone { post, boost: 0, .. } if self.shown.contains(&post) => {
                Some(Change::DeletedPostId(post))
            }
            _ => None,
        })
    }

    async fn is_shown(
        &self,
        post: u64,
        author: u64,
        home: u64,
        to_others: bool,
        tagged: bool,
    ) -> Result<bool, Failure> {
        let question = App::question(&ReadOptions { at_least: Vec::new(), ..self.options.clone() });
        // Posts have no media yet, so a stream of media stays silent.
        if self.origin.only_media || !self.origin.wants(home, self.options.server_id) {
            return Ok(false);
        }
        if self.tag.is_empty() {
            return Ok(!to_others && self.app.may_show(&question, author).await?);
        }
        Ok(tagged
            && self.app.may_show(&question, author).await?
            && self.app.is_tagged(&question, post, &self.tag).await?)
    }
}
