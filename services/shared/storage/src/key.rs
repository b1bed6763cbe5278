//! Keys as ordered bytes: comparing two encoded keys of one shape as bytes compares them part by part.
//!
//! Numbers are big-endian, falling ones inverted; texts and bytes end with `00 01`, and a zero inside is `00 ff`.

use bytes::Bytes;

/// Builds a partition or clustering key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key(Vec<u8>);

impl Key {
    /// An empty key.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// A number, rising.
    #[must_use]
    pub fn num(mut self, n: u64) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }

    /// A number, falling.
    #[must_use]
    pub fn desc(mut self, n: u64) -> Self {
        self.0.extend_from_slice(&(!n).to_be_bytes());
        self
    }

    /// A shard or another small number, rising.
    #[must_use]
    pub fn small(mut self, n: u16) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }

    /// A text.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Bytes of any length.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        for &byte in bytes {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(0xff);
            }
        }
        self.0.extend_from_slice(&[0, 1]);
        self
    }

    /// Bytes of a length that the table fixes, such as a digest; taken as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The encoded key.
    #[must_use]
    pub fn build(self) -> Bytes {
        self.0.into()
    }
}

impl From<Key> for Bytes {
    fn from(key: Key) -> Self {
        key.build()
    }
}

/// A key that is not of the shape its table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key that is not of its table's shape")]
pub struct Malformed;

/// Takes a key apart again, in the order in which it was built.
#[derive(Clone, Debug)]
pub struct KeyReader<'a>(&'a [u8]);

impl<'a> KeyReader<'a> {
    /// Begins at the first part.
    #[must_use]
    pub const fn new(key: &'a [u8]) -> Self {
        Self(key)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    /// A rising number.
    pub fn num(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_be_bytes)
    }

    /// A falling number.
    pub fn desc(&mut self) -> Result<u64, Malformed> {
        self.take().map(|n| !u64::from_be_bytes(n))
    }

    /// A small number.
    pub fn small(&mut self) -> Result<u16, Malformed> {
        self.take().map(u16::from_be_bytes)
    }

    /// Bytes of a fixed length.
    pub fn raw<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take()
    }

    /// Bytes of any length.
    pub fn bytes(&mut self) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::new();
        loop {
            let [byte] = self.take()?;
            if byte != 0 {
                out.push(byte);
                continue;
            }
            match self.take()? {
                [0xff] => out.push(0),
                [1] => return Ok(out),
                _ => return Err(Malformed),
            }
        }
    }

    /// A text.
    pub fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    /// Nothing may be left.
    pub const fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn encoded_keys_sort_as_their_parts(
            a in (any::<u64>(), proptest::collection::vec(0_u8..3, 0..4), any::<u64>()),
            b in (any::<u64>(), proptest::collection::vec(0_u8..3, 0..4), any::<u64>()),
        ) {
            let key = |(n, bytes, d): &(u64, Vec<u8>, u64)| Key::new().num(*n).bytes(bytes).desc(*d).build();
            let order = (a.0, &a.1, std::cmp::Reverse(a.2)).cmp(&(b.0, &b.1, std::cmp::Reverse(b.2)));
            prop_assert_eq!(key(&a).cmp(&key(&b)), order);
        }

        #[test]
        fn parts_come_back(n in any::<u64>(), bytes in proptest::collection::vec(any::<u8>(), 0..9), text in ".*") {
            let key = Key::new().num(n).bytes(&bytes).text(&text).small(7).build();
            let mut reader = KeyReader::new(&key);
            prop_assert_eq!(reader.num(), Ok(n));
            prop_assert_eq!(reader.bytes(), Ok(bytes));
            prop_assert_eq!(reader.text(), Ok(text));
            prop_assert_eq!(reader.small(), Ok(7));
            prop_assert_eq!(reader.end(), Ok(()));
        }
    }
}
