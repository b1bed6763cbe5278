//! A sorted set of small numbers, packed: the edges of the follow graph, one set per account and direction.
//!
//! Numbers below 2^24 take three bytes, others four; lists longer than [`CHUNK`] are cut into chunks, so that an insert
//! never moves more than a few KiB and a reader of a very large set can stop between two chunks. Buffers grow by an
//! eighth, not by doubling: with both directions and everything counted an edge costs under ten bytes.

/// Numbers per chunk at most.
pub const CHUNK: usize = 1_024;

/// One sorted run of numbers.
#[derive(Clone, Debug, Default)]
struct Run {
    bytes: Vec<u8>,
    wide: bool,
}

impl Run {
    const fn stride(&self) -> usize {
        if self.wide { 4 } else { 3 }
    }

    const fn len(&self) -> usize {
        self.bytes.len() / self.stride()
    }

    fn at(&self, index: usize) -> Option<u32> {
        let from = index * self.stride();
        self.bytes.get(from..from + self.stride()).map(read)
    }

    fn last(&self) -> Option<u32> {
        self.at(self.len().checked_sub(1)?)
    }

    fn search(&self, number: u32) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.at(middle) {
                Some(found) if found == number => return Ok(middle),
                Some(found) if found < number => low = middle + 1,
                _ => high = middle,
            }
        }
        Err(low)
    }

    fn widen(&mut self) {
        let numbers: Vec<u32> = self.iter_from(0).collect();
        let mut bytes = Vec::with_capacity(numbers.len() * 4 + 4);
        numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        (self.bytes, self.wide) = (bytes, true);
    }

    fn insert(&mut self, index: usize, number: u32) {
        if number >> 24 != 0 && !self.wide {
            self.widen();
        }
        let stride = self.stride();
        if self.bytes.len() + stride > self.bytes.capacity() {
            let more = (self.bytes.len() / 8).max(stride);
            self.bytes.reserve_exact(more);
        }
        let from = index * stride;
        let number = number.to_le_bytes();
        self.bytes.splice(from..from, number.into_iter().take(stride));
    }

    fn remove(&mut self, index: usize) {
        let from = index * self.stride();
        self.bytes.drain(from..from + self.stride());
        if self.bytes.len() * 2 < self.bytes.capacity() {
            self.bytes.shrink_to(self.bytes.len() + self.bytes.len() / 8);
        }
    }

    fn split(&mut self) -> Self {
        let half = self.len() / 2 * self.stride();
        let bytes = self.bytes.get(half..).unwrap_or_default().to_vec();
        self.bytes.truncate(half);
        self.bytes.shrink_to_fit();
        Self { bytes, wide: self.wide }
    }

    fn iter_from(&self, index: usize) -> impl Iterator<Item = u32> + '_ {
        self.bytes.get(index * self.stride()..).unwrap_or_default().chunks_exact(self.stride()).map(read)
    }
}

