//! Rows of its own views that an owner has read, kept while it owns the log.
//!
//! A row of a view has one writing shard, and that shard's owner alone writes it: what it once read, and whatever it wrote
//! since, is what the store says. It must be forgotten with everything else of the shard, and holds no rows that others
//! write.

use bytes::Bytes;
use lru::LruCache;
use p92_kernel::Seq;
use p92_storage::RowKey;
use parking_lot::Mutex;
use std::num::NonZeroUsize;

/// How many rows are kept for each log.
const ROWS: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
/// Larger ones are read each time.
const BYTES: usize = 2_048;

/// A row and its stamp; `None` if there is none.
pub type Stored = Option<(Bytes, Seq)>;

/// Rows by their physical place: the two tables of a view differ until a rebuild has ended.
#[derive(Debug)]
pub struct Known(Mutex<LruCache<RowKey, Stored>>);

impl Default for Known {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(ROWS)))
    }
}

impl Known {
    /// What the store says of a row, if it is known.
    pub fn get(&self, key: &RowKey) -> Option<Stored> {
        self.0.lock().get(key).cloned()
    }

    /// A row was read.
    pub fn read(&self, key: RowKey, stored: &Stored) {
        if fits(stored) {
            self.0.lock().put(key, stored.clone());
        }
    }

    /// The store has acknowledged a row. Those that were never read are not kept: most are not read again.
    pub fn wrote(&self, key: &RowKey, stored: Stored) {
        let mut rows = self.0.lock();
        if !fits(&stored) {
            rows.pop(key);
        } else if let Some(known) = rows.peek_mut(key) {
            *known = stored;
        }
    }

    /// The shard may be another's.
    pub fn clear(&self) {
        self.0.lock().clear();
    }
}

fn fits(stored: &Stored) -> bool {
    stored.as_ref().is_none_or(|(value, _)| value.len() <= BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables;
    use p92_kernel::Service;
    use p92_storage::{Key, Side};

    fn key(name: &str) -> RowKey {
        RowKey::new(tables::keys(Service::Posting).side(Side::A), Key::new().text(name), Bytes::new())
    }

    fn row(value: &'static [u8], at: u64) -> Stored {
        Some((Bytes::from_static(value), Seq(at)))
    }

    #[test]
    fn what_was_read_is_known_as_it_was_written_last() {
        let known = Known::default();
        known.read(key("counted"), &None);
        assert_eq!(known.get(&key("counted")), Some(None), "that there is none is known too");
        known.wrote(&key("counted"), row(b"1", 7));
        assert_eq!(known.get(&key("counted")), Some(row(b"1", 7)));
        let other = RowKey { table: tables::keys(Service::Posting).side(Side::B), ..key("counted") };
        assert_eq!(known.get(&other), None, "the other table of the view is another place");
        known.wrote(&key("counted"), None);
        assert_eq!(known.get(&key("counted")), Some(None));
        known.clear();
        assert_eq!(known.get(&key("counted")), None);
    }

    #[test]
    fn neither_what_was_never_read_is_kept_nor_what_is_large() {
        let known = Known::default();
        known.wrote(&key("new"), row(b"1", 1));
        assert_eq!(known.get(&key("new")), None);
        known.read(key("grows"), &row(b"1", 1));
        known.wrote(&key("grows"), row(&[0; BYTES + 1], 2));
        assert_eq!(known.get(&key("grows")), None, "what it was before is wrong now");
    }
}
