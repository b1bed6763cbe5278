//! Any event and any state, for tests of round trips.

use crate::domain::Account;
use crate::domain::Sealed;
use crate::domain::account::{self, Beginnings, Born, Kind, Measure, Standing, Taken};
use crate::domain::authority::Role;
use crate::domain::profile::{Change, Preferences, Profile, Visibility};
use crate::domain::relationship::{self, Edge, Follow, FollowEnd, Mute, Options, Pair, Relationship, Side};
use crate::domain::sealed::BlindKey;
use crate::domain::server::{self, Addresses, Face, Messages, Policies, Registration, Replies, Rule, Server};
use bytes::Bytes;
use proptest::prelude::*;

fn one_of<T: Clone + std::fmt::Debug + 'static>(values: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(values.to_vec())
}

pub fn text() -> impl Strategy<Value = String> {
    "[a-z]{0,6}"
}

pub fn sealed() -> impl Strategy<Value = Sealed> {
    let keys = (any::<u64>(), any::<u64>());
    (keys, text(), text(), any::<[u8; 12]>(), prop::collection::vec(any::<u8>(), 0..9)).prop_map(
        |((subject, key), content, field, nonce, ciphertext)| Sealed {
            subject,
            content,
            key,
            field,
            nonce: Bytes::copy_from_slice(&nonce),
            ciphertext: ciphertext.into(),
        },
    )
}

fn some_sealed() -> impl Strategy<Value = Option<Sealed>> {
    prop::option::of(sealed())
}

fn kind() -> impl Strategy<Value = Kind> {
    one_of(&[Kind::Unstated, Kind::Personal, Kind::Creator, Kind::Corporate])
}

fn role() -> impl Strategy<Value = Role> {
    one_of(&[Role::Member, Role::Moderator, Role::Admin, Role::Owner])
}

fn standing() -> impl Strategy<Value = Standing> {
    one_of(&[Standing::Unconfirmed, Standing::Pending, Standing::Active])
}

fn taken() -> impl Strategy<Value = Taken> {
    one_of(&[Taken::Handle, Taken::Email])
}

fn change() -> impl Strategy<Value = Change> {
    let texts = (some_sealed(), some_sealed(), some_sealed(), some_sealed(), some_sealed());
    let switches =
        (any::<Option<bool>>(), any::<Option<bool>>(), any::<Option<bool>>(), any::<Option<bool>>());
    (texts, switches, prop::option::of(text())).prop_map(|(texts, switches, public_key_pem)| Change {
        display_name: texts.0,
        note: texts.1,
        fields: texts.2,
        avatar_url: texts.3,
        header_url: texts.4,
        bot: switches.0,
        discoverable: switches.1,
        indexable: switches.2,
        hide_follows: switches.3,
        public_key_pem,
    })
}

fn preferences() -> impl Strategy<Value = Preferences> {
    let visibility = one_of(&[
        None,
        Some(Visibility::Public),
        Some(Visibility::Unlisted),
        Some(Visibility::Followers),
        Some(Visibility::Direct),
    ]);
    (visibility, text(), any::<bool>(), text()).prop_map(|(visibility, language, sensitive, locale)| {
        Preferences { visibility, language, sensitive, locale }
    })
}

fn beginnings() -> impl Strategy<Value = Beginnings> {
    (prop::collection::vec(any::<BlindKey>(), 0..3), any::<u32>())
        .prop_map(|(keys, characters)| Beginnings { keys, characters })
}

fn born() -> impl Strategy<Value = Born> {
    let ids = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    let words = (kind(), standing(), role(), any::<bool>(), any::<bool>());
    let texts = (sealed(), some_sealed(), some_sealed(), sealed(), text());
    let keys = (any::<BlindKey>(), any::<BlindKey>());
    (ids, words, texts, keys, change(), preferences()).prop_map(
        |(ids, words, texts, keys, profile, preferences)| Born {
            id: ids.0,
            home: ids.1,
            kind: words.0,
            standing: words.1,
            role: words.2,
            handle: texts.0,
            handle_key: keys.0,
            host: texts.4,
            email: texts.1,
            email_confirmed: words.3,
            reason: texts.2,
            activity_pub: texts.3,
            activity_pub_key: keys.1,
            profile,
            locked: words.4,
            preferences,
            app: ids.2,
            published_ms: ids.3,
            credential: ids.4,
        },
    )
}

