//! What identity does because of its own events, after a crash too: what an ended account or an old password leaves is
//! cleared away.
//!
//! It listens to no other service. The commands that wrote these events have usually done it already.

use crate::app::App;
use async_trait::async_trait;
use p92_eventlog::{ConsumeError, Consumer, Recorded};
use p92_kernel::{ErrorCode, Failure, Service};
use p92_proto::identity::v1;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// Clears away what ended accounts and old passwords leave.
#[derive(Debug, Default)]
pub struct Clearing {
    /// The app, once it is there: readers begin before it.
    app: OnceLock<Weak<App>>,
}

impl Clearing {
    /// From now on events have effects.
    pub fn begin(&self, app: &Arc<App>) {
        // Set once, by `start`; a second one would be the same.
        let _ = self.app.set(Arc::downgrade(app));
    }

    fn app(&self) -> Result<Arc<App>, Failure> {
        self.app.get().and_then(Weak::upgrade).ok_or_else(|| {
            Failure::unavailable("STARTING", "The service is starting.", Duration::from_millis(100))
        })
    }

    async fn clear(&self, event: &Recorded) -> Result<(), ConsumeError> {
        let app = self.app()?;
        if event.is::<v1::AccountErased>() {
            let erased: v1::AccountErased = event.decode()?;
            app.bury(erased.account_id).await?;
            return Ok(app.end_relationships(erased.account_id, event.event.event_id).await?);
        }
        let changed: v1::PasswordChanged = event.decode()?;
        let (account, at) = (changed.account_id, event.time().0);
        Ok(app.end_sign_ins(account, at, changed.kept_session_id).await?)
    }
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
        matches!(event_type, "p92.identity.v1.AccountErased" | "p92.identity.v1.PasswordChanged")
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
