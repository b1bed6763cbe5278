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
    kept: Mutex<Kept<K>>,
    /// Whether only this process can destroy a key, which then forgets it itself.
    alone: bool,
}

#[derive(Debug)]
struct Kept<K: Hash + Eq> {
    keys: LruCache<K, (Secret, Instant)>,
    /// When one was last forgotten: what was asked for before may be gone by the time it is put here.
    forgot: Option<Instant>,
}

impl<K: Hash + Eq> Opened<K> {
    pub fn new(alone: bool) -> Self {
        Self { kept: Mutex::new(Kept { keys: LruCache::new(OPENED), forgot: None }), alone }
    }

    /// A key, and since when it may have been destroyed elsewhere: since it was asked for, or where only this process can
    /// destroy it, since now.
    pub fn get(&self, key: &K) -> Option<(Secret, Instant)> {
        let keys = &mut self.kept.lock().keys;
        let (secret, asked) = keys.get(key)?;
        if self.alone {
            return Some((secret.clone(), Instant::now()));
        }
        // One that is older is kept for whoever knows otherwise that it still holds.
        (asked.elapsed() < BELIEVED).then(|| (secret.clone(), *asked))
    }

    /// A key, however long ago it was asked for: for whoever has just learned that it is not destroyed.
    pub fn standing(&self, key: &K) -> Option<Secret> {
        self.kept.lock().keys.get(key).map(|(secret, _)| secret.clone())
    }

    /// Keeps a key that was asked for at that moment, unless one was forgotten since.
    pub fn put(&self, key: K, secret: Secret, asked: Instant) {
        let mut kept = self.kept.lock();
        if kept.forgot.is_none_or(|forgot| asked > forgot) {
            kept.keys.put(key, (secret, asked));
        }
    }

    /// The store does not have it any more.
    pub fn gone(&self, key: &K) {
        self.kept.lock().keys.pop(key);
    }

    /// It is destroyed here.
    pub fn forget(&self, key: &K) {
        let mut kept = self.kept.lock();
        kept.forgot = Some(Instant::now());
        kept.keys.pop(key);
    }

    pub fn forget_all(&self) {
        let mut kept = self.kept.lock();
        kept.forgot = Some(Instant::now());
        kept.keys.clear();
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
        assert!(shared.standing(&1).is_some(), "whoever knows that it holds need not ask");
        shared.forget(&1);
        assert!(shared.standing(&1).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_was_being_opened_while_one_was_destroyed_is_not_kept() {
        let opened = Opened::new(true);
        let asked = Instant::now();
        opened.forget(&1);
        opened.put(1, Secret::default(), asked);
        assert!(opened.get(&1).is_none());
        tokio::time::advance(Duration::from_millis(1)).await;
        opened.put(1, Secret::default(), Instant::now());
        assert!(opened.get(&1).is_some());
    }
}
