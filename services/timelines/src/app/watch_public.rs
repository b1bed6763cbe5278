//! Live streams of public and tag timelines: what everybody hears, judged when it is sent. They have no cursor: whoever
//! breaks off reads the timeline and opens anew.

use super::App;
use super::live::{Signal, What};
use super::public::Origin;
use super::watch::SILENCE;
use crate::error;
use p92_kernel::Failure;
use p92_proto::event::v1::ReadOptions;
use p92_proto::timelines::v1 as proto;
use std::collections::HashSet;
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
    opened: bool,
    shown: HashSet<u64>,
}

impl App {
    /// Opens a watch on a public or tag timeline.
    pub fn watch_public(self: &Arc<Self>, options: ReadOptions, origin: Origin, tag: String) -> PublicWatch {
        self.metrics.watch("public");
        let heard = self.holder.live.watch_all();
        PublicWatch {
            app: Arc::clone(self),
            options,
            origin,
            tag,
            heard,
            opened: false,
            shown: HashSet::new(),
        }
    }
}

impl PublicWatch {
    /// The next message.
    pub async fn next(&mut self) -> Option<Result<proto::WatchPublicResponse, Failure>> {
        use proto::watch_public_response::Change;
        let message = |change| Some(Ok(proto::WatchPublicResponse { change: Some(change) }));
        if !self.opened {
            self.opened = true;
            return message(Change::StillHere(proto::StillHere {}));
        }
        let stopping = self.app.runtime.platform().stopping.clone();
        loop {
            let heard = tokio::select! {
                () = stopping.cancelled() => return Some(Err(error::watch_again())),
                heard = self.heard.recv() => heard,
                () = tokio::time::sleep(SILENCE) => return message(Change::StillHere(proto::StillHere {})),
            };
            let Ok(signal) = heard else { return Some(Err(error::watch_again())) };
            match self.heed(&signal.what).await {
                Ok(Some(change)) => return message(change),
                Ok(None) => {}
                Err(failure) => return Some(Err(failure)),
            }
        }
    }

    async fn heed(&mut self, what: &What) -> Result<Option<proto::watch_public_response::Change>, Failure> {
        use proto::watch_public_response::Change;
        const SHOWN: usize = 1_000;
        Ok(match *what {
            What::Public { post, author, server, to_others, tagged } => {
                if !self.is_shown(post, author, server, to_others, tagged).await? {
                    return Ok(None);
                }
                if self.shown.len() >= SHOWN {
                    self.shown.clear();
                }
                self.shown.insert(post);
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
