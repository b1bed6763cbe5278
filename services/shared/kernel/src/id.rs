//! 64-bit ids that alone tell time and shard (ARCHITECTURE §3.10).
//!
//! Bits, from the top: sign 0 · 42 of Unix milliseconds · 10 of shard · 11 low ones. First low bit 0: made here; seven
//! bits count within the millisecond and the last three name the service that made it. First low bit 1: a remote post,
//! and the other ten come from its ActivityPub id.
//!
//! The service is part of the id because each service numbers its own events: without it, a follow and a like of the same
//! shard and millisecond had one event id, and so one notification id.

use crate::{Millis, Service, Shard};
use std::fmt;
use std::str::FromStr;

const LOW_BITS: u32 = 11;
const SHARD_BITS: u32 = 10;
const REMOTE_BIT: u64 = 1 << (LOW_BITS - 1);
/// What is free below the remote bit.
const FREE_MASK: u64 = REMOTE_BIT - 1;
const SERVICE_BITS: u32 = 3;
/// Ids of one service, shard and millisecond, less one.
const COUNTER_MOST: u64 = FREE_MASK >> SERVICE_BITS;
const MILLIS_MASK: u64 = (1 << 42) - 1;
/// 2000-01-01, the earliest moment that a remote post may claim.
const REMOTE_FLOOR: u64 = 946_684_800_000;

/// An id. Shown as a decimal string, sorted as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u64);

impl Id {
    /// `None` for zero and for what does not fit 63 bits.
    #[must_use]
    pub const fn new(raw: u64) -> Option<Self> {
        if raw == 0 || raw >> 63 != 0 { None } else { Some(Self(raw)) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The shard that it was made for.
    #[must_use]
    pub const fn shard(self) -> Shard {
        Shard(((self.0 >> LOW_BITS) & ((1 << SHARD_BITS) - 1)) as u16)
    }

    /// The moment that it carries.
    #[must_use]
    pub const fn millis(self) -> Millis {
        Millis(self.0 >> (LOW_BITS + SHARD_BITS))
    }

    /// Whether it names a remote post.
    #[must_use]
    pub const fn is_remote_post(self) -> bool {
        self.0 & REMOTE_BIT != 0
    }

    const fn compose(millis: u64, shard: Shard, low: u64) -> Self {
        Self(((millis & MILLIS_MASK) << (LOW_BITS + SHARD_BITS)) | ((shard.0 as u64) << LOW_BITS) | low)
    }

    /// The smallest id of a moment: where a page that begins at a time begins.
    #[must_use]
    pub const fn floor_of(at: Millis) -> Self {
        Self::compose(at.0, Shard(0), 1)
    }

    /// Candidates for a remote post, in the order in which they are tried: `published` cut to between 2000 and its
    /// receipt, and a low part that counts up from a hash of its ActivityPub id.
    pub fn remote_candidates(
        ap_id: &str,
        published: Millis,
        received: Millis,
        shard: Shard,
    ) -> impl Iterator<Item = Self> {
        let millis = published.0.clamp(REMOTE_FLOOR, received.0.max(REMOTE_FLOOR));
        let start = crate::digest::leading_u64(&crate::digest::sha256(ap_id.as_bytes()));
        (0..=FREE_MASK).map(move |step| {
            Self::compose(millis, shard, REMOTE_BIT | (start.wrapping_add(step) & FREE_MASK))
        })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is a decimal number between 1 and 9223372036854775807")]
pub struct NotAnId;

impl FromStr for Id {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if text.is_empty() || text.len() > 19 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NotAnId);
        }
        text.parse().ok().and_then(Self::new).ok_or(NotAnId)
    }
}

/// Makes the ids of one service's shard, rising: within a millisecond they are counted, then the next one is taken.
#[derive(Clone, Debug)]
pub struct IdMint {
    service: Service,
    shard: Shard,
    last: u64,
    count: u64,
}

impl IdMint {
    /// Begins after `last`, the time of the log's last event. A new owner passes that time plus one.
    #[must_use]
    pub const fn new(service: Service, shard: Shard, last: Millis) -> Self {
        Self { service, shard, last: last.0, count: 0 }
    }

