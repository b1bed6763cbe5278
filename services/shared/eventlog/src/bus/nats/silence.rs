//! The clock of the supervisor: heads of logs as the store says them, held against what the bus has delivered.
//!
//! A consumer that the server has forgotten is as quiet as one of a service where nothing happens. What tells them apart
//! is a head that moves. It knows no connection and reads no log.

use bytes::Bytes;
use p92_kernel::{Seq, Service, Shard};
use p92_proto::event::v1::EventGroup;
use p92_storage::LogKey;
use parking_lot::Mutex;
use prost::Message as _;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::Instant;

/// This long nothing came although a head moved: the consumer is given up.
const SILENCE: Duration = Duration::from_secs(1);
/// Giving up did not help (its publisher is away, say): the next time after twice as long, at most this.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
struct Stand {
    head: Seq,
    delivered: Seq,
}

/// What the store says and what came, per log.
#[derive(Debug, Default)]
pub(super) struct Stands(Mutex<HashMap<LogKey, Stand>>);

impl Stands {
    /// The store says that a log's head stands there.
    pub(super) fn head(&self, log: LogKey, head: Seq) {
        let mut stands = self.0.lock();
        // What stood before it was first looked at is nothing that the bus owes.
        let stand = stands.entry(log).or_insert(Stand { head, delivered: head });
        stand.head = stand.head.max(head);
    }

    /// A message of that log came.
    pub(super) fn delivered(&self, log: LogKey, body: Bytes) {
        let Some(last) = last_seq(body) else { return };
        let mut stands = self.0.lock();
        let stand = stands.entry(log).or_insert(Stand { head: last, delivered: last });
        stand.delivered = stand.delivered.max(last);
    }

    /// A consumer begins, and owes only what comes from now on.
    pub(super) fn begin(&self, service: Service) {
        for (log, stand) in self.0.lock().iter_mut() {
            if log.service == service {
                stand.delivered = stand.delivered.max(stand.head);
            }
        }
    }

    fn is_behind(&self, service: Service, shards: &BTreeSet<Shard>) -> bool {
        let stands = self.0.lock();
        shards.iter().any(|shard| {
            let stand = stands.get(&LogKey { service, shard: *shard });
            stand.is_some_and(|stand| stand.head > stand.delivered)
        })
    }
}

/// The place of a group's last event, without reading the events.
fn last_seq(body: Bytes) -> Option<Seq> {
    let group = EventGroup::decode(body).ok()?;
    let more = u64::try_from(group.events.len()).ok()?.checked_sub(1)?;
    group.first_seq.checked_add(more).map(Seq)
}

/// How long one service's consumer has been silent.
#[derive(Debug)]
pub(super) struct Silence {
    heard: Instant,
    behind_since: Option<Instant>,
    patience: Duration,
}

impl Silence {
    pub(super) fn new() -> Self {
        Self { heard: Instant::now(), behind_since: None, patience: SILENCE }
    }

    /// A consumer begins.
    pub(super) fn begin(&mut self) {
        self.heard = Instant::now();
        self.behind_since = None;
    }

    /// A message came.
    pub(super) fn heard(&mut self) {
        self.heard = Instant::now();
        self.patience = SILENCE;
    }

    /// Whether it is time to give the consumer up; asked every fraction of a second.
    pub(super) fn is_too_long(
        &mut self,
        stands: &Stands,
        service: Service,
        shards: &BTreeSet<Shard>,
    ) -> bool {
        if !stands.is_behind(service, shards) {
            self.behind_since = None;
            return false;
        }
        let behind_since = *self.behind_since.get_or_insert_with(Instant::now);
        let too_long = behind_since.elapsed() >= self.patience && self.heard.elapsed() >= self.patience;
        if too_long {
            self.patience = (self.patience * 2).min(PATIENCE);
        }
        too_long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogKey = LogKey { service: Service::Posting, shard: Shard(1) };

    fn group(first_seq: u64, events: usize) -> Bytes {
        EventGroup { first_seq, events: vec![Bytes::new(); events], ..EventGroup::default() }
            .encode_to_vec()
            .into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_consumer_is_given_up_when_heads_move_and_nothing_comes() {
        let (stands, mut silence) = (Stands::default(), Silence::new());
        let shards = BTreeSet::from([LOG.shard]);
        let mut too_long = |stands: &Stands| silence.is_too_long(stands, LOG.service, &shards);
        let pass = async |millis| tokio::time::advance(Duration::from_millis(millis)).await;

        stands.head(LOG, Seq(100));
        pass(9_000).await;
        assert!(!too_long(&stands), "what stood before is nothing that is owed");
        stands.head(LOG, Seq(102));
        assert!(!too_long(&stands));
        pass(900).await;
        assert!(!too_long(&stands));
        stands.delivered(LOG, group(101, 2));
        pass(9_000).await;
        assert!(!too_long(&stands), "it came, if late");

        stands.head(LOG, Seq(103));
        assert!(!too_long(&stands));
        pass(1_000).await;
        assert!(too_long(&stands));
        stands.begin(LOG.service);
        assert!(!too_long(&stands), "a new one owes what comes from now on");
        stands.head(LOG, Seq(104));
        assert!(!too_long(&stands));
        pass(1_000).await;
        assert!(!too_long(&stands), "giving up did not help, so it takes longer");
        pass(1_000).await;
        assert!(too_long(&stands));
    }

    #[tokio::test(start_paused = true)]
    async fn logs_that_nobody_listens_to_do_not_count() {
        let (stands, mut silence) = (Stands::default(), Silence::new());
        for seq in 1..=2 {
            stands.head(LOG, Seq(seq));
        }
        let shards = BTreeSet::from([Shard(0)]);
        for _ in 0..2 {
            assert!(!silence.is_too_long(&stands, LOG.service, &shards));
            tokio::time::advance(Duration::from_secs(9)).await;
        }
    }

    #[test]
    fn a_body_that_is_no_group_says_nothing() {
        assert_eq!(last_seq(group(7, 3)), Some(Seq(9)));
        assert_eq!(last_seq(group(7, 0)), None);
        assert_eq!(last_seq(Bytes::from_static(b"\xff\xff\xff")), None);
    }
}
