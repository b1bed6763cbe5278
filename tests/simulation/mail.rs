//! Letters between hosts. What crosses the simulated network is a ticket of eight bytes, which may be late, lost or held
//! like any datagram; what it says lies here. So no codec stands between the hosts, and none is tested.

use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Bytes of a ticket.
pub const TICKET: usize = 8;

/// Letters of one kind.
#[derive(Debug)]
pub struct Mail<T> {
    letters: Mutex<(u64, BTreeMap<u64, T>)>,
}

impl<T> Default for Mail<T> {
    fn default() -> Self {
        Self { letters: Mutex::new((0, BTreeMap::new())) }
    }
}

impl<T> Mail<T> {
    /// Lays a letter down; its ticket.
    pub fn put(&self, letter: T) -> [u8; TICKET] {
        let mut letters = self.letters.lock();
        letters.0 += 1;
        let number = letters.0;
        letters.1.insert(number, letter);
        number.to_be_bytes()
    }

    /// Takes the letter that a ticket is for.
    pub fn take(&self, ticket: [u8; TICKET]) -> Option<T> {
        self.letters.lock().1.remove(&u64::from_be_bytes(ticket))
    }
}
