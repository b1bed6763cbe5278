//! A post is edited, pinned, deleted by its author.

use super::people::{Acting, Interactions};
use super::publish::{Composed, seal};
use super::{App, Stopped, actor_of, decide_post, options_of, post_stream};
use crate::domain::draft::Typed;
use crate::domain::post::{Command, Edit, PINS, Post};
use crate::domain::{EndReason, Rejection};
use crate::tables;
use crate::wire::visibility_from_wire;
use futures::FutureExt as _;
use p92_eventlog::{CommandMeta, Keyring, Receipt, Round};
use p92_kernel::{AccountId, Failure, PostId, Service};
use p92_proto::posting::v1;
use p92_proto::posting::v1::entry_row::Entry;
use p92_storage::{Direction, Range};
use prost::Message;
use std::sync::Arc;

/// An edit before its round.
#[derive(Debug)]
struct Prepared {
    author: AccountId,
    composed: Composed,
}

/// The post that a request names; what cannot be an id names none.
pub(super) fn post_of(raw: u64) -> Result<PostId, Failure> {
    PostId::new(raw).ok_or_else(|| Rejection::NotFound.into())
}

impl App {
    /// Changes a post.
    pub async fn edit(&self, request: v1::EditPostRequest) -> Result<Receipt, Failure> {
        actor_of(request.context.as_ref())?;
        let post = post_of(request.post_id)?;
        let body = v1::EditPostRequest { context: None, ..request.clone() };
        let meta = CommandMeta::of(request.context.as_ref(), "p92.posting.v1.EditPost", &body)?;
        let gathered = self.prepare_edit(&request).await;
        let keyring = Arc::clone(&self.runtime.platform().keyring);
        self.decide("EditPost", post.shard(), meta, gathered, move |round, prepared| {
            let keyring = Arc::clone(&keyring);
            async move { change(round, &keyring, post, &prepared).await }.boxed()
        })
        .await
    }

    async fn prepare_edit(&self, request: &v1::EditPostRequest) -> Result<Prepared, Stopped> {
        let options = self.posts.fresh(Some(options_of(request.context.as_ref()))).await?;
        let acting = Acting::ask(&self.posts.identity, &options).await?;
        let found = self.posts.entry(request.post_id).await?.map(|found| found.entry);
        let Some(Entry::Post(row)) = found else { return Err(Rejection::NotFound.into()) };
        if row.author_id != acting.actor.id.get() {
            return Err(Rejection::NotFound.into());
        }
        let typed = Typed {
            text: &request.text,
            content_warning: &request.content_warning,
            sensitive: request.sensitive,
            language: &request.language,
        };
        let mut composed = self.compose(&options, &acting, typed, request.remote.as_ref()).await?;
        let named: Vec<u64> = composed.content.mentions.iter().map(|mention| mention.account_id).collect();
        let interactions = Interactions::ask(&self.posts.identity, &options, named).await?;
        let visibility = visibility_from_wire(row.visibility()).ok_or(Rejection::NotFound)?;
        composed.content.mentions = interactions.admit(&acting, visibility, composed.content.mentions)?;
        Ok(Prepared { author: acting.actor.id, composed })
    }

    /// Deletes a post.
    pub async fn delete(&self, request: v1::DeletePostRequest) -> Result<Receipt, Failure> {
        let by = actor_of(request.context.as_ref())?;
        let command = Command::Delete { by, reason: EndReason::TakenBack };
        let body = v1::DeletePostRequest { context: None, ..request };
        self.simply("DeletePost", request.context.as_ref(), &body, request.post_id, command).await
    }

    /// No longer shows a post on the profile.
    pub async fn unpin(&self, request: v1::UnpinPostRequest) -> Result<Receipt, Failure> {
        let command = Command::Unpin { by: actor_of(request.context.as_ref())? };
        let body = v1::UnpinPostRequest { context: None, ..request };
        self.simply("UnpinPost", request.context.as_ref(), &body, request.post_id, command).await
    }

    /// Shows a post on the profile.
    pub async fn pin(&self, request: v1::PinPostRequest) -> Result<Receipt, Failure> {
        let by = actor_of(request.context.as_ref())?;
        let post = post_of(request.post_id)?;
        let body = v1::PinPostRequest { context: None, ..request.clone() };
        let meta = CommandMeta::of(request.context.as_ref(), "p92.posting.v1.PinPost", &body)?;
        self.decide("PinPost", post.shard(), meta, Ok(()), move |round, _| {
            async move {
                // Pins stand in the shard of their author, so the round sees all of them.
                let partition = tables::id(by.get());
                let pins = round.rows(&tables::PINS, partition, Range::all(), Direction::Forward, PINS + 1);
                let pinned = pins.await?.len();
                decide_post(round, post, Command::Pin { by, pinned }).await
            }
            .boxed()
        })
        .await
    }

    /// A command that needs nothing but the post itself.
    async fn simply(
        &self,
        name: &'static str,
        context: Option<&p92_proto::event::v1::CommandContext>,
        body: &impl Message,
        post: u64,
        command: Command,
    ) -> Result<Receipt, Failure> {
        let post = post_of(post)?;
        let meta = CommandMeta::of(context, &format!("p92.posting.v1.{name}"), body)?;
        self.decide(name, post.shard(), meta, Ok(()), move |round, _| {
            let command = command.clone();
            async move { decide_post(round, post, command).await }.boxed()
        })
        .await
    }
}

/// Edits a post on the state that the round finds.
async fn change(
    round: &mut Round,
    keyring: &Keyring,
    post: PostId,
    prepared: &Prepared,
) -> Result<(), Failure> {
    let loaded = round.load::<Post>(&post_stream(post)).await?;
    let standing = loaded.state.standing().filter(|standing| standing.author == prepared.author);
    let Some(standing) = standing else { return Err(Rejection::NotFound.into()) };
    let Some(present) = keyring.open(Service::Posting, &standing.content).await? else {
        return Err(Rejection::NotFound.into());
    };
    let present = v1::PostContent::decode(present).map_err(Failure::internal)?;
    let Composed { content, sensitive, language } = &prepared.composed;
    // Addresses are stored once, at the birth of a post.
    let content = v1::PostContent { url: present.url.clone(), ..content.clone() };
    let same_content = content == present;
    let sealed = seal(round, keyring, prepared.author, post, &content).await?;
    let edit = Edit {
        by: prepared.author,
        content: sealed.content,
        same_content,
        sensitive: *sensitive,
        language: language.clone(),
        mentioned: sealed.mentioned,
        tags: sealed.tags,
        at: round.now(),
    };
    decide_post(round, post, Command::Edit(Box::new(edit))).await
}