pub fn account_event() -> impl Strategy<Value = account::Event> {
    use account::Event as E;
    let ids = (any::<u64>(), any::<u64>(), any::<u64>());
    let words = (kind(), standing(), role(), taken());
    let content = (sealed(), sealed(), any::<BlindKey>(), any::<BlindKey>(), beginnings(), text());
    (0_usize..17, ids, words, content, born(), change(), preferences()).prop_map(
        |(
            which,
            (account, home, scope),
            (kind, standing, role, taken),
            content,
            born,
            change,
            preferences,
        )| {
            let (handle, activity_pub, handle_key, activity_pub_key, beginnings, host) = content;
            match which {
                0 => E::Created(Box::new(born)),
                1 => E::HandleGranted { account, home, handle, handle_key, beginnings, host, kind, standing },
                2 => E::HandleRefused { account, home, taken },
                3 => E::AddressesChanged { account, activity_pub },
                4 => E::EmailConfirmed { account, home, standing },
                5 => E::Approved { account, home },
                6 => E::Limited { account, home, scope },
                7 => E::Suspended { account, home, scope },
                8 => E::Restored { account, home, scope },
                9 => E::Erased { account, home, handle_key, activity_pub_key, beginnings },
                10 => E::RoleChanged { account, home, role },
                11 => E::KindChanged { account, home, kind },
                12 => E::ProfileUpdated { account, home, change: Box::new(change) },
                13 => E::Locked { account, home },
                14 => E::Unlocked { account, home },
                15 => E::PreferencesChanged { account, preferences },
                _ => E::PasswordChanged { account, home, kept_session: scope, credential: !scope },
            }
        },
    )
}

pub fn account() -> impl Strategy<Value = Account> {
    let life = one_of(&[
        account::Life::Nothing,
        account::Life::Claiming,
        account::Life::Refused(Taken::Email),
        account::Life::Living,
        account::Life::Erased,
    ]);
    let measure = one_of(&[Measure::Limited, Measure::Suspended]);
    let measures = prop::collection::btree_map(any::<u64>(), measure, 0..4);
    let words = (life, standing(), role(), kind(), any::<bool>(), any::<bool>(), any::<u64>());
    (words, measures, born(), change(), preferences(), sealed(), beginnings()).prop_map(
        |(words, measures, born, change, preferences, activity_pub, beginnings)| Account {
            life: words.0,
            born,
            standing: words.1,
            email_confirmed: words.4,
            measures,
            role: words.2,
            kind: words.3,
            locked: words.5,
            profile: Profile::default().after(&change),
            preferences,
            activity_pub,
            prefix_keys: beginnings.keys,
            handle_characters: beginnings.characters,
            credential: words.6,
        },
    )
}

fn options() -> impl Strategy<Value = Options> {
    (any::<bool>(), any::<bool>(), prop::collection::vec(text(), 0..3))
        .prop_map(|(show_boosts, notify, languages)| Options { show_boosts, notify, languages })
}

fn pair() -> impl Strategy<Value = Pair> {
    (any::<u64>(), any::<u64>()).prop_map(|(from, to)| Pair { from, to })
}

