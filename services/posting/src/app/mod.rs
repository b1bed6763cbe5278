//! Commands: gather context, decide, append. The only place that knows this order.
//!
//! | room | noun |
//! |---|---|
//! | `people` | the actor, whom he names, what he may do to them |
//! | `publish` | a post begins |
//! | `change` | a post is edited, pinned, deleted |
//! | `react` | likes, boosts, bookmarks |
//! | `clean` | what ends because an account or a post did |

mod change;
pub mod clean;
mod people;
mod publish;
mod react;

use crate::domain::Rejection;
use crate::metrics::Metrics;
use crate::view::posts::Posts;
use crate::{Config, domain};
use futures::future::BoxFuture;
use p92_eventlog::{CommandMeta, Receipt, Round, Runtime, Stream};
use p92_kernel::{AccountId, ErrorCode, Failure, PostId, Shard};
use p92_proto::event::v1::{CommandContext, ReadOptions};
use std::sync::Arc;

/// What decides commands.
#[derive(Clone, Debug)]
pub struct App {
    pub runtime: Arc<Runtime>,
    pub posts: Posts,
    pub config: Config,
    pub metrics: Metrics,
}

/// The stream of a post, under whose name its content is sealed too.
#[must_use]
pub fn post_stream(post: PostId) -> Stream {
    Stream::new("post", post)
}

/// The stream of what one account does with one post.
#[must_use]
pub fn reaction_stream(post: PostId, actor: AccountId) -> Stream {
    Stream::new("reaction", format_args!("{post}-{actor}"))
}

/// The context of a command, with who acts.
fn actor_of(context: Option<&CommandContext>) -> Result<AccountId, Failure> {
    let actor = context.and_then(|context| AccountId::new(context.actor_id));
    actor.ok_or_else(|| {
        Failure::new(ErrorCode::Unauthenticated, "NO_ACTOR", "This can only be done by an account.")
    })
}

/// What the actor sees at the moment of the command: everything that was answered to him counts.
fn options_of(context: Option<&CommandContext>) -> ReadOptions {
    let context = context.cloned().unwrap_or_default();
    ReadOptions { at_least: context.after, viewer_id: context.actor_id, server_id: context.server_id }
}

/// Why a command cannot go on before its round: a rule said no, or the world did not answer.
#[derive(Debug)]
enum Stopped {
    Rejected(Rejection),
    Failed(Failure),
}

impl From<Rejection> for Stopped {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        // Whom identity does not know, and what may not be seen, is a rule's word, not an outage.
        if failure.code == ErrorCode::NotFound {
            Self::Rejected(Rejection::NotFound)
        } else {
            Self::Failed(failure)
        }
    }
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Rejected(rejection) => rejection.into(),
            Stopped::Failed(failure) => failure,
        }
    }
}

impl App {
    /// Decides a command in its shard, if what was gathered for it allows that.
    ///
    /// What was rejected beforehand still goes through the round if it has a key: an earlier call under the same key
    /// may have been accepted, and then its answer is the answer, whatever has changed since.
    async fn decide<G, F>(
        &self,
        name: &'static str,
        shard: Shard,
        meta: CommandMeta,
        gathered: Result<G, Stopped>,
        command: F,
    ) -> Result<Receipt, Failure>
    where
        G: Send + Sync + 'static,
        F: for<'a> Fn(&'a mut Round, Arc<G>) -> BoxFuture<'a, Result<(), Failure>> + Send + Sync + 'static,
    {
        let result = match gathered {
            Ok(gathered) => {
                let gathered = Arc::new(gathered);
                self.run(shard, meta, move |round| command(round, Arc::clone(&gathered))).await
            }
            Err(Stopped::Rejected(rejection)) if !meta.key.is_empty() => {
                let refused = self.run(shard, meta, move |_| {
                    let failure = rejection.clone().into();
                    Box::pin(async move { Err(failure) })
                });
                refused.await
            }
            Err(stopped) => Err(stopped.into()),
        };
        match &result {
            Ok(receipt) if receipt.repeated => self.metrics.command(name, "repeated"),
            Ok(receipt) if receipt.subject.is_none() => self.metrics.command(name, "unchanged"),
            Ok(_) => self.metrics.command(name, "done"),
            Err(failure) => self.metrics.command(name, &failure.reason),
        }
        result
    }

    async fn run<F>(&self, shard: Shard, meta: CommandMeta, command: F) -> Result<Receipt, Failure>
    where
        F: for<'a> FnMut(&'a mut Round) -> BoxFuture<'a, Result<(), Failure>> + Send + 'static,
    {
        self.runtime.execute(shard, meta, command).await
    }
}

/// Decides on a post that is loaded in the round, and emits what follows.
async fn decide_post(round: &mut Round, post: PostId, command: domain::post::Command) -> Result<(), Failure> {
    let stream = post_stream(post);
    let loaded = round.load::<domain::post::Post>(&stream).await?;
    let events = domain::post::decide(&loaded.state, command)?;
    if events.is_empty() {
        return Ok(());
    }
    round.emit::<domain::post::Post>(&stream, &events).await
}
