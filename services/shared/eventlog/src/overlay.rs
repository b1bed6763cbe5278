//! Rows that are decided or appended but not yet acknowledged by the store, laid over whatever the owner reads.
//!
//! Loading without it would decide on a state older than the log (mutant `NoOverlay` of the model).

use bytes::Bytes;
use p92_kernel::Seq;
use p92_storage::{Range, Table};
use std::collections::BTreeMap;
use std::ops::Bound;

/// A row by its logical table; the sides of a view share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub table: &'static str,
    pub partition: Bytes,
    pub clustering: Bytes,
}

/// What is written there, by the event at which position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Laid {
    pub table: &'static Table,
    pub value: Option<Bytes>,
    pub at: Seq,
}

/// Writes by place, the latest of each.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    rows: BTreeMap<Place, Laid>,
    rests_on_reads: bool,
}

impl Overlay {
    /// Lays a row over what was there.
    pub fn lay(&mut self, place: Place, laid: Laid) {
        self.rows.insert(place, laid);
    }

    /// What is laid at a place.
    #[must_use]
    pub fn get(&self, place: &Place) -> Option<&Laid> {
        self.rows.get(place)
    }

    /// Lays all rows of `newer` over these.
    pub fn absorb(&mut self, newer: Self) {
        self.rows.extend(newer.rows);
        self.rests_on_reads |= newer.rests_on_reads;
    }

    /// Whether these rows would be others if the rows that stood before had been others; see `notes`.
    #[must_use]
    pub const fn rests_on_reads(&self) -> bool {
        self.rests_on_reads
    }

    /// A row was read to compute these.
    pub const fn has_read(&mut self) {
        self.rests_on_reads = true;
    }

    /// Takes away the rows that the store has acknowledged, those up to `applied`, and tells of each.
    pub fn acknowledged(&mut self, applied: Seq, mut tell: impl FnMut(&Place, &Laid)) {
        self.rows.retain(|place, laid| {
            let open = laid.at > applied;
            if !open {
                tell(place, laid);
            }
            open
        });
    }

    /// Takes everything away.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.rests_on_reads = false;
    }

    /// Whether nothing is laid.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Every row in the order of tables and keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Place, &Laid)> {
        self.rows.iter()
    }

    /// The rows of a partition within a range of clustering keys.
    pub fn range<'a>(
        &'a self,
        table: &'static Table,
        partition: &Bytes,
        range: &Range,
    ) -> impl DoubleEndedIterator<Item = (&'a Bytes, &'a Laid)> {
        let place = |clustering: &Bytes| Place {
            table: table.name,
            partition: partition.clone(),
            clustering: clustering.clone(),
        };
        let from = Bound::Included(place(range.from.as_ref().unwrap_or(&Bytes::new())));
        let to = match &range.to {
            Some(to) => Bound::Excluded(place(to)),
            // Keys are at most 512 bytes, so this is behind every one of the partition.
            None => Bound::Included(place(&Bytes::from_static(&[0xff; 600]))),
        };
        let empty = matches!((&from, &to), (Bound::Included(a), Bound::Excluded(b)) if a >= b);
        let to = if empty { from_to_excluded(&from) } else { to };
        self.rows.range((from, to)).map(|(place, laid)| (&place.clustering, laid))
    }
}

/// The same border from the other side: an empty range where the asked one was reversed.
fn from_to_excluded(from: &Bound<Place>) -> Bound<Place> {
    match from {
        Bound::Included(place) | Bound::Excluded(place) => Bound::Excluded(place.clone()),
        Bound::Unbounded => Bound::Unbounded,
    }
}
