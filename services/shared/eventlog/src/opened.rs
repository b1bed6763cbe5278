//! Opened keys that are kept in memory: many, and where other processes can destroy one, not for long.
//!
//! It refuses to know what a key opens.

use crate::keyfile::Secret;
use lru::LruCache;
use parking_lot::Mutex;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::time::Instant;

/// Opened keys that are kept in memory.
const OPENED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// How long a key is believed to be there still, where another process may have destroyed it. Counted from asking for it,
/// so that what is destroyed is unreadable everywhere a second later.
pub const BELIEVED: Duration = Duration::from_secs(1);

/// Keys, the longest unused of which go first.
#[derive(Debug)]
pub struct Opened<K: Hash + Eq> {
    keys: Mutex<LruCache<K, (Secret, Instant)>>,
    /// Whether only this process can destroy a key, which then forgets it itself.
    alone: bool,
}

impl<K: Hash + Eq> Opened<K> {
    pub fn new(alone: bool) -> Self {
        Self { keys: Mutex::new(LruCache::new(OPENED)), alone }
    }

    /// A key, and when it was asked for.
    pub fn get(&self, key: &K) -> Option<(Secret, Instant)> {
        let mut keys = self.keys.lock();
        let (secret, asked) = keys.get(key)?;
        if self.alone || asked.elapsed() < BELIEVED {
            return Some((secret.clone(), *asked));
        }
        keys.pop(key);
        None
    }

    /// Keeps a key that was asked for at that moment.
    pub fn put(&self, key: K, secret: Secret, asked: Instant) {
        self.keys.lock().put(key, (secret, asked));
    }

    pub fn forget(&self, key: &K) {
        self.keys.lock().pop(key);
    }

    pub fn forget_all(&self) {
        self.keys.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_asked_for_again_where_others_may_have_destroyed_it() {
        let (alone, shared) = (Opened::new(true), Opened::new(false));
        for keys in [&alone, &shared] {
            keys.put(1, Secret::default(), Instant::now());
        }
        tokio::time::advance(BELIEVED - Duration::from_millis(1)).await;
        assert!(alone.get(&1).is_some() && shared.get(&1).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(alone.get(&1).is_some() && shared.get(&1).is_none());
    }
}
