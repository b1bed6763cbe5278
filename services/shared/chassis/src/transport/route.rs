//! Whom to ask: what a call is about, who turned out to hold that, and whether the call was passed on already.
//!
//! It refuses to know what a slot is for: a slot is a name that answers carry, and a shard a number that a caller may
//! know beforehand. A wrong guess costs one hop and nothing else.

use crate::status::{OWNER, SLOT};
use http::{HeaderMap, HeaderValue};
use p92_kernel::Shard;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// Says that a call was passed on, so that it is not passed on again.
pub(super) const PASSED_ON: &str = "p92-passed-on";

/// How long an answer that told a holder is believed. Slots move seldom; a holder that has moved tells so itself.
const BELIEVED: Duration = Duration::from_secs(30);

tokio::task_local! {
    /// The shard that the calls of this task are most likely about.
    static ABOUT: Shard;
    /// The call that this task serves was passed on.
    static PASSED: ();
}

/// Runs `work`, whose calls are most likely about this shard: each goes to its holder at once, if that is known.
pub async fn about<F: Future>(shard: Shard, work: F) -> F::Output {
    ABOUT.scope(shard, work).await
}

/// The shard that calls made from here are about, if anybody said.
pub(super) fn shard() -> Option<Shard> {
    ABOUT.try_with(|shard| *shard).ok()
}

/// Whether the call that this task serves shall be answered here, whoever holds the slot: it was passed on, or whoever
/// holds the slot could not be asked.
#[must_use]
pub fn is_passed_on() -> bool {
    PASSED.try_with(|()| ()).is_ok()
}

/// Runs `work` as a call that is passed on no more.
pub(super) async fn passed_on<F: Future>(work: F) -> F::Output {
    PASSED.scope((), work).await
}

/// What an answer says of who holds the slot that it was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// `service/shard`.
    pub(super) slot: HeaderValue,
    /// `host:port`.
    pub(super) owner: Option<HeaderValue>,
}

impl Told {
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        Some(Self { slot: headers.get(SLOT)?.clone(), owner: headers.get(OWNER).cloned() })
    }

    pub(super) fn owner(&self) -> Option<&str> {
        self.owner.as_ref().and_then(|owner| owner.to_str().ok())
    }

    fn shard(&self) -> Option<Shard> {
        let (_, shard) = self.slot.to_str().ok()?.split_once('/')?;
        shard.parse().ok().map(Shard)
    }

    pub(super) fn write(self, headers: &mut HeaderMap) {
        headers.insert(SLOT, self.slot);
        if let Some(owner) = self.owner {
            headers.insert(OWNER, owner);
        }
    }
}

/// The holders of one service's slots, as its answers told them. At most one for each of 1,024 shards.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<Shard, (String, Instant)>>);

impl Known {
    pub(super) fn holder(&self, shard: Shard) -> Option<String> {
        let known = self.0.lock();
        let (address, at) = known.get(&shard)?;
        (at.elapsed() < BELIEVED).then(|| address.clone())
    }

    pub(super) fn forget(&self, shard: Shard) {
        self.0.lock().remove(&shard);
    }

    /// Notes what an answer told, if it told anything.
    pub(super) fn learn(&self, headers: &HeaderMap) {
        let Some(told) = Told::of(headers) else { return };
        let Some(shard) = told.shard().filter(|shard| shard.0 < p92_kernel::ShardCount::MAX) else { return };
        match told.owner() {
            Some(owner) => {
                self.0.lock().insert(shard, (owner.to_owned(), Instant::now()));
            }
            None => self.forget(shard),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(slot: &'static str, owner: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        Told { slot: HeaderValue::from_static(slot), owner: owner.map(HeaderValue::from_static) }
            .write(&mut headers);
        headers
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_is_believed_for_a_while_and_until_it_says_otherwise() {
        let known = Known::default();
        known.learn(&told("posting/3", Some("10.0.0.1:8191")));
        assert_eq!(known.holder(Shard(3)).as_deref(), Some("10.0.0.1:8191"));
        assert_eq!(known.holder(Shard(4)), None);
        known.learn(&told("posting/3", None));
        assert_eq!(known.holder(Shard(3)), None, "the slot is on its way");
        known.learn(&told("posting/3", Some("10.0.0.2:8191")));
        tokio::time::advance(BELIEVED).await;
        assert_eq!(known.holder(Shard(3)), None);
    }

    #[test]
    fn nonsense_is_not_learned() {
        let known = Known::default();
        for slot in ["posting", "posting/", "posting/x", "posting/1024", "posting/99999"] {
            known.learn(&told(slot, Some("a:1")));
        }
        assert!(known.0.lock().is_empty());
    }
}