pub fn relationship_event() -> impl Strategy<Value = relationship::Event> {
    use relationship::Event as E;
    let reason = one_of(&[
        FollowEnd::Unfollowed,
        FollowEnd::Rejected,
        FollowEnd::Removed,
        FollowEnd::Blocked,
        FollowEnd::Erased,
    ]);
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<bool>());
    (0_usize..10, numbers, pair(), options(), some_sealed(), reason).prop_map(
        |(which, (id, from_home, to_home, flag), pair, options, activity_id, reason)| {
            let edge = Edge { id, pair, from_home, to_home };
            match which {
                0 => E::FollowRequested { edge, options, activity_id },
                1 => E::FollowStarted { edge, options, activity_id },
                2 => E::FollowAccepted { edge, options },
                3 => E::FollowRequestEnded { id, pair, reason },
                4 => E::FollowChanged { id, pair, options, requested: flag },
                5 => E::FollowEnded { id, pair, reason },
                6 => E::BlockStarted { id, pair, activity_id },
                7 => E::BlockEnded { id, pair },
                8 => E::MuteStarted { pair, mute: Mute { id, notifications: flag, expires_ms: from_home } },
                _ => E::MuteEnded { id, pair },
            }
        },
    )
}

fn side() -> impl Strategy<Value = Side> {
    let id = 1_u64..;
    let mute = (id.clone(), any::<bool>(), any::<u64>()).prop_map(|(id, notifications, expires_ms)| Mute {
        id,
        notifications,
        expires_ms,
    });
    let follow = (0_usize..3, id.clone(), options()).prop_map(|(which, id, options)| match which {
        0 => Follow::None,
        1 => Follow::Requested { id, options },
        _ => Follow::Following { id, options },
    });
    (follow, prop::option::of(id), prop::option::of(mute)).prop_map(|(follow, block, mute)| Side {
        follow,
        block,
        mute,
    })
}

pub fn relationship() -> impl Strategy<Value = Relationship> {
    (side(), side()).prop_map(|(low, high)| Relationship { low, high })
}

fn face() -> impl Strategy<Value = Face> {
    let rule = (any::<u32>(), text(), text()).prop_map(|(id, text, hint)| Rule { id, text, hint });
    let policies = (
        one_of(&[Replies::Off, Replies::Followers, Replies::Everyone]),
        one_of(&[Messages::Off, Messages::Mutuals, Messages::Everyone]),
        prop::collection::vec(kind(), 0..3),
        1_u32..,
        any::<bool>(),
    )
        .prop_map(|(replies, messages, boost_kinds, post_characters, confirm_email)| Policies {
            replies,
            messages,
            boost_kinds,
            post_characters,
            confirm_email,
        });
    let registration = one_of(&[Registration::Open, Registration::Approval, Registration::Closed]);
    let lists = (prop::collection::vec(rule, 0..3), prop::collection::vec(text(), 0..3));
    (text(), text(), lists, registration, policies, text()).prop_map(
        |(name, description, (rules, languages), registration, policies, contact_email)| Face {
            name,
            description,
            rules,
            registration,
            policies,
            contact_email,
            languages,
        },
    )
}

fn server_born() -> impl Strategy<Value = server::Born> {
    (any::<u64>(), text(), text(), text(), text()).prop_map(|(id, domain, web_host, public_url, inbox)| {
        let instance_actor = Addresses { inbox, ..Addresses::default() };
        server::Born { id, domain, web_host, public_url, instance_actor }
    })
}

pub fn server_event() -> impl Strategy<Value = server::Event> {
    use server::Event as E;
    (0_usize..5, server_born(), face(), text()).prop_map(|(which, born, face, taken)| {
        let server = born.id;
        match which {
            0 => E::Created { born: Box::new(born), face: Box::new(face) },
            1 => E::NamesGranted { server, domain: born.domain, web_host: born.web_host },
            2 => E::NamesRefused { server, taken },
            3 => E::Updated { server, face: Box::new(face) },
            _ => E::Closed { server },
        }
    })
}

pub fn server() -> impl Strategy<Value = Server> {
    let life = one_of(&[
        server::Life::Nothing,
        server::Life::Claiming,
        server::Life::Refused,
        server::Life::Active,
        server::Life::Closed,
    ]);
    (life, server_born(), face(), any::<u32>(), text())
        .prop_map(|(life, born, face, last_rule, taken)| Server { life, born, face, last_rule, taken })
}
