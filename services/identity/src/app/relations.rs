//! Follows, blocks and mutes: one order for all of them. Who, to whom, decided in the round of the pair, sealed, answered.

use super::erasure::relationship_stream;
use super::{App, receipt, seal};
use crate::domain::account::State as AccountState;
use crate::domain::relationship::{Command, Context, Event, Pair, Party};
use crate::domain::{Account, Relationship, Sealed};
use crate::tables::{self, RELATIONSHIPS};
use crate::wire::rows::relationship_in;
use futures::FutureExt as _;
use p92_eventlog::error::done_but_unread;
use p92_eventlog::{CommandMeta, Receipt, Round};
use p92_kernel::{AccountId, Failure, Millis};
use p92_proto::event::v1::{CommandContext, CommandReceipt};
use p92_proto::identity::v1;
use std::sync::Arc;

/// The longest ActivityPub id of a Follow or Block.
const ACTIVITY_ID_BYTES: usize = 2_000;

/// What is asked; a mute's end is counted from the time of the round.
#[derive(Clone, Debug)]
enum Asked {
    Plain(Command),
    Mute { notifications: bool, duration_ms: u64 },
}

impl Asked {
    fn at(&self, now: Millis) -> Command {
        match self {
            Self::Plain(command) => command.clone(),
            Self::Mute { notifications, duration_ms: 0 } => {
                Command::Mute { notifications: *notifications, expires_ms: 0 }
            }
            Self::Mute { notifications, duration_ms } => Command::Mute {
                notifications: *notifications,
                expires_ms: now.0.saturating_add(*duration_ms),
            },
        }
    }
}

/// How the activity that a Follow or Block is to the rest of the Fediverse gets its id.
#[derive(Clone, Debug)]
enum Activity {
    /// It is none, or needs none.
    None,
    /// Its host gave it.
    Given(String),
    /// One is made: the actor's id, `#`, what it is, and its number.
    Made { actor: String, what: &'static str },
}

type Answer = (Option<CommandReceipt>, Option<v1::Relationship>);

impl App {
    /// What two accounts are to each other.
    pub(crate) async fn relationship_of(&self, pair: Pair) -> Result<Relationship, Failure> {
        let (partition, clustering) = tables::relationship(pair);
        let row =
            self.reads().get_message::<v1::RelationshipRow>(&RELATIONSHIPS, partition, clustering).await?;
        Ok(relationship_in(row.unwrap_or_default()))
    }

    async fn relate(
        &self,
        context: &CommandContext,
        meta: CommandMeta,
        other: u64,
        asked: Asked,
        activity: Activity,
    ) -> Result<Answer, Failure> {
        let actor = self.actor(context).await?;
        let target = self.account(other).await?.ok_or_else(|| Failure::not_found("account"))?;
        let pair = Pair { from: actor.born.id, to: other };
        let follows = matches!(asked, Asked::Plain(Command::Follow { .. }));
        let full = follows
            && !actor.is_remote()
            && self.counts(pair.from).await?.following >= self.config.most_following;
        let parties = (party(&actor, &target, context), party(&target, &actor, context));
        let activity = self.activity(&actor, activity).await?;
        let facts = Arc::new((asked, parties, full, activity));
        let done: Receipt = self
            .runtime
            .execute(self.pair_shard(pair), meta, move |round| {
                let facts = Arc::clone(&facts);
                async move {
                    let (asked, (from, to), full, activity) = &*facts;
                    let stream = relationship_stream(pair);
                    let loaded = round.load::<Relationship>(&stream).await?;
                    let now = round.now();
                    let new_id = round.next_id().get();
                    let context = Context { now, new_id, from: *from, to: *to, full: *full };
                    let mut events = loaded.state.decide(pair, asked.at(now), &context)?;
                    name_activity(round, &mut events, activity).await?;
                    round.emit::<Relationship>(&stream, &events).await
                }
                .boxed()
            })
            .await?;
        let relationship = self.relationship_of(pair).await.map_err(done_but_unread)?;
        let shown = shown(&relationship, pair, self.now());
        Ok((Some(receipt([done])), Some(shown)))
    }

    async fn activity(&self, actor: &Account, activity: Activity) -> Result<Activity, Failure> {
        match activity {
            Activity::Given(id) if id.len() > ACTIVITY_ID_BYTES => {
                let text = format!("At most {ACTIVITY_ID_BYTES} bytes.");
                Err(Failure::invalid("activity_id", "ACTIVITY_ID_TOO_LONG", text))
            }
            Activity::Given(id) if id.is_empty() && actor.is_remote() => Ok(Activity::None),
            Activity::Given(id) if !id.is_empty() && actor.is_remote() => Ok(Activity::Given(id)),
            Activity::Made { what, .. } => {
                if actor.is_remote() {
                    return Ok(Activity::None);
                }
                let ids = self.addresses(actor, None).await?.unwrap_or_default();
                Ok(Activity::Made { actor: ids.id, what })
            }
            Activity::Given(_) | Activity::None => Ok(Activity::None),
        }
    }

