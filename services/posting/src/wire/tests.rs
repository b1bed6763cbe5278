//! Round trips of every event, and golden bytes of every event type.

use super::{kind_from_wire, kind_to_wire, visibility_from_wire, visibility_to_wire};
use crate::domain::post::{self, Deleted, Edited, PinChange, Post, Published, SealedTag};
use crate::domain::reaction::{self, Between, Bookmark, Boost, Boosted, Like, Reaction, Target};
use crate::domain::{Actor, EndReason, Kind, ReplyTo, Visibility};
use bytes::Bytes;
use p92_eventlog::{Aggregate, Recorded};
use p92_kernel::{AccountId, Id, Millis, Position, PostId, Seq, ServerId, Service, Shard};
use p92_proto::event::v1::{Event, Sealed};
use p92_proto::posting::v1;
use prop::sample::select;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use prost::Message;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn number() -> impl Strategy<Value = u64> {
    1_u64..1 << 63
}

fn account() -> impl Strategy<Value = AccountId> {
    number().prop_map(|raw| AccountId::new(raw).unwrap())
}

fn a_post() -> impl Strategy<Value = PostId> {
    number().prop_map(|raw| PostId::new(raw).unwrap())
}

fn id() -> impl Strategy<Value = Id> {
    number().prop_map(|raw| Id::new(raw).unwrap())
}

fn home() -> impl Strategy<Value = Option<ServerId>> {
    prop::option::of(number().prop_map(|raw| ServerId::new(raw).unwrap()))
}

fn text() -> impl Strategy<Value = String> {
    "[a-z]{0,8}"
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..9).prop_map(Bytes::from)
}

fn sealed() -> impl Strategy<Value = Sealed> {
    (number(), number(), text(), bytes(), bytes(), text()).prop_map(
        |(subject_id, key_id, content, nonce, ciphertext, field)| Sealed {
            subject_id,
            content,
            nonce,
            ciphertext,
            field,
            key_id,
        },
    )
}

fn visibility() -> impl Strategy<Value = Visibility> {
    select(vec![Visibility::Public, Visibility::Unlisted, Visibility::Followers, Visibility::Direct])
}

fn kind() -> impl Strategy<Value = Kind> {
    select(vec![Kind::Unstated, Kind::Personal, Kind::Creator, Kind::Corporate])
}

fn reason() -> impl Strategy<Value = EndReason> {
    select(vec![EndReason::TakenBack, EndReason::AccountErased, EndReason::PostDeleted])
}

fn reply() -> impl Strategy<Value = Option<ReplyTo>> {
    prop::option::of((a_post(), account()).prop_map(|(post, author)| ReplyTo { post, author }))
}

fn accounts() -> impl Strategy<Value = Vec<AccountId>> {
    prop::collection::vec(account(), 0..3)
}

fn tags() -> impl Strategy<Value = Vec<SealedTag>> {
    prop::collection::vec((bytes(), sealed()).prop_map(|(key, name)| SealedTag { key, name }), 0..3)
}

fn published() -> impl Strategy<Value = Published> {
    let who = (a_post(), account(), home(), kind());
    let what = (text(), bytes(), visibility(), sealed(), any::<bool>(), text());
    let around = (reply(), text(), a_post(), accounts(), tags(), any::<u64>(), any::<u64>());
    (who, what, around).prop_map(|(who, what, around)| {
        let (post, author, home, kind) = who;
        let (object_id, url_key, visibility, content, sensitive, language) = what;
        let (reply, reply_object_id, conversation, mentioned, tags, published, app_id) = around;
        Published {
            post,
            author,
            home,
            kind,
            object_id,
            url_key,
            visibility,
            content,
            sensitive,
            language,
            reply,
            reply_object_id,
            conversation,
            mentioned,
            tags,
            published: Millis(published),
            app_id,
        }
    })
}

fn edited() -> impl Strategy<Value = Edited> {
    let keys = prop::collection::vec(bytes(), 0..3);
    (published(), any::<u64>(), accounts(), keys, any::<bool>()).prop_map(
        |(post, revision, previous_mentioned, previous_tag_keys, is_reply)| Edited {
            post: post.post,
            author: post.author,
            home: post.home,
            revision,
            content: post.content,
            sensitive: post.sensitive,
            language: post.language,
            mentioned: post.mentioned,
            previous_mentioned,
            tags: post.tags,
            previous_tag_keys,
            edited: post.published,
            visibility: post.visibility,
            object_id: post.object_id,
            reply: post.reply,
            is_reply,
        },
    )
}

fn deleted() -> impl Strategy<Value = Deleted> {
    (published(), reason(), any::<bool>()).prop_map(|(post, reason, was_pinned)| Deleted {
        post: post.post,
        author: post.author,
        home: post.home,
        object_id: post.object_id,
        url_key: post.url_key,
        visibility: post.visibility,
        reply: post.reply,
        conversation: post.conversation,
        mentioned: post.mentioned,
        tag_keys: post.tags.into_iter().map(|tag| tag.key).collect(),
        reason,
        was_pinned,
    })
}

fn pin() -> impl Strategy<Value = PinChange> {
    (a_post(), account(), text()).prop_map(|(post, author, object_id)| PinChange { post, author, object_id })
}

fn post_event() -> impl Strategy<Value = post::Event> {
    prop_oneof![
        published().prop_map(|event| post::Event::Published(Box::new(event))),
        edited().prop_map(|event| post::Event::Edited(Box::new(event))),
        deleted().prop_map(|event| post::Event::Deleted(Box::new(event))),
        pin().prop_map(post::Event::Pinned),
        pin().prop_map(post::Event::Unpinned),
    ]
}

