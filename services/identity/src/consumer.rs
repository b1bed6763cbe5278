//! What identity does because of its own events, after a crash too: what an ended account or an old password leaves is
//! cleared away.
//!
//! A follow is decided by the pair's shard on what the account's shard said before, so that an erasure may come between.
//! Whichever is applied last finds the other: its reader looks only when its own rows stand. If the erasure is the
//! later one, it finds the follow among the account's relationships; if the follow is, it finds the account erased.
//!
//! It listens to no other service. The commands that wrote these events have usually done it already.

use crate::app::App;
use crate::app::erasure::Ending;
use crate::domain::Relationship;
use async_trait::async_trait;
use p92_chassis::Transport;
use p92_eventlog::{Aggregate, ConsumeError, Consumer, Poison, Recorded};
use p92_kernel::{ErrorCode, Failure, Service};
use p92_proto::identity::v1;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Clears away what ended accounts and old passwords leave.
#[derive(Debug, Default)]
pub struct Clearing {
    /// The app, once it is there: readers begin before it.
    app: OnceLock<(Arc<App>, Ending)>,
}

impl Clearing {
    /// From now on events have effects, some of them in shards that other replicas hold: `own` leads to all of them.
    pub fn begin(&self, app: &Arc<App>, own: Transport) {
        // Set once, by `start`; a second one would be the same.
        let _ = self.app.set((Arc::clone(app), Ending::new(own)));
    }

    fn app(&self) -> Result<&(Arc<App>, Ending), Failure> {
        self.app.get().ok_or_else(|| {
            Failure::unavailable("STARTING", "The service is starting.", Duration::from_millis(100))
        })
    }

    async fn clear(&self, event: &Recorded) -> Result<(), ConsumeError> {
        let (app, ending) = self.app()?;
        if event.is::<v1::AccountErased>() {
            let erased: v1::AccountErased = event.decode()?;
            app.bury(erased.account_id).await?;
            return Ok(app.end_relationships(ending, erased.account_id, event.event.event_id).await?);
        }
        if let Some((from, to)) = begun(event)? {
            return Ok(app.end_if_erased(ending, from, to, event.event.event_id).await?);
        }
        let changed: v1::PasswordChanged = event.decode()?;
        let (account, at) = (changed.account_id, event.time().0);
        Ok(app.end_sign_ins(account, at, changed.kept_session_id).await?)
    }
}

/// Between whom something began, if that is what the event says.
fn begun(event: &Recorded) -> Result<Option<(u64, u64)>, Poison> {
    let begins =
        [event.is::<v1::FollowRequested>(), event.is::<v1::FollowStarted>(), event.is::<v1::BlockStarted>()];
    if !begins.contains(&true) && !event.is::<v1::MuteStarted>() {
        return Ok(None);
    }
    let pair = <Relationship as Aggregate>::decode(event)?.pair();
    Ok(Some((pair.from, pair.to)))
}

#[async_trait]
impl Consumer for Clearing {
    fn name(&self) -> &'static str {
        "identity.clearing"
    }

    fn source(&self) -> Service {
        Service::Identity
    }

    fn wants(&self, event_type: &str) -> bool {
        matches!(
            event_type.strip_prefix("p92.identity.v1."),
            Some(
                "AccountErased"
                    | "PasswordChanged"
                    | "FollowRequested"
                    | "FollowStarted"
                    | "BlockStarted"
                    | "MuteStarted"
            )
        )
    }

    async fn handle(&self, event: &Recorded) -> Result<(), ConsumeError> {
        match self.clear(event).await {
            // A bug does not go away by waiting, and nobody else shall wait for it.
            Err(ConsumeError::Wait(failure)) if failure.code == ErrorCode::Internal => {
                Err(event.unreadable(format!("{failure}: {:?}", failure.source)).into())
            }
            cleared => cleared,
        }
    }
}
