//! Who holds which slot, as the last look found it: whom to pass a command on to.
//!
//! It may be old by one look. Nothing is decided by it: a command that goes to somebody who holds the slot no longer is
//! turned away there, and nothing was done.

use p92_kernel::{Service, Shard};
use p92_proto::event::v1;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use tokio::sync::watch;

/// The holder of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id among the members.
    pub member: String,
    pub epoch: u64,
    /// Where it is reached; empty if nobody reaches it.
    pub address: String,
    /// Whether it beats.
    pub lives: bool,
}

/// The last look.
#[derive(Debug, Default)]
pub(super) struct Holders {
    slots: watch::Sender<BTreeMap<(Service, Shard), Holder>>,
    living: RwLock<BTreeMap<String, v1::MemberRow>>,
}

impl Holders {
    pub(super) fn get(&self, service: Service, shard: Shard) -> Option<Holder> {
        self.slots.borrow().get(&(service, shard)).cloned()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<BTreeMap<(Service, Shard), Holder>> {
        self.slots.subscribe()
    }

    /// Those that lived at the last look at members.
    pub(super) fn living(&self) -> BTreeMap<String, v1::MemberRow> {
        self.living.read().clone()
    }

    /// Whom an ownership row names; `None` for nobody.
    pub(super) fn of(&self, row: &v1::OwnershipRow) -> Option<Holder> {
        if row.member.is_empty() {
            return None;
        }
        let living = self.living.read();
        let member = living.get(&row.member);
        Some(Holder {
            member: row.member.clone(),
            epoch: row.epoch,
            address: member.map(|member| member.address.clone()).unwrap_or_default(),
            lives: member.is_some(),
        })
    }

    /// What a look found.
    pub(super) fn note(
        &self,
        living: BTreeMap<String, v1::MemberRow>,
        found: &BTreeMap<(Service, Shard), v1::OwnershipRow>,
    ) {
        *self.living.write() = living;
        let now: BTreeMap<_, _> =
            found.iter().filter_map(|(slot, row)| Some((*slot, self.of(row)?))).collect();
        self.slots.send_if_modified(|slots| {
            let changed = *slots != now;
            *slots = now;
            changed
        });
    }
}
