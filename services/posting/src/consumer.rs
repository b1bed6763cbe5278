//! What follows from events: an erased account takes its posts and reactions with it, a deleted post its key and what
//! others did with it. Each effect can be done again from its beginning.

use crate::app::App;
use crate::app::clean::Ending;
use async_trait::async_trait;
use p92_eventlog::{ConsumeError, Consumer, Recorded};
use p92_kernel::{AccountId, PostId, Service};
use p92_proto::identity::v1::AccountErased;
use p92_proto::posting::v1::PostDeleted;
use std::sync::{Arc, OnceLock};

/// The app, once the runtime that it needs has started, and the way to whichever replica holds a shard. Readers begin
/// before that is known.
pub type Later = Arc<OnceLock<(App, Ending)>>;

fn started(app: &Later) -> Result<&(App, Ending), ConsumeError> {
    app.get().ok_or_else(|| ConsumeError::Wait(p92_eventlog::error::not_here()))
}

/// Erases what erased accounts leave here.
#[derive(Debug)]
pub struct Erasure(pub Later);

#[async_trait]
impl Consumer for Erasure {
    fn name(&self) -> &'static str {
        "posting.erasure"
    }

    fn source(&self) -> Service {
        Service::Identity
    }

    fn wants(&self, event_type: &str) -> bool {
        event_type == "p92.identity.v1.AccountErased"
    }

    async fn handle(&self, event: &Recorded) -> Result<(), ConsumeError> {
        let erased: AccountErased = event.decode()?;
        let account = AccountId::new(erased.account_id)
            .ok_or_else(|| event.unreadable(format!("{} is no account", erased.account_id)))?;
        let (app, ending) = started(&self.0)?;
        Ok(app.erase(ending, account, event.event.event_id).await?)
    }
}

/// Clears away after deleted posts.
#[derive(Debug)]
pub struct Clearing(pub Later);

#[async_trait]
impl Consumer for Clearing {
    fn name(&self) -> &'static str {
        "posting.clearing"
    }

    fn source(&self) -> Service {
        Service::Posting
    }

    fn wants(&self, event_type: &str) -> bool {
        event_type == "p92.posting.v1.PostDeleted"
    }

    async fn handle(&self, event: &Recorded) -> Result<(), ConsumeError> {
        let deleted: PostDeleted = event.decode()?;
        let post = PostId::new(deleted.post_id)
            .ok_or_else(|| event.unreadable(format!("{} is no post", deleted.post_id)))?;
        let (app, ending) = started(&self.0)?;
        Ok(app.clear(ending, post, event.event.event_id).await?)
    }
}
