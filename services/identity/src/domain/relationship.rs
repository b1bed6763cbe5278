//! The relationship of two accounts: follows, blocks and mutes of both directions in one small stream, so that a block
//! and the end of both follows are one append.
//!
//! ```text
//! follow:  none ─Requested─▶ requested ─Accepted─▶ following       none ─Started─▶ following
//!          each ends by Unfollow, Reject, RemoveFollower, Block of either, or the erasure of either
//! block:   none ⇄ block                    mute:  none ⇄ mute, which may end by time without an event
//! ```

use super::account::State;
use super::sealed::Sealed;
use p92_kernel::Millis;

/// Languages that one follow is narrowed to.
pub const LANGUAGES: usize = 20;
/// The longest that a mute with an end lasts.
pub const LONGEST_MUTE_MS: u64 = 10 * 366 * 24 * 3_600 * 1_000;

/// How a follow is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub show_boosts: bool,
    pub notify: bool,
    /// Empty for all.
    pub languages: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { show_boosts: true, notify: false, languages: Vec::new() }
    }
}

/// How far a follow got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Follow {
    #[default]
    None,
    Requested {
        id: u64,
        options: Options,
    },
    Following {
        id: u64,
        options: Options,
    },
}

/// A mute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mute {
    pub id: u64,
    pub notifications: bool,
    /// 0 for never.
    pub expires_ms: u64,
}

impl Mute {
    /// Whether it still holds.
    #[must_use]
    pub const fn holds(&self, now: Millis) -> bool {
        self.expires_ms == 0 || now.0 < self.expires_ms
    }
}

/// What one of the two did towards the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    pub follow: Follow,
    /// Id of the block.
    pub block: Option<u64>,
    pub mute: Option<Mute>,
}

/// What two accounts are to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relationship {
    /// What the one with the smaller id did.
    pub low: Side,
    /// What the one with the larger id did.
    pub high: Side,
}

/// Who does something to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    pub from: u64,
    pub to: u64,
}

impl Pair {
    /// The other way round.
    #[must_use]
    pub const fn back(self) -> Self {
        Self { from: self.to, to: self.from }
    }

    /// Both ids, the smaller first.
    #[must_use]
    pub const fn ordered(self) -> (u64, u64) {
        if self.from < self.to { (self.from, self.to) } else { (self.to, self.from) }
    }
}

/// One of the two accounts, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    /// Its home; 0: elsewhere.
    pub home: u64,
    pub state: State,
    pub locked: bool,
}

/// What a decision needs besides the relationship.
#[derive(Clone, Debug)]
pub struct Context {
    pub now: Millis,
    /// For the follow, block or mute that begins.
    pub new_id: u64,
    pub from: Party,
    pub to: Party,
    /// The follower has as many follows as anybody may have.
    pub full: bool,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `None` leaves what is.
    Follow {
        show_boosts: Option<bool>,
        notify: Option<bool>,
        languages: Option<Vec<String>>,
        activity_id: Option<Sealed>,
    },
    Unfollow,
    /// `from` accepts the request of `to`.
    Accept,
    Reject,
    RemoveFollower,
    Block {
        activity_id: Option<Sealed>,
    },
    Unblock,
    Mute {
        notifications: bool,
        expires_ms: u64,
    },
    Unmute,
    /// One of the two was erased.
    End,
}

/// Why a follow or request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowEnd {
    Unfollowed,
    Rejected,
    Removed,
    Blocked,
    Erased,
}

/// The ends of a follow, and their homes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    pub id: u64,
    pub pair: Pair,
    pub from_home: u64,
    pub to_home: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    FollowRequested { edge: Edge, options: Options, activity_id: Option<Sealed> },
    FollowStarted { edge: Edge, options: Options, activity_id: Option<Sealed> },
    FollowAccepted { edge: Edge, options: Options },
    FollowRequestEnded { id: u64, pair: Pair, reason: FollowEnd },
    FollowChanged { id: u64, pair: Pair, options: Options, requested: bool },
    FollowEnded { id: u64, pair: Pair, reason: FollowEnd },
    BlockStarted { id: u64, pair: Pair, activity_id: Option<Sealed> },
    BlockEnded { id: u64, pair: Pair },
    MuteStarted { pair: Pair, mute: Mute },
    MuteEnded { id: u64, pair: Pair },
}

/// Why it cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("This needs two accounts.")]
    Oneself,
    #[error("This account cannot do anything now.")]
    ActorCannotAct,
    #[error("There is no such account.")]
    NoSuchAccount,
    #[error("You cannot follow this account.")]
    BlockedBy,
    #[error("You block this account. Unblock it before you follow it.")]
    Blocking,
    #[error("Nobody may follow more accounts.")]
    TooManyFollows,
    #[error("There is no such follow request.")]
    NoRequest,
    #[error("At most {LANGUAGES} well-formed language tags.")]
    Languages,
    #[error("A mute lasts at most ten years.")]
    TooLong,
}