    /// Follows, or asks to.
    pub async fn follow(&self, mut request: v1::FollowRequest) -> Result<v1::FollowResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "Follow", &request)?;
        let command = Command::Follow {
            show_boosts: request.show_boosts,
            notify: request.notify,
            languages: request.set_languages.then_some(request.languages),
            activity_id: None,
        };
        let activity = asked_activity(request.activity_id, "follows");
        let asked = Asked::Plain(command);
        let (receipt, relationship) =
            self.relate(&context, meta, request.account_id, asked, activity).await?;
        Ok(v1::FollowResponse { receipt, relationship })
    }

    /// Blocks, and ends the follows of both.
    pub async fn block(&self, mut request: v1::BlockRequest) -> Result<v1::BlockResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "Block", &request)?;
        let activity = asked_activity(request.activity_id, "blocks");
        let asked = Asked::Plain(Command::Block { activity_id: None });
        let (receipt, relationship) =
            self.relate(&context, meta, request.account_id, asked, activity).await?;
        Ok(v1::BlockResponse { receipt, relationship })
    }

    /// Mutes, for a while or for ever.
    pub async fn mute(&self, mut request: v1::MuteRequest) -> Result<v1::MuteResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "Mute", &request)?;
        let asked = Asked::Mute {
            notifications: request.notifications.unwrap_or(true),
            duration_ms: request.duration_ms,
        };
        let (receipt, relationship) =
            self.relate(&context, meta, request.account_id, asked, Activity::None).await?;
        Ok(v1::MuteResponse { receipt, relationship })
    }
}

/// Commands that say nothing but to whom.
macro_rules! plain {
    ($(#[$doc:meta])* $name:ident, $request:ident, $response:ident, $command:ident, $title:literal) => {
        impl App {
            $(#[$doc])*
            pub async fn $name(&self, mut request: v1::$request) -> Result<v1::$response, Failure> {
                let context = request.context.take().unwrap_or_default();
                let meta = self.meta(&context, $title, &request)?;
                let asked = Asked::Plain(Command::$command);
                let (receipt, relationship) =
                    self.relate(&context, meta, request.account_id, asked, Activity::None).await?;
                Ok(v1::$response { receipt, relationship })
            }
        }
    };
}

plain!(
    /// Ends a follow or takes back a request.
    unfollow, UnfollowRequest, UnfollowResponse, Unfollow, "Unfollow"
);
plain!(
    /// Lets somebody follow who asked.
    accept_follow, AcceptFollowRequest, AcceptFollowResponse, Accept, "AcceptFollow"
);
plain!(
    /// Refuses somebody who asked.
    reject_follow, RejectFollowRequest, RejectFollowResponse, Reject, "RejectFollow"
);
plain!(
    /// Removes a follower.
    remove_follower, RemoveFollowerRequest, RemoveFollowerResponse, RemoveFollower, "RemoveFollower"
);
plain!(
    /// Ends a block.
    unblock, UnblockRequest, UnblockResponse, Unblock, "Unblock"
);
plain!(
    /// Ends a mute.
    unmute, UnmuteRequest, UnmuteResponse, Unmute, "Unmute"
);

fn asked_activity(given: String, what: &'static str) -> Activity {
    if given.is_empty() { Activity::Made { actor: String::new(), what } } else { Activity::Given(given) }
}

/// One of the two as the other's home and the asking server have it, whichever is stricter.
fn party(one: &Account, other: &Account, context: &CommandContext) -> Party {
    let states = [context.server_id, other.born.home].map(|server| one.state_for(server));
    let state = match states {
        [Some(a), Some(b)] => stricter(a, b),
        // Nobody ever met it: as good as gone.
        _ => AccountState::Erased,
    };
    Party { home: one.born.home, state, locked: one.locked }
}

fn stricter(a: AccountState, b: AccountState) -> AccountState {
    if !a.acts() || (a == AccountState::Limited && b.acts()) { a } else { b }
}

/// Gives what became a Follow or Block of the Fediverse its id, under the actor's key.
async fn name_activity(round: &mut Round, events: &mut [Event], activity: &Activity) -> Result<(), Failure> {
    for event in events {
        let (number, pair, place): (u64, Pair, &mut Option<Sealed>) = match event {
            Event::FollowRequested { edge, activity_id, .. }
            | Event::FollowStarted { edge, activity_id, .. } => (edge.id, edge.pair, activity_id),
            Event::BlockStarted { id, pair, activity_id } => (*id, *pair, activity_id),
            _ => continue,
        };
        let id = match activity {
            Activity::None => continue,
            Activity::Given(id) => id.clone(),
            Activity::Made { actor, what } => format!("{actor}#{what}/{number}"),
        };
        let actor = AccountId::new(pair.from).ok_or_else(|| Failure::internal("an actor without id"))?;
        *place = Some(seal(round, actor, "activity_id", id.as_bytes()).await?);
    }
    Ok(())
}

/// How two stand, as `pair.from` sees it at a moment.
pub(crate) fn shown(relationship: &Relationship, pair: Pair, now: Millis) -> v1::Relationship {
    use crate::domain::relationship::{Follow, Options};
    let (own, theirs) = (relationship.side(pair), relationship.side(pair.back()));
    let state = |follow: &Follow| match follow {
        Follow::None => v1::FollowState::None as i32,
        Follow::Requested { .. } => v1::FollowState::Requested as i32,
        Follow::Following { .. } => v1::FollowState::Following as i32,
    };
    let (follow_id, options) = match &own.follow {
        Follow::None => (0, Options { show_boosts: false, ..Options::default() }),
        Follow::Requested { id, options } | Follow::Following { id, options } => (*id, options.clone()),
    };
    let mute = own.mute.filter(|mute| mute.holds(now));
    let muted_by = theirs.mute.filter(|mute| mute.holds(now));
    v1::Relationship {
        account_id: pair.to,
        following: state(&own.follow),
        show_boosts: options.show_boosts,
        notify: options.notify,
        languages: options.languages,
        followed_by: state(&theirs.follow),
        blocking: own.block.is_some(),
        blocked_by: theirs.block.is_some(),
        muting: mute.is_some(),
        muting_notifications: mute.is_some_and(|mute| mute.notifications),
        mute_expires_ms: mute.map_or(0, |mute| mute.expires_ms),
        follow_id,
        muted_by: muted_by.is_some(),
        muted_by_notifications: muted_by.is_some_and(|mute| mute.notifications),
    }
}
