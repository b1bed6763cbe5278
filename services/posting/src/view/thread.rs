//! What a post answers, and what answers it, within bounds, in the order in which it is read.

use super::posts::{Judged, Posts};
use crate::domain::rules::wanted_in_thread;
use crate::tables;
use bytes::Bytes;
use p92_kernel::Failure;
use p92_proto::event::v1::ReadOptions;
use p92_proto::posting::v1;
use p92_proto::posting::v1::entry_row::Entry;
use p92_storage::{Direction, KeyReader, Range};

/// How much of a thread is shown.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub ancestors: usize,
    pub descendants: usize,
    pub depth: usize,
}

/// For those who are signed in.
const MEMBERS: Bounds = Bounds { ancestors: 4_096, descendants: 4_096, depth: 4_096 };
/// For strangers, who could otherwise have long threads read again and again.
const STRANGERS: Bounds = Bounds { ancestors: 40, descendants: 60, depth: 20 };

/// A thread around a post.
#[derive(Debug, Default)]
pub struct Thread {
    pub ancestors: Vec<v1::Post>,
    pub descendants: Vec<v1::Post>,
    pub tombstones: Vec<v1::Tombstone>,
}

impl Posts {
    /// The thread of a post that the viewer may see.
    pub async fn thread(&self, options: &ReadOptions, post: u64) -> Result<Thread, Failure> {
        let bounds = if options.viewer_id == 0 { STRANGERS } else { MEMBERS };
        let ancestors = self.ancestors(post, bounds).await?;
        let descendants = self.descendants(post, bounds).await?;
        let all: Vec<u64> = ancestors.iter().chain(&descendants).copied().collect();
        let judged = self.judge(options, &all).await?;
        let wanted = |id: &&u64| judged.post(**id).is_some_and(|post| is_wanted(&judged, post));
        let shown_before: Vec<u64> = ancestors.iter().filter(wanted).copied().collect();
        let shown_after: Vec<u64> = descendants.iter().filter(wanted).copied().collect();
        Ok(Thread {
            ancestors: self.show_judged(&judged, &shown_before).await?,
            descendants: self.show_judged(&judged, &shown_after).await?,
            tombstones: all.iter().filter_map(|id| tombstone(&judged, *id)).collect(),
        })
    }

    /// The posts above, the first of the thread first. Deleted ones do not break the chain.
    async fn ancestors(&self, post: u64, bounds: Bounds) -> Result<Vec<u64>, Failure> {
        let mut above = Vec::new();
        let mut at = post;
        while above.len() < bounds.ancestors {
            let parent = match self.entry(at).await?.map(|found| found.entry) {
                Some(Entry::Post(post)) => post.in_reply_to_id,
                Some(Entry::Tombstone(gone)) => gone.in_reply_to_id,
                Some(Entry::Boost(_)) | None => 0,
            };
            // A parent is older than its reply, but what came from elsewhere may claim otherwise.
            if parent == 0 || parent == post || above.contains(&parent) {
                break;
            }
            above.push(parent);
            at = parent;
        }
        above.reverse();
        Ok(above)
    }

    /// The posts below: each reply behind its parent, replies of one parent by id.
    async fn descendants(&self, post: u64, bounds: Bounds) -> Result<Vec<u64>, Failure> {
        let mut below = Vec::new();
        let mut waiting = vec![(post, 0)];
        while let Some((id, depth)) = waiting.pop() {
            if id != post {
                below.push(id);
                if below.len() >= bounds.descendants {
                    break;
                }
            }
            if depth < bounds.depth {
                let mut replies = self.replies(id, bounds.descendants - below.len()).await?;
                replies.retain(|reply| *reply != post);
                waiting.extend(replies.into_iter().rev().map(|reply| (reply, depth + 1)));
            }
        }
        Ok(below)
    }

    async fn replies(&self, parent: u64, most: usize) -> Result<Vec<u64>, Failure> {
        let mut ids = Vec::new();
        let mut after: Option<Bytes> = None;
        while ids.len() < most {
            let (all, limit) = (Range::all(), most - ids.len());
            let scan =
                self.reads.scan(&tables::REPLIES, tables::id(parent), all, Direction::Forward, limit, after);
            let page = scan.await?;
            for (clustering, _) in &page.rows {
                ids.push(KeyReader::new(clustering).num().map_err(Failure::internal)?);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(ids)
    }
}

fn is_wanted(judged: &Judged, post: &v1::PostRow) -> bool {
    let own = judged.viewer.is_some_and(|viewer| viewer.get() == post.author_id);
    wanted_in_thread(own, judged.standings.to(post.author_id))
}

/// What everybody could have seen may be known to have been there.
fn tombstone(judged: &Judged, id: u64) -> Option<v1::Tombstone> {
    let Entry::Tombstone(gone) = judged.entries.get(&id)? else { return None };
    super::change::is_open(gone.visibility()).then_some(v1::Tombstone {
        id,
        author_id: gone.author_id,
        deleted_ms: gone.deleted_ms,
        in_reply_to_id: gone.in_reply_to_id,
    })
}