impl Relationship {
    /// What `pair.from` did towards `pair.to`.
    #[must_use]
    pub const fn side(&self, pair: Pair) -> &Side {
        if pair.from < pair.to { &self.low } else { &self.high }
    }

    const fn side_mut(&mut self, pair: Pair) -> &mut Side {
        if pair.from < pair.to { &mut self.low } else { &mut self.high }
    }

    /// Whether the two are nothing to each other.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What follows from a command of `pair.from`. No events: nothing has to change.
    pub fn decide(&self, pair: Pair, command: Command, context: &Context) -> Result<Vec<Event>, Rejection> {
        if pair.from == pair.to {
            return Err(Rejection::Oneself);
        }
        if command == Command::End {
            return Ok(self.end_all(pair, FollowEnd::Erased));
        }
        if !context.from.state.acts() {
            return Err(Rejection::ActorCannotAct);
        }
        let own = self.side(pair);
        match command {
            Command::Follow { show_boosts, notify, languages, activity_id } => {
                let wanted = Wanted { show_boosts, notify, languages };
                self.follow(pair, wanted, activity_id, context)
            }
            Command::Unfollow => Ok(end_follow(own, pair, FollowEnd::Unfollowed).into_iter().collect()),
            Command::Accept => self.accept(pair, context),
            Command::Reject => self.reject(pair, context),
            Command::RemoveFollower => {
                let theirs = self.side(pair.back());
                Ok(end_follow(theirs, pair.back(), FollowEnd::Removed).into_iter().collect())
            }
            Command::Block { activity_id } => self.block(pair, activity_id, context),
            Command::Unblock => Ok(own.block.map(|id| Event::BlockEnded { id, pair }).into_iter().collect()),
            Command::Mute { notifications, expires_ms } => {
                self.mute(pair, notifications, expires_ms, context)
            }
            Command::Unmute => {
                Ok(own.mute.map(|mute| Event::MuteEnded { id: mute.id, pair }).into_iter().collect())
            }
            Command::End => Ok(Vec::new()),
        }
    }

    fn follow(
        &self,
        pair: Pair,
        wanted: Wanted,
        activity_id: Option<Sealed>,
        context: &Context,
    ) -> Result<Vec<Event>, Rejection> {
        let (own, theirs) = (self.side(pair), self.side(pair.back()));
        wanted.check()?;
        visible(context)?;
        if theirs.block.is_some() {
            return Err(Rejection::BlockedBy);
        }
        if own.block.is_some() {
            return Err(Rejection::Blocking);
        }
        match &own.follow {
            Follow::Requested { id, options } | Follow::Following { id, options } => {
                let new = wanted.over(options);
                if new == *options {
                    return Ok(Vec::new());
                }
                let requested = matches!(own.follow, Follow::Requested { .. });
                Ok(vec![Event::FollowChanged { id: *id, pair, options: new, requested }])
            }
            Follow::None => {
                if context.full {
                    return Err(Rejection::TooManyFollows);
                }
                let edge = context.edge(pair, context.new_id);
                let options = wanted.over(&Options::default());
                // A host elsewhere answers for its accounts itself; who is limited must be let in by each.
                let asks = context.to.locked || context.to.home == 0 || context.from.state == State::Limited;
                Ok(vec![if asks {
                    Event::FollowRequested { edge, options, activity_id }
                } else {
                    Event::FollowStarted { edge, options, activity_id }
                }])
            }
        }
    }

    fn accept(&self, pair: Pair, context: &Context) -> Result<Vec<Event>, Rejection> {
        match &self.side(pair.back()).follow {
            Follow::Requested { id, options } => {
                let edge = context.back().edge(pair.back(), *id);
                Ok(vec![Event::FollowAccepted { edge, options: options.clone() }])
            }
            Follow::Following { .. } => Ok(Vec::new()),
            Follow::None => Err(Rejection::NoRequest),
        }
    }

    fn reject(&self, pair: Pair, context: &Context) -> Result<Vec<Event>, Rejection> {
        let theirs = self.side(pair.back());
        let may = match theirs.follow {
            Follow::Requested { .. } => true,
            // ActivityPub: a Reject after an Accept ends the follow.
            Follow::Following { .. } => context.from.home == 0,
            Follow::None => false,
        };
        if !may {
            return Err(Rejection::NoRequest);
        }
        Ok(end_follow(theirs, pair.back(), FollowEnd::Rejected).into_iter().collect())
    }

    fn block(
        &self,
        pair: Pair,
        activity_id: Option<Sealed>,
        context: &Context,
    ) -> Result<Vec<Event>, Rejection> {
        if context.to.state == State::Erased {
            return Err(Rejection::NoSuchAccount);
        }
        if self.side(pair).block.is_some() {
            return Ok(Vec::new());
        }
        let mut events = vec![Event::BlockStarted { id: context.new_id, pair, activity_id }];
        events.extend(end_follow(self.side(pair), pair, FollowEnd::Blocked));
        events.extend(end_follow(self.side(pair.back()), pair.back(), FollowEnd::Blocked));
        Ok(events)
    }

