//! Which remote accounts must be told of each activity of one post, and why.
//!
//! Judged at the time of each activity, so that a plan never changes once it was made. It knows accounts; which hosts
//! they are at is seen elsewhere.

use super::Spans;
use std::collections::{BTreeMap, BTreeSet};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Create,
    Update,
    Delete,
    Announce,
    UndoAnnounce,
    Like,
    UndoLike,
}

/// Who may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Visibility {
    Public,
    Unlisted,
    Followers,
    Direct,
}

impl Visibility {
    /// Whether anybody who asks is shown it.
    const fn open(self) -> bool {
        matches!(self, Self::Public | Self::Unlisted)
    }
}

/// Why somebody must be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    Follower,
    Mentioned,
    ParentAuthor,
    Author,
    ReachedBefore,
}

/// Something that a local account did with a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// The event.
    pub id: u64,
    pub kind: Kind,
    pub post: u64,
    pub actor: u64,
    /// The server at which the actor is at home.
    pub home: u64,
    pub visibility: Visibility,
    pub mentioned: Vec<u64>,
    /// The author of the parent, or of the post that is boosted or liked; 0 for none.
    pub toward: u64,
    /// The like or boost; 0 for none.
    pub reaction: u64,
    pub object_id: String,
    pub time: u64,
}

/// What is known of an account elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    /// By scope: 0 for everybody, else for members of a server.
    pub suspended: BTreeMap<u64, Spans>,
    /// 0 while it is there.
    pub erased: u64,
}

impl Remote {
    /// Whether members of a server deal with it, at that time.
    #[must_use]
    pub fn welcome(&self, server: u64, at: u64) -> bool {
        let suspended = |scope: &u64| self.suspended.get(scope).is_some_and(|spans| spans.held(at));
        let erased = self.erased != 0 && self.erased <= at;
        !erased && !suspended(&0) && !suspended(&server)
    }
}

/// Everything that plans of one post depend on.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Accounts elsewhere. Whoever is not among them is here, or not known.
    pub remotes: BTreeMap<u64, Remote>,
    /// Remote followers of those who act, and when they followed.
    pub followers: BTreeMap<u64, Vec<(u64, Spans)>>,
}

/// Accounts that must be told, each with its reasons.
pub type Told = BTreeMap<u64, BTreeSet<Reason>>;

impl World {
    fn welcome(&self, account: u64, activity: &Activity) -> bool {
        self.remotes.get(&account).is_some_and(|remote| remote.welcome(activity.home, activity.time))
    }

    /// Those whom the activity concerns by itself.
    fn concerned(&self, activity: &Activity) -> Told {
        let mut told = Told::new();
        let mut tell = |account: u64, reason: Reason| {
            if self.welcome(account, activity) {
                told.entry(account).or_default().insert(reason);
            }
        };
        let spreads = matches!(activity.kind, Kind::Create | Kind::Update | Kind::Announce);
        if spreads && activity.visibility != Visibility::Direct {
            let followers = self.followers.get(&activity.actor).map(Vec::as_slice).unwrap_or_default();
            for (follower, _) in followers.iter().filter(|(_, held)| held.held(activity.time)) {
                tell(*follower, Reason::Follower);
            }
        }
        match activity.kind {
            Kind::Create | Kind::Update => {
                for account in &activity.mentioned {
                    tell(*account, Reason::Mentioned);
                }
                // Whoever is answered sees what is open; what is not open, only if it mentions him.
                if activity.visibility.open() {
                    tell(activity.toward, Reason::ParentAuthor);
                }
            }
            Kind::Announce | Kind::Like => tell(activity.toward, Reason::Author),
            Kind::Delete | Kind::UndoAnnounce | Kind::UndoLike => {}
        }
        told
    }
}

/// Who must be told of each activity of one post. They are given in the order in which they happened.
#[must_use]
pub fn plan(activities: &[Activity], world: &World) -> Vec<Told> {
    let mut by_post: BTreeSet<u64> = BTreeSet::new();
    let mut by_reaction: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    let mut plans = Vec::with_capacity(activities.len());
    for activity in activities {
        let mut told = world.concerned(activity);
        let nobody = BTreeSet::new();
        let reached = match activity.kind {
            // What was told is taken back wherever it went, whoever has left or been shut out since.
            Kind::Delete => &by_post,
            Kind::UndoAnnounce | Kind::UndoLike => by_reaction.get(&activity.reaction).unwrap_or(&nobody),
            // New words go where the old ones went only if anybody may read them.
            Kind::Update if activity.visibility.open() => &by_post,
            _ => &nobody,
        };
        for account in reached {
            if !matches!(activity.kind, Kind::Update) || world.welcome(*account, activity) {
                told.entry(*account).or_default().insert(Reason::ReachedBefore);
            }
        }
        match activity.kind {
            Kind::Create | Kind::Update => by_post.extend(told.keys()),
            Kind::Announce | Kind::Like => {
                // Hosts that get a boost fetch the post.
                if activity.kind == Kind::Announce {
                    by_post.extend(told.keys());
                }
                by_reaction.entry(activity.reaction).or_default().extend(told.keys());
            }
            Kind::Delete | Kind::UndoAnnounce | Kind::UndoLike => {}
        }
        plans.push(told);
    }
    plans
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
