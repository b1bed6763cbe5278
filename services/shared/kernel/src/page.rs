//! Pages: how many rows are asked for, and where the next ones begin.

/// How many rows a page has at most. Asking for none means the default; asking for too many is clamped, never an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u32);

impl PageSize {
    /// `asked` within 1..=`most`, or `default` when nothing was asked.
    #[must_use]
    pub fn clamp(asked: u32, default: u32, most: u32) -> Self {
        Self(if asked == 0 { default } else { asked }.min(most).max(1))
    }

    /// The number of rows.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

/// Where a scan goes on: opaque to whoever carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken(pub Vec<u8>);

#[cfg(test)]
mod tests {
    use super::PageSize;

    #[test]
    fn sizes_are_clamped() {
        assert_eq!(PageSize::clamp(0, 20, 40).get(), 20);
        assert_eq!(PageSize::clamp(4_000, 20, 40).get(), 40);
        assert_eq!(PageSize::clamp(3, 20, 40).get(), 3);
    }
}
