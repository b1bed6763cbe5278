//! Shards, the services that have logs, and positions in those logs (ARCHITECTURE §3.4, §3.7).

use crate::digest;
use std::fmt;

/// The services that own logs. The names are part of log keys, bus subjects and metrics, and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    Identity,
    Posting,
    Timelines,
    FederationDelivery,
    Ranking,
}

impl Service {
    /// Every service, in the order of its number.
    pub const ALL: [Self; 5] =
        [Self::Identity, Self::Posting, Self::Timelines, Self::FederationDelivery, Self::Ranking];

    /// The number in ids: it never changes, and is below eight.
    #[must_use]
    pub const fn number(self) -> u64 {
        match self {
            Self::Identity => 0,
            Self::Posting => 1,
            Self::Timelines => 2,
            Self::FederationDelivery => 3,
            Self::Ranking => 4,
        }
    }

    /// The name in keys, subjects and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Posting => "posting",
            Self::Timelines => "timelines",
            Self::FederationDelivery => "federation_delivery",
            Self::Ranking => "ranking",
        }
    }

    /// The service of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One of the installation's shards, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(pub u16);

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many shards the installation has; chosen at first start, then fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardCount(u16);

impl ShardCount {
    /// Ids carry ten bits of shard.
    pub const MAX: u16 = 1024;

    /// `None` unless `count` is between 1 and 1,024.
    #[must_use]
    pub const fn new(count: u16) -> Option<Self> {
        if count == 0 || count > Self::MAX { None } else { Some(Self(count)) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Every shard.
    pub fn all(self) -> impl Iterator<Item = Shard> {
        (0..self.0).map(Shard)
    }

    /// The shard of something named by these parts: the first 8 bytes of SHA-256, modulo the number of shards.
    #[must_use]
    pub fn of_parts(self, parts: &[&[u8]]) -> Shard {
        let shard = digest::leading_u64(&digest::of_parts(parts)) % u64::from(self.0);
        Shard(u16::try_from(shard).unwrap_or(0))
    }
}

impl Default for ShardCount {
    fn default() -> Self {
        Self(16)
    }
}

/// A place in one shard's log. The first event has 1; 0 is before all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// The place after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in the logs of the installation: what an answer carries, and what a read may ask to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub service: Service,
    pub shard: Shard,
    pub seq: Seq,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for service in Service::ALL {
            assert_eq!(Service::from_name(service.name()), Some(service));
        }
    }

    #[test]
    fn placement_never_changes() {
        let count = ShardCount::default();
        assert_eq!(count.of_parts(&[b"handle", &7_u64.to_be_bytes(), b"alice"]), Shard(PLACED_ALICE));
        assert!(count.all().count() == 16);
    }

    /// A golden value: moving it would lose every account of an installation.
    const PLACED_ALICE: u16 = 3;
}