    /// The next id, at `max(now, the time of the last)`.
    pub fn next(&mut self, now: Millis) -> Id {
        if now.0 > self.last {
            self.last = now.0;
            self.count = 0;
        }
        // Counter value 0 is left to `Id::floor_of`, which must be below every id of its moment.
        self.count += 1;
        if self.count > COUNTER_MOST {
            self.last += 1;
            self.count = 1;
        }
        Id::compose(self.last, self.shard, (self.count << SERVICE_BITS) | self.service.number())
    }

    /// The time of the event that an id just made belongs to: never before an earlier one's.
    #[must_use]
    pub const fn time(&self) -> Millis {
        Millis(self.last)
    }
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Id);

        impl $name {
            /// `None` for zero and for what does not fit 63 bits.
            #[must_use]
            pub const fn new(raw: u64) -> Option<Self> {
                match Id::new(raw) { Some(id) => Some(Self(id)), None => None }
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0.get()
            }

            /// The shard that it was made for.
            #[must_use]
            pub const fn shard(self) -> Shard {
                self.0.shard()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                text.parse().map(Self)
            }
        }
    };
}

typed_id!(
    /// An account, local or remote.
    AccountId
);
typed_id!(
    /// A post, made here or elsewhere.
    PostId
);
typed_id!(
    /// A server (tenant) of the installation.
    ServerId
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_tells_its_shard_and_time() {
        let id = IdMint::new(Service::Posting, Shard(5), Millis(0)).next(Millis(1_790_000_000_000));
        assert_eq!(
            (id.shard(), id.millis(), id.is_remote_post()),
            (Shard(5), Millis(1_790_000_000_000), false)
        );
    }

    #[test]
    fn services_never_make_the_same_id() {
        let now = Millis(1_790_000_000_000);
        let mut made = std::collections::BTreeSet::new();
        for service in Service::ALL {
            let mut mint = IdMint::new(service, Shard(5), Millis(0));
            for _ in 0..1_000 {
                let id = mint.next(now);
                assert!(made.insert(id), "{service} made {id} again");
                assert!(id > Id::floor_of(now) && !id.is_remote_post() && id.shard() == Shard(5));
            }
        }
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        for text in ["", "0", "-1", "+1", "9223372036854775808", "99999999999999999999", "1a", " 1"] {
            assert_eq!(text.parse::<Id>(), Err(NotAnId), "{text:?}");
        }
        assert_eq!("9223372036854775807".parse::<Id>().map(Id::get), Ok(i64::MAX as u64));
    }

    #[test]
    fn a_remote_post_keeps_its_date_within_reason() {
        let future = Id::remote_candidates(
            "https://a.example/1",
            Millis(u64::MAX),
            Millis(5_000_000_000_000),
            Shard(1),
        );
        let past =
            Id::remote_candidates("https://a.example/1", Millis(0), Millis(5_000_000_000_000), Shard(1));
        let (future, past) = (future.take(1).next().unwrap(), past.take(1).next().unwrap());
        assert!(future.is_remote_post() && past.is_remote_post());
        assert_eq!(past.millis(), Millis(REMOTE_FLOOR));
        assert!(future.get() >> 63 == 0);
    }

    proptest! {
        #[test]
        fn ids_rise_whatever_the_clock_says(times in proptest::collection::vec(0_u64..1 << 41, 1..200)) {
            let mut mint = IdMint::new(Service::Posting, Shard(3), Millis(7));
            let ids: Vec<_> = times.iter().map(|t| mint.next(Millis(*t))).collect();
            prop_assert!(ids.windows(2).all(|w| w[0] < w[1]));
        }

        #[test]
        fn a_burst_runs_into_the_next_millisecond(n in 1_usize..5_000) {
            let mut mint = IdMint::new(Service::Posting, Shard(0), Millis(0));
            let ids: Vec<_> = (0..n).map(|_| mint.next(Millis(1_000))).collect();
            prop_assert!(ids.windows(2).all(|w| w[0] < w[1]));
            prop_assert!(ids.iter().all(|id| id.millis() >= Millis(1_000)));
        }

        #[test]
        fn text_round_trips(raw in 1_u64..1 << 63) {
            let id = Id::new(raw).unwrap();
            prop_assert_eq!(id.to_string().parse::<Id>(), Ok(id));
        }
    }
}
