//! Statuses as they are written to apps, remembered for at most a second without what the viewer did with them.
//!
//! In: statuses that somebody has just read. Out: the same bytes for the next reader of the same server, with his own
//! marks put in. It holds nothing but what is for everybody (public and unlisted posts), so whether a viewer may see one is
//! asked of timelines, not of it. What is read afresh takes the place of what is remembered, so that nobody who reads
//! through this process sees something older than before.

use super::entity::status::{Marks, Status};
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
    authors: [u64; 2],
    /// For a boost: up to the status that it wraps, and that status, open at its end.
    wrapped: Option<(String, String)>,
    rest: String,
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

    /// Remembers a status, if it is one that everybody may see.
    pub fn remember(&self, server: u64, status: &Status, began: Instant) {
        if let (Ok(id), Some(fragment)) = (status.id.parse(), Fragment::of(status)) {
            self.put(server, id, Remembered { began, fragment: Some(Arc::new(fragment)) });
        }
    }

    fn put(&self, server: u64, id: u64, new: Remembered) {
        let newest = |old: Option<moka::Entry<(u64, u64), Remembered>>| {
            let older = old.is_none_or(|old| old.value().began <= new.began);
            if older { Op::Put(new) } else { Op::Nop }
        };
        self.cache.entry((server, id)).and_compute_with(newest);
    }
}

/// The fields of an object, behind other fields and open at the end.
fn open(json: &str) -> Option<&str> {
    json.strip_suffix('}')
}

fn for_everybody(status: &Status) -> bool {
    matches!(status.visibility, "public" | "unlisted")
        && status.text.is_none()
        && status.reblog.as_deref().is_none_or(for_everybody)
}

impl Fragment {
    /// `None` if it is not for everybody, or cannot be written.
    fn of(status: &Status) -> Option<Self> {
        if !for_everybody(status) {
            return None;
        }
        let bare = Status { viewer: None, reblog: None, ..status.clone() };
        let json = serde_json::to_string(&bare).ok()?;
        let author = bare.account.id.parse().ok()?;
        let Some(inner) = status.reblog.as_deref() else {
            let marked = status.id.parse().ok()?;
            return Some(Self { marked, authors: [author; 2], wrapped: None, rest: open(&json)?.to_owned() });
        };
        // Quotes within texts are written as `\"`, so this stands nowhere else.
        let (before, after) = json.split_once("\"reblog\":null")?;
        let within = serde_json::to_string(&Status { viewer: None, ..inner.clone() }).ok()?;
        Some(Self {
            marked: inner.id.parse().ok()?,
            authors: [author, inner.account.id.parse().ok()?],
            wrapped: Some((format!("{before}\"reblog\":"), open(&within)?.to_owned())),
            rest: open(after)?.to_owned(),
        })
    }

    /// Whether it shows something that this account wrote, of which it must see more, and at once.
    #[must_use]
    pub fn is_by(&self, account: u64) -> bool {
        self.authors.contains(&account)
    }

    fn bytes(&self) -> usize {
        let wrapped = self.wrapped.as_ref().map_or(0, |(before, within)| before.len() + within.len());
        self.rest.len() + wrapped
    }

    /// The whole status with the viewer's marks; without any for a stranger.
    pub fn write(&self, marks: Option<&Marks>, to: &mut String) {
        let marks = marks.and_then(|marks| serde_json::to_string(marks).ok());
        let marks = marks.as_deref().and_then(|json| json.strip_prefix('{')).and_then(open);
        let close = |to: &mut String| {
            if let Some(marks) = marks {
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
