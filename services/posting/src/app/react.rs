//! Likes, boosts, bookmarks, and their ends.

use super::change::post_of;
use super::people::{Acting, Interactions};
use super::publish::{free_remote_id, is_object_id};
use super::{App, Stopped, actor_of, options_of, post_stream, reaction_stream};
use crate::domain::post::Post;
use crate::domain::reaction::{self, Command, Reaction, Target};
use crate::domain::rules::{Audience, Policies, Standing, check_boost};
use crate::domain::{EndReason, Rejection, Visibility};
use crate::wire::visibility_from_wire;
use futures::FutureExt as _;
use p92_eventlog::error::done_but_unread;
use p92_eventlog::{CommandMeta, Receipt, Round};
use p92_kernel::{AccountId, Failure, Millis, PostId};
use p92_proto::event::v1::CommandContext;
use p92_proto::posting::v1;
use p92_proto::posting::v1::entry_row::Entry;
use prost::Message;
use std::sync::Arc;

/// What is known before the round of a reaction.
#[derive(Debug)]
struct Prepared {
    acting: Acting,
    policies: Option<Policies>,
    standing: Standing,
    remote: Option<v1::RemoteReaction>,
    visibility: Visibility,
}

/// Which mark begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begins {
    Like,
    Boost,
    Bookmark,
}

/// A reaction as it was asked for.
struct Asked<'a> {
    context: Option<&'a CommandContext>,
    post: u64,
    remote: Option<v1::RemoteReaction>,
    visibility: v1::Visibility,
}

impl App {
    /// Likes a post.
    pub async fn like(&self, request: v1::LikeRequest) -> Result<Receipt, Failure> {
        let body = v1::LikeRequest { context: None, ..request.clone() };
        let asked = Asked {
            context: request.context.as_ref(),
            post: request.post_id,
            remote: request.remote,
            visibility: v1::Visibility::Unspecified,
        };
        self.begin("Like", Begins::Like, asked, &body).await
    }

    /// Boosts a post; tells which boost stands now.
    pub async fn boost(&self, request: v1::BoostRequest) -> Result<(Receipt, u64), Failure> {
        let actor = actor_of(request.context.as_ref())?;
        let body = v1::BoostRequest { context: None, ..request.clone() };
        let asked = Asked {
            context: request.context.as_ref(),
            post: request.post_id,
            visibility: request.visibility(),
            remote: request.remote,
        };
        let receipt = self.begin("Boost", Begins::Boost, asked, &body).await?;
        let post = self.posts.wrapped(request.post_id).await.map_err(done_but_unread)?;
        let boost = self.posts.reaction(post, actor.get()).await.map_err(done_but_unread)?.boost_id;
        Ok((receipt, boost))
    }

    /// Bookmarks a post.
    pub async fn bookmark(&self, request: v1::BookmarkRequest) -> Result<Receipt, Failure> {
        let body = v1::BookmarkRequest { context: None, ..request };
        let asked = Asked {
            context: request.context.as_ref(),
            post: request.post_id,
            remote: None,
            visibility: v1::Visibility::Unspecified,
        };
        self.begin("Bookmark", Begins::Bookmark, asked, &body).await
    }

    /// Takes a like back.
    pub async fn unlike(&self, request: v1::UnlikeRequest) -> Result<Receipt, Failure> {
        let body = v1::UnlikeRequest { context: None, ..request };
        let command = Command::Unlike { reason: EndReason::TakenBack };
        self.end("Unlike", request.context.as_ref(), request.post_id, &body, command).await
    }

    /// Takes a boost back.
    pub async fn unboost(&self, request: v1::UnboostRequest) -> Result<Receipt, Failure> {
        let body = v1::UnboostRequest { context: None, ..request };
        let command = Command::Unboost { reason: EndReason::TakenBack };
        self.end("Unboost", request.context.as_ref(), request.post_id, &body, command).await
    }

    /// Removes a bookmark.
    pub async fn unbookmark(&self, request: v1::UnbookmarkRequest) -> Result<Receipt, Failure> {
        let body = v1::UnbookmarkRequest { context: None, ..request };
        let command = Command::Unbookmark { reason: EndReason::TakenBack };
        self.end("Unbookmark", request.context.as_ref(), request.post_id, &body, command).await
    }

    async fn begin(
        &self,
        name: &'static str,
        begins: Begins,
        asked: Asked<'_>,
        body: &impl Message,
    ) -> Result<Receipt, Failure> {
        let actor = actor_of(asked.context)?;
        let post = post_of(self.posts.wrapped(asked.post).await?)?;
        let meta = CommandMeta::of(asked.context, &format!("p92.posting.v1.{name}"), body)?;
        let gathered = self.prepare_reaction(post, begins, asked).await;
        self.decide(name, post.shard(), meta, gathered, move |round, prepared| {
            async move { react(round, post, actor, begins, &prepared).await }.boxed()
        })
        .await
    }

