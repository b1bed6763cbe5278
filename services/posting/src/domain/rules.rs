//! Who may see a post, reply to it, boost it: each rule once, for commands and reads alike.

use super::{Actor, Kind, Rejection};
use p92_kernel::AccountId;

/// Who may see a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Visibility {
    /// Everybody; it stands in public timelines.
    Public,
    /// Everybody.
    Unlisted,
    /// The author's followers and those whom it mentions.
    Followers,
    /// Those whom it mentions.
    Direct,
}

impl Visibility {
    /// Whether everybody may see it.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Public | Self::Unlisted)
    }
}

/// What a server says about its members, as far as it decides here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    pub replies: Replies,
    pub messages: Messages,
    /// Kinds of members that may boost.
    pub boost_kinds: Vec<Kind>,
}

/// Who may reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    Off,
    Followers,
    Everyone,
}

/// Who may send direct posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    Off,
    Mutuals,
    Everyone,
}

/// How much of an account is to be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seen {
    /// Nothing: unknown, not confirmed, suspended or erased. What is not known is not shown.
    #[default]
    Nothing,
    /// Only to followers and by name: it is limited.
    Limited,
    Everything,
}

/// How a viewer stands to an account at the moment of reading. The default is a stranger to somebody unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How much of that account is to be seen at the viewer's server.
    pub seen: Seen,
    pub follows: bool,
    pub followed_by: bool,
    pub blocks: bool,
    pub blocked_by: bool,
    pub mutes: bool,
}

/// What decides who may see an entry.
#[derive(Clone, Copy, Debug)]
pub struct Audience<'a> {
    pub author: AccountId,
    pub visibility: Visibility,
    pub mentioned: &'a [AccountId],
}

impl Audience<'_> {
    /// Whether the viewer (`None`: a stranger) may see it, standing so to the author.
    #[must_use]
    pub fn admits(&self, viewer: Option<AccountId>, standing: Standing) -> bool {
        if standing.seen == Seen::Nothing {
            return false;
        }
        let Some(viewer) = viewer else { return self.visibility.is_open() };
        if viewer == self.author {
            return true;
        }
        if standing.blocked_by {
            return false;
        }
        match self.visibility {
            Visibility::Public | Visibility::Unlisted => true,
            Visibility::Followers => standing.follows || self.mentioned.contains(&viewer),
            Visibility::Direct => self.mentioned.contains(&viewer),
        }
    }
}

/// Whether a thread shows a post of such an account to somebody who did not ask for the post itself.
#[must_use]
pub const fn wanted_in_thread(own: bool, standing: Standing) -> bool {
    let limited = matches!(standing.seen, Seen::Limited) && !standing.follows;
    own || !(standing.blocks || standing.mutes || limited)
}

/// Whether the actor may reply to a post of `author`. The policies of both homes hold; elsewhere has none here.
pub fn check_reply(
    actor: AccountId,
    author: AccountId,
    homes: [Option<&Policies>; 2],
    standing: Standing,
) -> Result<(), Rejection> {
    if actor == author {
        return Ok(());
    }
    for policies in homes.into_iter().flatten() {
        match policies.replies {
            Replies::Off => return Err(Rejection::RepliesOff),
            Replies::Followers if !standing.follows => return Err(Rejection::RepliesForFollowers),
            Replies::Followers | Replies::Everyone => {}
        }
    }
    Ok(())
}

/// Whether the actor may send a direct post to somebody else. The policies of both homes hold.
pub fn check_message(homes: [Option<&Policies>; 2], standing: Standing) -> Result<(), Rejection> {
    for policies in homes.into_iter().flatten() {
        match policies.messages {
            Messages::Off => return Err(Rejection::MessagesOff),
            Messages::Mutuals if !(standing.follows && standing.followed_by) => {
                return Err(Rejection::MessagesForMutuals);
            }
            Messages::Mutuals | Messages::Everyone => {}
        }
    }
    Ok(())
}

