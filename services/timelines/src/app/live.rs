//! Telling those who watch: what the fan-out brings to whom, and what everybody who watches hears.

use crate::domain::entry::Key;
use p92_kernel::Seq;
use p92_proto::timelines::v1::Notification;
use p92_storage::LogKey;
use parking_lot::Mutex;
use std::collections::HashMap;
use tokio::sync::{broadcast, mpsc};

/// Something that happened, and the event that says so.
#[derive(Clone, Debug)]
pub struct Signal {
    pub log: LogKey,
    pub seq: Seq,
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A candidate for the home of one who watches.
    Came(Key),
    /// He is told something.
    Told(Notification),
    /// A post was edited.
    Edited { post: u64, author: u64 },
    /// A post is gone, or a boost of it ended.
    Gone { post: u64, boost: u64, by: u64 },
    /// A public post, for public and tag timelines.
    Public { post: u64, author: u64, server: u64, to_others: bool, tagged: bool },
    /// An account may have been suspended or erased: whoever watches as that account looks again.
    StateChanged { account: u64 },
}

/// How many signals a watcher may lag behind before it is closed and opens again.
const LAG: usize = 1_024;

/// Everybody who watches through this process.
#[derive(Debug)]
pub struct Live {
    homes: Mutex<HashMap<u64, Vec<mpsc::Sender<Signal>>>>,
    all: broadcast::Sender<Signal>,
}

impl Default for Live {
    fn default() -> Self {
        Self { homes: Mutex::default(), all: broadcast::Sender::new(LAG) }
    }
}

impl Live {
    /// Hears what comes for one account.
    pub fn watch_home(&self, account: u64) -> mpsc::Receiver<Signal> {
        let (sender, receiver) = mpsc::channel(LAG);
        self.homes.lock().entry(account).or_default().push(sender);
        receiver
    }

    /// Forgets watchers of an account that have gone; true if nobody is left.
    pub fn sweep(&self, account: u64) -> bool {
        let mut homes = self.homes.lock();
        let Some(watchers) = homes.get_mut(&account) else { return true };
        watchers.retain(|watcher| !watcher.is_closed());
        let nobody = watchers.is_empty();
        if nobody {
            homes.remove(&account);
        }
        nobody
    }

    /// Whether somebody watches as this account.
    #[must_use]
    pub fn is_watched(&self, account: u64) -> bool {
        self.homes.lock().contains_key(&account)
    }

    /// Hears what everybody hears.
    #[must_use]
    pub fn watch_all(&self) -> broadcast::Receiver<Signal> {
        self.all.subscribe()
    }

    /// Tells those who watch as one account. Who is too slow is closed and opens again where he was.
    pub fn tell(&self, account: u64, signal: &Signal) {
        let mut homes = self.homes.lock();
        let Some(watchers) = homes.get_mut(&account) else { return };
        watchers.retain(|watcher| watcher.try_send(signal.clone()).is_ok());
    }

    /// Tells everybody.
    pub fn tell_all(&self, signal: Signal) {
        // An error says that nobody watches, which is no fault.
        let _ = self.all.send(signal);
    }

    /// Whether anybody watches anything.
    #[must_use]
    pub fn anybody(&self) -> bool {
        self.all.receiver_count() > 0
    }
}
