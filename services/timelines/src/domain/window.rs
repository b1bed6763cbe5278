//! Which part of a list is asked for, as clients of timelines ask: by ids, newest first.

/// Bounds, direction and size of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Only ids below this one.
    pub below: u64,
    /// Only ids above this one.
    pub above: u64,
    /// Whether the page lies next to `above` (`min_id`); else next to `below`.
    pub nearest: bool,
    /// How many at most.
    pub limit: usize,
}

impl Window {
    /// What a client asked for: 0 is no bound, the limit is clamped.
    #[must_use]
    pub fn asked(max_id: u64, since_id: u64, min_id: u64, limit: usize) -> Self {
        Self {
            below: if max_id == 0 { u64::MAX } else { max_id },
            above: since_id.max(min_id),
            nearest: min_id != 0,
            limit,
        }
    }

    /// The newest entries.
    #[must_use]
    pub const fn newest(limit: usize) -> Self {
        Self { below: u64::MAX, above: 0, nearest: false, limit }
    }

    /// Whether an id lies between the bounds.
    #[must_use]
    pub const fn holds(&self, id: u64) -> bool {
        id > self.above && id < self.below
    }

    /// Cuts the page out of everything there is, given in any order. What tests compare with.
    #[must_use]
    pub fn cut<T>(&self, mut all: Vec<T>, id: impl Fn(&T) -> u64) -> Vec<T> {
        all.retain(|entry| self.holds(id(entry)));
        all.sort_by_key(|entry| std::cmp::Reverse(id(entry)));
        if self.nearest {
            let drop = all.len().saturating_sub(self.limit);
            all.drain(..drop);
        } else {
            all.truncate(self.limit);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::Window;

    fn page(max_id: u64, since_id: u64, min_id: u64) -> Vec<u64> {
        Window::asked(max_id, since_id, min_id, 3).cut((1..=9).collect(), |id| *id)
    }

    #[test]
    fn pages_are_cut_as_clients_expect() {
        assert_eq!(page(0, 0, 0), [9, 8, 7]);
        assert_eq!(page(5, 0, 0), [4, 3, 2]);
        assert_eq!(page(0, 4, 0), [9, 8, 7]);
        assert_eq!(page(0, 0, 4), [7, 6, 5]);
        assert_eq!(page(6, 0, 4), [5]);
        assert_eq!(page(6, 3, 4), [5]);
        assert_eq!(page(3, 3, 0), [] as [u64; 0]);
    }
}