fn read(bytes: &[u8]) -> u32 {
    match *bytes {
        [a, b, c] => u32::from_le_bytes([a, b, c, 0]),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// A sorted set.
#[derive(Clone, Debug)]
pub struct Members(Runs);

#[derive(Clone, Debug)]
enum Runs {
    One(Run),
    Many(Vec<Run>),
}

impl Default for Members {
    fn default() -> Self {
        Self(Runs::One(Run::default()))
    }
}

impl Members {
    fn runs(&self) -> &[Run] {
        match &self.0 {
            Runs::One(run) => std::slice::from_ref(run),
            Runs::Many(runs) => runs,
        }
    }

    /// Index of the run in which a number stands or would stand.
    fn place(&self, number: u32) -> usize {
        let runs = self.runs();
        let index = runs.partition_point(|run| run.last().is_some_and(|last| last < number));
        index.min(runs.len().saturating_sub(1))
    }

    fn run_mut(&mut self, index: usize) -> Option<&mut Run> {
        match &mut self.0 {
            Runs::One(run) => Some(run),
            Runs::Many(runs) => runs.get_mut(index),
        }
    }

    /// Adds a number; false if it was there.
    pub fn insert(&mut self, number: u32) -> bool {
        let index = self.place(number);
        let Some(run) = self.run_mut(index) else { return false };
        let Err(place) = run.search(number) else { return false };
        run.insert(place, number);
        if run.len() > CHUNK {
            let second = run.split();
            match &mut self.0 {
                Runs::One(first) => self.0 = Runs::Many(vec![std::mem::take(first), second]),
                Runs::Many(runs) => runs.insert(index + 1, second),
            }
        }
        true
    }

    /// Takes a number out; false if it was not there.
    pub fn remove(&mut self, number: u32) -> bool {
        let index = self.place(number);
        let Some(run) = self.run_mut(index) else { return false };
        let Ok(place) = run.search(number) else { return false };
        run.remove(place);
        let empty = run.bytes.is_empty();
        if let Runs::Many(runs) = &mut self.0
            && empty
        {
            runs.remove(index);
            if runs.is_empty() {
                self.0 = Runs::One(Run::default());
            }
        }
        true
    }

    /// Whether a number is there.
    #[must_use]
    pub fn contains(&self, number: u32) -> bool {
        self.runs().get(self.place(number)).is_some_and(|run| run.search(number).is_ok())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs().iter().map(Run::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs().iter().all(|run| run.bytes.is_empty())
    }

    /// All, rising.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.runs().iter().flat_map(|run| run.iter_from(0))
    }

    /// Those from `number` on, rising.
    pub fn iter_from(&self, number: u32) -> impl Iterator<Item = u32> + '_ {
        let runs = self.runs();
        let index = runs.partition_point(|run| run.last().is_some_and(|last| last < number));
        let rest = runs.get(index..).unwrap_or_default();
        let skip = rest.first().map_or(0, |run| run.search(number).unwrap_or_else(|place| place));
        let mut skips = std::iter::once(skip).chain(std::iter::repeat(0));
        rest.iter().flat_map(move |run| run.iter_from(skips.next().unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn same(members: &Members, expected: &BTreeSet<u32>) {
        assert!(members.iter().eq(expected.iter().copied()));
        assert_eq!((members.len(), members.is_empty()), (expected.len(), expected.is_empty()));
    }

    proptest! {
        #[test]
        fn a_set_is_a_set(
            steps in proptest::collection::vec((any::<bool>(), 0_u32..40, any::<bool>()), 0..300),
            spread in prop_oneof![Just(1_u32), Just(100_000_000)],
        ) {
            let (mut members, mut expected) = (Members::default(), BTreeSet::new());
            for (add, number, probe) in steps {
                let number = number * spread;
                if add {
                    prop_assert_eq!(members.insert(number), expected.insert(number));
                } else {
                    prop_assert_eq!(members.remove(number), expected.remove(&number));
                }
                if probe {
                    prop_assert_eq!(members.contains(number + 1), expected.contains(&(number + 1)));
                    prop_assert!(members.iter_from(number).eq(expected.range(number..).copied()));
                }
            }
            same(&members, &expected);
        }
    }

    #[test]
    fn large_sets_are_cut_and_stay_sorted() {
        let (mut members, mut expected) = (Members::default(), BTreeSet::new());
        // A multiplicative walk visits every number once, in no order.
        for step in 0..20_000_u32 {
            let number = step * 7_919 % 20_011 * 1_000;
            assert_eq!(members.insert(number), expected.insert(number));
        }
        same(&members, &expected);
        for from in [0, 1, 5_000_000, 20_010_000, 20_010_001] {
            assert!(members.iter_from(from).eq(expected.range(from..).copied()), "from {from}");
        }
        for step in 0..20_011_u32 {
            let number = step * 104_729 % 20_011 * 1_000;
            assert_eq!(members.contains(number), expected.contains(&number));
            assert_eq!(members.remove(number), expected.remove(&number));
        }
        same(&members, &expected);
    }
}