    async fn prepare_reaction(
        &self,
        post: PostId,
        begins: Begins,
        asked: Asked<'_>,
    ) -> Result<Prepared, Stopped> {
        let options = self.posts.fresh(Some(options_of(asked.context))).await?;
        let acting = Acting::ask(&self.posts.identity, &options).await?;
        match (&acting.home, &asked.remote) {
            (Some(_), None) => {}
            (None, Some(remote)) if is_object_id(&remote.activity_id) => {}
            (None, Some(_)) => return Err(Rejection::BadObjectId.into()),
            (None, None) if begins == Begins::Bookmark => {}
            _ => return Err(Rejection::OriginMismatch.into()),
        }
        let found = self.posts.entry(post.get()).await?.map(|found| found.entry);
        let Some(Entry::Post(row)) = found else { return Err(Rejection::NotFound.into()) };
        let interactions = Interactions::ask(&self.posts.identity, &options, [row.author_id]).await?;
        let mut standing = interactions.towards(row.author_id).standing;
        if row.author_id == options.viewer_id {
            standing.seen = crate::domain::rules::Seen::Everything;
        }
        Ok(Prepared {
            policies: acting.policies(),
            acting,
            standing,
            remote: asked.remote,
            visibility: visibility_from_wire(asked.visibility).unwrap_or(Visibility::Public),
        })
    }

    /// An end needs no permission: it takes away only what the actor himself made.
    async fn end(
        &self,
        name: &'static str,
        context: Option<&CommandContext>,
        post: u64,
        body: &impl Message,
        command: Command,
    ) -> Result<Receipt, Failure> {
        let actor = actor_of(context)?;
        let post = post_of(self.posts.wrapped(post).await?)?;
        let meta = CommandMeta::of(context, &format!("p92.posting.v1.{name}"), body)?;
        let command = Arc::new(command);
        self.decide(name, post.shard(), meta, Ok(()), move |round, _| {
            let command = Arc::clone(&command);
            async move { decide_reaction(round, post, actor, (*command).clone()).await }.boxed()
        })
        .await
    }
}

/// Begins a reaction to the post as the round finds it.
async fn react(
    round: &mut Round,
    post: PostId,
    actor: AccountId,
    begins: Begins,
    prepared: &Prepared,
) -> Result<(), Failure> {
    let loaded = round.load::<Post>(&post_stream(post)).await?;
    let target = Target::from(loaded.state.standing().ok_or(Rejection::NotFound)?);
    let audience =
        Audience { author: target.author, visibility: target.visibility, mentioned: &target.mentioned };
    if !audience.admits(Some(actor), prepared.standing) {
        return Err(Rejection::NotFound.into());
    }
    let known = round.load::<Reaction>(&reaction_stream(post, actor)).await?.state;
    let Acting { actor: acting, .. } = prepared.acting;
    let command = match begins {
        Begins::Bookmark => Command::Bookmark { id: round.next_id(), actor, post },
        Begins::Like => {
            if prepared.standing.blocks && target.author != actor {
                return Err(Rejection::BlockingAuthor.into());
            }
            let id = round.next_id();
            let activity_id = match &prepared.remote {
                Some(remote) => remote.activity_id.clone(),
                None => prepared.acting.object_id("likes", id.get()),
            };
            Command::Like { id, actor: acting, target, activity_id }
        }
        // What stands already stands, whatever the policy has become.
        Begins::Boost if known.boost.is_some() => return Ok(()),
        Begins::Boost => {
            let policies = prepared.policies.as_ref();
            let visibility =
                check_boost(&acting, policies, &audience, prepared.standing, prepared.visibility)?;
            let (id, activity_id, at) = match &prepared.remote {
                Some(remote) => {
                    let claimed =
                        if remote.published_ms == 0 { round.now() } else { Millis(remote.published_ms) };
                    let id = free_remote_id(round, &remote.activity_id, claimed).await?;
                    (id, remote.activity_id.clone(), id.millis())
                }
                None => {
                    let id = round.next_id();
                    (id, prepared.acting.object_id("boosts", id.get()), round.now())
                }
            };
            Command::Boost { id, actor: acting, target, activity_id, visibility, at }
        }
    };
    decide_reaction(round, post, actor, command).await
}

/// Decides on a reaction that is loaded in the round, and emits what follows.
pub(super) async fn decide_reaction(
    round: &mut Round,
    post: PostId,
    actor: AccountId,
    command: Command,
) -> Result<(), Failure> {
    let stream = reaction_stream(post, actor);
    let loaded = round.load::<Reaction>(&stream).await?;
    let events = reaction::decide(&loaded.state, command);
    if events.is_empty() {
        return Ok(());
    }
    round.emit::<Reaction>(&stream, &events).await
}
