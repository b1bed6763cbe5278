//! The newest candidates of one home: keys of eight bytes, sorted, in a buffer whose size is a power of two.
//!
//! Candidates, not entries: what the viewer may not see is left out on reading, so that an unfollow, a block or a mute
//! changes nothing here and can be taken back. A ring knows everything from its oldest key on, or everything at all.

use crate::domain::entry::Key;
use std::sync::atomic::{AtomicU16, Ordering};

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It stands in the ring.
    Stands,
    /// It stood there already.
    Double,
    /// It is older than what the ring knows.
    TooOld,
}

const WHOLE: u8 = 1;
const BUSY: u8 = 2;

/// A ring: 24 bytes and the buffer.
#[derive(Debug, Default)]
pub struct Ring {
    buffer: Box<[u64]>,
    /// Where the oldest key stands.
    head: u16,
    len: u16,
    /// When it was last read, in minutes; wraps after 45 days.
    seen: AtomicU16,
    flags: u8,
    /// Two to this power is the largest size.
    most: u8,
}

impl Ring {
    /// The largest power of two that a ring can have.
    pub const MOST: u8 = 14;

    /// A ring that knows everything that comes from now on, of at most `2^most` keys.
    #[must_use]
    pub fn new(most: u8) -> Self {
        Self { flags: WHOLE, most: most.min(Self::MOST), ..Self::default() }
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether nothing older than its keys exists.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.flags & WHOLE != 0
    }

    /// Whether it may not answer, because something is still to be merged in.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.flags & BUSY != 0
    }

    /// Says whether something is still to be merged in.
    pub const fn set_busy(&mut self, busy: bool) {
        if busy { self.flags |= BUSY } else { self.flags &= !BUSY }
    }

    /// When it was last read, in minutes.
    #[must_use]
    pub fn seen(&self) -> u16 {
        self.seen.load(Ordering::Relaxed)
    }

    /// It was read. Readers share the ring, hence no `&mut`.
    pub fn see(&self, minute: u16) {
        self.seen.store(minute, Ordering::Relaxed);
    }

    /// Bytes that it takes, the buffer included.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<u64>() * self.buffer.len()
    }

    /// Whether everything above this id is known.
    #[must_use]
    pub fn covers_above(&self, id: u64) -> bool {
        self.is_whole() || self.at(0).is_some_and(|oldest| oldest.id() <= id.saturating_add(1))
    }

    fn place(&self, index: usize) -> usize {
        (usize::from(self.head) + index) & self.buffer.len().wrapping_sub(1)
    }

    /// The key at an index, from the oldest.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<Key> {
        if index >= self.len() {
            return None;
        }
        self.buffer.get(self.place(index)).copied().map(Key::from_raw)
    }

    /// How many keys are below `key`.
    #[must_use]
    pub fn below(&self, key: Key) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.at(middle).is_some_and(|found| found < key) { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Adds a key. New ones are usually the newest, which is the short way.
    pub fn push(&mut self, key: Key) -> Pushed {
        match self.len().checked_sub(1).and_then(|last| self.at(last)) {
            Some(newest) if newest > key => self.push_between(key),
            Some(newest) if newest == key => Pushed::Double,
            _ => {
                self.make_room();
                let place = self.place(self.len());
                self.write(place, key);
                self.len += 1;
                Pushed::Stands
            }
        }
    }

    fn push_between(&mut self, key: Key) -> Pushed {
        let index = self.below(key);
        if self.at(index) == Some(key) {
            return Pushed::Double;
        }
        let full = self.buffer.len() == 1 << self.most && self.len() == self.buffer.len();
        if index == 0 && (full || !self.is_whole()) {
            // A full ring would drop it at once, and knows nothing older from now on.
            self.flags &= !WHOLE;
            return Pushed::TooOld;
        }
        let index = if self.make_room() { index - 1 } else { index };
        let mut at = self.len();
        while at > index {
            let moved = self.at_raw(at - 1);
            let place = self.place(at);
            self.write(place, moved);
            at -= 1;
        }
        let place = self.place(index);
        self.write(place, key);
        self.len += 1;
        Pushed::Stands
    }

    fn at_raw(&self, index: usize) -> Key {
        Key::from_raw(self.buffer.get(self.place(index)).copied().unwrap_or_default())
    }

    fn write(&mut self, place: usize, key: Key) {
        if let Some(slot) = self.buffer.get_mut(place) {
            *slot = key.raw();
        }
    }

    /// Makes room for one more; true if the oldest key had to go.
    fn make_room(&mut self) -> bool {
        if self.len() < self.buffer.len() {
            return false;
        }
        if self.buffer.len() < 1 << self.most {
            let size = (self.buffer.len() * 2).clamp(8.min(1 << self.most), 1 << self.most);
            let mut grown = Vec::with_capacity(size);
            grown.extend((0..self.len()).map(|index| self.at_raw(index).raw()));
            grown.resize(size, 0);
            self.buffer = grown.into_boxed_slice();
            self.head = 0;
            return false;
        }
        self.forget_oldest();
        true
    }

    fn forget_oldest(&mut self) {
        self.head = u16::try_from(self.place(1)).unwrap_or(0);
        self.len = self.len.saturating_sub(1);
        self.flags &= !WHOLE;
    }

    /// From now on the ring knows nothing below this key.
    pub fn forget_below(&mut self, key: Key) {
        self.flags &= !WHOLE;
        for _ in 0..self.below(key) {
            self.forget_oldest();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_ring_holds_the_newest_and_knows_how_far(ids in proptest::collection::vec(1_u64..60, 0..120)) {
            let (mut ring, mut all) = (Ring::new(4), BTreeSet::new());
            for id in ids {
                let key = Key::post(id);
                let pushed = ring.push(key);
                let new = all.insert(key);
                if pushed == Pushed::Stands {
                    prop_assert!(new);
                }
                let kept: Vec<Key> = (0..ring.len()).filter_map(|index| ring.at(index)).collect();
                let known: Vec<Key> = match (ring.is_whole(), kept.first()) {
                    (true, _) | (_, None) => all.iter().copied().collect(),
                    (false, Some(oldest)) => all.range(*oldest..).copied().collect(),
                };
                prop_assert_eq!(kept, known);
                prop_assert!(ring.is_whole() || !ring.is_empty());
                prop_assert_eq!(ring.covers_above(0), ring.is_whole() || ring.at(0) == Some(Key::post(1)));
            }
        }
    }

    #[test]
    fn a_ring_costs_what_was_promised() {
        let mut ring = Ring::new(9);
        (1..=600).for_each(|id| assert_eq!(ring.push(Key::post(id)), Pushed::Stands));
        assert_eq!(ring.len(), 512);
        assert!(ring.bytes() <= 512 * 8 + 24, "{} bytes", ring.bytes());
    }

    #[test]
    fn what_was_forgotten_is_not_known() {
        let mut ring = Ring::new(4);
        (1..=9).for_each(|id| assert_eq!(ring.push(Key::post(id)), Pushed::Stands));
        ring.forget_below(Key::post(5));
        assert_eq!((ring.len(), ring.at(0), ring.is_whole()), (5, Some(Key::post(5)), false));
        assert_eq!(ring.push(Key::post(4)), Pushed::TooOld);
        assert!(ring.covers_above(4) && !ring.covers_above(3));
    }
}
