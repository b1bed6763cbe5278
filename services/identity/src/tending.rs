//! What nobody asks for and still must happen: claims are finished when a shard was taken over, what expired is swept.
//!
//! It holds no state but what it last did; whatever it does may be done twice, or by several processes at once.

use crate::app::App;
use p92_eventlog::worker::Holding;
use p92_kernel::Shard;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often it looks which shards are owned.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often owned shards are looked through for claims that a command left unfinished.
const RECOVER_EVERY: Duration = Duration::from_secs(60);

/// What was done, and when.
struct Tending {
    recovered: BTreeSet<Shard>,
    recover_all_at: Instant,
    sweep_at: Instant,
    sweep_every: Duration,
}

/// Tends until told to stop, or until the app is gone.
pub async fn tend(app: Weak<App>, stop: CancellationToken) {
    let sweep_every = match app.upgrade() {
        Some(app) => app.config.sweep_every.0.max(LOOK_EVERY),
        None => return,
    };
    let now = Instant::now();
    let mut tending = Tending {
        recovered: BTreeSet::new(),
        recover_all_at: now + RECOVER_EVERY,
        sweep_at: now + sweep_every,
        sweep_every,
    };
    while let Some(app) = app.upgrade() {
        tending.look(&app).await;
        drop(app);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

impl Tending {
    async fn look(&mut self, app: &Arc<App>) {
        let now = Instant::now();
        if now >= self.recover_all_at {
            self.recovered.clear();
            self.recover_all_at = now + RECOVER_EVERY;
        }
        for (shard, holding) in app.runtime.holdings() {
            if holding != Holding::Owning {
                self.recovered.remove(&shard);
            } else if !self.recovered.contains(&shard) {
                match app.recover(shard).await {
                    Ok(()) => {
                        self.recovered.insert(shard);
                    }
                    Err(failure) => {
                        tracing::warn!(%shard, %failure, "unfinished claims wait");
                    }
                }
            }
        }
        if now >= self.sweep_at {
            self.sweep_at = now + self.sweep_every;
            match app.sweep_passwords().await {
                Ok(swept) => tracing::debug!(swept, "passwords that are not in force were thrown away"),
                Err(failure) => tracing::warn!(%failure, "passwords that are not in force wait"),
            }
            match app.state.sweep(app.now().0).await {
                Ok(swept) => tracing::debug!(swept, "expired codes and sessions were thrown away"),
                Err(failure) => tracing::warn!(%failure, "expired codes and sessions wait to be thrown away"),
            }
        }
    }
}
