//! What a running process finds about what it needs: clock, store, bus, keys, slots, readers, limits.
//!
//! It measures and counts, and says what to do. It refuses to mend anything.

use super::Operator;
use crate::findings::{Findings, TIMES, graded, limits, middle, millis, round_trips};
use p92_eventlog::bus::nats::BusState;
use p92_eventlog::tables;
use p92_kernel::{Millis, Service, Shard};
use p92_proto::event::v1::LogTimeRow;
use p92_proto::operator::v1::Finding;
use p92_storage::cql::SCHEMA;
use p92_storage::embedded::FORMAT;
use p92_storage::{Key, LogKey, RowKey, StoreError, Write};
use prost::Message as _;
use prost::bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;

/// No release is older than this: 2025-01-01. A clock before it was never set.
const BEFORE_US: Millis = Millis(1_735_689_600_000);
/// Rotating keys are destroyed within 30 days (ARCHITECTURE §3.13).
const KEYS_AGE: Duration = Duration::from_hours(30 * 24);
/// A reader that is further behind shows old things.
const BEHIND: u64 = 10_000;
const PATIENCE: Duration = Duration::from_secs(5);

impl Operator {
    /// Everything that this process can look at.
    pub(super) async fn findings(&self) -> Vec<Finding> {
        let mut found = Findings::default();
        self.clock(&mut found).await;
        self.store(&mut found).await;
        self.bus(&mut found).await;
        self.keys(&mut found);
        self.slots(&mut found).await;
        self.readers(&mut found).await;
        limits(&mut found);
        found.into_list()
    }

    /// The newest event of all logs: whoever wrote it had a clock too.
    async fn newest(&self) -> Result<Millis, StoreError> {
        let (mut newest, mut after) = (Millis(0), None);
        loop {
            let page = self.platform.engine.scan_table(tables::TIMES.only(), after.as_ref(), 1_000).await?;
            for row in page.rows {
                let time = LogTimeRow::decode(row.row.value)
                    .map_err(|error| StoreError::Damaged(format!("the time of a log: {error}")))?;
                newest = newest.max(Millis(time.time_ms));
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(newest),
            }
        }
    }

    async fn clock(&self, found: &mut Findings) {
        let newest = self.newest().await;
        let now = self.platform.clock.now();
        let advice = "set the clock by NTP (chrony, systemd-timesyncd), then restart";
        match newest {
            _ if now < BEFORE_US => found.broken("clock", format!("it says {}", now.iso8601()), advice),
            Ok(newest) if newest.since(now) > Duration::from_secs(10) => {
                let ahead = newest.since(now).as_secs();
                found.broken(
                    "clock",
                    format!(
                        "the newest event is {ahead} s ahead of it: it, or that of another member, is wrong"
                    ),
                    advice,
                );
            }
            Ok(newest) if newest.since(now) > Duration::from_millis(500) => {
                found.doubtful(
                    "clock",
                    format!("the newest event is {} ahead of it", millis(newest.since(now))),
                    advice,
                );
            }
            Ok(_) => found.good("clock", format!("{}, not behind the newest event", now.iso8601())),
            Err(error) => found.doubtful(
                "clock",
                format!("{}; it cannot be compared: {error}", now.iso8601()),
                "see `store`",
            ),
        }
    }

    async fn store(&self, found: &mut Findings) {
        let advice =
            "look at the store: is it reachable, its disk healthy and not full? See the server's log";
        let key = RowKey::new(tables::PROBES.only(), Key::new().text(&self.platform.member), Bytes::new());
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        let measured = async {
            for _ in 0..TIMES {
                let (began, value) = (Instant::now(), Some(Bytes::from_static(b"probe")));
                self.platform.engine.write(vec![Write { key: key.clone(), value }]).await?;
                writes.push(began.elapsed());
                let began = Instant::now();
                self.platform.engine.get(&key).await?;
                reads.push(began.elapsed());
            }
            self.platform.engine.write(vec![Write { key: key.clone(), value: None }]).await
        };
        match tokio::time::timeout(PATIENCE * 2, measured).await {
            Ok(Ok(())) => {
                let (read, write) = (middle(reads), middle(writes));
                let text = format!("a durable write takes {}, a read {}", millis(write), millis(read));
                if write > Duration::from_millis(100) || read > Duration::from_millis(50) {
                    let advice =
                        "use a faster disk, or give the store more: every post waits for one durable write";
                    found.doubtful("store", text, advice);
                } else {
                    found.good("store", text);
                }
            }
            Ok(Err(error)) => found.broken("store", error.to_string(), advice),
            Err(_) => found.broken("store", "it does not answer within 10 s".to_owned(), advice),
        }
        if self.platform.engine.capabilities().exclusive {
            let text = format!("{FORMAT}, as this build makes it when it opens a store: nothing to migrate");
            found.good("schema", text);
        } else {
            // It would not have been opened otherwise.
            found.good("schema", format!("{SCHEMA}: the shared store has every table of this build"));
        }
    }