    fn mute(
        &self,
        pair: Pair,
        notifications: bool,
        expires_ms: u64,
        context: &Context,
    ) -> Result<Vec<Event>, Rejection> {
        if context.to.state == State::Erased {
            return Err(Rejection::NoSuchAccount);
        }
        if expires_ms.saturating_sub(context.now.0) > LONGEST_MUTE_MS && expires_ms != 0 {
            return Err(Rejection::TooLong);
        }
        let standing = self.side(pair).mute;
        let mut events = Vec::new();
        let id = match standing {
            Some(mute) if mute.holds(context.now) => mute.id,
            Some(mute) => {
                events.push(Event::MuteEnded { id: mute.id, pair });
                context.new_id
            }
            None => context.new_id,
        };
        let mute = Mute { id, notifications, expires_ms };
        if standing != Some(mute) {
            events.push(Event::MuteStarted { pair, mute });
        }
        Ok(events)
    }

    fn end_all(&self, pair: Pair, reason: FollowEnd) -> Vec<Event> {
        let mut events = Vec::new();
        for pair in [pair, pair.back()] {
            let side = self.side(pair);
            events.extend(end_follow(side, pair, reason));
            events.extend(side.block.map(|id| Event::BlockEnded { id, pair }));
            events.extend(side.mute.map(|mute| Event::MuteEnded { id: mute.id, pair }));
        }
        events
    }

    /// The relationship after an event. Total.
    #[must_use]
    pub fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::FollowRequested { edge, options, .. } => {
                self.side_mut(edge.pair).follow = Follow::Requested { id: edge.id, options: options.clone() };
            }
            Event::FollowStarted { edge, options, .. } | Event::FollowAccepted { edge, options } => {
                self.side_mut(edge.pair).follow = Follow::Following { id: edge.id, options: options.clone() };
            }
            Event::FollowRequestEnded { pair, .. } | Event::FollowEnded { pair, .. } => {
                self.side_mut(*pair).follow = Follow::None;
            }
            Event::FollowChanged { id, pair, options, requested } => {
                let (id, options) = (*id, options.clone());
                self.side_mut(*pair).follow = if *requested {
                    Follow::Requested { id, options }
                } else {
                    Follow::Following { id, options }
                };
            }
            Event::BlockStarted { id, pair, .. } => self.side_mut(*pair).block = Some(*id),
            Event::BlockEnded { pair, .. } => self.side_mut(*pair).block = None,
            Event::MuteStarted { pair, mute } => self.side_mut(*pair).mute = Some(*mute),
            Event::MuteEnded { pair, .. } => self.side_mut(*pair).mute = None,
        }
        self
    }
}

impl Event {
    /// The two accounts, in the direction of what happened.
    #[must_use]
    pub const fn pair(&self) -> Pair {
        match self {
            Self::FollowRequested { edge, .. }
            | Self::FollowStarted { edge, .. }
            | Self::FollowAccepted { edge, .. } => edge.pair,
            Self::FollowRequestEnded { pair, .. }
            | Self::FollowChanged { pair, .. }
            | Self::FollowEnded { pair, .. }
            | Self::BlockStarted { pair, .. }
            | Self::BlockEnded { pair, .. }
            | Self::MuteStarted { pair, .. }
            | Self::MuteEnded { pair, .. } => *pair,
        }
    }
}

impl Context {
    const fn edge(&self, pair: Pair, id: u64) -> Edge {
        Edge { id, pair, from_home: self.from.home, to_home: self.to.home }
    }

    fn back(&self) -> Self {
        Self { from: self.to, to: self.from, ..self.clone() }
    }
}

fn visible(context: &Context) -> Result<(), Rejection> {
    if context.to.state.acts() { Ok(()) } else { Err(Rejection::NoSuchAccount) }
}

fn end_follow(side: &Side, pair: Pair, reason: FollowEnd) -> Option<Event> {
    match &side.follow {
        Follow::None => None,
        Follow::Requested { id, .. } => Some(Event::FollowRequestEnded { id: *id, pair, reason }),
        Follow::Following { id, .. } => Some(Event::FollowEnded { id: *id, pair, reason }),
    }
}

/// How a follow is wanted; `None` leaves what is.
struct Wanted {
    show_boosts: Option<bool>,
    notify: Option<bool>,
    languages: Option<Vec<String>>,
}

impl Wanted {
    fn check(&self) -> Result<(), Rejection> {
        let Some(languages) = &self.languages else { return Ok(()) };
        let good = languages.len() <= LANGUAGES && languages.iter().all(|tag| super::tag::is_tag(tag));
        if good { Ok(()) } else { Err(Rejection::Languages) }
    }

    fn over(&self, options: &Options) -> Options {
        Options {
            show_boosts: self.show_boosts.unwrap_or(options.show_boosts),
            notify: self.notify.unwrap_or(options.notify),
            languages: self.languages.clone().unwrap_or_else(|| options.languages.clone()),
        }
    }
}

#[cfg(test)]
#[path = "relationship_tests.rs"]
mod tests;
