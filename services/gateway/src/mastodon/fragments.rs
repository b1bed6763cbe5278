//! Statuses as they are written to apps, remembered for at most a second without what the viewer did with them.
//!
//! In: statuses that somebody has just read, as `entity::status` cuts them. Out: the same bytes for the next reader of the
//! same server, with his own marks put in. It holds nothing but what is for everybody (public and unlisted posts), so
//! whether a viewer may see one is asked of timelines, not of it; and it does not know what stands in a status. What is read afresh takes the place of what is remembered, so that nobody who reads
//! through this process sees something older than before.

use moka::ops::compute::Op;
use moka::sync::Cache;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of fragments that are remembered at most.
const MOST_BYTES: u64 = 32 * 1024 * 1024;
/// What a remembered id costs beside its bytes.
const OVERHEAD: usize = 200;

/// A status without the viewer's marks, open at its end.
#[derive(Debug)]
pub struct Fragment {
    /// The post whose marks belong in it: of a boost, what it wraps.
    pub marked: u64,
    /// Who wrote it, and who boosted it.
    pub authors: [u64; 2],
    /// For a boost: up to the status that it wraps, and that status, open at its end.
    pub wrapped: Option<(String, String)>,
    /// What follows, or everything.
    pub rest: String,
}

#[derive(Clone, Debug)]
struct Remembered {
    /// When the read began that it comes from.
    began: Instant,
    /// `None`: read afresh by somebody, but not written.
    fragment: Option<Arc<Fragment>>,
}

/// What is remembered, by server and id of the post or boost.
#[derive(Clone, Debug)]
pub struct Fragments {
    cache: Cache<(u64, u64), Remembered>,
    lives: Duration,
}

impl Fragments {
    /// Fragments that live so long.
    #[must_use]
    pub fn new(lives: Duration) -> Self {
        let weight = |_: &(u64, u64), one: &Remembered| {
            let bytes = one.fragment.as_ref().map_or(0, |fragment| fragment.bytes());
            u32::try_from(bytes + OVERHEAD).unwrap_or(u32::MAX)
        };
        let cache = Cache::builder().max_capacity(MOST_BYTES).weigher(weight).time_to_live(lives).build();
        Self { cache, lives }
    }

    /// What is remembered of an id from a read that began after this moment.
    pub fn get(&self, server: u64, id: u64, after: Option<Instant>) -> Option<Arc<Fragment>> {
        let one = self.cache.get(&(server, id))?;
        let fragment = one.fragment?;
        if one.began.elapsed() >= self.lives || after.is_some_and(|after| one.began <= after) {
            return None;
        }
        // A boost shows another post, which may have been read afresh since.
        if fragment.wrapped.is_some()
            && let Some(other) = self.cache.get(&(server, fragment.marked))
            && other.began > one.began
        {
            return None;
        }
        Some(fragment)
    }

    /// An id was read afresh by a read that began at this moment: what is older is forgotten.
    pub fn read(&self, server: u64, id: u64, began: Instant) {
        self.put(server, id, Remembered { began, fragment: None });
    }

    /// Remembers what a read that began at this moment found.
    pub fn remember(&self, server: u64, id: u64, fragment: Fragment, began: Instant) {
        self.put(server, id, Remembered { began, fragment: Some(Arc::new(fragment)) });
    }

    fn put(&self, server: u64, id: u64, new: Remembered) {
        let newest = |old: Option<moka::Entry<(u64, u64), Remembered>>| {
            let older = old.is_none_or(|old| old.value().began <= new.began);
            if older { Op::Put(new) } else { Op::Nop }
        };
        self.cache.entry((server, id)).and_compute_with(newest);
    }
}

impl Fragment {
    /// Whether it shows something that this account wrote, of which it must see more, and at once.
    #[must_use]
    pub fn is_by(&self, account: u64) -> bool {
        self.authors.contains(&account)
    }

    fn bytes(&self) -> usize {
        let wrapped = self.wrapped.as_ref().map_or(0, |(before, within)| before.len() + within.len());
        self.rest.len() + wrapped
    }

    /// The whole status with the viewer's marks, which are fields without an object around; empty for a stranger.
    pub fn write(&self, marks: &str, to: &mut String) {
        let close = |to: &mut String| {
            if !marks.is_empty() {
                to.push(',');
                to.push_str(marks);
            }
            to.push('}');
        };
        if let Some((before, within)) = &self.wrapped {
            to.push_str(before);
            to.push_str(within);
            close(to);
        }
        to.push_str(&self.rest);
        close(to);
    }
}