fn actor() -> impl Strategy<Value = Actor> {
    (account(), home(), kind()).prop_map(|(id, home, kind)| Actor { id, home, kind })
}

fn target() -> impl Strategy<Value = Target> {
    (published(), any::<bool>()).prop_map(|(post, is_reply)| Target {
        post: post.post,
        author: post.author,
        home: post.home,
        visibility: post.visibility,
        object_id: post.object_id,
        reply: post.reply,
        is_reply,
        mentioned: post.mentioned,
        language: post.language,
    })
}

fn like() -> impl Strategy<Value = Like> {
    (id(), actor(), target(), text()).prop_map(|(id, actor, target, activity_id)| Like {
        id,
        between: Between::of(&actor, &target),
        activity_id,
    })
}

fn boosted() -> impl Strategy<Value = Boosted> {
    (id(), actor(), target(), text(), visibility(), any::<u64>()).prop_map(
        |(id, actor, target, activity_id, visibility, at)| Boosted {
            boost: Boost { id, between: Between::of(&actor, &target), activity_id, visibility },
            actor,
            target,
            at: Millis(at),
        },
    )
}

fn bookmark() -> impl Strategy<Value = Bookmark> {
    (id(), a_post(), account()).prop_map(|(id, post, actor)| Bookmark { id, post, actor })
}

fn reaction_event() -> impl Strategy<Value = reaction::Event> {
    use reaction::Event;
    prop_oneof![
        (like(), visibility()).prop_map(|(like, visibility)| Event::Liked { like, visibility }),
        (like(), reason()).prop_map(|(like, reason)| Event::Unliked { like, reason }),
        boosted().prop_map(|event| Event::Boosted(Box::new(event))),
        (boosted(), reason()).prop_map(|(event, reason)| Event::Unboosted { boost: event.boost, reason }),
        bookmark().prop_map(Event::Bookmarked),
        (bookmark(), reason()).prop_map(|(bookmark, reason)| Event::Unbookmarked { bookmark, reason }),
    ]
}

fn recorded(event_type: &str, payload: Bytes) -> Recorded {
    let position = Position { service: Service::Posting, shard: Shard(0), seq: Seq(1) };
    let event =
        Event { r#type: event_type.to_owned(), schema_version: 1, version: 1, payload, ..Event::default() };
    Recorded::read(position, event.encode_to_vec().into()).unwrap()
}

fn round_trip<A: Aggregate>(event: &A::Event) -> A::Event {
    let encoded = A::encode(event);
    A::decode(&recorded(encoded.event_type(), encoded.payload().clone())).unwrap()
}

proptest! {
    #[test]
    fn events_of_posts_come_back(event in post_event()) {
        prop_assert_eq!(round_trip::<Post>(&event), event);
    }

    #[test]
    fn events_of_reactions_come_back(event in reaction_event()) {
        prop_assert_eq!(round_trip::<Reaction>(&event), event);
    }

    #[test]
    fn words_come_back(visibility in visibility(), kind in kind()) {
        prop_assert_eq!(visibility_from_wire(visibility_to_wire(visibility)), Some(visibility));
        prop_assert_eq!(kind_from_wire(kind_to_wire(kind)), kind);
    }
}

#[test]
fn what_cannot_be_is_poison() {
    let no_ids = v1::PostPublished { author_id: 1, ..v1::PostPublished::default() };
    let name = "p92.posting.v1.PostPublished";
    assert!(Post::decode(&recorded(name, no_ids.encode_to_vec().into())).is_err());
    assert!(Post::decode(&recorded(name, Bytes::from_static(&[0xff; 9]))).is_err());
    let no_reason =
        v1::PostUnliked { post_id: 1, like_id: 1, actor_id: 1, author_id: 1, ..Default::default() };
    let name = "p92.posting.v1.PostUnliked";
    assert!(Reaction::decode(&recorded(name, no_reason.encode_to_vec().into())).is_err());
    assert!(Post::decode(&recorded(name, no_reason.encode_to_vec().into())).is_err());
}

/// One event of each type, always the same: what golden files were written from.
fn samples<E: std::fmt::Debug>(
    events: impl Strategy<Value = E>,
    name: fn(&E) -> String,
) -> BTreeMap<String, E> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[92; 32]);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    let mut out = BTreeMap::new();
    for _ in 0..500 {
        let event = events.new_tree(&mut runner).unwrap().current();
        out.entry(name(&event)).or_insert(event);
    }
    out
}

/// Each golden file holds bytes that were written once; they must decode for ever, and be written again the same.
fn check_golden<A: Aggregate>(types: usize, events: BTreeMap<String, A::Event>) {
    assert_eq!(events.len(), types, "an event of each type");
    for (event_type, event) in events {
        let name = event_type.rsplit('.').next().unwrap();
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.hex"));
        if std::env::var_os("P92_WRITE_GOLDEN").is_some() && !file.exists() {
            std::fs::write(&file, hex::encode(A::encode(&event).payload()) + "\n").unwrap();
        }
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("no golden file of {event_type}"));
        let bytes = Bytes::from(hex::decode(text.trim()).unwrap());
        let decoded = A::decode(&recorded(&event_type, bytes.clone())).unwrap();
        assert_eq!(A::encode(&decoded).payload(), &bytes, "{event_type} is written otherwise than it was");
    }
}

#[test]
fn golden_events_decode_for_ever() {
    check_golden::<Post>(5, samples(post_event(), |event| Post::encode(event).event_type().to_owned()));
    check_golden::<Reaction>(
        6,
        samples(reaction_event(), |event| Reaction::encode(event).event_type().to_owned()),
    );
}
