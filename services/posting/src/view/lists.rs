//! Pages of lists that are cut into years, newest or oldest end first.

use crate::tables::List;
use bytes::Bytes;
use p92_eventlog::Reads;
use p92_kernel::{Failure, PageSize};
use p92_proto::event::v1::IdWindow;
use p92_storage::{Direction, Range};
use prost::Message;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

/// Which part of a list is asked for, and from which end it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Only ids above this one; 0 for no bound.
    pub above: u64,
    /// Only ids below this one; 0 for no bound.
    pub below: u64,
    /// Whether the ids next to `above` are wanted instead of the newest.
    pub from_below: bool,
    pub limit: usize,
}

impl Window {
    /// What a client asked for, within limits.
    #[must_use]
    pub fn of(asked: Option<&IdWindow>, default: u32, most: u32) -> Self {
        let asked = asked.copied().unwrap_or_default();
        Self {
            above: asked.since_id.max(asked.min_id),
            below: asked.max_id,
            from_below: asked.min_id > 0,
            limit: PageSize::clamp(asked.limit, default, most).get(),
        }
    }

    /// The same window behind this id, in the direction in which it is read.
    #[must_use]
    pub const fn behind(mut self, id: u64) -> Self {
        if self.from_below {
            self.above = id;
        } else {
            self.below = id;
        }
        self
    }

    /// Whether ids can lie in it.
    const fn is_empty(&self) -> bool {
        self.below > 0 && self.below <= self.above.saturating_add(1)
    }

    const fn direction(&self) -> Direction {
        // Clustering keys fall, so the newest stand first.
        if self.from_below { Direction::Backward } else { Direction::Forward }
    }
}

/// Rows of a list within a window, in the direction in which it is read.
pub async fn page<M: Message + Default>(
    reads: &Reads,
    list: &List,
    window: Window,
) -> Result<Vec<(u64, M)>, Failure> {
    let mut out = Vec::new();
    if window.is_empty() {
        return Ok(out);
    }
    for year in years(reads, list, window).await? {
        let missing = window.limit - out.len();
        let range = List::between(window.above, window.below);
        let (partition, direction) = (list.partition(year), window.direction());
        let mut after = None;
        let mut taken = 0;
        // One scan hands out at most a thousand rows.
        while taken < missing {
            let scan =
                reads.scan(list.table, partition.clone(), range.clone(), direction, missing - taken, after);
            let page = scan.await?;
            taken += page.rows.len();
            for (clustering, row) in page.rows {
                out.push((id_at(list, &clustering)?, M::decode(row.value).map_err(Failure::internal)?));
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if out.len() >= window.limit {
            break;
        }
    }
    Ok(out)
}

fn id_at(list: &List, clustering: &[u8]) -> Result<u64, Failure> {
    List::id_at(clustering)
        .ok_or_else(|| Failure::internal(format!("a key of {} has no id", list.table.name)))
}

/// The years of a list that have rows and meet the window, in the direction in which it is read.
async fn years(reads: &Reads, list: &List, window: Window) -> Result<Vec<u16>, Failure> {
    let mut years = BTreeSet::new();
    let mut after: Option<Bytes> = None;
    loop {
        let scan = reads.scan(list.table, list.directory(), Range::all(), Direction::Forward, 1_000, after);
        let page = scan.await?;
        for (clustering, _) in &page.rows {
            years.extend(List::directory_year(clustering));
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let first = if window.above > 0 { List::year(window.above) } else { 0 };
    let last = if window.below > 0 { List::year(window.below) } else { u16::MAX };
    let met = years.range(first..=last).copied();
    Ok(if window.from_below { met.collect() } else { met.rev().collect() })
}

/// One list among those that are merged.
struct Source<M> {
    list: List,
    window: Window,
    read: VecDeque<(u64, M)>,
    ended: bool,
}

/// Rows that each list is asked for at first: most authors have none of the entries of a page, few have many.
const AT_FIRST: usize = 8;

impl<M: Message + Default> Source<M> {
    /// Reads on if nothing is left of what was read.
    async fn fill(&mut self, reads: &Reads) -> Result<(), Failure> {
        if !self.read.is_empty() || self.ended {
            return Ok(());
        }
        let rows = page(reads, &self.list, self.window).await?;
        self.ended = rows.len() < self.window.limit;
        if let Some((last, _)) = rows.last() {
            self.window = self.window.behind(*last);
        }
        self.window.limit = (self.window.limit * 4).min(1_000);
        self.read = rows.into();
        Ok(())
    }
}

/// Rows of many lists within a window, merged by id, those that pass only.
pub async fn merge<M: Message + Default>(
    reads: &Reads,
    lists: Vec<List>,
    window: Window,
    passes: impl Fn(&M) -> bool,
) -> Result<Vec<(u64, M)>, Failure> {
    let mut sources = Vec::with_capacity(lists.len());
    let mut heap = BinaryHeap::new();
    // Ids are turned round if the oldest come first, so that the heap always gives what is wanted next.
    let rank = |id: u64| if window.from_below { u64::MAX - id } else { id };
    for list in lists {
        let limit = AT_FIRST.min(window.limit);
        let mut source: Source<M> =
            Source { list, window: Window { limit, ..window }, read: VecDeque::new(), ended: false };
        source.fill(reads).await?;
        if let Some((id, _)) = source.read.front() {
            heap.push((rank(*id), sources.len()));
        }
        sources.push(source);
    }
    let mut out: Vec<(u64, M)> = Vec::with_capacity(window.limit);
    while out.len() < window.limit {
        let Some((_, at)) = heap.pop() else { break };
        let Some(source) = sources.get_mut(at) else { break };
        let Some((id, row)) = source.read.pop_front() else { break };
        source.fill(reads).await?;
        if let Some((next, _)) = source.read.front() {
            heap.push((rank(*next), at));
        }
        if passes(&row) && out.last().is_none_or(|(last, _)| *last != id) {
            out.push((id, row));
        }
    }
    Ok(out)
}

/// Newest first, whatever the direction in which a page was read.
pub fn newest_first<T>(mut rows: Vec<T>, window: Window) -> Vec<T> {
    if window.from_below {
        rows.reverse();
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_what_clients_mean() {
        let asked = IdWindow { max_id: 9, since_id: 3, min_id: 0, limit: 500 };
        let window = Window::of(Some(&asked), 20, 80);
        assert_eq!(window, Window { above: 3, below: 9, from_below: false, limit: 80 });
        let up = Window::of(Some(&IdWindow { min_id: 3, ..IdWindow::default() }), 20, 80);
        assert_eq!(up, Window { above: 3, below: 0, from_below: true, limit: 20 });
        assert_eq!(up.behind(7).above, 7);
        assert_eq!(window.behind(7).below, 7);
        assert!(Window { above: 3, below: 4, ..window }.is_empty());
        assert!(!Window { above: 3, below: 5, ..window }.is_empty());
    }
}
