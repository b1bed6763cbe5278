//! The lease of the migration: one runner at a time, and a dead one holds nobody up for long.
//!
//! In: a connection. Out: a lease that beats by itself until it is given back. It must not know what its holder does.
//!
//! Nobody compares clocks. The holder raises a count; whoever waits and has itself seen no beat for long enough takes the
//! lease by naming the count that it saw. A holder that was only slow loses it with its next beat.

use super::config::CqlConfig;
use super::connect::Connection;
use super::notes;
use super::place::META;
use crate::{Outcome, StoreError};
use scylla::value::CqlValue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How often whoever waits looks.
const LOOK: Duration = Duration::from_millis(200);

/// A lease that is held.
#[derive(Debug)]
pub struct Lease {
    connection: Arc<Connection>,
    keyspace: String,
    holder: String,
    lost: Arc<AtomicBool>,
    beating: JoinHandle<()>,
}

fn text(text: &str) -> CqlValue {
    CqlValue::Text(text.to_owned())
}

impl Lease {
    /// Waits until the lease is free or its holder silent, and takes it. Says once that it waits.
    pub async fn take(
        connection: &Arc<Connection>,
        config: &CqlConfig,
        waits: &(dyn Fn() + Send + Sync),
    ) -> Result<Self, StoreError> {
        let keyspace = &config.keyspace;
        let holder = notes::random_id()?;
        let insert = format!(
            "INSERT INTO {keyspace}.{META} (name, holder, beat) VALUES ('lease', ?, 0) IF NOT EXISTS"
        );
        let seize = format!(
            "UPDATE {keyspace}.{META} SET holder = ?, beat = 0 WHERE name = 'lease' IF holder = ? AND beat = ?"
        );
        let ends = Instant::now() + config.lease_wait;
        let mut seen: Option<((String, u64), Instant)> = None;
        loop {
            let answer = match &seen {
                Some((stands, since)) if since.elapsed() >= config.lease_silence => {
                    let beat = CqlValue::BigInt(i64::try_from(stands.1).unwrap_or(i64::MAX));
                    notes::decide(connection, &seize, vec![text(&holder), text(&stands.0), beat]).await
                }
                _ => notes::decide(connection, &insert, vec![text(&holder)]).await,
            };
            match answer {
                Ok(answer) if answer.applied => break,
                Ok(answer) => {
                    let stands =
                        (answer.text("holder").unwrap_or_default(), answer.number("beat").unwrap_or(0));
                    // An attempt of ours of which no answer came.
                    if stands.0 == holder {
                        break;
                    }
                    if seen.is_none() {
                        waits();
                    }
                    if seen.as_ref().is_none_or(|(before, _)| *before != stands) {
                        seen = Some((stands, Instant::now()));
                    }
                }
                // Not answered: asked again below; what was seen before stays seen.
                Err(StoreError::Unavailable { .. }) if Instant::now() < ends => {}
                Err(error) => return Err(error),
            }
            if Instant::now() >= ends {
                return Err(StoreError::Unavailable {
                    reason: "another migration is running and has not ended".to_owned(),
                    outcome: Outcome::NoEffect,
                });
            }
            tokio::time::sleep(LOOK).await;
        }
        let lost = Arc::new(AtomicBool::new(false));
        let beats = beat(
            Arc::clone(connection),
            keyspace.clone(),
            holder.clone(),
            Arc::clone(&lost),
            config.lease_silence / 5,
        );
        Ok(Self {
            connection: Arc::clone(connection),
            keyspace: keyspace.clone(),
            holder,
            lost,
            beating: tokio::spawn(beats),
        })
    }

    /// Refuses once somebody else has taken it.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.lost.load(Ordering::Acquire) {
            return Err(StoreError::Unavailable {
                reason: "another migration took over; this one was silent for too long".to_owned(),
                outcome: Outcome::Unknown,
            });
        }
        Ok(())
    }

    /// Gives it back. If that does not arrive, silence frees it.
    pub async fn give_back(self) {
        self.beating.abort();
        let delete = format!("DELETE FROM {}.{META} WHERE name = 'lease' IF holder = ?", self.keyspace);
        if let Err(error) = notes::decide(&self.connection, &delete, vec![text(&self.holder)]).await {
            tracing::warn!(%error, "the lease of the migration was not given back; it ends by itself");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

async fn beat(
    connection: Arc<Connection>,
    keyspace: String,
    holder: String,
    lost: Arc<AtomicBool>,
    every: Duration,
) {
    let raise = format!("UPDATE {keyspace}.{META} SET beat = ? WHERE name = 'lease' IF holder = ?");
    for count in 1.. {
        tokio::time::sleep(every).await;
        let values = vec![CqlValue::BigInt(count), text(&holder)];
        if notes::decide(&connection, &raise, values).await.is_ok_and(|answer| !answer.applied) {
            lost.store(true, Ordering::Release);
            return;
        }
    }
}
