//! Words of the rules and numbers of the contract.

use crate::domain::account::{Kind, Measure, Standing, State, Taken};
use crate::domain::authority::Role;
use crate::domain::profile::Visibility;
use crate::domain::relationship::FollowEnd;
use crate::domain::server::{Messages, Registration, Replies};
use p92_proto::identity::v1;

macro_rules! words {
    ($(#[$doc:meta])* $out:ident, $into:ident, $domain:ty, $wire:ident, { $($word:path => $value:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[must_use]
        pub const fn $out(word: $domain) -> i32 {
            match word { $($word => v1::$wire::$value as i32),+ }
        }

        /// The other way; `None` for what has no word here.
        #[must_use]
        pub fn $into(number: i32) -> Option<$domain> {
            match v1::$wire::try_from(number).ok()? {
                $(v1::$wire::$value => Some($word),)+
                #[allow(unreachable_patterns, reason = "some enums have a word for every value")]
                _ => None,
            }
        }
    };
}

words!(
    /// What kind an account is.
    kind_out, kind_in, Kind, AccountKind, {
        Kind::Unstated => Unspecified,
        Kind::Personal => Personal,
        Kind::Creator => Creator,
        Kind::Corporate => Corporate,
    }
);
words!(
    /// What a living account waits for.
    standing_out, standing_in, Standing, AccountState, {
        Standing::Unconfirmed => Unconfirmed,
        Standing::Pending => Pending,
        Standing::Active => Active,
    }
);
words!(
    /// A restriction.
    measure_out, measure_in, Measure, AccountState, {
        Measure::Limited => Limited,
        Measure::Suspended => Suspended,
    }
);
words!(
    /// The state of an account.
    state_out, state_in, State, AccountState, {
        State::Unconfirmed => Unconfirmed,
        State::Pending => Pending,
        State::Active => Active,
        State::Limited => Limited,
        State::Suspended => Suspended,
        State::Erased => Erased,
    }
);
words!(
    /// What a member may do.
    role_out, role_in, Role, Role, {
        Role::Member => Member,
        Role::Moderator => Moderator,
        Role::Admin => Admin,
        Role::Owner => Owner,
    }
);
words!(
    /// A name that is another's.
    taken_out, taken_in, Taken, TakenName, {
        Taken::Handle => Handle,
        Taken::Email => Email,
    }
);
words!(
    /// Who gets an account.
    registration_out, registration_in, Registration, RegistrationPolicy, {
        Registration::Open => Open,
        Registration::Approval => Approval,
        Registration::Closed => Closed,
    }
);
words!(
    /// Who may reply.
    replies_out, replies_in, Replies, ReplyPolicy, {
        Replies::Off => Off,
        Replies::Followers => Followers,
        Replies::Everyone => Everyone,
    }
);
words!(
    /// Who may send direct posts.
    messages_out, messages_in, Messages, MessagePolicy, {
        Messages::Off => Off,
        Messages::Mutuals => Mutuals,
        Messages::Everyone => Everyone,
    }
);
words!(
    /// Why a follow ended.
    follow_end_out, follow_end_in, FollowEnd, FollowEnd, {
        FollowEnd::Unfollowed => Unfollowed,
        FollowEnd::Rejected => Rejected,
        FollowEnd::Removed => Removed,
        FollowEnd::Blocked => Blocked,
        FollowEnd::Erased => Erased,
    }
);
words!(
    /// Who sees a post.
    visibility_out, visibility_in, Visibility, Visibility, {
        Visibility::Public => Public,
        Visibility::Unlisted => Unlisted,
        Visibility::Followers => Followers,
        Visibility::Direct => Direct,
    }
);
