//! The tables of federation-delivery, and the query that each serves.

use bytes::Bytes;
use p92_kernel::Shard;
use p92_storage::{Class, Key, Table};

/// What happened to posts.
pub static ACTIVITIES: Table = Table {
    name: "federation_delivery_activities",
    class: Class::View,
    row: "p92.federation_delivery.v1.ActivityRow",
    serves: "post | place in posting's log → what a local account did with it: GetDeliveryPlan",
};

/// Remote followers of local accounts.
pub static FOLLOWERS: Table = Table {
    name: "federation_delivery_followers",
    class: Class::View,
    row: "p92.federation_delivery.v1.FollowerRow",
    serves: "local account | remote follower → when: GetDeliveryPlan, ListFollowerHosts",
};

/// Accounts elsewhere, and hosts.
pub static REMOTES: Table = Table {
    name: "federation_delivery_remotes",
    class: Class::View,
    row: "p92.federation_delivery.v1.RemoteRow",
    serves: "account | → where it is; writing shard | host → how many accounts: ListPeers",
};

/// Every table.
pub static ALL: [&Table; 3] = [&ACTIVITIES, &FOLLOWERS, &REMOTES];

/// Partition of what belongs to one post or account.
#[must_use]
pub fn of(id: u64) -> Bytes {
    Key::new().num(id).build()
}

/// Place in a partition that is ordered by numbers.
#[must_use]
pub fn at(number: u64) -> Bytes {
    Key::new().num(number).build()
}

/// Partition of one remote account.
#[must_use]
pub fn remote(account: u64) -> Bytes {
    Key::new().text("account").num(account).build()
}

/// Partition of the hosts whose accounts one shard writes.
#[must_use]
pub fn hosts(shard: Shard) -> Bytes {
    Key::new().text("host").small(shard.0).build()
}

/// Place of a host.
#[must_use]
pub fn host(name: &str) -> Bytes {
    Key::new().text(name).build()
}