/// Who will see the boost, if the actor may boost such a post. Only a home has a word on its members' kinds.
pub fn check_boost(
    actor: &Actor,
    home: Option<&Policies>,
    post: &Audience<'_>,
    standing: Standing,
    wanted: Visibility,
) -> Result<Visibility, Rejection> {
    if home.is_some_and(|home| !home.boost_kinds.contains(&actor.kind)) {
        return Err(Rejection::BoostRefusedForKind);
    }
    if standing.blocks && actor.id != post.author {
        return Err(Rejection::BlockingAuthor);
    }
    if wanted == Visibility::Direct {
        return Err(Rejection::BoostVisibility);
    }
    match post.visibility {
        Visibility::Public | Visibility::Unlisted => Ok(wanted),
        Visibility::Followers if actor.id == post.author => Ok(Visibility::Followers),
        Visibility::Followers | Visibility::Direct => Err(Rejection::NotForSharing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p92_kernel::ServerId;
    use proptest::prelude::*;

    fn account(n: u64) -> AccountId {
        AccountId::new(n).unwrap()
    }

    fn policies(replies: Replies, messages: Messages) -> Policies {
        Policies { replies, messages, boost_kinds: vec![Kind::Personal] }
    }

    fn standing() -> impl Strategy<Value = Standing> {
        let seen = prop_oneof![Just(Seen::Nothing), Just(Seen::Limited), Just(Seen::Everything)];
        (seen, any::<[bool; 5]>()).prop_map(|(seen, [follows, followed_by, blocks, blocked_by, mutes])| {
            Standing { seen, follows, followed_by, blocks, blocked_by, mutes }
        })
    }

    fn visibility() -> impl Strategy<Value = Visibility> {
        prop_oneof![
            Just(Visibility::Public),
            Just(Visibility::Unlisted),
            Just(Visibility::Followers),
            Just(Visibility::Direct)
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_shown_of_whom_one_must_not_see(v in visibility(), s in standing(), viewer in 0_u64..4, m in 0_u64..4) {
            let mentioned: Vec<_> = AccountId::new(m).into_iter().collect();
            let post = Audience { author: account(1), visibility: v, mentioned: &mentioned };
            let viewer = AccountId::new(viewer);
            let shown = post.admits(viewer, s);
            let own = viewer == Some(account(1));
            prop_assert!(!shown || s.seen != Seen::Nothing);
            prop_assert!(!shown || own || viewer.is_none() || !s.blocked_by);
            prop_assert!(!shown || viewer.is_some() || v.is_open());
            let named = viewer.is_some_and(|viewer| mentioned.contains(&viewer));
            prop_assert!(!shown || v != Visibility::Direct || own || named);
            prop_assert!(!shown || v != Visibility::Followers || own || named || s.follows);
        }

        #[test]
        fn a_wider_audience_loses_nobody(s in standing(), viewer in 0_u64..4, m in 0_u64..4, v in visibility(), w in visibility()) {
            let mentioned: Vec<_> = AccountId::new(m).into_iter().collect();
            let of = |visibility| Audience { author: account(1), visibility, mentioned: &mentioned };
            let (wide, narrow) = (v.min(w), v.max(w));
            let viewer = AccountId::new(viewer);
            prop_assert!(!of(narrow).admits(viewer, s) || of(wide).admits(viewer, s));
        }
    }

    #[test]
    fn replies_follow_both_policies() {
        let (off, followers, all) = (
            policies(Replies::Off, Messages::Everyone),
            policies(Replies::Followers, Messages::Everyone),
            policies(Replies::Everyone, Messages::Everyone),
        );
        let follows = Standing { follows: true, ..Standing::default() };
        let check = |homes, standing| check_reply(account(1), account(2), homes, standing);
        assert_eq!(check([Some(&off), Some(&all)], follows), Err(Rejection::RepliesOff));
        assert_eq!(check([Some(&all), Some(&off)], follows), Err(Rejection::RepliesOff));
        assert_eq!(check([None, Some(&followers)], Standing::default()), Err(Rejection::RepliesForFollowers));
        assert_eq!(check([None, Some(&followers)], follows), Ok(()));
        assert_eq!(check([None, None], Standing::default()), Ok(()));
        assert_eq!(
            check_reply(account(1), account(1), [Some(&off), Some(&off)], Standing::default()),
            Ok(())
        );
    }

    #[test]
    fn messages_follow_both_policies() {
        let (off, mutuals) =
            (policies(Replies::Everyone, Messages::Off), policies(Replies::Everyone, Messages::Mutuals));
        let mutual = Standing { follows: true, followed_by: true, ..Standing::default() };
        let one_way = Standing { follows: true, ..Standing::default() };
        assert_eq!(check_message([Some(&off), None], mutual), Err(Rejection::MessagesOff));
        assert_eq!(check_message([None, Some(&mutuals)], one_way), Err(Rejection::MessagesForMutuals));
        assert_eq!(check_message([Some(&mutuals), Some(&mutuals)], mutual), Ok(()));
    }

    #[test]
    fn a_home_decides_which_kinds_boost() {
        let home = policies(Replies::Everyone, Messages::Everyone);
        let post = Audience { author: account(2), visibility: Visibility::Public, mentioned: &[] };
        let actor = |kind| Actor { id: account(1), home: ServerId::new(9), kind };
        let check =
            |kind, home| check_boost(&actor(kind), home, &post, Standing::default(), Visibility::Public);
        assert_eq!(check(Kind::Corporate, Some(&home)), Err(Rejection::BoostRefusedForKind));
        assert_eq!(check(Kind::Personal, Some(&home)), Ok(Visibility::Public));
        assert_eq!(check(Kind::Corporate, None), Ok(Visibility::Public));
    }

    #[test]
    fn only_its_author_shares_what_is_for_followers() {
        let actor = |id| Actor { id: account(id), home: None, kind: Kind::Unstated };
        let check = |id, visibility, wanted| {
            let post = Audience { author: account(2), visibility, mentioned: &[] };
            check_boost(&actor(id), None, &post, Standing::default(), wanted)
        };
        assert_eq!(check(1, Visibility::Followers, Visibility::Public), Err(Rejection::NotForSharing));
        assert_eq!(check(2, Visibility::Followers, Visibility::Public), Ok(Visibility::Followers));
        assert_eq!(check(2, Visibility::Direct, Visibility::Public), Err(Rejection::NotForSharing));
        assert_eq!(check(1, Visibility::Public, Visibility::Direct), Err(Rejection::BoostVisibility));
        assert_eq!(check(1, Visibility::Public, Visibility::Followers), Ok(Visibility::Followers));
    }
}