    /// What does not decode is dropped by whoever reads the bus (ARCHITECTURE §3.5), so a probe hurts nobody.
    async fn bus(&self, found: &mut Findings) {
        use futures::StreamExt as _;
        match self.platform.bus.between() {
            // What this process publishes comes to itself at once; so the server is asked, by the way that hints go.
            Some(BusState::Connected) => {
                return round_trips(found, "bus", "NATS", &*self.platform.bus).await;
            }
            Some(BusState::Waiting(words)) => {
                let advice = "nothing is lost: readers read the logs, and timelines are up to a second later. Look at the bus, the way to it, and `bus` in the settings";
                return found.doubtful("bus", words, advice);
            }
            None => {}
        }
        let log = LogKey { service: Service::Identity, shard: Shard(0) };
        let probe = Bytes::from(p92_kernel::clock::random_bytes::<16>(&*self.platform.random).to_vec());
        let mut heard = self.platform.bus.subscribe(log);
        let began = Instant::now();
        let came = async {
            loop {
                let sent = Instant::now();
                self.platform.bus.publish(log, probe.clone());
                let mine = async { while heard.next().await.is_some_and(|body| body != probe) {} };
                // A listener that has just begun may miss the first.
                if tokio::time::timeout(Duration::from_millis(500), mine).await.is_ok() {
                    return sent.elapsed();
                }
            }
        };
        match tokio::time::timeout(PATIENCE, came).await {
            Ok(took) => graded(found, "bus", "a message comes", took),
            Err(_) => {
                let advice = "nothing is lost: readers read the logs. Timelines are up to a second later; look at the bus and the way to it";
                found.doubtful(
                    "bus",
                    format!("no message came within {} s", began.elapsed().as_secs()),
                    advice,
                );
            }
        }
    }

    fn keys(&self, found: &mut Findings) {
        let (made, old) = self.platform.keyring.rotation();
        let Some(made) = made else {
            return found.broken(
                "keys",
                "the key file has no key".to_owned(),
                "restore it from its own backup",
            );
        };
        let age = self.platform.clock.now().since(made);
        let text = format!("the rotating key is {} days old", age.as_secs() / 86_400);
        if old > 0 {
            let advice = "a rotation was cut off; run it again: p92 keys rotate";
            found.doubtful("keys", format!("{text}, and {old} older ones are still in the file"), advice);
        } else if age > KEYS_AGE {
            let advice = "p92 keys rotate, so that what was erased cannot be read in old copies either; then take a backup";
            found.doubtful("keys", text, advice);
        } else {
            found.good("keys", text);
        }
    }

    async fn slots(&self, found: &mut Findings) {
        let owners = match self.owners().await {
            Ok(owners) => owners,
            Err(error) => return found.broken("slots", error.message().to_owned(), "see `store`"),
        };
        let living = |id: &str| {
            owners.members.iter().any(|member| {
                let silent = member.silent_ms.unwrap_or_default();
                member.id == id && Duration::from_millis(silent) < p92_eventlog::membership::DEAD_AFTER
            })
        };
        let all = usize::from(self.platform.shards.get()) * Service::ALL.len();
        let held = owners.owners.iter().filter(|owner| living(&owner.member)).count();
        let text = format!(
            "{held} of {all} are held by {} living members",
            owners.members.iter().filter(|member| living(&member.id)).count()
        );
        if held < all {
            let advice = "whose commands go there are told to come back. Start the services that are missing (p92 owners); after a start it takes a moment";
            found.broken("slots", text, advice);
        } else {
            found.good("slots", text);
        }
    }

    async fn readers(&self, found: &mut Findings) {
        match self.lags().await {
            Ok(lags) => {
                let worst = lags.iter().max_by_key(|lag| lag.head.saturating_sub(lag.applied));
                let behind = worst.map_or(0, |lag| lag.head.saturating_sub(lag.applied));
                let who = worst.filter(|_| behind > 0).map(|lag| {
                    let reader = if lag.reader.is_empty() { "the owner" } else { &lag.reader };
                    format!(" ({reader} of {}/{})", lag.service, lag.shard)
                });
                let text = format!("at most {behind} events behind{}", who.unwrap_or_default());
                if behind > BEHIND {
                    found.doubtful(
                        "readers",
                        text,
                        "p92 lag shows all of them; after a restore they catch up by themselves",
                    );
                } else {
                    found.good("readers", text);
                }
            }
            Err(error) => found.broken("readers", error.message().to_owned(), "see `store`"),
        }
        match self.put_aside(false).await {
            Ok(aside) if aside.is_empty() => found.good("quarantine", "nothing is put aside".to_owned()),
            Ok(aside) => {
                let advice = "p92 quarantine says why; mend it, then p92 quarantine retry READER STREAM";
                found.doubtful("quarantine", format!("{} events are put aside", aside.len()), advice);
            }
            Err(error) => found.broken("quarantine", error.message().to_owned(), "see `store`"),
        }
    }
}
